//! What devnet lets one choose. Everything has a default that works.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;
use service::{ConfigError, in_range};
use stats_push::PushConfig;

/// The configuration of a devnet: `config/devnet.toml`, or the command line.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DevnetConfig {
    /// Where mint, pool and miner keep their data, each in a directory of its own. Temporary unless given: a devnet
    /// without one forgets everything.
    pub data_dir: Option<PathBuf>,
    /// Where it listens.
    pub listen: Listen,
    /// How the hashing is paced.
    pub mining: Mining,
    /// When the mint pushes.
    pub push: PushConfig,
}

/// The `[listen]` table. Port 0 takes any free port.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// The pool's dashboard.
    pub dashboard: SocketAddr,
    /// The mint's Cashu API, where the wallet mints.
    pub mint_http: SocketAddr,
    /// The mint's own page.
    pub mint_dashboard: SocketAddr,
    /// The pool's port for miners, of which devnet's own is one.
    pub mining: SocketAddr,
    /// The pool's end of the Stratum V2 connection with the mint.
    pub mint_link: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            dashboard: loopback(8081),
            mint_http: loopback(3338),
            mint_dashboard: loopback(8082),
            mining: loopback(34254),
            mint_link: loopback(34260),
        }
    }
}

/// The `[mining]` table.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mining {
    /// Shares found a second on average, 0.01 to 1000, by each miner: the pool chooses the target by its hashrate.
    pub shares_per_second: f64,
    /// Hashes tried a second at most by devnet's own miner, 1000 to 1,000,000,000: keeps the rest of a core free.
    pub max_hashrate: u64,
}

impl Default for Mining {
    fn default() -> Self {
        Self {
            shares_per_second: 5.0,
            max_hashrate: 200_000,
        }
    }
}

impl DevnetConfig {
    /// Checks the bounds.
    ///
    /// # Errors
    /// Names the key that is out of bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        in_range(
            "mining.shares_per_second",
            &self.mining.shares_per_second,
            0.01..=1000.0,
        )?;
        in_range("mining.max_hashrate", &self.mining.max_hashrate, 1000..=1_000_000_000)
    }
}
