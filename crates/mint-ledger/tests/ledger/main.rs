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

mod commits;
mod counting;
mod epochs;
mod properties;
mod starts;

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
