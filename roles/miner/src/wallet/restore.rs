//! Bringing back what a lost database held. A mint signs nothing twice, so a wallet that begins anew with an old seed asks
//! what was signed for it (NUT-13, NUT-09): that is its ehash, and says how many secrets are used up.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cdk_common::database::Error as DatabaseError;
use cdk_sqlite::wallet::memory;
use tokio::time::{sleep, timeout};

use super::error::WalletError;
use super::store::{Db, Store, builder, create_private_file, exists};

/// While this file is in the wallet's directory, the database lacks what the mint has signed. A file, since it has to be
/// there before the database is.
const MARKER: &str = "restore";

/// How long the mint may take for an answer, and how often a long restore makes sure that it still gives any.
const ANSWER: Duration = Duration::from_secs(30);

/// Notes that the database has to be restored before it is used.
pub(super) fn mark(data_dir: &Path) -> Result<(), WalletError> {
    create_private_file(&data_dir.join(MARKER))?;
    // It may not be lost in a crash that the database survives.
    let synced = File::open(data_dir).and_then(|dir| dir.sync_all());
    synced.map_err(|source| WalletError::Io {
        path: data_dir.to_owned(),
        action: "syncing",
        source,
    })
}

impl Store {
    /// Asks the mint for what the wallet held, if that is still to be done. Nothing may be minted or sent before.
    pub(super) async fn restore(&self) -> Result<(), WalletError> {
        let marker = self.data_dir.join(MARKER);
        if !exists(&marker)? {
            return Ok(());
        }
        tracing::info!(mint = %self.wallet.mint_url, "asking the mint for what this seed has earned");
        let lost = |source| WalletError::Restore {
            mint: self.wallet.mint_url.clone(),
            source: Box::new(source),
        };
        let mint = self.wallet.mint_connector();
        let keysets = self.while_it_answers(mint.get_mint_keysets()).await.map_err(lost)?;
        // Of all units, since the configuration may change the unit once the marker is gone.
        let units: HashSet<_> = keysets.keysets.into_iter().map(|keyset| keyset.unit).collect();
        for unit in units {
            // In memory, since CDK adds to the counters, and would add again if it failed in the middle: with too wide a
            // gap in its secrets the next restore would miss what comes after it.
            let scratch: Arc<Db> = Arc::new(memory::empty().await?);
            let wallet = builder(&self.wallet.mint_url, unit, Arc::clone(&scratch), &self.seed).build()?;
            let restored = self.while_it_answers(wallet.restore()).await.map_err(lost)?;
            self.take_over(&*scratch).await?;
            tracing::info!(unit = %wallet.unit, amount = restored.unspent.to_u64(), "restored from the seed");
        }
        fs::remove_file(&marker).map_err(|source| WalletError::Io {
            path: marker,
            action: "removing",
            source,
        })
    }

    /// Does what takes the longer the more there is, and so has no deadline of its own, as long as the mint answers.
    async fn while_it_answers<T>(&self, doing: impl Future<Output = Result<T, cdk::Error>>) -> Result<T, cdk::Error> {
        let mint = self.wallet.mint_connector();
        let gone = async {
            loop {
                sleep(ANSWER).await;
                // An error is an answer here: what is being done hears of it, too.
                if timeout(ANSWER, mint.get_mint_info()).await.is_err() {
                    return Err(cdk::Error::Timeout);
                }
            }
        };
        tokio::select! {
            done = doing => done,
            gone = gone => gone,
        }
    }

    /// Copies ehash and counters; a second time changes nothing.
    async fn take_over(&self, scratch: &Db) -> Result<(), DatabaseError> {
        let db = &self.wallet.localstore;
        let proofs = scratch.get_proofs(None, None, None, None).await?;
        db.update_proofs(proofs, Vec::new()).await?;
        let keysets = scratch.get_mint_keysets(self.wallet.mint_url.clone()).await?;
        for keyset in keysets.unwrap_or_default() {
            let used = scratch.increment_keyset_counter(&keyset.id, 0).await?;
            let known = db.increment_keyset_counter(&keyset.id, 0).await?;
            db.increment_keyset_counter(&keyset.id, used.saturating_sub(known))
                .await?;
        }
        Ok(())
    }
}
