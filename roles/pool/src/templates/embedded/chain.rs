//! The synthetic chain: templates as a node would give them for empty blocks, and a judge of the blocks that miners find.
//! No clock and no tasks in here.

use binary_sv2::Seq0255Owned;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::constants::SUBSIDY_HALVING_INTERVAL;
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::opcodes::all::OP_RETURN;
use bitcoin::script::Builder;
use bitcoin::{Amount, BlockHash, Transaction, TxMerkleNode, TxOut};
use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _};
use template_distribution_sv2::{NewTemplateOwned, SetNewPrevHashOwned, SubmitSolutionOwned};

use crate::templates::config::NetworkTarget;

/// Version bits signalling nothing (BIP 9).
const VERSION: u32 = 0x2000_0000;
/// The bits of the version that miners may use as they like (BIP 323).
const ROLLED: u32 = 0x1fff_e000;
/// As Bitcoin Core gives it: not final, so that the lock time holds.
const SEQUENCE: u32 = 0xffff_fffe;
/// How far into the future a block's time may lie, in seconds.
const MAX_FUTURE: u32 = 2 * 60 * 60;
/// The first bytes of the output that commits to the witnesses (BIP 141).
const COMMITMENT_HEADER: [u8; 4] = [0xaa, 0x21, 0xa9, 0xed];
/// A coinbase's script, in bytes (consensus).
const SCRIPT: std::ops::RangeInclusive<usize> = 2..=100;

/// Why a block is not one of this chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("its template is not one of the current tip")]
    Template,
    #[error("its coinbase transaction does not decode")]
    Encoding,
    #[error("its coinbase transaction is not the template's")]
    Coinbase,
    #[error("its coinbase transaction pays more than the template allows")]
    Value,
    #[error("its version differs in bits that are not the miner's to choose")]
    Version,
    #[error("its time is before the tip's or more than two hours ahead")]
    Time,
    #[error("its hash is above the target")]
    Work,
}

pub(super) struct Chain {
    rng: StdRng,
    n_bits: NetworkTarget,
    /// Of the block that is being mined.
    height: u32,
    tip: BlockHash,
    /// The earliest time of the block that is being mined, Unix seconds.
    min_time: u32,
    last_id: u64,
    /// Makes each template's coinbase another one; it goes into the coinbase field behind the height.
    tag: u32,
    /// The current tip's, the oldest first.
    templates: Vec<NewTemplateOwned>,
    future: Option<NewTemplateOwned>,
}

impl Chain {
    /// Templates of one tip that a block may still be found on.
    const MAX_TEMPLATES: usize = 64;

    /// A chain that starts somewhere at random, so that no two ever ask for the same block.
    pub(super) fn new(n_bits: NetworkTarget, mut rng: StdRng, now: u32) -> Self {
        let height = rng.random_range(900_000..1_000_000);
        let tag = rng.random();
        let mut chain = Self {
            rng,
            n_bits,
            height,
            tip: BlockHash::all_zeros(),
            min_time: now,
            last_id: 0,
            tag,
            templates: Vec::new(),
            future: None,
        };
        chain.tip = chain.somebodys_block();
        chain
    }

    /// The height of the block that is being mined.
    pub(super) fn height(&self) -> u32 {
        self.height
    }

    /// A newer template for the current tip.
    pub(super) fn template(&mut self) -> Result<NewTemplateOwned, binary_sv2::Error> {
        let template = self.make(self.height, false)?;
        if self.templates.len() >= Self::MAX_TEMPLATES {
            self.templates.remove(0);
        }
        self.templates.push(template.clone());
        Ok(template)
    }

    /// The template for the next tip, whatever it will be.
    pub(super) fn future(&mut self) -> Result<NewTemplateOwned, binary_sv2::Error> {
        let template = self.make(self.height + 1, true)?;
        self.future = Some(template.clone());
        Ok(template)
    }

    /// Whether the template for the next tip is made.
    pub(super) fn has_future(&self) -> bool {
        self.future.is_some()
    }

    /// Moves on by a block that was `found`, or by somebody else's. The future template becomes current; without one the
    /// chain stays where it is.
    pub(super) fn extend(&mut self, found: Option<BlockHash>, now: u32) -> Option<SetNewPrevHashOwned> {
        let template = self.future.take()?;
        self.tip = found.unwrap_or_else(|| self.somebodys_block());
        self.height += 1;
        self.min_time = now.max(self.min_time);
        let template_id = template.template_id;
        self.templates = vec![template];
        Some(SetNewPrevHashOwned {
            template_id,
            prev_hash: self.tip.to_byte_array().into(),
            header_timestamp: self.min_time,
            n_bits: self.n_bits.compact().to_consensus(),
            target: self.n_bits.target().to_le_bytes().into(),
        })
    }

    /// Puts the block together and checks it as a node would. Returns its hash.
    pub(super) fn judge(&self, solution: &SubmitSolutionOwned, now: u32) -> Result<BlockHash, Unfit> {
        let template = self
            .templates
            .iter()
            .find(|template| template.template_id == solution.template_id)
            .ok_or(Unfit::Template)?;
        let coinbase: Transaction = deserialize(solution.coinbase_tx.as_bytes()).map_err(|_| Unfit::Encoding)?;
        check_coinbase(&coinbase, template)?;
        if (solution.version ^ template.version) & !ROLLED != 0 {
            return Err(Unfit::Version);
        }
        if !(self.min_time..=now.saturating_add(MAX_FUTURE)).contains(&solution.header_timestamp) {
            return Err(Unfit::Time);
        }
        let header = Header {
            version: Version::from_consensus(solution.version.cast_signed()),
            prev_blockhash: self.tip,
            // The only transaction: the root is its id.
            merkle_root: TxMerkleNode::from_raw_hash(coinbase.compute_txid().to_raw_hash()),
            time: solution.header_timestamp,
            bits: self.n_bits.compact(),
            nonce: solution.header_nonce,
        };
        header.validate_pow(self.n_bits.target()).map_err(|_| Unfit::Work)
    }

    fn make(&mut self, height: u32, future_template: bool) -> Result<NewTemplateOwned, binary_sv2::Error> {
        self.last_id += 1;
        self.tag = self.tag.wrapping_add(1);
        Ok(NewTemplateOwned {
            template_id: self.last_id,
            future_template,
            version: VERSION,
            coinbase_tx_version: 2,
            coinbase_prefix: coinbase_prefix(height, self.tag).try_into()?,
            coinbase_tx_input_sequence: SEQUENCE,
            coinbase_tx_value_remaining: subsidy(height).to_sat(),
            coinbase_tx_outputs_count: 1,
            coinbase_tx_outputs: serialize(&witness_commitment()).try_into()?,
            coinbase_tx_locktime: height - 1,
            merkle_path: Seq0255Owned::new(Vec::new())?,
        })
    }

    /// A hash that looks as if somebody had worked for it.
    fn somebodys_block(&mut self) -> BlockHash {
        let mut hash = [0; 32];
        self.rng.fill_bytes(&mut hash);
        // The lowest `exponent - 3` bytes of a hash, which is little-endian, are below any target of that exponent.
        let exponent = self.n_bits.compact().to_consensus() >> 24;
        let free = usize::try_from(exponent.saturating_sub(3)).unwrap_or(hash.len());
        for byte in hash.iter_mut().skip(free) {
            *byte = 0;
        }
        BlockHash::from_byte_array(hash)
    }
}

/// The height (BIP 34), and behind it what makes this coinbase another one than that of the template before: two jobs
/// with equal headers would make honest shares look like duplicates.
fn coinbase_prefix(height: u32, tag: u32) -> Vec<u8> {
    let [a, b, c, _] = tag.to_le_bytes();
    Builder::new()
        .push_int(height.into())
        .push_slice([a, b, c])
        .into_bytes()
}

/// What a block earns, without fees.
fn subsidy(height: u32) -> Amount {
    let whole = Amount::from_int_btc(50).to_sat();
    Amount::from_sat(whole.checked_shr(height / SUBSIDY_HALVING_INTERVAL).unwrap_or(0))
}

/// Commits to the witnesses of a block that holds its coinbase alone (BIP 141): the witness root is 32 zero bytes, as is
/// the reserved value.
fn witness_commitment() -> TxOut {
    let mut data = [0; 36];
    let (header, commitment) = data.split_at_mut(COMMITMENT_HEADER.len());
    header.copy_from_slice(&COMMITMENT_HEADER);
    commitment.copy_from_slice(sha256d::Hash::hash(&[0; 64]).as_byte_array());
    TxOut {
        value: Amount::ZERO,
        script_pubkey: Builder::new().push_opcode(OP_RETURN).push_slice(data).into_script(),
    }
}

fn check_coinbase(coinbase: &Transaction, template: &NewTemplateOwned) -> Result<(), Unfit> {
    let [input] = coinbase.input.as_slice() else {
        return Err(Unfit::Coinbase);
    };
    let script = input.script_sig.as_bytes();
    let of_template = coinbase.is_coinbase()
        && coinbase.version.0.cast_unsigned() == template.coinbase_tx_version
        && coinbase.lock_time.to_consensus_u32() == template.coinbase_tx_locktime
        && input.sequence.0 == template.coinbase_tx_input_sequence
        && script.starts_with(template.coinbase_prefix.as_bytes())
        && SCRIPT.contains(&script.len())
        && input.witness.iter().eq([[0; 32]])
        && coinbase.output.last() == Some(&witness_commitment());
    if !of_template {
        return Err(Unfit::Coinbase);
    }
    let paid = coinbase
        .output
        .iter()
        .try_fold(Amount::ZERO, |sum, output| sum.checked_add(output.value));
    match paid {
        Some(paid) if paid.to_sat() <= template.coinbase_tx_value_remaining => Ok(()),
        _ => Err(Unfit::Value),
    }
}
