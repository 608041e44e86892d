//! The parts of a miner, put together: invented headers, the threads that search them, the wallet.
//!
//! The wallet's SQLite blocks the thread that it runs on, so minting has a thread and a runtime of its own.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use bitcoin::Target;
use serde::{Deserialize, Serialize};
use service::{ConfigError, in_range};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::hashing::{Hasher, HashingConfig, Share, hashes_per_second, leading_zero_bits_of, target_for};
use crate::synthetic;
use crate::wallet::{RedeemTask, Redeemer, WalletConfig, WalletError};

/// Shares that may wait for whoever takes them; after that the search waits.
const SHARES: usize = 1024;

/// How long the hashrate is measured at the start.
const CALIBRATION: Duration = Duration::from_millis(200);

/// Everything that a miner can be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinerConfig {
    /// How much of the machine the search may take.
    #[serde(default)]
    pub hashing: HashingConfig,
    /// What is searched.
    #[serde(default)]
    pub synthetic: SyntheticConfig,
    /// Where the ehash goes.
    pub wallet: WalletConfig,
}

/// The `[synthetic]` table: headers of no chain.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyntheticConfig {
    /// Shares a second that the target is chosen for, 0.001 to 1,000. They come at random, so many on average.
    pub shares_per_second: f64,
    /// How often a new header takes over, as after a block. 100 ms to 1 h.
    #[serde(rename = "block_interval_ms", with = "service::duration::millis")]
    pub block_interval: Duration,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        Self {
            shares_per_second: 5.0,
            block_interval: Duration::from_secs(30),
        }
    }
}

impl MinerConfig {
    /// Checks the bounds.
    ///
    /// # Errors
    /// Names the key that is out of bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.hashing.validate()?;
        in_range(
            "synthetic.shares_per_second",
            &self.synthetic.shares_per_second,
            0.001..=1000.0,
        )?;
        in_range(
            "synthetic.block_interval_ms",
            &self.synthetic.block_interval.as_millis(),
            100..=3_600_000,
        )?;
        self.wallet.validate()
    }
}

/// Why a miner did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is out of bounds.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The wallet can't be opened.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The operating system gives no thread.
    #[error("no thread could be started")]
    Thread(#[source] io::Error),
}

/// A miner at work.
#[derive(Debug)]
pub struct Running {
    redeemer: Redeemer,
    target: Target,
    shares: Option<mpsc::Receiver<Share>>,
    hasher: Hasher,
    minting: JoinHandle<()>,
    stop_hashing: CancellationToken,
}

impl Running {
    /// The shares, once: who takes them has them all. While nobody does, the search waits.
    pub fn take_shares(&mut self) -> Option<mpsc::Receiver<Share>> {
        self.shares.take()
    }

    /// The wallet, which wants to hear of the quotes that are locked to its key.
    #[must_use]
    pub fn redeemer(&self) -> &Redeemer {
        &self.redeemer
    }

    /// The target that was chosen at the start.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }

    /// Leading zero bits that every share has at least.
    #[must_use]
    pub fn least_zero_bits(&self) -> u32 {
        leading_zero_bits_of(self.target)
    }

    /// Hashes tried so far.
    #[must_use]
    pub fn hashes(&self) -> u64 {
        self.hasher.hashes()
    }

    /// Ends the search for good; the wallet goes on.
    pub fn stop_hashing(&self) {
        self.stop_hashing.cancel();
    }

    /// Waits until the miner has been told to stop and has.
    pub async fn ended(self) {
        self.hasher.join().await;
        let minting = self.minting;
        match tokio::task::spawn_blocking(move || minting.join()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => tracing::error!("the wallet's thread did not end in order"),
        }
    }
}

/// Starts a miner on invented headers; it runs until `stop`.
///
/// # Errors
/// [`StartError`]; then nothing runs.
pub async fn start(config: MinerConfig, stop: CancellationToken) -> Result<Running, StartError> {
    config.validate()?;
    let (redeemer, task) = Redeemer::open(&config.wallet).await?;
    let hashing = config.hashing;
    let measured = tokio::task::spawn_blocking(move || hashes_per_second(&hashing, CALIBRATION)).await;
    let hashrate = measured.map_err(|error| StartError::Thread(io::Error::other(error)))?;
    let target = target_for(hashrate, config.synthetic.shares_per_second);

    let stop_hashing = stop.child_token();
    let (jobs, newest_job) = watch::channel(None);
    let (found, shares) = mpsc::channel(SHARES);
    let hasher = Hasher::start(&hashing, &newest_job, &found, &stop_hashing).map_err(StartError::Thread);
    let started = hasher.and_then(|hasher| Ok((hasher, mint_on_a_thread(task, stop).map_err(StartError::Thread)?)));
    let (hasher, minting) = started.inspect_err(|_| stop_hashing.cancel())?;
    tokio::spawn(synthetic::feed(
        jobs,
        target,
        config.synthetic.block_interval,
        stop_hashing.clone(),
    ));
    tracing::info!(
        hashrate = hashrate.round(),
        shares_per_second = config.synthetic.shares_per_second,
        zero_bits = leading_zero_bits_of(target),
        "mining"
    );
    Ok(Running {
        redeemer,
        target,
        shares: Some(shares),
        hasher,
        minting,
        stop_hashing,
    })
}

fn mint_on_a_thread(task: RedeemTask, stop: CancellationToken) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name("wallet".to_owned())
        .spawn(move || runtime.block_on(task.run(stop)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(folder: &Path) -> MinerConfig {
        MinerConfig {
            hashing: HashingConfig::default(),
            synthetic: SyntheticConfig {
                shares_per_second: 100.0,
                ..SyntheticConfig::default()
            },
            wallet: WalletConfig::new("http://127.0.0.1:1".parse().unwrap(), folder.join("wallet")),
        }
    }

    #[tokio::test]
    async fn shares_of_the_chosen_target_come_until_the_hashing_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let mut miner = start(config(folder.path()), stop.clone()).await.unwrap();
        assert!(miner.least_zero_bits() >= 1);
        let mut shares = miner.take_shares().unwrap();
        assert!(miner.take_shares().is_none());
        for _ in 0..5 {
            let share = shares.recv().await.unwrap();
            assert!(share.leading_zero_bits >= miner.least_zero_bits());
        }
        assert!(miner.hashes() > 0);
        miner.stop_hashing();
        while shares.recv().await.is_some() {}
        assert_eq!(miner.redeemer().balance().await.unwrap(), 0);
        stop.cancel();
        miner.ended().await;
    }

    #[tokio::test]
    async fn a_wallet_in_use_or_a_bad_configuration_starts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let miner = start(config(folder.path()), stop.clone()).await.unwrap();
        let error = start(config(folder.path()), stop.clone()).await.unwrap_err();
        assert!(
            matches!(error, StartError::Wallet(WalletError::InUse { .. })),
            "{error}"
        );
        let mut wrong = config(folder.path());
        wrong.synthetic.shares_per_second = 0.0;
        let error = start(wrong, stop.clone()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "synthetic.shares_per_second = 0: expected 0.001 to 1000"
        );
        stop.cancel();
        miner.ended().await;
    }

    #[test]
    fn a_configuration_is_read_with_its_defaults() {
        let text = "[wallet]\nmint_url = \"http://127.0.0.1:3338\"\ndata_dir = \"x\"\n[hashing]\nthreads = 2";
        let config: MinerConfig = service::parse(Path::new("miner.toml"), text).unwrap();
        assert_eq!(config.hashing.threads, 2);
        assert_eq!(config.synthetic, SyntheticConfig::default());
        config.validate().unwrap();
    }
}
