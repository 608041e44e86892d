//! The pool's own side on its page: its figures, where its work comes from, how to reach it.

use super::{Cell, Figure};
use crate::{
    format::{self, grouped},
    source::{MiningAddress, PoolView, QuoteCounts, TemplateView},
};

const NOT_COUNTED: &str = "this pool does not count it yet";

/// Eight figures: four of mining, four of quotes.
pub(super) fn figures(own: &PoolView) -> Vec<Figure> {
    let quotes = &own.quotes;
    let count =
        |label, id, field, count, note: &str| Figure::new(label, Cell::count(id, field, count), note, NOT_COUNTED);
    let since = "since the pool started";
    vec![
        count("Miners", "miners", "miners", own.miners, &channels_note(own)).following(),
        Figure::new(
            "Hashrate",
            Cell::hashrate("hashrate", "hashrate", own.hashrate),
            "estimated from accepted shares",
            "not enough shares yet",
        ),
        count(
            "Shares accepted",
            "shares-accepted",
            "shares.accepted",
            own.shares.accepted,
            &accepted_note(own),
        )
        .following(),
        count(
            "Shares rejected",
            "shares-rejected",
            "shares.rejected",
            own.shares.rejected,
            since,
        ),
        count(
            "Quotes requested",
            "quotes-requested",
            "quotes.requested",
            quotes.requested,
            "one for each share that pays",
        ),
        count(
            "Acknowledged",
            "quotes-acknowledged",
            "quotes.acknowledged",
            quotes.acknowledged,
            "the mint made a quote",
        ),
        count(
            "Waiting",
            "quotes-waiting",
            "quotes.waiting",
            quotes.waiting,
            &waiting_note(quotes),
        )
        .following(),
        count(
            "Refused",
            "quotes-refused",
            "quotes.refused",
            quotes.refused_total(),
            &refused_note(quotes),
        )
        .following(),
    ]
}

fn channels_note(own: &PoolView) -> String {
    match own.channels {
        Some(1) => "on 1 channel".to_owned(),
        Some(channels) => format!("on {} channels", grouped(channels)),
        None => "connected now".to_owned(),
    }
}

fn accepted_note(own: &PoolView) -> String {
    match own.shares.without_key {
        Some(unpaid @ 1..) => format!("{} earn nothing: no key", grouped(unpaid)),
        Some(0) | None => "since the pool started".to_owned(),
    }
}

fn waiting_note(quotes: &QuoteCounts) -> String {
    if quotes.full == Some(true) {
        return "no room for more: shares are refused".to_owned();
    }
    quotes.oldest_waiting.map_or_else(
        || "everything is answered".to_owned(),
        |age| format!("the oldest for {}", format::age(age)),
    )
}

fn refused_note(quotes: &QuoteCounts) -> String {
    let refusals: Vec<String> = quotes
        .refused
        .iter()
        .flatten()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| format!("{}: {}", reason.replace('_', " "), grouped(*count)))
        .collect();
    if refusals.is_empty() {
        "none".to_owned()
    } else {
        refusals.join(", ")
    }
}

/// Where the work comes from.
pub(super) struct Templates {
    /// The source does not answer.
    pub(super) away: bool,
    pub(super) rows: [(&'static str, Cell); 4],
}

impl Templates {
    pub(super) fn new(template: Option<&TemplateView>) -> Self {
        let source = template.map(|template| template.source.clone());
        let state = template.map(|template| source_state(template.connected).to_owned());
        let age = template.and_then(|template| template.age);
        let blocks = template.map(|template| template.blocks_submitted);
        Self {
            away: template.is_some_and(|template| !template.connected),
            rows: [
                (
                    "Templates from",
                    Cell::new("template-source", "template.source", "text", source),
                ),
                (
                    "This source is",
                    Cell::new("template-state", "template.connected", "source", state),
                ),
                (
                    "Age of the current one",
                    Cell::age("template-age", "template.age_ms", age),
                ),
                (
                    "Blocks found",
                    Cell::count("blocks-submitted", "template.blocks_submitted", blocks),
                ),
            ],
        }
    }
}

fn source_state(connected: bool) -> &'static str {
    if connected {
        "connected"
    } else {
        "away, its last template serves"
    }
}

/// What a miner has to be told.
pub(super) fn connect(mining: Option<&MiningAddress>) -> [(&'static str, Cell); 2] {
    let address = mining.map(|mining| format::listener(&mining.address));
    let key = mining.map(|mining| mining.authority_key.clone());
    [
        (
            "Address",
            Cell::new("mining-address", "mining.address", "listener", address),
        ),
        (
            "Authority key",
            Cell::new("mining-key", "mining.authority_key", "text", key),
        ),
    ]
}
