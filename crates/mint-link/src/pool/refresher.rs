//! Has whichever mint works asked for a snapshot, from anywhere in the pool.

use std::time::Duration;

use stats_push::{RefreshError, Refreshed};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::StatsRequester;

/// Asks the mint of the session that works, and waits for the answer. Cheap to clone; outlives all sessions.
#[derive(Clone, Debug)]
pub struct Refresher(pub(super) watch::Receiver<Option<StatsRequester>>);

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
        let request_id = requester.request().ok_or_else(|| {
            if requester.has_ended() {
                RefreshError::Ended
            } else {
                RefreshError::Unsupported
            }
        })?;
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
