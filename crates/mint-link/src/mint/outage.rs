//! What the log is told of a link that fails: the first failure of each kind, then one summary a minute, and that it works
//! again. A pool that is away for a night must not fill the disk, nor hide behind silence why.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::FailureReason;

/// A session that has worked this long ends an outage.
pub(crate) const SETTLED: Duration = Duration::from_secs(2);
/// Between two summaries.
const SUMMARY: Duration = Duration::from_secs(60);

/// How loudly a failure is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    /// It is the first of its kind, and may pass by itself.
    New,
    /// It is the first of its kind, and somebody has to change something.
    Wrong,
    /// As before, for a minute or more.
    Still {
        /// Failures in this outage.
        failures: u64,
        /// How long it lasts.
        lasts: Duration,
    },
    /// As before.
    Again,
}

/// The failures of one link since it last worked.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    failures: u64,
    began: Option<Instant>,
    summary: Option<Instant>,
    told: Vec<FailureReason>,
}

impl Outage {
    /// A dial or session has failed after it worked for this long, if it came to that.
    pub(crate) fn failed(&mut self, reason: FailureReason, worked: Option<Duration>, now: Instant) -> Tell {
        if worked.is_some_and(|worked| worked >= SETTLED) {
            *self = Self::default();
        }
        self.failures += 1;
        let began = *self.began.get_or_insert(now);
        let summary = *self.summary.get_or_insert(now);
        if !self.told.contains(&reason) {
            self.told.push(reason);
            return if reason.needs_somebody() {
                Tell::Wrong
            } else {
                Tell::New
            };
        }
        if now - summary < SUMMARY {
            return Tell::Again;
        }
        self.summary = Some(now);
        Tell::Still {
            failures: self.failures,
            lasts: now - began,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_kind_of_failure_is_told_once_and_then_all_together_once_a_minute() {
        let mut outage = Outage::default();
        let start = Instant::now();
        assert_eq!(outage.failed(FailureReason::Connect, None, start), Tell::New);
        let mut summaries = Vec::new();
        for second in 1..=600 {
            match outage.failed(FailureReason::Connect, None, start + second * SECOND) {
                Tell::Again => {}
                Tell::Still { failures, lasts } => summaries.push((failures, lasts)),
                told => panic!("{told:?}"),
            }
        }
        let wanted: Vec<_> = (1..=10).map(|n| (60 * n + 1, 60 * n as u32 * SECOND)).collect();
        assert_eq!(summaries, wanted);
        // Something else goes wrong: it is not hidden by what went before.
        let later = start + 601 * SECOND;
        assert_eq!(outage.failed(FailureReason::WrongAuthority, None, later), Tell::Wrong);
        assert_eq!(outage.failed(FailureReason::WrongAuthority, None, later), Tell::Again);
    }

    #[test]
    fn a_session_that_works_ends_an_outage_and_one_that_is_closed_at_once_does_not() {
        let mut outage = Outage::default();
        let now = Instant::now();
        let (at_once, settled) = (Some(SETTLED - Duration::from_millis(1)), Some(SETTLED));
        let reason = FailureReason::ClosedAfterProof;
        assert_eq!(outage.failed(reason, at_once, now), Tell::Wrong);
        assert_eq!(outage.failed(reason, at_once, now), Tell::Again);
        assert_eq!(outage.failed(FailureReason::Closed, settled, now), Tell::New);
        assert_eq!(outage.failed(reason, at_once, now), Tell::Wrong);
    }
}
