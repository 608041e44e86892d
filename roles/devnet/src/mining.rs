//! The miner of a devnet: one that mines for the pool over its mining port, as any other would, and how pool and miner are
//! paced.

use miner::{MinerConfig, PoolSection, hashing::HashingConfig, wallet::WalletConfig};
use pool::PoolConfig;

use crate::config::Mining;

/// How many leading zero bits below the expected ones a share would still earn 1: typical shares earn 32 and more, and on
/// a slower machine fewer.
const WORTH_BITS: u32 = 5;

impl Mining {
    /// A miner for this pool and this wallet.
    pub(crate) fn miner_config(self, pool: &pool::Running, wallet: WalletConfig) -> MinerConfig {
        MinerConfig {
            pool: PoolSection {
                address: pool.mining_address().to_string(),
                authority_key: Some(pool.authority_public_key()),
                worker: "devnet".to_owned(),
                http_url: Some(format!("http://{}", pool.dashboard_address())),
                ..PoolSection::default()
            },
            hashing: HashingConfig {
                threads: 1,
                max_hashrate: self.max_hashrate,
            },
            wallet,
        }
    }

    /// Lets a pool ask for so many shares, also of a machine as slow as this one is told to be.
    pub(crate) fn pace(self, pool: &mut PoolConfig) {
        // At most 60,000, which is exact.
        pool.mining.shares_per_minute = (self.shares_per_second * 60.0) as f32;
        pool.mining.minimum_difficulty = self.minimum_difficulty();
        pool.quotes.minimum_difficulty = self.minimum_difficulty();
    }

    /// The pool's `minimum_difficulty` in leading zero bits, for a machine that reaches `max_hashrate`.
    fn minimum_difficulty(self) -> u32 {
        let hashes_per_share = self.max_hashrate as f64 / self.shares_per_second;
        // At most 37 bits by the bounds of both, and a fraction of a hash counts as one.
        (hashes_per_share.max(1.0).log2() as u32).saturating_sub(WORTH_BITS)
    }
}
