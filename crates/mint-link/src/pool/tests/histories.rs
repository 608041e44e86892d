//! Promises P8, P9 and P10 at the pool's end, over random histories of mints that come, go, overlap, are not who they say,
//! and talk nonsense or out of order: thousands of moves a run, in paused time, each compared with a model.

use proptest::prelude::*;
use tokio::time::sleep;

use super::*;

const MS: Duration = Duration::from_millis(1);

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    /// The mint that is listed.
    Listed,
    /// One that is not: it proves a key of its own.
    Stranger,
    /// One that repeats what it has heard: a proof of another connection.
    Replaying,
    /// One that never proves itself.
    Silent,
    /// The listed one, of a run that has lost the place to another that works.
    Displaced,
}

/// What happens; mints by their place among those that are connected.
#[derive(Clone, Debug)]
enum Event {
    /// Somebody, who may push a snapshot at once.
    Comes(Who, Option<Pushed>),
    Pushes(prop::sample::Index, Pushed),
    Answers(prop::sample::Index, u8),
    Nonsense(prop::sample::Index, Nonsense),
    Goes(prop::sample::Index),
    /// The pool's role asks for statistics.
    Asks,
    /// The pool's role lets its session go.
    LetsGo,
    Passes(u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Pushed {
    run: u64,
    sequence: u64,
    interval: u32,
}

/// A frame that is to be counted and dropped (P10).
#[derive(Clone, Copy, Debug)]
enum Nonsense {
    ShortStats,
    WrongInterval,
    ShortQuote,
    Unknown,
    Misplaced,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let mint = any::<prop::sample::Index>;
    let who = prop_oneof![
        5 => Just(Who::Listed),
        1 => Just(Who::Stranger),
        1 => Just(Who::Replaying),
        1 => Just(Who::Silent),
    ];
    let pushed = (0u64..2, 0u64..10, 100u32..3_000).prop_map(|(run, sequence, interval)| Pushed {
        run,
        sequence,
        interval,
    });
    let nonsense = prop::sample::select(vec![
        Nonsense::ShortStats,
        Nonsense::WrongInterval,
        Nonsense::ShortQuote,
        Nonsense::Unknown,
        Nonsense::Misplaced,
    ]);
    let first = prop::option::weighted(0.7, pushed.clone());
    let event = prop_oneof![
        4 => (who, first).prop_map(|(who, first)| Event::Comes(who, first)),
        20 => (mint(), pushed).prop_map(|(mint, pushed)| Event::Pushes(mint, pushed)),
        6 => (mint(), any::<u8>()).prop_map(|(mint, tag)| Event::Answers(mint, tag)),
        6 => (mint(), nonsense).prop_map(|(mint, nonsense)| Event::Nonsense(mint, nonsense)),
        2 => mint().prop_map(Event::Goes),
        2 => Just(Event::Asks),
        1 => Just(Event::LetsGo),
        8 => (0u32..4_000).prop_map(Event::Passes),
    ];
    prop::collection::vec(event, 1..40)
}

impl Pushed {
    fn frame(self) -> Frame {
        let snapshot = Snapshot {
            request_id: 0,
            reason: Reason::Event,
            run_id: RunId(self.run),
            sequence: self.sequence,
            taken_at: UnixMillis(0),
            interval: self.interval * MS,
            ehash: EhashTotals::default(),
            units_total: 0,
            units: Arc::new([]),
        };
        Frame::new(0x4D53, MINT_STATS_RESPONSE, snapshot.encode())
    }
}

impl Nonsense {
    fn frame(self) -> Frame {
        match self {
            Self::ShortStats => Frame::new(0x4D53, MINT_STATS_RESPONSE, vec![0; 91]),
            Self::WrongInterval => Pushed {
                run: 0,
                sequence: 0,
                interval: 99,
            }
            .frame(),
            Self::ShortQuote => Frame::new(3, 0x81, vec![5, 0, 0]),
            Self::Unknown => Frame::new(0x5555, 0x84, vec![7; 300]),
            Self::Misplaced => Frame::new(0x4D53, MINT_STATS_REQUEST, vec![1, 0, 0, 0]),
        }
    }
}

/// A mint that is connected.
struct Mint {
    dialled: Dialled,
    id: u64,
    who: Who,
    since: Instant,
}

impl Mint {
    /// How often a frame of it, which waits before the gate, counts as unexpected. Who is refused is not heard any more.
    fn unexpected(&self) -> u64 {
        u64::from(self.who == Who::Silent)
    }
}

/// A pool, the mints in the test's hands, and what the promises make of it all.
struct Bench {
    pool: Fixture,
    key: MintKey,
    replayed: Frame,
    mints: Vec<Mint>,
    came: u64,
    /// The mint whose session works, with the role's end of it.
    working: Option<(u64, MintSession)>,
    worked_once: bool,
    /// Sessions whose mint has lost the place, in the hands of a role that has not let them go.
    replaced: Vec<MintSession>,
    /// The run of the mint that works, once it is known, and those that have lost the place to another.
    run: Option<u64>,
    displaced: Vec<u64>,
    latest: Option<(Pushed, Instant)>,
    outdated: u64,
    /// Malformed statistics, malformed quotes, unexpected.
    dropped: [u64; 3],
}

impl Bench {
    async fn new() -> Self {
        let key = MintKey::generate();
        let mut pool = Fixture::new(only(key.public()));
        let other = pool.granted(&ALL).await;
        let replayed = MintProof::new(&key, &other.mint.transcript).to_frame(&ExtensionIds::default());
        drop(other);
        sleep(MS).await;
        assert!(pool.nothing_shows());
        Self {
            pool,
            key,
            replayed,
            mints: Vec::new(),
            came: 0,
            working: None,
            worked_once: false,
            replaced: Vec::new(),
            run: None,
            displaced: Vec::new(),
            latest: None,
            outdated: 0,
            dropped: [0; 3],
        }
    }

    fn pick(&mut self, index: prop::sample::Index) -> Option<(&mut Mint, bool)> {
        let working = self.working.as_ref().map(|(id, _)| *id);
        let count = self.mints.len();
        let mint = (count > 0)
            .then(|| index.index(count))
            .and_then(|at| self.mints.get_mut(at))?;
        let works = working == Some(mint.id);
        Some((mint, works))
    }

    async fn come(&mut self, who: Who, first: Option<Pushed>) {
        let mut dialled = self.pool.granted(&ALL).await;
        match who {
            Who::Listed => dialled.prove(&self.key).await,
            Who::Stranger => dialled.prove(&MintKey::generate()).await,
            Who::Replaying => dialled.mint.send(self.replayed.clone()).await,
            Who::Silent | Who::Displaced => {}
        }
        self.came += 1;
        let who = match who {
            Who::Listed => self.enter(&mut dialled, first).await,
            stranger => stranger,
        };
        let (id, since) = (self.came, Instant::now());
        self.mints.push(Mint {
            dialled,
            id,
            who,
            since,
        });
    }

    /// A proven mint takes the place of the one that works, unless that one's run has taken it from its run before.
    async fn enter(&mut self, dialled: &mut Dialled, first: Option<Pushed>) -> Who {
        if let Some(first) = first {
            dialled.mint.send(first.frame()).await;
        }
        if let (Some(before), Some(first)) = (self.run, first)
            && before != first.run
        {
            if self.displaced.contains(&first.run) {
                return Who::Displaced;
            }
            self.displaced.push(before);
        }
        // Where the run of the one that works is known, the pool waits for the newcomer to tell its own.
        let session = self.pool.sessions.recv().await.unwrap();
        let before = self.working.replace((self.came, session));
        self.replaced.extend(before.map(|(_, session)| session));
        self.worked_once = true;
        self.run = None;
        if let Some(first) = first {
            self.is_told(first);
        }
        Who::Listed
    }

    /// The mint that works has pushed this.
    fn is_told(&mut self, pushed: Pushed) {
        self.run = Some(pushed.run);
        match self.latest.filter(|(latest, _)| latest.run == pushed.run) {
            Some((latest, _)) if pushed.sequence < latest.sequence => self.outdated += 1,
            _ => self.latest = Some((pushed, Instant::now())),
        }
    }

    /// Nobody works any more.
    fn is_left(&mut self) {
        self.working = None;
        self.run = None;
    }

    async fn happen(&mut self, event: Event) {
        match event {
            Event::Comes(who, first) => self.come(who, first).await,
            Event::Pushes(mint, pushed) => {
                let Some((mint, works)) = self.pick(mint) else { return };
                mint.dialled.mint.send(pushed.frame()).await;
                let before_the_gate = mint.unexpected();
                if works {
                    self.is_told(pushed);
                }
                self.dropped[2] += before_the_gate;
            }
            Event::Answers(mint, tag) => {
                let Some((mint, works)) = self.pick(mint) else { return };
                mint.dialled.mint.send(created(tag).to_frame(true).unwrap()).await;
                let before_the_gate = mint.unexpected();
                self.dropped[2] += before_the_gate;
                if let (true, Some((_, session))) = (works, &mut self.working) {
                    assert_eq!(session.answers.recv().await, Some(created(tag)), "P10: quotes go on");
                }
            }
            Event::Nonsense(mint, nonsense) => {
                let Some((mint, works)) = self.pick(mint) else { return };
                mint.dialled.mint.send(nonsense.frame()).await;
                let before_the_gate = mint.unexpected();
                let counted = match nonsense {
                    Nonsense::ShortStats | Nonsense::WrongInterval if works => 0,
                    Nonsense::ShortQuote if works => 1,
                    _ => 2,
                };
                self.dropped[counted] += if works { 1 } else { before_the_gate };
            }
            Event::Goes(mint) => {
                let Some((mint, works)) = self.pick(mint) else { return };
                let id = mint.id;
                self.mints.retain(|mint| mint.id != id);
                if works {
                    self.is_left();
                }
            }
            Event::Asks => {
                if let Some((_, session)) = &self.working {
                    assert!(session.request_stats().is_some());
                }
            }
            Event::LetsGo => self.is_left(),
            Event::Passes(ms) => sleep(ms * MS).await,
        }
    }

    /// Lets the pool come to rest, and takes leave of the mints that it has let go.
    async fn rest(&mut self) {
        sleep(MS).await;
        let now = Instant::now();
        let working = self.working.as_ref().map(|(id, _)| *id);
        for mint in std::mem::take(&mut self.mints) {
            let stays = match mint.who {
                Who::Listed => working == Some(mint.id),
                Who::Stranger | Who::Replaying | Who::Displaced => now < mint.since + SECOND,
                Who::Silent => now < mint.since + 10 * SECOND,
            };
            let gone = mint.dialled.ended.is_finished();
            // A millisecond on either side belongs to whoever comes first.
            let edges = [SECOND, 10 * SECOND].map(|edge| mint.since + edge);
            let on_the_edge = edges.iter().any(|edge| now.max(*edge) - now.min(*edge) <= 2 * MS);
            assert!(
                gone != stays || on_the_edge,
                "{:?} came {:?} ago: {stays}",
                mint.who,
                now - mint.since
            );
            if !gone {
                self.mints.push(mint);
            }
        }
        self.replaced.clear();
    }

    /// What a reader sees is what the promises say.
    fn check(&mut self) {
        let view = self.pool.cache.load();
        let latest = view.latest.as_ref().map(|latest| {
            let snapshot = &latest.snapshot;
            (snapshot.run_id.0, snapshot.sequence, latest.at)
        });
        let expected = self
            .latest
            .map(|(pushed, at)| (pushed.run, pushed.sequence, at.into_std()));
        assert_eq!(latest, expected, "P8: the newest");
        let status = match (&self.working, self.latest, self.worked_once) {
            (_, _, false) => Status::Never,
            (None, ..) => Status::Disconnected,
            (Some(_), None, _) => Status::Never,
            (Some(_), Some((pushed, at)), _) if at.elapsed() > (3 * pushed.interval * MS).max(2 * SECOND) => {
                Status::Stale
            }
            (Some(_), Some(_), _) => Status::Live,
        };
        assert_eq!(self.pool.status(), status, "P9");
        let counters = self.pool.link.metrics.read();
        let dropped = [counters.malformed_stats, counters.malformed_quotes, counters.unexpected];
        assert_eq!(dropped, self.dropped, "P10: what is dropped is counted");
        assert_eq!(view.counters.outdated, self.outdated, "P8: what is older is counted");
        assert!(self.pool.sessions.try_recv().is_err(), "a session nobody let in");
    }
}

async fn play(events: Vec<Event>) {
    let mut bench = Bench::new().await;
    for event in events {
        bench.happen(event).await;
        bench.rest().await;
        bench.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn p8_p9_p10_whatever_mints_do_the_pool_shows_what_the_promises_say(events in events()) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(play(events));
    }
}
