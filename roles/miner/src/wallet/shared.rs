//! What waits, and how far the redeeming has come: changed together, so that whoever follows sees both as one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::error::WalletError;
use super::queue::{MAX_QUOTES, Queue, QuoteId};
use super::store::Store;

/// Errors are shown up to this length.
const SHOWN_CHARS: usize = 200;

/// How far the redeeming has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Quotes minted into the wallet since it was opened.
    pub redeemed_quotes: u64,
    /// Their amounts in the wallet's unit; saturates.
    pub redeemed_amount: u64,
    /// Quotes that are not minted yet.
    pub waiting: u64,
    /// Quotes that the mint refuses: unknown to it, or locked to another key. They are tried again after a restart.
    pub refused: u64,
    /// Quotes that turned out to be issued already, to an earlier run or to another wallet with this key.
    pub already_issued: u64,
    /// What the mint said of the last quote that it refused.
    pub last_refusal: Option<Arc<str>>,
    /// Why the last round failed; `None` after one that did not.
    pub last_error: Option<Arc<str>>,
}

/// What handle, task and round work on.
pub(super) struct Shared {
    pub(super) store: Store,
    queue: Mutex<Queue>,
    progress: watch::Sender<Progress>,
    arrived: Notify,
}

impl Shared {
    pub(super) fn new(store: Store, queue: Queue) -> Self {
        Self {
            store,
            progress: watch::Sender::new(Progress {
                waiting: queue.waiting() as u64,
                ..Progress::default()
            }),
            queue: Mutex::new(queue),
            arrived: Notify::new(),
        }
    }

    pub(super) fn follow(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Waits until a quote comes, or has come since the last call.
    pub(super) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the quote is a new one.
    pub(super) async fn add(&self, id: &str) -> Result<bool, WalletError> {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if id.is_empty() || id.len() > 128 || !id.bytes().all(valid) {
            return Err(WalletError::QuoteId);
        }
        {
            let queue = self.lock();
            if queue.knows(id) {
                return Ok(false);
            }
            if queue.is_full() {
                return Err(WalletError::Full(MAX_QUOTES));
            }
        }
        if self.store.quote(id).await?.is_none() {
            self.store.remember(id).await?;
        }
        self.change(|queue, _| queue.push(id.into()));
        self.arrived.notify_one();
        Ok(true)
    }

    /// The quote's ehash is in the wallet.
    pub(super) async fn redeemed(&self, id: &str, amount: u64) -> Result<(), WalletError> {
        self.store.forget(id).await?;
        self.change(|queue, progress| {
            queue.settle(id);
            progress.redeemed_quotes += 1;
            progress.redeemed_amount = progress.redeemed_amount.saturating_add(amount);
        });
        Ok(())
    }

    /// Somebody else, or we ourselves long ago, minted it.
    pub(super) async fn already_issued(&self, id: &str) -> Result<(), WalletError> {
        tracing::debug!(quote = id, "this quote is issued already");
        self.store.forget(id).await?;
        self.change(|queue, progress| {
            queue.settle(id);
            progress.already_issued += 1;
        });
        Ok(())
    }

    /// The quote is no longer in the database.
    pub(super) async fn forget(&self, id: &str) -> Result<(), WalletError> {
        self.store.forget(id).await?;
        self.change(|queue, _| {
            queue.remove(id);
        });
        Ok(())
    }

    /// The mint won't mint it; kept for the next start.
    pub(super) fn refused(&self, id: &str, why: &str) {
        self.change(|queue, progress| {
            queue.refuse(id);
            progress.last_refusal = Some(shorten(why).into());
        });
    }

    /// Returns quotes that were not settled to the line; how many were settled, how many were not.
    pub(super) fn put_back(&self, ids: Vec<QuoteId>, to_front: bool) -> (usize, usize) {
        let count = ids.len();
        let left = self.lock().put_back(ids, to_front);
        (count - left, left)
    }

    pub(super) fn note(&self, error: Option<&str>) {
        self.change(|_, progress| progress.last_error = error.map(|text| shorten(text).into()));
    }

    /// Changes queue and progress together, and tells it if anything that shows has changed.
    fn change(&self, how: impl FnOnce(&mut Queue, &mut Progress)) {
        let mut queue = self.lock();
        self.progress.send_if_modified(|progress| {
            let before = progress.clone();
            how(&mut queue, progress);
            progress.waiting = queue.waiting() as u64;
            progress.refused = queue.refused() as u64;
            *progress != before
        });
    }
}

/// What a mint says ends up in logs and on a page: one line of bounded length.
pub(super) fn shorten(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(SHOWN_CHARS)
        .collect()
}
