//! `GET /api/v1/mint/stats` beside a handler that returns fixed `Bytes` of the same size: answers a second over loopback, on
//! connections that stay open, in turns of a second each.
//!
//! `cargo bench -p dashboard --bench http [-- ROUNDS]`. The dashboard and the fixed answer are served alike, by one thread;
//! another thread asks. A third server is what axum brings along, with the fixed answer. Ten times a second a snapshot
//! comes, as at most with the default settings of a mint. Where other work takes the cores away, rates tell little: the
//! time that the servers' thread has worked for an answer tells more.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a bench that can't go on says so and ends"
)]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use bytes::Bytes;
use dashboard::{History, LinksView, MintSource, PushView, Readiness, mint_router, registry, serve};
use rustix::time::{ClockId, clock_gettime};
use stats_push::{CacheSession, Peer, PerState, Reason, RunId, Snapshot, SnapshotCache, Totals, UnitStats, UnixMillis};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

const PATH: &str = "/api/v1/mint/stats";
const CONNECTIONS: usize = 32;
const TURN: Duration = Duration::from_secs(1);

fn main() {
    let rounds = std::env::args().filter_map(|argument| argument.parse().ok()).next();
    let servers = on_a_thread(serve_all());
    let client = runtime();
    let mut turns: [Vec<Turn>; 3] = Default::default();
    for round in 0..rounds.unwrap_or(15) {
        // None is always the first one.
        for turn in 0..3 {
            let which = (round + turn) % 3;
            turns[which].push(client.block_on(one_turn(servers[which])));
        }
    }
    let [ours, fixed, axums] = &turns;
    for (name, turns) in [
        ("ours", ours),
        ("fixed, served alike", fixed),
        ("fixed, axum::serve", axums),
    ] {
        let rate = spread(turns.iter().map(|turn| turn.answers_a_second), 0);
        let cost = spread(turns.iter().map(|turn| turn.micros), 2);
        let pairs = || ours.iter().zip(turns);
        let ratio = spread(
            pairs().map(|(ours, other)| ours.answers_a_second / other.answers_a_second),
            3,
        );
        let worth = spread(pairs().map(|(ours, other)| other.micros / ours.micros), 3);
        println!("{name}: {rate} answers a second, {cost} us of work each");
        println!("    ours to this: {ratio} by the clock, {worth} by the work");
    }
}

/// What a second has brought.
struct Turn {
    answers_a_second: f64,
    /// The time that the servers' thread has worked for an answer.
    micros: f64,
}

/// For how long the servers' thread has worked, in nanoseconds: at most a millisecond ago.
static WORKED: AtomicU64 = AtomicU64::new(0);

/// Median, least and most.
fn spread(figures: impl Iterator<Item = f64>, digits: usize) -> String {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let (least, median, most) = (figures[0], figures[figures.len() / 2], figures[figures.len() - 1]);
    format!("{median:.digits$} ({least:.digits$} to {most:.digits$})")
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Starts something on a thread of its own, on which what it spawns runs for ever.
fn on_a_thread<T: Send + 'static>(starting: impl Future<Output = T> + Send + 'static) -> T {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async {
            sender.send(starting.await).expect("somebody waits for it");
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().expect("it has started")
}

/// Serves ours, the fixed answer in the same way, and the fixed answer by axum's own server.
async fn serve_all() -> [SocketAddr; 3] {
    let cache = SnapshotCache::new();
    let session = cache.open_session(Peer {
        address: "127.0.0.1:51234".to_owned(),
        public_key: Some("ab".repeat(32)),
        proven: true,
    });
    tell(&session, 1_000_000);
    // The path is the same one on a mint's dashboard and on a pool's.
    let router = mint_router(cache, Arc::new(Role), History::in_memory(), registry());
    let (ours, listener) = bound().await;
    tokio::spawn(serve(listener, router, CancellationToken::new()));

    let size = Client::connect(ours).await.ask().await;
    let body = Bytes::from(vec![b' '; size]);
    let router = Router::new().route(PATH, get(async move || body.clone()));
    let (fixed, listener) = bound().await;
    tokio::spawn(serve(listener, router.clone(), CancellationToken::new()));
    let (axums, listener) = bound().await;
    tokio::spawn(async move { axum::serve(listener, router).await });

    tokio::spawn(async move {
        for issued in 1_000_001.. {
            sleep(Duration::from_millis(100)).await;
            tell(&session, issued);
        }
    });
    tokio::spawn(async {
        loop {
            let time = clock_gettime(ClockId::ThreadCPUTime);
            WORKED.store((time.tv_sec * 1_000_000_000 + time.tv_nsec) as u64, Relaxed);
            sleep(Duration::from_millis(1)).await;
        }
    });
    [ours, fixed, axums]
}

async fn bound() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    (listener.local_addr().expect("its address"), listener)
}

/// A mint that is asked for nothing here.
struct Role;

impl MintSource for Role {
    fn ready(&self) -> Readiness {
        Readiness::new()
    }

    fn links(&self) -> LinksView {
        LinksView {
            push: PushView {
                interval: Duration::from_secs(5),
                min_gap: Duration::from_millis(100),
            },
            links: Vec::new(),
        }
    }
}

/// A snapshot of one unit, with so many quotes issued.
fn tell(session: &CacheSession, issued: u64) {
    let unit = UnitStats {
        unit: "hash".into(),
        quotes: PerState {
            unpaid: 0,
            paid: 1234,
            issued,
        },
        amounts: PerState {
            unpaid: 0,
            paid: 39_488,
            issued: issued * 32,
        },
        last_issued_at: Some(UnixMillis::now()),
    };
    let totals = Totals::new(issued, [(unit, issued)]);
    let snapshot = Snapshot {
        request_id: 0,
        reason: Reason::Event,
        run_id: RunId(1),
        sequence: issued,
        taken_at: UnixMillis::now(),
        interval: Duration::from_secs(5),
        ehash: totals.ehash,
        units_total: 1,
        units: totals.units,
    };
    session.apply(snapshot, Instant::now());
}

async fn one_turn(server: SocketAddr) -> Turn {
    let before = WORKED.load(Relaxed);
    let end = Instant::now() + TURN;
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        clients.spawn(async move {
            let mut client = Client::connect(server).await;
            let mut answers = 0_u32;
            while Instant::now() < end {
                client.ask().await;
                answers += 1;
            }
            answers
        });
    }
    let answers: u32 = clients.join_all().await.into_iter().sum();
    let worked = Duration::from_nanos(WORKED.load(Relaxed) - before);
    Turn {
        answers_a_second: f64::from(answers) / TURN.as_secs_f64(),
        micros: worked.as_secs_f64() * 1e6 / f64::from(answers),
    }
}

/// A client that does no more than it must: the other thread shall be the busy one.
struct Client {
    stream: TcpStream,
    request: String,
    answer: Vec<u8>,
}

impl Client {
    async fn connect(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket that can be set up");
        Self {
            stream,
            request: format!("GET {PATH} HTTP/1.1\r\nhost: {server}\r\n\r\n"),
            answer: Vec::with_capacity(8192),
        }
    }

    /// The size of the answer's body, once all of it is there.
    async fn ask(&mut self) -> usize {
        let sent = self.stream.write_all(self.request.as_bytes()).await;
        sent.expect("a server that reads");
        self.answer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.answer).await;
            assert!(read.expect("an answer") > 0, "the server hung up");
            if let Some(end) = self.answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let size = content_length(&self.answer[..end]);
                if self.answer.len() >= end + 4 + size {
                    return size;
                }
            }
        }
    }
}

fn content_length(header: &[u8]) -> usize {
    let header = std::str::from_utf8(header).expect("a header in ASCII");
    assert!(header.starts_with("HTTP/1.1 200 "), "{header}");
    let mut lines = header.lines();
    let length = lines.find_map(|line| line.strip_prefix("content-length: "));
    length.expect("a length").parse().expect("a number")
}
