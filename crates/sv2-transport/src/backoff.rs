//! How long one who dials waits between dials: exponential with jitter, 100 ms to 10 s, and short again after a session
//! that has lasted.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

const SHORTEST: Duration = Duration::from_millis(100);
/// Jitter adds up to as much again, which makes 10 s.
const LONGEST_WITHOUT_JITTER: Duration = Duration::from_secs(5);

/// The waits between the dials to one peer.
#[derive(Debug)]
pub struct Backoff {
    waits: ExponentialBackoff,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

impl Backoff {
    /// A session that worked this long makes the next wait a short one again.
    pub const STABLE: Duration = Duration::from_secs(30);

    /// Begins with short waits.
    #[must_use]
    pub fn new() -> Self {
        let waits = ExponentialBuilder::default()
            .with_min_delay(SHORTEST)
            .with_max_delay(LONGEST_WITHOUT_JITTER)
            .with_jitter()
            .without_max_times()
            .build();
        Self { waits }
    }

    /// The wait after a dial whose session worked for this long, if it came to that.
    pub fn after(&mut self, worked: Option<Duration>) -> Duration {
        if worked.is_some_and(|worked| worked >= Self::STABLE) {
            *self = Self::new();
        }
        self.waits.next().unwrap_or(2 * LONGEST_WITHOUT_JITTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn waits_grow_from_100_ms_to_10_s_with_jitter() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..50).map(|_| backoff.after(None)).collect();
        for (wait, base) in waits.iter().zip([100, 200, 400, 800, 1600, 3200, 5000, 5000]) {
            assert!((base * MS..=2 * base * MS).contains(wait), "{wait:?} at {base} ms");
        }
        assert!(waits.iter().all(|wait| (100 * MS..=10_000 * MS).contains(wait)));
        let tail = &waits[10..];
        assert!(tail.iter().any(|wait| *wait != tail[0]), "no jitter");
    }

    #[test]
    fn thirty_stable_seconds_reset_the_wait_and_less_does_not() {
        let mut backoff = Backoff::new();
        for _ in 0..8 {
            backoff.after(None);
        }
        assert!(backoff.after(Some(Backoff::STABLE - MS)) >= 5000 * MS);
        assert!(backoff.after(Some(Backoff::STABLE)) <= 200 * MS);
        assert!(backoff.after(None) >= 200 * MS);
    }
}
