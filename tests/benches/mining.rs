//! The mining server under load, as processes: `cargo build --release -p mint -p pool`, then
//! `cargo bench -p system-tests --bench mining -- shares [RATE [SECONDS]]` or `-- channels`.
//!
//! - `shares`: rigs hand in RATE shares a second, 8,000 by default; each is in the outbox when it is acknowledged, becomes
//!   a quote at the mint and is told to its rig. At the end every acknowledged share must be exactly one quote, and told
//!   once. Beyond what the mint can do the outbox grows, and the end comes later.
//! - `channels`: 10,000 standard channels wait for work; a template provider tells a future template and then its tip, and
//!   the clock stops when the last channel has both. And what the pool's memory is, with them and with idle connections.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use mining_sv2::{MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH, MESSAGE_TYPE_NEW_MINING_JOB};
use provider_test::{Provider, template, tip};
use system_tests::{Heard, MiningConnection, PATIENCE, Pair, Rig, eventually, json, truth};
use tokio::{sync::Barrier, task::JoinSet, time::timeout};

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["shares"] => shares(8_000.0, 60).await,
        ["shares", rate] => shares(rate.parse().unwrap(), 60).await,
        ["shares", rate, seconds] => shares(rate.parse().unwrap(), seconds.parse().unwrap()).await,
        ["channels"] => channels().await,
        _ => panic!("expected `shares [RATE [SECONDS]]` or `channels`"),
    }
}

/// Rigs, and how many shares each has on their way at most.
const RIGS: usize = 16;
const ON_THE_WAY: usize = 256;
/// How often a rig looks whether shares are due.
const BEAT: Duration = Duration::from_millis(5);
/// How long the mint may need to catch up.
const CATCH_UP: Duration = Duration::from_secs(300);

#[derive(Default)]
struct Counts {
    acknowledged: AtomicU64,
    refused: AtomicU64,
    told: AtomicU64,
}

async fn shares(rate: f64, seconds: u64) {
    // Shares that take 16 hashes each, so that the rigs need hardly any time to find one; all of them earn.
    let mining = "minimum_difficulty = 4\nstart_difficulty = 4\nshares_per_minute = 60000.0\n";
    let mut pair = Pair::configure_mining(mining).await;
    let authority = pair.key_of("pool", "--print-authority-key").await;
    pair.start_pool();
    pair.start_mint();
    pair.until_status("live").await;

    let counts = Arc::new(Counts::default());
    let start = Instant::now();
    let end = start + Duration::from_secs(seconds);
    let mut rigs = JoinSet::new();
    for index in 0..RIGS {
        let identity = format!("{}.rig{index}", locking_key(index));
        let rig = Rig::connect(pair.mining.parse().unwrap(), authority.parse().unwrap(), &identity).await;
        rigs.spawn(dig(rig.unwrap(), rate / RIGS as f64, end, Arc::clone(&counts)));
    }
    let (mut rates, mut behind, mut before) = (Vec::new(), Vec::new(), 0);
    for window in 1..=seconds / 5 {
        tokio::time::sleep_until((start + Duration::from_secs(5 * window)).into()).await;
        let (acknowledged, told) = (counts.acknowledged.load(Relaxed), counts.told.load(Relaxed));
        rates.push((acknowledged - before) / 5);
        behind.push(acknowledged.saturating_sub(told));
        before = acknowledged;
    }
    let acknowledged: HashSet<[u8; 32]> = rigs.join_all().await.into_iter().flatten().collect();
    let all_told = start.elapsed().as_secs_f64();
    let total = acknowledged.len() as u64;
    assert_eq!(
        total,
        counts.acknowledged.load(Relaxed),
        "no share is acknowledged twice"
    );
    assert_eq!(total, counts.told.load(Relaxed), "each quote is told once");
    eventually("nothing waits", PATIENCE, async || {
        let quotes = json(&pair.dashboard, "/api/v1/pool").await?["quotes"].take();
        (quotes["waiting"] == 0).then_some(())
    })
    .await;
    assert_eq!(
        truth(&pair.mint_database()).quotes,
        [0, total, 0],
        "each share is one quote"
    );
    println!(
        "{total} shares in {seconds} s: {:.0} a second acknowledged (5 s windows: {} to {}), {} refused; \
         acknowledged and not told as a quote yet: {} at most",
        total as f64 / seconds as f64,
        rates.iter().min().unwrap(),
        rates.iter().max().unwrap(),
        counts.refused.load(Relaxed),
        behind.iter().max().unwrap(),
    );
    println!(
        "all of them exactly one quote, told once, after {all_told:.1} s: {:.0} a second",
        total as f64 / all_told
    );
}

/// Hands in so many shares a second until the end, then waits for the answers and the quotes; gives the hashes of the
/// shares that were acknowledged.
async fn dig(mut rig: Rig, rate: f64, end: Instant, counts: Arc<Counts>) -> Vec<[u8; 32]> {
    let (mut hashes, mut submitted, mut told) = (Vec::new(), 0, 0);
    let start = Instant::now();
    loop {
        let now = Instant::now();
        if now < end {
            let due = (now.duration_since(start).as_secs_f64() * rate) as usize;
            let shares: Vec<_> = (0..due.saturating_sub(submitted).min(ON_THE_WAY - rig.pending()))
                .map_while(|_| rig.solve())
                .collect();
            submitted += shares.len();
            rig.submit(shares).await.unwrap();
        } else if rig.pending() == 0 && told == hashes.len() {
            return hashes;
        }
        assert!(now < end + CATCH_UP, "{told} of {} quotes were told", hashes.len());
        let Ok(heard) = timeout(BEAT, rig.hear()).await else {
            continue;
        };
        match heard.unwrap() {
            Heard::Accepted(accepted) => {
                counts.acknowledged.fetch_add(accepted.len() as u64, Relaxed);
                hashes.extend(accepted);
            }
            Heard::Refused(_) => {
                counts.refused.fetch_add(1, Relaxed);
            }
            Heard::Quote(_) => {
                told += 1;
                counts.told.fetch_add(1, Relaxed);
            }
        }
    }
}

/// A key of its own for each rig.
fn locking_key(index: usize) -> String {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};
    let mut secret = [1; 32];
    secret[31] = u8::try_from(index).unwrap();
    let key = SecretKey::from_slice(&secret).unwrap().public_key(&Secp256k1::new());
    key.to_string()
}

const CHANNELS: usize = 10_000;
const IDLE: usize = 1_000;
const ROUNDS: u64 = 10;

async fn channels() {
    let provider = Provider::listen().await;
    let mining = format!(
        "max_channels_per_connection = {CHANNELS}\nreward_address = \"1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa\"\n\
         [templates]\nsource = \"sv2-tp\"\n[templates.sv2_tp]\naddress = \"{}\"\nauthority_key = \"{}\"\n",
        provider.address(),
        provider.authority()
    );
    let mut pair = Pair::configure_mining(&mining).await;
    let authority = pair.key_of("pool", "--print-authority-key").await;
    pair.start_pool();
    let pid = pair.pool.as_ref().unwrap().id();
    let mut provider = provider.accept().await;
    provider.template(template(1, true)).await;
    provider.tip(tip(1, 1)).await;
    let pool: SocketAddr = pair.mining.parse().unwrap();
    eventually("the pool listens", PATIENCE, async || {
        tokio::net::TcpStream::connect(pool).await.ok()
    })
    .await;

    println!("RSS at the start: {} MiB", rss(pid));
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(MiningConnection::open(pool, authority.parse().unwrap()).await.unwrap());
    }
    println!("RSS with {IDLE} idle connections: {} MiB", rss(pid));
    drop(idle);
    for connections in [1, 100, 1_000] {
        let name = format!("{CHANNELS} channels on {connections} connections");
        let mut crowd = Vec::new();
        for _ in 0..connections {
            let connection = MiningConnection::open(pool, authority.parse().unwrap()).await.unwrap();
            crowd.push(with_channels(connection, CHANNELS / connections).await);
        }
        println!("{name}: RSS {} MiB", rss(pid));
        let barrier = Arc::new(Barrier::new(connections + 1));
        let mut waiting = JoinSet::new();
        for connection in crowd {
            waiting.spawn(hear_rounds(connection, CHANNELS / connections, Arc::clone(&barrier)));
        }
        let mut took = Vec::new();
        for round in 1..=ROUNDS {
            barrier.wait().await;
            let start = Instant::now();
            let id = u64::try_from(connections).unwrap() * 1_000 + round;
            provider.template(template(id, true)).await;
            provider.tip(tip(id, u8::try_from(id % 251).unwrap())).await;
            barrier.wait().await;
            took.push(start.elapsed());
        }
        drop(waiting.join_all().await);
        took.sort_unstable();
        println!(
            "{name}: future template and tip told to the last after {:?} (median of {ROUNDS}; {:?} to {:?}), RSS {} MiB",
            took[took.len() / 2],
            took[0],
            took[took.len() - 1],
            rss(pid)
        );
    }
}

async fn with_channels(mut connection: MiningConnection, channels: usize) -> MiningConnection {
    for request in 0..channels {
        connection
            .ask_for_channel(u32::try_from(request).unwrap(), "crowd")
            .await
            .unwrap();
    }
    connection.flush().await.unwrap();
    hear_work(&mut connection, channels).await;
    connection
}

/// Waits until so many jobs and tips have come.
async fn hear_work(connection: &mut MiningConnection, channels: usize) {
    let (mut jobs, mut tips) = (0, 0);
    while jobs < channels || tips < channels {
        match connection.next().await.unwrap().msg_type {
            MESSAGE_TYPE_NEW_MINING_JOB => jobs += 1,
            MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH => tips += 1,
            _ => {}
        }
    }
}

async fn hear_rounds(mut connection: MiningConnection, channels: usize, barrier: Arc<Barrier>) -> MiningConnection {
    for _ in 0..ROUNDS {
        barrier.wait().await;
        hear_work(&mut connection, channels).await;
        barrier.wait().await;
    }
    connection
}

/// The process's resident memory, in MiB.
fn rss(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
