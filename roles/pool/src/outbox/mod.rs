//! Accepted shares on their way to the mint, kept in SQLite until the mint has answered.
//!
//! A share enters by [`Outbox::enqueue`], which returns after the commit: from then on it survives any crash. It leaves
//! the waiting state only by an answer of the mint ([`Outbox::settle`]): acknowledged with a quote id, or refused with
//! code and message. Acknowledged quotes are read by a cursor that only grows ([`Outbox::quotes_after`]), so a reader
//! that comes late misses none.
//!
//! The writes happen on a thread of the outbox's own and are committed in groups: one fsync serves all callers that
//! wait. Reads go through a second connection and never wait for an fsync.
//!
//! A second process may open the same file and enqueue; the first notices within 50 ms. That is how the process tests
//! feed a pool that they kill.

mod query;
mod store;
#[cfg(test)]
mod tests;
mod types;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use log_limit::LogLimit;
use rusqlite::Connection;
use stats_push::UnixMillis;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, broadcast, oneshot, watch};

use crate::amount::{HeaderHash, MAX_AMOUNT};

pub use store::OpenError;
use store::{Retention, Store};
pub use types::{
    AcceptedShare, AcknowledgedQuote, Acknowledgements, Answer, EnqueueError, OutboxConfig, Settlement, ShareId,
    ShareRecord, StorageError, Tally, View, WaitingShare,
};
use writer::{Command, CountReply, Room, Writer};

/// Callers that may wait for a commit at the same time; more wait for their turn to wait.
const MAX_CALLERS: usize = 8192;
/// Commits that a listener to their acknowledgements may be behind; then it misses some.
const NEWS_KEPT: usize = 256;

/// Milliseconds since 1970; tests bring their own.
type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Handle of an open outbox; clones share it. Its thread ends when the last one is dropped, or by [`Outbox::close`].
#[derive(Clone)]
pub struct Outbox {
    commands: std::sync::mpsc::Sender<Command>,
    callers: Arc<Semaphore>,
    reader: Arc<Mutex<Connection>>,
    view: watch::Receiver<Arc<View>>,
    max_waiting: u64,
    /// Weak, so that the listeners hear of the end.
    news: broadcast::WeakSender<Arc<Acknowledgements>>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("view", &*self.view.borrow())
            .finish_non_exhaustive()
    }
}

impl Outbox {
    /// Rows that one read returns at most.
    pub const MAX_PAGE: u32 = 1000;

    /// Opens the file, creates it where there is none, and starts the thread that writes. Blocks for the milliseconds
    /// that this takes; after a crash, until SQLite has replayed its log.
    ///
    /// # Errors
    /// [`OpenError`] when the file can't serve.
    pub fn open(path: impl AsRef<Path>, config: &OutboxConfig) -> Result<Self, OpenError> {
        Self::open_with_clock(path.as_ref(), config, Arc::new(|| UnixMillis::now().0))
    }

    fn open_with_clock(path: &Path, config: &OutboxConfig, clock: Clock) -> Result<Self, OpenError> {
        let store = Store::open(path)?;
        let seen_version = store.data_version()?;
        let tally = store.tally()?;
        let told = tally.settled_seq;
        let (view_tx, view) = watch::channel(Arc::new(View {
            tally,
            healthy: true,
            ..View::default()
        }));
        let reader = query::open(path)?;
        let (news, _) = broadcast::channel(NEWS_KEPT);
        let weak_news = news.downgrade();
        let (commands, receiver) = std::sync::mpsc::channel();
        let writer = Writer {
            path: path.to_owned(),
            store: Some(store),
            commands: receiver,
            view: view_tx,
            news,
            told,
            max_waiting: config.max_waiting,
            retention: Retention {
                age_ms: u64::from(config.keep_answered_days) * 86_400_000,
                rows: config.max_answered,
            },
            clock,
            seen_version,
            pruned_at: Instant::now(),
            failures: LogLimit::default(),
            failure_told: false,
            room: Room::new(config.max_waiting),
        };
        std::thread::Builder::new()
            .name("outbox".into())
            .spawn(move || writer.run())?;
        Ok(Self {
            commands,
            callers: Arc::new(Semaphore::new(MAX_CALLERS)),
            reader: Arc::new(Mutex::new(reader)),
            view,
            max_waiting: config.max_waiting,
            news: weak_news,
        })
    }

    /// Takes a share in; returns after it is on the disk. Dropping the future withdraws nothing.
    ///
    /// # Errors
    /// [`EnqueueError`]; only after [`EnqueueError::Storage`] the share may be in the outbox all the same.
    pub async fn enqueue(&self, share: AcceptedShare) -> Result<(), EnqueueError> {
        if !(1..=MAX_AMOUNT).contains(&share.amount) {
            return Err(EnqueueError::Amount(share.amount));
        }
        let permit = self.permit().await.ok_or(EnqueueError::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Enqueue { share, reply, permit })
            .map_err(|_| EnqueueError::Closed)?;
        answer.await.unwrap_or(Err(EnqueueError::Closed))
    }

    /// Records answers; returns after they are on the disk, with how many shares left the waiting state. An answer for
    /// a share that has one changes nothing.
    ///
    /// # Errors
    /// [`StorageError`]: ask again.
    pub async fn settle(&self, settlements: Vec<Settlement>) -> Result<usize, StorageError> {
        self.write(|reply, permit| Command::Settle {
            settlements,
            reply,
            permit,
        })
        .await
    }

    /// Notes that the quotes of these shares were redeemed: they are no longer listed. Returns after that is on the disk,
    /// with how many it was news for; hashes without a quote mean nothing.
    ///
    /// # Errors
    /// [`StorageError`]: they stay listed.
    pub async fn redeem(&self, header_hashes: Vec<HeaderHash>) -> Result<usize, StorageError> {
        self.write(|reply, permit| Command::Redeem {
            header_hashes,
            reply,
            permit,
        })
        .await
    }

    /// Waiting shares after `after`, oldest first; at most `limit` and 1,000.
    ///
    /// # Errors
    /// [`StorageError`]: the file can't be read.
    pub async fn waiting_after(&self, after: ShareId, limit: u32) -> Result<Vec<WaitingShare>, StorageError> {
        self.read(move |connection| query::waiting_after(connection, after, limit.min(Self::MAX_PAGE)))
            .await
    }

    /// Acknowledged quotes after `cursor` (0: from the first one kept), redeemed or not, in the order of their commit; at
    /// most `limit` and 1,000. Wait on [`Outbox::watch`] for more: `tally.settled_seq` grows with every answer.
    ///
    /// # Errors
    /// [`StorageError`]: the file can't be read.
    pub async fn quotes_after(&self, cursor: u64, limit: u32) -> Result<Vec<AcknowledgedQuote>, StorageError> {
        self.read(move |connection| query::quotes_after(connection, cursor, limit.min(Self::MAX_PAGE)))
            .await
    }

    /// Those of one locking key that can be redeemed, as far as the mint has told; at most `limit` and 1,000.
    ///
    /// # Errors
    /// [`StorageError`]: the file can't be read.
    pub async fn quotes_of(
        &self,
        locking_key: [u8; 33],
        cursor: u64,
        limit: u32,
    ) -> Result<Vec<AcknowledgedQuote>, StorageError> {
        self.read(move |connection| query::quotes_of(connection, &locking_key, cursor, limit.min(Self::MAX_PAGE)))
            .await
    }

    /// What is known of one share; `None` also after it was pruned.
    ///
    /// # Errors
    /// [`StorageError`]: the file can't be read.
    pub async fn record(&self, header_hash: HeaderHash) -> Result<Option<ShareRecord>, StorageError> {
        self.read(move |connection| query::record(connection, &header_hash))
            .await
    }

    /// Counts and health as of the last commit; costs no I/O.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// Whether the file can be written: the last access to it went well, and the thread that writes lives. A share is
    /// refused all the same while the outbox [is full](Self::full).
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.view.borrow().healthy && self.view.has_changed().is_ok()
    }

    /// How many shares wait, if they are as many as may: new ones are refused.
    #[must_use]
    pub fn full(&self) -> Option<u64> {
        let waiting = self.view.borrow().tally.waiting;
        (waiting >= self.max_waiting).then_some(waiting)
    }

    /// Changes with every commit, also with those of another process on the same file (within 50 ms).
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// What each commit from now on acknowledges, told after it. Bounded: who falls behind by more than 256 commits misses
    /// the older ones, and reads them from the file. Ends with the outbox.
    #[must_use]
    pub fn acknowledgements(&self) -> broadcast::Receiver<Arc<Acknowledgements>> {
        match self.news.upgrade() {
            Some(news) => news.subscribe(),
            None => broadcast::channel(1).1,
        }
    }

    /// Commits what was handed in before and closes the file. Later calls end with [`EnqueueError::Closed`].
    pub async fn close(&self) {
        self.callers.close();
        let (reply, done) = oneshot::channel();
        if self.commands.send(Command::Close { reply }).is_ok() {
            // An error means that the thread has ended: closed by another handle.
            let _ = done.await;
        }
    }

    /// Has a command carried out that changes a number of shares.
    async fn write(
        &self,
        command: impl FnOnce(CountReply, OwnedSemaphorePermit) -> Command,
    ) -> Result<usize, StorageError> {
        let closed = || StorageError::other(&EnqueueError::Closed);
        let permit = self.permit().await.ok_or_else(closed)?;
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply, permit)).map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.callers).acquire_owned().await.ok()
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let connection = Arc::clone(&self.reader).lock_owned().await;
        tokio::task::spawn_blocking(move || query(&connection))
            .await
            .map_err(|error| StorageError::other(&error))?
            .map_err(StorageError::from)
    }

    #[cfg(test)]
    async fn inspect<T: Send + 'static>(&self, look: impl FnOnce(&Connection) -> T + Send + 'static) -> T {
        let (reply, answer) = oneshot::channel();
        let look = Box::new(move |store: &Store| {
            let _ = reply.send(look(store.connection()));
        });
        assert!(self.commands.send(Command::Inspect(look)).is_ok());
        answer.await.unwrap()
    }
}
