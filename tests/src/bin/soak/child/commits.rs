//! Stamps every version that the mint's ledger publishes, on the thread that committed it.
//!
//! The ledger traces each version right before it tells its subscribers, so the stamp is taken after the commit has
//! returned and before any push can be scheduled: no waking up of an observer stands between, which would make commits
//! look later and staleness smaller than it is.

use stats_push::{EhashTotals, PerState};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::{Context, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

use crate::{clock, record::Record};

/// Has all commits of this process told to the parent, and warnings to standard error.
pub(super) fn observe() -> anyhow::Result<()> {
    let commits = Targets::new().with_target(mint_ledger::PUBLISHED, Level::TRACE);
    // What CDK's storage logs of a failed query, it also returns.
    let log = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("cdk_sqlite", LevelFilter::OFF)
        .with_target("cdk_sql_common", LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(Commits.with_filter(commits))
        .with(lines.with_filter(log))
        .try_init()?;
    Ok(())
}

struct Commits;

impl<S: Subscriber> Layer<S> for Commits {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let at = clock::now();
        let mut version = Version::default();
        event.record(&mut version);
        let Version { version, totals } = version;
        Record::Committed { version, at, totals }.tell();
    }
}

#[derive(Default)]
struct Version {
    version: u64,
    totals: EhashTotals,
}

impl Visit for Version {
    fn record_u64(&mut self, field: &Field, value: u64) {
        let EhashTotals {
            quotes_redeemed,
            quotes,
            amounts,
        } = &mut self.totals;
        let place = match field.name() {
            "version" => &mut self.version,
            "quotes_redeemed" => quotes_redeemed,
            name => match name.split_once('_') {
                Some(("quotes", state)) => of(quotes, state),
                Some(("amount", state)) => of(amounts, state),
                _ => return,
            },
        };
        *place = value;
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

fn of<'a>(counts: &'a mut PerState, state: &str) -> &'a mut u64 {
    match state {
        "unpaid" => &mut counts.unpaid,
        "paid" => &mut counts.paid,
        _ => &mut counts.issued,
    }
}
