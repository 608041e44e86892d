//! The whole system in one process, for a first look and for tests: a CDK mint on SQLite, a pool, a miner on the CPU with
//! a wallet that mints over HTTP, and the Stratum V2 connections between them. Only the blocks are invented.
//!
//! ```text
//! miner ═ shares ═▶ pool ─▶ outbox ═ Noise on loopback ═▶ mint ─ pushes ═▶ pool's page
//!   ▲                └─ quote ids ═▶ miner's wallet ─ HTTP ─▶ mint
//!   └══ jobs ══ pool's chain
//! ```
//!
//! [`start`] begins each part as its own program would, with a configuration made here; the mint pins the pool's key and
//! the pool the mint's, as on two machines.

mod config;
mod mining;
mod report;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use miner::wallet::{Progress, WalletConfig};
use mint::{MintConfig, PoolSection};
use pool::{PoolConfig, ShareIntake, outbox::Outbox};
use service::{BindError, ConfigError, remark};
use stats_push::{SnapshotCache, Totals};
use sv2_transport::AuthorityPublicKey;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use config::{DevnetConfig, Listen, Mining};
pub use report::{Figures, report};

/// Why a devnet did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A value that is not allowed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port in use.
    #[error(transparent)]
    Bind(BindError),
    /// The directory for the data can't be made.
    #[error("data directory: {0}")]
    DataDir(#[source] io::Error),
    /// The pool did not start.
    #[error(transparent)]
    Pool(pool::StartError),
    /// The mint did not start.
    #[error(transparent)]
    Mint(mint::StartError),
    /// The miner did not start.
    #[error(transparent)]
    Miner(#[from] miner::StartError),
}

impl From<pool::StartError> for StartError {
    fn from(error: pool::StartError) -> Self {
        match error {
            pool::StartError::Bind(error) => {
                let flag = match error.key() {
                    "mint_link.listen" => "--mint-link",
                    "mining.listen" => "--mining",
                    _ => "--dashboard",
                };
                Self::Bind(error.under(flag))
            }
            other => Self::Pool(other),
        }
    }
}

impl From<mint::StartError> for StartError {
    fn from(error: mint::StartError) -> Self {
        match error {
            mint::StartError::Bind(error) => {
                let flag = match error.key() {
                    "http.listen" => "--mint-http",
                    _ => "--mint-dashboard",
                };
                Self::Bind(error.under(flag))
            }
            other => Self::Mint(other),
        }
    }
}

/// A devnet at work.
#[derive(Clone)]
pub struct Running {
    addresses: [(&'static str, SocketAddr); 5],
    authority: AuthorityPublicKey,
    totals: watch::Receiver<Arc<Totals>>,
    cache: SnapshotCache,
    outbox: Outbox,
    intake: ShareIntake,
    miner: Arc<miner::Running>,
    mint_database: PathBuf,
    stop: CancellationToken,
    everything: TaskTracker,
}

impl Running {
    /// What is served where, by the names that the program announces.
    pub fn addresses(&self) -> [(&'static str, SocketAddr); 5] {
        self.addresses
    }

    /// The pool's public key, which other miners pin that are to mine here.
    pub fn authority_key(&self) -> AuthorityPublicKey {
        self.authority
    }

    /// What the mint's ledger publishes after each commit.
    pub fn totals(&self) -> watch::Receiver<Arc<Totals>> {
        self.totals.clone()
    }

    /// What the pool knows of the mint.
    pub fn cache(&self) -> &SnapshotCache {
        &self.cache
    }

    /// What the wallet has minted.
    pub fn wallet(&self) -> watch::Receiver<Progress> {
        self.miner.redeemer().progress()
    }

    /// The mint's SQLite file.
    pub fn mint_database(&self) -> &Path {
        &self.mint_database
    }

    /// What was done so far.
    pub fn figures(&self) -> Figures {
        Figures::of(&self.cache, &self.outbox, &self.intake)
    }

    /// Ends the hashing; every share that the pool has accepted is in its outbox when this returns, and no more come. The
    /// rest goes on, and comes to rest when all quotes are redeemed.
    pub async fn stop_hashing(&self) {
        self.miner.stop_hashing().await;
    }

    /// Stops and waits for the end.
    pub async fn stop(self) {
        self.stop.cancel();
        self.ended().await;
    }

    /// Waits until all parts have ended, which they do after `stop`.
    pub async fn ended(&self) {
        self.everything.wait().await;
    }
}

/// What is stopped in the order of the data, so that nothing that was acknowledged is lost.
struct Parts {
    miner: Arc<miner::Running>,
    stop_miner: CancellationToken,
    mint: mint::Running,
    pool: pool::Running,
    /// Removed when this goes.
    temporary: Option<TempDir>,
}

impl Parts {
    async fn run(self, stop: CancellationToken) {
        stop.cancelled().await;
        self.stop_miner.cancel();
        self.miner.ended().await;
        // Its final snapshot still reaches the pool.
        self.mint.stop().await;
        self.pool.stop().await;
        drop(self.temporary);
    }
}

/// Starts everything, and says on stderr what it is at. It runs until `stop`, with or without the [`Running`].
///
/// # Errors
/// [`StartError`]; then nothing runs.
pub async fn start(config: DevnetConfig, stop: CancellationToken) -> Result<Running, StartError> {
    config.check()?;
    let (dir, temporary) = data_dir(&config)?;
    remark(format_args!("devnet: data in {}", dir.display()));
    // Each part is stopped in its turn, not by `stop`; if one does not start, those before it end.
    let abandoned = CancellationToken::new();
    let unfinished = abandoned.clone().drop_guard();
    remark("devnet: starting the pool");
    let mut mint_config = mint_config(&config, &dir);
    let pool = pool::start(pool_config(&config, &dir, &mint_config)?, abandoned.child_token()).await?;
    remark("devnet: starting the mint");
    mint_config.pools.push(PoolSection {
        address: pool.mint_link_address().to_string(),
        authority_key: pool.authority_public_key(),
    });
    let mint = mint::start(mint_config, abandoned.child_token()).await?;
    remark("devnet: opening the wallet, measuring the hashrate, mining");
    let miner_config = config.mining.miner_config(&pool, wallet_config(&mint, &dir)?);
    let stop_miner = abandoned.child_token();
    let miner = Arc::new(miner::start(miner_config, stop_miner.clone()).await?);
    unfinished.disarm();

    let everything = TaskTracker::new();
    let running = Running {
        addresses: [
            ("dashboard", pool.dashboard_address()),
            ("mint-dashboard", mint.dashboard_address()),
            ("mint-http", mint.http_address()),
            ("mining", pool.mining_address()),
            ("mint-link", pool.mint_link_address()),
        ],
        authority: pool.authority_public_key(),
        totals: mint.ledger().subscribe(),
        cache: pool.cache().clone(),
        outbox: pool.outbox().clone(),
        intake: pool.intake().clone(),
        miner: Arc::clone(&miner),
        mint_database: dir.join("mint").join(mint::DATABASE),
        stop: stop.clone(),
        everything: everything.clone(),
    };
    let parts = Parts {
        miner,
        stop_miner,
        mint,
        pool,
        temporary,
    };
    everything.spawn(parts.run(stop));
    everything.close();
    Ok(running)
}

fn data_dir(config: &DevnetConfig) -> Result<(PathBuf, Option<TempDir>), StartError> {
    match &config.data_dir {
        Some(dir) => Ok((dir.clone(), None)),
        None => {
            let temporary = TempDir::with_prefix("devnet-").map_err(StartError::DataDir)?;
            Ok((temporary.path().to_owned(), Some(temporary)))
        }
    }
}

fn mint_config(config: &DevnetConfig, dir: &Path) -> MintConfig {
    let mut mint = MintConfig {
        data_dir: dir.join("mint"),
        push: config.push,
        ..MintConfig::default()
    };
    mint.http.listen = config.listen.mint_http;
    mint.dashboard.listen = config.listen.mint_dashboard;
    mint
}

fn pool_config(config: &DevnetConfig, dir: &Path, mint: &MintConfig) -> Result<PoolConfig, StartError> {
    let mut pool = PoolConfig {
        data_dir: dir.join("pool"),
        ..PoolConfig::default()
    };
    pool.mint_link.listen = config.listen.mint_link;
    pool.mint_link.mint_public_keys = vec![mint::public_key(mint)?];
    pool.dashboard.listen = config.listen.dashboard;
    pool.mining.listen = config.listen.mining;
    config.mining.pace(&mut pool);
    Ok(pool)
}

fn wallet_config(mint: &mint::Running, dir: &Path) -> Result<WalletConfig, ConfigError> {
    let address = mint.http_address();
    let mint_url = format!("http://{address}")
        .parse()
        .map_err(|error| ConfigError::invalid("listen.mint_http", address, format_args!("no URL: {error}")))?;
    Ok(WalletConfig {
        // Port 0 gives the same mint another address at every start.
        mint_has_moved: true,
        ..WalletConfig::new(mint_url, dir.join("miner"))
    })
}
