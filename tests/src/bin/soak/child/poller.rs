//! What one would do without a push: ask again and again over HTTP, and show the last answer.
//!
//! Either the mint's own API, or Prometheus, which has scraped the mint some time ago. One connection is kept, and every
//! byte of it counted.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;
use stats_push::{EhashTotals, PerState};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{clock, place::Shown, readers, record::Record};

const ANSWER: Duration = Duration::from_secs(5);
/// Far beyond what is answered.
const LONGEST: usize = 1024 * 1024;
/// The newest samples of the mint's totals, all of one scrape.
const QUERY: &str = "/api/v1/query?query=%7B__name__%3D~%22ehash_mint_(quotes_redeemed%7Cquotes%7Camount)%22%7D";

/// For who asks over HTTP.
#[derive(Debug, Args)]
pub(crate) struct PollerArgs {
    /// What is asked
    whom: Whom,
    /// Where it listens
    address: String,
    /// From one question to the next, in milliseconds
    period_ms: u64,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Whom {
    /// The API beside the mint's own page
    Mint,
    /// Prometheus
    Prometheus,
}

/// Asks until the stop.
pub(super) async fn run(args: PollerArgs, stop: CancellationToken) -> anyhow::Result<()> {
    Record::Ready.tell();
    let mut ticks = interval(Duration::from_millis(args.period_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return Ok(()),
        }
        // Without an answer the last one stays on the page; the next question opens the connection anew.
        connection = match timeout(ANSWER, ask(&args, connection.take())).await {
            Ok(Ok(connection)) => Some(connection),
            Ok(Err(_)) | Err(_) => None,
        };
    }
}

async fn ask(args: &PollerArgs, connection: Option<TcpStream>) -> anyhow::Result<TcpStream> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => TcpStream::connect(&args.address).await?,
    };
    let path = match args.whom {
        Whom::Mint => "/api/v1/mint/stats",
        Whom::Prometheus => QUERY,
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\naccept: application/json\r\n\r\n",
        args.address
    );
    connection.write_all(request.as_bytes()).await?;
    let (body, length) = answer(&mut connection).await?;
    Record::Traffic {
        messages: 2,
        bytes: (request.len() + length) as u64,
    }
    .tell();
    let answer: Value = serde_json::from_slice(&body).context("JSON")?;
    match args.whom {
        Whom::Mint => {
            let shown = readers::shown(&answer).context("nothing is known")?;
            let Shown {
                at,
                taken,
                version,
                totals,
            } = shown;
            Record::Shows {
                at,
                taken,
                version: Some(version),
                answers: false,
                totals,
            }
            .tell();
        }
        Whom::Prometheus => {
            let (at, totals) = (clock::now(), totals(&answer).context("no samples")?);
            Record::Shows {
                at,
                taken: at,
                version: None,
                answers: false,
                totals,
            }
            .tell();
        }
    }
    Ok(connection)
}

/// The body of an answer with a content length, and how long it was with its header.
async fn answer(connection: &mut TcpStream) -> anyhow::Result<(Vec<u8>, usize)> {
    let mut answer = Vec::new();
    let header = loop {
        if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        read(connection, &mut answer).await?;
    };
    let text = String::from_utf8_lossy(answer.get(..header).unwrap_or_default()).to_lowercase();
    anyhow::ensure!(text.starts_with("http/1.1 200"), "no good answer: {text}");
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.context("no content length")?.trim().parse()?;
    while answer.len() < header + length {
        read(connection, &mut answer).await?;
    }
    let body = answer.split_off(header);
    Ok((body, header + length))
}

async fn read(connection: &mut TcpStream, answer: &mut Vec<u8>) -> anyhow::Result<()> {
    if connection.read_buf(answer).await? == 0 || answer.len() > LONGEST {
        bail!("the answer is cut short, or too long");
    }
    Ok(())
}

/// The totals in an answer of Prometheus.
fn totals(answer: &Value) -> Option<EhashTotals> {
    let samples = answer.get("data")?.get("result")?.as_array()?;
    let sample = |name: &str, state: Option<&str>| {
        let is_it = |sample: &&Value| {
            let label = |label: &str| sample.get("metric")?.get(label)?.as_str();
            label("__name__") == Some(name) && label("state") == state
        };
        let value = samples.iter().find(is_it)?.get("value")?.get(1)?.as_str()?;
        Some(value.parse::<f64>().ok()? as u64)
    };
    let per_state = |name: &str| {
        Some(PerState {
            unpaid: sample(name, Some("unpaid"))?,
            paid: sample(name, Some("paid"))?,
            issued: sample(name, Some("issued"))?,
        })
    };
    Some(EhashTotals {
        quotes_redeemed: sample("ehash_mint_quotes_redeemed", None)?,
        quotes: per_state("ehash_mint_quotes")?,
        amounts: per_state("ehash_mint_amount")?,
    })
}
