//! The parts of a miner, put together: the connection with the pool, the threads that search, the wallet.
//!
//! They stop in the order of the data: the search, then what the pool still answers, then the connection, then the wallet,
//! which finishes the request that it is at. The wallet's SQLite blocks the thread that it runs on, so it has a thread and
//! a runtime of its own.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use service::{ConfigError, vital};
use sv2_transport::Tcp;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::MinerConfig;
use crate::hashing::{Hasher, Hashes, hashes_per_second};
use crate::quotes::{Listing, collect, follow};
use crate::stratum::{self, Client, Ends, PoolStatus};
use crate::wallet::{RedeemTask, Redeemer, WalletError};

/// Shares that may wait to be sent; after that the search waits.
const SHARES: usize = 1024;

/// Ids of quotes that may wait for the wallet; after that nothing more is read from the pool.
const QUOTES: usize = 1024;

/// How long the hashrate is measured at the start.
const CALIBRATION: Duration = Duration::from_millis(200);

/// How long the pool may take, after the end of the search, to answer the last shares.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

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
    hashrate: f64,
    hashes: Hashes,
    pool: watch::Receiver<PoolStatus>,
    stop_hashing: CancellationToken,
    everything: TaskTracker,
}

impl Running {
    /// The wallet.
    #[must_use]
    pub fn redeemer(&self) -> &Redeemer {
        &self.redeemer
    }

    /// Hashes a second as they were measured at the start.
    #[must_use]
    pub fn hashrate(&self) -> f64 {
        self.hashrate
    }

    /// Hashes tried so far.
    #[must_use]
    pub fn hashes(&self) -> u64 {
        self.hashes.total()
    }

    /// The connection with the pool, and what became of the shares.
    #[must_use]
    pub fn pool(&self) -> watch::Receiver<PoolStatus> {
        self.pool.clone()
    }

    /// Ends the search for good, and returns when the pool has answered every share, or has had 5 s for it. The miner
    /// still hears of quotes, and mints them.
    pub async fn stop_hashing(&self) {
        self.stop_hashing.cancel();
        settled(&self.pool).await;
    }

    /// Waits until the miner has been told to stop and has. It stops of itself if a part that it can't do without has
    /// crashed.
    pub async fn ended(&self) {
        self.everything.wait().await;
    }
}

/// Starts a miner; it runs until `stop`, with or without the [`Running`]. Neither pool nor mint need be there yet.
///
/// # Errors
/// [`StartError`]; then nothing runs.
pub async fn start(config: MinerConfig, stop: CancellationToken) -> Result<Running, StartError> {
    config.validate()?;
    let authority = config.pool.authority()?;
    let (redeemer, task) = Redeemer::open(&config.wallet).await?;
    let hashing = config.hashing;
    let measured = tokio::task::spawn_blocking(move || hashes_per_second(&hashing, CALIBRATION)).await;
    let hashrate = measured.map_err(|error| StartError::Thread(io::Error::other(error)))?;

    let stop = stop.child_token();
    let stops = Stops::new(&stop);
    let unfinished = stops.clone().drop_guard();
    let (jobs, newest_job) = watch::channel(None);
    let (found, shares) = mpsc::channel(SHARES);
    let (told, ids) = mpsc::channel(QUOTES);
    let hasher = Hasher::start(&hashing, &newest_job, &found, &stops.hashing).map_err(StartError::Thread)?;
    drop(found);
    // Dropped, and so the end of all, if the wallet beside it crashes.
    let collecting = vital(stop.clone(), collect(ids, redeemer.clone(), stops.wallet.clone()));
    let wallet = wallet_thread(task, stops.wallet.clone(), collecting).map_err(StartError::Thread)?;
    unfinished.disarm();

    let locking_key = hex::encode(redeemer.locking_key());
    let ends = Ends::new(jobs, shares, told.clone());
    let pool = ends.status();
    let client = Client {
        identity: config.pool.identity(&locking_key),
        authority,
        hashrate: hashrate as f32,
        config: config.pool.clone(),
    };
    let connection = TaskTracker::new();
    let mining = stratum::run(client, ends, Tcp, stops.connection.clone());
    connection.spawn(vital(stop.clone(), mining));
    if let Some(url) = &config.pool.http_url {
        let listing = Listing::new(url, locking_key);
        let following = follow(listing, told, pool.clone(), stops.connection.clone());
        connection.spawn(vital(stop.clone(), following));
    }
    connection.close();

    let running = Running {
        redeemer,
        hashrate,
        hashes: hasher.counter(),
        pool: pool.clone(),
        stop_hashing: stops.hashing.clone(),
        everything: TaskTracker::new(),
    };
    running
        .everything
        .spawn(end_in_order(stop, stops, hasher, pool, connection, wallet));
    running.everything.close();
    Ok(running)
}

/// What ends what.
#[derive(Clone)]
struct Stops {
    hashing: CancellationToken,
    connection: CancellationToken,
    wallet: CancellationToken,
}

impl Stops {
    fn new(stop: &CancellationToken) -> Self {
        Self {
            hashing: stop.child_token(),
            connection: CancellationToken::new(),
            wallet: CancellationToken::new(),
        }
    }

    /// Ends everything if the start fails half way.
    fn drop_guard(self) -> Unfinished {
        Unfinished(Some(self))
    }
}

struct Unfinished(Option<Stops>);

impl Unfinished {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(stops) = &self.0 {
            stops.hashing.cancel();
            stops.connection.cancel();
            stops.wallet.cancel();
        }
    }
}

async fn end_in_order(
    stop: CancellationToken,
    stops: Stops,
    hasher: Hasher,
    pool: watch::Receiver<PoolStatus>,
    connection: TaskTracker,
    wallet: JoinHandle<()>,
) {
    stop.cancelled().await;
    stops.hashing.cancel();
    hasher.join().await;
    settled(&pool).await;
    stops.connection.cancel();
    connection.wait().await;
    stops.wallet.cancel();
    join(wallet).await;
}

/// Waits until the pool has answered the last shares, but not for ever.
async fn settled(pool: &watch::Receiver<PoolStatus>) {
    let mut pool = pool.clone();
    let settled = async {
        // An error means that the connection is gone, and no answer will come.
        let _ = pool.wait_for(PoolStatus::is_settled).await;
    };
    if timeout(LAST_ANSWERS, settled).await.is_err() {
        tracing::warn!("the pool has not answered the last shares");
    }
}

/// Runs the wallet, and what is to be done beside it, on a thread of their own.
pub(crate) fn wallet_thread(
    task: RedeemTask,
    stop: CancellationToken,
    beside: impl Future<Output = ()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("wallet".to_owned()).spawn(move || {
        runtime.block_on(async { tokio::join!(task.run(stop), beside) });
    })
}

/// Waits for the end of the wallet's thread.
pub(crate) async fn join(wallet: JoinHandle<()>) {
    match tokio::task::spawn_blocking(move || wallet.join()).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) | Err(_) => tracing::error!("the wallet's thread did not end in order"),
    }
}
