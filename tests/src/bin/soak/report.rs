//! What is told at the end: to people as text, to machines as JSON, and to scripts as an exit code.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use stats_push::Reason;

use crate::{
    args::SoakArgs,
    audit::Audits,
    cost::{Files, Memory},
    faults,
    judge::Verdict,
    meter::Readings,
    place::Measured,
    run::Final,
    spread::Figures,
    system::Role,
};

/// Everything that a soak has found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) duration_s: f64,
    /// Whether Ctrl-C ended it early.
    pub(crate) interrupted: bool,
    pub(crate) synthetic: bool,
    /// Caches of so many pools are judged; everything else is of the first.
    pub(crate) pools: u64,
    pub(crate) interval_ms: u64,
    pub(crate) min_gap_ms: u64,
    /// Issuances, or changes, a second that were asked for.
    pub(crate) rate: f64,
    /// The most that this machine could issue a second, where that was measured.
    pub(crate) max_rate: Option<f64>,
    /// Issuances, or changes, while measuring.
    pub(crate) issued: u64,
    /// Requests of wallets that were sent again, and issuances whose answer got lost.
    pub(crate) retries: u64,
    pub(crate) unanswered: u64,
    /// Whether, at rest, cache, API and stream all equal the SQL aggregate in every figure.
    pub(crate) final_equal: bool,
    /// Snapshots seen that were compared with what was committed as their version.
    pub(crate) compared: u64,
    /// How many of those, and of everything else that is checked, were wrong.
    pub(crate) wrong: u64,
    /// In words, the first of each kind.
    pub(crate) complaints: Vec<String>,
    /// Stored totals against the SQL aggregate in one read transaction, under load.
    pub(crate) audits: Option<Audits>,
    pub(crate) staleness_ms: Places<Figures>,
    pub(crate) age_ms: Places<Figures>,
    /// From a commit until it, or a later one, was seen.
    pub(crate) delay_ms: Places<Figures>,
    /// How long nothing was shown at all.
    pub(crate) blank_s: Places<f64>,
    /// Answers of the API that were judged.
    pub(crate) http_samples: u64,
    /// Received by the pool, by reason.
    pub(crate) pushes: BTreeMap<&'static str, u64>,
    /// On the link, both directions, quotes included, encrypted.
    pub(crate) bytes: u64,
    pub(crate) frames: u64,
    pub(crate) cpu_s: Sides<f64>,
    pub(crate) rss_kib: Sides<Memory>,
    pub(crate) open_files: Sides<Files>,
    pub(crate) faults: faults::Count,
    /// Bounds that were given and broken.
    pub(crate) broken_bounds: Vec<String>,
}

/// One thing for each place; absent where nothing was seen.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Places<T> {
    pub(crate) cache: Option<T>,
    pub(crate) http: Option<T>,
    pub(crate) sse: Option<T>,
}

/// One thing for each side.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sides<T> {
    pub(crate) mint: T,
    pub(crate) pool: T,
}

impl Report {
    pub(crate) fn new(args: &SoakArgs, verdict: &Verdict, readings: &mut Readings, last: &Final) -> Self {
        let places = |of: fn(&Measured) -> Option<Figures>| Places {
            cache: of(&verdict.cache),
            http: of(&verdict.http),
            sse: of(&verdict.sse),
        };
        let blank = |measured: &Measured| Some(measured.blank as f64 / 1e9);
        let (mint, pool) = (&readings.side(Role::Mint).cost, (Role::Pool));
        let (mint_cpu, mint_memory, mint_files) = (mint.cpu(), mint.memory(), mint.files());
        let pool = &readings.side(pool).cost;
        let cpu_s = Sides {
            mint: mint_cpu,
            pool: pool.cpu(),
        };
        let rss_kib = Sides {
            mint: mint_memory,
            pool: pool.memory(),
        };
        let open_files = Sides {
            mint: mint_files,
            pool: pool.files(),
        };
        let counters = &readings.counters;
        let pushes = Reason::ALL.map(|reason| (reason.as_str(), counters.received(reason)));
        let both = |what: &str| {
            ["read", "written"]
                .map(|way| counters.get(&format!("ehash_link_{what}_{way}_total")))
                .iter()
                .sum()
        };
        let mut report = Self {
            duration_s: verdict.lasted as f64 / 1e9,
            interrupted: false,
            synthetic: args.synthetic,
            pools: args.pools,
            interval_ms: args.interval_ms,
            min_gap_ms: args.min_gap_ms,
            rate: 0.0,
            max_rate: None,
            issued: 0,
            retries: 0,
            unanswered: 0,
            final_equal: last.equal,
            compared: [&verdict.cache, &verdict.http, &verdict.sse]
                .iter()
                .map(|place| place.compared)
                .sum(),
            wrong: verdict.wrong,
            complaints: verdict.complaints.iter().chain(&last.differences).cloned().collect(),
            audits: None,
            staleness_ms: places(|measured| measured.staleness.figures()),
            age_ms: places(|measured| measured.age.figures()),
            delay_ms: places(|measured| measured.delay.figures()),
            blank_s: Places {
                cache: blank(&verdict.cache),
                http: None,
                sse: blank(&verdict.sse),
            },
            http_samples: verdict.http.staleness.weight() as u64,
            pushes: pushes.into(),
            bytes: both("bytes"),
            frames: both("frames"),
            cpu_s,
            rss_kib,
            open_files,
            faults: faults::Count::new(),
            broken_bounds: Vec::new(),
        };
        report.broken_bounds = report.broken(args);
        report
    }

    /// Whether every figure was right and every bound was kept.
    pub(crate) fn is_good(&self) -> bool {
        let audits = self
            .audits
            .is_none_or(|audits| audits.made > 0 && audits.made == audits.equal);
        self.final_equal && self.wrong == 0 && self.compared > 0 && audits && self.broken_bounds.is_empty()
    }

    fn broken(&self, args: &SoakArgs) -> Vec<String> {
        let mut broken = Vec::new();
        if let Some(max) = args.max_p99 {
            let max = max.as_secs_f64() * 1e3;
            match &self.staleness_ms.cache {
                Some(figures) if figures.p99 <= max => {}
                Some(figures) => broken.push(format!(
                    "staleness p99 {:.2} ms, at most {max} ms are good",
                    figures.p99
                )),
                None => broken.push("staleness p99: not measured".into()),
            }
        }
        if let Some(max) = args.max_rss_slope {
            for (side, memory) in [("mint", &self.rss_kib.mint), ("pool", &self.rss_kib.pool)] {
                match memory.slope_per_min {
                    Some(slope) if slope <= max => {}
                    Some(slope) => broken.push(format!(
                        "the {side} grows {slope:.0} KiB a minute, at most {max} are good"
                    )),
                    None => broken.push(format!("the {side}'s growth: too short to tell")),
                }
            }
        }
        broken
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.heading(f)?;
        writeln!(
            f,
            "\n{:<34}{:>9}{:>10}{:>10}{:>10}{:>11}",
            "milliseconds", "mean", "p50", "p99", "p99.9", "max"
        )?;
        for (what, places) in [
            ("staleness", &self.staleness_ms),
            ("age of information", &self.age_ms),
            ("commit to seen", &self.delay_ms),
        ] {
            for (place, figures) in [("cache", &places.cache), ("API", &places.http), ("stream", &places.sse)] {
                if let Some(Figures {
                    mean,
                    p50,
                    p99,
                    p999,
                    max,
                }) = figures
                {
                    let name = format!("{what}, {place}");
                    writeln!(f, "{name:<34}{mean:>9.2}{p50:>10.2}{p99:>10.2}{p999:>10.2}{max:>11.2}")?;
                }
            }
        }
        self.costs(f)?;
        self.verdict(f)
    }
}

impl Report {
    fn heading(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, how) = match self.synthetic {
            true => ("changes", "a ledger without a mint"),
            false => ("issuances", "wallets over HTTP"),
        };
        let early = if self.interrupted { ", ended early" } else { "" };
        let rate = self.issued as f64 / self.duration_s.max(f64::MIN_POSITIVE);
        writeln!(
            f,
            "{:.0} s{early}: {} {what} by {how}, {rate:.1} a second of {:.1} asked for; a push every {} ms and {} ms apart",
            self.duration_s, self.issued, self.rate, self.interval_ms, self.min_gap_ms,
        )?;
        if self.pools > 1 {
            writeln!(
                f,
                "caches are those of {} pools, everything else is of the first",
                self.pools
            )?;
        }
        if let Some(most) = self.max_rate {
            writeln!(f, "the most that could be issued here was {most:.0} a second")?;
        }
        if !self.faults.is_empty() {
            let faults: Vec<_> = self
                .faults
                .iter()
                .map(|(fault, count)| format!("{count} {fault}"))
                .collect();
            writeln!(
                f,
                "faults: {}; {} requests of wallets sent again",
                faults.join(", "),
                self.retries
            )?;
        }
        Ok(())
    }

    fn costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pushes: Vec<_> = self.pushes.iter().filter(|(_, count)| **count > 0).collect();
        let pushes: Vec<_> = pushes
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        writeln!(
            f,
            "\npushes: {}; {} frames and {} bytes on the link",
            pushes.join(", "),
            self.frames,
            self.bytes
        )?;
        for (side, cpu, memory, files) in [
            ("mint", self.cpu_s.mint, &self.rss_kib.mint, &self.open_files.mint),
            ("pool", self.cpu_s.pool, &self.rss_kib.pool, &self.open_files.pool),
        ] {
            let slope = match (memory.slope_per_min, memory.slope_error) {
                (Some(slope), Some(error)) => format!("{slope:+.0} ± {error:.0} KiB a minute"),
                _ => "too short for a slope".into(),
            };
            writeln!(
                f,
                "{side}: {cpu:.2} s of CPU ({:.1} %), memory {:.1} to {:.1} MiB ({slope}), open files {} to {}, at most {}",
                100.0 * cpu / self.duration_s.max(f64::MIN_POSITIVE),
                memory.start as f64 / 1024.0,
                memory.end as f64 / 1024.0,
                files.start,
                files.end,
                files.max,
            )?;
        }
        Ok(())
    }

    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\n{} snapshots seen and compared with what was committed, {} wrong",
            self.compared, self.wrong
        )?;
        if let Some(Audits { made, equal }) = self.audits {
            write!(f, "; {equal} of {made} audits of the database equal")?;
        }
        let equal = if self.final_equal { "equal" } else { "DIFFERENT" };
        writeln!(f, "; at rest every figure of cache, API and stream is {equal}")?;
        for complaint in self.complaints.iter().chain(&self.broken_bounds) {
            writeln!(f, "  {complaint}")?;
        }
        writeln!(f, "{}", if self.is_good() { "good" } else { "NOT GOOD" })
    }
}
