//! The `mint` program: arguments in, [`mint::start`], exit code out.

use std::{io::Write as _, process::ExitCode};

use clap::Parser;
use mint::MintConfig;
use service::{CommonArgs, Service, say};
use tokio_util::sync::CancellationToken;

/// A Cashu mint that issues ecash for the shares of mining pools, and pushes live to them what it has issued
#[derive(Debug, Parser)]
#[command(name = "mint", version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,

    /// Print the mint's public key, which pools pin, and exit; makes the key if there is none
    #[arg(long, group = "task")]
    print_public_key: bool,

    /// Compare the ledger's totals with the database in one read transaction, and exit; with 1 if they differ
    #[arg(long, group = "task")]
    audit: bool,

    /// Count all quotes anew, after the database was changed by hand, and exit; the mint must not run
    #[arg(long, group = "task")]
    rebase: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    Service::new("mint").run(&args.common, async |stop| run(&args, stop).await)
}

async fn run(args: &Args, stop: CancellationToken) -> anyhow::Result<()> {
    let config: MintConfig = args.common.load()?;
    config.check()?;
    let mut out = std::io::stdout();
    if args.print_public_key {
        writeln!(out, "{}", mint::public_key(&config)?)?;
        return Ok(());
    }
    if args.audit || args.rebase {
        let audit = if args.rebase {
            mint::rebase(&config).await?
        } else {
            mint::audit(&config)?
        };
        anyhow::ensure!(audit.is_consistent(), "{audit}");
        writeln!(out, "{audit}")?;
        return Ok(());
    }
    let running = mint::start(config, stop.clone()).await?;
    say(format_args!("mint-http={}", running.http_address()));
    say(format_args!("mint-dashboard={}", running.dashboard_address()));
    running.ended().await;
    anyhow::ensure!(stop.is_cancelled(), "a part of the mint has crashed, see the log");
    Ok(())
}
