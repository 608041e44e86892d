//! A mint and a pool as two processes on their configuration files, with ports that survive a restart.

use std::{path::PathBuf, time::Duration};

use pool::outbox::{AcceptedShare, Outbox, OutboxConfig};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Process, Truth, eventually, free_port, json, stats, truth};

/// Far beyond what anything here takes, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A mint and a pool, each of which may be running or not.
pub struct Pair {
    dir: TempDir,
    /// Where the pool's dashboard is.
    pub dashboard: String,
    /// Where the pool listens for the mint.
    pub mint_link: String,
    /// Where the pool listens for miners.
    pub mining: String,
    /// Where the mint's Cashu API is.
    pub mint_http: String,
    /// The running mint.
    pub mint: Option<Process>,
    /// The running pool.
    pub pool: Option<Process>,
}

impl Pair {
    /// Writes both configuration files, each with the other's key; starts nothing.
    pub async fn configure() -> Self {
        Self::configure_mining("").await
    }

    /// The same, with these lines at the end of the pool's configuration, in its `[mining]` section.
    pub async fn configure_mining(mining: &str) -> Self {
        let pair = Self {
            dir: tempfile::tempdir().unwrap(),
            dashboard: format!("127.0.0.1:{}", free_port()),
            mint_link: format!("127.0.0.1:{}", free_port()),
            mining: format!("127.0.0.1:{}", free_port()),
            mint_http: format!("127.0.0.1:{}", free_port()),
            mint: None,
            pool: None,
        };
        pair.write_mint("");
        let mint_key = pair.key_of("mint", "--print-public-key").await;
        pair.write_mining_pool(&mint_key, mining);
        let authority = pair.key_of("pool", "--print-authority-key").await;
        pair.pin(&authority);
        pair
    }

    /// Both, configured and running.
    pub async fn start() -> Self {
        let mut pair = Self::configure().await;
        pair.start_pool();
        pair.start_mint();
        pair
    }

    /// Starts the mint.
    pub fn start_mint(&mut self) {
        self.mint = Some(Process::start("mint", &["--config", &self.config("mint")]));
    }

    /// Starts the pool.
    pub fn start_pool(&mut self) {
        self.pool = Some(Process::start("pool", &["--config", &self.config("pool")]));
    }

    /// Kills the mint with SIGKILL.
    pub async fn kill_mint(&mut self) {
        self.mint.take().expect("running").kill().await;
    }

    /// Kills the pool with SIGKILL.
    pub async fn kill_pool(&mut self) {
        self.pool.take().expect("running").kill().await;
    }

    /// The pool's outbox, opened beside the pool: shares that are put in here are in the pool's file.
    pub fn outbox(&self) -> Outbox {
        let dir = self.path("pool");
        std::fs::create_dir_all(&dir).unwrap();
        Outbox::open(dir.join("outbox.sqlite"), &OutboxConfig::default()).unwrap()
    }

    /// The mint's SQLite file.
    pub fn mint_database(&self) -> PathBuf {
        self.path("mint").join("mint.sqlite")
    }

    /// Waits until the pool's dashboard shows this status, and returns what it shows.
    pub async fn until_status(&self, status: &str) -> Value {
        eventually(&format!("status {status}"), PATIENCE, async || {
            stats(&self.dashboard).await.filter(|stats| stats["status"] == status)
        })
        .await
    }

    /// Waits until the pool knows of this many shares, in all, and none waits for the mint: it notices within 50 ms what
    /// another process put into its outbox.
    pub async fn until_answered(&self, shares: u64) {
        eventually("every share is answered", PATIENCE, async || {
            let quotes = json(&self.dashboard, "/api/v1/pool").await?["quotes"].take();
            (quotes["requested"] == shares && quotes["waiting"] == 0).then_some(())
        })
        .await;
    }

    /// P11: waits until what the pool shows is live and equals the SQL aggregate, in every figure.
    pub async fn until_shown_is_true(&self) -> Truth {
        eventually("what is shown equals the mint's file", PATIENCE, async || {
            let stats = stats(&self.dashboard).await.filter(|stats| stats["status"] == "live")?;
            let truth = truth(&self.mint_database());
            (Truth::shown(&stats)? == truth).then_some(truth)
        })
        .await
    }

    /// A role's configuration file.
    pub fn config(&self, role: &str) -> String {
        self.path(&format!("{role}.toml")).to_str().unwrap().to_owned()
    }

    /// A file of this pair's own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write_mint(&self, pools: &str) {
        let text = format!(
            "data_dir = {:?}\n[http]\nlisten = \"{}\"\n[dashboard]\nlisten = \"127.0.0.1:0\"\n\
             [push]\ninterval_ms = 500\nmin_gap_ms = 20\n{pools}",
            self.path("mint"),
            self.mint_http,
        );
        std::fs::write(self.path("mint.toml"), text).unwrap();
    }

    /// Writes the mint's configuration: its one pool holds this authority key.
    pub fn pin(&self, authority: &str) {
        self.write_mint(&format!(
            "[[pools]]\naddress = \"{}\"\nauthority_key = \"{authority}\"\n",
            self.mint_link
        ));
    }

    /// Writes the pool's configuration: its one mint holds this key.
    pub fn write_pool(&self, mint_key: &str) {
        self.write_mining_pool(mint_key, "");
    }

    fn write_mining_pool(&self, mint_key: &str, mining: &str) {
        let text = format!(
            "data_dir = {:?}\n[mint_link]\nlisten = \"{}\"\nmint_public_keys = [\"{mint_key}\"]\n\
             [quotes]\nminimum_difficulty = 4\n[dashboard]\nlisten = \"{}\"\n[mining]\nlisten = \"{}\"\n{mining}",
            self.path("pool"),
            self.mint_link,
            self.dashboard,
            self.mining,
        );
        std::fs::write(self.path("pool.toml"), text).unwrap();
    }

    /// The key that a role's program prints.
    pub async fn key_of(&self, role: &str, flag: &str) -> String {
        key_of(role, &self.config(role), flag).await
    }
}

/// The key that a role prints when it is started with this flag.
pub async fn key_of(role: &str, config: &str, flag: &str) -> String {
    let mut process = Process::start(role, &["--config", config, flag]);
    let status = process.ended().await;
    assert!(status.success(), "{role} {flag}: {status}");
    process.hears("its key", |lines| lines.last().cloned()).await
}

/// A share that nobody has found before, worth 32 to a key that is on the curve.
pub fn new_share() -> AcceptedShare {
    AcceptedShare {
        header_hash: rand::random(),
        amount: 32,
        locking_key: LOCKING_KEY,
    }
}

/// The generator of secp256k1, compressed.
const LOCKING_KEY: [u8; 33] = [
    0x02, 0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac, 0x55, 0xa0, 0x62, 0x95, 0xce, 0x87, 0x0b, 0x07, 0x02, 0x9b,
    0xfc, 0xdb, 0x2d, 0xce, 0x28, 0xd9, 0x59, 0xf2, 0x81, 0x5b, 0x16, 0xf8, 0x17, 0x98,
];
