//! The `pool` program: arguments in, [`pool::start`], exit code out.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use pool::PoolConfig;
use service::{CommonArgs, Service};
use tokio_util::sync::CancellationToken;

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
    let mut out = std::io::stdout();
    if args.print_authority_key {
        config.check()?;
        writeln!(out, "{}", pool::authority(&config)?.public())?;
        return Ok(());
    }
    let running = pool::start(config, stop).await?;
    writeln!(out, "mint-link={}", running.mint_link_address())?;
    writeln!(out, "dashboard={}", running.dashboard_address())?;
    out.flush()?;
    running.ended().await;
    Ok(())
}
