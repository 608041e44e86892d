//! The link's counters as metrics, the same at both ends: a role registers it and adds nothing.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
    registry::Unit,
};

use crate::{LinkCounters, LinkMetrics};

/// Reads [`LinkMetrics`] at each scrape.
#[derive(Clone, Debug)]
pub struct LinkCollector(pub Arc<LinkMetrics>);

impl Collector for LinkCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counters = self.0.read();
        for (name, help, value) in plain(&counters) {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)?;
        }
        if let Some(round_trips) = self.0.round_trips() {
            let help =
                "From a question over the link to its answer: the mint's heartbeat, the pool's request for statistics";
            let unit = Some(&Unit::Seconds);
            round_trips.encode(encoder.encode_descriptor("link_round_trip", help, unit, MetricType::Histogram)?)?;
        }
        let help = "Sessions of the link, and attempts at one, that ended, by reason";
        let mut ended = encoder.encode_descriptor("link_ended", help, None, MetricType::Counter)?;
        for (reason, count) in &counters.ended {
            let labels = [("reason", reason.as_str())];
            ConstCounter::new(*count).encode(ended.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn plain(counters: &LinkCounters) -> [(&'static str, &'static str, u64); 13] {
    let traffic = &counters.traffic;
    [
        (
            "link_connections",
            "Connections of the link between mint and pool, accepted or made",
            counters.connections,
        ),
        (
            "link_refused",
            "Connections turned away because all places were taken",
            counters.refused_full,
        ),
        ("link_sessions", "Sessions that came to work", counters.ready),
        ("link_frames_read", "Frames read from the peer", traffic.frames_read),
        (
            "link_frames_written",
            "Frames written to the peer",
            traffic.frames_written,
        ),
        ("link_bytes_read", "Encrypted bytes read", traffic.bytes_read),
        ("link_bytes_written", "Encrypted bytes written", traffic.bytes_written),
        (
            "link_stats_requests",
            "Requests for statistics: sent by a pool, taken by a mint",
            counters.stats_requests,
        ),
        (
            "link_stats_malformed",
            "Statistics messages dropped for their form",
            counters.malformed_stats,
        ),
        (
            "link_quotes_malformed",
            "Quote messages dropped for their form",
            counters.malformed_quotes,
        ),
        (
            "link_unexpected",
            "Messages dropped because they make no sense here",
            counters.unexpected,
        ),
        (
            "link_quotes_unanswered",
            "Quote requests that the mint let go without an answer",
            counters.unanswered,
        ),
        (
            "link_issued_missed",
            "Notes of redeemed quotes that were dropped since somebody was slow",
            counters.issued_missed,
        ),
    ]
}
