//! Tells each miner of the quotes that its locking key has earned: all that are kept, then new ones as the mint
//! acknowledges them.
//!
//! A [`Follower`] is a cursor into the outbox. What was acknowledged lately is in memory, once for each followed key
//! however many follow it (`recent`); whoever is further behind, since it is new or slow, reads pages from the outbox's
//! file. So a slow follower costs what a fast one costs, and new quotes cost no read.

mod recent;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, Semaphore, broadcast};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use self::recent::{Next, Recent};
use crate::outbox::{AcknowledgedQuote, Acknowledgements, Outbox};

/// Quotes that [`Follower::next`] returns at most.
pub const MAX_QUOTES: usize = 256;

/// Quotes in one page of the file. A follower that is left alone with a page that it asked for keeps it, some 8 kB.
const PAGE: usize = 64;
/// Quotes in memory at most, over all keys: at 8,000 a second the last 4 s, in some 6 MB.
const RECENT_QUOTES: usize = 32_768;
/// Followers that read the file at the same time; the others wait, so that ten thousand miners that come back together
/// don't stand in the way of the shares, which go through the same connection.
const READERS: usize = 2;
/// After an error of the outbox's file.
const RETRY: Duration = Duration::from_millis(200);

/// Where quotes are followed; clones share everything.
#[derive(Clone)]
pub struct Notices {
    shared: Arc<Shared>,
}

struct Shared {
    outbox: Outbox,
    recent: Mutex<Recent>,
    readers: Arc<Semaphore>,
}

impl Notices {
    /// Follows this outbox, in a task that ends with it. Needs a tokio runtime.
    #[must_use]
    pub fn new(outbox: Outbox) -> Self {
        Self::with_room(outbox, RECENT_QUOTES)
    }

    fn with_room(outbox: Outbox, recent_quotes: usize) -> Self {
        let news = outbox.acknowledgements();
        // Read after the subscription: what lies between is told twice, and taken once.
        let upto = outbox.view().tally.settled_seq;
        let shared = Arc::new(Shared {
            outbox,
            recent: Mutex::new(Recent::new(upto, recent_quotes)),
            readers: Arc::new(Semaphore::new(READERS)),
        });
        tokio::spawn(listen(news, Arc::downgrade(&shared)));
        Self { shared }
    }

    /// Follows the quotes of a locking key from the first one kept and not yet redeemed. Costs little until
    /// [`Follower::next`] is called.
    #[must_use]
    pub fn follow(&self, locking_key: [u8; 33]) -> Follower {
        Follower {
            changed: self.shared.recent().follow(locking_key),
            shared: Arc::clone(&self.shared),
            locking_key,
            fresh: true,
            cursor: 0,
            reading: None,
        }
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notices").finish_non_exhaustive()
    }
}

impl Shared {
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a page after `cursor`. What is committed by now, `upto`, is in it, unless it is full. A task of its own: it
    /// must not stop while it holds a reader's place, whatever its follower does.
    fn read(self: &Arc<Self>, locking_key: [u8; 33], cursor: u64, upto: u64) -> Reading {
        let shared = Arc::clone(self);
        AbortOnDropHandle::new(tokio::spawn(async move {
            let readers = Arc::clone(&shared.readers);
            // Nobody closes the semaphore.
            let _place = readers.acquire_owned().await.ok()?;
            match shared.outbox.quotes_of(locking_key, cursor, PAGE as u32).await {
                Ok(quotes) => Some(Page {
                    upto: if quotes.len() < PAGE { upto } else { 0 },
                    quotes,
                }),
                Err(error) => {
                    debug!(%error, "quotes of a miner could not be read; trying again soon");
                    tokio::time::sleep(RETRY).await;
                    None
                }
            }
        }))
    }
}

/// Takes what the outbox tells until the outbox or the last follower is gone. What it misses the followers will read.
async fn listen(mut news: broadcast::Receiver<Arc<Acknowledgements>>, shared: Weak<Shared>) {
    loop {
        match news.recv().await {
            Ok(news) => match shared.upgrade() {
                Some(shared) => shared.recent().take(&news),
                None => return,
            },
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// A page of the file, and how far in the outbox it is complete; `None` after an error.
type Reading = AbortOnDropHandle<Option<Page>>;

struct Page {
    quotes: Vec<AcknowledgedQuote>,
    upto: u64,
}

/// Follows the quotes of one locking key.
pub struct Follower {
    shared: Arc<Shared>,
    changed: Arc<Notify>,
    locking_key: [u8; 33],
    /// It has to look into the file first: there, what is redeemed is left out.
    fresh: bool,
    /// All up to here were returned.
    cursor: u64,
    /// Goes on where a dropped `next` left it, so that a caller who asks often gets there too.
    reading: Option<Reading>,
}

impl Follower {
    /// The next 1 to [`MAX_QUOTES`] quotes of the key, in the order of their acknowledgement, each exactly once; waits
    /// while there are none, and for ever once the outbox is closed. Cancel-safe: what a dropped call would have returned,
    /// the next one returns.
    pub async fn next(&mut self) -> Vec<AcknowledgedQuote> {
        loop {
            if let Some(reading) = &mut self.reading {
                let page = reading.await;
                self.reading = None;
                // An error means that the runtime ends.
                if let Ok(Some(Page { quotes, upto })) = page {
                    self.fresh = false;
                    let last = quotes.last().map_or(0, |quote| quote.cursor);
                    self.cursor = self.cursor.max(last).max(upto);
                    if !quotes.is_empty() {
                        return quotes;
                    }
                }
            }
            // Before the look, so that nothing comes in between unnoticed.
            let changed = self.changed.notified();
            let cursor = (!self.fresh).then_some(self.cursor);
            let next = self.shared.recent().after(&self.locking_key, cursor, MAX_QUOTES);
            match next {
                Next::Quotes { quotes, cursor } => {
                    self.cursor = cursor;
                    return quotes;
                }
                Next::Nothing => changed.await,
                Next::InFile { upto } => self.reading = Some(self.shared.read(self.locking_key, self.cursor, upto)),
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.shared.recent().leave(&self.locking_key);
    }
}

impl fmt::Debug for Follower {
    /// Without the key, which tells whose shares they were.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}
