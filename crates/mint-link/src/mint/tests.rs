use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use futures::StreamExt;
use stats_push::{MINT_STATS_REQUEST, MINT_STATS_RESPONSE, MintStatsRequest, Reason, Snapshot};
use sv2_transport::{AuthorityKeypair, Frame};
use tokio::{io::DuplexStream, task::JoinHandle, time::Instant};

use super::*;
use crate::{
    FailureReason, HeaderHash, MINT_PROOF, MINT_QUOTE_ERROR, MINT_QUOTE_REQUEST, MINT_QUOTE_RESPONSE, MintProof,
    QuoteAnswer, RefusalCode,
    extensions::{ExtensionMessage, Extensions},
    setup,
    testkit::{RawPeer, granted, negotiation, quote_request, settle, totals},
};

const SECOND: Duration = Duration::from_secs(1);

/// Hands the far end of each dial to the test, or fails it.
struct Pipes {
    dials: mpsc::UnboundedSender<(Instant, DuplexStream)>,
    down: Arc<AtomicBool>,
    size: usize,
}

impl Connector for Pipes {
    type Stream = DuplexStream;

    async fn connect(&self, address: &str) -> io::Result<(DuplexStream, std::net::SocketAddr)> {
        let (near, far) = tokio::io::duplex(self.size);
        self.dials.send((Instant::now(), far)).unwrap();
        if self.down.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok((near, address.parse().unwrap()))
    }
}

/// A mint that dials one pool, which the test plays.
struct Fixture {
    authority: AuthorityKeypair,
    key: MintKey,
    dials: mpsc::UnboundedReceiver<(Instant, DuplexStream)>,
    down: Arc<AtomicBool>,
    quotes: mpsc::Receiver<QuoteCall>,
    totals: watch::Sender<Arc<Totals>>,
    status: watch::Receiver<LinkStatus>,
    metrics: Arc<LinkMetrics>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Fixture {
    fn start() -> Self {
        Self::with(1 << 20, |_| {})
    }

    fn with(pipe: usize, alter: impl FnOnce(&mut MintLink)) -> Self {
        let (authority, key) = (AuthorityKeypair::generate(), MintKey::generate());
        let (calls, quotes) = mpsc::channel(16);
        let (totals, published) = watch::channel(totals(1));
        let mut link = MintLink::new(key.clone(), calls, published, RunId(7));
        alter(&mut link);
        let (dialled, dials) = mpsc::unbounded_channel();
        let down = Arc::new(AtomicBool::new(false));
        let pipes = Pipes {
            dials: dialled,
            down: Arc::clone(&down),
            size: pipe,
        };
        let target = PoolTarget {
            address: "127.0.0.1:34260".into(),
            authority: authority.public(),
        };
        let stop = CancellationToken::new();
        let (status, running) = link.connect_by(pipes, target, stop.clone());
        Self {
            authority,
            key,
            dials,
            down,
            quotes,
            totals,
            status,
            metrics: link.metrics,
            stop,
            task: tokio::spawn(running),
        }
    }

    /// The far end of the next dial, after the handshake.
    async fn accept(&mut self) -> RawPeer {
        let (_, stream) = self.dials.recv().await.unwrap();
        RawPeer::as_pool(stream, &self.authority).await
    }

    /// The same, after SetupConnection.
    async fn set_up(&mut self) -> RawPeer {
        let mut pool = self.accept().await;
        let setup = pool.frame().await;
        assert_eq!((setup.extension_type, setup.channel_msg, setup.msg_type), (0, false, 0));
        pool.send(setup::setup_success().unwrap()).await;
        pool
    }

    /// The same, after RequestExtensions.
    async fn asked(&mut self) -> RawPeer {
        let mut pool = self.set_up().await;
        let requested = vec![0x4D53, 0x4D50, 0x4D51];
        let request = ExtensionMessage::Request {
            request_id: 1,
            requested,
        };
        assert_eq!(pool.frame().await, negotiation(request));
        pool
    }

    /// The same, after a Success for all and what the mint sends upon it.
    async fn on(&mut self) -> RawPeer {
        let mut pool = self.asked().await;
        pool.send(granted(&[0x4D53, 0x4D50, 0x4D51])).await;
        assert_eq!(pool.frame().await.msg_type, MINT_PROOF);
        assert_eq!(snapshot(&pool.frame().await).reason, Reason::Initial);
        pool
    }

    async fn negotiated(&mut self, wanted: Negotiated) {
        let seen = self
            .status
            .wait_for(|status| matches!(status.state, LinkState::Connected { negotiated, .. } if negotiated == wanted));
        tokio::time::timeout(60 * SECOND, seen).await.unwrap().unwrap();
    }

    async fn quote_is_served(&mut self, pool: &mut RawPeer) {
        pool.send(quote_request(9).to_frame().unwrap()).await;
        let call = self.quotes.recv().await.unwrap();
        assert_eq!(call.request, quote_request(9));
        assert_eq!(&*call.pool, "127.0.0.1:34260");
        call.answer.created("a quote");
        assert_eq!(pool.frame().await, created(9).to_frame(true).unwrap());
    }
}

fn created(tag: u8) -> QuoteAnswer {
    QuoteAnswer::Created {
        header_hash: HeaderHash([tag; 32]),
        quote_id: "a quote".to_owned(),
    }
}

fn snapshot(frame: &Frame) -> Snapshot {
    assert_eq!(
        (frame.extension_type, frame.channel_msg, frame.msg_type),
        (0x4D53, false, MINT_STATS_RESPONSE)
    );
    Snapshot::decode(&frame.payload).unwrap()
}

fn stats_request(request_id: u32) -> Frame {
    Frame::new(0x4D53, MINT_STATS_REQUEST, MintStatsRequest { request_id }.encode())
}

#[tokio::test(start_paused = true)]
async fn p2_after_a_success_the_proof_goes_out_at_once_and_the_initial_snapshot_right_behind_it() {
    let mut mint = Fixture::start();
    let mut pool = mint.asked().await;
    assert!(matches!(
        mint.status.borrow().state,
        LinkState::Connected {
            negotiated: Negotiated::Pending,
            peer: Some(_),
            ..
        }
    ));
    let asked_at = Instant::now();
    pool.send(granted(&[0x4D50, 0x4D51, 0x4D53])).await;
    let proof = pool.frame().await;
    assert_eq!(
        (proof.extension_type, proof.channel_msg, proof.msg_type),
        (0x4D50, false, MINT_PROOF)
    );
    let proof = MintProof::decode(proof.payload).unwrap();
    assert_eq!(proof.verify(&pool.transcript), Ok(mint.key.public()));
    let initial = snapshot(&pool.frame().await);
    assert_eq!(
        (initial.reason, initial.sequence, initial.run_id),
        (Reason::Initial, 1, RunId(7))
    );
    assert_eq!(Instant::now(), asked_at);
    mint.negotiated(Negotiated::On(Extensions::ALL)).await;
}

#[tokio::test(start_paused = true)]
async fn a_subset_turns_on_that_subset_alone() {
    let mut mint = Fixture::start();
    let mut pool = mint.asked().await;
    pool.send(granted(&[0x4D53])).await;
    assert_eq!(snapshot(&pool.frame().await).reason, Reason::Initial);
    mint.negotiated(Negotiated::On(Extensions {
        stats: true,
        proof: false,
        quotes: false,
    }))
    .await;
    // A refusal stays as older pools know it.
    pool.send(quote_request(1).to_frame().unwrap()).await;
    mint.quotes
        .recv()
        .await
        .unwrap()
        .answer
        .refused(RefusalCode::Amount, "no");
    assert_eq!(
        hex::encode(pool.frame().await.to_bytes().unwrap()),
        "03808207000001000000026e6f"
    );
}

#[tokio::test(start_paused = true)]
async fn p3_p4_periodic_and_event_pushes_reach_the_wire() {
    let mut mint = Fixture::start();
    let mut pool = mint.on().await;
    let start = Instant::now();
    assert_eq!(snapshot(&pool.frame().await).reason, Reason::Periodic);
    assert_eq!(start.elapsed(), 5 * SECOND);
    tokio::time::advance(SECOND).await;
    mint.totals.send(totals(2)).unwrap();
    let event = snapshot(&pool.frame().await);
    assert_eq!(
        (event.reason, event.sequence, start.elapsed()),
        (Reason::Event, 2, 6 * SECOND)
    );
}

#[tokio::test(start_paused = true)]
async fn p5_a_request_is_answered_and_ids_only_grow() {
    let mut mint = Fixture::start();
    let mut pool = mint.on().await;
    pool.send(stats_request(5)).await;
    let answer = snapshot(&pool.frame().await);
    assert_eq!((answer.reason, answer.request_id), (Reason::Requested, 5));
    pool.send(stats_request(5)).await;
    pool.send(stats_request(6)).await;
    assert_eq!(snapshot(&pool.frame().await).request_id, 6);
    assert_eq!(mint.metrics.read().unexpected, 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_pool_is_a_legacy_pool_and_gets_quotes_alone_until_a_late_success() {
    let mut mint = Fixture::start();
    let mut pool = mint.asked().await;
    // From SetupConnection.Success on, also while the question is open.
    mint.quote_is_served(&mut pool).await;
    mint.negotiated(Negotiated::Legacy(LegacyReason::NoAnswer)).await;
    mint.totals.send(totals(2)).unwrap();
    tokio::time::advance(60 * SECOND).await;
    mint.quote_is_served(&mut pool).await;
    pool.send(granted(&[0x4D53])).await;
    assert_eq!(snapshot(&pool.frame().await).reason, Reason::Initial);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_takes_the_question_for_a_second_setup_is_a_legacy_pool() {
    for answer in [
        setup::setup_success().unwrap(),
        setup::setup_error("unsupported-protocol", 0).unwrap(),
    ] {
        let mut mint = Fixture::start();
        let mut pool = mint.asked().await;
        pool.send(answer).await;
        mint.negotiated(Negotiated::Legacy(LegacyReason::Misunderstood)).await;
        mint.quote_is_served(&mut pool).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_closes_on_the_question_is_dialled_without_it_and_later_asked_again() {
    for answer in [None, Some(setup::setup_error("unsupported-protocol", 0).unwrap())] {
        let mut mint = Fixture::start();
        let mut pool = mint.asked().await;
        if let Some(answer) = answer {
            pool.send(answer).await;
        }
        drop(pool);
        let mut pool = mint.set_up().await;
        mint.quote_is_served(&mut pool).await;
        assert!(matches!(
            mint.status.borrow().state,
            LinkState::Connected {
                negotiated: Negotiated::Legacy(LegacyReason::NotAsked),
                ..
            }
        ));
        drop(pool);
        mint.on().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_is_followed_by_a_request_for_the_rest() {
    let mut mint = Fixture::start();
    let mut pool = mint.asked().await;
    let error = ExtensionMessage::Error {
        request_id: 1,
        unsupported: vec![0x4D53, 0x4D51],
        required: vec![0x4D50],
    };
    pool.send(negotiation(error)).await;
    let again = ExtensionMessage::Request {
        request_id: 2,
        requested: vec![0x4D50],
    };
    assert_eq!(pool.frame().await, negotiation(again));
    let success = ExtensionMessage::Success {
        request_id: 2,
        supported: vec![0x4D50],
    };
    pool.send(negotiation(success)).await;
    assert_eq!(pool.frame().await.msg_type, MINT_PROOF);
}

#[tokio::test(start_paused = true)]
async fn a_setup_that_fails_ends_the_attempt_with_its_reason() {
    let version_3 = Frame::new(0, 1, vec![3, 0, 0, 0, 0, 0]);
    let cases = [
        (
            Some(setup::setup_error("go away", 0).unwrap()),
            "go away",
            FailureReason::Setup,
        ),
        (Some(version_3), "version 3", FailureReason::Setup),
        (None, "setup not done within 10s", FailureReason::Deadline),
    ];
    for (answer, reason, counted) in cases {
        let mut mint = Fixture::start();
        let mut pool = mint.accept().await;
        pool.frame().await;
        if let Some(answer) = answer {
            // What is not an answer is passed over.
            pool.send(Frame::new(0x4D00, 1, vec![])).await;
            pool.send(answer).await;
        }
        pool.end().await;
        let (_, _again) = mint.dials.recv().await.unwrap();
        let status = mint.status.borrow_and_update().clone();
        assert!(status.last_error.as_ref().unwrap().contains(reason), "{status:?}");
        assert_eq!((status.sessions, status.failures_in_a_row), (0, 1));
        assert_eq!(mint.metrics.read().ended(counted), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_silent_in_the_handshake_or_holds_another_key_is_left() {
    let mut mint = Fixture::start();
    let (dialled, _silent) = mint.dials.recv().await.unwrap();
    let (again, stream) = mint.dials.recv().await.unwrap();
    assert!((10 * SECOND..11 * SECOND).contains(&(again - dialled)));
    RawPeer::as_pool(stream, &AuthorityKeypair::generate()).await;
    mint.dials.recv().await.unwrap();
    let said = mint.status.borrow().last_error.clone().unwrap();
    assert!(said.contains(&mint.authority.public().to_string()), "{said}");
    let counters = mint.metrics.read();
    assert_eq!(counters.ended(FailureReason::WrongAuthority), 1);
    assert_eq!(counters.ended(FailureReason::Deadline), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_closes_right_after_the_proof_is_said_not_to_list_the_key() {
    let mut mint = Fixture::start();
    drop(mint.on().await);
    let mut pool = mint.on().await;
    let said = mint.status.borrow().last_error.clone().unwrap();
    for part in [&*mint.key.public().to_string(), "mint_public_keys"] {
        assert!(said.contains(part), "{said}");
    }
    // One that asked for a quote has let the mint in, and one that closes later has another reason.
    mint.quote_is_served(&mut pool).await;
    drop(pool);
    let pool = mint.on().await;
    tokio::time::advance(6 * SECOND).await;
    drop(pool);
    mint.on().await;
    let counters = mint.metrics.read();
    assert_eq!(counters.ended(FailureReason::ClosedAfterProof), 1);
    // Closed, or closed while something was being written.
    let gone = counters.ended(FailureReason::Closed) + counters.ended(FailureReason::Connection);
    assert_eq!(gone, 2);
}

#[tokio::test(start_paused = true)]
async fn refusals_tell_hash_and_reason_to_a_pool_that_negotiated_it() {
    let mut mint = Fixture::start();
    let mut pool = mint.on().await;
    pool.send(quote_request(3).to_frame().unwrap()).await;
    mint.quotes
        .recv()
        .await
        .unwrap()
        .answer
        .refused(RefusalCode::Conflict, "taken");
    let refusal = pool.frame().await;
    assert_eq!(
        (refusal.extension_type, refusal.channel_msg, refusal.msg_type),
        (3, true, MINT_QUOTE_ERROR)
    );
    let wanted = QuoteAnswer::Refused {
        header_hash: Some(HeaderHash([3; 32])),
        code: RefusalCode::Conflict,
        message: "taken".to_owned(),
    };
    assert_eq!(QuoteAnswer::decode_error(refusal.payload, true).unwrap(), wanted);
    // Let go without an answer: ask again.
    pool.send(quote_request(4).to_frame().unwrap()).await;
    drop(mint.quotes.recv().await.unwrap());
    let busy = QuoteAnswer::decode_error(pool.frame().await.payload, true).unwrap();
    assert!(matches!(
        busy,
        QuoteAnswer::Refused {
            code: RefusalCode::Busy,
            ..
        }
    ));
    assert_eq!(busy.header_hash(), Some(HeaderHash([4; 32])));
    assert_eq!(mint.metrics.read().unanswered, 1);
}

#[tokio::test(start_paused = true)]
async fn an_older_pool_is_not_told_that_the_mint_is_busy() {
    let mut mint = Fixture::start();
    let mut pool = mint.asked().await;
    pool.send(quote_request(1).to_frame().unwrap()).await;
    drop(mint.quotes.recv().await.unwrap());
    mint.quote_is_served(&mut pool).await;
}

#[tokio::test(start_paused = true)]
async fn p10_what_is_malformed_or_unknown_is_dropped_and_quotes_go_on() {
    let mut mint = Fixture::start();
    let mut pool = mint.on().await;
    let mut short = quote_request(1).to_frame().unwrap();
    short.payload.truncate(20);
    pool.send(short).await;
    pool.send(Frame::new(0x4D53, MINT_STATS_REQUEST, vec![0; 3])).await;
    pool.send(stats_request(0)).await;
    pool.send(Frame::new(0x4D53, 0x99, vec![])).await;
    pool.send(Frame::new(1, 1, vec![])).await;
    pool.send(created(1).to_frame(true).unwrap()).await;
    mint.quote_is_served(&mut pool).await;
    let counters = mint.metrics.read();
    assert_eq!(
        (counters.malformed_quotes, counters.malformed_stats, counters.unexpected),
        (1, 2, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn a_quote_request_counts_whatever_extension_type_an_older_pool_gives_it() {
    let mut mint = Fixture::start();
    let mut pool = mint.asked().await;
    for extension_type in [0, 3, 0x4D51, 0x1234] {
        let request = Frame {
            extension_type,
            ..quote_request(1).to_frame().unwrap()
        };
        assert_eq!(request.msg_type, MINT_QUOTE_REQUEST);
        pool.send(request).await;
        mint.quotes.recv().await.unwrap().answer.created("a quote");
        assert_eq!(pool.frame().await.msg_type, MINT_QUOTE_RESPONSE);
    }
}

#[tokio::test(start_paused = true)]
async fn unanswered_quotes_are_bounded_and_the_batcher_never_waits_for_a_pool() {
    let mut mint = Fixture::with(1 << 20, |link| link.max_outstanding = 2);
    let mut pool = mint.on().await;
    for tag in 1..=4 {
        pool.send(quote_request(tag).to_frame().unwrap()).await;
    }
    let first = mint.quotes.recv().await.unwrap();
    let second = mint.quotes.recv().await.unwrap();
    settle().await;
    assert!(mint.quotes.try_recv().is_err(), "a third request was read");
    second.answer.created("a quote");
    first.answer.created("a quote");
    assert_eq!(pool.frame().await, created(2).to_frame(true).unwrap());
    assert_eq!(pool.frame().await, created(1).to_frame(true).unwrap());
    assert_eq!(mint.quotes.recv().await.unwrap().request, quote_request(3));
}

#[tokio::test(start_paused = true)]
async fn p7_quote_answers_go_first_and_a_due_snapshot_waits_behind_at_most_64() {
    let mut mint = Fixture::start();
    let mut pool = mint.on().await;
    let mut calls = Vec::new();
    for _ in 0..200 {
        pool.send(quote_request(1).to_frame().unwrap()).await;
        calls.push(mint.quotes.recv().await.unwrap());
    }
    // All of it happens at once, before the writer runs: a change that is due now, and 200 answers.
    tokio::time::advance(SECOND).await;
    mint.totals.send(totals(2)).unwrap();
    calls.into_iter().for_each(|call| call.answer.created("a quote"));
    let mut kinds = Vec::new();
    while kinds.len() < 201 {
        kinds.push(pool.frame().await.msg_type);
    }
    assert_eq!(kinds.iter().position(|kind| *kind == MINT_STATS_RESPONSE), Some(64));
    assert_eq!(kinds.iter().filter(|kind| **kind == MINT_QUOTE_RESPONSE).count(), 200);
}

#[tokio::test(start_paused = true)]
async fn p7_a_pool_that_stops_reading_is_left_at_the_deadline_and_gets_the_newest_after_it() {
    // A pipe that holds two snapshots or so.
    let mut mint = Fixture::with(512, |link| {
        link.push = PushConfig::new(SECOND, Duration::from_millis(100)).unwrap();
    });
    let mut pool = mint.on().await;
    let stalled = Instant::now();
    for version in 2..100 {
        mint.totals.send(totals(version)).unwrap();
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    // It is not read from, yet what it says is read.
    pool.send(quote_request(1).to_frame().unwrap()).await;
    assert_eq!(mint.quotes.recv().await.unwrap().request, quote_request(1));
    let (again, stream) = mint.dials.recv().await.unwrap();
    assert!(again - stalled < 12 * SECOND, "{:?}", again - stalled);
    assert_eq!(mint.metrics.read().ended(FailureReason::Deadline), 1);
    // What had been handed to the pipe is old; nothing else was queued.
    let mut old = 0;
    while let Some(Ok(_)) = pool.reader.next().await {
        old += 1;
    }
    assert!(old < 8, "{old} frames were queued");
    drop(stream);
    let mut pool = mint.set_up().await;
    let _ = pool.frame().await;
    pool.send(granted(&[0x4D53])).await;
    assert_eq!(snapshot(&pool.frame().await).sequence, 99);
}

#[tokio::test(start_paused = true)]
async fn p7_a_pool_that_reads_between_two_pushes_gets_the_newest_only() {
    let mut mint = Fixture::with(300, |link| {
        link.push = PushConfig::new(SECOND, Duration::ZERO).unwrap();
    });
    let mut pool = mint.on().await;
    for version in 2..=500 {
        mint.totals.send(totals(version)).unwrap();
        settle().await;
    }
    let mut received = Vec::new();
    while received.last() != Some(&500) {
        received.push(snapshot(&pool.frame().await).sequence);
    }
    assert!(received.len() < 8, "{received:?}");
}

#[tokio::test(start_paused = true)]
async fn p6_a_mint_that_stops_answers_what_is_committed_pushes_once_more_and_closes() {
    let mut mint = Fixture::start();
    let mut pool = mint.on().await;
    pool.send(quote_request(1).to_frame().unwrap()).await;
    let call = mint.quotes.recv().await.unwrap();
    mint.stop.cancel();
    settle().await;
    // Too late: it is not taken any more.
    pool.send(quote_request(2).to_frame().unwrap()).await;
    settle().await;
    mint.totals.send(totals(2)).unwrap();
    call.answer.created("a quote");
    assert_eq!(pool.frame().await, created(1).to_frame(true).unwrap());
    let last = snapshot(&pool.frame().await);
    assert_eq!((last.reason, last.sequence), (Reason::Final, 2));
    assert!(pool.reader.next().await.is_none());
    assert!(mint.quotes.try_recv().is_err());
    drop(pool);
    mint.task.await.unwrap();
    assert_eq!(mint.status.borrow().state, LinkState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn p6_the_final_push_has_a_deadline_for_a_pool_that_does_not_read_and_a_batcher_that_does_not_answer() {
    let mut mint = Fixture::with(300, |_| {});
    let mut pool = mint.on().await;
    pool.send(quote_request(1).to_frame().unwrap()).await;
    let _unanswered = mint.quotes.recv().await.unwrap();
    for version in 2..5 {
        mint.totals.send(totals(version)).unwrap();
        tokio::time::advance(Duration::from_millis(100)).await;
        settle().await;
    }
    let stopped = Instant::now();
    mint.stop.cancel();
    mint.task.await.unwrap();
    assert!(stopped.elapsed() <= 3 * SECOND, "{:?}", stopped.elapsed());
}

#[tokio::test(start_paused = true)]
async fn stop_ends_a_link_at_once_whatever_it_waits_for() {
    // In the handshake, in the setup, between two dials.
    let mut shaking = Fixture::start();
    let _silent = shaking.dials.recv().await.unwrap();
    let mut setting_up = Fixture::start();
    let _pool = setting_up.accept().await;
    let mut waiting = Fixture::start();
    waiting.down.store(true, Ordering::Relaxed);
    waiting.dials.recv().await.unwrap();
    settle().await;
    let now = Instant::now();
    for fixture in [shaking, setting_up, waiting] {
        fixture.stop.cancel();
        fixture.task.await.unwrap();
    }
    assert_eq!(now, Instant::now());
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_away_is_dialled_with_growing_waits_and_soon_after_a_stable_session() {
    let mut mint = Fixture::start();
    mint.down.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    for _ in 0..12 {
        times.push(mint.dials.recv().await.unwrap().0);
    }
    let waits: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        waits
            .iter()
            .all(|wait| (Duration::from_millis(100)..=10 * SECOND).contains(wait)),
        "{waits:?}"
    );
    assert!(
        waits[0] <= Duration::from_millis(201) && waits[10] >= 5 * SECOND,
        "{waits:?}"
    );
    assert!(mint.status.borrow().failures_in_a_row >= 11);

    mint.down.store(false, Ordering::Relaxed);
    let pool = mint.on().await;
    tokio::time::advance(30 * SECOND).await;
    let closed = Instant::now();
    drop(pool);
    let (again, _stream) = mint.dials.recv().await.unwrap();
    assert!(again - closed <= Duration::from_millis(201), "{:?}", again - closed);
}

#[tokio::test(start_paused = true)]
async fn a_batcher_that_is_gone_ends_the_session() {
    let mut mint = Fixture::start();
    let mut pool = mint.on().await;
    mint.quotes.close();
    pool.send(quote_request(1).to_frame().unwrap()).await;
    pool.end().await;
    settle().await;
    assert_eq!(mint.metrics.read().ended(FailureReason::Stopped), 1);
}

#[tokio::test(start_paused = true)]
async fn p10_a_frame_above_64_kib_or_garbage_ends_the_session_and_the_mint_dials_again() {
    use tokio::io::AsyncWriteExt;
    let mut mint = Fixture::start();
    let pool = mint.on().await;
    let mut raw = pool.reader.into_inner().unsplit(pool.writer.into_inner());
    raw.write_all(&[0x55; 64]).await.unwrap();
    mint.on().await;
    assert_eq!(mint.metrics.read().ended(FailureReason::Undecryptable), 1);
}
