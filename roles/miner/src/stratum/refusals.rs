//! When a refused share is worth a line in the log: a pool that refuses one may refuse a thousand in the same second.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How often a reason is told.
const EVERY: Duration = Duration::from_secs(60);

/// The pool makes the reasons up: those beyond this number count as one.
const MAX_CODES: usize = 32;

/// The refusals of each reason that the log has not heard of, and when it last heard of one.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    codes: HashMap<String, (Instant, u64)>,
}

impl Refusals {
    /// Notes one. How many the log is now to be told of, itself included; `None` if it was told less than a minute ago.
    pub(super) fn note(&mut self, code: &str, now: Instant) -> Option<u64> {
        let known = self.codes.contains_key(code) || self.codes.len() < MAX_CODES;
        // The empty text is a code that no pool needs.
        let key = if known { code } else { "" };
        match self.codes.get_mut(key) {
            Some((told, untold)) => {
                *untold = untold.saturating_add(1);
                if now.saturating_duration_since(*told) < EVERY {
                    return None;
                }
                *told = now;
                Some(std::mem::take(untold))
            }
            None => {
                self.codes.insert(key.to_owned(), (now, 0));
                Some(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_at_once_and_then_once_a_minute_with_a_count() {
        let mut refusals = Refusals::default();
        let start = Instant::now();
        assert_eq!(refusals.note("stale-share", start), Some(1));
        for _ in 0..1000 {
            assert_eq!(refusals.note("stale-share", start + EVERY / 2), None);
        }
        assert_eq!(refusals.note("duplicate-share", start + EVERY / 2), Some(1));
        assert_eq!(refusals.note("stale-share", start + EVERY), Some(1001));
        assert_eq!(refusals.note("stale-share", start + EVERY), None);
    }

    #[test]
    fn a_pool_that_makes_up_reasons_fills_neither_log_nor_memory() {
        let mut refusals = Refusals::default();
        let start = Instant::now();
        let told = (0..1000).filter_map(|i| refusals.note(&i.to_string(), start)).count();
        assert_eq!(told, MAX_CODES + 1);
        assert_eq!(refusals.codes.len(), MAX_CODES + 1);
        let rest = 1000 - MAX_CODES as u64;
        assert_eq!(refusals.note("another", start + EVERY), Some(rest));
    }
}
