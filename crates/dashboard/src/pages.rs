//! The pages: the same numbers as the JSON, rendered into the HTML, so that they are there before any script runs and
//! without one. Scripts then keep them going: each [`Cell`] names its field in the JSON and how to write it.

use std::{borrow::Cow, time::Duration};

use askama::Template;
use stats_push::{MintView, PerState};
use tokio::time::Instant;

use crate::{
    History,
    format::{self, UNKNOWN, grouped},
    source::{LinksView, PoolView, millis},
    stats::{Amount, MintStats, Timestamp, Unit},
};

mod badge;
mod links;
mod miners;
mod own;
mod rates;
mod start;

use badge::{Badge, Host};
use links::Links;
use miners::Miners;
use own::Templates;
use rates::Rates;
use start::FirstSteps;

/// The pool's page.
pub(crate) fn pool(view: &MintView, history: &History, own: &PoolView) -> askama::Result<String> {
    let (stats, age) = now(view);
    let badge = Badge::new(Host::Pool, &stats, age);
    PoolPage {
        tab: "pool",
        totals: Totals::new(&stats, &badge),
        rates: Rates::new(history),
        start: FirstSteps::new(own, &badge),
        own: own::figures(own),
        templates: Templates::new(own.template.as_ref()),
        miners: Miners::new(own),
        connect: own::connect(own.mining.as_ref()),
        origin: origin(&stats, Host::Pool),
        badge,
    }
    .render()
}

/// The mint's page: on the mint itself with its links, on a pool without.
pub(crate) fn mint(view: &MintView, history: &History, links: Option<&LinksView>) -> askama::Result<String> {
    let (stats, age) = now(view);
    let host = if links.is_some() { Host::Mint } else { Host::Pool };
    let badge = Badge::new(host, &stats, age);
    let units = stats.units.as_deref().unwrap_or_default();
    MintPage {
        tab: "mint",
        totals: Totals::new(&stats, &badge),
        rates: Rates::new(history),
        links: links.map(Links::new),
        units_note: units_note(units.len(), stats.units_total),
        units: units.iter().rev().map(UnitRow::new).collect(),
        origin: origin(&stats, host),
        badge,
    }
    .render()
}

fn now(view: &MintView) -> (MintStats<'_>, Option<Duration>) {
    let freshness = view.freshness(Instant::now().into_std());
    (MintStats::new(view, freshness), freshness.age)
}

#[derive(Template)]
#[template(path = "pool.html")]
struct PoolPage<'a> {
    badge: Badge,
    tab: &'static str,
    totals: Totals,
    rates: Rates,
    start: FirstSteps,
    own: Vec<Figure>,
    templates: Templates,
    miners: Miners<'a>,
    connect: [(&'static str, Cell); 2],
    origin: Origin,
}

#[derive(Template)]
#[template(path = "mint.html")]
struct MintPage<'a> {
    badge: Badge,
    tab: &'static str,
    totals: Totals,
    rates: Rates,
    links: Option<Links>,
    units_note: String,
    units: Vec<UnitRow<'a>>,
    origin: Origin,
}

/// A value on a page.
#[derive(Template)]
#[template(path = "cell.html")]
struct Cell {
    /// The element's id.
    id: &'static str,
    /// The way to it in the JSON.
    field: &'static str,
    /// How scripts write it, a name in `assets/format.js`.
    kind: &'static str,
    text: String,
    known: bool,
    /// Of an age, which counts on in the browser.
    age_ms: Option<u64>,
}

impl Cell {
    fn new(id: &'static str, field: &'static str, kind: &'static str, text: Option<String>) -> Self {
        Self {
            id,
            field,
            kind,
            known: text.is_some(),
            text: text.unwrap_or_else(|| UNKNOWN.to_owned()),
            age_ms: None,
        }
    }

    fn count(id: &'static str, field: &'static str, count: Option<u64>) -> Self {
        Self::new(id, field, "count", count.map(grouped))
    }

    fn amount(id: &'static str, field: &'static str, amount: Option<Amount>) -> Self {
        Self::count(id, field, amount.map(|amount| amount.0))
    }

    fn time(id: &'static str, field: &'static str, at: Option<Timestamp>) -> Self {
        Self::new(id, field, "time", at.and_then(|at| format::readable(at.0)))
    }

    fn hashrate(id: &'static str, field: &'static str, hashrate: Option<f64>) -> Self {
        Self::new(id, field, "hashrate", hashrate.and_then(format::hashrate))
    }

    fn age(id: &'static str, field: &'static str, age: Option<Duration>) -> Self {
        Self {
            age_ms: age.map(millis),
            ..Self::new(id, field, "age", age.map(format::age))
        }
    }

    /// Long numbers are set smaller, to stay on their line.
    fn size(&self) -> Option<&'static str> {
        match (self.kind, self.text.len()) {
            ("count", 11..=15) => Some("long"),
            ("count", 16..) => Some("huge"),
            _ => None,
        }
    }
}

/// A value with its label and what it means, or why it is not known.
#[derive(Template)]
#[template(path = "figure.html")]
struct Figure {
    label: &'static str,
    cell: Cell,
    note: String,
    /// The note itself follows the numbers: scripts write it.
    follows: bool,
    unknown: &'static str,
}

impl Figure {
    fn new(label: &'static str, cell: Cell, note: &str, unknown: &'static str) -> Self {
        Self {
            label,
            cell,
            note: note.to_owned(),
            follows: false,
            unknown,
        }
    }

    fn following(self) -> Self {
        Self { follows: true, ..self }
    }
}

/// The mint's totals over all ehash units.
struct Totals {
    redeemed: Cell,
    states: [State; 3],
    figures: [Figure; 3],
}

/// Quotes in one state: a part of the bar and its number.
struct State {
    name: &'static str,
    label: &'static str,
    cell: Cell,
    start: u64,
    width: u64,
}

impl Totals {
    fn new(stats: &MintStats<'_>, badge: &Badge) -> Self {
        let quotes = stats.quotes_by_state;
        let widths = widths(quotes.unwrap_or_default());
        let state = |name, label, start, width, cell| State {
            name,
            label,
            cell,
            start,
            width,
        };
        let quote = |id, field, count: fn(PerState) -> u64| Cell::count(id, field, quotes.map(count));
        let amount = |id, field, of: fn(&crate::stats::Amounts) -> Amount| {
            Cell::amount(id, field, stats.amounts.as_ref().map(of))
        };
        let [issued, paid, unpaid] = widths;
        Self {
            redeemed: Cell::count("quotes-redeemed", "quotes_redeemed", stats.quotes_redeemed),
            states: [
                state(
                    "issued",
                    "issued",
                    0,
                    issued,
                    quote("quotes-issued", "quotes_by_state.issued", |q| q.issued),
                ),
                state(
                    "paid",
                    "paid",
                    issued,
                    paid,
                    quote("quotes-paid", "quotes_by_state.paid", |q| q.paid),
                ),
                state(
                    "unpaid",
                    "unpaid",
                    issued + paid,
                    unpaid,
                    quote("quotes-unpaid", "quotes_by_state.unpaid", |q| q.unpaid),
                ),
            ],
            figures: [
                Figure::new(
                    "Ehash issued",
                    Cell::amount("ehash-issued", "total_ehash_issued", stats.total_ehash_issued),
                    "redeemed by wallets",
                    badge.short,
                ),
                Figure::new(
                    "Ehash waiting",
                    amount("ehash-waiting", "amounts.paid", |amounts| amounts.paid),
                    "outstanding: paid for by shares, not redeemed yet",
                    badge.short,
                ),
                Figure::new(
                    "Ehash unpaid",
                    amount("ehash-unpaid", "amounts.unpaid", |amounts| amounts.unpaid),
                    "asked for, not paid",
                    badge.short,
                ),
            ],
        }
    }
}

/// The parts of the bar in thousandths: issued, paid, unpaid. A state that has any quotes can be seen.
fn widths(counts: PerState) -> [u64; 3] {
    const SEEN: u64 = 6;
    let counts = [counts.issued, counts.paid, counts.unpaid];
    let total: u128 = counts.iter().map(|count| u128::from(*count)).sum();
    if total == 0 {
        return [0; 3];
    }
    let mut widths = counts.map(|count| match u64::try_from(u128::from(count) * 1000 / total) {
        Ok(width) if count > 0 => width.max(SEEN),
        _ => 0,
    });
    // The widest takes what rounding left, or gives what the others were lifted by.
    let sum: u64 = widths.iter().sum();
    if let Some(widest) = widths.iter_mut().max() {
        *widest = (*widest + 1000).saturating_sub(sum);
    }
    widths
}

type Origin = Vec<(&'static str, Cell)>;

/// What only a pool has to tell, of its connection with the mint.
const OF_A_CONNECTION: [&str; 6] = [
    "mint-peer",
    "mint-proven",
    "received-at",
    "push-reason",
    "mint-restarts",
    "clock-skew",
];

fn origin(stats: &MintStats<'_>, host: Host) -> Origin {
    let mint = &stats.mint;
    let text = |id, field, text: Option<&str>| Cell::new(id, field, "text", text.map(str::to_owned));
    let proven = mint.proven.map(|proven| if proven { "yes" } else { "no" }.to_owned());
    let run = stats.run_id.map(|run| run.to_string());
    let interval = stats.interval_ms.map(|ms| format::span(Duration::from_millis(ms)));
    let stale_after = stats.stale_after_ms.map(|ms| format::span(Duration::from_millis(ms)));
    let skew = stats.clock_skew_ms.map(format::skew);
    let mut rows = vec![
        ("Mint's address", text("mint-peer", "mint.peer", mint.peer)),
        ("Mint's key", text("mint-key", "mint.public_key", mint.public_key)),
        ("Key proven", Cell::new("mint-proven", "mint.proven", "yesno", proven)),
        ("Snapshot taken", Cell::time("taken-at", "taken_at", stats.taken_at)),
        (
            "Snapshot received",
            Cell::time("received-at", "received_at", stats.received_at),
        ),
        (
            "Pushed because",
            text("push-reason", "reason", stats.reason.map(|reason| reason.as_str())),
        ),
        (
            "Pushed every",
            Cell::new("push-interval", "interval_ms", "span", interval),
        ),
        (
            "Stale after",
            Cell::new("stale-after", "stale_after_ms", "span", stale_after),
        ),
        ("Ledger version", Cell::count("sequence", "sequence", stats.sequence)),
        ("Run of the mint", text("run-id", "run_id", run.as_deref())),
        (
            "Restarts seen",
            Cell::count("mint-restarts", "mint.restarts", Some(mint.restarts)),
        ),
        (
            "Mint's clock ahead",
            Cell::new("clock-skew", "clock_skew_ms", "skew", skew),
        ),
    ];
    if host == Host::Mint {
        rows.retain(|(_, cell)| !OF_A_CONNECTION.contains(&cell.id));
    }
    rows
}

fn units_note(listed: usize, total: Option<u16>) -> String {
    match total.map(usize::from) {
        Some(total) if total > listed => format!("the newest {} of {}", listed, total),
        _ => "the newest first".to_owned(),
    }
}

/// A row of the table of units.
struct UnitRow<'a> {
    unit: &'a str,
    shown: Cow<'a, str>,
    cells: [(&'static str, String); 7],
}

impl<'a> UnitRow<'a> {
    fn new(unit: &Unit<'a>) -> Self {
        let (quotes, amounts) = (unit.quotes, unit.amounts);
        let last_issued = unit.last_issued_at.and_then(|at| format::readable(at.0));
        Self {
            unit: unit.unit,
            shown: format::shortened(unit.unit),
            cells: [
                ("Quotes issued", grouped(quotes.issued)),
                ("Quotes paid", grouped(quotes.paid)),
                ("Quotes unpaid", grouped(quotes.unpaid)),
                ("Amount issued", grouped(amounts.issued.0)),
                ("Amount paid", grouped(amounts.paid.0)),
                ("Amount unpaid", grouped(amounts.unpaid.0)),
                ("Last issued", last_issued.unwrap_or_else(|| "never".to_owned())),
            ],
        }
    }
}

/// The age as the badge tells it.
fn age_text(age: Option<Duration>) -> (Option<u64>, String) {
    (age.map(millis), age.map_or_else(|| UNKNOWN.to_owned(), format::age))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_full_and_shows_every_state_that_has_quotes() {
        let state = |issued, paid, unpaid| PerState { issued, paid, unpaid };
        assert_eq!(widths(state(0, 0, 0)), [0, 0, 0]);
        assert_eq!(widths(state(5, 0, 0)), [1000, 0, 0]);
        assert_eq!(widths(state(1, 1, 1)).iter().sum::<u64>(), 1000);
        assert_eq!(widths(state(1_000_000, 1, 0)), [994, 6, 0]);
        assert_eq!(widths(state(u64::MAX, u64::MAX, 1)).iter().sum::<u64>(), 1000);
    }

    #[test]
    fn units_that_found_no_room_are_told_of() {
        assert_eq!(units_note(250, Some(300)), "the newest 250 of 300");
        assert_eq!(units_note(2, Some(2)), "the newest first");
        assert_eq!(units_note(0, None), "the newest first");
    }
}
