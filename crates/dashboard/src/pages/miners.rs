//! The table of miners: a row for each open channel, the newest on top. `assets/miners.js` keeps it going.

use std::{borrow::Cow, time::Duration};

use crate::{
    format::{self, UNKNOWN, grouped},
    source::{MinerView, PoolView, millis},
};

/// Vardiff aims at a share every ten seconds: three minutes without one are e^-18 for a miner that works.
const QUIET: Duration = Duration::from_secs(180);

/// The table and what stands beside it.
pub(super) struct Miners<'a> {
    pub(super) rows: Vec<Row<'a>>,
    pub(super) note: String,
    /// What stands in place of rows.
    pub(super) empty: &'static str,
}

impl<'a> Miners<'a> {
    pub(super) fn new(own: &'a PoolView) -> Self {
        let mut miners: Vec<&MinerView> = own.channels_list.iter().collect();
        miners.sort_by_key(|miner| std::cmp::Reverse(miner.id));
        Self {
            note: note(miners.len(), own.channels),
            empty: match own.channels {
                Some(_) => "No miner is connected. Connect one as told below: it appears here by itself.",
                None => "This pool does not tell of its miners yet.",
            },
            rows: miners.into_iter().map(Row::new).collect(),
        }
    }
}

fn note(listed: usize, channels: Option<u64>) -> String {
    match channels {
        Some(channels) if channels > listed as u64 && listed > 0 => format!(
            "The {} channels with the newest shares, of {}",
            grouped(listed as u64),
            grouped(channels)
        ),
        _ => "A row for each open channel, the newest first".to_owned(),
    }
}

/// One open channel.
pub(super) struct Row<'a> {
    pub(super) id: u64,
    pub(super) identity: &'a str,
    pub(super) shown: Cow<'a, str>,
    pub(super) earns: bool,
    /// Silent for longer than a working miner is.
    pub(super) quiet: bool,
    pub(super) cells: [Field; 8],
}

/// A field of a row. Ages count on in the browser.
pub(super) struct Field {
    pub(super) label: &'static str,
    pub(super) text: String,
    pub(super) age_ms: Option<u64>,
}

impl<'a> Row<'a> {
    fn new(miner: &'a MinerView) -> Self {
        let text = |label, text: &str| Field {
            label,
            text: text.to_owned(),
            age_ms: None,
        };
        let age = |label, age: Duration| Field {
            label,
            text: format::age(age),
            age_ms: Some(millis(age)),
        };
        let hashrate = miner.hashrate.and_then(format::hashrate);
        Self {
            id: miner.id,
            identity: &miner.identity,
            shown: format::shortened(&miner.identity),
            earns: miner.earns,
            quiet: miner.last_share.is_some_and(|since| since > QUIET),
            cells: [
                text("Hashrate", hashrate.as_deref().unwrap_or(UNKNOWN)),
                text("Accepted", &grouped(miner.accepted)),
                text("Rejected", &grouped(miner.rejected)),
                text("Quotes", &grouped(miner.quotes)),
                miner
                    .last_share
                    .map_or_else(|| text("Last share", "none yet"), |since| age("Last share", since)),
                age("Connected for", miner.connected),
                text("Channel", miner.kind.as_str()),
                text("Earns", if miner.earns { "ehash" } else { "nothing: no key" }),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_that_found_no_room_are_told_of() {
        assert_eq!(
            note(500, Some(10_000)),
            "The 500 channels with the newest shares, of 10,000"
        );
        for (listed, channels) in [(0, Some(0)), (3, Some(3)), (0, None), (3, None)] {
            assert_eq!(note(listed, channels), "A row for each open channel, the newest first");
        }
    }
}
