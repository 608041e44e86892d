//! Targets, and what stands behind them: leading zero bits, expected hashes, bounds.
//!
//! A share is valid if its hash, read as a little-endian number, is at most the target. `bitcoin::Target::MAX` is
//! difficulty 1; the targets here go far beyond it, for miners that have but a CPU.

use bitcoin::Target;

/// 2^256 divided by the target of difficulty 1: the hashes that a share of difficulty 1 takes on average.
const HASHES_OF_DIFFICULTY_1: f64 = 4_295_032_833.000_015;

/// What every channel's target must lie between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) easiest: Target,
    pub(crate) hardest: Target,
}

impl Bounds {
    /// The nearest allowed target. The miner's own maximum wins over what the pool would like to have: it says what the
    /// device can do at all.
    pub(crate) fn clamp(&self, target: Target, requested_max: Target) -> Target {
        target.max(self.hardest).min(self.easiest).min(requested_max)
    }
}

/// The largest target whose hashes have this many leading zero bits (as printed); at most 255.
pub(crate) fn target_of_bits(bits: u32) -> Target {
    let mut bytes = [0xFF; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        let above = u32::try_from(index * 8).unwrap_or(u32::MAX);
        let zeros = bits.min(255).saturating_sub(above).min(8);
        *byte = 0xFF_u8.checked_shr(zeros).unwrap_or(0);
    }
    Target::from_be_bytes(bytes)
}

/// The hashes that it takes on average to find one at or below this target.
pub(crate) fn hashes(target: &Target) -> f64 {
    target.difficulty_float() * HASHES_OF_DIFFICULTY_1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_zeros_at_the_front() {
        assert_eq!(target_of_bits(0), Target::from_be_bytes([0xFF; 32]));
        let mut bytes = [0xFF; 32];
        bytes[..2].copy_from_slice(&[0, 0x1F]);
        assert_eq!(target_of_bits(11), Target::from_be_bytes(bytes));
        assert_eq!(target_of_bits(900), target_of_bits(255));
        let hash = target_of_bits(17).to_le_bytes();
        assert_eq!(crate::amount::leading_zero_bits(&hash), 17);
    }

    #[test]
    fn hashes_double_with_each_bit() {
        for bits in [0, 1, 8, 16, 32, 40, 96] {
            let expected = 2f64.powi(i32::try_from(bits).unwrap());
            let ratio = hashes(&target_of_bits(bits)) / expected;
            assert!((0.999..1.001).contains(&ratio), "{bits}: {ratio}");
        }
    }

    #[test]
    fn a_miners_own_maximum_is_kept_whatever_the_pool_wants() {
        let bounds = Bounds {
            easiest: target_of_bits(16),
            hardest: target_of_bits(96),
        };
        let any = Target::from_be_bytes([0xFF; 32]);
        assert_eq!(bounds.clamp(any, any), target_of_bits(16));
        assert_eq!(bounds.clamp(target_of_bits(20), any), target_of_bits(20));
        assert_eq!(bounds.clamp(target_of_bits(200), any), target_of_bits(96));
        assert_eq!(bounds.clamp(target_of_bits(20), target_of_bits(24)), target_of_bits(24));
        assert_eq!(
            bounds.clamp(target_of_bits(20), target_of_bits(120)),
            target_of_bits(120)
        );
    }
}
