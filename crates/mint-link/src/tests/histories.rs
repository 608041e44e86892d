//! Promises P4, P8, P9 and P11 over random histories of both ends and the line between them: it stalls and is cut, the mint
//! stops, is killed and comes back with an older ledger, the pool asks. In paused time.

use std::{io, net::SocketAddr, sync::Mutex};

use stats_push::{Connection, MintView, Totals};
use sv2_transport::{AuthorityPublicKey, Connector};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf},
    time::sleep,
};

use super::*;

const MS: Duration = Duration::from_millis(1);
const GAP: Duration = Duration::from_millis(50);

/// What happens to mint, pool and line.
#[derive(Clone, Debug)]
enum Event {
    Changes,
    Passes(u32),
    /// For so many milliseconds nothing gets through.
    Stalls(u32),
    Cuts,
    /// The mint stops in order and starts again.
    Restarts,
    /// It is killed, and starts again with what its ledger had this many changes ago.
    Killed(u64),
    Asks,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        20 => Just(Event::Changes),
        10 => (0u32..200).prop_map(Event::Passes),
        6 => (0u32..4_000).prop_map(Event::Passes),
        4 => (0u32..8_000).prop_map(Event::Stalls),
        3 => Just(Event::Cuts),
        1 => Just(Event::Restarts),
        2 => (0u64..3).prop_map(Event::Killed),
        4 => Just(Event::Asks),
    ];
    prop::collection::vec(event, 1..50)
}

/// The line between the two: each dial is one through it.
#[derive(Clone)]
struct Line {
    pool: Arc<PoolLink>,
    authority: AuthorityPublicKey,
    pipe: usize,
    flows: watch::Sender<bool>,
    /// Cancelled, the connections of the moment are gone.
    cut: Arc<Mutex<CancellationToken>>,
}

impl Line {
    fn cut(&self) {
        std::mem::take(&mut *self.cut.lock().unwrap()).cancel();
    }
}

impl Connector for Line {
    type Stream = DuplexStream;

    async fn connect(&self, _: &str) -> io::Result<(DuplexStream, SocketAddr)> {
        let (mint, near) = tokio::io::duplex(self.pipe);
        let (far, pool) = tokio::io::duplex(self.pipe);
        let (near, far) = (tokio::io::split(near), tokio::io::split(far));
        let cut = self.cut.lock().unwrap().clone();
        let there = carry(near.0, far.1, self.flows.subscribe());
        let back = carry(far.0, near.1, self.flows.subscribe());
        tokio::spawn(async move { cut.run_until_cancelled(async { tokio::join!(there, back) }).await });
        let link = Arc::clone(&self.pool);
        let address = SocketAddr::from(([192, 0, 2, 1], 1));
        tokio::spawn(async move { link.serve(pool, address, &CancellationToken::new()).await });
        Ok((mint, address))
    }
}

/// One direction of a connection.
async fn carry(mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>, mut flows: watch::Receiver<bool>) {
    let mut buffer = [0; 256];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let flowing = flows.wait_for(|flows| *flows).await.is_ok();
        if !flowing || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    // Its end is told, unless the other side has gone first.
    let _ = to.shutdown().await;
}

/// One run of the mint.
struct Run {
    id: RunId,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct Bench {
    line: Line,
    key: MintKey,
    push: PushConfig,
    ledger: watch::Sender<Arc<Totals>>,
    run: Run,
    cache: SnapshotCache,
    sessions: mpsc::Receiver<MintSession>,
    session: Option<MintSession>,
    /// The run and the sequence that were seen last, and how often the run was another than before.
    seen: Option<(RunId, u64)>,
    restarts: u64,
    _rule: watch::Sender<Arc<Admission>>,
}

impl Bench {
    fn start(pipe: usize, interval: u32) -> Self {
        let key = MintKey::generate();
        let rule = Admission {
            mint_public_keys: vec![key.public()],
            allow_legacy_mint: false,
        };
        let (rule, admission) = watch::channel(Arc::new(rule));
        let (ready, sessions) = mpsc::channel(8);
        let cache = SnapshotCache::new();
        let config = PoolLinkConfig::new(AuthorityKeypair::generate());
        let pool = PoolLink::new(config.clone(), admission, cache.clone(), ready, Arc::default());
        let line = Line {
            authority: config.authority.public(),
            pool: Arc::new(pool),
            pipe,
            flows: watch::Sender::new(true),
            cut: Arc::default(),
        };
        let push = PushConfig::new(interval * MS, GAP).unwrap();
        let ledger = watch::Sender::new(totals(1));
        let run = run(&line, &key, push, &ledger, 1);
        Self {
            line,
            key,
            push,
            ledger,
            run,
            cache,
            sessions,
            session: None,
            seen: None,
            restarts: 0,
            _rule: rule,
        }
    }

    fn version(&self) -> u64 {
        self.ledger.borrow().version
    }

    /// The next run of the mint, whose ledger has lost so many changes.
    async fn start_again(&mut self, lost: u64) {
        sleep(MS).await;
        self.look();
        self.ledger.send_replace(totals(self.version().saturating_sub(lost)));
        let RunId(id) = self.run.id;
        self.run = run(&self.line, &self.key, self.push, &self.ledger, id + 1);
    }

    async fn happen(&mut self, event: Event) {
        match event {
            Event::Changes => {
                self.ledger.send_replace(totals(self.version() + 1));
            }
            Event::Passes(ms) => self.pass(ms * MS).await,
            Event::Stalls(ms) => {
                self.line.flows.send_replace(false);
                sleep(ms * MS).await;
                self.line.flows.send_replace(true);
            }
            Event::Cuts => self.line.cut(),
            Event::Restarts => {
                self.run.stop.cancel();
                (&mut self.run.task).await.unwrap();
                self.start_again(0).await;
            }
            Event::Killed(lost) => {
                self.run.task.abort();
                self.line.cut();
                self.start_again(lost).await;
            }
            Event::Asks => {
                // A session that has ended asks nobody.
                self.session.as_ref().and_then(MintSession::request_stats);
            }
        }
    }

    /// Time passes. What works at its begin works at its end, and the pool knows what the mint knows.
    async fn pass(&mut self, time: Duration) {
        sleep(MS).await;
        self.look();
        let worked = self.works();
        let asked = worked
            .then(|| self.session.as_ref().and_then(MintSession::request_stats))
            .flatten();
        sleep(time).await;
        if worked && time > 2 * GAP {
            let view = self.cache.load();
            assert!(self.works(), "P9: {:?}", view.freshness(Instant::now().into_std()));
            let latest = sequence(&view);
            assert_eq!(latest, Some((self.run.id, self.version())), "P4: the newest");
            assert!(asked.is_some());
        }
    }

    /// Whether the mint of this run is connected, and its snapshots arrive.
    fn works(&self) -> bool {
        let view = self.cache.load();
        view.connection == Connection::Up { negotiated: true }
            && view
                .latest
                .as_ref()
                .is_some_and(|latest| latest.snapshot.run_id == self.run.id)
            && view.freshness(Instant::now().into_std()).status == Status::Live
    }

    /// Looks at what the page would show.
    fn look(&mut self) {
        while let Ok(session) = self.sessions.try_recv() {
            self.session = Some(session);
        }
        let view = self.cache.load();
        let Some((run, sequence)) = sequence(&view) else { return };
        match self.seen {
            Some((seen, before)) if seen == run => assert!(before <= sequence, "P8: {before}, then {sequence}"),
            Some(_) => self.restarts += 1,
            None => {}
        }
        assert_eq!(view.counters.restarts, self.restarts, "P8: restarts");
        assert_eq!(view.counters.malformed, 0, "what a mint says a pool can read");
        self.seen = Some((run, sequence));
    }

    /// Everything comes to rest: the pool shows what the mint has counted.
    async fn rest(mut self) {
        // The longest wait between two dials, and what a session takes to come to work.
        sleep(Duration::from_secs(15)).await;
        self.look();
        let view = self.cache.load();
        assert_eq!(sequence(&view), Some((self.run.id, self.version())), "P11");
        assert_eq!(view.freshness(Instant::now().into_std()).status, Status::Live, "P9");
        self.run.stop.cancel();
        self.run.task.await.unwrap();
    }
}

fn sequence(view: &MintView) -> Option<(RunId, u64)> {
    view.latest
        .as_ref()
        .map(|latest| (latest.snapshot.run_id, latest.snapshot.sequence))
}

fn run(line: &Line, key: &MintKey, push: PushConfig, ledger: &watch::Sender<Arc<Totals>>, id: u64) -> Run {
    let (calls, _) = mpsc::channel(1);
    let id = RunId(id);
    let mut mint = MintLink::new(key.clone(), calls, ledger.subscribe(), id);
    mint.push = push;
    let target = PoolTarget {
        address: "pool:1".into(),
        authority: line.authority,
    };
    let stop = CancellationToken::new();
    let (_, running) = mint.connect_by(line.clone(), target, stop.clone());
    Run {
        id,
        stop,
        task: tokio::spawn(running),
    }
}

async fn play(pipe: usize, interval: u32, events: Vec<Event>) {
    let mut bench = Bench::start(pipe, interval);
    for event in events {
        bench.happen(event).await;
        sleep(MS).await;
        bench.look();
    }
    bench.rest().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn p4_p8_p9_p11_whatever_the_line_does_the_pool_shows_what_the_mint_has_counted(
        pipe in 200usize..2_000, interval in 100u32..2_000, events in events(),
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(play(pipe, interval, events));
    }
}
