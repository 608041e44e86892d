//! `/metrics`: what the cache and the pool know, read at each scrape, beside what a role registers itself.
//!
//! A figure that is not known is absent. Units are bounded: the newest [`MAX_UNITS`] have series of their own, and the
//! totals cover all.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::{Registry, Unit},
};
use stats_push::{Connection, MintView, PerState, Reason, Snapshot, SnapshotCache, Status};
use tokio::time::Instant;

use crate::{
    source::{PoolSource, PoolView, TemplateView},
    stats::StatsJson,
};

/// How many units have series of their own: the newest ones.
const MAX_UNITS: usize = 16;

/// A registry whose metrics are named `ehash_…`: a role registers its own in it and hands it to the router.
pub fn registry() -> Registry {
    Registry::with_prefix("ehash")
}

/// Reads the cache at each scrape.
#[derive(Debug)]
pub(crate) struct MintCollector(pub(crate) SnapshotCache);

/// Counts the streams at each scrape.
#[derive(Debug)]
pub(crate) struct StreamCollector(pub(crate) Arc<StatsJson>);

impl Collector for StreamCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        Page(encoder).gauge(
            "dashboard_streams",
            "Pages and others that follow the stream",
            self.0.streams(),
        )
    }
}

/// Reads the pool at each scrape.
pub(crate) struct PoolCollector(pub(crate) Arc<dyn PoolSource>);

impl fmt::Debug for PoolCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolCollector").finish_non_exhaustive()
    }
}

impl Collector for MintCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let view = self.0.load();
        let mut page = Page(encoder);
        freshness(&mut page, &view)?;
        happenings(&mut page, &view)?;
        match &view.latest {
            Some(latest) => totals(&mut page, &latest.snapshot),
            None => Ok(()),
        }
    }
}

fn freshness(page: &mut Page<'_>, view: &MintView) -> fmt::Result {
    let freshness = view.freshness(Instant::now().into_std());
    let statuses = Status::ALL.map(|status| ([("status", status.as_str())], u64::from(status == freshness.status)));
    page.gauges(
        "mint_stats_status",
        "1 for the present freshness of the mint's statistics, 0 for the others",
        statuses,
    )?;
    let connected = u64::from(matches!(view.connection, Connection::Up { .. }));
    page.gauge("mint_connected", "1 while the mint is connected", connected)?;
    if let Some(age) = freshness.age {
        let help = "Time since the newest snapshot was received, a lower bound of its age";
        page.seconds("mint_stats_age", help, age.as_secs_f64())?;
    }
    let Some(latest) = &view.latest else { return Ok(()) };
    let interval = latest.snapshot.interval.as_secs_f64();
    page.seconds("mint_stats_interval", "The period at which the mint pushes", interval)?;
    let skew = latest.clock_skew_ms() as f64 / 1000.0;
    page.seconds(
        "mint_clock_skew",
        "How far the mint's wall clock is ahead, less the time on the wire",
        skew,
    )
}

fn happenings(page: &mut Page<'_>, view: &MintView) -> fmt::Result {
    let counters = &view.counters;
    let received = Reason::ALL.map(|reason| ([("reason", reason.as_str())], counters.received(reason)));
    page.counters(
        "mint_snapshots_received",
        "Snapshots received, by the reason they were pushed for",
        received,
    )?;
    let dropped = [
        ([("cause", "outdated")], counters.outdated),
        ([("cause", "superseded")], counters.superseded),
    ];
    page.counters(
        "mint_snapshots_dropped",
        "Snapshots dropped for a lower sequence or an older session",
        dropped,
    )?;
    page.counter(
        "mint_restarts",
        "New runs of the mint seen after the first",
        counters.restarts,
    )?;
    page.counter(
        "mint_totals_fell",
        "Snapshots that showed less issued than the one before",
        counters.falls,
    )?;
    page.counter("mint_sessions", "Sessions with the mint opened", counters.sessions)
}

fn totals(page: &mut Page<'_>, snapshot: &Snapshot) -> fmt::Result {
    let ehash = &snapshot.ehash;
    page.gauge(
        "mint_quotes_redeemed",
        "Quotes of which anything was issued, over all ehash units",
        ehash.quotes_redeemed,
    )?;
    page.gauges(
        "mint_quotes",
        "Quotes by state, over all ehash units",
        by_state(ehash.quotes),
    )?;
    page.gauges(
        "mint_amount",
        "Ehash by state of its quote, over all ehash units",
        by_state(ehash.amounts),
    )?;
    page.gauge(
        "mint_units",
        "Currency units that the mint has",
        u64::from(snapshot.units_total),
    )?;
    let newest = || snapshot.units.iter().rev().take(MAX_UNITS);
    let quotes = newest().flat_map(|unit| by_unit_and_state(&unit.unit, unit.quotes));
    page.gauges(
        "mint_unit_quotes",
        "Quotes by unit and state, of the newest units",
        quotes,
    )?;
    let amounts = newest().flat_map(|unit| by_unit_and_state(&unit.unit, unit.amounts));
    page.gauges(
        "mint_unit_amount",
        "Amounts by unit and state, of the newest units",
        amounts,
    )?;
    let issued = newest().filter_map(|unit| {
        let at = unit.last_issued_at?.0 as f64 / 1000.0;
        Some(([("unit", &*unit.unit)], at))
    });
    let mut last_issued = page.open(
        "mint_unit_last_issued_timestamp",
        LAST_ISSUED,
        Some(&Unit::Seconds),
        MetricType::Gauge,
    )?;
    issued
        .into_iter()
        .try_for_each(|(labels, at)| last_issued.encode_family(&labels)?.encode_gauge(&at))
}

const LAST_ISSUED: &str = "When something was last issued in the unit, in Unix time by the mint's clock";

fn by_state(counts: PerState) -> [([(&'static str, &'static str); 1], u64); 3] {
    states(counts).map(|(state, count)| ([("state", state)], count))
}

fn by_unit_and_state(unit: &str, counts: PerState) -> [([(&'static str, &str); 2], u64); 3] {
    states(counts).map(|(state, count)| ([("unit", unit), ("state", state)], count))
}

fn states(counts: PerState) -> [(&'static str, u64); 3] {
    [
        ("unpaid", counts.unpaid),
        ("paid", counts.paid),
        ("issued", counts.issued),
    ]
}

impl Collector for PoolCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        pool(&mut Page(encoder), &self.0.pool())
    }
}

fn pool(page: &mut Page<'_>, view: &PoolView) -> fmt::Result {
    if let Some(miners) = view.miners {
        page.gauge("pool_miners", "Connections of miners that are set up", miners)?;
    }
    if let Some(channels) = view.channels {
        page.gauge("pool_channels", "Mining channels open", channels)?;
    }
    if let Some(hashrate) = view.hashrate {
        let help = "Work of all channels in hashes per second, estimated from the shares accepted";
        page.open("pool_hashrate", help, None, MetricType::Gauge)?
            .encode_gauge(&hashrate)?;
    }
    if let Some(template) = &view.template {
        templates(page, template)?;
    }
    let shares = [("accepted", view.shares.accepted), ("rejected", view.shares.rejected)];
    let shares = shares
        .into_iter()
        .filter_map(|(result, count)| Some(([("result", result)], count?)));
    page.counters("pool_shares", "Shares judged since the start, by result", shares)?;
    let quotes = &view.quotes;
    if let Some(requested) = quotes.requested {
        page.counter("pool_quotes_requested", "Quotes that shares have earned", requested)?;
    }
    if let Some(waiting) = quotes.waiting {
        page.gauge("pool_quotes_waiting", "Quote requests without an answer", waiting)?;
        let oldest = quotes.oldest_waiting.unwrap_or_default().as_secs_f64();
        page.seconds(
            "pool_quotes_oldest_waiting",
            "How long the oldest quote request has waited, 0 if none does",
            oldest,
        )?;
    }
    if let Some(acknowledged) = quotes.acknowledged {
        page.counter(
            "pool_quotes_acknowledged",
            "Quote requests answered with a quote",
            acknowledged,
        )?;
    }
    let refused = quotes
        .refused
        .iter()
        .flatten()
        .map(|(reason, count)| ([("reason", &**reason)], *count));
    page.counters(
        "pool_quotes_refused",
        "Quote requests refused by the mint, by reason",
        refused,
    )
}

fn templates(page: &mut Page<'_>, template: &TemplateView) -> fmt::Result {
    page.gauges(
        "pool_template_source_connected",
        "1 while the source of templates answers",
        [([("source", &*template.source)], u64::from(template.connected))],
    )?;
    if let Some(age) = template.age {
        page.seconds(
            "pool_template_age",
            "Time since the current template came",
            age.as_secs_f64(),
        )?;
    }
    page.counter(
        "pool_blocks_submitted",
        "Blocks found and handed to the source of templates",
        template.blocks_submitted,
    )
}

/// Writes metrics, one family at a time.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.open(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.open(name, help, Some(&Unit::Seconds), MetricType::Gauge)?
            .encode_gauge(&value)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.open(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.open(name, help, None, MetricType::Gauge)?;
        values
            .into_iter()
            .try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.open(name, help, None, MetricType::Counter)?;
        values.into_iter().try_for_each(|(labels, value)| {
            family
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, u64>(&value, None)
        })
    }

    fn open<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        unit: Option<&'s Unit>,
        metric_type: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, metric_type)
    }
}
