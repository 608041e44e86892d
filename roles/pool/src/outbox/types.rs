//! What goes into the outbox, what comes out, and how it can fail.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::amount::HeaderHash;

/// `[outbox]` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutboxConfig {
    /// Shares that may wait for the mint; beyond it new ones are refused. 1 to 100,000,000.
    pub max_waiting: u64,
    /// Days that an answered share, and so its quote's id, is kept. 1 to 3650.
    pub keep_answered_days: u32,
    /// Answered shares kept at most; beyond it the oldest are forgotten. 1 to 1,000,000,000.
    pub max_answered: u64,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self {
            max_waiting: 1_000_000,
            keep_answered_days: 30,
            max_answered: 10_000_000,
        }
    }
}

/// A share that the pool has accepted and that earns ehash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptedShare {
    /// The header's hash in internal byte order; a share is known by it.
    pub header_hash: HeaderHash,
    /// What it earns: 1 to 2^62 of the pool's unit ([`crate::amount::amount_of`]).
    pub amount: u64,
    /// The compressed public key that its quote will be locked to (NUT-20).
    pub locking_key: [u8; 33],
}

/// A share's place in the outbox: grows in the order of acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ShareId(pub(crate) i64);

/// A share without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingShare {
    /// Its place.
    pub id: ShareId,
    /// The share.
    pub share: AcceptedShare,
}

/// The mint's last word on a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The mint has made a quote and marked it paid.
    Acknowledged {
        /// `None` where a legacy mint only said that it has one already.
        quote_id: Option<String>,
    },
    /// The mint will not make a quote.
    Refused {
        /// The code of MintQuoteError (0x82).
        code: u32,
        /// Its message.
        message: String,
    },
}

/// An answer for one waiting share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Which share.
    pub id: ShareId,
    /// The answer.
    pub answer: Answer,
}

/// A paid quote, for the miner that holds its key to mint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcknowledgedQuote {
    /// Grows with every answer; read on from here.
    pub cursor: u64,
    /// The mint's id of the quote.
    pub quote_id: String,
    /// What it is worth.
    pub amount: u64,
    /// The key that it is locked to.
    pub locking_key: [u8; 33],
}

/// The answers of one commit, as [`super::Outbox::acknowledgements`] tells them after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgements {
    /// `tally.settled_seq` before the commit. More than the last `upto` means that something was missed.
    pub after: u64,
    /// `tally.settled_seq` after it.
    pub upto: u64,
    /// The quotes with an id among the answers between, in their order.
    pub quotes: Vec<AcknowledgedQuote>,
}

/// What the outbox knows of one share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareRecord {
    /// Its place.
    pub id: ShareId,
    /// The share.
    pub share: AcceptedShare,
    /// `None` while it waits.
    pub answer: Option<Answer>,
    /// Whether the mint has told that the quote was issued whole.
    pub redeemed: bool,
}

/// Counts over the outbox's whole life, kept in its file: `requested = waiting + acknowledged + all refused`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Shares ever taken in.
    pub requested: u64,
    /// Those without an answer.
    pub waiting: u64,
    /// When the oldest of these was taken in, in milliseconds since 1970.
    pub oldest_waiting_ms: Option<u64>,
    /// Those with a quote.
    pub acknowledged: u64,
    /// Of the acknowledged, those whose quote id is not known (legacy mints).
    pub acknowledged_without_id: u64,
    /// Of the acknowledged, those that the mint has told to be redeemed, as far as it was heard.
    pub redeemed: u64,
    /// Those refused, by code; codes that this version does not know count as 0.
    pub refused: BTreeMap<u32, u64>,
    /// Answered rows that are still in the file.
    pub kept: u64,
    /// The newest answer's cursor.
    pub settled_seq: u64,
}

impl Tally {
    /// The counter of a refusal: its code as extension 0x4D51 numbers them, or 0. Peers can't make it grow.
    pub(super) fn refusal_class(code: u32) -> u32 {
        if (1..=5).contains(&code) { code } else { 0 }
    }
}

/// What the writer tells after every commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// As of the last commit, whoever made it.
    pub tally: Tally,
    /// Transactions committed by this process.
    pub commits: u64,
    /// Groups that failed.
    pub storage_errors: u64,
    /// Whether the last access to the file went well.
    pub healthy: bool,
}

/// The file could not be written or read. What was to be written may be there all the same (a disk that fails in the
/// middle of a commit can't tell): asking again is safe.
#[derive(Debug, Clone, thiserror::Error)]
#[error("outbox storage: {0}")]
pub struct StorageError(Arc<str>);

impl StorageError {
    pub(super) fn other(error: &dyn fmt::Display) -> Self {
        Self(error.to_string().into())
    }
}

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> Self {
        Self::other(&error)
    }
}

/// Why a share was not taken in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EnqueueError {
    /// As many shares wait as the configuration allows.
    #[error("{max_waiting} shares wait for the mint already")]
    Full {
        /// `outbox.max_waiting`.
        max_waiting: u64,
    },
    /// The outbox holds this hash already.
    #[error("the share is in the outbox already")]
    Duplicate,
    /// Nothing can be quoted for it.
    #[error("amount {0} is outside 1 to 2^62")]
    Amount(u64),
    /// The outbox is closed: the pool is going down.
    #[error("the outbox is closed")]
    Closed,
    /// The disk or the file.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
