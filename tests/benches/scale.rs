//! A mint with a thousand pools, a pool with a thousand browsers, and both at rest. First
//! `cargo build --release -p mint -p pool`, then `cargo bench -p system-tests --bench scale -- `
//!
//! - `links [POOLS [SECONDS]]`: one mint's end of the link pushes to 1,000 pools' ends, 10 times a second to each, for 30 s:
//!   what a push costs on both sides, how long it takes from commit to cache, and the memory of both. The pools are in a
//!   process of their own, each with its own link and cache.
//! - `streams [BROWSERS [SECONDS]]`: a pool, the program, with 1,000 readers of its live stream, to each of whom an event goes
//!   every 260 ms, as the stream leaves 250 ms between two: how long the mint's commit takes to the reader.
//! - `idle`: the memory of the two programs with 3,000 quotes stored.
//!
//! A commit carries its own moment, as the amount that is issued: who sees a figure knows how old it is. All at a time is the
//! hardest case: every push is due at the same moment, and the last one has waited for all others.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use mint_link::{
    Admission, LinkStatus, MintKey, MintLink, MintSession, PoolLink, PoolLinkConfig, PoolTarget, QuoteCall,
};
use stats_push::{Connection, PerState, PushConfig, Reason, RunId, SnapshotCache, Totals, UnitStats, UnixMillis};
use sv2_transport::AuthorityKeypair;
use system_tests::{
    PATIENCE, Pair, Process,
    clock::{self, Nanos},
    eventually, key_of, new_share,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::Command,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{interval, sleep},
};
use tokio_util::sync::CancellationToken;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["links"] => links(1_000, 30),
        ["links", pools] => links(pools.parse().unwrap(), 30),
        ["links", pools, seconds] => links(pools.parse().unwrap(), seconds.parse().unwrap()),
        ["streams"] => streams(1_000, 30),
        ["streams", browsers] => streams(browsers.parse().unwrap(), 30),
        ["streams", browsers, seconds] => streams(browsers.parse().unwrap(), seconds.parse().unwrap()),
        ["idle"] => idle(),
        // What `links` starts.
        ["pools", count] => pools(count.parse().unwrap()),
        _ => panic!("expected `links [POOLS [SECONDS]]`, `streams [BROWSERS [SECONDS]]` or `idle`"),
    }
}

/// Between two pushes to a pool, and between two events of a stream.
const PUSHES: Duration = Duration::from_millis(100);
const EVENTS: Duration = Duration::from_millis(260);
/// Until what a start has left behind is done.
const SETTLES: Duration = Duration::from_secs(3);

/// A mint as far as a link needs one: a ledger without quotes, that pushes each commit at once.
struct Mint {
    totals: watch::Sender<Arc<Totals>>,
    link: MintLink,
    stop: CancellationToken,
    links: JoinSet<()>,
    /// Nobody mines.
    _quotes: mpsc::Receiver<QuoteCall>,
}

impl Mint {
    fn start() -> Self {
        let (calls, quotes) = mpsc::channel(1);
        let totals = watch::Sender::new(Arc::new(issued(1, 0)));
        // Nothing is pushed but commits.
        let push = PushConfig::new(PushConfig::MAX_INTERVAL, Duration::ZERO).unwrap();
        let link = MintLink {
            push,
            ..MintLink::new(MintKey::generate(), calls, totals.subscribe(), RunId::random())
        };
        Self {
            totals,
            link,
            stop: CancellationToken::new(),
            links: JoinSet::new(),
            _quotes: quotes,
        }
    }

    /// Returns when the link works.
    async fn connect(&mut self, target: PoolTarget) {
        let (mut status, running) = self.link.connect(target, self.stop.clone());
        self.links.spawn(running);
        status.wait_for(LinkStatus::is_connected).await.unwrap();
    }

    /// Commits so often, now and then at this pace.
    async fn commit(&self, count: u64, pace: Duration) {
        let mut ticks = interval(pace);
        let version = self.totals.borrow().version;
        for version in version + 1..=version + count {
            ticks.tick().await;
            self.totals.send_replace(Arc::new(issued(version, clock::now())));
        }
        ticks.tick().await;
    }

    async fn stop(self) {
        self.stop.cancel();
        self.links.join_all().await;
    }
}

/// Totals of one unit.
fn issued(version: u64, amount: u64) -> Totals {
    let unit = UnitStats {
        unit: "hash".into(),
        quotes: PerState::default(),
        amounts: PerState {
            issued: amount,
            ..PerState::default()
        },
        last_issued_at: Some(UnixMillis::now()),
    };
    Totals::new(version, [(unit, 0)])
}

/// The mint's end: one thread, as the mint gives its links.
#[tokio::main(flavor = "current_thread")]
async fn links(count: usize, seconds: u64) {
    let mut pools = Command::new(std::env::current_exe().unwrap())
        .args(["pools", &count.to_string()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(pools.stdout.take().unwrap()).lines();
    let addressed = said.next_line().await.unwrap().unwrap();
    let (address, authority) = addressed.split_once(' ').unwrap();
    let target = PoolTarget {
        address: address.into(),
        authority: authority.parse().unwrap(),
    };
    let mut mint = Mint::start();
    for _ in 0..count {
        mint.connect(target.clone()).await;
    }
    assert_eq!(said.next_line().await.unwrap().as_deref(), Some("all show something"));
    sleep(SETTLES).await;

    let sides = [std::process::id(), pools.id().unwrap()];
    let before = sides.map(Usage::of);
    let commits = seconds * 10;
    mint.commit(commits, PUSHES).await;
    let after = sides.map(Usage::of);
    mint.stop().await;
    let delays = said.next_line().await.unwrap().unwrap();
    let pushes: f64 = said.next_line().await.unwrap().unwrap().parse().unwrap();
    assert!(pools.wait().await.unwrap().success());

    let due = commits * count as u64;
    let [mint, pools] = [0, 1].map(|side| 1e6 * (after[side].cpu - before[side].cpu) / pushes);
    println!("{count} links, a push every {PUSHES:?} to each for {seconds} s; {pushes} of {due} came");
    println!("commit to cache: {delays}");
    println!(
        "CPU a push: {mint:.1} us on the mint's side and {pools:.1} us on the pools', {:.1} us together; \
         memory: {:.1} MiB the mint's side, {:.1} MiB the pools'",
        mint + pools,
        after[0].memory,
        after[1].memory
    );
}

/// The pools' ends, all in one process and at one address.
#[tokio::main]
async fn pools(count: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = AuthorityKeypair::generate();
    println!("{} {}", listener.local_addr().unwrap(), authority.public());
    let (_rule, admitted) = watch::channel(Arc::new(Admission::default()));
    let mut observers = JoinSet::new();
    let showing = Arc::new(AtomicUsize::new(0));
    for _ in 0..count {
        let (stream, address) = listener.accept().await.unwrap();
        sv2_transport::tune(&stream).unwrap();
        let (cache, (ready, sessions)) = (SnapshotCache::new(), mpsc::channel(1));
        let config = PoolLinkConfig::new(authority.clone());
        let link = PoolLink::new(config, admitted.clone(), cache.clone(), ready, Arc::default());
        tokio::spawn(async move { link.serve(stream, address, &CancellationToken::new()).await });
        observers.spawn(observe(cache, sessions, Arc::clone(&showing)));
    }
    eventually("all show something", PATIENCE, async || {
        (showing.load(Relaxed) == count).then_some(())
    })
    .await;
    println!("all show something");
    let (delays, pushes): (Vec<_>, Vec<_>) = observers.join_all().await.into_iter().unzip();
    println!("{}", Delays(delays.concat()));
    println!("{}", pushes.iter().sum::<u64>());
}

/// How long each commit took into the cache, until the mint has gone, and how often it pushed one. Two pushes before this
/// task has woken up are seen as one.
async fn observe(
    cache: SnapshotCache,
    mut sessions: mpsc::Receiver<MintSession>,
    showing: Arc<AtomicUsize>,
) -> (Vec<Nanos>, u64) {
    let _session = sessions.recv().await.unwrap();
    let mut changed = cache.changed();
    let (mut seen, mut delays) = (None, Vec::new());
    loop {
        let view = Arc::clone(&cache.load());
        if let Some(latest) = &view.latest {
            let committed = latest.snapshot.ehash.amounts.issued;
            let before = seen.replace(committed);
            if before.is_none() {
                showing.fetch_add(1, Relaxed);
            } else if before != seen {
                delays.push(clock::of(latest.at) - committed);
            }
        }
        if view.connection == Connection::Down {
            return (delays, view.counters.received(Reason::Event));
        }
        changed.changed().await.unwrap();
    }
}

#[tokio::main]
async fn streams(count: usize, seconds: u64) {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("pool.toml").to_str().unwrap().to_owned();
    // Beside the streams: the link, and a few who ask.
    let places = count + 16;
    let text = format!(
        "data_dir = {:?}\n[mint_link]\nlisten = \"127.0.0.1:0\"\n[mining]\nlisten = \"127.0.0.1:0\"\n\
         [dashboard]\nlisten = \"127.0.0.1:0\"\nmax_connections = {places}\nmax_streams = {places}\n",
        dir.path().join("pool"),
    );
    std::fs::write(&config, text).unwrap();
    let authority = key_of("pool", &config, "--print-authority-key").await;
    let mut pool = Process::start("pool", &["--config", &config]);
    let [link, dashboard] = pool.announces(["mint-link", "dashboard"]).await;
    let mut mint = Mint::start();
    let target = PoolTarget {
        address: link.into(),
        authority: authority.parse().unwrap(),
    };
    mint.connect(target).await;
    sleep(SETTLES).await;
    let at_rest = Usage::of(pool.id());

    let (http, url) = (
        reqwest::Client::new(),
        format!("http://{dashboard}/api/v1/mint/stats/stream"),
    );
    let mut readers = JoinSet::new();
    let showing = Arc::new(AtomicUsize::new(0));
    for _ in 0..count {
        readers.spawn(follow(http.clone(), url.clone(), Arc::clone(&showing)));
    }
    eventually("every stream has said something", PATIENCE, async || {
        (showing.load(Relaxed) == count).then_some(())
    })
    .await;
    sleep(SETTLES).await;

    let before = Usage::of(pool.id());
    let commits = (Duration::from_secs(seconds).as_millis() / EVENTS.as_millis()) as u64;
    mint.commit(commits, EVENTS).await;
    let after = Usage::of(pool.id());
    mint.stop().await;
    pool.signal("TERM").await;
    let delays = Delays(readers.join_all().await.concat());
    assert!(pool.ended().await.success());

    let events = commits as f64 * count as f64;
    println!(
        "{count} streams, an event every {EVENTS:?} to each for {seconds} s; commit to reader: {delays} of {events}"
    );
    println!(
        "the pool's CPU an event: {:.1} us; its memory: {:.1} MiB without a stream, {:.1} MiB at the end",
        1e6 * (after.cpu - before.cpu) / events,
        at_rest.memory,
        after.memory
    );
}

/// How long each commit took to this reader, until the pool ends the stream.
async fn follow(http: reqwest::Client, url: String, showing: Arc<AtomicUsize>) -> Vec<Nanos> {
    let mut response = http.get(url).send().await.unwrap().error_for_status().unwrap();
    let (mut seen, mut delays, mut text) = (None, Vec::new(), Vec::new());
    while let Some(chunk) = response.chunk().await.unwrap() {
        text.extend_from_slice(&chunk);
        if !text.ends_with(b"\n\n") {
            continue;
        }
        let at = clock::now();
        if let Some(committed) = amount_issued(&text) {
            let before = seen.replace(committed);
            if before.is_none() {
                showing.fetch_add(1, Relaxed);
            } else if before != seen {
                delays.push(at - committed);
            }
        }
        text.clear();
    }
    delays
}

/// The amount issued in an event; heartbeats have none.
fn amount_issued(event: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(event).unwrap();
    let (_, rest) = text.rsplit_once("\"total_ehash_issued\":\"")?;
    rest.split('"').next()?.parse().ok()
}

const QUOTES: usize = 3_000;
/// Longer than anything that starts with a role goes on.
const RESTS: Duration = Duration::from_secs(20);

#[tokio::main]
async fn idle() {
    let mut pair = Pair::configure().await;
    let outbox = pair.outbox();
    let shares = (0..QUOTES).map(|_| outbox.enqueue(new_share()));
    for taken in futures::future::join_all(shares).await {
        taken.unwrap();
    }
    outbox.close().await;
    pair.start_pool();
    pair.start_mint();
    pair.until_answered(QUOTES as u64).await;
    sleep(RESTS).await;
    let memory = |pair: &Pair| [&pair.mint, &pair.pool].map(|role| Usage::of(role.as_ref().unwrap().id()).memory);
    let [mint, pool] = memory(&pair);
    println!("memory right after {QUOTES} quotes were made: mint {mint:.1} MiB, pool {pool:.1} MiB");
    for role in [&mut pair.mint, &mut pair.pool] {
        let role = role.as_mut().unwrap();
        role.signal("TERM").await;
        assert!(role.ended().await.success());
    }
    pair.start_pool();
    pair.start_mint();
    pair.until_status("live").await;
    sleep(RESTS).await;
    let [mint, pool] = memory(&pair);
    println!("memory after a start with {QUOTES} quotes stored: mint {mint:.1} MiB, pool {pool:.1} MiB");
}

/// What a process has used.
#[derive(Clone, Copy)]
struct Usage {
    /// CPU in seconds.
    cpu: f64,
    /// Resident memory in MiB.
    memory: f64,
}

impl Usage {
    fn of(pid: u32) -> Self {
        let stat = procfs::process::Process::new(pid.try_into().unwrap())
            .unwrap()
            .stat()
            .unwrap();
        Self {
            cpu: (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64,
            memory: (stat.rss * procfs::page_size()) as f64 / f64::from(1 << 20),
        }
    }
}

/// How long things took.
struct Delays(Vec<Nanos>);

impl std::fmt::Display for Delays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize] as f64 / 1e6;
        write!(
            f,
            "median {:.2} ms, p99 {:.2} ms, max {:.2} ms over {}",
            at(0.5),
            at(0.99),
            at(1.0),
            sorted.len()
        )
    }
}
