//! The wallet's errands: what the program does besides mining.

use std::io::{self, Write as _};
use std::time::Duration;

use miner::wallet::{self, Redeemer};
use miner::{MinerConfig, Redeemed};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::say;

/// How often redeeming says how far it has come.
const REPORT: Duration = Duration::from_secs(2);

/// Redeems everything that the pool's page lists for the wallet's key.
pub(crate) async fn redeem(config: &MinerConfig, pool: &str, stop: CancellationToken) -> anyhow::Result<()> {
    let mut reporting = None;
    let watch = |progress: tokio::sync::watch::Receiver<wallet::Progress>| {
        reporting = Some(tokio::spawn(async move {
            let mut clock = interval(REPORT);
            clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
            clock.tick().await;
            loop {
                clock.tick().await;
                let now = progress.borrow().clone();
                say(&format_args!(
                    "{} quotes redeemed, {} wait",
                    now.redeemed_quotes, now.waiting
                ));
            }
        }));
    };
    let redeemed = miner::redeem(&config.wallet, pool, stop, watch).await;
    if let Some(reporting) = reporting {
        reporting.abort();
    }
    let Redeemed { progress, balance } = redeemed?;
    let before = match progress.already_issued {
        0 => String::new(),
        count => format!(" ({count} were before)"),
    };
    writeln!(
        io::stdout(),
        "redeemed {} quotes{before}, {} ehash; balance {balance}",
        progress.redeemed_quotes,
        progress.redeemed_amount,
    )?;
    Ok(())
}

/// Prints the locking key.
pub(crate) fn key(config: &MinerConfig) -> anyhow::Result<()> {
    let key = wallet::locking_key(&config.wallet.data_dir)?;
    writeln!(io::stdout(), "{}", hex::encode(key))?;
    Ok(())
}

/// Prints the balance.
pub(crate) async fn balance(config: &MinerConfig, stop: CancellationToken) -> anyhow::Result<()> {
    let (wallet, _) = Redeemer::open(&config.wallet).await?;
    stop.run_until_cancelled(wallet.restore()).await.ok_or_else(stopped)??;
    writeln!(io::stdout(), "{}", wallet.balance().await?)?;
    Ok(())
}

/// Prints a token.
pub(crate) async fn send(config: &MinerConfig, amount: u64, stop: CancellationToken) -> anyhow::Result<()> {
    let (wallet, _) = Redeemer::open(&config.wallet).await?;
    stop.run_until_cancelled(wallet.restore()).await.ok_or_else(stopped)??;
    let token = stop.run_until_cancelled(wallet.send(amount)).await;
    writeln!(io::stdout(), "{}", token.ok_or_else(stopped)??)?;
    Ok(())
}

fn stopped() -> anyhow::Error {
    anyhow::anyhow!("stopped")
}
