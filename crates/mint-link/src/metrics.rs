//! Counters of one end of the link, for metrics: written with relaxed atomics by its sessions, read by whoever shows them.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use log_limit::LogLimit;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use sv2_transport::{Traffic, TrafficCounters};

use crate::error::FailureReason;

/// What the sessions of one end have counted since the start. Share it in an `Arc`.
#[derive(Debug, Default)]
pub struct LinkMetrics {
    /// For the codecs of this end's connections.
    pub(crate) traffic: Arc<Traffic>,
    connections: AtomicU64,
    refused_full: AtomicU64,
    ready: AtomicU64,
    malformed_stats: AtomicU64,
    malformed_quotes: AtomicU64,
    unexpected: AtomicU64,
    unanswered: AtomicU64,
    issued_missed: AtomicU64,
    stats_requests: AtomicU64,
    round_trips: RoundTrips,
    ended: [AtomicU64; FailureReason::ALL.len()],
    accept_log: LogLimit,
    dropped_log: LogLimit,
    full_log: LogLimit,
    ended_log: [LogLimit; FailureReason::ALL.len()],
}

/// The counters at one moment. They only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Frames and bytes.
    pub traffic: TrafficCounters,
    /// Connections accepted or made.
    pub connections: u64,
    /// Connections turned away because all places were taken, by peers that were admitted.
    pub refused_full: u64,
    /// Sessions that came to work.
    pub ready: u64,
    /// Statistics messages dropped for their form (P10).
    pub malformed_stats: u64,
    /// Quote messages dropped for their form.
    pub malformed_quotes: u64,
    /// Messages dropped because their type or their moment makes no sense here.
    pub unexpected: u64,
    /// Quote requests that the mint let go without an answer.
    pub unanswered: u64,
    /// Notes of issued quotes (0x86), each of one transaction or one message, that were dropped since somebody was slow.
    pub issued_missed: u64,
    /// Requests for statistics (0x83): sent by a pool, taken by a mint.
    pub stats_requests: u64,
    /// Questions over the link of which it is known how long their answers took.
    pub round_trips: u64,
    /// Sessions and attempts that ended, by reason.
    pub ended: Vec<(FailureReason, u64)>,
}

impl LinkCounters {
    /// How many ended for this reason.
    pub fn ended(&self, reason: FailureReason) -> u64 {
        self.ended
            .iter()
            .find_map(|(r, count)| (*r == reason).then_some(*count))
            .unwrap_or(0)
    }
}

/// Which messages are dropped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dropped {
    MalformedStats,
    MalformedQuote,
    Unexpected,
}

impl LinkMetrics {
    /// The counters now.
    pub fn read(&self) -> LinkCounters {
        let ended = FailureReason::ALL.into_iter().zip(&self.ended);
        LinkCounters {
            traffic: self.traffic.read(),
            connections: self.connections.load(Relaxed),
            refused_full: self.refused_full.load(Relaxed),
            ready: self.ready.load(Relaxed),
            malformed_stats: self.malformed_stats.load(Relaxed),
            malformed_quotes: self.malformed_quotes.load(Relaxed),
            unexpected: self.unexpected.load(Relaxed),
            unanswered: self.unanswered.load(Relaxed),
            issued_missed: self.issued_missed.load(Relaxed),
            stats_requests: self.stats_requests.load(Relaxed),
            round_trips: self.round_trips.count.load(Relaxed),
            ended: ended.map(|(reason, count)| (reason, count.load(Relaxed))).collect(),
        }
    }

    pub(crate) fn connection(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// Logs that the listener could not accept, unless that was logged within the last minute.
    pub(crate) fn not_accepted(&self, error: &io::Error) {
        if let Some(times) = self.accept_log.note() {
            tracing::warn!(times, "can't accept a connection of a mint: {error}");
        }
    }

    /// Counts a peer that is turned away for want of a place, and logs it unless one was logged within the last minute.
    pub(crate) fn full(&self, peer: SocketAddr) {
        self.refused_full.fetch_add(1, Relaxed);
        if let Some(times) = self.full_log.note() {
            tracing::warn!(%peer, times, "turned away: all places for connections of mints are taken");
        }
    }

    pub(crate) fn ready(&self) {
        self.ready.fetch_add(1, Relaxed);
    }

    pub(crate) fn unanswered(&self) {
        self.unanswered.fetch_add(1, Relaxed);
    }

    /// Counts notes of issued quotes that nobody will get.
    pub fn issued_missed(&self, notes: u64) {
        self.issued_missed.fetch_add(notes, Relaxed);
    }

    pub(crate) fn stats_request(&self) {
        self.stats_requests.fetch_add(1, Relaxed);
    }

    /// A question over the link has been answered after this time.
    pub(crate) fn round_trip(&self, took: Duration) {
        self.round_trips.seconds.observe(took.as_secs_f64());
        self.round_trips.count.fetch_add(1, Relaxed);
    }

    /// How long answers have taken, in seconds; `None` until there was one.
    pub(crate) fn round_trips(&self) -> Option<&Histogram> {
        (self.round_trips.count.load(Relaxed) > 0).then_some(&self.round_trips.seconds)
    }

    pub(crate) fn ended(&self, reason: FailureReason) {
        if let Some((_, count)) = FailureReason::ALL.iter().zip(&self.ended).find(|(r, _)| **r == reason) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Whether an end for this reason may be logged: one a minute of each, so that a frequent one hides no other.
    pub(crate) fn may_log(&self, reason: FailureReason) -> bool {
        let mut limiters = FailureReason::ALL.iter().zip(&self.ended_log);
        limiters.any(|(r, limit)| *r == reason && limit.note().is_some())
    }

    /// Counts a message that is dropped, and logs it unless one was logged within the last minute (P10).
    pub(crate) fn dropped(&self, what: Dropped, peer: &str, why: &dyn std::fmt::Display) {
        let counter = match what {
            Dropped::MalformedStats => &self.malformed_stats,
            Dropped::MalformedQuote => &self.malformed_quotes,
            Dropped::Unexpected => &self.unexpected,
        };
        counter.fetch_add(1, Relaxed);
        if let Some(times) = self.dropped_log.note() {
            tracing::warn!(peer, ?what, times, "dropped a message: {why}");
        }
    }
}

/// How long answers took.
#[derive(Debug)]
struct RoundTrips {
    seconds: Histogram,
    count: AtomicU64,
}

impl Default for RoundTrips {
    /// From a quarter of a millisecond, within a machine, to four seconds.
    fn default() -> Self {
        Self {
            seconds: Histogram::new(exponential_buckets(0.000_25, 4.0, 8)),
            count: AtomicU64::new(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_dropped_messages_are_all_counted_by_what_they_were() {
        let metrics = LinkMetrics::default();
        for what in [
            Dropped::MalformedStats,
            Dropped::MalformedStats,
            Dropped::MalformedQuote,
            Dropped::Unexpected,
        ] {
            metrics.dropped(what, "peer", &"test");
        }
        let counters = metrics.read();
        assert_eq!(
            (counters.malformed_stats, counters.malformed_quotes, counters.unexpected),
            (2, 1, 1)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_is_logged_whatever_else_fails_and_no_reason_more_than_once_a_minute() {
        let metrics = LinkMetrics::default();
        for reason in FailureReason::ALL {
            assert!(metrics.may_log(reason), "{}", reason.as_str());
            assert!(!metrics.may_log(reason), "{}", reason.as_str());
        }
        tokio::time::advance(LogLimit::EVERY).await;
        assert!(metrics.may_log(FailureReason::NotListed));
    }

    #[test]
    fn ends_are_counted_by_reason() {
        let metrics = LinkMetrics::default();
        for (times, reason) in FailureReason::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| metrics.ended(reason));
        }
        let counters = metrics.read();
        for (times, reason) in FailureReason::ALL.into_iter().enumerate() {
            assert_eq!(counters.ended(reason), times as u64, "{}", reason.as_str());
        }
    }
}
