//! A pool in this process: shares in, quotes out, statistics shown, trouble survived.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pool::outbox::Outbox;
use pool::{Earned, PoolConfig, Running, StartError, start};
use stats_push::{SnapshotCache, Status};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use mint_link::HeaderHash;

use crate::mint::{Identity, Mint, issued};

const KEY: [u8; 33] = [2; 33];

fn config(dir: &TempDir, mint: &Identity) -> PoolConfig {
    let mut config = PoolConfig {
        data_dir: dir.path().join("pool"),
        ..PoolConfig::default()
    };
    config.mint_link.listen = "127.0.0.1:0".parse().unwrap();
    config.mining.listen = "127.0.0.1:0".parse().unwrap();
    config.mint_link.mint_public_keys = vec![mint.public_key()];
    config.dashboard.listen = "127.0.0.1:0".parse().unwrap();
    config
}

async fn begin(dir: &TempDir, mint: &Identity) -> Running {
    start(config(dir, mint), CancellationToken::new()).await.unwrap()
}

fn hash(n: u8) -> [u8; 32] {
    let mut hash = [n; 32];
    // 16 leading zero bits: worth 1.
    hash[29..].copy_from_slice(&[0x80, 0, 0]);
    hash
}

async fn accept(pool: &Running, range: std::ops::Range<u8>) {
    for n in range {
        let earned = pool.intake().accept(hash(n), Some(KEY)).await.unwrap();
        assert_eq!(earned, Earned::Quote { amount: 1 });
    }
}

async fn acknowledged(outbox: &Outbox, count: u64) {
    let mut view = outbox.watch();
    view.wait_for(|view| view.tally.acknowledged == count).await.unwrap();
}

/// The id that the mint has given to the quote of one share.
fn quote_of(mint: &Mint, n: u8) -> String {
    mint.quotes.lock().unwrap()[&hash(n)].clone()
}

async fn shown(cache: &SnapshotCache, status: Status, redeemed: u64) {
    let mut changed = cache.changed();
    loop {
        let view = Arc::clone(&cache.load());
        let quotes = view.latest.as_ref().map(|latest| latest.snapshot.ehash.quotes_redeemed);
        if view.freshness(Instant::now()).status == status && quotes == Some(redeemed) {
            return;
        }
        changed.changed().await.unwrap();
    }
}

async fn get(pool: &Running, path: &str) -> (u16, String) {
    let response = reqwest::get(format!("http://{}{path}", pool.dashboard_address()))
        .await
        .unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn shares_become_quotes_and_what_the_mint_issues_is_shown() {
    let (dir, identity) = (TempDir::new().unwrap(), Identity::new());
    let pool = begin(&dir, &identity).await;
    accept(&pool, 0..5).await;
    assert_eq!(get(&pool, "/readyz").await.0, 200, "the pool serves without a mint");

    let mint = identity.dial(pool.mint_link_address(), pool.authority_public_key());
    acknowledged(pool.outbox(), 5).await;
    accept(&pool, 5..8).await;
    acknowledged(pool.outbox(), 8).await;
    mint.totals.send_replace(issued(3).into());
    shown(pool.cache(), Status::Live, 3).await;

    let (status, quotes) = get(&pool, &format!("/api/v1/quotes?key={}", "02".repeat(33))).await;
    assert_eq!(status, 200);
    assert_eq!(quotes.matches("quote-").count(), 8, "{quotes}");
    assert!(quotes.contains(r#""unit":"hash""#), "{quotes}");
    let (_, figures) = get(&pool, "/api/v1/pool").await;
    assert!(
        figures.contains(r#""requested":8"#) && figures.contains(r#""accepted":8"#),
        "{figures}"
    );
    let (_, metrics) = get(&pool, "/metrics").await;
    for line in [
        "ehash_pool_quotes_acknowledged_total 8",
        "ehash_link_sessions_total 1",
        "ehash_outbox_errors_total 0",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    mint.stop().await;
    pool.stop().await;
}

#[tokio::test]
async fn p5_an_operator_has_the_mint_asked_and_sees_what_it_says_and_how_long_it_took() {
    let (dir, identity) = (TempDir::new().unwrap(), Identity::new());
    let pool = begin(&dir, &identity).await;
    let refresh = async || {
        let url = format!("http://{}/api/v1/mint/refresh", pool.dashboard_address());
        let response = reqwest::Client::new().post(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(refresh().await, (503, r#"{"error":"no mint is connected"}"#.to_owned()));
    let mint = identity.dial(pool.mint_link_address(), pool.authority_public_key());
    mint.totals.send_replace(issued(3).into());
    shown(pool.cache(), Status::Live, 3).await;
    let answer = loop {
        match refresh().await {
            // The question before was less than a second ago.
            (429, _) => tokio::task::yield_now().await,
            answer => break answer,
        }
    };
    assert_eq!(answer.0, 200, "{}", answer.1);
    assert!(
        answer.1.starts_with(r#"{"request_id":1,"round_trip_ms":"#),
        "{}",
        answer.1
    );
    let (_, stats) = get(&pool, "/api/v1/mint/stats").await;
    assert!(
        stats.contains(r#""round_trip_ms":"#) && !stats.contains(r#""round_trip_ms":null"#),
        "{stats}"
    );
    let (_, metrics) = get(&pool, "/metrics").await;
    for line in [
        "ehash_link_stats_requests_total 1",
        "ehash_link_round_trip_seconds_count 1",
        r#"ehash_mint_snapshots_received_total{reason="requested"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    mint.stop().await;
    pool.stop().await;
}

#[tokio::test]
async fn what_a_wallet_has_minted_is_neither_listed_nor_told_any_more() {
    let (dir, identity) = (TempDir::new().unwrap(), Identity::new());
    let pool = begin(&dir, &identity).await;
    let mint = identity.dial(pool.mint_link_address(), pool.authority_public_key());
    accept(&pool, 0..5).await;
    acknowledged(pool.outbox(), 5).await;
    let mut follower = pool.notices().follow(KEY);
    let mut told = Vec::new();
    while told.len() < 5 {
        told.extend(follower.next().await);
    }
    let hashes = [0, 1, 3, 77].map(|n| HeaderHash(hash(n)));
    mint.issued.send(Arc::new(hashes)).unwrap();
    let mut view = pool.outbox().watch();
    view.wait_for(|view| view.tally.redeemed == 3).await.unwrap();

    let mut ids = pool.outbox().quotes_of(KEY, 0, 10).await.unwrap();
    ids.retain(|quote| [2, 4].map(|n| quote_of(&mint, n)).contains(&quote.quote_id));
    assert_eq!(ids.len(), 2);
    let (status, page) = get(&pool, &format!("/api/v1/quotes?key={}", "02".repeat(33))).await;
    assert_eq!((status, page.matches("quote-").count()), (200, 2), "{page}");
    assert!(ids.iter().all(|quote| page.contains(&quote.quote_id)), "{page}");
    let after = format!("/api/v1/quotes?key={}&after={}", "02".repeat(33), ids[0].cursor);
    let (status, page) = get(&pool, &after).await;
    assert_eq!((status, page.matches("quote-").count()), (200, 1), "{page}");
    let stranger = "03".repeat(33);
    let (status, page) = get(&pool, &format!("/api/v1/quotes?key={stranger}")).await;
    assert_eq!(status, 200, "a key that nobody mines with");
    assert_eq!(page, format!(r#"{{"key":"{stranger}","next":null,"quotes":[]}}"#));
    assert_eq!(pool.notices().follow(KEY).next().await, ids);
    let (_, metrics) = get(&pool, "/metrics").await;
    assert!(metrics.contains("ehash_pool_quotes_redeemed_total 3"), "{metrics}");
    pool.stop().await;
}

#[tokio::test]
async fn the_mint_goes_and_comes_back_and_everything_that_waited_is_asked_for() {
    let (dir, identity) = (TempDir::new().unwrap(), Identity::new());
    let pool = begin(&dir, &identity).await;
    let mint = identity.dial(pool.mint_link_address(), pool.authority_public_key());
    accept(&pool, 0..3).await;
    acknowledged(pool.outbox(), 3).await;
    mint.totals.send_replace(issued(2).into());
    shown(pool.cache(), Status::Live, 2).await;
    mint.stop().await;
    shown(pool.cache(), Status::Disconnected, 2).await;
    accept(&pool, 3..9).await;
    assert_eq!(pool.outbox().view().tally.waiting, 6);

    let mint = identity.dial(pool.mint_link_address(), pool.authority_public_key());
    acknowledged(pool.outbox(), 9).await;
    shown(pool.cache(), Status::Live, 0).await;
    assert_eq!(mint.quotes.lock().unwrap().len(), 9);
    pool.stop().await;
}

#[tokio::test]
async fn a_stop_is_quick_and_loses_nothing() {
    let (dir, identity) = (TempDir::new().unwrap(), Identity::new());
    let pool = begin(&dir, &identity).await;
    let authority = pool.authority_public_key();
    accept(&pool, 0..20).await;
    let mut mint = identity.dial(pool.mint_link_address(), authority);
    mint.connected().await;
    // A client that holds its connection open is no reason to wait.
    let mut idle = TcpStream::connect(pool.dashboard_address()).await.unwrap();
    let began = Instant::now();
    pool.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or(0), 0);
    mint.stop().await;

    let pool = begin(&dir, &identity).await;
    assert_eq!(pool.authority_public_key(), authority);
    assert_eq!(pool.outbox().view().tally.requested, 20);
    let mint = identity.dial(pool.mint_link_address(), authority);
    acknowledged(pool.outbox(), 20).await;
    assert_eq!(mint.quotes.lock().unwrap().len(), 20);
    pool.stop().await;
}

#[tokio::test]
async fn strangers_are_kept_out_and_in_nobodys_way() {
    let (dir, identity) = (TempDir::new().unwrap(), Identity::new());
    let pool = begin(&dir, &identity).await;
    accept(&pool, 0..2).await;
    let mut silent = TcpStream::connect(pool.mint_link_address()).await.unwrap();
    let mut garbage = TcpStream::connect(pool.mint_link_address()).await.unwrap();
    garbage.write_all(&[0x5a; 4096]).await.unwrap();
    let stranger = Identity::new();
    let mut stranger = stranger.dial(pool.mint_link_address(), pool.authority_public_key());
    stranger
        .status
        .wait_for(|status| status.last_error.is_some())
        .await
        .unwrap();
    assert!(stranger.quotes.lock().unwrap().is_empty());

    let mint = identity.dial(pool.mint_link_address(), pool.authority_public_key());
    acknowledged(pool.outbox(), 2).await;
    assert_eq!(mint.quotes.lock().unwrap().len(), 2);
    assert!(stranger.quotes.lock().unwrap().is_empty());
    silent.write_all(b"x").await.unwrap();
    pool.stop().await;
}

#[tokio::test]
async fn what_does_not_allow_a_start_is_said() {
    let (dir, identity) = (TempDir::new().unwrap(), Identity::new());
    let pool = begin(&dir, &identity).await;
    let stop = CancellationToken::new();
    let error = start(config(&dir, &identity), stop.clone()).await.unwrap_err();
    assert!(matches!(&error, StartError::Config(_)), "{error}");
    assert!(error.to_string().contains("another pool is using it"), "{error}");

    let other = TempDir::new().unwrap();
    let mut taken = config(&other, &identity);
    taken.dashboard.listen = pool.dashboard_address();
    let error = start(taken, stop.clone()).await.unwrap_err();
    assert!(error.to_string().starts_with("dashboard.listen = "), "{error}");

    let mut open = config(&other, &identity);
    open.mint_link.listen = "0.0.0.0:0".parse().unwrap();
    open.mint_link.mint_public_keys.clear();
    let error = start(open, stop.clone()).await.unwrap_err();
    assert!(error.to_string().contains("open to other machines"), "{error}");

    let broken = config(&other, &identity);
    std::fs::write(broken.data_dir.join("outbox.sqlite"), "x".repeat(5000)).unwrap();
    let error = start(broken, stop).await.unwrap_err();
    assert!(matches!(&error, StartError::Outbox { .. }), "{error}");
    pool.stop().await;
}
