//! How it goes with the pool, for whoever watches.

use std::sync::Arc;

use tokio::time::Instant;

/// How far the connection with the pool has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// There is none, and one is being made.
    #[default]
    Dialling,
    /// A channel is open.
    Open,
    /// It was stopped in order.
    Stopped,
}

/// What became of the shares, over all sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShareCounts {
    /// Sent to the pool; one that it could not store counts each time.
    pub submitted: u64,
    /// Acknowledged by the pool.
    pub accepted: u64,
    /// Refused by the pool.
    pub rejected: u64,
    /// Found too late to be sent: their job, or their session, was over.
    pub outdated: u64,
    /// Sent in this session and not answered yet.
    pub unanswered: u64,
}

/// The connection with the pool at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolStatus {
    /// How far it has come.
    pub stage: Stage,
    /// Channels opened so far.
    pub opened: u64,
    /// Whether the pool tells of quotes in this session (it has granted extension 0x4D51).
    pub tells_quotes: bool,
    /// The shares.
    pub shares: ShareCounts,
    /// Since when the pool has answered no share while some are without an answer.
    pub unanswered_since: Option<Instant>,
    /// Whether the search is over and every share it has found has been taken.
    pub search_over: bool,
    /// Why the last session ended; `None` while one works.
    pub last_error: Option<Arc<str>>,
    /// The code of the last refusal of a share.
    pub last_refusal: Option<Arc<str>>,
}

impl PoolStatus {
    /// Counts, with so many shares without an answer now.
    pub(super) fn count(&mut self, unanswered: u64, now: Instant, how: impl FnOnce(&mut ShareCounts)) {
        let before = std::mem::replace(&mut self.shares.unanswered, unanswered);
        how(&mut self.shares);
        self.unanswered_since = match self.unanswered_since {
            _ if unanswered == 0 => None,
            Some(since) if unanswered >= before => Some(since),
            _ => Some(now),
        };
    }

    /// Whether nothing is left to be said about the shares: the search is over, and each is answered or lost with its
    /// session.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.search_over && self.shares.unanswered == 0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_pool_is_silent_since_the_first_share_after_its_last_answer() {
        let mut status = PoolStatus::default();
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut since = |unanswered, second| {
            status.count(unanswered, at(second), |_| {});
            status.unanswered_since
        };
        assert_eq!(since(0, 1), None);
        assert_eq!([since(1, 2), since(2, 3), since(2, 4)], [Some(at(2)); 3]);
        assert_eq!([since(1, 5), since(2, 6)], [Some(at(5)); 2]);
        assert_eq!(since(0, 7), None);
        assert_eq!(since(1, 8), Some(at(8)));
    }
}
