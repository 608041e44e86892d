//! A mint's database with any number of quotes in it, made in seconds: for whatever must not depend on how many there are.
//!
//! CDK makes the schema, by opening the file as a mint does. The rows are those that a mint leaves behind, in the columns
//! that CDK fills, written in one transaction; the ledger then counts them, as it does at its first start.

use std::path::{Path, PathBuf};

use bitcoin::hashes::{Hash as _, sha256};
use cdk_common::quote_id::QuoteId;
use cdk_sqlite::mint::MintSqliteDatabase;
use rusqlite::{Connection, params};

use crate::Truth;

/// When the first quote was made, in Unix seconds. A hundred follow in each second.
const FIRST: u64 = 1_795_000_000;
const A_SECOND: u64 = 100;

/// Any key that CDK can read: the generator of secp256k1.
pub(crate) const LOCKING_KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

const QUOTE: &str = "
    INSERT INTO mint_quote (id, amount, unit, request, expiry, request_lookup_id, request_lookup_id_kind, pubkey,
                            created_time, updated_at, amount_paid, amount_issued, payment_method, extra_json)
    VALUES (?1, ?2, 'hash', ?3, 4294967295, ?1, 'quote_id', ?4, ?5, ?5, ?6, ?7, 'ehash', 'null')";
const PAYMENT: &str = "
    INSERT INTO mint_quote_payments (quote_id, payment_id, timestamp, amount) VALUES (?1, ?1, ?2, ?3)";
const ISSUANCE: &str = "
    INSERT INTO mint_quote_issued (quote_id, amount, timestamp) VALUES (?1, ?2, ?3)";

/// One of the rows, by its number.
struct Row {
    id: String,
    /// Of the share: scattered, as hashes are.
    request: String,
    made: u64,
    asked: u64,
    paid: u64,
    issued: u64,
}

impl Row {
    /// Of ten quotes one is unpaid, three are paid, one of these issued in part, and five are issued.
    fn new(n: u64) -> Self {
        let made = FIRST + n / A_SECOND;
        // As a UUID of version 7 is built: it grows with the time.
        let millis = made * 1000;
        let asked = 2 << (n % 16);
        let (paid, issued) = match n % 10 {
            0 => (0, 0),
            1..=3 => (asked, 0),
            4 => (asked, asked / 2),
            _ => (asked, asked),
        };
        Self {
            id: format!("{:08x}-{:04x}-7000-8000-{n:012x}", millis >> 16, millis & 0xffff),
            request: sha256::Hash::hash(&n.to_le_bytes()).to_string(),
            made,
            asked,
            paid,
            issued,
        }
    }

    fn count_in(&self, truth: &mut Truth) {
        let (state, amount) = match (self.paid, self.issued) {
            (0, 0) => (0, self.asked),
            (paid, issued) if paid > issued => (1, paid - issued),
            _ => (2, 0),
        };
        truth.quotes[state] += 1;
        truth.amounts[state] += amount;
        truth.amounts[2] += self.issued;
        truth.redeemed += u64::from(self.issued > 0);
    }
}

/// Adds this many quotes to the mint's database at `path`, which is made if it isn't there and holds none yet; returns the
/// figures that they add up to. Blocks: a million takes about half a minute, and a gigabyte.
///
/// A ledger that has been opened on the file before must recount.
pub async fn store_quotes(path: &Path, quotes: u64) -> Truth {
    drop(MintSqliteDatabase::new(&path.to_path_buf()).await.unwrap());
    let mut connection = Connection::open(path).unwrap();
    // Whoever loses power meanwhile makes the file again.
    let fast = "PRAGMA synchronous = OFF; PRAGMA cache_size = -262144";
    connection.execute_batch(fast).unwrap();
    let transaction = connection.transaction().unwrap();
    let mut truth = Truth::default();
    let mut quote = transaction.prepare(QUOTE).unwrap();
    let mut payment = transaction.prepare(PAYMENT).unwrap();
    let mut issuance = transaction.prepare(ISSUANCE).unwrap();
    for row in (0..quotes).map(Row::new) {
        row.count_in(&mut truth);
        let Row {
            id,
            request,
            made,
            asked,
            paid,
            issued,
        } = row;
        quote
            .execute(params![id, asked, request, LOCKING_KEY, made, paid, issued])
            .unwrap();
        if paid > 0 {
            payment.execute(params![id, made, paid]).unwrap();
        }
        if issued > 0 {
            issuance.execute(params![id, issued, made + 1]).unwrap();
        }
    }
    drop((quote, payment, issuance));
    transaction.commit().unwrap();
    truth
}

/// A database with this many quotes and no ledger in it yet, from `folder`: made at the first call, and kept there.
pub async fn kept(folder: &Path, quotes: u64) -> PathBuf {
    let path = folder.join(format!("stored-{quotes}.sqlite"));
    // They were written in one transaction: all or none.
    let complete = path.exists() && count(&path) == Some(quotes);
    if !complete {
        eprintln!("making a database of {quotes} quotes: {}", path.display());
        for suffix in ["sqlite", "sqlite-wal", "sqlite-shm"] {
            // Left behind by one that was interrupted, if it is there.
            let _ = std::fs::remove_file(path.with_extension(suffix));
        }
        store_quotes(&path, quotes).await;
    }
    path
}

/// How many quotes the file holds; `None` if it is no mint's database.
fn count(path: &Path) -> Option<u64> {
    let connection = Connection::open(path).ok()?;
    connection
        .query_row("SELECT COUNT(*) FROM mint_quote", [], |row| row.get(0))
        .ok()
}

/// Quotes that are paid and of which nothing is issued, the oldest first.
pub fn paid_quotes(path: &Path, at_most: u32) -> Vec<QuoteId> {
    let connection = Connection::open(path).unwrap();
    let mut paid = connection
        .prepare("SELECT id FROM mint_quote WHERE amount_paid > 0 AND amount_issued = 0 ORDER BY rowid LIMIT ?1")
        .unwrap();
    let ids = paid.query_map([at_most], |row| row.get::<_, String>(0)).unwrap();
    ids.map(|id| id.unwrap().parse().unwrap()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cdk_common::database::MintQuotesDatabase;
    use mint_ledger::{Ledger, LedgerOptions};

    use super::*;
    use crate::truth;

    #[tokio::test]
    async fn p11_stored_quotes_add_up_to_what_they_are_said_to_for_sql_and_for_the_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mint.sqlite");
        let stored = store_quotes(&path, 1_000).await;
        assert_eq!(stored.quotes, [100, 400, 500]);
        assert_eq!(stored.redeemed, 600);
        assert_eq!(truth(&path), stored);

        let database = Arc::new(MintSqliteDatabase::new(&path).await.unwrap());
        let ledger = Ledger::open(database, &path, LedgerOptions::default()).await.unwrap();
        let audit = ledger.audit().await.unwrap();
        assert!(audit.is_consistent(), "{audit}");
        let ehash = ledger.subscribe().borrow().ehash;
        let told = Truth {
            redeemed: ehash.quotes_redeemed,
            quotes: [ehash.quotes.unpaid, ehash.quotes.paid, ehash.quotes.issued],
            amounts: [ehash.amounts.unpaid, ehash.amounts.paid, ehash.amounts.issued],
        };
        assert_eq!(told, stored);
    }

    #[tokio::test]
    async fn cdk_reads_stored_quotes_as_those_that_it_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = kept(folder.path(), 20).await;
        let made = std::fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(kept(folder.path(), 20).await, path);
        assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), made);

        let database = MintSqliteDatabase::new(&path).await.unwrap();
        for row in (0..20).map(Row::new) {
            let id = row.id.parse().unwrap();
            let quote = database.get_mint_quote(&id).await.unwrap().unwrap();
            assert_eq!((quote.id.to_string(), &quote.request), (row.id, &row.request));
            let amounts = [quote.amount_paid().value(), quote.amount_issued().value()];
            assert_eq!(amounts, [row.paid, row.issued]);
            assert_eq!(quote.payments.len(), usize::from(row.paid > 0));
            assert_eq!(quote.issuance.len(), usize::from(row.issued > 0));
            assert_eq!(quote.pubkey.unwrap().to_string(), LOCKING_KEY);
        }
        assert_eq!(paid_quotes(&path, 4).len(), 4);
    }
}
