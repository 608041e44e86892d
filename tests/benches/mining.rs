//! The mining server under load, as processes: `cargo build --release -p mint -p pool`, then
//! `cargo bench -p system-tests --bench mining -- shares [SECONDS]` or `-- channels`.
//!
//! - `shares`: rigs hand in shares as fast as they are acknowledged; each is in the outbox when that comes, becomes a
//!   quote at the mint and is told to its rig. At the end every acknowledged share must be exactly one quote.
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
use tokio::{sync::Barrier, task::JoinSet};

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["shares"] => shares(Duration::from_secs(60)).await,
        ["shares", seconds] => shares(Duration::from_secs(seconds.parse().unwrap())).await,
        ["channels"] => channels().await,
        _ => panic!("expected `shares [SECONDS]` or `channels`"),
    }
}

/// Rigs, and how many shares each has on their way.
const RIGS: usize = 8;
const ON_THE_WAY: usize = 256;

#[derive(Default)]
struct Counts {
    acknowledged: AtomicU64,
    refused: AtomicU64,
    told: AtomicU64,
}

async fn shares(time: Duration) {
    // Every hash is a share, so that the rigs need no time to find one.
    let mining = "minimum_difficulty = 0\nstart_difficulty = 0\nshares_per_minute = 60000.0\n";
    let mut pair = Pair::configure_mining(mining).await;
    let authority = pair.key_of("pool", "--print-authority-key").await;
    pair.start_pool();
    pair.start_mint();
    pair.until_status("live").await;

    let counts = Arc::new(Counts::default());
    let start = Instant::now();
    let mut rigs = JoinSet::new();
    for index in 0..RIGS {
        let identity = format!("{}.rig{index}", locking_key(index));
        let rig = Rig::connect(pair.mining.parse().unwrap(), authority.parse().unwrap(), &identity).await;
        rigs.spawn(dig(rig.unwrap(), start + time, Arc::clone(&counts)));
    }
    let mut rates = Vec::new();
    let mut before = 0;
    while start.elapsed() < time {
        tokio::time::sleep(Duration::from_secs(5).min(time)).await;
        let now = counts.acknowledged.load(Relaxed);
        rates.push((now - before) / 5);
        before = now;
    }
    let mined = start.elapsed();
    let acknowledged: HashSet<[u8; 32]> = rigs.join_all().await.into_iter().flatten().collect();
    let total = acknowledged.len() as u64;
    assert_eq!(
        total,
        counts.acknowledged.load(Relaxed),
        "no share is acknowledged twice"
    );
    eventually("every share is a quote", PATIENCE, async || {
        let quotes = json(&pair.dashboard, "/api/v1/pool").await?["quotes"].take();
        (quotes["waiting"] == 0 && truth(&pair.mint_database()).quotes[1] == total).then_some(())
    })
    .await;
    let all_quoted = start.elapsed();
    let rate = |count: u64, time: Duration| count as f64 / time.as_secs_f64();
    rates.sort_unstable();
    println!(
        "{total} shares acknowledged in {:.1} s: {:.0} a second (5 s windows: {} to {}), {} refused, {} quotes told meanwhile",
        mined.as_secs_f64(),
        rate(total, mined),
        rates[0],
        rates[rates.len() - 1],
        counts.refused.load(Relaxed),
        counts.told.load(Relaxed)
    );
    println!(
        "all of them exactly one quote after {:.1} s: {:.0} a second from submission to quote",
        all_quoted.as_secs_f64(),
        rate(total, all_quoted)
    );
}

/// Hands in shares until the end, then waits for the answers; gives the hashes of those acknowledged.
async fn dig(mut rig: Rig, end: Instant, counts: Arc<Counts>) -> Vec<[u8; 32]> {
    let mut hashes = Vec::new();
    loop {
        if Instant::now() < end && rig.pending() <= ON_THE_WAY / 2 {
            let missing = ON_THE_WAY - rig.pending();
            let shares = (0..missing).map_while(|_| rig.solve()).collect();
            rig.submit(shares).await.unwrap();
        }
        if rig.pending() == 0 {
            return hashes;
        }
        match rig.hear().await.unwrap() {
            Heard::Accepted(accepted) => {
                counts.acknowledged.fetch_add(accepted.len() as u64, Relaxed);
                hashes.extend(accepted);
            }
            Heard::Refused(_) => {
                counts.refused.fetch_add(1, Relaxed);
            }
            Heard::Quote(_) => {
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
