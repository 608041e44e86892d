//! What the ledger reads straight from the mint's SQLite file, on a connection of its own: the totals that its
//! transactions stored (a handful of rows), and the aggregate over all quotes (one pass, about half a second a million).
//! Everything here blocks: callers run it on a blocking thread.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use stats_push::{PerState, UnixMillis};

use crate::{
    error::LedgerError,
    tally::{Figures, Sums, Tally, UnitTally},
};

/// Where the totals live in CDK's key-value store. One row for the head and one for each unit: a commit rewrites the
/// head and the units that it touched, however many epochs the mint has seen.
pub(crate) const NAMESPACE: &str = "ehash_ledger";
/// The second half of the namespace: the format, so that a later one can live beside it.
pub(crate) const FORMAT: &str = "totals-1";
/// The head's key.
pub(crate) const HEAD_KEY: &str = "head";

/// How long a reader that must come after a pending rollback waits for it. CDK gives up on a rollback after 5 s.
const ROLLBACK_PATIENCE: Duration = Duration::from_secs(10);

/// The head row: the version, and how many unit rows count.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: u64,
    units: usize,
}

/// The key of the unit at a position.
pub(crate) fn unit_key(position: usize) -> String {
    format!("unit-{position}")
}

/// The rows that store `tally` after the units at `touched` changed: keys and values for `kv_write`.
pub(crate) fn rows(tally: &Tally, touched: &[usize]) -> Result<Vec<(String, Vec<u8>)>, serde_json::Error> {
    let head = Head {
        version: tally.version,
        units: tally.units.len(),
    };
    let mut rows = vec![(HEAD_KEY.to_owned(), serde_json::to_vec(&head)?)];
    for &position in touched {
        if let Some(unit) = tally.units.get(position) {
            rows.push((unit_key(position), serde_json::to_vec(unit)?));
        }
    }
    Ok(rows)
}

/// The mint's database file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    path: PathBuf,
}

/// Both views of the file, from one read transaction.
pub(crate) struct Both {
    /// What the ledger stored, if it ever did.
    pub(crate) stored: Option<Tally>,
    /// What SQL counts now; its version is 0.
    pub(crate) counted: Tally,
}

impl File {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The stored totals. O(units).
    pub(crate) fn stored(&self) -> Result<Option<Tally>, LedgerError> {
        let mut connection = self.open(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let snapshot = self.begin(&mut connection, TransactionBehavior::Deferred)?;
        self.read_stored(&snapshot)
    }

    /// The stored totals once no transaction is under way: waits for the write lock, which a failed commit keeps until
    /// its rollback is done. O(units).
    pub(crate) fn stored_at_rest(&self) -> Result<Option<Tally>, LedgerError> {
        let mut connection = self.open(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection
            .busy_timeout(ROLLBACK_PATIENCE)
            .map_err(|error| self.failed(error))?;
        let lock = self.begin(&mut connection, TransactionBehavior::Immediate)?;
        self.read_stored(&lock)
    }

    /// What SQL counts. O(quotes).
    pub(crate) fn counted(&self) -> Result<Tally, LedgerError> {
        let mut connection = self.open(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let snapshot = self.begin(&mut connection, TransactionBehavior::Deferred)?;
        count(&snapshot).map_err(|error| self.failed(error))
    }

    /// The stored totals and what SQL counts, of one moment. O(quotes).
    pub(crate) fn both(&self) -> Result<Both, LedgerError> {
        let mut connection = self.open(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let snapshot = self.begin(&mut connection, TransactionBehavior::Deferred)?;
        Ok(Both {
            stored: self.read_stored(&snapshot)?,
            counted: count(&snapshot).map_err(|error| self.failed(error))?,
        })
    }

    fn open(&self, flags: OpenFlags) -> Result<Connection, LedgerError> {
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(&self.path, flags).map_err(|error| self.failed(error))
    }

    fn begin<'c>(
        &self,
        connection: &'c mut Connection,
        behavior: TransactionBehavior,
    ) -> Result<Transaction<'c>, LedgerError> {
        connection
            .transaction_with_behavior(behavior)
            .map_err(|error| self.failed(error))
    }

    fn read_stored(&self, snapshot: &Transaction<'_>) -> Result<Option<Tally>, LedgerError> {
        let Some(head) = self.read_row::<Head>(snapshot, HEAD_KEY)? else {
            return Ok(None);
        };
        let mut units = Vec::new();
        for position in 0..head.units {
            let key = unit_key(position);
            let unit: Option<UnitTally> = self.read_row(snapshot, &key)?;
            units.push(unit.ok_or_else(|| self.unreadable(&key, "missing"))?);
        }
        Ok(Some(Tally {
            version: head.version,
            units,
        }))
    }

    fn read_row<T: for<'de> Deserialize<'de>>(
        &self,
        snapshot: &Transaction<'_>,
        key: &str,
    ) -> Result<Option<T>, LedgerError> {
        let value: Option<Vec<u8>> = snapshot
            .query_row(
                "SELECT value FROM kv_store WHERE primary_namespace = ?1 AND secondary_namespace = ?2 AND key = ?3",
                params![NAMESPACE, FORMAT, key],
                |row| row.get(0),
            )
            .optional()
            .map_err(|error| self.failed(error))?;
        value
            .map(|value| serde_json::from_slice(&value).map_err(|error| self.unreadable(key, error)))
            .transpose()
    }

    fn failed(&self, source: rusqlite::Error) -> LedgerError {
        LedgerError::Sqlite {
            path: self.path.clone(),
            source,
        }
    }

    fn unreadable(&self, key: &str, reason: impl std::fmt::Display) -> LedgerError {
        LedgerError::Stored {
            path: self.path.clone(),
            reason: format!("{key}: {reason}"),
        }
    }
}

/// The aggregate over all quotes, by unit, in the order in which the units' first quotes were added.
///
/// SQLite stores amounts in 63 bits and its `SUM` fails on overflow, so that the high and the low 32 bits are summed
/// apart. The states are those of [`Figures`].
const COUNT: &str = "
    SELECT unit, COUNT(*), SUM(is_unpaid), SUM(is_paid), SUM(issued > 0),
           SUM(asking >> 32), SUM(asking & 4294967295),
           SUM(waiting >> 32), SUM(waiting & 4294967295),
           SUM(issued >> 32), SUM(issued & 4294967295)
    FROM (
        SELECT rowid AS age, unit, amount_issued AS issued,
               amount_paid = 0 AND amount_issued = 0 AS is_unpaid,
               amount_paid > amount_issued AS is_paid,
               IIF(amount_paid = 0 AND amount_issued = 0, COALESCE(amount, 0), 0) AS asking,
               MAX(amount_paid - amount_issued, 0) AS waiting
        FROM mint_quote
    )
    GROUP BY unit ORDER BY MIN(age)";

/// When something was last issued in each unit, in Unix seconds: all that CDK stores.
const LAST_ISSUED: &str = "
    SELECT quote.unit, MAX(issuance.timestamp)
    FROM mint_quote_issued issuance JOIN mint_quote quote ON quote.id = issuance.quote_id
    GROUP BY quote.unit";

fn count(snapshot: &Transaction<'_>) -> Result<Tally, rusqlite::Error> {
    let mut query = snapshot.prepare(COUNT)?;
    let units = query.query_map([], |row| {
        let number = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
        let sum = |column: usize| {
            let (high, low) = (number(column)?, number(column + 1)?);
            Ok::<_, rusqlite::Error>((u128::from(high) << 32) + u128::from(low))
        };
        let (all, unpaid, paid) = (number(1)?, number(2)?, number(3)?);
        Ok(UnitTally {
            unit: Arc::from(row.get::<_, String>(0)?),
            figures: Figures {
                quotes: PerState {
                    unpaid,
                    paid,
                    issued: all.saturating_sub(unpaid).saturating_sub(paid),
                },
                redeemed: number(4)?,
                amounts: Sums {
                    unpaid: sum(5)?,
                    paid: sum(7)?,
                    issued: sum(9)?,
                },
            },
            last_issued_at: None,
        })
    })?;
    let mut tally = Tally {
        version: 0,
        units: units.collect::<Result<_, _>>()?,
    };
    let mut query = snapshot.prepare(LAST_ISSUED)?;
    let times = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    for time in times {
        let (name, seconds) = time?;
        if let Some(unit) = tally.units.iter_mut().find(|unit| *unit.unit == *name) {
            unit.last_issued_at = Some(UnixMillis(seconds.unsigned_abs().saturating_mul(1000)));
        }
    }
    Ok(tally)
}
