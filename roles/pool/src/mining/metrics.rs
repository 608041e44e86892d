//! What the mining server counts: written with relaxed atomics by sessions, read by `/metrics`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use log_limit::LogLimit;
use sv2_transport::{Traffic, TrafficCounters};

/// Events that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counter {
    Connections,
    RefusedFull,
    ChannelsOpened,
    ChannelsExhausted,
    Blocks,
    Malformed,
    Unknown,
    Notifications,
    BadTemplates,
}

impl Counter {
    /// All of them, as `/metrics` names and explains them.
    pub(crate) const ALL: [(Self, &'static str, &'static str); 9] = [
        (
            Self::Connections,
            "mining_connections",
            "Connections to the listener for miners",
        ),
        (
            Self::RefusedFull,
            "mining_refused",
            "Connections of miners turned away because all places were taken",
        ),
        (Self::ChannelsOpened, "mining_channels_opened", "Mining channels opened"),
        (
            Self::ChannelsExhausted,
            "mining_channels_exhausted",
            "Mining channels closed because they had too many shares for one tip",
        ),
        (Self::Blocks, "mining_blocks", "Shares that were blocks"),
        (
            Self::Malformed,
            "mining_malformed",
            "Messages of miners dropped for their form",
        ),
        (
            Self::Unknown,
            "mining_unknown",
            "Messages of miners dropped because their type, their extension or their moment makes no sense here",
        ),
        (
            Self::Notifications,
            "mining_notifications",
            "Quotes that miners were told of by message 0xC0",
        ),
        (
            Self::BadTemplates,
            "mining_bad_templates",
            "Templates that no job can be made of",
        ),
    ];
}

/// The counters of a pool's mining server.
#[derive(Debug, Default)]
pub(crate) struct MiningMetrics {
    counters: [AtomicU64; Counter::ALL.len()],
    refused: Mutex<BTreeMap<&'static str, u64>>,
    channels_refused: Mutex<BTreeMap<&'static str, u64>>,
    ended: Mutex<BTreeMap<&'static str, u64>>,
    pub(crate) traffic: Arc<Traffic>,
    /// The log's share of each cause. Causes are texts of this program: strangers can't add any.
    logged: Mutex<BTreeMap<&'static str, LogLimit>>,
}

impl MiningMetrics {
    pub(crate) fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    pub(crate) fn add(&self, counter: Counter, count: u64) {
        if let Some(counter) = self.counters.get(counter as usize) {
            counter.fetch_add(count, Relaxed);
        }
    }

    pub(crate) fn read(&self, counter: Counter) -> u64 {
        self.counters
            .get(counter as usize)
            .map_or(0, |counter| counter.load(Relaxed))
    }

    /// A share was refused with this code.
    pub(crate) fn refused(&self, code: &'static str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused.entry(code).or_default() += 1;
    }

    /// Refused shares by code.
    pub(crate) fn refusals(&self) -> BTreeMap<&'static str, u64> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A channel was not opened, with this code.
    pub(crate) fn channel_refused(&self, code: &'static str) {
        let mut refused = self.channels_refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused.entry(code).or_default() += 1;
    }

    /// Channels not opened, by code.
    pub(crate) fn channel_refusals(&self) -> BTreeMap<&'static str, u64> {
        self.channels_refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A session ended for this reason.
    pub(crate) fn ended(&self, reason: &'static str) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        *ended.entry(reason).or_default() += 1;
    }

    /// Sessions that ended, by reason.
    pub(crate) fn endings(&self) -> BTreeMap<&'static str, u64> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn traffic(&self) -> TrafficCounters {
        self.traffic.read()
    }

    /// Whether something that strangers can cause at will may be logged: each cause once a minute, so that a frequent
    /// one hides no other.
    pub(crate) fn may_log(&self, cause: &'static str) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.entry(cause).or_default().note().is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_cause_is_logged_once_a_minute_whatever_else_is() {
        let metrics = MiningMetrics::default();
        assert!(metrics.may_log("dropped") && !metrics.may_log("dropped"));
        assert!(metrics.may_log("full") && !metrics.may_log("full"));
        tokio::time::advance(LogLimit::EVERY - Duration::from_millis(1)).await;
        assert!(!metrics.may_log("full"));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(metrics.may_log("full") && metrics.may_log("dropped"));
        assert!(!metrics.may_log("full") && !metrics.may_log("dropped"));
    }
}
