//! How long the commit of an issuance takes to become the newest snapshot in the pool's cache: `min_gap = 0`, Noise on
//! loopback, real wallet. `cargo bench -p system-tests --bench push [-- SECONDS]`.
//!
//! Both moments are seen by tasks of the same process: when the ledger, which tells of a change after its commit, has
//! told, and when the cache holds a snapshot of that version or a later one.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use devnet::{DevnetConfig, Listen, Mining};
use stats_push::{PushConfig, SnapshotCache};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() {
    let seconds = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .next()
        .unwrap_or(20);
    let any_port = || ([127, 0, 0, 1], 0).into();
    let config = DevnetConfig {
        listen: Listen {
            dashboard: any_port(),
            mint_http: any_port(),
            mint_dashboard: any_port(),
            mining: any_port(),
            mint_link: any_port(),
        },
        mining: Mining {
            shares_per_second: 40.0,
            ..Mining::default()
        },
        push: PushConfig::new(Duration::from_secs(5), Duration::ZERO).unwrap(),
        ..DevnetConfig::default()
    };
    let devnet = devnet::start(config, CancellationToken::new()).await.unwrap();

    let seen = Arc::new(Mutex::new(Seen::default()));
    let committed = tokio::spawn({
        let (seen, mut totals, cache) = (Arc::clone(&seen), devnet.totals(), devnet.cache().clone());
        async move {
            let mut redeemed = totals.borrow_and_update().ehash.quotes_redeemed;
            while totals.changed().await.is_ok() {
                let now = Instant::now();
                let totals = Arc::clone(&totals.borrow_and_update());
                if totals.ehash.quotes_redeemed > redeemed {
                    redeemed = totals.ehash.quotes_redeemed;
                    seen.lock().unwrap().commit(totals.version, shown(&cache), now);
                }
            }
        }
    });
    let mut changed = devnet.cache().changed();
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
    while tokio::time::timeout_at(end, changed.changed()).await.is_ok() {
        let now = Instant::now();
        seen.lock().unwrap().snapshot(shown(devnet.cache()), now);
    }
    committed.abort();
    devnet.stop().await;

    let mut latencies = std::mem::take(&mut seen.lock().unwrap().latencies);
    latencies.sort();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "{} issuances: median {:?}, p90 {:?}, p99 {:?}, max {:?}",
        latencies.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}

/// The version that the cache shows.
fn shown(cache: &SnapshotCache) -> u64 {
    cache
        .load()
        .latest
        .as_ref()
        .map_or(0, |latest| latest.snapshot.sequence)
}

#[derive(Default)]
struct Seen {
    /// Issuances that the ledger has told of and the cache does not show yet, by version.
    waiting: BTreeMap<u64, Instant>,
    latencies: Vec<Duration>,
}

impl Seen {
    fn commit(&mut self, version: u64, shown: u64, now: Instant) {
        if shown >= version {
            // The push was quicker than the task that watches the ledger.
            self.latencies.push(Duration::ZERO);
        } else {
            self.waiting.insert(version, now);
        }
    }

    fn snapshot(&mut self, shown: u64, now: Instant) {
        let later = self.waiting.split_off(&(shown + 1));
        let arrived = std::mem::replace(&mut self.waiting, later);
        self.latencies
            .extend(arrived.into_values().map(|at| now.saturating_duration_since(at)));
    }
}
