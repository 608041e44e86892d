//! What is read from the outbox's file, each by an index and a limit.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};

use super::store::BUSY_TIMEOUT;
use super::types::{AcceptedShare, AcknowledgedQuote, Answer, ShareId, ShareRecord, WaitingShare};

/// The `state` of shares whose quotes are redeemed.
const REDEEMED: i64 = 3;

/// The connection that reads: in WAL mode it never waits for the writer.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Waiting shares after `after`, oldest first.
pub(super) fn waiting_after(
    connection: &Connection,
    after: ShareId,
    limit: u32,
) -> rusqlite::Result<Vec<WaitingShare>> {
    connection
        .prepare_cached(
            "SELECT id, header_hash, amount, locking_key FROM share WHERE state = 0 AND id > ?1 ORDER BY id LIMIT ?2",
        )?
        .query_map(params![after.0, limit], |row| {
            Ok(WaitingShare {
                id: ShareId(row.get(0)?),
                share: read_share(row, 1)?,
            })
        })?
        .collect()
}

/// Acknowledged quotes with an id after `cursor`, in the order of their acknowledgement.
pub(super) fn quotes_after(
    connection: &Connection,
    cursor: u64,
    limit: u32,
) -> rusqlite::Result<Vec<AcknowledgedQuote>> {
    connection
        .prepare_cached(
            "SELECT settled_seq, quote_id, amount, locking_key FROM share
             WHERE state <> 0 AND settled_seq > ?1 AND quote_id IS NOT NULL ORDER BY settled_seq LIMIT ?2",
        )?
        .query_map(params![cursor, limit], read_quote)?
        .collect()
}

/// Those of one locking key that can be redeemed, as far as is known.
pub(super) fn quotes_of(
    connection: &Connection,
    locking_key: &[u8; 33],
    cursor: u64,
    limit: u32,
) -> rusqlite::Result<Vec<AcknowledgedQuote>> {
    connection
        .prepare_cached(
            "SELECT settled_seq, quote_id, amount, locking_key FROM share
             WHERE locking_key = ?1 AND settled_seq > ?2 AND state = 1 AND quote_id IS NOT NULL ORDER BY settled_seq LIMIT ?3",
        )?
        .query_map(params![locking_key.as_slice(), cursor, limit], read_quote)?
        .collect()
}

/// What is known of one share.
pub(super) fn record(connection: &Connection, header_hash: &[u8; 32]) -> rusqlite::Result<Option<ShareRecord>> {
    connection
        .prepare_cached(
            "SELECT id, header_hash, amount, locking_key, state, quote_id, refusal_code, refusal_message
             FROM share WHERE header_hash = ?1",
        )?
        .query_row([header_hash.as_slice()], |row| {
            let state: i64 = row.get(4)?;
            Ok(ShareRecord {
                id: ShareId(row.get(0)?),
                share: read_share(row, 1)?,
                answer: match state {
                    0 => None,
                    1 | REDEEMED => Some(Answer::Acknowledged { quote_id: row.get(5)? }),
                    _ => Some(Answer::Refused {
                        code: row.get(6)?,
                        message: row.get(7)?,
                    }),
                },
                redeemed: state == REDEEMED,
            })
        })
        .optional()
}

fn read_share(row: &Row<'_>, first: usize) -> rusqlite::Result<AcceptedShare> {
    Ok(AcceptedShare {
        header_hash: row.get(first)?,
        amount: row.get(first + 1)?,
        locking_key: row.get(first + 2)?,
    })
}

fn read_quote(row: &Row<'_>) -> rusqlite::Result<AcknowledgedQuote> {
    Ok(AcknowledgedQuote {
        cursor: row.get(0)?,
        quote_id: row.get(1)?,
        amount: row.get(2)?,
        locking_key: row.get(3)?,
    })
}
