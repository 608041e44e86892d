//! How hard a channel's shares should be, so that as many come as are wanted.
//!
//! Pure, with the time as an argument; `channels_sv2`'s own `VardiffState` reads the wall clock, waits 15 s at least
//! whatever comes in, and changes little by little. Here a count that is unlikely under the wanted rate decides, so a
//! miner that is thousands of times too fast is slowed down after a handful of shares.
//!
//! The target itself is the channel's business: this only says what hashrate the shares speak of.

use std::time::Duration;

use tokio::time::Instant;

/// Shares that tell something even if they came at once, and how many times too many they must be then.
const BURST: u32 = 8;
const BURST_FACTOR: f64 = 4.0;
/// What a rate must be off by, at which number of expected shares, to be believed. For a rate that is right a Poisson
/// count is off by so much less than once in a hundred windows.
const BELIEVED: [(f64, f64); 3] = [(8.0, 4.0), (16.0, 2.0), (48.0, 1.4)];
/// Expected shares at which none at all is believed to mean something.
const NONE: f64 = 4.0;
/// What a channel without any share is taken to be slower by.
const NONE_FACTOR: f64 = 8.0;
/// Expected shares after which a window that was in order begins anew, so that it follows a miner that changes.
const WINDOW: f64 = 48.0;
/// A burst says little about how fast exactly: the most that one step goes up by.
const MAX_STEP: f64 = 64.0;
/// Shorter times are not measured; they would divide by nothing.
const SHORTEST: Duration = Duration::from_millis(10);

/// The shares of one channel since its target was set.
#[derive(Debug, Clone)]
pub(crate) struct Vardiff {
    per_second: f64,
    since: Instant,
    shares: u32,
    hashes: f64,
}

impl Vardiff {
    /// Begins to count.
    pub(crate) fn new(shares_per_minute: f32, now: Instant) -> Self {
        Self {
            per_second: f64::from(shares_per_minute) / 60.0,
            since: now,
            shares: 0,
            hashes: 0.0,
        }
    }

    /// The target has changed: what was counted speaks of another one.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.since = now;
        self.shares = 0;
        self.hashes = 0.0;
    }

    /// A valid share came, which took so many hashes on average.
    pub(crate) fn share(&mut self, hashes: f64) {
        self.shares = self.shares.saturating_add(1);
        self.hashes += hashes;
    }

    /// The hashrate that the target should be made for, if the one that it was made for, `nominal`, is clearly not it.
    /// Cheap: may be asked after every share, and must be asked now and then without any.
    pub(crate) fn judge(&mut self, nominal: f64, now: Instant) -> Option<f64> {
        let elapsed = now.duration_since(self.since).max(SHORTEST).as_secs_f64();
        let expected = elapsed * self.per_second;
        let shares = f64::from(self.shares);
        if self.shares == 0 {
            return (expected >= NONE).then_some(nominal / NONE_FACTOR);
        }
        let burst = self.shares >= BURST && shares > expected * BURST_FACTOR;
        let off = BELIEVED
            .iter()
            .any(|(least, factor)| expected >= *least && (shares > expected * factor || shares * factor < expected));
        if burst || off {
            return Some((self.hashes / elapsed).min(nominal * MAX_STEP));
        }
        if expected >= WINDOW {
            self.restart(now);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_like::Lcg;

    /// Numbers that look random and are the same in every run.
    mod rand_like {
        pub(super) struct Lcg(pub(super) u64);

        impl Lcg {
            pub(super) fn unit(&mut self) -> f64 {
                self.0 = self
                    .0
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (self.0 >> 11) as f64 / (1u64 << 53) as f64
            }
        }
    }

    /// A miner with this hashrate under vardiff; returns after how long its nominal hashrate was within a factor of two,
    /// how often it was changed, and how often after that.
    fn run(real: f64, mut nominal: f64, per_minute: f32, seconds: f64) -> (Option<f64>, u32, u32) {
        let start = Instant::now();
        let mut random = Lcg(42);
        let mut vardiff = Vardiff::new(per_minute, start);
        let (mut settled, mut changes, mut later) = (None, 0, 0);
        let (mut time, mut tick) = (0.0, 0.0);
        while time < seconds {
            // The work of a share at the target that `nominal` gives, and the time that it takes.
            let hashes = nominal * 60.0 / f64::from(per_minute);
            let next = time - (1.0 - random.unit()).ln() * hashes / real;
            let share = next <= tick + 5.0;
            time = if share { next } else { tick + 5.0 };
            if share {
                vardiff.share(hashes);
            } else {
                tick = time;
            }
            let now = start + Duration::from_secs_f64(time);
            if let Some(estimate) = vardiff.judge(nominal, now) {
                nominal = estimate;
                vardiff.restart(now);
                changes += 1;
                later += u32::from(settled.is_some());
            }
            if settled.is_none() && (0.5..2.0).contains(&(nominal / real)) {
                settled = Some(time);
            }
        }
        assert!((0.4..2.5).contains(&(nominal / real)), "{nominal} for {real}");
        (settled, changes, later)
    }

    #[test]
    fn a_miner_that_is_a_million_times_too_fast_is_caught_within_seconds() {
        let (settled, changes, _) = run(1e12, 1e6, 6.0, 3600.0);
        assert!(settled.unwrap() < 30.0, "{settled:?}");
        assert!(changes < 60, "{changes}");
    }

    #[test]
    fn a_miner_that_is_a_thousand_times_too_slow_is_found_within_three_minutes() {
        let (settled, ..) = run(1e6, 1e9, 6.0, 3600.0);
        assert!(settled.unwrap() < 180.0, "{settled:?}");
    }

    #[test]
    fn a_miner_whose_rate_is_right_is_left_alone_mostly() {
        for per_minute in [6.0, 300.0] {
            let (_, _, later) = run(1e6, 1e6, per_minute, 36_000.0);
            assert!(
                f64::from(later) < 36_000.0 * f64::from(per_minute) / 60.0 / 100.0,
                "{later}"
            );
        }
    }
}
