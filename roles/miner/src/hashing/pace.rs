//! Holding one thread to a hashrate.

use std::time::{Duration, Instant};

/// Time lost, to a busy machine say, is made up for this far back, no further.
const CATCH_UP: Duration = Duration::from_millis(200);

/// Hashes tried in one go without looking at the channels; about a millisecond.
const CHUNK: u32 = 1024;

/// Says how long to rest after some hashes.
pub(super) struct Pace {
    seconds_per_hash: Option<f64>,
    /// When the hashes so far should have been done.
    due: Instant,
}

impl Pace {
    /// At most this many hashes a second; `None` for no limit.
    pub(super) fn new(hashes_per_second: Option<f64>, now: Instant) -> Self {
        Self {
            seconds_per_hash: hashes_per_second.map(f64::recip),
            due: now,
        }
    }

    /// How many hashes to try before looking up again: fewer where they are rare, so that they come evenly.
    pub(super) fn chunk(&self) -> u32 {
        const LOOK_UP: f64 = 0.02;
        // The cast saturates, and the clamp bounds it.
        self.seconds_per_hash
            .map_or(CHUNK, |each| ((LOOK_UP / each) as u32).clamp(1, CHUNK))
    }

    /// `hashes` were tried until `now`: how long to rest.
    pub(super) fn rest(&mut self, hashes: u32, now: Instant) -> Duration {
        let Some(each) = self.seconds_per_hash else {
            return Duration::ZERO;
        };
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        self.due = self.due.max(earliest) + Duration::from_secs_f64(each * f64::from(hashes));
        self.due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_limit_there_is_no_rest() {
        let now = Instant::now();
        let mut pace = Pace::new(None, now);
        assert_eq!(pace.rest(1_000_000, now), Duration::ZERO);
        assert_eq!(pace.chunk(), CHUNK);
    }

    #[test]
    fn the_limit_holds_on_average() {
        let start = Instant::now();
        let mut now = start;
        let mut pace = Pace::new(Some(1000.0), start);
        for _ in 0..50 {
            now += Duration::from_millis(3); // the hashing itself
            now += pace.rest(20, now);
        }
        assert_eq!((now - start).as_millis(), 1000);
    }

    #[test]
    fn a_long_stall_is_not_made_up_for_by_a_burst() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(1000.0), start);
        let later = start + Duration::from_secs(60);
        assert_eq!(pace.rest(200, later), Duration::ZERO);
        assert_eq!(pace.rest(200, later), Duration::from_millis(200));
    }

    #[test]
    fn few_hashes_a_second_are_tried_in_small_steps() {
        let now = Instant::now();
        assert_eq!(Pace::new(Some(1000.0), now).chunk(), 20);
        assert_eq!(Pace::new(Some(0.1), now).chunk(), 1);
        assert_eq!(Pace::new(Some(1e9), now).chunk(), CHUNK);
    }
}
