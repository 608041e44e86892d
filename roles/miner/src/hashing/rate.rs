//! How fast this machine searches, which a pool wants to know to choose a target.

use std::time::{Duration, Instant};

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::pow::CompactTarget;
use bitcoin::{BlockHash, Target, TxMerkleNode};

use super::config::HashingConfig;
use super::job::Job;
use super::search::Search;

/// Measures for `duration` how many hashes a second one thread tries here and now, and tells what all threads will then
/// try within the configured limit. Blocks the calling thread.
#[must_use]
pub fn hashes_per_second(config: &HashingConfig, duration: Duration) -> f64 {
    const STEP: u32 = 512;
    let header = header(0);
    let search = Search::new(&Job {
        id: 0,
        header,
        last_time: header.time,
        target: Target::ZERO,
    });
    let start = Instant::now();
    let mut tried = 0_u32;
    let elapsed = loop {
        search.run(header.time, tried..=tried.saturating_add(STEP - 1), |_| true);
        tried = tried.saturating_add(STEP);
        let elapsed = start.elapsed();
        if elapsed >= duration || tried > u32::MAX - STEP {
            break elapsed;
        }
    };
    let one = f64::from(tried) / elapsed.as_secs_f64().max(1e-9);
    let one = config.max_hashrate_of_one().map_or(one, |limit| one.min(limit));
    // At most 1,024 threads.
    let threads = config.threads as f64;
    one * threads
}

/// A header of no chain, to be searched for nothing.
pub(super) fn header(time: u32) -> Header {
    Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: BlockHash::from_byte_array(rand::random()),
        merkle_root: TxMerkleNode::from_byte_array(rand::random()),
        time,
        bits: CompactTarget::from_consensus(0x1d00_ffff),
        nonce: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_rate_respects_the_limit() {
        let free = hashes_per_second(&HashingConfig::default(), Duration::from_millis(20));
        assert!(free > 1000.0, "{free}");
        let limited = HashingConfig {
            threads: 2,
            max_hashrate: 100,
        };
        assert!(hashes_per_second(&limited, Duration::from_millis(1)) <= 100.0);
    }
}
