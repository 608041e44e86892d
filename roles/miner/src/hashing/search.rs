//! The inner loop: one job's header over a range of nonces.
//!
//! Version, previous hash and most of the merkle root fill the first of the header's two SHA-256 blocks and stay the
//! same for the whole job, so that block is hashed once.

use std::ops::RangeInclusive;

use bitcoin::Target;
use bitcoin::block::Header;
use bitcoin::consensus::serialize;
use bitcoin::hashes::{Hash, HashEngine, sha256, sha256d};

use super::job::{Job, Share, leading_zero_bits};

/// Bytes of a header in the first block of SHA-256.
const FIRST_BLOCK: usize = 64;

/// A header ready to be searched.
pub(super) struct Search {
    header: Header,
    job: u64,
    target: Target,
    /// The target's most significant 64 bits: nearly every hash fails against these alone.
    target_front: u64,
    /// SHA-256 after the first block.
    first_block: sha256::HashEngine,
    /// The end of the merkle root, which is all of the second block that is neither time, bits nor nonce.
    merkle_end: [u8; 4],
}

impl Search {
    pub(super) fn new(job: &Job) -> Self {
        let bytes = serialize(&job.header);
        let (first, second) = bytes.split_at_checked(FIRST_BLOCK).unwrap_or((&bytes, &[]));
        let mut first_block = sha256::Hash::engine();
        first_block.input(first);
        Self {
            header: job.header,
            job: job.id,
            target: job.target,
            target_front: job
                .target
                .to_be_bytes()
                .first_chunk()
                .copied()
                .map_or(0, u64::from_be_bytes),
            first_block,
            merkle_end: second.first_chunk().copied().unwrap_or_default(),
        }
    }

    /// Calls `found` with each share among these nonces, counted from the header's own, until it says to end by returning
    /// false.
    pub(super) fn run(&self, time: u32, nonces: RangeInclusive<u32>, mut found: impl FnMut(Share) -> bool) {
        let [m0, m1, m2, m3] = self.merkle_end;
        let [t0, t1, t2, t3] = time.to_le_bytes();
        let [b0, b1, b2, b3] = self.header.bits.to_consensus().to_le_bytes();
        for nonce in nonces {
            let nonce = self.header.nonce.wrapping_add(nonce);
            let [n0, n1, n2, n3] = nonce.to_le_bytes();
            let tail = [m0, m1, m2, m3, t0, t1, t2, t3, b0, b1, b2, b3, n0, n1, n2, n3];
            let mut engine = self.first_block.clone();
            engine.input(&tail);
            let hash = sha256::Hash::from_engine(engine).hash_again();
            if self.is_share(&hash) && !found(self.share(time, nonce, hash.to_byte_array())) {
                return;
            }
        }
    }

    fn is_share(&self, hash: &sha256d::Hash) -> bool {
        let mut bytes = hash.to_byte_array();
        let hash_front = bytes.last_chunk().copied().map_or(0, u64::from_le_bytes);
        if hash_front > self.target_front {
            return false;
        }
        bytes.reverse();
        bytes <= self.target.to_be_bytes()
    }

    fn share(&self, time: u32, nonce: u32, header_hash: [u8; 32]) -> Share {
        Share {
            job: self.job,
            header: Header {
                time,
                nonce,
                ..self.header
            },
            header_hash,
            leading_zero_bits: leading_zero_bits(&header_hash),
            work: self.target.to_work(),
        }
    }
}

/// The part of a job's nonces and times that one of several threads goes through.
pub(super) struct Slice {
    time: u32,
    last_time: u32,
    first: u32,
    last: u32,
    /// The next nonce; past `last` when this time is used up.
    next: u64,
}

impl Slice {
    /// The part of thread `index` out of `count`.
    pub(super) fn new(job: &Job, index: usize, count: usize) -> Self {
        const NONCES: u64 = 1 << 32;
        let count = (count as u64).clamp(1, NONCES);
        let index = (index as u64).min(count - 1);
        // Both ends are below 2^32.
        let (first, last) = (
            (index * NONCES / count) as u32,
            ((index + 1) * NONCES / count - 1) as u32,
        );
        Self {
            time: job.header.time,
            last_time: job.last_time,
            first,
            last,
            next: u64::from(first),
        }
    }

    /// The next nonces to try, at most `size` of them, and their time; `None` when all are used up.
    pub(super) fn next(&mut self, size: u32) -> Option<(u32, RangeInclusive<u32>)> {
        if self.next > u64::from(self.last) {
            if self.time >= self.last_time {
                return None;
            }
            self.time += 1;
            self.next = u64::from(self.first);
        }
        let first = u32::try_from(self.next).ok()?;
        let last = first.saturating_add(size.max(1) - 1).min(self.last);
        self.next = u64::from(last) + 1;
        Some((self.time, first..=last))
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::constants::genesis_block;
    use bitcoin::hashes::Hash as _;
    use bitcoin::network::Network;
    use bitcoin::pow::CompactTarget;
    use bitcoin::{BlockHash, TxMerkleNode};
    use proptest::prelude::*;

    use super::*;

    fn job(header: Header, target: Target) -> Job {
        Job {
            id: 7,
            header,
            last_time: header.time,
            target,
        }
    }

    fn found(job: &Job, time: u32, nonces: RangeInclusive<u32>) -> Vec<Share> {
        let mut shares = Vec::new();
        Search::new(job).run(time, nonces, |share| {
            shares.push(share);
            true
        });
        shares
    }

    #[test]
    fn the_genesis_block_is_found_again() {
        let genesis = genesis_block(Network::Bitcoin).header;
        let job = job(Header { nonce: 0, ..genesis }, genesis.target());
        let shares = found(&job, genesis.time, genesis.nonce - 500..=genesis.nonce + 500);
        assert_eq!(shares.len(), 1);
        assert_eq!(shares[0].header, genesis);
        assert_eq!(shares[0].header_hash, genesis.block_hash().to_byte_array());
        assert_eq!(shares[0].leading_zero_bits, 43);
        assert_eq!(shares[0].work, genesis.target().to_work());
        assert_eq!(shares[0].job, 7);
    }

    #[test]
    fn the_search_ends_where_the_caller_says() {
        let header = genesis_block(Network::Bitcoin).header;
        let mut count = 0;
        Search::new(&job(header, Target::from_be_bytes([0xff; 32]))).run(header.time, 0..=1000, |_| {
            count += 1;
            count < 3
        });
        assert_eq!(count, 3);
    }

    #[test]
    fn nonces_are_counted_from_the_headers_own() {
        let genesis = genesis_block(Network::Bitcoin).header;
        let job = job(
            Header {
                nonce: genesis.nonce.wrapping_sub(3),
                ..genesis
            },
            genesis.target(),
        );
        let shares = found(&job, genesis.time, 0..=10);
        assert_eq!(shares.len(), 1);
        assert_eq!(shares[0].header, genesis);
        let around = Header {
            nonce: u32::MAX,
            ..genesis
        };
        let shares = found(
            &Job {
                header: around,
                target: Target::from_be_bytes([0xff; 32]),
                ..job
            },
            0,
            0..=1,
        );
        assert_eq!([shares[0].header.nonce, shares[1].header.nonce], [u32::MAX, 0]);
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_the_bitcoin_crate_finds(
            version in any::<i32>(), previous in any::<[u8; 32]>(), merkle in any::<[u8; 32]>(),
            time in any::<u32>(), bits in any::<u32>(), start in 0..u32::MAX - 200, front in 0_u8..=255,
        ) {
            let header = Header {
                version: bitcoin::block::Version::from_consensus(version),
                prev_blockhash: BlockHash::from_byte_array(previous),
                merkle_root: TxMerkleNode::from_byte_array(merkle),
                time,
                bits: CompactTarget::from_consensus(bits),
                nonce: 0,
            };
            let mut target = [0x5a; 32];
            target[0] = front;
            let job = job(header, Target::from_be_bytes(target));
            let ours: Vec<_> = found(&job, time, start..=start + 200).into_iter().map(|s| (s.header.nonce, s.header_hash)).collect();
            let theirs: Vec<_> = (start..=start + 200)
                .map(|nonce| (nonce, Header { nonce, ..header }.block_hash()))
                .filter(|(_, hash)| job.target.is_met_by(*hash))
                .map(|(nonce, hash)| (nonce, hash.to_byte_array()))
                .collect();
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn slices_cover_every_nonce_once(count in 1_usize..50) {
            let header = genesis_block(Network::Bitcoin).header;
            let job = job(header, Target::ZERO);
            let mut expected = 0_u64;
            for index in 0..count {
                let mut slice = Slice::new(&job, index, count);
                while let Some((time, nonces)) = slice.next(u32::MAX) {
                    prop_assert_eq!(time, header.time);
                    prop_assert_eq!(u64::from(*nonces.start()), expected);
                    expected = u64::from(*nonces.end()) + 1;
                }
            }
            prop_assert_eq!(expected, 1 << 32);
        }
    }

    #[test]
    fn time_is_rolled_when_the_nonces_are_used_up_and_no_further_than_allowed() {
        let header = Header {
            time: 100,
            ..genesis_block(Network::Bitcoin).header
        };
        let job = Job {
            last_time: 102,
            ..job(header, Target::ZERO)
        };
        let mut slice = Slice::new(&job, 1, 2);
        let steps: Vec<_> = std::iter::from_fn(|| slice.next(u32::MAX)).collect();
        let half = 1 << 31..=u32::MAX;
        assert_eq!(steps, [(100, half.clone()), (101, half.clone()), (102, half)]);

        let mut small = Slice::new(&job, 0, 1);
        assert_eq!(small.next(10), Some((100, 0..=9)));
        assert_eq!(small.next(10), Some((100, 10..=19)));
    }
}
