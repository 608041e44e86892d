//! What the pump counts beside the outbox's tally, since the start of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of the pump; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct PumpStats(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    busy: AtomicU64,
    unexpected: AtomicU64,
    unanswered: AtomicU64,
}

/// A reading of the pump's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PumpCounts {
    /// Requests that the mint was too busy for; they were sent again.
    pub busy: u64,
    /// Answers that belong to no request on the way.
    pub unexpected: u64,
    /// Requests without an answer in time; they were sent again.
    pub unanswered: u64,
}

impl PumpStats {
    pub(crate) fn busy(&self) {
        self.0.busy.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn unexpected(&self) {
        self.0.unexpected.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn unanswered(&self, requests: usize) {
        self.0.unanswered.fetch_add(requests as u64, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> PumpCounts {
        PumpCounts {
            busy: self.0.busy.load(Ordering::Relaxed),
            unexpected: self.0.unexpected.load(Ordering::Relaxed),
            unanswered: self.0.unanswered.load(Ordering::Relaxed),
        }
    }
}
