//! Compares what a pool's page shows with the mint's own file, once mining has stopped and everything is redeemed:
//! `scripts/interop` runs it. Prints a table, and exits with 1 if a line of it differs.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Parser;
use serde_json::Value;
use system_tests::{Truth, json, stats, truth};
use tokio::time;

/// The page follows the mint within milliseconds; this is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Compares what a pool's page shows with the mint's database
#[derive(Debug, Parser)]
struct Args {
    /// The pool's page, as host:port
    #[arg(long)]
    dashboard: String,
    /// The mint's database
    #[arg(long)]
    database: PathBuf,
    /// What a wallet holds; once for each
    #[arg(long)]
    balance: Vec<u64>,
}

/// What should be the same, as it is here and there.
struct Line(&'static str, Option<u64>, Option<u64>);

impl Line {
    fn agrees(&self) -> bool {
        self.1.is_some() && self.1 == self.2
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let begin = Instant::now();
    let lines = loop {
        let lines = compare(&args).await?;
        if lines.iter().all(Line::agrees) || begin.elapsed() > PATIENCE {
            break lines;
        }
        time::sleep(Duration::from_millis(250)).await;
    };
    print(&lines)?;
    Ok(if lines.iter().all(Line::agrees) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn compare(args: &Args) -> anyhow::Result<Vec<Line>> {
    let shown = stats(&args.dashboard)
        .await
        .context("the pool's page does not answer")?;
    let pool = json(&args.dashboard, "/api/v1/pool")
        .await
        .context("the pool does not tell of itself")?;
    let page = Truth::shown(&shown);
    let file = truth(&args.database);
    let quotes = file.quotes.iter().sum();
    let count = |path: &str| pool.pointer(path).and_then(Value::as_u64);
    let refused = pool.pointer("/quotes/refused").and_then(Value::as_object);
    let refused = refused.map(|reasons| reasons.values().filter_map(Value::as_u64).sum());
    let [unpaid, paid, issued] = [0, 1, 2].map(|state| move |of: &[u64; 3]| of.get(state).copied());
    let shown = |figure: &dyn Fn(&Truth) -> Option<u64>| page.as_ref().and_then(figure);
    let without_key = count("/shares/without_key");
    let paying = count("/shares/accepted")
        .zip(without_key)
        .map(|(all, unpaid)| all.saturating_sub(unpaid));
    let mut lines = vec![
        Line(
            "quotes redeemed",
            shown(&|page| Some(page.redeemed)),
            Some(file.redeemed),
        ),
        Line(
            "quotes unpaid",
            shown(&|page| unpaid(&page.quotes)),
            unpaid(&file.quotes),
        ),
        Line(
            "quotes paid, not redeemed",
            shown(&|page| paid(&page.quotes)),
            paid(&file.quotes),
        ),
        Line(
            "quotes issued",
            shown(&|page| issued(&page.quotes)),
            issued(&file.quotes),
        ),
        Line(
            "ehash unpaid",
            shown(&|page| unpaid(&page.amounts)),
            unpaid(&file.amounts),
        ),
        Line(
            "ehash paid, not redeemed",
            shown(&|page| paid(&page.amounts)),
            paid(&file.amounts),
        ),
        Line(
            "ehash issued",
            shown(&|page| issued(&page.amounts)),
            issued(&file.amounts),
        ),
        Line("shares accepted that earn = quotes", paying, Some(quotes)),
        Line("quotes requested = quotes", count("/quotes/requested"), Some(quotes)),
        Line(
            "quotes acknowledged = redeemed",
            count("/quotes/acknowledged"),
            Some(file.redeemed),
        ),
        Line("quotes waiting = 0", count("/quotes/waiting"), Some(0)),
        Line("quotes refused = 0", refused, Some(0)),
    ];
    if !args.balance.is_empty() {
        lines.push(Line(
            "ehash in the wallets = issued",
            Some(args.balance.iter().sum()),
            issued(&file.amounts),
        ));
    }
    Ok(lines)
}

fn print(lines: &[Line]) -> io::Result<()> {
    let text = |figure: Option<u64>| figure.map_or_else(|| "unknown".to_owned(), |figure| figure.to_string());
    let mut out = io::stdout().lock();
    writeln!(out, "{:<36} {:>12} {:>12}", "", "pool's page", "mint's file")?;
    for line in lines {
        let verdict = if line.agrees() { "" } else { "  DIFFERS" };
        writeln!(out, "{:<36} {:>12} {:>12}{verdict}", line.0, text(line.1), text(line.2))?;
    }
    Ok(())
}
