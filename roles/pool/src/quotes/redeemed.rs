//! On the way from the mint to the outbox: which quotes were redeemed. Best effort, and never in the way of an answer:
//! one batch at a time goes to the disk, and what comes meanwhile waits in the session, which drops what it can't hold.

use futures::future::BoxFuture;
use mint_link::HeaderHash as WireHash;
use tracing::debug;

use crate::outbox::Outbox;

/// Messages in one batch at most, of up to 255 hashes each: some milliseconds of the outbox's writer.
const BATCH: usize = 4;

/// The batch that is on its way to the disk.
#[derive(Default)]
pub(super) struct Redeemed(Option<BoxFuture<'static, ()>>);

impl Redeemed {
    /// Messages that may be taken from the session now.
    pub(super) fn room(&self) -> usize {
        if self.0.is_none() { BATCH } else { 0 }
    }

    /// Begins to record a batch.
    pub(super) fn record(&mut self, outbox: &Outbox, messages: Vec<Vec<WireHash>>) {
        let outbox = outbox.clone();
        let hashes = messages.into_iter().flatten().map(|WireHash(hash)| hash).collect();
        self.0 = Some(Box::pin(async move {
            // The outbox counts and logs its errors itself.
            if let Err(error) = outbox.redeem(hashes).await {
                debug!(%error, "redeemed quotes stay listed until they expire");
            }
        }));
    }

    /// Waits until the batch is recorded; without one, for ever. Cancel-safe.
    pub(super) async fn recorded(&mut self) {
        match &mut self.0 {
            Some(recording) => recording.await,
            None => std::future::pending().await,
        }
        self.0 = None;
    }
}
