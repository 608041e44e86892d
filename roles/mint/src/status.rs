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

use crate::{
    links::LinkStates,
    quotes::{QuoteCounters, REFUSALS},
};

/// Reads the parts of a running mint.
#[derive(Clone)]
pub(crate) struct Status {
    pub(crate) quotes: Arc<QuoteCounters>,
    pub(crate) links: LinkStates,
}

impl MintSource for Status {
    /// A pool that is away is the pool's trouble: wallets can be served without it. The metric `link_up` tells of it.
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
        let quotes = &self.quotes;
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
        Ok(())
    }
}
