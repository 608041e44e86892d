//! What the mint tells of itself: whether it can serve, and counters beyond what the dashboard knows.

use std::{fmt, sync::Arc};

use dashboard::{
    MintSource, Readiness,
    prometheus_client::{
        collector::Collector,
        encoding::{DescriptorEncoder, EncodeMetric},
        metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    },
};
use mint_link::LinkMetrics;

use crate::{
    links::LinkStates,
    quotes::{QuoteCounters, REFUSALS},
};

/// Reads the parts of a running mint.
#[derive(Clone)]
pub(crate) struct Status {
    pub(crate) quotes: Arc<QuoteCounters>,
    pub(crate) link: Arc<LinkMetrics>,
    pub(crate) links: LinkStates,
}

impl MintSource for Status {
    /// A pool that is away is the pool's trouble: wallets can be served without it. So it is told but does not count.
    fn ready(&self) -> Readiness {
        let database = if self.quotes.healthy() {
            Ok(())
        } else {
            Err("the last quotes could not be stored".to_owned())
        };
        Readiness::new().check("database", database)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status").finish_non_exhaustive()
    }
}

impl Collector for Status {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (quotes, link) = (&self.quotes, self.link.read());
        for (name, help, value) in [
            ("quotes_created", "Quotes made and paid", quotes.created()),
            (
                "quotes_repeated",
                "Quote requests answered with the quote that they had already",
                quotes.repeated(),
            ),
            (
                "quote_batches",
                "Transactions in which quotes were made",
                quotes.batches(),
            ),
            (
                "quote_batches_failed",
                "Transactions of quotes that failed",
                quotes.failed_batches(),
            ),
            (
                "quote_batched_requests",
                "Quote requests in all transactions",
                quotes.batched_requests(),
            ),
            ("link_dials", "Connections made to pools", link.connections),
            ("link_sessions", "Sessions with a pool that came to work", link.ready),
            ("link_frames_read", "Frames read from pools", link.traffic.frames_read),
            (
                "link_frames_written",
                "Frames written to pools",
                link.traffic.frames_written,
            ),
            (
                "link_bytes_read",
                "Encrypted bytes read from pools",
                link.traffic.bytes_read,
            ),
            (
                "link_bytes_written",
                "Encrypted bytes written to pools",
                link.traffic.bytes_written,
            ),
            (
                "link_stats_malformed",
                "Statistics messages dropped for their form",
                link.malformed_stats,
            ),
            (
                "link_quotes_malformed",
                "Quote messages dropped for their form",
                link.malformed_quotes,
            ),
            (
                "link_unexpected",
                "Messages dropped because they make no sense here",
                link.unexpected,
            ),
            (
                "link_quotes_unanswered",
                "Quote requests let go without an answer",
                link.unanswered,
            ),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)?;
        }
        let help = "Time spent in transactions of quotes, in seconds";
        let metric = encoder.encode_descriptor("quote_commit_seconds", help, None, MetricType::Counter)?;
        ConstCounter::new(quotes.commit_time().as_secs_f64()).encode(metric)?;
        let help = "Quote requests refused, by reason";
        let mut refused = encoder.encode_descriptor("quotes_refused", help, None, MetricType::Counter)?;
        for code in REFUSALS {
            let labels = [("reason", code.as_str())];
            ConstCounter::new(quotes.refused(code)).encode(refused.encode_family(&labels)?)?;
        }
        let help = "Whether the link to a pool works: 1 or 0";
        let mut up = encoder.encode_descriptor("link_up", help, None, MetricType::Gauge)?;
        for link in self.links.read() {
            let labels = [("pool", &*link.pool)];
            ConstGauge::new(u32::from(link.is_connected())).encode(up.encode_family(&labels)?)?;
        }
        let help = "Sessions and dials that ended, by reason";
        let mut ended = encoder.encode_descriptor("link_ended", help, None, MetricType::Counter)?;
        for (reason, count) in &link.ended {
            let labels = [("reason", reason.as_str())];
            ConstCounter::new(*count).encode(ended.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
