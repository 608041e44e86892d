//! How much of the machine the search may take.

use serde::{Deserialize, Serialize};
use service::{ConfigError, in_range};

/// The `[hashing]` table of a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HashingConfig {
    /// Threads that search, 1 to 1,024. Each takes a core if `max_hashrate` lets it.
    pub threads: usize,
    /// Hashes a second that all threads together may try, 0 for no limit. A limit leaves the machine usable: a thread
    /// sleeps in between.
    pub max_hashrate: u64,
}

impl Default for HashingConfig {
    fn default() -> Self {
        Self {
            threads: 1,
            max_hashrate: 0,
        }
    }
}

impl HashingConfig {
    /// Checks the bounds.
    ///
    /// # Errors
    /// Names the key that is out of bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        in_range("hashing.threads", &self.threads, 1..=1024)
    }

    /// The hashes a second that one thread may try.
    pub(crate) fn max_hashrate_of_one(&self) -> Option<f64> {
        // A hashrate is far below 2^53, where f64 begins to round.
        let share = self.max_hashrate as f64 / self.threads.max(1) as f64;
        (self.max_hashrate > 0).then_some(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_checked_and_a_limit_is_split_among_the_threads() {
        HashingConfig::default().validate().unwrap();
        let error = HashingConfig {
            threads: 0,
            max_hashrate: 0,
        }
        .validate()
        .unwrap_err();
        assert_eq!(error.to_string(), "hashing.threads = 0: expected 1 to 1024");
        assert_eq!(HashingConfig::default().max_hashrate_of_one(), None);
        let limited = HashingConfig {
            threads: 4,
            max_hashrate: 100,
        };
        assert_eq!(limited.max_hashrate_of_one(), Some(25.0));
    }
}
