//! What a newcomer is told: what to do next, and what is done already. It goes with the first quote that is requested.

use super::badge::Badge;
use crate::{
    format,
    source::{MiningAddress, PoolView},
};

/// The first steps of a pool.
pub(super) struct FirstSteps {
    pub(super) is_new: bool,
    /// What the mint's configuration has to name.
    pub(super) link: Option<String>,
    pub(super) key: Option<String>,
    pub(super) has_mint: bool,
    pub(super) has_miner: bool,
}

impl FirstSteps {
    pub(super) fn new(own: &PoolView, badge: &Badge) -> Self {
        Self {
            is_new: own.quotes.requested == Some(0),
            link: own.mint_link.as_deref().map(format::listener),
            key: own
                .mining
                .as_ref()
                .map(|MiningAddress { authority_key, .. }| authority_key.clone()),
            has_mint: badge.key != "never",
            has_miner: own.miners.is_some_and(|miners| miners > 0),
        }
    }
}
