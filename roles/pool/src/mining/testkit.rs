//! What the tests of the mining server share: templates by hand, a floor with easy bounds, and hashing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;

use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, CompactTarget, Target, TxMerkleNode, block};
use template_distribution_sv2::{NewTemplateOwned, SetNewPrevHashOwned};

use super::channel::Rules;
use super::coinbase::Coinbase;
use super::config::MiningSection;
use super::difficulty::{Bounds, target_of_bits};
use super::floor::Floor;
use super::jobs::{JobMaker, Jobs};

/// A chain by hand.
pub(crate) struct Chain {
    maker: JobMaker,
    templates: u64,
    blocks: u8,
    n_bits: u32,
    tip: SetNewPrevHashOwned,
    current: NewTemplateOwned,
    future: Option<NewTemplateOwned>,
}

impl Chain {
    pub(crate) fn new(floor: &Floor, n_bits: u32) -> Self {
        let section = MiningSection::default();
        let mut chain = Self {
            maker: JobMaker::new(Coinbase::new(&section), floor.extranonce_size),
            templates: 0,
            blocks: 0,
            n_bits,
            tip: tip(0, 0, n_bits),
            current: template(0),
            future: None,
        };
        chain.current = chain.template();
        chain
    }

    fn template(&mut self) -> NewTemplateOwned {
        self.templates += 1;
        template(self.templates)
    }

    /// A newer template for the same tip.
    pub(crate) fn newer(&mut self) {
        self.current = self.template();
    }

    /// A template for the next tip.
    pub(crate) fn future(&mut self) {
        self.future = Some(self.template());
    }

    /// A new tip, for which the future template becomes current; another one if there is none or it was `surprising`.
    pub(crate) fn advance(&mut self, surprising: bool) {
        self.blocks = self.blocks.wrapping_add(1);
        let known = self.future.take().filter(|_| !surprising);
        self.current = known.unwrap_or_else(|| self.template());
        self.tip = tip(self.current.template_id, self.blocks, self.n_bits);
    }

    pub(crate) fn jobs(&mut self) -> Arc<Jobs> {
        self.maker.next(&self.tip, &self.current, self.future.as_ref()).unwrap()
    }
}

fn tip(template_id: u64, block: u8, n_bits: u32) -> SetNewPrevHashOwned {
    SetNewPrevHashOwned {
        template_id,
        prev_hash: [block; 32].into(),
        header_timestamp: 1_700_000_000 + u32::from(block),
        n_bits,
        target: Target::from_compact(CompactTarget::from_consensus(n_bits))
            .to_le_bytes()
            .into(),
    }
}

fn template(id: u64) -> NewTemplateOwned {
    NewTemplateOwned {
        template_id: id,
        future_template: false,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: vec![3, 1, 2, 3].try_into().unwrap(),
        coinbase_tx_input_sequence: u32::MAX,
        coinbase_tx_value_remaining: 5_000_000_000,
        coinbase_tx_outputs_count: 0,
        coinbase_tx_outputs: Vec::new().try_into().unwrap(),
        coinbase_tx_locktime: 0,
        merkle_path: vec![[id as u8; 32].into()].try_into().unwrap(),
    }
}

/// Shares of `easiest` to `hardest` bits, `per_minute` of them.
pub(crate) fn floor(easiest: u32, hardest: u32, per_minute: f32, channels: u32) -> Arc<Floor> {
    let section = MiningSection {
        max_channels: channels,
        ..MiningSection::default()
    };
    let mut floor = Floor::new(&section, false, Default::default(), Default::default()).unwrap();
    floor.rules = Rules {
        pool_tag: section.pool_tag,
        shares_per_minute: per_minute,
        bounds: Bounds {
            easiest: target_of_bits(easiest),
            hardest: target_of_bits(hardest),
        },
        start: target_of_bits(easiest),
    };
    Arc::new(floor)
}

/// A header of these fields; all hashes in internal byte order.
pub(crate) fn header(
    version: u32,
    prev_hash: [u8; 32],
    root: [u8; 32],
    time: u32,
    n_bits: u32,
    nonce: u32,
) -> block::Header {
    block::Header {
        version: block::Version::from_consensus(version as i32),
        prev_blockhash: BlockHash::from_byte_array(prev_hash),
        merkle_root: TxMerkleNode::from_byte_array(root),
        time,
        bits: CompactTarget::from_consensus(n_bits),
        nonce,
    }
}
