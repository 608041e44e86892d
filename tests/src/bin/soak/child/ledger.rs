//! A mint that is only a ledger: its totals change at any rate, and real publishers and links push them.
//!
//! The changes of a millisecond are made at its end, one by one, each with a stamp of its own. A version's figures follow
//! from its number, so a ledger that was killed goes on where it is told to, and its parent knows what is true.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use mint_link::{MintKey, MintLink, PoolTarget};
use stats_push::{EhashTotals, PerState, PushConfig, RunId, Totals, UnitStats, UnixMillis};
use sv2_transport::KeyError;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    record::{Record, tell},
};

/// What each change issues.
const AMOUNT: u64 = 32;
const TICK: Duration = Duration::from_millis(1);

/// For a ledger without a mint.
#[derive(Debug, Args)]
pub(crate) struct LedgerArgs {
    /// Changes a second
    pub(crate) rate: f64,
    /// Currency units, among which the changes go round
    pub(crate) units: u64,
    /// The first version
    pub(crate) version: u64,
    /// `push.interval_ms`
    pub(crate) interval_ms: u64,
    /// `push.min_gap_ms`
    pub(crate) min_gap_ms: u64,
    /// Its pools, each `ADDRESS=KEY`
    #[arg(required = true, value_parser = target)]
    pub(crate) pools: Vec<PoolTarget>,
}

fn target(text: &str) -> Result<PoolTarget, String> {
    let (address, key) = text.split_once('=').ok_or("expected ADDRESS=KEY")?;
    let authority = key.parse().map_err(|error: KeyError| error.to_string())?;
    Ok(PoolTarget {
        address: address.into(),
        authority,
    })
}

/// Changes and pushes until the stop.
pub(super) async fn run(args: LedgerArgs, stop: CancellationToken) -> anyhow::Result<()> {
    let push = PushConfig::new(
        Duration::from_millis(args.interval_ms),
        Duration::from_millis(args.min_gap_ms),
    )?;
    let names: Arc<[Arc<str>]> = (0..args.units.max(1)).map(name).collect();
    let totals = Arc::new(totals(args.version, &names));
    Record::Found {
        version: totals.version,
        totals: totals.ehash,
    }
    .tell();
    let sender = watch::Sender::new(totals);
    let (quotes, mut no_quotes) = mpsc::channel(1);
    let link = MintLink {
        push,
        ..MintLink::new(MintKey::generate(), quotes, sender.subscribe(), RunId::random())
    };
    let stop_link = CancellationToken::new();
    let connect = |target| link.connect(target, stop_link.clone()).1;
    let links: JoinSet<()> = args.pools.into_iter().map(connect).collect();
    drop(link);
    // Nobody mines: no quote is asked for.
    tokio::spawn(async move { while no_quotes.recv().await.is_some() {} });
    Record::Ready.tell();
    let changing = sender.clone();
    let driver = thread::Builder::new()
        .name("ledger".into())
        .spawn(move || drive(&changing, args.rate, &names, &stop))?;
    tokio::task::spawn_blocking(move || driver.join())
        .await?
        .ok()
        .context("the ledger's thread has panicked")?;
    // As a mint: when nothing changes any more, the last push has it all.
    stop_link.cancel();
    links.join_all().await;
    Ok(())
}

/// Makes the changes that are due at each tick, until the stop.
fn drive(sender: &watch::Sender<Arc<Totals>>, rate: f64, names: &Arc<[Arc<str>]>, stop: &CancellationToken) {
    let first = sender.borrow().version;
    let start = Instant::now();
    let mut version = first;
    while !stop.is_cancelled() {
        thread::sleep(TICK);
        let due = first + (start.elapsed().as_secs_f64() * rate) as u64;
        let mut lines = String::new();
        while version < due {
            version += 1;
            let next = Arc::new(totals(version, names));
            lines += &Record::Committed {
                version,
                at: clock::now(),
                totals: next.ehash,
            }
            .line();
            sender.send_replace(next);
        }
        if !lines.is_empty() {
            tell(&lines);
        }
    }
}

/// The sums at a version.
pub(crate) fn totals_at(version: u64) -> EhashTotals {
    EhashTotals {
        quotes_redeemed: version,
        quotes: PerState {
            issued: version,
            ..PerState::default()
        },
        amounts: PerState {
            issued: version.saturating_mul(AMOUNT),
            ..PerState::default()
        },
    }
}

fn totals(version: u64, names: &[Arc<str>]) -> Totals {
    let count = names.len() as u64;
    let units = names.iter().zip(0_u64..).map(|(name, n)| {
        let issued = version / count + u64::from(n < version % count);
        UnitStats {
            unit: Arc::clone(name),
            quotes: PerState {
                issued,
                ..PerState::default()
            },
            amounts: PerState {
                issued: issued.saturating_mul(AMOUNT),
                ..PerState::default()
            },
            last_issued_at: Some(UnixMillis(1)),
        }
    });
    Totals {
        version,
        ehash: totals_at(version),
        units: units.collect(),
    }
}

fn name(n: u64) -> Arc<str> {
    if n == 0 {
        "hash".into()
    } else {
        format!("hash_{n}").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_of_a_version_add_up_to_its_sums() {
        let names: Vec<_> = (0..7).map(name).collect();
        for version in [0, 1, 6, 7, 100_003] {
            let totals = totals(version, &names);
            let redeemed = totals.units.iter().map(|unit| (unit.clone(), unit.quotes.issued));
            assert_eq!(Totals::new(version, redeemed.collect::<Vec<_>>()), totals);
        }
    }
}
