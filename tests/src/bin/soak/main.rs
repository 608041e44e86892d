//! `soak`: a mint and a pool as processes under load, how old the figures are that the pool shows, and what that costs.
//!
//! ```text
//! wallets ─ HTTP ─▶ mint ═ Noise ═ proxy ═ Noise ═▶ pool ─▶ cache ─▶ API ◀─ asked at random moments
//!    ▲               │ stamps each commit             │          └─▶ stream ─▶ followed
//!    └── quotes ◀── outbox ◀── shares                 │ stamps each snapshot
//!                    └──────────▶ judge ◀─────────────┘
//! ```
//!
//! **What is measured where.** All moments are of `CLOCK_MONOTONIC`, which the processes of a machine share ([`clock`]).
//! - A *commit* is stamped in the mint's process, on the thread that committed, when the commit has returned and before
//!   any push is scheduled ([`child`]). No observer has to wake up for it.
//! - The *cache* is stamped by the link as it receives a snapshot, in the pool's process, microseconds before the cache
//!   holds it.
//! - The *API* is asked at random moments (Poisson, 20 a second), and judged when the answer is there. The *stream* is
//!   judged when an event has arrived in this process.
//!
//! **Staleness** at a moment is how long what is shown has differed from what is committed: 0 while it is the newest
//! version, else the time since the first commit that it lacks. **Age** is the time since the shown snapshot was taken; the
//! mint tells that moment in whole milliseconds, cut off, so age is half a millisecond too high on average. Cache and
//! stream are integrated over time from every change, not sampled; quantiles are of time ([`spread`]). The API's are of
//! its answers, of which random moments make a fair sample of time. **Commit to seen** is a commit's own delay, each commit
//! counting once. While nothing is shown (a pool that was killed), nothing is stale; that time is told apart.
//!
//! **What is compared.** Every snapshot seen, at every place, with the figures that were committed as its version; those
//! with the SQL aggregate in one read transaction, every five seconds ([`audit`]); at the end, at rest, all places with
//! another SQL aggregate.

mod args;
mod audit;
mod child;
mod compare;
mod cost;
mod faults;
mod judge;
mod load;
mod meter;
mod place;
mod process;
mod progress;
mod readers;
mod record;
mod report;
mod run;
mod spread;
mod system;
mod truth;
mod wallet;

use std::{fmt::Display, io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Parser as _;
use serde::Serialize;
use system_tests::clock;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::{Cli, Internal, SoakArgs};

fn main() -> ExitCode {
    match Cli::parse() {
        Cli {
            internal: Some(Internal::Child(role)),
            ..
        } => child::run(role),
        Cli { args, internal: None } => match soak(&args) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("soak: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

/// Whether all was good.
fn soak(args: &SoakArgs) -> anyhow::Result<bool> {
    args.check()?;
    let (dir, temporary) = data_dir(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let stop = stop_on_signals()?;
        if !args.compare {
            return told(args, &run::soak(args, dir, stop).await?, report::Report::is_good);
        }
        let table = compare::compare(args, dir, stop).await?;
        if let Some(path) = &args.svg {
            table.draw(path)?;
        }
        told(args, &table, compare::Table::is_good)
    });
    if !matches!(outcome, Ok(true))
        && let Some(temporary) = temporary
    {
        eprintln!("soak: data and logs are kept in {}", temporary.keep().display());
    }
    outcome
}

/// Prints the report, writes its JSON, and says whether it is good.
fn told<R: Display + Serialize>(args: &SoakArgs, report: &R, is_good: fn(&R) -> bool) -> anyhow::Result<bool> {
    writeln!(std::io::stdout(), "{report}")?;
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(report)?;
        std::fs::write(path, text + "\n").with_context(|| path.display().to_string())?;
    }
    Ok(is_good(report))
}

/// The first SIGINT or SIGTERM ends the measuring in order. After a second one the children see the end of their input.
fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn({
        let stop = stop.clone();
        async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if stop.is_cancelled() {
                    std::process::exit(130);
                }
                eprintln!("\nsoak: ending early; once more ends at once");
                stop.cancel();
            }
        }
    });
    Ok(stop)
}

/// On the disk at hand, since a `tmpfs` would make commits cheaper than they are.
fn data_dir(args: &SoakArgs) -> anyhow::Result<(PathBuf, Option<TempDir>)> {
    if let Some(dir) = &args.data_dir {
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        return Ok((std::path::absolute(dir)?, None));
    }
    let dir = tempfile::Builder::new()
        .prefix("soak-data-")
        .tempdir_in(".")
        .context("a directory for the data")?;
    Ok((std::path::absolute(dir.path())?, Some(dir)))
}
