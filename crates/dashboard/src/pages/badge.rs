//! The badge: how fresh the numbers are, and the reason in words.

use std::time::Duration;

use stats_push::{Status, UnixMillis};

use super::age_text;
use crate::{format, stats::MintStats};

/// Whose dashboard it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Pool,
    Mint,
}

/// What a status is called and means. Pages carry all of them, for scripts to choose from.
pub(super) struct Text {
    /// A [`Status`], or one of the two that pages tell apart: `waiting`, connected without a first snapshot, and
    /// `offline`, where the page itself gets no answer.
    pub(super) key: &'static str,
    pub(super) label: &'static str,
    pub(super) sentence: &'static str,
    /// Beside a number that is not known.
    pub(super) short: &'static str,
}

const fn text(key: &'static str, label: &'static str, short: &'static str, sentence: &'static str) -> Text {
    Text {
        key,
        label,
        sentence,
        short,
    }
}

const ON_POOL: [Text; 7] = [
    text(
        "live",
        "live",
        "not told",
        "The mint is connected and tells its totals as they change.",
    ),
    text(
        "stale",
        "stale",
        "not told",
        "The mint is connected but has been silent for longer than it should. These are its last numbers.",
    ),
    text(
        "disconnected",
        "disconnected",
        "the mint is away",
        "The mint is not connected. The last numbers stay; quotes wait in the pool until it is back.",
    ),
    text(
        "unsupported",
        "unsupported",
        "the mint does not tell",
        "The mint is connected and makes quotes, but does not offer the statistics extension (0x4D53).",
    ),
    text(
        "never",
        "no mint yet",
        "no mint has connected yet",
        "No mint has connected since this pool started. Start one that dials this pool, and its numbers appear here.",
    ),
    text(
        "waiting",
        "connected",
        "the first snapshot is on its way",
        "The mint has connected; its first snapshot is on its way.",
    ),
    text(
        "offline",
        "no answer",
        "the pool does not answer",
        "This page gets no answer from the pool and keeps trying. These are the last numbers it saw.",
    ),
];

const ON_MINT: [Text; 7] = [
    text(
        "live",
        "live",
        "not told",
        "The mint is running and counts every quote it commits.",
    ),
    text(
        "stale",
        "stale",
        "not told",
        "The mint has not counted anew for longer than it should. These are its last numbers.",
    ),
    text(
        "disconnected",
        "stopped",
        "the mint has stopped",
        "The mint has stopped counting. These are its last numbers.",
    ),
    text(
        "unsupported",
        "unsupported",
        "statistics are off",
        "The mint's statistics are off.",
    ),
    text(
        "never",
        "starting",
        "the mint is starting",
        "The mint is starting and has not read its ledger yet.",
    ),
    text(
        "waiting",
        "starting",
        "the mint is starting",
        "The mint is starting and has not read its ledger yet.",
    ),
    text(
        "offline",
        "no answer",
        "the mint does not answer",
        "This page gets no answer from the mint and keeps trying. These are the last numbers it saw.",
    ),
];

/// The badge as it is when the page is rendered.
pub(super) struct Badge {
    pub(super) host: &'static str,
    pub(super) key: &'static str,
    pub(super) label: &'static str,
    pub(super) reason: &'static str,
    pub(super) short: &'static str,
    pub(super) age_ms: Option<u64>,
    pub(super) age: String,
    /// When the page was rendered, for whoever sees nothing newer.
    pub(super) loaded: String,
    texts: &'static [Text],
}

impl Badge {
    pub(super) fn new(host: Host, stats: &MintStats<'_>, age: Option<Duration>) -> Self {
        let (host, texts) = match host {
            Host::Pool => ("pool", &ON_POOL),
            Host::Mint => ("mint", &ON_MINT),
        };
        let key = match stats.status {
            Status::Never if stats.mint.connected => "waiting",
            status => status.as_str(),
        };
        let text = texts.iter().find(|text| text.key == key);
        let (age_ms, age) = age_text(age);
        Self {
            host,
            key,
            label: text.map_or(key, |text| text.label),
            reason: text.map_or("", |text| text.sentence),
            short: text.map_or("", |text| text.short),
            age_ms,
            age,
            loaded: format::readable(UnixMillis::now()).unwrap_or_default(),
            texts,
        }
    }

    pub(super) fn texts(&self) -> &'static [Text] {
        self.texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_words() {
        for texts in [&ON_POOL, &ON_MINT] {
            for status in Status::ALL {
                assert!(texts.iter().any(|text| text.key == status.as_str()), "{status}");
            }
        }
    }
}
