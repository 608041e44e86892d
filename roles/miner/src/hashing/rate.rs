//! From the speed of this machine to a target that gives a wanted number of shares a second.

use std::time::{Duration, Instant};

use bitcoin::Target;

use super::config::HashingConfig;
use super::job::{Job, leading_zero_bits};
use super::search::Search;
use crate::synthetic;

/// Measures for `duration` how many hashes a second one thread tries here and now, and tells what all threads will then
/// try within the configured limit. Blocks the calling thread.
#[must_use]
pub fn hashes_per_second(config: &HashingConfig, duration: Duration) -> f64 {
    const STEP: u32 = 512;
    let header = synthetic::header(0);
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

/// The target that a machine of this hashrate meets so many times a second on average.
///
/// It is precise to 52 bits; a rate at or above the hashrate gives the target that every hash meets.
#[must_use]
pub fn target_for(hashes_per_second: f64, shares_per_second: f64) -> Target {
    let chance = shares_per_second / hashes_per_second;
    let mut bytes = [0xff; 32];
    if chance >= 1.0 {
        return Target::from_be_bytes(bytes);
    }
    // Of all 2^128 fronts that a hash can have, this many are a share's: the last of them is one less.
    let fronts = (chance * u128::MAX as f64) as u128;
    if let Some(half) = bytes.first_chunk_mut() {
        *half = fronts.saturating_sub(1).to_be_bytes();
    }
    Target::from_be_bytes(bytes)
}

/// The leading zero bits that a hash needs to meet the target, at least.
#[must_use]
pub fn leading_zero_bits_of(target: Target) -> u32 {
    let mut bytes = target.to_be_bytes();
    bytes.reverse();
    leading_zero_bits(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_follows_from_the_rates() {
        assert_eq!(leading_zero_bits_of(target_for(1024.0, 1.0)), 10);
        assert_eq!(leading_zero_bits_of(target_for(1024.0 * 5.0, 5.0)), 10);
        assert_eq!(leading_zero_bits_of(target_for(1.0, 5.0)), 0);
        assert_eq!(target_for(1.0, 5.0), Target::from_be_bytes([0xff; 32]));
        // 1,024 hashes a share on average is what its work says.
        assert_eq!(target_for(1024.0, 1.0).to_work().to_be_bytes()[30..], [4, 0]);
    }

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
