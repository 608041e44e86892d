//! Redeeming what a key has earned, for people who mine with their own software: the pool's list of the key's quotes is
//! read to its end and minted to the last.

use std::sync::Arc;
use std::time::Duration;

use service::ConfigError;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{HTTP_URL, is_http};
use crate::quotes::{Listing, ListingError, hand_in};
use crate::running::{StartError, join, wallet_thread};
use crate::wallet::{Progress, Redeemer, WalletConfig, WalletError};

/// How long nothing may move before the rest is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ids between the list and the wallet.
const IDS: usize = 64;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redeemed {
    /// Quotes and ehash of this run.
    pub progress: Progress,
    /// Unspent ehash in the wallet.
    pub balance: u64,
}

/// Why not everything was redeemed. What was is in the wallet.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// It did not begin.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The pool's list can't be read.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// The wallet's database fails.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The mint refuses some.
    #[error("{redeemed} quotes redeemed; {refused} are refused by the mint: {why}")]
    Refused {
        /// Quotes redeemed in this run.
        redeemed: u64,
        /// Quotes refused.
        refused: u64,
        /// What the mint said of the last of them.
        why: Arc<str>,
    },
    /// The mint does not get on with it.
    #[error("{redeemed} quotes redeemed; {waiting} still wait, and nothing has moved for {PATIENCE:?}: {why}")]
    Stuck {
        /// Quotes redeemed in this run.
        redeemed: u64,
        /// Quotes that wait; the wallet has them, and goes on with them the next time.
        waiting: u64,
        /// What the matter is.
        why: Arc<str>,
    },
    /// It was told to stop.
    #[error("stopped: {redeemed} quotes redeemed, {waiting} still wait")]
    Stopped {
        /// Quotes redeemed in this run.
        redeemed: u64,
        /// Quotes that wait; the wallet has them, and goes on with them the next time.
        waiting: u64,
    },
}

/// Redeems all that the pool, whose page is at `pool`, lists for the wallet's key. `watch` gets the wallet's progress to
/// follow once it is open.
///
/// # Errors
/// [`RedeemError`]: some are left.
pub async fn redeem(
    wallet: &WalletConfig,
    pool: &str,
    stop: CancellationToken,
    watch: impl FnOnce(watch::Receiver<Progress>),
) -> Result<Redeemed, RedeemError> {
    if !is_http(pool) {
        let error = ConfigError::invalid_outside_file("--pool", format_args!("{pool:?}"), HTTP_URL);
        return Err(StartError::from(error).into());
    }
    wallet.validate().map_err(StartError::from)?;
    let (redeemer, task) = Redeemer::open(wallet).await.map_err(StartError::from)?;
    // A long one must not count as being stuck. If it fails, the task goes on trying, and tells why.
    let _ = stop.run_until_cancelled(redeemer.restore()).await;
    watch(redeemer.progress());
    let ended = CancellationToken::new();
    let thread = wallet_thread(task, ended.clone(), std::future::ready(())).map_err(StartError::Thread)?;
    let mut listing = Listing::new(pool, hex::encode(redeemer.locking_key()));
    let outcome = match stop.run_until_cancelled(all(&redeemer, &mut listing)).await {
        Some(outcome) => outcome,
        None => {
            let progress = redeemer.progress().borrow().clone();
            Err(RedeemError::Stopped {
                redeemed: progress.redeemed_quotes,
                waiting: progress.waiting,
            })
        }
    };
    ended.cancel();
    join(thread).await;
    let progress = outcome?;
    Ok(Redeemed {
        progress,
        balance: redeemer.balance().await?,
    })
}

/// Reads and mints until the list has nothing new.
async fn all(redeemer: &Redeemer, listing: &mut Listing) -> Result<Progress, RedeemError> {
    loop {
        let (sender, mut ids) = mpsc::channel(IDS);
        let reading = async {
            let read = listing.read_new(&sender).await;
            drop(sender);
            read
        };
        let taking = async {
            let mut new = false;
            while let Some(id) = ids.recv().await {
                new |= hand_in(redeemer, &id).await;
            }
            new
        };
        let (read, new) = tokio::join!(reading, taking);
        read?;
        let progress = done(redeemer).await?;
        if !new {
            return match progress {
                Progress {
                    refused,
                    redeemed_quotes,
                    ..
                } if refused > 0 => Err(RedeemError::Refused {
                    redeemed: redeemed_quotes,
                    refused,
                    why: progress.last_refusal.unwrap_or_else(|| "no reason given".into()),
                }),
                progress => Ok(progress),
            };
        }
    }
}

/// Waits until no quote waits.
async fn done(redeemer: &Redeemer) -> Result<Progress, RedeemError> {
    let mut changes = redeemer.progress();
    loop {
        let progress = changes.borrow_and_update().clone();
        if progress.waiting == 0 {
            return Ok(progress);
        }
        let moved = |now: &Progress| now.waiting != progress.waiting;
        let stuck = match timeout(PATIENCE, changes.wait_for(moved)).await {
            Ok(Ok(_)) => None,
            Ok(Err(_)) => Some("the wallet has stopped".into()),
            Err(_) => {
                let last_error = redeemer.progress().borrow().last_error.clone();
                Some(last_error.unwrap_or_else(|| "the mint says that they are not paid".into()))
            }
        };
        if let Some(why) = stuck {
            return Err(RedeemError::Stuck {
                redeemed: progress.redeemed_quotes,
                waiting: progress.waiting,
                why,
            });
        }
    }
}
