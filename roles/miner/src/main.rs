//! The `miner` program: arguments in, [`miner::start`] or one of the wallet's errands, exit code out.

mod commands;

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand};
use miner::{MinerConfig, Observer, Running};
use service::{CommonArgs, ConfigError, Service, say};
use tokio::time::{MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

/// How often the miner says how it is doing.
const REPORT: Duration = Duration::from_secs(5);

/// Mines for a pool that pays in ecash, and redeems what it earns
#[derive(Debug, Parser)]
#[command(name = "miner", version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    wallet: WalletArgs,
    #[command(flatten)]
    mining: MiningArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What every command needs.
#[derive(Debug, clap::Args)]
struct WalletArgs {
    /// The mint's Cashu API [default: the one the wallet was used with, at first http://127.0.0.1:3338]
    #[arg(long, value_name = "URL", global = true)]
    mint: Option<String>,
    /// Where the wallet keeps its seed and its ehash [default: data/miner]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct MiningArgs {
    /// The pool's mining port [default: 127.0.0.1:34254]
    #[arg(long, value_name = "HOST:PORT")]
    pool: Option<String>,
    /// The pool's public key, as `pool --print-authority-key` shows it
    #[arg(long, value_name = "KEY")]
    authority_key: Option<String>,
    /// The pool's page, where quotes are read that the pool has not told of
    #[arg(long, value_name = "URL")]
    pool_http: Option<String>,
    /// Threads that search [default: 1]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// A name for this machine, which the pool's page shows; the wallet is for one machine at a time
    #[arg(long, value_name = "NAME")]
    worker: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Redeem all that the wallet's key has earned at a pool, with whatever software it was mined
    Redeem {
        /// The pool's page, such as http://127.0.0.1:8081
        #[arg(long, value_name = "URL")]
        pool: String,
    },
    /// Print the key that a pool locks this wallet's quotes to: the user identity for other mining software
    Key,
    /// Print how much ehash the wallet holds
    Balance,
    /// Take ehash out of the wallet, as a Cashu token for another wallet
    Send {
        /// How much
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        amount: u64,
    },
    /// Put a Cashu token into the wallet
    Receive {
        /// The token [default, and if it is -: read from standard input, where no other user of this machine can see it]
        token: Option<String>,
    },
    /// Take back the tokens that `send` made and that nobody has received
    Reclaim,
}

impl Args {
    fn config(&self) -> Result<MinerConfig, ConfigError> {
        let mut config: MinerConfig = self.common.load()?;
        let MiningArgs {
            pool,
            authority_key,
            pool_http,
            threads,
            worker,
        } = &self.mining;
        if let Some(address) = pool {
            config.pool.address.clone_from(address);
        }
        if let Some(key) = authority_key {
            config.pool.authority_key = Some(parsed("--authority-key", key, ToString::to_string)?);
        }
        if let Some(url) = pool_http {
            config.pool.http_url = Some(url.clone());
        }
        if let Some(threads) = threads {
            config.hashing.threads = *threads;
        }
        if let Some(worker) = worker {
            config.pool.worker.clone_from(worker);
        }
        if let Some(url) = &self.wallet.mint {
            let expected = |_: &_| "expected a URL, such as http://127.0.0.1:3338".to_owned();
            config.wallet.mint_url = Some(parsed("--mint", url, expected)?);
        }
        if let Some(dir) = &self.wallet.data_dir {
            config.wallet.data_dir.clone_from(dir);
        }
        config.validate()?;
        Ok(config)
    }
}

/// The value of a flag; `explain` says what is allowed.
fn parsed<T: FromStr>(flag: &str, text: &str, explain: impl FnOnce(&T::Err) -> String) -> Result<T, ConfigError> {
    text.parse()
        .map_err(|error| ConfigError::invalid_outside_file(flag, format_args!("{text:?}"), explain(&error)))
}

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = if args.command.is_some() {
        "warn,cdk=error,cdk_sql_common=error"
    } else {
        "info,cdk=warn,cdk_sql_common=error"
    };
    Service::new("miner")
        .default_filter(filter)
        .run(&args.common, async |stop| run(&args, stop).await)
}

async fn run(args: &Args, stop: CancellationToken) -> anyhow::Result<()> {
    let config = args.config()?;
    match &args.command {
        None => mine(config, stop).await,
        Some(Command::Redeem { pool }) => commands::redeem(&config, pool, stop).await,
        Some(Command::Key) => commands::key(&config),
        Some(Command::Balance) => commands::balance(&config, stop).await,
        Some(Command::Send { amount }) => commands::send(&config, *amount, stop).await,
        Some(Command::Receive { token }) => commands::receive(&config, token.as_deref(), stop).await,
        Some(Command::Reclaim) => commands::reclaim(&config, stop).await,
    }
}

async fn mine(config: MinerConfig, stop: CancellationToken) -> anyhow::Result<()> {
    let running = miner::start(config, stop.clone()).await?;
    say(format_args!(
        "locking-key={}",
        hex::encode(running.redeemer().locking_key())
    ));
    tokio::select! {
        _ = stop.run_until_cancelled(report(&running)) => {}
        () = running.ended() => {}
    }
    running.ended().await;
    say(Observer::new(&running).look().await?);
    anyhow::ensure!(stop.is_cancelled(), "a part of the miner has crashed, see the log");
    Ok(())
}

/// Says how the miner is doing, every few seconds, for ever.
async fn report(miner: &Running) {
    let mut observer = Observer::new(miner);
    let mut clock = interval_at(tokio::time::Instant::now() + REPORT, REPORT);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        match observer.look().await {
            Ok(figures) => say(figures),
            Err(error) => tracing::warn!(%error, "the balance is not known"),
        }
    }
}
