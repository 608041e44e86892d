//! How it goes, on standard error: one line that is written anew each second on a terminal, and a line every ten seconds
//! elsewhere.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use crate::{faults::Fault, judge::Judge, meter::Meter, system::Role};

/// Lines apart, where there is no terminal.
const QUIET: Duration = Duration::from_secs(10);

pub(crate) struct Progress {
    started: Instant,
    told: Instant,
    duration: Duration,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new(duration: Duration) -> Self {
        let now = Instant::now();
        Self {
            started: now,
            told: now,
            duration,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    pub(crate) fn tell(&mut self, issued: u64, judge: &Judge, meter: &Meter, fault: Option<Fault>) {
        if !self.terminal && self.told.elapsed() < QUIET {
            return;
        }
        self.told = Instant::now();
        let seconds = self.started.elapsed().as_secs();
        let (stale, wrong) = {
            let state = judge.lock();
            let places = state.caches().chain([&state.http, &state.sse]);
            let wrong: u64 = places.map(|place| place.measured.wrong).sum();
            (state.cache.measured.staleness.figures(), wrong)
        };
        let stale = stale.map_or("–".to_owned(), |stale| {
            format!("{:.2} ms, p99 {:.1} ms", stale.mean, stale.p99)
        });
        let [mint, pool] = {
            let mut readings = meter.lock();
            [Role::Mint, Role::Pool].map(|role| readings.side(role).mebibytes())
        };
        let fault = fault.map_or(String::new(), |fault| format!(", last fault {}", fault.as_str()));
        let line = format!(
            "{seconds:>5} of {} s: {issued} issued, stale {stale}, mint {mint:.0} MiB, pool {pool:.0} MiB, {wrong} wrong{fault}",
            self.duration.as_secs(),
        );
        // A terminal that is gone is no reason to stop.
        let _ = if self.terminal {
            write!(std::io::stderr(), "\r\x1b[K{line}")
        } else {
            writeln!(std::io::stderr(), "{line}")
        };
    }

    pub(crate) fn end(&self) {
        if self.terminal {
            eprintln!();
        }
    }
}
