//! The miner's two halves, wired to the pool directly: found shares go to its intake, and the quotes that they earned go
//! to the wallet, which mints them over HTTP.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use miner::{
    MinerConfig, SyntheticConfig,
    hashing::{HashingConfig, Share},
    wallet::{Redeemer, WalletConfig},
};
use pool::{ShareIntake, outbox::Outbox};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::Mining;

/// Quotes handed to the wallet at a time.
const QUOTES: u32 = 500;
/// The wait before the outbox or the wallet is tried again after it failed.
const RETRY: Duration = Duration::from_secs(1);
/// How many leading zero bits below the expected ones a share would still earn 1: typical shares earn 32 and more, and on
/// a slower machine fewer.
const WORTH_BITS: u32 = 5;

impl Mining {
    pub(crate) fn miner_config(self, wallet: WalletConfig) -> MinerConfig {
        MinerConfig {
            hashing: HashingConfig {
                threads: 1,
                max_hashrate: self.max_hashrate,
            },
            synthetic: SyntheticConfig {
                shares_per_second: self.shares_per_second,
                ..SyntheticConfig::default()
            },
            wallet,
        }
    }

    /// The pool's `minimum_difficulty` in leading zero bits, for a machine that reaches `max_hashrate`.
    pub(crate) fn minimum_difficulty(self) -> u32 {
        let hashes_per_share = self.max_hashrate as f64 / self.shares_per_second;
        // At most 37 bits by the bounds of both, and a fraction of a hash counts as one.
        (hashes_per_share.max(1.0).log2() as u32).saturating_sub(WORTH_BITS)
    }
}

/// Waits for the end of the hashing and then of the wallet.
pub(crate) async fn run(miner: miner::Running, hashing_stop: CancellationToken) {
    hashing_stop.cancelled().await;
    miner.stop_hashing();
    miner.ended().await;
}

/// Hands found shares to the pool until the hashing is over. A share that the pool does not take is lost to the miner,
/// as it would be over a network.
pub(crate) async fn hand_in(mut shares: mpsc::Receiver<Share>, intake: ShareIntake, locking_key: [u8; 33]) {
    while let Some(share) = shares.recv().await {
        if let Err(error) = intake.accept(share.header_hash, Some(locking_key)).await {
            warn!(%error, "the pool did not take a share");
            sleep(RETRY).await;
        }
    }
}

/// Hands every quote of the outbox to the wallet, once, also over restarts: the place reached is kept in a file beside
/// the wallet, written after the wallet has the quotes on disk.
pub(crate) async fn redeem(outbox: Outbox, redeemer: Redeemer, wallet_dir: PathBuf, stop: CancellationToken) {
    let bookmark = wallet_dir.join("quotes.cursor");
    let mut cursor = read(&bookmark);
    let mut commits = outbox.watch();
    while !stop.is_cancelled() {
        commits.mark_unchanged();
        match hand_over(&outbox, &redeemer, &bookmark, cursor).await {
            Ok(reached) if reached != cursor => cursor = reached,
            Ok(_) => {
                let ended = tokio::select! {
                    () = stop.cancelled() => true,
                    changed = commits.changed() => changed.is_err(),
                };
                if ended {
                    return;
                }
            }
            Err(error) => {
                warn!(error, "quotes could not be handed to the wallet");
                let _ = tokio::time::timeout(RETRY, stop.cancelled()).await;
            }
        }
    }
}

/// Hands the next quotes over and returns the cursor reached.
async fn hand_over(outbox: &Outbox, redeemer: &Redeemer, bookmark: &Path, cursor: u64) -> Result<u64, String> {
    let quotes = outbox
        .quotes_after(cursor, QUOTES)
        .await
        .map_err(|error| error.to_string())?;
    let Some(last) = quotes.last().map(|quote| quote.cursor) else {
        return Ok(cursor);
    };
    let ids: Vec<_> = quotes.into_iter().map(|quote| quote.quote_id).collect();
    redeemer.add(ids).await.map_err(|error| error.to_string())?;
    std::fs::write(bookmark, last.to_string()).map_err(|error| format!("{}: {error}", bookmark.display()))?;
    Ok(last)
}

/// Without a readable bookmark all quotes are handed over again, and the mint tells which are redeemed already.
fn read(bookmark: &Path) -> u64 {
    std::fs::read_to_string(bookmark)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}
