//! What goes into the search and what comes out of it.

use bitcoin::block::Header;
use bitcoin::{Target, Work};

/// A header to search, and what counts as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The caller's own number for it; shares carry it back.
    pub id: u64,
    /// The header; its nonce and its time are the first ones tried.
    pub header: Header,
    /// The last time (Unix seconds) that may be tried when all nonces of the earlier ones are used up.
    pub last_time: u32,
    /// A hash at or below this is a share.
    pub target: Target,
}

/// A header whose hash meets its job's target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The [`Job::id`] that it was found for.
    pub job: u64,
    /// The header as it was hashed: nonce and time are the found ones.
    pub header: Header,
    /// Its double SHA-256 in internal byte order, which is the reverse of how hashes are displayed.
    pub header_hash: [u8; 32],
    /// Leading zero bits of the hash read as a big-endian number, that is, as displayed.
    pub leading_zero_bits: u32,
    /// How many hashes the job's target takes on average.
    pub work: Work,
}

/// Leading zero bits, as displayed, of a hash in internal byte order.
pub(super) fn leading_zero_bits(header_hash: &[u8; 32]) -> u32 {
    let mut bits = 0;
    for byte in header_hash.iter().rev() {
        bits += byte.leading_zeros();
        if *byte != 0 {
            break;
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use bitcoin::constants::genesis_block;
    use bitcoin::hashes::Hash;
    use bitcoin::network::Network;

    use super::*;

    #[test]
    fn zero_bits_are_counted_from_the_displayed_front() {
        // Displayed as 000000000019d668...: ten zero digits and the three zero bits of the 1.
        let hash = genesis_block(Network::Bitcoin).block_hash().to_byte_array();
        assert_eq!(leading_zero_bits(&hash), 43);
        assert_eq!(leading_zero_bits(&[0; 32]), 256);
        assert_eq!(leading_zero_bits(&[0xff; 32]), 0);
        let mut one = [0; 32];
        one[0] = 1;
        assert_eq!(leading_zero_bits(&one), 255);
    }
}
