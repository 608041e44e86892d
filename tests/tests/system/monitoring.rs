//! What the alert rules and the Grafana dashboard ask for is there.

use std::{collections::BTreeSet, path::Path, time::Duration};

use system_tests::eventually;
use tokio_util::sync::CancellationToken;

use crate::first_run::config;

const PATIENCE: Duration = Duration::from_secs(60);

/// Every metric named in a text: `ehash_…`.
fn named(text: &str) -> BTreeSet<String> {
    let names = text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    names
        .filter(|name| name.starts_with("ehash_"))
        .map(str::to_owned)
        .collect()
}

/// The families and series of a role's `/metrics`, also of those that have no series yet.
async fn exported(address: &str) -> BTreeSet<String> {
    let Ok(answer) = reqwest::get(format!("http://{address}/metrics")).await else {
        return BTreeSet::new();
    };
    let text = answer.text().await.unwrap_or_default();
    let heads = text.lines().filter_map(|line| {
        let line = line.strip_prefix("# TYPE ").unwrap_or(line);
        line.split(['{', ' ']).next()
    });
    heads.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_in_the_rules_and_the_dashboard_is_one_that_a_pool_or_a_mint_has() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let wanted = named(&(read("alerts.yml") + &read("grafana.json")));
    assert!(wanted.len() > 30, "{wanted:?}");

    let stop = CancellationToken::new();
    let devnet = devnet::start(config(), stop.clone()).await.unwrap();
    let [(_, pool), (_, mint), ..] = devnet.addresses();
    let told = |missing: &BTreeSet<String>| format!("{missing:?} are there");
    let mut missing = wanted;
    // Some begin with the first time that they count.
    while !missing.is_empty() {
        missing = eventually(&told(&missing), PATIENCE, async || {
            let mut there = exported(&pool.to_string()).await;
            there.extend(exported(&mint.to_string()).await);
            let still: BTreeSet<String> = missing.difference(&there).cloned().collect();
            (still.len() < missing.len()).then_some(still)
        })
        .await;
    }
    devnet.stop().await;
}
