//! What an SV1 miner has to know: jobs as `mining.notify` tells them, headers made of them, targets of difficulties.
//!
//! For `sv1-miner`, which stands behind a stock translator in `scripts/interop`. Pure: no socket, no clock.

use bitcoin::{
    BlockHash, CompactTarget, Target, TxMerkleNode,
    block::{Header, Version},
    hashes::{Hash, sha256d},
};
use serde_json::Value;

/// A job of `mining.notify`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// The server's name for it.
    pub job_id: String,
    /// Whether shares of earlier jobs are worth nothing any more.
    pub clean: bool,
    prev_hash: [u8; 32],
    coinbase_1: Vec<u8>,
    coinbase_2: Vec<u8>,
    merkle_branch: Vec<[u8; 32]>,
    version: u32,
    bits: u32,
    time: u32,
}

impl Notify {
    /// Reads the parameters of the notification; `None` if they are not those of a job.
    pub fn read(params: &Value) -> Option<Self> {
        let text = |index: usize| params.get(index)?.as_str();
        let number = |index| u32::from_str_radix(text(index)?, 16).ok();
        let branch = params.get(4)?.as_array()?.iter();
        Some(Self {
            job_id: text(0)?.to_owned(),
            clean: params.get(8)?.as_bool()?,
            prev_hash: swapped_words(hash(text(1)?)?),
            coinbase_1: hex::decode(text(2)?).ok()?,
            coinbase_2: hex::decode(text(3)?).ok()?,
            merkle_branch: branch.map(|node| hash(node.as_str()?)).collect::<Option<_>>()?,
            version: number(5)?,
            bits: number(6)?,
            time: number(7)?,
        })
    }

    /// The header to search with this extranonce, the server's part and the miner's, its nonce 0.
    pub fn header(&self, extranonce_1: &[u8], extranonce_2: &[u8]) -> Header {
        let coinbase = [&self.coinbase_1, extranonce_1, extranonce_2, &self.coinbase_2].concat();
        let merkle_root = self
            .merkle_branch
            .iter()
            .fold(sha256d::Hash::hash(&coinbase), |node, sibling| {
                sha256d::Hash::hash(&[node.as_byte_array(), sibling.as_slice()].concat())
            });
        Header {
            version: Version::from_consensus(self.version.cast_signed()),
            prev_blockhash: BlockHash::from_byte_array(self.prev_hash),
            merkle_root: TxMerkleNode::from_byte_array(merkle_root.to_byte_array()),
            time: self.time,
            bits: CompactTarget::from_consensus(self.bits),
            nonce: 0,
        }
    }
}

fn hash(hex_text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(hex_text, &mut bytes).ok()?;
    Some(bytes)
}

/// SV1 writes the previous hash as eight words, each turned around.
fn swapped_words(mut hash: [u8; 32]) -> [u8; 32] {
    for word in hash.chunks_mut(4) {
        word.reverse();
    }
    hash
}

/// Difficulty 1 of SV1: 0xffff followed by 208 zero bits.
const MANTISSA: f64 = 65_535.0;
const ZERO_BITS: i32 = 208;

/// What a hash must be below at this difficulty, never easier than asked for; `None` for what is no difficulty.
pub fn target_of_difficulty(difficulty: f64) -> Option<Target> {
    if !difficulty.is_finite() || difficulty <= 0.0 {
        return None;
    }
    // 53 bits of the quotient, and where they belong.
    let quotient = MANTISSA / difficulty;
    let exponent = quotient.log2().floor() as i32 - 52;
    let significand = (quotient * 2f64.powi(-exponent)) as u64;
    let shift = ZERO_BITS + exponent;
    let mut bytes = [0; 32];
    for bit in 0..64 {
        let place = shift + bit;
        if significand >> bit & 1 == 0 || place < 0 {
            continue;
        }
        let place = usize::try_from(place).ok()?;
        match bytes.get_mut(place / 8) {
            Some(byte) => *byte |= 1 << (place % 8),
            None => return Some(Target::from_le_bytes([0xff; 32])),
        }
    }
    Some(Target::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use bitcoin::{constants::genesis_block, network::Network};
    use serde_json::json;

    use super::*;

    /// Block 1 of the main chain, its coinbase cut apart around the four bytes at the end of its script.
    #[test]
    fn the_header_of_block_1_is_made_of_a_job() {
        let notify = Notify::read(&json!([
            "1b",
            "0a8ce26f72b3f1b646a2a6c14ff763ae65831e939c085ae10019d66800000000",
            "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff0704ff",
            "1d0104ffffffff0100f2052a0100000043410496b538e853519c726a2c91e61ec11600ae1390813a627c66fb8be7947be63c52da758\
             9379515d4e0a604f8141781e62294721166bf621e73a82cbf2342c858eeac00000000",
            [],
            "00000001",
            "1d00ffff",
            "4966bc61",
            true
        ]))
        .unwrap();
        let mut header = notify.header(&[0xff], &[0x00]);
        header.nonce = 2_573_394_689;
        assert_eq!(header.prev_blockhash, genesis_block(Network::Bitcoin).block_hash());
        assert_eq!(
            header.block_hash().to_string(),
            "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048"
        );
        assert!(notify.clean && notify.job_id == "1b");
    }

    #[test]
    fn the_branch_is_walked_with_the_coinbase_on_the_left() {
        let block = |branch: Value| {
            Notify::read(&json!([
                "1",
                "00".repeat(32),
                "01",
                "02",
                branch,
                "20000000",
                "1d00ffff",
                "4966bc61",
                false
            ]))
            .unwrap()
            .header(&[3], &[4])
            .merkle_root
        };
        let leaf = sha256d::Hash::hash(&[1, 3, 4, 2]);
        assert_eq!(block(json!([])).to_byte_array(), leaf.to_byte_array());
        let root = sha256d::Hash::hash(&[leaf.as_byte_array(), [7; 32].as_slice()].concat());
        assert_eq!(block(json!(["07".repeat(32)])).to_byte_array(), root.to_byte_array());
    }

    #[test]
    fn what_is_no_job_is_none() {
        for bad in [
            json!(null),
            json!([]),
            json!(["1", "00", "", "", [], "1", "1", "1", true]),
            json!(["1", "00".repeat(32), "0", "", [], "1", "1", "1", true]),
            json!(["1", "00".repeat(32), "", "", [7], "1", "1", "1", true]),
            json!(["1", "00".repeat(32), "", "", [], "1", "1", "1", "yes"]),
        ] {
            assert_eq!(Notify::read(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_difficulty_is_a_target() {
        assert_eq!(target_of_difficulty(1.0), Some(Target::MAX));
        for difficulty in [1e-9, 4.6e-5, 0.3, 1.0, 2.0, 1e6, 1.234e12] {
            let target = target_of_difficulty(difficulty).unwrap();
            let back = target.difficulty_float();
            assert!((back / difficulty - 1.0).abs() < 1e-9, "{difficulty}: {back}");
        }
        assert_eq!(target_of_difficulty(1e-30), Some(Target::from_le_bytes([0xff; 32])));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(target_of_difficulty(bad), None);
        }
    }
}
