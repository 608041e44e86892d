//! What the mint tells of itself: whether it can serve, and counters beyond what the dashboard knows.

use std::{fmt, sync::Arc};

use dashboard::{
    LinkStage, LinkView, LinksView, MintSource, PushView, Readiness,
    prometheus_client::{
        collector::Collector,
        encoding::{DescriptorEncoder, EncodeMetric},
        metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
        registry::Unit,
    },
};

use mint_link::{LinkState, LinkStatus, Negotiated};
use stats_push::PushConfig;

use crate::{
    links::LinkStates,
    quotes::{QuoteCounters, REFUSALS},
};

/// Reads the parts of a running mint.
#[derive(Clone)]
pub(crate) struct Status {
    pub(crate) quotes: Arc<QuoteCounters>,
    pub(crate) links: LinkStates,
    pub(crate) push: PushConfig,
}

impl MintSource for Status {
    /// A pool that is away is the pool's trouble: wallets can be served without it. The body of `/readyz` counts those that
    /// are there, and the metric `link_up` tells of each.
    fn ready(&self) -> Readiness {
        let database = if self.quotes.healthy() {
            Ok(())
        } else {
            Err("the last quotes could not be stored".to_owned())
        };
        Readiness::new().check("database", database)
    }

    fn links(&self) -> LinksView {
        LinksView {
            push: PushView {
                interval: self.push.interval(),
                min_gap: self.push.min_gap(),
            },
            links: self.links.read().into_iter().map(link).collect(),
        }
    }
}

fn link(link: LinkStatus) -> LinkView {
    let (state, since, extensions) = match link.state {
        LinkState::Dialling => (LinkStage::Dialling, None, Vec::new()),
        LinkState::Waiting { .. } => (LinkStage::Waiting, None, Vec::new()),
        LinkState::Connected { since, negotiated, .. } => (LinkStage::Connected, Some(since), extensions(negotiated)),
        LinkState::Stopped => (LinkStage::Stopped, None, Vec::new()),
    };
    LinkView {
        pool: link.pool.to_string(),
        state,
        since,
        extensions,
        sessions: link.sessions,
        failures_in_a_row: link.failures_in_a_row,
        last_error: link.last_error,
    }
}

fn extensions(negotiated: Negotiated) -> Vec<&'static str> {
    let Negotiated::On(on) = negotiated else {
        return Vec::new();
    };
    [(on.stats, "statistics"), (on.proof, "proof"), (on.quotes, "quotes")]
        .into_iter()
        .filter_map(|(is_on, name)| is_on.then_some(name))
        .collect()
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
                "quote_batches_failed",
                "Transactions of quotes that failed",
                quotes.failed_batches(),
            ),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)?;
        }
        let batches = quotes.histograms();
        let help = "Quote requests in each transaction";
        let metric = encoder.encode_descriptor("quote_batch_requests", help, None, MetricType::Histogram)?;
        batches.requests.encode(metric)?;
        let help = "Time of each transaction of quotes";
        let unit = Some(&Unit::Seconds);
        let metric = encoder.encode_descriptor("quote_commit", help, unit, MetricType::Histogram)?;
        batches.seconds.encode(metric)?;
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
