//! What can go wrong while opening, auditing or rebasing a ledger. Inside a transaction CDK's own error type is used.

use std::path::PathBuf;

/// Why the ledger could not be opened, audited or rebased.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The mint's database refused a call.
    #[error("mint database: {0}")]
    Database(#[from] cdk_common::database::Error),
    /// The SQLite file could not be read on the ledger's own connection.
    #[error("cannot read {path}: {source}")]
    Sqlite {
        /// The mint's database file.
        path: PathBuf,
        /// SQLite's own words.
        source: rusqlite::Error,
    },
    /// What is stored as the ledger's totals is not something this version wrote.
    #[error("the totals stored in {path} are unreadable ({reason}); a rebase replaces them")]
    Stored {
        /// The mint's database file.
        path: PathBuf,
        /// What was wrong, and where.
        reason: String,
    },
    /// The file holds no totals: no ledger was ever opened on it.
    #[error("{path} holds no ledger totals yet: they are stored when the mint first starts")]
    NoTotals {
        /// The mint's database file.
        path: PathBuf,
    },
    /// The task that did the work was cancelled (the runtime is stopping) or panicked.
    #[error("interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}
