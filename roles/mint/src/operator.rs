//! What an operator asks of a mint that need not run: its public key, an audit, a rebase.

use std::path::PathBuf;

use mint_ledger::{Audit, LedgerOptions};
use mint_link::MintPublicKey;
use service::ConfigError;

use crate::{DATABASE, StartError, cashu, config::MintConfig, keys};

/// The key that pools pin (`mint_public_keys`). Makes the mint's link key if there is none yet.
///
/// # Errors
/// The key can't be read or made.
pub fn public_key(config: &MintConfig) -> Result<MintPublicKey, StartError> {
    keys::public_key(config)
}

/// Compares the ledger's totals with the rows of the mint's database, in one read transaction; the mint may run
/// meanwhile. Blocks for about half a second a million quotes.
///
/// # Errors
/// There is no database, or it can't be read.
pub fn audit(config: &MintConfig) -> Result<Audit, StartError> {
    Ok(mint_ledger::audit(&database(config)?)?)
}

/// Counts all quotes anew and stores the result as the ledger's next version: for after a change of the database by
/// hand. The mint must not run.
///
/// # Errors
/// Another mint runs on the data directory, or there is no database, or it can't be read or written.
pub async fn rebase(config: &MintConfig) -> Result<Audit, StartError> {
    let path = database(config)?;
    let _lock = keys::lock(config)?;
    let recount = LedgerOptions {
        recount: true,
        ..LedgerOptions::default()
    };
    let (_, ledger) = cashu::open_ledger(&path, recount).await?;
    Ok(ledger.audit().await?)
}

/// The database of a mint that has run. None is made: a mint that finds one without its mnemonic refuses to start.
fn database(config: &MintConfig) -> Result<PathBuf, ConfigError> {
    let path = config.data_dir.join(DATABASE);
    if path.exists() {
        return Ok(path);
    }
    Err(ConfigError::invalid(
        "data_dir",
        format_args!("{:?}", config.data_dir.display().to_string()),
        format_args!("there is no {DATABASE} in it; expected the directory of a mint that has run"),
    ))
}
