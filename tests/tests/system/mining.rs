//! Mining through processes that are killed at any moment: nothing that was acknowledged is lost or doubled.

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rusqlite::{Connection, OpenFlags};
use sv2_transport::AuthorityPublicKey;
use system_tests::{Heard, PATIENCE, Pair, Process, Rig, eventually, json, truth};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often pool, mint or miner is killed.
const KILLS: u32 = 30;
/// Shares of the witness on their way at most.
const ON_THE_WAY: usize = 16;

/// Mint and pool, and what a miner needs to know of them.
struct Mine {
    pair: Pair,
    authority: String,
    miner: Option<Process>,
}

impl Mine {
    /// Starts mint and pool, with these lines added to the pool's `[mining]` section.
    async fn start(mining: &str) -> Self {
        let mut pair = Pair::configure_mining(mining).await;
        let authority = pair.key_of("pool", "--print-authority-key").await;
        pair.start_pool();
        pair.start_mint();
        pair.until_status("live").await;
        Self {
            pair,
            authority,
            miner: None,
        }
    }

    fn start_miner(&mut self) {
        let (pool_http, mint) = (self.pool_http(), self.mint_http());
        let dir = self.wallet("miner");
        self.miner = Some(Process::start(
            "miner",
            &[
                "--pool",
                &self.pair.mining,
                "--authority-key",
                &self.authority,
                "--mint",
                &mint,
                "--pool-http",
                &pool_http,
                "--data-dir",
                dir.to_str().unwrap(),
            ],
        ));
    }

    async fn kill_miner(&mut self) {
        self.miner.take().expect("running").kill().await;
    }

    /// Redeems all that this wallet's key has earned.
    async fn redeem(&self, wallet: &str) {
        let (pool_http, mint, dir) = (self.pool_http(), self.mint_http(), self.wallet(wallet));
        let dir = dir.to_str().unwrap();
        let arguments = ["redeem", "--pool", &pool_http, "--mint", &mint, "--data-dir", dir];
        let status = Process::start("miner", &arguments).ended().await;
        assert!(status.success(), "redeeming for the {wallet}: {status}");
    }

    /// The key that this wallet's quotes are locked to.
    async fn locking_key(&self, wallet: &str) -> String {
        let mut process = Process::start("miner", &["key", "--data-dir", self.wallet(wallet).to_str().unwrap()]);
        let status = process.ended().await;
        assert!(status.success(), "{status}");
        process.hears("its key", |lines| lines.last().cloned()).await
    }

    fn wallet(&self, name: &str) -> PathBuf {
        self.pair.path(name)
    }

    fn pool_http(&self) -> String {
        format!("http://{}", self.pair.dashboard)
    }

    fn mint_http(&self) -> String {
        format!("http://{}", self.pair.mint_http)
    }
}

/// A rig that comes back whenever its pool has gone, and knows what was acknowledged to it.
struct Witness {
    acknowledged: Arc<AtomicUsize>,
    stop: CancellationToken,
    mining: JoinHandle<HashSet<[u8; 32]>>,
}

impl Witness {
    fn start(pool: SocketAddr, authority: AuthorityPublicKey, identity: String) -> Self {
        let (acknowledged, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let mining = tokio::spawn({
            let (count, stop) = (Arc::clone(&acknowledged), stop.clone());
            async move {
                let mut hashes = HashSet::new();
                while !stop.is_cancelled() {
                    let connected = eventually("the pool takes the witness", PATIENCE, async || {
                        Rig::connect(pool, authority, &identity).await.ok()
                    });
                    let mut rig = connected.await;
                    mine(&mut rig, &mut hashes, &count, &stop).await;
                }
                hashes
            }
        });
        Self {
            acknowledged,
            stop,
            mining,
        }
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Ends the mining; gives the hashes of the shares that were acknowledged.
    async fn end(self) -> HashSet<[u8; 32]> {
        self.stop.cancel();
        self.mining.await.unwrap()
    }
}

/// Mines until the connection is lost, or until the stop has come and every share has its answer.
async fn mine(rig: &mut Rig, hashes: &mut HashSet<[u8; 32]>, count: &AtomicUsize, stop: &CancellationToken) {
    loop {
        let mut shares = Vec::new();
        while !stop.is_cancelled() && rig.pending() + shares.len() < ON_THE_WAY {
            let Some(share) = rig.solve() else { break };
            shares.push(share);
        }
        if rig.submit(shares).await.is_err() || rig.pending() == 0 {
            return;
        }
        match rig.hear().await {
            Ok(Heard::Accepted(accepted)) => {
                count.fetch_add(accepted.len(), Ordering::Relaxed);
                for hash in accepted {
                    assert!(hashes.insert(hash), "a share is acknowledged once");
                }
            }
            // A share that the tip left behind while it was on its way.
            Ok(Heard::Refused(code)) => assert_eq!(code, "stale-share"),
            Ok(Heard::Quote(quote)) => assert!(quote.amount > 0),
            Err(_) => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_thirty_kills_each_acknowledged_share_is_one_quote_and_each_quote_is_redeemed() {
    let mut mine = Mine::start("shares_per_minute = 300.0\nminimum_difficulty = 6\nstart_difficulty = 13\n").await;
    mine.start_miner();
    let witness = Witness::start(
        mine.pair.mining.parse().unwrap(),
        mine.authority.parse().unwrap(),
        format!("{}.witness", mine.locking_key("witness").await),
    );
    for _ in 0..KILLS {
        // A random moment: so many more shares are acknowledged, and so many more quotes redeemed.
        let acknowledged = witness.acknowledged() + usize::from(rand::random::<u8>() % 16);
        let redeemed = truth(&mine.pair.mint_database()).redeemed + u64::from(rand::random::<u8>() % 4);
        eventually("mining goes on", PATIENCE, async || {
            let truth = truth(&mine.pair.mint_database());
            (witness.acknowledged() >= acknowledged && truth.redeemed >= redeemed).then_some(())
        })
        .await;
        match rand::random::<u8>() % 4 {
            0 => {
                mine.pair.kill_mint().await;
                mine.pair.start_mint();
            }
            1 => {
                mine.pair.kill_pool().await;
                mine.pair.start_pool();
            }
            2 => {
                mine.kill_miner().await;
                mine.start_miner();
            }
            _ => {
                mine.pair.kill_pool().await;
                mine.kill_miner().await;
                mine.pair.kill_mint().await;
                mine.pair.start_mint();
                mine.start_miner();
                mine.pair.start_pool();
            }
        }
    }
    let acknowledged = witness.end().await;
    let mut miner = mine.miner.take().unwrap();
    // Before it has said something, a signal may end it like any program that has only just been started.
    miner.announces(["locking-key"]).await;
    miner.signal("TERM").await;
    let status = miner.ended().await;
    assert!(status.success(), "{status}: {:?}", miner.finished().await);
    eventually("no share waits", PATIENCE, async || {
        let pool = json(&mine.pair.dashboard, "/api/v1/pool").await?;
        (pool["quotes"]["waiting"] == 0).then_some(())
    })
    .await;
    mine.redeem("witness").await;
    mine.redeem("miner").await;

    let truth = mine.pair.until_shown_is_true().await;
    assert_eq!(
        truth.quotes,
        [0, 0, truth.redeemed],
        "each quote is redeemed: {truth:?}"
    );
    let quoted = quoted_hashes(&mine.pair);
    assert_eq!(
        quoted.len() as u64,
        truth.redeemed,
        "each quote is for a share of its own"
    );
    let lost: Vec<_> = acknowledged.iter().filter(|hash| !quoted.contains(*hash)).collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged shares have no quote",
        lost.len(),
        acknowledged.len()
    );
    println!(
        "{} shares acknowledged to the witness, {} quotes, all redeemed",
        acknowledged.len(),
        truth.redeemed
    );
}

/// The hashes that the mint has quotes for, in internal byte order.
fn quoted_hashes(pair: &Pair) -> HashSet<[u8; 32]> {
    let connection = Connection::open_with_flags(pair.mint_database(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut quotes = connection.prepare("SELECT request FROM mint_quote").unwrap();
    let hashes = quotes.query_map([], |row| row.get::<_, String>(0)).unwrap();
    hashes
        .map(|hash| {
            let bytes = bitcoin::hex::FromHex::from_hex(&hash.unwrap());
            bytes.unwrap()
        })
        .collect()
}
