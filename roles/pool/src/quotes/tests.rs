//! The pump between a real outbox and sessions whose far end is the test.

use mint_link::{DeviceInfo, Extensions, RefusalCode};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::outbox::{AcceptedShare, Answer, OutboxConfig};

/// The pump's end of a session.
struct FakeSession {
    requests: mpsc::Sender<MintQuoteRequest>,
    answers: mpsc::Receiver<QuoteAnswer>,
    issued: mpsc::Receiver<Vec<WireHash>>,
    info: watch::Receiver<SessionInfo>,
}

impl Session for FakeSession {
    fn requests(&self) -> &mpsc::Sender<MintQuoteRequest> {
        &self.requests
    }

    fn incoming(&mut self) -> Incoming<'_> {
        Incoming {
            answers: &mut self.answers,
            issued: &mut self.issued,
        }
    }

    fn watch_info(&self) -> watch::Receiver<SessionInfo> {
        self.info.clone()
    }
}

/// The mint's end of a session.
struct Mint {
    info: watch::Sender<SessionInfo>,
    requests: mpsc::Receiver<MintQuoteRequest>,
    answers: mpsc::Sender<QuoteAnswer>,
    issued: mpsc::Sender<Vec<WireHash>>,
}

impl Mint {
    /// The numbers of the next shares that are asked for.
    async fn asked(&mut self, count: usize) -> Vec<u8> {
        let mut asked = Vec::new();
        while asked.len() < count {
            let request = self.requests.recv().await.expect("the pump ended the session");
            assert_eq!(
                (request.unit.as_str(), request.amount, request.locking_key.len()),
                ("HASH", 4, 33)
            );
            asked.push(request.header_hash.0[0]);
        }
        asked
    }

    async fn creates(&self, n: u8) {
        let quote_id = format!("q{n}");
        let header_hash = WireHash([n; 32]);
        self.answers
            .send(QuoteAnswer::Created { header_hash, quote_id })
            .await
            .unwrap();
    }

    async fn refuses(&self, n: Option<u8>, code: RefusalCode, message: &str) {
        let header_hash = n.map(|n| WireHash([n; 32]));
        let message = message.to_owned();
        self.answers
            .send(QuoteAnswer::Refused {
                header_hash,
                code,
                message,
            })
            .await
            .unwrap();
    }

    /// Waits until the pump has let go of the session.
    async fn gone(mut self) {
        while self.requests.recv().await.is_some() {}
    }
}

struct World {
    dir: TempDir,
    outbox: Outbox,
    stats: PumpStats,
    sessions: mpsc::Sender<FakeSession>,
    stop: CancellationToken,
    pump: JoinHandle<()>,
}

impl World {
    fn new() -> Self {
        Self::with(16, Duration::from_secs(60))
    }

    fn with(window: usize, answer_timeout: Duration) -> Self {
        let dir = TempDir::new().unwrap();
        let outbox = open(&dir);
        let stats = PumpStats::default();
        let config = PumpConfig {
            unit: "HASH".to_owned(),
            window,
            answer_timeout,
        };
        let (sessions, receiver) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let pump = Pump::new(outbox.clone(), config, stats.clone()).run(receiver, stop.clone());
        let pump = tokio::spawn(pump);
        Self {
            dir,
            outbox,
            stats,
            sessions,
            stop,
            pump,
        }
    }

    async fn connect(&self, correlated: bool) -> Mint {
        let (requests_tx, requests) = mpsc::channel(64);
        let (answers, answers_rx) = mpsc::channel(64);
        let (issued, issued_rx) = mpsc::channel(64);
        let info = watch::Sender::new(SessionInfo {
            address: "127.0.0.1:1".parse().unwrap(),
            device: DeviceInfo::default(),
            public_key: None,
            extensions: Extensions {
                quotes: correlated,
                ..Extensions::default()
            },
            legacy: !correlated,
        });
        let session = FakeSession {
            requests: requests_tx,
            answers: answers_rx,
            issued: issued_rx,
            info: info.subscribe(),
        };
        assert!(self.sessions.send(session).await.is_ok());
        Mint {
            info,
            requests,
            answers,
            issued,
        }
    }

    async fn accept(&self, range: std::ops::Range<u8>) {
        for n in range {
            self.outbox.enqueue(share(n)).await.unwrap();
        }
    }

    async fn waiting(&self, count: u64) {
        let mut view = self.outbox.watch();
        view.wait_for(|view| view.tally.waiting == count).await.unwrap();
    }

    async fn answer_of(&self, n: u8) -> Option<Answer> {
        self.outbox.record([n; 32]).await.unwrap().unwrap().answer
    }
}

fn open(dir: &TempDir) -> Outbox {
    Outbox::open(dir.path().join("outbox.sqlite"), &OutboxConfig::default()).unwrap()
}

fn share(n: u8) -> AcceptedShare {
    AcceptedShare {
        header_hash: [n; 32],
        amount: 4,
        locking_key: [2; 33],
    }
}

fn acknowledged(n: u8) -> Option<Answer> {
    let quote_id = Some(format!("q{n}"));
    Some(Answer::Acknowledged { quote_id })
}

#[tokio::test]
async fn shares_that_wait_and_shares_that_come_are_asked_for_and_recorded() {
    let world = World::new();
    world.accept(0..3).await;
    let mut mint = world.connect(true).await;
    assert_eq!(mint.asked(3).await, [0, 1, 2]);
    mint.creates(1).await;
    mint.refuses(Some(0), RefusalCode::LockingKey, "no key").await;
    world.waiting(1).await;
    world.accept(3..4).await;
    assert_eq!(mint.asked(1).await, [3]);
    mint.creates(3).await;
    mint.creates(2).await;
    mint.creates(2).await;
    world.waiting(0).await;
    assert_eq!(world.answer_of(1).await, acknowledged(1));
    let refused = Answer::Refused {
        code: 3,
        message: "no key".to_owned(),
    };
    assert_eq!(world.answer_of(0).await, Some(refused));
    let quotes = world.outbox.quotes_after(0, 10).await.unwrap();
    assert_eq!(quotes.len(), 3);
}

#[tokio::test]
async fn the_window_bounds_what_is_on_the_way() {
    let world = World::with(4, Duration::from_secs(60));
    world.accept(0..10).await;
    let mut mint = world.connect(true).await;
    assert_eq!(mint.asked(4).await, [0, 1, 2, 3]);
    mint.creates(2).await;
    assert_eq!(mint.asked(1).await, [4]);
    assert!(mint.requests.try_recv().is_err());
}

#[tokio::test]
async fn after_a_reconnect_what_has_no_answer_is_asked_again_oldest_first() {
    let world = World::new();
    world.accept(0..6).await;
    let mut first = world.connect(true).await;
    assert_eq!(first.asked(6).await, [0, 1, 2, 3, 4, 5]);
    first.creates(4).await;
    first.creates(0).await;
    drop(first);
    let mut second = world.connect(true).await;
    assert_eq!(second.asked(4).await, [1, 2, 3, 5]);
    world.waiting(4).await;
    assert_eq!(
        (world.answer_of(0).await, world.answer_of(4).await),
        (acknowledged(0), acknowledged(4))
    );
}

#[tokio::test]
async fn the_newest_session_replaces_the_older_whose_answers_still_count() {
    let world = World::new();
    world.accept(0..2).await;
    let mut older = world.connect(true).await;
    assert_eq!(older.asked(2).await, [0, 1]);
    older.creates(0).await;
    let mut newer = world.connect(true).await;
    older.gone().await;
    assert_eq!(newer.asked(1).await, [1]);
    newer.creates(1).await;
    world.waiting(0).await;
    assert_eq!(world.outbox.view().tally.acknowledged, 2);
}

#[tokio::test]
async fn a_legacy_mint_gets_one_request_at_a_time() {
    let world = World::new();
    world.accept(0..4).await;
    let mut mint = world.connect(false).await;
    assert_eq!(mint.asked(1).await, [0]);
    mint.creates(0).await;
    assert_eq!(mint.asked(1).await, [1]);
    mint.refuses(None, RefusalCode::Other, "Duplicate entry").await;
    assert_eq!(mint.asked(1).await, [2]);
    assert!(mint.requests.try_recv().is_err());
    mint.refuses(None, RefusalCode::Other, "no").await;
    assert_eq!(mint.asked(1).await, [3]);
    world.waiting(1).await;
    assert_eq!(world.answer_of(1).await, Some(Answer::Acknowledged { quote_id: None }));
    let refused = Answer::Refused {
        code: 1,
        message: "no".to_owned(),
    };
    assert_eq!(world.answer_of(2).await, Some(refused));
}

#[tokio::test]
async fn a_legacy_mint_that_is_silent_is_left_and_the_next_share_has_its_turn() {
    let world = World::with(16, Duration::from_secs(1));
    world.accept(0..2).await;
    let mut mint = world.connect(false).await;
    assert_eq!(mint.asked(1).await, [0]);
    mint.gone().await;
    let mut again = world.connect(false).await;
    assert_eq!(again.asked(1).await, [1]);
    again.creates(1).await;
    assert_eq!(again.asked(1).await, [0], "asked again: it leaves only by an answer");
    assert_eq!(world.stats.counts().unanswered, 1);
}

#[tokio::test]
async fn a_legacy_mint_that_negotiates_after_all_gets_the_window() {
    let world = World::new();
    world.accept(0..3).await;
    let mut mint = world.connect(false).await;
    assert_eq!(mint.asked(1).await, [0]);
    mint.info.send_modify(|info| info.extensions.quotes = true);
    assert_eq!(mint.asked(2).await, [1, 2]);
}

#[tokio::test]
async fn a_busy_mint_is_asked_again() {
    let world = World::new();
    world.accept(0..1).await;
    let mut mint = world.connect(true).await;
    assert_eq!(mint.asked(1).await, [0]);
    mint.refuses(Some(0), RefusalCode::Busy, "later").await;
    assert_eq!(mint.asked(1).await, [0]);
    mint.creates(0).await;
    world.waiting(0).await;
    assert_eq!(world.stats.counts().busy, 1);
    assert!(world.outbox.view().tally.refused.is_empty());
}

#[tokio::test]
async fn what_the_mint_has_issued_is_no_longer_listed_and_answers_go_on() {
    let world = World::new();
    world.accept(0..4).await;
    let mut mint = world.connect(true).await;
    assert_eq!(mint.asked(4).await, [0, 1, 2, 3]);
    for n in 0..3 {
        mint.creates(n).await;
    }
    world.waiting(1).await;
    let hash = |n: u8| WireHash([n; 32]);
    // Of no share of this pool, of one that waits, and twice the same.
    for message in [vec![hash(99), hash(0)], vec![hash(3)], vec![], vec![hash(0), hash(2)]] {
        mint.issued.send(message).await.unwrap();
    }
    let mut view = world.outbox.watch();
    view.wait_for(|view| view.tally.redeemed == 2).await.unwrap();
    let listed = world.outbox.quotes_of([2; 33], 0, 10).await.unwrap();
    assert_eq!(
        listed.iter().map(|quote| quote.quote_id.as_str()).collect::<Vec<_>>(),
        ["q1"]
    );
    mint.creates(3).await;
    world.waiting(0).await;
    assert_eq!(world.outbox.quotes_of([2; 33], 0, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_another_process_enqueues_is_asked_for() {
    let world = World::new();
    let mut mint = world.connect(true).await;
    let feeder = open(&world.dir);
    feeder.enqueue(share(7)).await.unwrap();
    assert_eq!(mint.asked(1).await, [7]);
}

#[tokio::test]
async fn answers_that_can_not_be_recorded_are_recorded_later() {
    let world = World::new();
    world.accept(0..2).await;
    let mut mint = world.connect(true).await;
    assert_eq!(mint.asked(2).await, [0, 1]);
    let blocker = Connection::open(world.dir.path().join("outbox.sqlite")).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    mint.creates(0).await;
    world
        .outbox
        .watch()
        .wait_for(|view| view.storage_errors > 0)
        .await
        .unwrap();
    mint.creates(1).await;
    // The mint may go: its answers are known.
    drop(mint);
    blocker.execute_batch("ROLLBACK").unwrap();
    world.waiting(0).await;
    assert_eq!(
        (world.answer_of(0).await, world.answer_of(1).await),
        (acknowledged(0), acknowledged(1))
    );
}

#[tokio::test]
async fn a_stop_records_the_answers_that_have_come() {
    let world = World::new();
    world.accept(0..3).await;
    let mut mint = world.connect(true).await;
    assert_eq!(mint.asked(3).await, [0, 1, 2]);
    for n in 0..3 {
        mint.creates(n).await;
    }
    world.stop.cancel();
    world.pump.await.unwrap();
    assert_eq!(world.outbox.view().tally.waiting, 0);
    mint.gone().await;
}
