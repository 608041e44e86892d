//! Promises P2 to P8 and P10 on the wire, over random histories of a pool that asks, stalls, talks nonsense and goes away,
//! while the ledger changes: thousands of moves a run, in paused time.

use futures::SinkExt;
use proptest::prelude::*;
use tokio::time::{sleep, timeout_at};

use super::*;

const MS: Duration = Duration::from_millis(1);

/// What happens to the link.
#[derive(Clone, Debug)]
enum Event {
    /// The pool reads all that comes for so many milliseconds.
    Passes(u32),
    /// It reads nothing.
    Stalls(u32),
    Changes,
    Asks(u32),
    /// Quotes for this many shares.
    Quotes(u8),
    Nonsense(Nonsense),
    /// The connection is cut, and the next one found.
    Cuts,
}

/// A frame that is to be counted and dropped (P10).
#[derive(Clone, Copy, Debug)]
enum Nonsense {
    ShortStats,
    ShortQuote,
    Unknown,
    Misplaced,
}

impl Nonsense {
    fn frame(self) -> Frame {
        match self {
            Self::ShortStats => Frame::new(0x4D53, MINT_STATS_REQUEST, vec![1, 0]),
            Self::ShortQuote => Frame::new(3, MINT_QUOTE_REQUEST, vec![0; 20]),
            Self::Unknown => Frame::new(0x5555, 0x84, vec![7; 300]),
            Self::Misplaced => Frame::new(0x4D53, MINT_STATS_RESPONSE, Vec::new()),
        }
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let nonsense = prop_oneof![
        Just(Nonsense::ShortStats),
        Just(Nonsense::ShortQuote),
        Just(Nonsense::Unknown),
        Just(Nonsense::Misplaced),
    ];
    let event = prop_oneof![
        20 => (0u32..300).prop_map(Event::Passes),
        10 => (0u32..3_000).prop_map(Event::Passes),
        6 => (0u32..4_000).prop_map(Event::Stalls),
        20 => Just(Event::Changes),
        6 => (0u32..30).prop_map(Event::Asks),
        4 => (1u8..30).prop_map(Event::Quotes),
        6 => nonsense.prop_map(Event::Nonsense),
        1 => Just(Event::Cuts),
    ];
    prop::collection::vec(event, 1..60)
}

fn configs() -> impl Strategy<Value = PushConfig> {
    (100u32..3_000)
        .prop_flat_map(|interval| (Just(interval), 0..=interval.min(1_000)))
        .prop_map(|(interval, gap)| PushConfig::new(interval * MS, gap * MS).unwrap())
}

/// A snapshot, and when it came.
struct Heard {
    snapshot: Snapshot,
    at: Instant,
    /// It and the one before it were read as they came: their times are those of the mint.
    prompt: bool,
}

/// One session, as the pool has seen it.
struct Session {
    pool: RawPeer,
    began: Instant,
    heard: Vec<Heard>,
    answers: usize,
    asked: u32,
    /// How long the pool has read nothing.
    stalled: Duration,
    /// Since when it reads everything at once.
    reads_since: Instant,
}

/// The link and what the promises are judged by.
struct Bench {
    mint: Fixture,
    config: PushConfig,
    /// What fits into the pipe: more than this is never on its way.
    pipe: usize,
    version: u64,
    changed: Instant,
    /// Of the request that waits for its answer.
    open: Option<(u32, Instant)>,
    quotes: usize,
    dropped: [u64; 3],
}

impl Bench {
    async fn on(&mut self) -> Session {
        let pool = self.mint.asked();
        let mut pool = tokio::time::timeout(60 * SECOND, pool)
            .await
            .expect("the mint dials again");
        pool.send(granted(&[0x4D53, 0x4D50, 0x4D51])).await;
        assert_eq!(pool.frame().await.msg_type, MINT_PROOF);
        let mut session = Session {
            pool,
            began: Instant::now(),
            heard: Vec::new(),
            answers: 0,
            asked: 0,
            stalled: Duration::ZERO,
            reads_since: Instant::now(),
        };
        self.open = None;
        self.quotes = 0;
        self.hear_for(&mut session, Duration::ZERO).await;
        let first = session
            .heard
            .first()
            .map(|first| (first.snapshot.reason, first.snapshot.sequence));
        assert_eq!(first, Some((Reason::Initial, self.version)), "P2");
        session
    }

    /// Reads for this long, and a millisecond in which nothing but what is there already comes.
    async fn hear_for(&mut self, session: &mut Session, time: Duration) {
        let until = Instant::now() + time;
        while let Ok(frame) = timeout_at(until + MS, session.pool.reader.next()).await {
            let frame = frame.expect("the mint closed the connection").unwrap();
            match frame.msg_type {
                MINT_STATS_RESPONSE => {
                    let snapshot = snapshot(&frame);
                    if self.open.is_some_and(|(id, _)| snapshot.request_id >= id) {
                        self.open = None;
                    }
                    let prompt = session
                        .heard
                        .last()
                        .is_some_and(|before| before.at > session.reads_since);
                    let at = Instant::now();
                    session.heard.push(Heard { snapshot, at, prompt });
                }
                MINT_QUOTE_RESPONSE => session.answers += 1,
                other => panic!("the mint said {other:#x}"),
            }
        }
        session.stalled = Duration::ZERO;
    }

    async fn happen(&mut self, session: &mut Session, event: Event) {
        match event {
            Event::Passes(ms) => {
                self.hear_for(session, ms * MS).await;
                self.check(session);
            }
            // A batch that is not taken within ten seconds ends the session, rightly.
            Event::Stalls(ms) if session.stalled + ms * MS < 9 * SECOND => {
                session.stalled += ms * MS;
                sleep(ms * MS).await;
                session.reads_since = Instant::now();
            }
            Event::Stalls(_) => {}
            Event::Changes => {
                self.version += 1;
                self.changed = Instant::now();
                self.mint.totals.send(totals(self.version)).unwrap();
            }
            Event::Asks(id) => {
                session.pool.send(stats_request(id)).await;
                if id > session.asked {
                    session.asked = id;
                    self.open = Some((id, Instant::now()));
                } else {
                    // The id 0 is malformed, one that does not grow unexpected.
                    self.dropped[if id == 0 { 0 } else { 2 }] += 1;
                }
            }
            Event::Quotes(count) => {
                for tag in 0..count {
                    session.pool.send(quote_request(tag).to_frame().unwrap()).await;
                    self.mint.quotes.recv().await.unwrap().answer.created("a quote");
                }
                self.quotes += usize::from(count);
            }
            Event::Nonsense(nonsense) => {
                session.pool.send(nonsense.frame()).await;
                self.dropped[match nonsense {
                    Nonsense::ShortStats => 0,
                    Nonsense::ShortQuote => 1,
                    Nonsense::Unknown | Nonsense::Misplaced => 2,
                }] += 1;
            }
            Event::Cuts => {
                // What is on its way is heard by the mint before it sees the end.
                session.pool.writer.close().await.unwrap();
                session.pool.end().await;
                *session = self.on().await;
            }
        }
    }

    /// The pool reads everything, and has for a while.
    fn check(&self, session: &Session) {
        let (now, gap, interval) = (Instant::now(), self.config.min_gap(), self.config.interval());
        let last = session.heard.last().expect("the first one came");
        // A millisecond of it has passed after the moment that is judged.
        let reads_since = |moment: Instant| session.reads_since.max(moment) + MS;
        if now > reads_since(self.changed) + gap {
            assert_eq!(
                last.snapshot.sequence,
                self.version,
                "P4: the change of {:?} ago",
                now - self.changed
            );
        }
        if let Some((id, since)) = self.open {
            assert!(
                now <= reads_since(since) + gap,
                "P5: request {id} of {:?} ago",
                now - since
            );
        }
        if now > session.reads_since + interval + MS {
            assert!(now - last.at <= interval + MS, "P3: nothing for {:?}", now - last.at);
        }
        assert_eq!(session.answers, self.quotes, "P10: quotes go on");
    }

    /// What a session has been told as a whole.
    fn judge(&self, session: &Session) {
        let (gap, interval) = (self.config.min_gap(), self.config.interval());
        // More than the pipe holds has never been under way.
        let on_their_way = self.pipe / 98 + 4;
        for pair in session.heard.windows(2) {
            let (before, after) = (&pair[0], &pair[1]);
            let (at, next) = (after.at, &after.snapshot);
            assert!(next.sequence >= before.snapshot.sequence, "P8: a sequence that falls");
            assert_ne!(next.reason, Reason::Initial, "P2: one initial snapshot a session");
            let burst = session.heard.iter().filter(|other| other.at == at).count();
            assert!(burst <= on_their_way, "P7: {burst} snapshots at once");
            if after.prompt && next.reason == Reason::Event {
                assert!(
                    at - before.at >= gap,
                    "P4: an event {:?} after the push before it",
                    at - before.at
                );
            }
            if after.prompt && next.reason == Reason::Periodic {
                let phase = (at - session.began).as_nanos() % interval.as_nanos();
                assert_eq!(phase, 0, "P3: the phase");
            }
        }
        let answers = session
            .heard
            .iter()
            .map(|heard| heard.snapshot.request_id)
            .filter(|id| *id != 0);
        assert!(answers.is_sorted_by(|id, next| id < next), "P5: ids grow");
    }

    /// The mint stops in order.
    async fn stop(mut self, mut session: Session) {
        self.hear_for(&mut session, Duration::ZERO).await;
        self.version += 1;
        self.mint.totals.send(totals(self.version)).unwrap();
        self.mint.stop.cancel();
        let mut last = None;
        while let Some(Ok(frame)) = session.pool.reader.next().await {
            last = Some(snapshot(&frame));
        }
        let last = last.map(|last| (last.reason, last.sequence));
        assert_eq!(last, Some((Reason::Final, self.version)), "P6");
        drop(session);
        self.mint.task.await.unwrap();
        let counters = self.mint.metrics.read();
        let dropped = [counters.malformed_stats, counters.malformed_quotes, counters.unexpected];
        assert_eq!(dropped, self.dropped, "P10: what is dropped is counted");
    }
}

async fn play(config: PushConfig, pipe: usize, events: Vec<Event>) {
    let mut bench = Bench {
        mint: Fixture::with(pipe, |link| link.push = config),
        config,
        pipe,
        version: 1,
        changed: Instant::now(),
        open: None,
        quotes: 0,
        dropped: [0; 3],
    };
    let mut session = bench.on().await;
    for event in events {
        if matches!(event, Event::Cuts) {
            bench.judge(&session);
        }
        bench.happen(&mut session, event).await;
    }
    bench.judge(&session);
    bench.stop(session).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn p2_to_p8_p10_whatever_a_pool_does_the_mint_keeps_its_promises(
        config in configs(), pipe in 400usize..5_000, events in events(),
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(play(config, pipe, events));
    }
}
