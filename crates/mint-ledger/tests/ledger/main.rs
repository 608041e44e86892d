//! The ledger on real cdk-sqlite files: after whatever happened to transactions, what it published, what it stored and
//! what SQL counts are the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use cdk_common::{
    Amount,
    database::{DynMintTransaction, Error, MintDatabase, MintQuotesDatabase, mint::Acquired},
    mint::MintQuote,
    nuts::{CurrencyUnit, PaymentMethod},
    payment::PaymentIdentifier,
    quote_id::QuoteId,
};
use cdk_sqlite::mint::MintSqliteDatabase;
use mint_ledger::{Ledger, LedgerError, LedgerOptions};
use proptest::prelude::*;
use stats_push::{PerState, Totals, UnixMillis};

mod properties;

/// A mint database in a directory of its own.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("mint.sqlite")
    }

    async fn database(&self) -> Arc<MintSqliteDatabase> {
        Arc::new(MintSqliteDatabase::new(&self.path()).await.unwrap())
    }

    async fn open_with(&self, options: LedgerOptions) -> Result<Ledger, LedgerError> {
        Ledger::open(self.database().await, &self.path(), options).await
    }

    async fn open(&self) -> Ledger {
        self.open_with(LedgerOptions::default()).await.unwrap()
    }

    /// A connection beside the mint's: the operator's hand in the file.
    fn by_hand(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

fn quote(unit: &str, amount: Option<u64>) -> MintQuote {
    let id = QuoteId::new();
    let unit = CurrencyUnit::custom(unit);
    let none = Amount::new(0, unit.clone());
    MintQuote::new(
        Some(id.clone()),
        id.to_string(),
        unit.clone(),
        amount.map(|amount| Amount::new(amount, unit)),
        0,
        PaymentIdentifier::CustomId(id.to_string()),
        None,
        none.clone(),
        none,
        PaymentMethod::Custom("ehash".into()),
        1,
        1,
        vec![],
        vec![],
        None,
    )
}

async fn begin(ledger: &Ledger) -> DynMintTransaction {
    ledger.begin_transaction().await.unwrap()
}

async fn pay(tx: &mut DynMintTransaction, quote: &mut Acquired<MintQuote>, amount: u64) -> Result<(), Error> {
    let amount = Amount::new(amount, quote.unit.clone());
    quote.add_payment(amount, QuoteId::new().to_string(), None).unwrap();
    tx.update_mint_quote(quote).await
}

async fn issue(tx: &mut DynMintTransaction, quote: &mut Acquired<MintQuote>, amount: u64) -> Result<(), Error> {
    let amount = Amount::new(amount, quote.unit.clone());
    quote.add_issuance(amount).unwrap();
    tx.update_mint_quote(quote).await
}

/// Adds a quote, pays `paid` and issues `issued` of it, in one committed transaction.
async fn commit_quote(ledger: &Ledger, unit: &str, asked: u64, paid: u64, issued: u64) -> QuoteId {
    let mut tx = begin(ledger).await;
    let mut quote = tx.add_mint_quote(quote(unit, Some(asked))).await.unwrap();
    if paid > 0 {
        pay(&mut tx, &mut quote, paid).await.unwrap();
    }
    if issued > 0 {
        issue(&mut tx, &mut quote, issued).await.unwrap();
    }
    tx.commit().await.unwrap();
    quote.id.clone()
}

fn totals(ledger: &Ledger) -> Arc<Totals> {
    ledger.subscribe().borrow().clone()
}

/// Waits for what is still under way, then: published = stored = counted by SQL.
async fn assert_exact(ledger: &Ledger) -> Totals {
    begin(ledger).await.rollback().await.unwrap();
    let published = (*totals(ledger)).clone();
    let audit = ledger.audit().await.unwrap();
    assert!(audit.is_consistent(), "{audit}");
    assert_eq!(audit.version, published.version);
    assert_eq!(without_times(&audit.counted), without_times(&published));
    published
}

/// SQL knows the second of an issuance only.
fn without_times(totals: &Totals) -> Totals {
    let mut totals = totals.clone();
    let units = totals.units.iter().cloned().map(|mut unit| {
        unit.last_issued_at = None;
        unit
    });
    totals.units = units.collect();
    totals
}

/// A caller who is cancelled the first time it has to wait.
async fn poll_once<T>(mut future: Pin<Box<dyn Future<Output = T> + Send + '_>>) -> Option<T> {
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// While `fail_next` holds a row, a commit after any change of a quote fails at COMMIT itself: a deferred foreign key.
const FAILING_COMMITS: &str = "
    CREATE TABLE parent (id INTEGER PRIMARY KEY);
    CREATE TABLE child (parent INTEGER REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE fail_next (x);
    CREATE TRIGGER fail_after_insert AFTER INSERT ON mint_quote WHEN EXISTS (SELECT 1 FROM fail_next)
        BEGIN INSERT INTO child VALUES (99); END;
    CREATE TRIGGER fail_after_update AFTER UPDATE ON mint_quote WHEN EXISTS (SELECT 1 FROM fail_next)
        BEGIN INSERT INTO child VALUES (99); END;";

fn set_failing(path: &Path, failing: bool) {
    let statement = if failing {
        "INSERT INTO fail_next VALUES (1)"
    } else {
        "DELETE FROM fail_next"
    };
    rusqlite::Connection::open(path)
        .unwrap()
        .execute(statement, [])
        .unwrap();
}

#[tokio::test]
async fn a_quote_is_counted_through_all_its_states() {
    let files = Files::new();
    let ledger = files.open().await;
    assert_eq!(totals(&ledger).version, 1);

    let id = commit_quote(&ledger, "hash", 8, 0, 0).await;
    let states = |unpaid, paid, issued| PerState { unpaid, paid, issued };
    let seen = assert_exact(&ledger).await;
    assert_eq!(
        (seen.ehash.quotes, seen.ehash.amounts),
        (states(1, 0, 0), states(8, 0, 0))
    );

    let mut tx = begin(&ledger).await;
    let mut quote = tx.get_mint_quote(&id).await.unwrap().unwrap();
    pay(&mut tx, &mut quote, 8).await.unwrap();
    tx.commit().await.unwrap();
    let seen = assert_exact(&ledger).await;
    assert_eq!(
        (seen.ehash.quotes, seen.ehash.amounts),
        (states(0, 1, 0), states(0, 8, 0))
    );

    for (amount, quotes, amounts) in [
        (3, states(0, 1, 0), states(0, 5, 3)),
        (5, states(0, 0, 1), states(0, 0, 8)),
    ] {
        let mut tx = begin(&ledger).await;
        let mut quote = tx
            .get_mint_quotes_by_ids(std::slice::from_ref(&id))
            .await
            .unwrap()
            .remove(0)
            .unwrap();
        issue(&mut tx, &mut quote, amount).await.unwrap();
        tx.commit().await.unwrap();
        let seen = assert_exact(&ledger).await;
        assert_eq!(
            (seen.ehash.quotes, seen.ehash.amounts, seen.ehash.quotes_redeemed),
            (quotes, amounts, 1)
        );
    }
    assert_eq!(totals(&ledger).version, 5);
}

#[tokio::test]
async fn nothing_is_told_before_the_commit() {
    let files = Files::new();
    let ledger = files.open().await;
    let mut watch = ledger.subscribe();
    watch.mark_unchanged();
    let mut tx = begin(&ledger).await;
    let mut quote = tx.add_mint_quote(quote("hash", Some(4))).await.unwrap();
    pay(&mut tx, &mut quote, 4).await.unwrap();
    assert!(!watch.has_changed().unwrap());
    assert_eq!(ledger.audit().await.unwrap().counted.ehash.quotes.paid, 0);
    tx.commit().await.unwrap();
    assert!(watch.has_changed().unwrap());
    assert_eq!(watch.borrow_and_update().ehash.quotes.paid, 1);

    // A commit that changed no quote is no event, and neither is a rolled-back one.
    begin(&ledger).await.commit().await.unwrap();
    let mut tx = begin(&ledger).await;
    tx.add_mint_quote(crate::quote("hash", Some(4))).await.unwrap();
    tx.rollback().await.unwrap();
    assert!(!watch.has_changed().unwrap());
    assert_exact(&ledger).await;
}

async fn dropped_then_begun() {
    let files = Files::new();
    let ledger = files.open().await;
    let started = Instant::now();
    for _ in 0..50 {
        let mut tx = begin(&ledger).await;
        tx.add_mint_quote(quote("hash", Some(1))).await.unwrap();
        drop(tx);
        begin(&ledger).await.commit().await.unwrap();
    }
    // SQLite's busy wait is 10 s: one collision with a pending rollback would show.
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    assert_eq!(assert_exact(&ledger).await.version, 1);
}

#[tokio::test]
async fn leak_a_the_permit_stays_with_a_dropped_transaction_until_its_rollback_on_one_thread() {
    dropped_then_begun().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leak_a_the_permit_stays_with_a_dropped_transaction_until_its_rollback_on_two_threads() {
    dropped_then_begun().await;
}

/// On a worker the task that was spawned last runs first: the next writer before a rollback that nobody waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn leak_a_the_permit_stays_with_a_dropped_transaction_until_its_rollback_on_a_worker() {
    tokio::spawn(dropped_then_begun()).await.unwrap();
}

#[tokio::test]
async fn leak_a_a_caller_cancelled_while_beginning_leaves_the_lock_free() {
    let files = Files::new();
    let ledger = files.open().await;
    for _ in 0..20 {
        assert!(poll_once(ledger.begin_transaction()).await.is_none());
    }
    let started = Instant::now();
    begin(&ledger).await.commit().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(9));
}

#[tokio::test]
async fn leak_b_a_cancelled_caller_does_not_part_commit_and_publish() {
    let files = Files::new();
    let ledger = files.open().await;
    let mut watch = ledger.subscribe();
    for n in 1..=10 {
        let mut tx = begin(&ledger).await;
        tx.add_mint_quote(quote("hash", Some(1))).await.unwrap();
        assert!(
            poll_once(tx.commit()).await.is_none(),
            "the commit was not cancelled: the test shows nothing"
        );
        watch.wait_for(|totals| totals.ehash.quotes.unpaid == n).await.unwrap();
        assert_exact(&ledger).await;
    }
}

#[tokio::test]
async fn leak_c_a_start_takes_the_stored_totals_and_counts_nothing() {
    let files = Files::new();
    let ledger = files.open().await;
    commit_quote(&ledger, "hash", 8, 8, 8).await;
    let before = assert_exact(&ledger).await;
    drop(ledger);

    // Rows that the ledger was not told of: only a count would see them.
    files
        .by_hand()
        .execute("UPDATE mint_quote SET amount_paid = 9, amount_issued = 9", [])
        .unwrap();
    let ledger = files.open().await;
    assert_eq!(*totals(&ledger), before);
    let audit = ledger.audit().await.unwrap();
    assert!(!audit.is_consistent());
    assert_eq!(
        audit.to_string(),
        "the ledger differs from the database at version 2:\n  hash: issued amount: ledger 8, database 9"
    );

    let mut watch = ledger.subscribe();
    watch.mark_unchanged();
    assert_eq!(ledger.rebase().await.unwrap(), 3);
    assert!(watch.has_changed().unwrap());
    assert_eq!(assert_exact(&ledger).await.ehash.amounts.issued, 9);
    drop(ledger);
    assert_eq!(totals(&files.open().await).version, 3);
}

#[tokio::test]
async fn the_first_start_counts_what_is_there() {
    let files = Files::new();
    let plain = files.database().await;
    for (unit, amount) in [("sat", 5), ("hash", 8), ("hash", 16)] {
        let mut tx = MintDatabase::begin_transaction(&*plain).await.unwrap();
        let mut quote = tx.add_mint_quote(quote(unit, Some(amount))).await.unwrap();
        pay(&mut tx, &mut quote, amount).await.unwrap();
        issue(&mut tx, &mut quote, 1).await.unwrap();
        tx.commit().await.unwrap();
    }
    let ledger = files.open().await;
    let seen = assert_exact(&ledger).await;
    assert_eq!(seen.version, 1);
    assert_eq!(
        seen.units.iter().map(|unit| &*unit.unit).collect::<Vec<_>>(),
        ["sat", "hash"]
    );
    assert_eq!(
        (
            seen.ehash.quotes_redeemed,
            seen.ehash.amounts.issued,
            seen.ehash.amounts.paid
        ),
        (2, 2, 22)
    );
    assert!(
        seen.units
            .iter()
            .all(|unit| unit.last_issued_at > Some(UnixMillis(1_700_000_000_000)))
    );
}

#[tokio::test]
async fn a_reopened_ledger_says_the_same_to_the_millisecond() {
    let files = Files::new();
    let time = Arc::new(AtomicU64::new(1_800_000_000_123));
    let options = || {
        let time = Arc::clone(&time);
        LedgerOptions {
            clock: Arc::new(move || UnixMillis(time.load(Ordering::Relaxed))),
            ..LedgerOptions::default()
        }
    };
    let ledger = files.open_with(options()).await.unwrap();
    commit_quote(&ledger, "hash_a_1", 8, 8, 8).await;
    time.store(1_800_000_000_456, Ordering::Relaxed);
    commit_quote(&ledger, "hash_b_2", 8, 8, 8).await;
    commit_quote(&ledger, "hash_a_1", 8, 8, 0).await;
    let before = assert_exact(&ledger).await;
    assert_eq!(
        before
            .units
            .iter()
            .map(|unit| (&*unit.unit, unit.last_issued_at.unwrap().0))
            .collect::<Vec<_>>(),
        [("hash_a_1", 1_800_000_000_123), ("hash_b_2", 1_800_000_000_456)]
    );
    drop(ledger);
    let ledger = files.open_with(options()).await.unwrap();
    assert_eq!(*totals(&ledger), before);
    commit_quote(&ledger, "hash_b_2", 1, 0, 0).await;
    assert_eq!(totals(&ledger).version, before.version + 1);
}

async fn failed_commits() {
    let files = Files::new();
    let ledger = files.open().await;
    commit_quote(&ledger, "hash", 8, 8, 0).await;
    files.by_hand().execute_batch(FAILING_COMMITS).unwrap();
    let before = assert_exact(&ledger).await;
    for _ in 0..5 {
        set_failing(&files.path(), true);
        let mut tx = begin(&ledger).await;
        let mut added = tx.add_mint_quote(quote("hash", Some(4))).await.unwrap();
        pay(&mut tx, &mut added, 4).await.unwrap();
        assert!(tx.commit().await.is_err());
        // At once, without SQLite's busy wait: the failed transaction is rolled back.
        let started = Instant::now();
        begin(&ledger).await.rollback().await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(9));
        assert_eq!(assert_exact(&ledger).await, before);
        set_failing(&files.path(), false);
    }
    commit_quote(&ledger, "hash", 8, 8, 8).await;
    assert_eq!(assert_exact(&ledger).await.version, before.version + 1);
}

#[tokio::test]
async fn a_failed_commit_counts_nothing_on_one_thread() {
    failed_commits().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_commit_counts_nothing_on_two_threads() {
    failed_commits().await;
}

#[tokio::test]
async fn an_update_of_a_stale_quote_is_counted_as_the_database_saw_it() {
    let files = Files::new();
    let ledger = files.open().await;
    let id = commit_quote(&ledger, "hash", 8, 0, 0).await;
    let mut stale: Acquired<MintQuote> = ledger.get_mint_quote(&id).await.unwrap().unwrap().into();
    let mut tx = begin(&ledger).await;
    let mut fresh = tx.get_mint_quote(&id).await.unwrap().unwrap();
    pay(&mut tx, &mut fresh, 5).await.unwrap();
    tx.commit().await.unwrap();
    // Not read in its transaction, and wrong about what is paid: CDK stores the stale sum.
    let mut tx = begin(&ledger).await;
    pay(&mut tx, &mut stale, 3).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(assert_exact(&ledger).await.ehash.amounts.paid, 3);
}

#[tokio::test]
async fn a_quote_that_is_added_as_paid_counts_as_it_is_stored() {
    let files = Files::new();
    let ledger = files.open().await;
    let unit = CurrencyUnit::custom("hash");
    let mut odd = quote("hash", Some(9));
    odd.amount = None;
    let paid = MintQuote::new(
        Some(odd.id.clone()),
        odd.request.clone(),
        unit.clone(),
        None,
        0,
        odd.request_lookup_id.clone(),
        None,
        Amount::new(9, unit.clone()),
        Amount::new(0, unit),
        odd.payment_method.clone(),
        1,
        1,
        vec![],
        vec![],
        None,
    );
    let mut tx = begin(&ledger).await;
    let mut quote = tx.add_mint_quote(paid).await.unwrap();
    tx.update_mint_quote(&mut quote).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(assert_exact(&ledger).await.ehash.quotes.unpaid, 1);
}

#[tokio::test]
async fn an_update_that_failed_half_way_is_read_again() {
    let files = Files::new();
    let ledger = files.open().await;
    let id = commit_quote(&ledger, "hash", 8, 0, 0).await;
    // The row is written, and then the update fails: CDK finds the quote gone when it reads it back.
    let refuse = "CREATE TRIGGER gone AFTER UPDATE ON mint_quote WHEN NEW.amount_paid = 7
        BEGIN DELETE FROM mint_quote_payments WHERE quote_id = NEW.id; DELETE FROM mint_quote WHERE id = NEW.id; END;";
    files.by_hand().execute_batch(refuse).unwrap();
    let mut tx = begin(&ledger).await;
    let mut quote = tx.get_mint_quote(&id).await.unwrap().unwrap();
    assert!(pay(&mut tx, &mut quote, 7).await.is_err());
    tx.commit().await.unwrap();
    let seen = totals(&ledger);
    assert_eq!((seen.version, seen.ehash.quotes), (3, PerState::default()));
}

#[tokio::test]
async fn huge_sums_saturate_and_still_agree_with_sql() {
    let files = Files::new();
    let ledger = files.open().await;
    for _ in 0..5 {
        commit_quote(&ledger, "hash", 1 << 62, 1 << 62, 1 << 62).await;
        commit_quote(&ledger, "hash", 1 << 62, 1 << 62, 0).await;
        commit_quote(&ledger, "hash", 1 << 62, 0, 0).await;
    }
    let everything = PerState {
        unpaid: u64::MAX,
        paid: u64::MAX,
        issued: u64::MAX,
    };
    assert_eq!(assert_exact(&ledger).await.ehash.amounts, everything);
    let recount = LedgerOptions {
        recount: true,
        ..LedgerOptions::default()
    };
    drop(ledger);
    let ledger = files.open_with(recount).await.unwrap();
    assert_eq!(assert_exact(&ledger).await.ehash.amounts, everything);
}

#[tokio::test]
async fn a_second_payment_is_refused_where_asked_for() {
    let files = Files::new();
    let ledger = files
        .open_with(LedgerOptions {
            pay_once: true,
            ..LedgerOptions::default()
        })
        .await
        .unwrap();
    let id = commit_quote(&ledger, "hash", 8, 8, 8).await;
    let mut tx = begin(&ledger).await;
    let mut paid = tx.get_mint_quote(&id).await.unwrap().unwrap();
    assert!(matches!(pay(&mut tx, &mut paid, 8).await, Err(Error::Duplicate)));
    drop(tx);
    let mut tx = begin(&ledger).await;
    let mut fresh = tx.add_mint_quote(quote("hash", Some(2))).await.unwrap();
    let one = Amount::new(1, fresh.unit.clone());
    fresh.add_payment(one.clone(), "first".into(), None).unwrap();
    fresh.add_payment(one, "second".into(), None).unwrap();
    assert!(matches!(tx.update_mint_quote(&mut fresh).await, Err(Error::Duplicate)));
    drop(tx);
    assert_eq!(
        assert_exact(&ledger).await.ehash.quotes,
        PerState {
            issued: 1,
            ..PerState::default()
        }
    );
}

#[tokio::test]
async fn stored_totals_that_make_no_sense_are_an_error_until_a_recount() {
    let files = Files::new();
    commit_quote(&files.open().await, "hash", 8, 8, 8).await;
    let broken = "UPDATE kv_store SET value = X'78' WHERE primary_namespace = 'ehash_ledger' AND key = 'unit-0'";
    assert_eq!(files.by_hand().execute(broken, []).unwrap(), 1);
    let error = files.open_with(LedgerOptions::default()).await.unwrap_err();
    assert!(matches!(error, LedgerError::Stored { .. }), "{error}");
    let ledger = files
        .open_with(LedgerOptions {
            recount: true,
            ..LedgerOptions::default()
        })
        .await
        .unwrap();
    assert_eq!(assert_exact(&ledger).await.ehash.quotes_redeemed, 1);
}

#[tokio::test]
async fn an_audit_of_a_file_without_totals_says_so() {
    let files = Files::new();
    files.database().await;
    assert!(matches!(
        mint_ledger::audit(&files.path()),
        Err(LedgerError::NoTotals { .. })
    ));
    assert!(matches!(
        mint_ledger::audit(Path::new("/nowhere/mint.sqlite")),
        Err(LedgerError::Sqlite { .. })
    ));
}

/// Two workers and many writers is where stock cdk-sqlite stalls in "database is locked".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_writers_never_meet_a_locked_database() {
    let files = Files::new();
    let ledger = files.open().await;
    for writers in [8, 32] {
        let tasks = (0..writers).map(|n| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                for round in 0..5_u64 {
                    let mut tx = ledger.begin_transaction().await?;
                    let mut quote = tx.add_mint_quote(quote("hash", Some(n + 1))).await?;
                    pay(&mut tx, &mut quote, n + 1).await?;
                    if round == 2 {
                        drop(tx);
                        continue;
                    }
                    tx.commit().await?;
                    ledger.try_update_mint_quote_last_checked(&quote.id, 100, 1).await?;
                }
                Ok::<_, Error>(())
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap().unwrap();
        }
    }
    assert_eq!(assert_exact(&ledger).await.ehash.quotes.paid, 4 * (8 + 32));
}
