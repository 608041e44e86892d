//! The `devnet` program.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use devnet::{DevnetConfig, Running};
use service::{CommonArgs, Service, remark, say};
use tokio_util::sync::CancellationToken;

/// A mint, a pool, a miner and a wallet in one process: real parts, invented blocks, a page to watch them.
#[derive(Parser)]
#[command(name = "devnet", version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
    /// Keep everything in this directory and go on from there next time [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where the pool's page is served [default: 127.0.0.1:8081]; port 0 takes a free one, here and below
    #[arg(long, value_name = "ADDR")]
    dashboard: Option<SocketAddr>,
    /// Where the mint's Cashu API is served [default: 127.0.0.1:3338]
    #[arg(long, value_name = "ADDR")]
    mint_http: Option<SocketAddr>,
    /// Where the mint's own page is served [default: 127.0.0.1:8082]
    #[arg(long, value_name = "ADDR")]
    mint_dashboard: Option<SocketAddr>,
    /// Where the pool listens for miners, of which devnet's own is one [default: 127.0.0.1:34254]
    #[arg(long, value_name = "ADDR")]
    mining: Option<SocketAddr>,
    /// Where the pool listens for its mint [default: 127.0.0.1:34260]
    #[arg(long, value_name = "ADDR")]
    mint_link: Option<SocketAddr>,
    /// Stop after this time, such as 60s or 10m [default: run until Ctrl-C]
    #[arg(long, value_name = "TIME", value_parser = service::duration::parse)]
    duration: Option<Duration>,
}

impl Args {
    fn config(&self) -> Result<DevnetConfig, service::ConfigError> {
        let mut config: DevnetConfig = self.common.load()?;
        let listen = &mut config.listen;
        for (address, flag) in [
            (&mut listen.dashboard, self.dashboard),
            (&mut listen.mint_http, self.mint_http),
            (&mut listen.mint_dashboard, self.mint_dashboard),
            (&mut listen.mining, self.mining),
            (&mut listen.mint_link, self.mint_link),
        ] {
            *address = flag.unwrap_or(*address);
        }
        config.data_dir = self.data_dir.clone().or(config.data_dir);
        Ok(config)
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    Service::new("devnet")
        .default_filter("warn,cdk_sqlite=off,cdk_sql_common=off")
        .run(&args.common, async |stop| {
            let config = args.config()?;
            let running = devnet::start(config, stop.clone()).await?;
            run(&running, args.duration, stop).await;
            Ok(())
        })
}

async fn run(running: &Running, duration: Option<Duration>, stop: CancellationToken) {
    for (name, address) in running.addresses() {
        say(format_args!("{name}={address}"));
    }
    say(format_args!("authority-key={}", running.authority_key()));
    let [(_, dashboard), ..] = running.addresses();
    remark(format_args!(
        "devnet: open http://{dashboard} and watch quotes being redeemed; Ctrl-C stops"
    ));
    let time_is_up = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = devnet::report(running) => {}
        () = stop.cancelled() => {}
        () = time_is_up => {}
    }
    remark("devnet: stopping: hashing first, then what is under way, then mint and pool");
    stop.cancel();
    running.ended().await;
    say(running.figures());
}
