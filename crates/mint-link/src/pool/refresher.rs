//! Has whichever mint works asked for a snapshot, from anywhere in the pool.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::StatsRequester;

/// Asks the mint of the session that works, and waits for the answer. Cheap to clone; outlives all sessions.
#[derive(Clone, Debug)]
pub struct Refresher(pub(super) watch::Receiver<Option<StatsRequester>>);

/// The mint has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refreshed {
    /// What the question went by on the link.
    pub request_id: u32,
    /// From the question to its answer.
    pub round_trip: Duration,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// No session with a mint works.
    #[error("no mint is connected")]
    NoMint,
    /// The mint that works has no statistics.
    #[error("the mint does not support statistics")]
    Unsupported,
    /// It has not answered in time. It may still: at most one answer goes out in each of its `min_gap`s.
    #[error("the mint has not answered in time")]
    TooLate,
    /// The session ended meanwhile.
    #[error("the connection with the mint ended before it answered")]
    Ended,
}

impl Refresher {
    /// Asks, and waits for the answer for `within` at most. By then the snapshot is in the cache.
    ///
    /// # Errors
    /// See [`RefreshError`].
    pub async fn refresh(&self, within: Duration) -> Result<Refreshed, RefreshError> {
        let requester = self.0.borrow().clone();
        let requester = requester
            .filter(|requester| !requester.has_ended())
            .ok_or(RefreshError::NoMint)?;
        let start = Instant::now();
        let request_id = requester.request().ok_or(RefreshError::Unsupported)?;
        match timeout(within, requester.answered(request_id)).await {
            Ok(true) => Ok(Refreshed {
                request_id,
                round_trip: start.elapsed(),
            }),
            Ok(false) => Err(RefreshError::Ended),
            Err(_) => Err(RefreshError::TooLate),
        }
    }
}
