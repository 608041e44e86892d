//! Invented headers, for a first look and for tests: real proof of work on blocks of no chain.
//!
//! Every header has a random previous hash and merkle root, so no two runs ever yield the same share.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::pow::CompactTarget;
use bitcoin::{BlockHash, Target, TxMerkleNode};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::hashing::Job;

/// The bits of difficulty 1: what a header claims, which nobody checks here.
const BITS: u32 = 0x1d00_ffff;

/// How far a header's time may be rolled: what nodes accept as the future.
const ROLL: u32 = 7200;

/// A header of no chain with this time (Unix seconds).
#[must_use]
pub fn header(time: u32) -> Header {
    Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: BlockHash::from_byte_array(rand::random()),
        merkle_root: TxMerkleNode::from_byte_array(rand::random()),
        time,
        bits: CompactTarget::from_consensus(BITS),
        nonce: 0,
    }
}

/// Publishes a job with a new header at once and then every `period`, as if new blocks were found, until stopped. At the
/// end there is no job.
pub async fn feed(jobs: watch::Sender<Option<Arc<Job>>>, target: Target, period: Duration, stop: CancellationToken) {
    let mut clock = tokio::time::interval(period);
    let mut id = 0;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = clock.tick() => {}
        }
        let header = header(now());
        id += 1;
        jobs.send_replace(Some(Arc::new(Job {
            id,
            header,
            last_time: header.time.saturating_add(ROLL),
            target,
        })));
    }
    jobs.send_replace(None);
}

/// Unix seconds as a header counts them, until 2106.
fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX - ROLL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn jobs_follow_each_other_until_the_stop() {
        let (jobs, mut seen) = watch::channel(None);
        let stop = CancellationToken::new();
        let feeder = tokio::spawn(feed(jobs, Target::ZERO, Duration::from_secs(10), stop.clone()));
        let mut previous = None;
        for id in 1..=3 {
            seen.changed().await.unwrap();
            let job = seen.borrow_and_update().clone().unwrap();
            assert_eq!(job.id, id);
            assert!(job.last_time > job.header.time);
            assert_ne!(previous, Some(job.header.prev_blockhash));
            previous = Some(job.header.prev_blockhash);
        }
        stop.cancel();
        feeder.await.unwrap();
        assert_eq!(*seen.borrow(), None);
    }
}
