//! Bringing back what a lost database held, or an older copy lacks. A mint signs nothing twice, so a wallet that begins
//! anew with an old seed asks what was signed for it (NUT-13, NUT-09): that is its ehash, and says how many secrets are used
//! up. What the database holds already stays as it is, but for what has been spent elsewhere.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cdk::nuts::{PublicKey, State};
use cdk_common::database::Error as DatabaseError;
use cdk_sqlite::wallet::memory;
use tokio::time::{sleep, timeout};

use super::error::WalletError;
use super::recovery::give_up_foreign;
use super::round::RoundError;
use super::store::{Db, PIECES, Store, builder, create_private_file, exists};

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
        self.settle().await?;
        self.drop_spent().await?;
        let mint = self.wallet.mint_connector();
        let keysets = self.while_it_answers(mint.get_mint_keysets()).await;
        let keysets = keysets.map_err(|source| self.lost(source))?;
        // Of all units, since the configuration may change the unit once the marker is gone.
        let units: HashSet<_> = keysets.keysets.into_iter().map(|keyset| keyset.unit).collect();
        for unit in units {
            // In memory, since CDK adds to the counters, and would add again if it failed in the middle: with too wide a
            // gap in its secrets the next restore would miss what comes after it.
            let scratch: Arc<Db> = Arc::new(memory::empty().await?);
            let wallet = builder(&self.wallet.mint_url, unit, Arc::clone(&scratch), &self.seed).build()?;
            let restored = self.while_it_answers(wallet.restore()).await;
            let restored = restored.map_err(|source| self.lost(source))?;
            self.take_over(&*scratch).await?;
            tracing::info!(unit = %wallet.unit, amount = restored.unspent.to_u64(), "restored from the seed");
        }
        fs::remove_file(&marker).map_err(|source| WalletError::Io {
            path: marker,
            action: "removing",
            source,
        })
    }

    fn lost(&self, source: cdk::Error) -> WalletError {
        WalletError::Restore {
            mint: self.wallet.mint_url.clone(),
            source: Box::new(source),
        }
    }

    /// Does what takes the longer the more there is, and so has no deadline of its own, as long as the mint answers.
    pub(super) async fn while_it_answers<T, E: From<cdk::Error>>(
        &self,
        doing: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mint = self.wallet.mint_connector();
        let gone = async {
            loop {
                sleep(ANSWER).await;
                // An error is an answer here: what is being done hears of it, too.
                if timeout(ANSWER, mint.get_mint_info()).await.is_err() {
                    return Err(cdk::Error::Timeout.into());
                }
            }
        };
        tokio::select! {
            done = doing => done,
            gone = gone => gone,
        }
    }

    /// Finishes or gives up what was interrupted. Afterwards it would be too late: CDK would take restored ehash for the
    /// outcome of a request of its own, and what it was to be paid with for spent.
    async fn settle(&self) -> Result<(), WalletError> {
        match self.while_it_answers(give_up_foreign(self)).await {
            Ok(_) | Err(RoundError::Behind) => {}
            Err(RoundError::Mint(source)) => return Err(self.lost(source)),
            Err(RoundError::Wallet(error)) => return Err(error),
        }
        let settled = self.while_it_answers(self.wallet.recover_incomplete_sagas()).await;
        settled.map_err(|source| self.lost(source))?;
        Ok(())
    }

    /// Drops what has been spent elsewhere: an older copy still counts it.
    async fn drop_spent(&self) -> Result<(), WalletError> {
        let (db, mint) = (&self.wallet.localstore, &self.wallet.mint_url);
        let unspent = db
            .get_proofs(Some(mint.clone()), None, Some(vec![State::Unspent]), None)
            .await?;
        for pieces in unspent.chunks(PIECES) {
            let proofs = pieces.iter().map(|piece| piece.proof.clone()).collect();
            let dropping = self.wallet.check_proofs_spent(proofs);
            self.while_it_answers(dropping)
                .await
                .map_err(|source| self.lost(source))?;
        }
        Ok(())
    }

    /// Copies counters, and ehash that is not here yet: what is here may be in a token that is out, or in a request. A
    /// second time changes nothing.
    async fn take_over(&self, scratch: &Db) -> Result<(), DatabaseError> {
        let db = &self.wallet.localstore;
        let here = db.get_proofs(None, None, None, None).await?;
        let here: HashSet<PublicKey> = here.into_iter().map(|piece| piece.y).collect();
        let mut proofs = scratch.get_proofs(None, None, None, None).await?;
        proofs.retain(|piece| !here.contains(&piece.y));
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
