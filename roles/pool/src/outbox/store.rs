//! The outbox's SQLite file: schema and statements, nothing about threads.
//!
//! One row a share, from its acceptance until it is pruned. The tallies live in the same file and change in the same
//! transaction as the rows that they count, so they are exact whatever was killed, and right when a second process
//! writes to the file as well.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use tracing::info;

use super::types::{AcceptedShare, AcknowledgedQuote, Acknowledgements, Answer, Settlement, Tally};
use crate::amount::HeaderHash;

/// How long a writer waits for another process that holds the write lock, for one commit usually.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// What the log may keep of its size after a checkpoint, in bytes.
const JOURNAL_SIZE_LIMIT: i64 = 64 << 20;
/// The layout below, in SQLite's `user_version`.
const SCHEMA_VERSION: i64 = 2;

/// `settled_seq` numbers the answers in the order of their commit: it is the cursor of acknowledged quotes and the
/// order of pruning. `state`: 0 waiting, 1 acknowledged, 2 refused, 3 acknowledged and redeemed.
const SCHEMA: &str = "
CREATE TABLE share (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    header_hash     BLOB    NOT NULL UNIQUE,
    amount          INTEGER NOT NULL,
    locking_key     BLOB    NOT NULL,
    accepted_at_ms  INTEGER NOT NULL,
    state           INTEGER NOT NULL DEFAULT 0,
    settled_seq     INTEGER,
    settled_at_ms   INTEGER,
    quote_id        TEXT,
    refusal_code    INTEGER,
    refusal_message TEXT
) STRICT;
CREATE INDEX share_waiting ON share (id) WHERE state = 0;
CREATE INDEX share_settled ON share (settled_seq) WHERE state <> 0;
CREATE INDEX share_redeemable ON share (locking_key, settled_seq) WHERE state = 1 AND quote_id IS NOT NULL;
CREATE TABLE tally (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    requested    INTEGER NOT NULL,
    waiting      INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL,
    without_id   INTEGER NOT NULL,
    kept         INTEGER NOT NULL,
    settled_seq  INTEGER NOT NULL,
    redeemed     INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO tally VALUES (1, 0, 0, 0, 0, 0, 0, 0);
CREATE TABLE refused (
    code  INTEGER PRIMARY KEY,
    count INTEGER NOT NULL
) STRICT;
";

/// From version 1, which did not know what is redeemed.
const FROM_VERSION_1: &str = "
DROP INDEX share_quote;
CREATE INDEX share_redeemable ON share (locking_key, settled_seq) WHERE state = 1 AND quote_id IS NOT NULL;
ALTER TABLE tally ADD COLUMN redeemed INTEGER NOT NULL DEFAULT 0;
";

/// Why a file can't serve as an outbox.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// SQLite's word on it: no permission, no directory, not a database, disk full.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A newer version of this program wrote it.
    #[error("its layout is version {found}, this program knows up to {SCHEMA_VERSION}")]
    NewerLayout {
        /// The version found in the file.
        found: i64,
    },
    /// The operating system refused a thread.
    #[error("could not start its thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// How long settled rows stay.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    /// Settled longer ago than this, in milliseconds.
    pub(super) age_ms: u64,
    /// More settled rows than this.
    pub(super) rows: u64,
}

/// What became of a share that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    Yes,
    Duplicate,
    Full,
}

/// The connection that writes.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
}

impl Store {
    /// Opens the file and creates it where there is none.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "journal_size_limit", JOURNAL_SIZE_LIMIT)?;
        connection.set_prepared_statement_cache_capacity(32);
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match found {
            SCHEMA_VERSION => {}
            0 => {
                tx.execute_batch(SCHEMA)?;
                tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            }
            1 => {
                // About a second for each million of shares.
                info!(file = %path.display(), "bringing the outbox from layout 1 to {SCHEMA_VERSION}");
                tx.execute_batch(FROM_VERSION_1)?;
                tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            }
            _ => return Err(OpenError::NewerLayout { found }),
        }
        tx.commit()?;
        Ok(Self { connection })
    }

    /// Begins a write: the lock is taken now, so that everything read inside stays true until the commit.
    pub(super) fn begin(&mut self, now_ms: u64) -> rusqlite::Result<Batch<'_>> {
        let tx = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let tally = read_tally(&tx)?;
        Ok(Batch {
            tx,
            news: Acknowledgements {
                after: tally.settled_seq,
                upto: tally.settled_seq,
                quotes: Vec::new(),
            },
            tally,
            now_ms,
        })
    }

    /// Changes whenever another connection has committed to the file.
    pub(super) fn data_version(&self) -> rusqlite::Result<i64> {
        self.connection
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))
    }

    /// The counts as of the last commit, by whomever.
    pub(super) fn tally(&self) -> rusqlite::Result<Tally> {
        read_tally(&self.connection)
    }

    /// Whether rows have outlived `retention`.
    pub(super) fn prunable(&self, retention: Retention, now_ms: u64) -> rusqlite::Result<bool> {
        let tally = read_tally(&self.connection)?;
        Ok(tally.kept > retention.rows
            || oldest_settled(&self.connection)?.is_some_and(|at| expired(at, retention, now_ms)))
    }

    /// Ends in order: moves the log into the file.
    pub(super) fn close(self) -> rusqlite::Result<()> {
        self.connection.close().map_err(|(_, error)| error)
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// One transaction; dropped without [`Batch::commit`] it never was.
#[derive(Debug)]
pub(super) struct Batch<'c> {
    tx: Transaction<'c>,
    tally: Tally,
    news: Acknowledgements,
    now_ms: u64,
}

impl Batch<'_> {
    /// Adds a share as waiting, unless it is known or `max_waiting` are waiting.
    pub(super) fn add(&mut self, share: &AcceptedShare, max_waiting: u64) -> rusqlite::Result<Added> {
        if self.tally.waiting >= max_waiting {
            let known = self
                .tx
                .prepare_cached("SELECT 1 FROM share WHERE header_hash = ?1")?
                .exists([share.header_hash.as_slice()])?;
            return Ok(if known { Added::Duplicate } else { Added::Full });
        }
        let inserted = self
            .tx
            .prepare_cached(
                "INSERT INTO share (header_hash, amount, locking_key, accepted_at_ms) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (header_hash) DO NOTHING",
            )?
            .execute(params![
                share.header_hash.as_slice(),
                share.amount,
                share.locking_key.as_slice(),
                self.now_ms,
            ])?;
        if inserted == 0 {
            return Ok(Added::Duplicate);
        }
        self.tally.requested += 1;
        self.tally.waiting += 1;
        Ok(Added::Yes)
    }

    /// Takes a share out of the waiting state; `false` where it was not waiting (an answer that came twice).
    pub(super) fn settle(&mut self, settlement: &Settlement) -> rusqlite::Result<bool> {
        let (state, quote_id, code, message) = match &settlement.answer {
            Answer::Acknowledged { quote_id } => (1, quote_id.as_deref(), None, None),
            Answer::Refused { code, message } => (2, None, Some(*code), Some(message.as_str())),
        };
        let cursor = self.tally.settled_seq + 1;
        let changed = self
            .tx
            .prepare_cached(
                "UPDATE share SET state = ?2, settled_seq = ?3, settled_at_ms = ?4, quote_id = ?5, refusal_code = ?6,
                 refusal_message = ?7 WHERE id = ?1 AND state = 0 RETURNING amount, locking_key",
            )?
            .query_row(
                params![settlement.id.0, state, cursor, self.now_ms, quote_id, code, message],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let Some((amount, locking_key)) = changed else {
            return Ok(false);
        };
        if let Some(quote_id) = quote_id {
            self.news.quotes.push(AcknowledgedQuote {
                cursor,
                quote_id: quote_id.to_owned(),
                amount,
                locking_key,
            });
        }
        self.tally.settled_seq = cursor;
        self.tally.kept += 1;
        self.tally.waiting = self.tally.waiting.saturating_sub(1);
        match &settlement.answer {
            Answer::Acknowledged { quote_id } => {
                self.tally.acknowledged += 1;
                self.tally.acknowledged_without_id += u64::from(quote_id.is_none());
            }
            Answer::Refused { code, .. } => {
                let code = Tally::refusal_class(*code);
                self.tx
                    .prepare_cached(
                        "INSERT INTO refused (code, count) VALUES (?1, 1) ON CONFLICT (code) DO UPDATE SET count = count + 1",
                    )?
                    .execute([code])?;
                *self.tally.refused.entry(code).or_default() += 1;
            }
        }
        Ok(true)
    }

    /// Notes that a share's quote was redeemed; `false` where there is no such quote or that is known.
    pub(super) fn redeem(&mut self, header_hash: &HeaderHash) -> rusqlite::Result<bool> {
        let changed = self
            .tx
            .prepare_cached("UPDATE share SET state = 3 WHERE header_hash = ?1 AND state = 1")?
            .execute([header_hash.as_slice()])?;
        self.tally.redeemed += changed as u64;
        Ok(changed > 0)
    }

    /// Forgets settled rows that have outlived `retention`: looks at the oldest `limit` of them, never further, so that
    /// it costs the same in a file of any size.
    pub(super) fn prune(&mut self, retention: Retention, limit: u64) -> rusqlite::Result<()> {
        let mut pruned = 0;
        if oldest_settled(&self.tx)?.is_some_and(|at| expired(at, retention, self.now_ms)) {
            pruned += self
                .tx
                .prepare_cached(
                    "DELETE FROM share WHERE id IN (SELECT id FROM (
                        SELECT id, settled_at_ms FROM share WHERE state <> 0 ORDER BY settled_seq LIMIT ?1)
                     WHERE settled_at_ms < ?2)",
                )?
                .execute(params![limit, self.now_ms.saturating_sub(retention.age_ms)])?;
        }
        self.tally.kept = self.tally.kept.saturating_sub(pruned as u64);
        let surplus = self.tally.kept.saturating_sub(retention.rows).min(limit);
        if surplus > 0 {
            let dropped = self
                .tx
                .prepare_cached(
                    "DELETE FROM share WHERE id IN (SELECT id FROM share WHERE state <> 0 ORDER BY settled_seq LIMIT ?1)",
                )?
                .execute([surplus])?;
            self.tally.kept = self.tally.kept.saturating_sub(dropped as u64);
        }
        Ok(())
    }

    /// Makes it durable: returns after the log is on the disk.
    pub(super) fn commit(self) -> rusqlite::Result<(Tally, Acknowledgements)> {
        let (mut tally, mut news) = (self.tally, self.news);
        news.upto = tally.settled_seq;
        tally.oldest_waiting_ms = oldest_waiting(&self.tx)?;
        self.tx
            .prepare_cached(
                "UPDATE tally SET requested = ?1, waiting = ?2, acknowledged = ?3, without_id = ?4, kept = ?5, settled_seq = ?6,
                 redeemed = ?7",
            )?
            .execute(params![
                tally.requested,
                tally.waiting,
                tally.acknowledged,
                tally.acknowledged_without_id,
                tally.kept,
                tally.settled_seq,
                tally.redeemed,
            ])?;
        self.tx.commit()?;
        Ok((tally, news))
    }
}

fn read_tally(connection: &Connection) -> rusqlite::Result<Tally> {
    let refused = connection
        .prepare_cached("SELECT code, count FROM refused")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<BTreeMap<_, _>>>()?;
    let oldest_waiting_ms = oldest_waiting(connection)?;
    connection
        .prepare_cached("SELECT requested, waiting, acknowledged, without_id, kept, settled_seq, redeemed FROM tally")?
        .query_row([], |row| {
            Ok(Tally {
                requested: row.get(0)?,
                waiting: row.get(1)?,
                acknowledged: row.get(2)?,
                acknowledged_without_id: row.get(3)?,
                kept: row.get(4)?,
                settled_seq: row.get(5)?,
                redeemed: row.get(6)?,
                oldest_waiting_ms,
                refused,
            })
        })
}

fn oldest_waiting(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT accepted_at_ms FROM share WHERE state = 0 ORDER BY id LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()
}

fn oldest_settled(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT settled_at_ms FROM share WHERE state <> 0 ORDER BY settled_seq LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()
}

fn expired(settled_at_ms: u64, retention: Retention, now_ms: u64) -> bool {
    settled_at_ms < now_ms.saturating_sub(retention.age_ms)
}
