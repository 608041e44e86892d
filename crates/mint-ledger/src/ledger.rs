//! The decorator itself: opening, publishing, rebasing, and the one writer's permit.
//!
//! The permit is the lock around the [`Books`]: who may write to the database is who holds the totals, and the totals
//! move only in the hands of a writer. CDK's SQLite store runs on the tokio workers with a busy wait of 10 s, so that a
//! few concurrent writers can block every worker while the one that could go on isn't polled; with one writer at a time
//! SQLite's own lock is never contended.

use std::{fmt, future::Future, path::Path, sync::Arc};

use cdk_common::database::{DynMintDatabase, DynMintTransaction, Error};
use stats_push::{EhashTotals, Totals, UnixMillis};
use tokio::sync::{Mutex, OwnedMutexGuard, broadcast, watch};

use crate::{
    error::LedgerError,
    sqlite::{self, File},
    tally::{Change, Tally},
    transaction::LedgerTransaction,
};

/// Transactions whose issuances a listener may be behind; then it misses the oldest.
const ISSUANCES_KEPT: usize = 1024;

/// The target of the trace events that tell of each version, with its number and its sums over all ehash units as fields:
/// after the commit, and before anybody who [subscribes](Ledger::subscribe) knows. For who measures how old totals are.
pub const PUBLISHED: &str = "mint_ledger::published";

/// Where the ledger takes the wall clock from, for `last_issued_at`.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// How a [`Ledger`] is opened. The default trusts the stored totals and allows what CDK allows.
#[derive(Clone)]
pub struct LedgerOptions {
    /// Refuse a second payment of a quote, and two at once, with [`Error::Duplicate`]. CDK lets quotes of custom
    /// methods be paid again, which moves them back to PAID. Default false.
    pub pay_once: bool,
    /// Payments come with their quotes, so that no payment backend has anything to tell. CDK asks one whenever a wallet looks
    /// at a quote or mints it, after it has noted the time: here it hears that this was done a moment ago, and spares a
    /// write transaction for each. Default false.
    pub paid_at_birth: bool,
    /// Count all quotes by SQL even if totals are stored: what [`Ledger::rebase`] does, before anything runs. It also
    /// replaces stored totals that are unreadable. Default false.
    pub recount: bool,
    /// The wall clock. Default the system's.
    pub clock: Clock,
}

impl Default for LedgerOptions {
    fn default() -> Self {
        Self {
            pay_once: false,
            paid_at_birth: false,
            recount: false,
            clock: Arc::new(UnixMillis::now),
        }
    }
}

impl fmt::Debug for LedgerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pay_once,
            paid_at_birth,
            recount,
            clock: _,
        } = self;
        let mut debug = f.debug_struct("LedgerOptions");
        debug
            .field("pay_once", pay_once)
            .field("paid_at_birth", paid_at_birth)
            .field("recount", recount)
            .finish_non_exhaustive()
    }
}

/// A CDK `MintDatabase` that keeps exact totals of the mint's quotes and tells each committed change.
///
/// Clones share the books and the permit. Only writes that go through the ledger are counted; nothing else may write to
/// the quotes of the same file (see [`Ledger::rebase`] for when something did).
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

/// What the ledger and its open transactions share.
pub(crate) struct Shared {
    pub(crate) inner: DynMintDatabase,
    pub(crate) pay_once: bool,
    paid_at_birth: bool,
    file: File,
    books: Arc<Mutex<Books>>,
    published: watch::Sender<Arc<Totals>>,
    issued: broadcast::Sender<Arc<[Arc<str>]>>,
    clock: Clock,
}

/// The totals of what is committed.
struct Books {
    tally: Tally,
    /// After a failed commit whose outcome could not be learned yet: the next writer must look first.
    in_doubt: bool,
}

/// The one writer's permit. Held from before a transaction begins until it is committed or rolled back.
pub(crate) struct Writer(OwnedMutexGuard<Books>);

impl Ledger {
    /// Opens the ledger of the mint database `inner`, whose SQLite file is `path` (already migrated, as CDK leaves it
    /// after opening).
    ///
    /// Takes the totals that the last run stored, whatever the number of quotes; only the first start ever, or
    /// `options.recount`, counts by SQL and stores the result.
    ///
    /// # Errors
    /// If the file can't be read, holds totals that this version can't read, or the first totals can't be stored.
    pub async fn open(inner: DynMintDatabase, path: &Path, options: LedgerOptions) -> Result<Self, LedgerError> {
        let LedgerOptions {
            pay_once,
            paid_at_birth,
            recount,
            clock,
        } = options;
        let file = File::new(path);
        let stored = blocking(&file, File::stored).await;
        let tally = match stored {
            Ok(Some(tally)) if !recount => tally,
            Ok(stored) => count_and_store(&inner, &file, &stored.unwrap_or_default()).await?,
            Err(LedgerError::Stored { .. }) if recount => count_and_store(&inner, &file, &Tally::default()).await?,
            Err(error) => return Err(error),
        };
        let published = watch::Sender::new(Arc::new(tally.totals()));
        let books = Books { tally, in_doubt: false };
        Ok(Self {
            shared: Arc::new(Shared {
                inner,
                pay_once,
                paid_at_birth,
                file,
                books: Arc::new(Mutex::new(books)),
                published,
                issued: broadcast::Sender::new(ISSUANCES_KEPT),
                clock,
            }),
        })
    }

    /// The totals, now and after every committed change. A version that was seen here is durable.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Totals>> {
        self.shared.published.subscribe()
    }

    /// The requests of the quotes that each transaction from now on issues whole, told after its commit. Best effort,
    /// unlike the totals: who is more than 1,024 transactions behind misses the oldest, and nothing is told again.
    pub fn issuances(&self) -> broadcast::Receiver<Arc<[Arc<str>]>> {
        self.shared.issued.subscribe()
    }

    /// Compares the stored totals with one SQL aggregate: [`crate::audit()`] on this ledger's file, on a blocking thread.
    /// Writers go on meanwhile.
    ///
    /// # Errors
    /// If the file can't be read.
    pub async fn audit(&self) -> Result<crate::Audit, LedgerError> {
        let path = self.shared.file.path().to_owned();
        tokio::task::spawn_blocking(move || crate::audit(&path)).await?
    }

    /// Counts all quotes by SQL again and publishes the result as a new version, which it returns: for an operator who
    /// changed the mint's database by hand. Writers wait meanwhile, about half a second a million quotes.
    ///
    /// # Errors
    /// If the file can't be read or the new totals can't be stored; then the old ones stay.
    pub async fn rebase(&self) -> Result<u64, LedgerError> {
        let shared = Arc::clone(&self.shared);
        let mut writer = shared.writer().await?;
        tokio::spawn(async move {
            let tally = count_and_store(&shared.inner, &shared.file, &writer.0.tally).await?;
            let version = tally.version;
            shared.publish(&mut writer, tally);
            Ok(version)
        })
        .await?
    }

    pub(crate) fn inner(&self) -> &DynMintDatabase {
        &self.shared.inner
    }

    /// See [`LedgerOptions::paid_at_birth`].
    pub(crate) fn paid_at_birth(&self) -> bool {
        self.shared.paid_at_birth
    }

    /// The permit alone, for a write that CDK makes outside of any transaction.
    pub(crate) async fn writer(&self) -> Result<Writer, Error> {
        self.shared.writer().await
    }

    /// Waits for the permit, which a cancelled caller simply stops doing; then begins in a task of its own, so that a
    /// caller cancelled from here on leaves a whole transaction to roll back, and not a half-begun one.
    pub(crate) async fn begin(&self) -> Result<LedgerTransaction, Error> {
        let shared = Arc::clone(&self.shared);
        let writer = shared.writer().await?;
        in_own_task(async move {
            let inner = shared.inner.begin_transaction().await?;
            Ok(LedgerTransaction::new(inner, writer, shared))
        })
        .await
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = self.shared.published.borrow();
        f.debug_struct("Ledger")
            .field("file", &self.shared.file.path())
            .field("version", &totals.version)
            .finish_non_exhaustive()
    }
}

impl Shared {
    async fn writer(&self) -> Result<Writer, Error> {
        let mut writer = Writer(Arc::clone(&self.books).lock_owned().await);
        if writer.0.in_doubt {
            self.reconcile(&mut writer)
                .await
                .map_err(|error| Error::Internal(error.to_string()))?;
        }
        Ok(writer)
    }

    /// Commits `inner` together with the totals after `changes`; publishes after the Ok, and only then. Runs in a task
    /// of its own: its caller may go away at any moment.
    pub(crate) async fn commit(
        &self,
        mut inner: DynMintTransaction,
        mut writer: Writer,
        changes: &[Change],
    ) -> Result<(), Error> {
        let next = if changes.iter().all(|change| change.before == change.after) {
            None
        } else {
            let mut tally = writer.0.tally.clone();
            let touched = tally.apply(changes, (self.clock)());
            tally.version += 1;
            if let Err(error) = store(&mut inner, &tally, &touched).await {
                inner.rollback().await?;
                return Err(error);
            }
            Some(tally)
        };
        match inner.commit().await {
            Ok(()) => {
                if let Some(tally) = next {
                    self.publish(&mut writer, tally);
                    self.tell_issued(changes);
                }
                Ok(())
            }
            Err(error) => {
                if let Err(unknown) = self.reconcile(&mut writer).await {
                    tracing::error!("after a failed commit ({error}) the totals could not be read: {unknown}");
                }
                Err(error)
            }
        }
    }

    /// Learns from the file what is committed, after a commit that failed: the stored totals went with the quotes or
    /// stayed with them. Waits until the failed transaction is rolled back, so that the next one finds the lock free.
    async fn reconcile(&self, writer: &mut Writer) -> Result<(), LedgerError> {
        writer.0.in_doubt = true;
        let stored = blocking(&self.file, File::stored_at_rest).await?;
        let tally = stored.ok_or_else(|| LedgerError::NoTotals {
            path: self.file.path().to_owned(),
        })?;
        writer.0.in_doubt = false;
        if tally != writer.0.tally {
            self.publish(writer, tally);
        }
        Ok(())
    }

    fn tell_issued(&self, changes: &[Change]) {
        let issued = changes.iter().filter(|change| change.issues_whole());
        let requests: Arc<[_]> = issued.map(|change| Arc::clone(&change.request)).collect();
        if !requests.is_empty() {
            // An error means that nobody listens.
            let _ = self.issued.send(requests);
        }
    }

    fn publish(&self, writer: &mut Writer, tally: Tally) {
        let totals = tally.totals();
        trace(&totals);
        self.published.send_replace(Arc::new(totals));
        writer.0.tally = tally;
    }
}

/// Tells of a version right before the subscribers hear of it, on the thread that committed it.
fn trace(totals: &Totals) {
    let EhashTotals {
        quotes_redeemed,
        quotes,
        amounts,
    } = totals.ehash;
    tracing::trace!(
        target: PUBLISHED,
        version = totals.version,
        quotes_redeemed,
        quotes_unpaid = quotes.unpaid,
        quotes_paid = quotes.paid,
        quotes_issued = quotes.issued,
        amount_unpaid = amounts.unpaid,
        amount_paid = amounts.paid,
        amount_issued = amounts.issued,
    );
}

/// Counts by SQL and stores the result as the version after `older`'s.
async fn count_and_store(inner: &DynMintDatabase, file: &File, older: &Tally) -> Result<Tally, LedgerError> {
    let mut tally = blocking(file, File::counted).await?;
    tally.version = older.version + 1;
    tally.refine_times(older);
    let all: Vec<_> = (0..tally.units.len()).collect();
    let mut transaction = inner.begin_transaction().await?;
    store(&mut transaction, &tally, &all).await?;
    transaction.commit().await?;
    Ok(tally)
}

/// Writes the totals, as far as they changed, into a transaction.
async fn store(transaction: &mut DynMintTransaction, tally: &Tally, touched: &[usize]) -> Result<(), Error> {
    for (key, value) in sqlite::rows(tally, touched)? {
        transaction
            .kv_write(sqlite::NAMESPACE, sqlite::FORMAT, &key, &value)
            .await?;
    }
    Ok(())
}

/// Runs what blocks on a thread where it may.
async fn blocking<T: Send + 'static>(
    file: &File,
    read: impl FnOnce(&File) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    let file = file.clone();
    tokio::task::spawn_blocking(move || read(&file)).await?
}

/// Runs a step to its end even if its caller is cancelled meanwhile.
pub(crate) async fn in_own_task<T: Send + 'static>(
    step: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match tokio::spawn(step).await {
        Ok(result) => result,
        Err(error) => Err(Error::Internal(format!("database task ended early: {error}"))),
    }
}
