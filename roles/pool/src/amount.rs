//! What a share is worth in ehash.
//!
//! The amount doubles with every leading zero bit of the share's hash beyond the pool's minimum difficulty. Only the
//! pool computes it; the mint takes it from the quote request and checks its bounds.

/// The largest amount that a quote may ask for. SQLite stores signed 64-bit integers and CDK adds amounts up, so the
/// exponent stops one bit short of where a single amount stops fitting.
pub const MAX_AMOUNT: u64 = 1 << MAX_EXPONENT;

const MAX_EXPONENT: u32 = 62;

/// A block header's hash as it travels: 32 bytes in internal byte order (what SHA256d puts out; explorers print the
/// reverse).
pub type HeaderHash = [u8; 32];

/// The number of leading zero bits of `hash` read as a big-endian number, the way it is printed.
///
/// In internal byte order the most significant byte is the last one.
#[must_use]
pub fn leading_zero_bits(hash: &HeaderHash) -> u32 {
    let mut bits = 0;
    for byte in hash.iter().rev() {
        bits += byte.leading_zeros();
        if *byte != 0 {
            break;
        }
    }
    bits
}

/// `2^(leading zero bits - minimum_difficulty)`, at most [`MAX_AMOUNT`]; `None` for a share below the minimum, for
/// which no quote is requested.
#[must_use]
pub fn amount_of(hash: &HeaderHash, minimum_difficulty: u32) -> Option<u64> {
    let exponent = leading_zero_bits(hash).checked_sub(minimum_difficulty)?;
    Some(1 << exponent.min(MAX_EXPONENT))
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash as _;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_genesis_block_counts_its_printed_zeros() {
        let printed: bitcoin::BlockHash = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
            .parse()
            .unwrap();
        let hash = printed.to_byte_array();
        assert_eq!(leading_zero_bits(&hash), 43);
        assert_eq!(amount_of(&hash, 32), Some(2048));
        assert_eq!(amount_of(&hash, 43), Some(1));
        assert_eq!(amount_of(&hash, 44), None);
    }

    #[test]
    fn amounts_are_capped() {
        let mut hash = [0; 32];
        assert_eq!(leading_zero_bits(&hash), 256);
        assert_eq!(amount_of(&hash, 0), Some(MAX_AMOUNT));
        hash[24] = 1; // 7 zero bytes and 7 zero bits above it
        assert_eq!(amount_of(&hash, 0), Some(MAX_AMOUNT));
        assert_eq!(amount_of(&hash, 2), Some(1 << 61));
    }

    proptest! {
        #[test]
        fn an_amount_doubles_with_each_zero_bit(zeros in 0u32..256, noise in any::<[u8; 32]>(), minimum in 0u32..300) {
            // Big-endian: `zeros` cleared bits, then a set one, then anything.
            let mut printed = noise;
            for bit in 0..=zeros {
                let (byte, mask) = ((bit / 8) as usize, 0x80u8 >> (bit % 8));
                if bit < zeros { printed[byte] &= !mask } else { printed[byte] |= mask }
            }
            printed.reverse();
            let expected = (zeros >= minimum).then(|| 2u64.pow((zeros - minimum).min(62)));
            prop_assert_eq!(amount_of(&printed, minimum), expected);
        }

        #[test]
        fn an_amount_is_a_power_of_two_within_bounds(hash in any::<[u8; 32]>(), minimum in 0u32..64) {
            if let Some(amount) = amount_of(&hash, minimum) {
                prop_assert!(amount.is_power_of_two() && amount <= MAX_AMOUNT);
            }
        }
    }
}
