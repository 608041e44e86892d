//! A mint and a pool that know each other, in this process.

use std::path::PathBuf;
use std::time::Duration;

use mint::{MintConfig, PoolSection};
use pool::{Earned, PoolConfig};
use system_tests::{Process, Truth, eventually, path_of, truth};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Leading zero bits that earn 1.
const MINIMUM_DIFFICULTY: u32 = 8;

pub(crate) struct House {
    pub(crate) dir: TempDir,
    pub(crate) mint: mint::Running,
    pub(crate) pool: pool::Running,
}

impl House {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let any_port = || ([127, 0, 0, 1], 0).into();
        let mut mint = MintConfig {
            data_dir: dir.path().join("mint"),
            ..MintConfig::default()
        };
        mint.http.listen = any_port();
        mint.dashboard.listen = any_port();
        let mut pool = PoolConfig {
            data_dir: dir.path().join("pool"),
            ..PoolConfig::default()
        };
        pool.mint_link.listen = any_port();
        pool.mint_link.mint_public_keys = vec![mint::public_key(&mint).unwrap()];
        pool.mining.listen = any_port();
        pool.mining.shares_per_minute = 600.0;
        pool.mining.minimum_difficulty = MINIMUM_DIFFICULTY;
        pool.dashboard.listen = any_port();
        pool.quotes.minimum_difficulty = MINIMUM_DIFFICULTY;
        let pool = pool::start(pool, CancellationToken::new()).await.unwrap();
        mint.pools.push(PoolSection {
            address: pool.mint_link_address().to_string(),
            authority_key: pool.authority_public_key(),
        });
        let mint = mint::start(mint, CancellationToken::new()).await.unwrap();
        Self { dir, mint, pool }
    }

    pub(crate) fn wallet(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn mint_url(&self) -> String {
        format!("http://{}", self.mint.http_address())
    }

    pub(crate) fn page(&self) -> String {
        format!("http://{}", self.pool.dashboard_address())
    }

    /// What the mint's file says.
    pub(crate) fn truth(&self) -> Truth {
        truth(&self.dir.path().join("mint").join(mint::DATABASE))
    }

    /// Lets somebody with this key find shares that earn 1, 2, 4 ... and waits until the mint has made their quotes.
    pub(crate) async fn earn(&self, key: [u8; 33], shares: u32) -> u64 {
        let acknowledged = self.pool.outbox().view().tally.acknowledged + u64::from(shares);
        let accepting = (0..shares).map(async |number| {
            let mut hash: [u8; 32] = rand::random();
            let zero_bits = MINIMUM_DIFFICULTY + number % 8;
            // The hash is displayed from its end on.
            hash[31] = 0;
            hash[30] = 0x80_u8 >> (zero_bits - 8);
            match self.pool.intake().accept(hash, Some(key)).await.unwrap() {
                Earned::Quote { amount } => amount,
                other => panic!("{other:?}"),
            }
        });
        let earned = futures::future::join_all(accepting).await.into_iter().sum();
        eventually("all shares have their quotes", PATIENCE, async || {
            (self.pool.outbox().view().tally.acknowledged >= acknowledged).then_some(())
        })
        .await;
        earned
    }

    pub(crate) async fn stop(self) {
        self.mint.stop().await;
        self.pool.stop().await;
    }
}

/// Runs the program to its end: its exit code and all it said.
pub(crate) async fn miner(args: &[&str]) -> (Option<i32>, Vec<String>) {
    let mut process = Process::start("miner", args);
    let code = process.ended().await.code();
    (code, process.finished().await)
}

/// Runs the program within a line of shell, where it is `"$0" "$@"`: its exit code and all it said.
pub(crate) async fn shell(line: &str, args: &[&str]) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new("sh");
    command.args(["-c", line]).arg(path_of("miner")).args(args);
    let ended = timeout(PATIENCE, command.kill_on_drop(true).output());
    let ended = ended.await.unwrap().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.code(), String::from_utf8(said).unwrap())
}
