//! The comparison as one table.

use std::fmt;

use serde::Serialize;

use super::{Method, ROUNDS, Row};
use crate::{clock::Nanos, spread::Spread};

/// The table.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    rate: f64,
    pub(super) rows: Vec<Line>,
    /// What was not measured, and why.
    missing: Vec<String>,
    complaints: Vec<String>,
    wrong: u64,
}

/// A row as it is told: per second of its slices, CPU in per cent of one core.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) method: String,
    seconds: f64,
    issued_per_s: f64,
    staleness_mean_ms: f64,
    staleness_p99_ms: f64,
    /// How much staler than the push, in the mean.
    times_push: f64,
    messages_per_s: f64,
    bytes_per_s: f64,
    mint_cpu_percent: f64,
    pool_cpu_percent: f64,
    /// In what part of the time staleness was at most so many milliseconds.
    pub(super) staleness_shares: Vec<(f64, f64)>,
}

/// The staleness that the shares are told for: from 10 us to 10 s in equal steps of the logarithm, 24 to each tenfold.
pub(super) const SHARES_MS: std::ops::Range<f64> = 0.01..10_000.0;
const SHARES: i32 = 6 * 24;

fn shares(staleness: &Spread) -> Vec<(f64, f64)> {
    let millis = (0..=SHARES).map(|step| SHARES_MS.start * 10_f64.powf(f64::from(step) / 24.0));
    millis
        .map(|ms| (ms, staleness.share_up_to((ms * 1e6) as Nanos)))
        .collect()
}

impl Table {
    pub(super) fn of(rate: f64, rows: Vec<Row>, missing: Vec<String>) -> Self {
        let measured = |row: &&Row| row.seconds > 0.0;
        let push = rows.iter().filter(measured).find(|row| row.method == Method::Push);
        let push = push
            .and_then(|row| row.staleness.figures())
            .map_or(f64::NAN, |figures| figures.mean);
        let lines = rows.iter().filter(measured).filter_map(|row| {
            let figures = row.staleness.figures()?;
            Some(Line {
                method: row.method.to_string(),
                seconds: row.seconds,
                issued_per_s: row.issued as f64 / row.seconds,
                staleness_mean_ms: figures.mean,
                staleness_p99_ms: figures.p99,
                times_push: figures.mean / push,
                messages_per_s: row.messages as f64 / row.seconds,
                bytes_per_s: row.bytes as f64 / row.seconds,
                mint_cpu_percent: 100.0 * row.cpu[0] / row.seconds,
                pool_cpu_percent: 100.0 * row.cpu[1] / row.seconds,
                staleness_shares: shares(&row.staleness),
            })
        });
        Self {
            rate,
            rows: lines.collect(),
            missing,
            wrong: rows.iter().map(|row| row.wrong).sum(),
            complaints: rows.into_iter().flat_map(|row| row.complaints).collect(),
        }
    }

    /// Whether every figure that was shown was right.
    pub(crate) fn is_good(&self) -> bool {
        self.wrong == 0 && !self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slices: f64 = self.rows.iter().map(|row| row.seconds).fold(f64::INFINITY, f64::min);
        writeln!(
            f,
            "{} issuances a second, {slices:.0} s of each method in {ROUNDS} slices; CPU in % of a core\n",
            self.rate
        )?;
        writeln!(
            f,
            "{:<36}{:>12}{:>12}{:>10}{:>12}{:>10}{:>11}{:>11}",
            "method", "stale: mean", "p99", "to push", "messages/s", "bytes/s", "CPU mint", "CPU pool"
        )?;
        for row in &self.rows {
            writeln!(
                f,
                "{:<36}{:>9.3} ms{:>9.1} ms{:>9.0}x{:>12.2}{:>10.0}{:>9.2} %{:>9.2} %",
                row.method,
                row.staleness_mean_ms,
                row.staleness_p99_ms,
                row.times_push,
                row.messages_per_s,
                row.bytes_per_s,
                row.mint_cpu_percent,
                row.pool_cpu_percent,
            )?;
        }
        for line in self.missing.iter().chain(&self.complaints) {
            writeln!(f, "{line}")?;
        }
        writeln!(
            f,
            "{}",
            if self.is_good() {
                "every figure shown was right"
            } else {
                "NOT GOOD: figures were wrong"
            }
        )
    }
}
