//! Why a mint does not start: each reason one line for the operator.

use std::path::PathBuf;

use mint_ledger::LedgerError;
use service::{BindError, ConfigError, secret_file::SecretFileError};

/// Why a mint did not start. Nothing runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A value that is not allowed, or a data directory that another mint uses.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port in use.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The mnemonic or the link key can't be read or made.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// A secret that is there but is none.
    #[error("{}: {problem}; restore it from a backup", path.display())]
    BadSecret {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The database without the mnemonic that its keys come from.
    #[error("{}: there is a database beside it, but not this file, from which the mint's keys come; restore it from a backup", path.display())]
    MnemonicLost {
        /// Where the mnemonic should be.
        path: PathBuf,
    },
    /// The data directory.
    #[error("{}: {source}", path.display())]
    DataDir {
        /// The path.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The database can't be opened.
    #[error("{}: can't open the mint's database: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What CDK said.
        source: cdk_common::database::Error,
    },
    /// The totals can't be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// CDK refused.
    #[error("the Cashu mint can't be set up: {0}")]
    Cashu(#[from] cdk::Error),
    /// The Cashu API.
    #[error("the Cashu API can't be set up: {0}")]
    Api(String),
    /// The operating system gives no thread for the links.
    #[error("no thread for the links to the pools: {0}")]
    Thread(std::io::Error),
}
