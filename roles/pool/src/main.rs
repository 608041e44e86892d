//! The `pool` program: arguments in, [`pool::start`], exit code out.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use pool::{Mints, PoolConfig};
use service::{CommonArgs, Service, say};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A mining pool that pays in ecash: asks its mint for a quote for every share, and shows live what the mint has issued
#[derive(Debug, Parser)]
#[command(name = "pool", version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,

    /// Print the pool's authority public key, which mints pin, and exit; makes the key if there is none
    #[arg(long)]
    print_authority_key: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    Service::new("pool").run(&args.common, async |stop| run(&args, stop).await)
}

async fn run(args: &Args, stop: CancellationToken) -> anyhow::Result<()> {
    let config: PoolConfig = args.common.load()?;
    if args.print_authority_key {
        config.check()?;
        writeln!(std::io::stdout(), "{}", pool::authority(&config)?.public())?;
        return Ok(());
    }
    let mut hangups = signal(SignalKind::hangup()).context("SIGHUP can't be waited for")?;
    let running = pool::start(config, stop.clone()).await?;
    say(format_args!("mint-link={}", running.mint_link_address()));
    say(format_args!("mining={}", running.mining_address()));
    say(format_args!("dashboard={}", running.dashboard_address()));
    let mints = running.mints().clone();
    let reloading = async {
        while hangups.recv().await.is_some() {
            reload(args, &mints);
        }
        std::future::pending().await
    };
    tokio::select! {
        () = running.ended() => {}
        () = reloading => {}
    }
    anyhow::ensure!(stop.is_cancelled(), "a part of the pool has crashed, see the log");
    Ok(())
}

/// Reads the list of mints anew. The pool goes on with the old one if the file does not allow it.
fn reload(args: &Args, mints: &Mints) {
    match args.common.load().and_then(|config| mints.apply(config)) {
        Ok(true) => info!("SIGHUP: the list of mints has changed; other keys of the file need a restart"),
        Ok(false) => info!("SIGHUP: the list of mints is what it was; other keys of the file need a restart"),
        Err(error) => warn!("SIGHUP: the list of mints stays as it was: {error}"),
    }
}
