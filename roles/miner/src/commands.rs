//! The wallet's errands: what the program does besides mining.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::time::Duration;

use anyhow::Context as _;
use miner::wallet::{self, Redeemer};
use miner::{MinerConfig, Redeemed};
use service::say;
use tokio::io::AsyncReadExt as _;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often redeeming says how far it has come.
const REPORT: Duration = Duration::from_secs(2);

/// A token of a whole wallet is far shorter.
const LONGEST_TOKEN: u64 = 1 << 20;

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
                say(format_args!(
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
    let wallet = existing(config, &stop).await?;
    stop.run_until_cancelled(wallet.recover()).await.ok_or_else(stopped)??;
    writeln!(io::stdout(), "{}", wallet.balance().await?)?;
    Ok(())
}

/// Prints a token.
pub(crate) async fn send(config: &MinerConfig, amount: u64, stop: CancellationToken) -> anyhow::Result<()> {
    anyhow::ensure!(
        !prints_into_nothing().context("looking at standard output")?,
        "standard output is closed or /dev/null, where the token would be lost: nothing was taken out of the wallet"
    );
    let wallet = existing(config, &stop).await?;
    let print = |token: &str| {
        let mut out = io::stdout();
        writeln!(out, "{token}")?;
        out.flush()
    };
    let sending = stop.run_until_cancelled(wallet.send(amount, print)).await;
    Ok(sending.context("stopped; if no token was printed, `miner reclaim` takes it back")??)
}

/// Whether what is printed is lost without an error: standard output is the null device, which also takes the place of one
/// that was closed when the program began.
fn prints_into_nothing() -> io::Result<bool> {
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?).metadata()?;
    Ok(output.file_type().is_char_device() && output.rdev() == fs::metadata("/dev/null")?.rdev())
}

/// Puts a token into the wallet; `-` stands for standard input, as in other programs.
pub(crate) async fn receive(config: &MinerConfig, token: Option<&str>, stop: CancellationToken) -> anyhow::Result<()> {
    let token = match token.filter(|token| *token != "-") {
        Some(token) => token.to_owned(),
        None => stop.run_until_cancelled(read_token()).await.ok_or_else(stopped)??,
    };
    let wallet = opened(config, &stop).await?;
    let receiving = stop.run_until_cancelled(wallet.receive(token.trim())).await;
    let amount = receiving.context("stopped; the next command finishes what was begun")??;
    writeln!(io::stdout(), "received {amount}; balance {}", wallet.balance().await?)?;
    Ok(())
}

/// Takes back the tokens that nobody has received.
pub(crate) async fn reclaim(config: &MinerConfig, stop: CancellationToken) -> anyhow::Result<()> {
    let wallet = existing(config, &stop).await?;
    let amount = stop.run_until_cancelled(wallet.reclaim()).await.ok_or_else(stopped)??;
    writeln!(io::stdout(), "taken back {amount}; balance {}", wallet.balance().await?)?;
    Ok(())
}

/// A token from standard input.
async fn read_token() -> anyhow::Result<String> {
    let mut token = String::new();
    let limit = LONGEST_TOKEN + 1;
    let read = tokio::io::stdin().take(limit).read_to_string(&mut token).await;
    let read = read.context("reading the token from standard input")?;
    anyhow::ensure!((read as u64) < limit, "a token has at most {LONGEST_TOKEN} characters");
    Ok(token)
}

/// The wallet that there is: a mistyped directory is not to become a new one with nothing in it.
async fn existing(config: &MinerConfig, stop: &CancellationToken) -> anyhow::Result<Redeemer> {
    let dir = &config.wallet.data_dir;
    anyhow::ensure!(
        wallet::has_seed(dir)?,
        "{}: no wallet is here; mining, `miner redeem`, `miner receive` and `miner key` make one",
        dir.display()
    );
    opened(config, stop).await
}

/// The wallet, with what a lost database held.
async fn opened(config: &MinerConfig, stop: &CancellationToken) -> anyhow::Result<Redeemer> {
    let (wallet, _) = Redeemer::open(&config.wallet).await?;
    stop.run_until_cancelled(wallet.restore()).await.ok_or_else(stopped)??;
    Ok(wallet)
}

fn stopped() -> anyhow::Error {
    anyhow::anyhow!("stopped")
}
