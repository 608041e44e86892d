//! Where accepted shares come in: what they earn, and their way into the outbox.
//!
//! The mining server, devnet and tests hand over every share that they accept; what [`ShareIntake::accept`] has
//! returned `Ok` for may be acknowledged to the miner.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::amount::{HeaderHash, amount_of};
use crate::outbox::{AcceptedShare, EnqueueError, Outbox};

/// Takes accepted shares; clones share the counters.
#[derive(Debug, Clone)]
pub struct ShareIntake {
    outbox: Outbox,
    minimum_difficulty: u32,
    default_locking_key: Option<[u8; 33]>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    rejected: AtomicU64,
    below_minimum: AtomicU64,
    without_key: AtomicU64,
}

/// What a share has earned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earned {
    /// A quote of this amount, which is in the outbox now.
    Quote {
        /// In the pool's unit.
        amount: u64,
    },
    /// Nothing: its hash is below the minimum difficulty.
    BelowMinimum,
    /// Nothing: neither the miner nor the pool's configuration names a key to lock its quote to.
    NoKey,
}

/// Shares since the start of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IntakeCounts {
    /// Taken, whatever they earned.
    pub accepted: u64,
    /// Not taken: the outbox is full, holds the hash already, or can't write.
    pub rejected: u64,
    /// Of the accepted, those below the minimum difficulty.
    pub below_minimum: u64,
    /// Of the accepted, those without a key.
    pub without_key: u64,
}

impl ShareIntake {
    pub(crate) fn new(outbox: Outbox, minimum_difficulty: u32, default_locking_key: Option<[u8; 33]>) -> Self {
        Self {
            outbox,
            minimum_difficulty,
            default_locking_key,
            counters: Arc::default(),
        }
    }

    /// Takes a share with this hash (internal byte order), whose quote is to be locked to `locking_key`, or without one
    /// to the configured default. Returns after what it earned is on the disk.
    ///
    /// # Errors
    /// [`EnqueueError`]: the share must not be acknowledged.
    pub async fn accept(&self, header_hash: HeaderHash, locking_key: Option<[u8; 33]>) -> Result<Earned, EnqueueError> {
        let counters = &self.counters;
        let Some(amount) = amount_of(&header_hash, self.minimum_difficulty) else {
            count(&counters.below_minimum);
            count(&counters.accepted);
            return Ok(Earned::BelowMinimum);
        };
        let Some(locking_key) = locking_key.or(self.default_locking_key) else {
            count(&counters.without_key);
            count(&counters.accepted);
            return Ok(Earned::NoKey);
        };
        let share = AcceptedShare {
            header_hash,
            amount,
            locking_key,
        };
        match self.outbox.enqueue(share).await {
            Ok(()) => {
                count(&counters.accepted);
                Ok(Earned::Quote { amount })
            }
            Err(error) => {
                count(&counters.rejected);
                Err(error)
            }
        }
    }

    /// The counters now.
    #[must_use]
    pub fn counts(&self) -> IntakeCounts {
        let Counters {
            accepted,
            rejected,
            below_minimum,
            without_key,
        } = &*self.counters;
        IntakeCounts {
            accepted: accepted.load(Ordering::Relaxed),
            rejected: rejected.load(Ordering::Relaxed),
            below_minimum: below_minimum.load(Ordering::Relaxed),
            without_key: without_key.load(Ordering::Relaxed),
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::{OutboxConfig, ShareId};

    #[tokio::test]
    async fn a_share_earns_by_its_zeros_and_for_the_nearest_key() {
        let dir = tempfile::tempdir().unwrap();
        let config = OutboxConfig {
            max_waiting: 2,
            ..OutboxConfig::default()
        };
        let outbox = Outbox::open(dir.path().join("outbox.sqlite"), &config).unwrap();
        let hash = |n: u8, top: u8| {
            let mut hash = [n; 32];
            (hash[30], hash[31]) = (top, 0);
            hash
        };
        let keyless = ShareIntake::new(outbox.clone(), 10, None);
        assert_eq!(keyless.accept(hash(1, 0x10), None).await.unwrap(), Earned::NoKey);
        assert_eq!(
            keyless.counts(),
            IntakeCounts {
                accepted: 1,
                without_key: 1,
                ..Default::default()
            }
        );

        let intake = ShareIntake::new(outbox.clone(), 10, Some([2; 33]));
        assert_eq!(intake.accept(hash(1, 0x40), None).await.unwrap(), Earned::BelowMinimum);
        assert_eq!(
            intake.accept(hash(1, 0x10), None).await.unwrap(),
            Earned::Quote { amount: 2 }
        );
        let earned = intake.accept(hash(2, 0x20), Some([3; 33])).await.unwrap();
        assert_eq!(earned, Earned::Quote { amount: 1 });
        assert!(matches!(
            intake.accept(hash(3, 0x01), None).await,
            Err(EnqueueError::Full { .. })
        ));
        let expected = IntakeCounts {
            accepted: 3,
            rejected: 1,
            below_minimum: 1,
            without_key: 0,
        };
        assert_eq!(intake.counts(), expected);
        let keys = outbox.waiting_after(ShareId::default(), 9).await.unwrap();
        assert_eq!(
            keys.iter().map(|row| row.share.locking_key[0]).collect::<Vec<_>>(),
            [2, 3]
        );
    }
}
