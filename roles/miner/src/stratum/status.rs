//! How it goes with the pool, for whoever watches.

use std::sync::Arc;

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
    /// Sent to the pool.
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
    /// Whether the search is over and every share it has found has been taken.
    pub search_over: bool,
    /// Why the last session ended; `None` while one works.
    pub last_error: Option<Arc<str>>,
    /// The code of the last refusal of a share.
    pub last_refusal: Option<Arc<str>>,
}

impl PoolStatus {
    /// Whether nothing is left to be said about the shares: the search is over, and each is answered or lost with its
    /// session.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.search_over && self.shares.unanswered == 0
    }
}
