//! The roles as children of soak: what the programs `mint` and `pool` run, with an observer in the same process.
//!
//! A role is started by the `start` that its program calls, on a configuration file of its own. The observer costs two
//! microseconds a commit and a change of the cache, and is part of what is measured. A child ends in order when its
//! standard input closes, so none outlives its parent, however that ends.

mod commits;
mod ledger;
mod observer;
mod poller;

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Subcommand;
use mint::MintConfig;
use pool::PoolConfig;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

pub(crate) use ledger::{LedgerArgs, totals_at};
pub(crate) use observer::AskerArgs;
pub(crate) use poller::PollerArgs;

use crate::record::Record;

/// How long work that was left behind may hold up the exit.
const LEFTOVERS: Duration = Duration::from_millis(500);

/// Which role this process plays.
#[derive(Debug, Subcommand)]
pub(crate) enum Child {
    /// A mint
    Mint { config: PathBuf },
    /// A pool
    Pool { config: PathBuf },
    /// A ledger without a mint, driven at a rate, and its links
    Ledger(LedgerArgs),
    /// A pool's end of the link and nothing else, that asks for its snapshots
    Asker(AskerArgs),
    /// Asks over HTTP, again and again
    Poller(PollerArgs),
}

/// Plays the role until the parent closes standard input.
pub(crate) fn run(role: Child) -> ExitCode {
    match play(role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn play(role: Child) -> anyhow::Result<()> {
    commits::observe()?;
    // As many workers as `service::Service` gives the programs.
    let workers = std::thread::available_parallelism().map_or(1, usize::from).max(4);
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?;
    let stop = stop_with_parent()?;
    let outcome = runtime.block_on(async {
        match role {
            Child::Mint { config } => mint(&config, stop).await,
            Child::Pool { config } => pool(&config, stop).await,
            Child::Ledger(args) => ledger::run(args, stop).await,
            Child::Asker(args) => observer::ask(args, stop).await,
            Child::Poller(args) => poller::run(args, stop).await,
        }
    });
    runtime.shutdown_timeout(LEFTOVERS);
    outcome
}

/// A token that is cancelled when standard input is at its end.
fn stop_with_parent() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    std::thread::Builder::new().name("parent".into()).spawn(move || {
        let _guard = guard;
        // Nothing is ever written there; an error is an end, too.
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
    })?;
    Ok(stop)
}

async fn mint(config: &Path, stop: CancellationToken) -> anyhow::Result<()> {
    let config: MintConfig = service::load(config)?;
    let running = mint::start(config, stop).await?;
    let totals = running.ledger().subscribe().borrow().clone();
    Record::Found {
        version: totals.version,
        totals: totals.ehash,
    }
    .tell();
    Record::Ready.tell();
    running.ended().await;
    Ok(())
}

async fn pool(config: &Path, stop: CancellationToken) -> anyhow::Result<()> {
    let config: PoolConfig = service::load(config)?;
    let running = pool::start(config, stop).await?;
    let observer = tokio::spawn(observer::watch(running.cache().clone()));
    Record::Ready.tell();
    running.ended().await;
    observer.abort();
    Ok(())
}
