//! The miner's two halves, wired to the pool directly: found shares go to its intake, and the quotes that they earned go
//! to the wallet, which mints them over HTTP.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use miner::{
    hashing::{Hasher, HashingConfig, Job, Share, hashes_per_second, target_for},
    synthetic,
    wallet::Redeemer,
};
use pool::{ShareIntake, outbox::Outbox};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use crate::config::Mining;

/// How long the machine's hashrate is measured before the target is chosen.
const MEASURE: Duration = Duration::from_millis(500);
/// How often there is a new invented block.
const BLOCK: Duration = Duration::from_secs(30);
/// Shares between the hashing and the pool's intake; a full channel slows the hashing.
const SHARES: usize = 64;
/// Quotes handed to the wallet at a time.
const QUOTES: u32 = 500;
/// The wait before the outbox or the wallet is tried again after it failed.
const RETRY: Duration = Duration::from_secs(1);
/// How many leading zero bits below the target a share would still earn 1: typical shares earn 32 and more.
const WORTH_BITS: u32 = 5;

/// How hard the invented blocks are on this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Difficulty {
    config: HashingConfig,
    target: bitcoin::Target,
}

impl Difficulty {
    /// Measures the machine and chooses the target. Takes half a second.
    pub(crate) async fn measure(mining: Mining) -> Result<Self, tokio::task::JoinError> {
        let config = HashingConfig {
            threads: 1,
            max_hashrate: mining.max_hashrate,
        };
        let rate = tokio::task::spawn_blocking(move || hashes_per_second(&config, MEASURE)).await?;
        let target = target_for(rate.min(mining.max_hashrate as f64), mining.shares_per_second);
        Ok(Self { config, target })
    }

    /// The pool's `minimum_difficulty` in leading zero bits that goes with the target.
    pub(crate) fn minimum_difficulty(&self) -> u32 {
        let zeros = self.target.to_be_bytes().iter().try_fold(0, |zeros, byte| match byte {
            0 => Ok(zeros + 8),
            byte => Err(zeros + byte.leading_zeros()),
        });
        zeros.unwrap_or_else(|zeros| zeros).saturating_sub(WORTH_BITS)
    }

    /// Starts the hashing thread and what hands its shares to the pool. All of it ends with `stop`, after the last share
    /// found is in the outbox.
    pub(crate) fn start_hashing(
        &self,
        intake: ShareIntake,
        locking_key: [u8; 33],
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> io::Result<()> {
        let (jobs, newest_job) = watch::channel::<Option<Arc<Job>>>(None);
        let (found, shares) = mpsc::channel(SHARES);
        let hasher = Hasher::start(&self.config, &newest_job, &found, stop)?;
        tasks.spawn(synthetic::feed(jobs, self.target, BLOCK, stop.clone()));
        tasks.spawn(hasher.join());
        tasks.spawn(hand_in(shares, intake, locking_key));
        Ok(())
    }
}

/// Hands found shares to the pool until the hashing is over. A share that the pool does not take is lost to the miner,
/// as it would be over a network.
async fn hand_in(mut shares: mpsc::Receiver<Share>, intake: ShareIntake, locking_key: [u8; 33]) {
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
