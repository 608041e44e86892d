use futures::StreamExt;
use stats_push::{
    Connection, EhashTotals, MINT_STATS_REQUEST, MINT_STATS_RESPONSE, MintStatsRequest, Reason, RunId, Snapshot,
    Status, UnixMillis,
};
use sv2_transport::Frame;
use tokio::{io::DuplexStream, task::JoinHandle, time::Instant};

use super::*;
use crate::{
    FailureReason, HeaderHash, MintKey, MintProof, MintPublicKey, QuoteAnswer, RefusalCode,
    extensions::{ExtensionMessage, Extensions},
    setup::{self, DeviceInfo},
    testkit::{RawPeer, granted, negotiation, quote_request, settle},
};

const SECOND: Duration = Duration::from_secs(1);
const ALL: [u16; 3] = [0x4D53, 0x4D50, 0x4D51];

/// A pool whose mints the test plays.
struct Fixture {
    link: Arc<PoolLink>,
    rule: watch::Sender<Arc<Admission>>,
    cache: SnapshotCache,
    sessions: mpsc::Receiver<MintSession>,
    stop: CancellationToken,
}

/// A connection to it.
struct Dialled {
    mint: RawPeer,
    ended: JoinHandle<LinkError>,
}

impl Fixture {
    fn new(rule: Admission) -> Self {
        let (rule, admission) = watch::channel(Arc::new(rule));
        let (ready, sessions) = mpsc::channel(4);
        let cache = SnapshotCache::new();
        let config = PoolLinkConfig {
            queue: 4,
            ..PoolLinkConfig::new(AuthorityKeypair::generate())
        };
        let link = PoolLink::new(config, admission, cache.clone(), ready, Arc::default());
        Self {
            link: Arc::new(link),
            rule,
            cache,
            sessions,
            stop: CancellationToken::new(),
        }
    }

    fn connect(&self, pipe: usize) -> (DuplexStream, JoinHandle<LinkError>) {
        let (near, far) = tokio::io::duplex(pipe);
        let (link, stop) = (Arc::clone(&self.link), self.stop.clone());
        let address = "192.0.2.1:5000".parse().unwrap();
        (near, tokio::spawn(async move { link.serve(far, address, &stop).await }))
    }

    async fn shake_hands(&self, pipe: usize) -> Dialled {
        let (near, ended) = self.connect(pipe);
        let mint = RawPeer::as_mint(near, self.link.config.authority.public()).await;
        Dialled { mint, ended }
    }

    /// A mint after SetupConnection.
    async fn set_up(&self) -> Dialled {
        let mut dialled = self.shake_hands(1 << 20).await;
        dialled
            .mint
            .send(setup::setup_connection(&DeviceInfo::default(), "pool:1").unwrap())
            .await;
        assert_eq!(dialled.mint.frame().await, setup::setup_success().unwrap());
        dialled
    }

    /// A mint that is granted what it asks for.
    async fn granted(&self, extensions: &[u16]) -> Dialled {
        let mut dialled = self.set_up().await;
        dialled.ask(extensions).await;
        assert_eq!(dialled.mint.frame().await, granted(extensions));
        dialled
    }

    /// A mint that has proven `key`, and its session.
    async fn proven(&mut self, key: &MintKey) -> (Dialled, MintSession) {
        let mut dialled = self.granted(&ALL).await;
        dialled.prove(key).await;
        let session = self.sessions.recv().await.unwrap();
        (dialled, session)
    }

    fn status(&self) -> Status {
        self.cache.load().freshness(Instant::now().into_std()).status
    }

    /// Whether anything of a session has come to count or show.
    fn nothing_shows(&mut self) -> bool {
        let view = self.cache.load();
        view.connection == Connection::Never
            && view.latest.is_none()
            && view.peer.is_none()
            && self.sessions.try_recv().is_err()
    }
}

impl Dialled {
    async fn ask(&mut self, extensions: &[u16]) {
        let requested = extensions.to_vec();
        self.mint
            .send(negotiation(ExtensionMessage::Request {
                request_id: 1,
                requested,
            }))
            .await;
    }

    async fn prove(&mut self, key: &MintKey) {
        let proof = MintProof::new(key, &self.mint.transcript);
        self.mint.send(proof.to_frame(&ExtensionIds::default())).await;
    }

    /// Why the pool ended it, and when.
    async fn ended(mut self) -> (LinkError, Duration) {
        let start = Instant::now();
        self.mint.end().await;
        (self.ended.await.unwrap(), start.elapsed())
    }
}

fn only(key: MintPublicKey) -> Admission {
    Admission {
        mint_public_keys: vec![key],
        allow_legacy_mint: false,
    }
}

fn legacy_too(key: MintPublicKey) -> Admission {
    Admission {
        allow_legacy_mint: true,
        ..only(key)
    }
}

fn snapshot(sequence: u64) -> Frame {
    let snapshot = Snapshot {
        request_id: 0,
        reason: Reason::Event,
        run_id: RunId(1),
        sequence,
        taken_at: UnixMillis::now(),
        interval: SECOND,
        ehash: EhashTotals {
            quotes_redeemed: sequence,
            ..EhashTotals::default()
        },
        units_total: 0,
        units: Arc::new([]),
    };
    Frame::new(0x4D53, MINT_STATS_RESPONSE, snapshot.encode())
}

fn created(tag: u8) -> QuoteAnswer {
    QuoteAnswer::Created {
        header_hash: HeaderHash([tag; 32]),
        quote_id: "a quote".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_proven_mint_becomes_a_session_whose_quotes_and_snapshots_flow() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let start = Instant::now();
    let (mut dialled, mut session) = pool.proven(&key).await;
    assert_eq!(start, Instant::now());
    let info = session.info();
    assert_eq!(info.public_key, Some(key.public()));
    assert_eq!(
        (info.extensions, info.legacy, info.is_proven()),
        (Extensions::ALL, false, true)
    );
    assert_eq!(info.device, DeviceInfo::default());
    let peer = pool.cache.load().peer.clone().unwrap();
    assert_eq!((peer.address.as_str(), peer.proven), ("192.0.2.1:5000", true));
    assert_eq!(peer.public_key, Some(key.public().to_string()));

    dialled.mint.send(snapshot(5)).await;
    session.requests.send(quote_request(1)).await.unwrap();
    assert_eq!(dialled.mint.frame().await, quote_request(1).to_frame().unwrap());
    dialled.mint.send(created(1).to_frame(true).unwrap()).await;
    assert_eq!(session.answers.recv().await, Some(created(1)));
    let refused = QuoteAnswer::Refused {
        header_hash: Some(HeaderHash([2; 32])),
        code: RefusalCode::Amount,
        message: "no".to_owned(),
    };
    dialled.mint.send(refused.to_frame(true).unwrap()).await;
    assert_eq!(session.answers.recv().await, Some(refused));
    assert_eq!(pool.status(), Status::Live);
    assert_eq!(pool.cache.load().latest.as_ref().unwrap().snapshot.sequence, 5);

    drop(dialled.mint);
    assert_eq!(session.answers.recv().await, None);
    assert!(session.requests.is_closed());
    assert!(matches!(dialled.ended.await.unwrap(), LinkError::Closed));
    assert_eq!(pool.status(), Status::Disconnected);
}

#[tokio::test(start_paused = true)]
async fn p10_what_is_malformed_or_unknown_is_counted_and_dropped_and_quotes_go_on() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let (mut dialled, mut session) = pool.proven(&key).await;
    let mut frames = vec![snapshot(1), snapshot(1), created(1).to_frame(true).unwrap()];
    frames[0].payload.truncate(30);
    frames[1].payload[32] = 0xff;
    frames[2].payload.truncate(20);
    frames.push(Frame::new(0x4D53, 0x99, vec![]));
    frames.push(Frame::new(1, 0, vec![1]));
    frames.push(quote_request(1).to_frame().unwrap());
    for frame in frames {
        dialled.mint.send(frame).await;
    }
    dialled.prove(&key).await;
    dialled.mint.send(snapshot(2)).await;
    dialled.mint.send(created(1).to_frame(true).unwrap()).await;
    assert_eq!(session.answers.recv().await, Some(created(1)));
    let counters = pool.link.metrics.read();
    assert_eq!(
        (counters.malformed_stats, counters.malformed_quotes, counters.unexpected),
        (2, 1, 4)
    );
    let view = pool.cache.load();
    assert_eq!(view.counters.malformed, 2);
    assert_eq!(view.latest.as_ref().unwrap().snapshot.sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_of_an_unproven_session_counts_or_shows() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let mut dialled = pool.granted(&ALL).await;
    dialled.mint.send(snapshot(5)).await;
    dialled.mint.send(created(1).to_frame(true).unwrap()).await;
    settle().await;
    assert!(pool.nothing_shows());
    let (error, after) = dialled.ended().await;
    assert!(
        matches!(
            error,
            LinkError::Deadline {
                step: crate::Step::Proof,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(after, 10 * SECOND);
    assert!(pool.nothing_shows());
    assert_eq!(pool.link.metrics.read().ready, 0);
}

#[tokio::test(start_paused = true)]
async fn a_proof_of_another_key_a_false_one_or_a_replayed_one_ends_the_session_after_a_second() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let mut unlisted = pool.granted(&ALL).await;
    let stranger = MintKey::generate();
    unlisted.prove(&stranger).await;
    let (error, after) = unlisted.ended().await;
    assert!(
        matches!(error, LinkError::NotListed(key) if key == stranger.public()) && after == SECOND,
        "{error} after {after:?}"
    );
    let named = format!("{} is not in mint_link.mint_public_keys", stranger.public());
    assert!(error.to_string().contains(&named), "{error}");

    let mut first = pool.granted(&ALL).await;
    let replayed = MintProof::new(&key, &first.mint.transcript).to_frame(&ExtensionIds::default());
    first.mint.send(Frame::new(0x4D50, 0x85, vec![1; 96])).await;
    assert!(matches!(first.ended().await.0, LinkError::BadProof(_)));
    let mut second = pool.granted(&ALL).await;
    second.mint.send(replayed).await;
    assert!(matches!(second.ended().await.0, LinkError::BadProof(_)));
    assert!(pool.nothing_shows());
    assert_eq!(pool.link.metrics.read().ended(FailureReason::BadProof), 2);
}

#[tokio::test(start_paused = true)]
async fn a_mint_that_leaves_once_it_has_seen_the_pools_key_is_said_to_have_pinned_another() {
    let pool = Fixture::new(Admission::default());
    let Dialled { mint, ended } = pool.shake_hands(1 << 20).await;
    drop(mint);
    let error = ended.await.unwrap();
    let key = pool.link.config.authority.public();
    assert!(
        matches!(error, LinkError::ClosedAfterHandshake(named) if named == key),
        "{error}"
    );
    assert!(error.to_string().contains(&key.to_string()), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_legacy_mint_is_refused_after_the_deadline_and_hears_of_no_quote_before() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let mut dialled = pool.set_up().await;
    let start = Instant::now();
    assert!(dialled.mint.reader.next().await.is_none());
    assert_eq!(start.elapsed(), 2 * SECOND);
    assert!(matches!(dialled.ended.await.unwrap(), LinkError::LegacyRefused));
    assert!(pool.nothing_shows());
}

#[tokio::test(start_paused = true)]
async fn an_allowed_legacy_mint_works_after_the_deadline_and_upgrades_when_it_negotiates_late() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(legacy_too(key.public()));
    let mut dialled = pool.set_up().await;
    let start = Instant::now();
    let mut session = pool.sessions.recv().await.unwrap();
    assert_eq!(start.elapsed(), 2 * SECOND);
    assert_eq!(pool.status(), Status::Unsupported);
    let info = session.info();
    assert!(info.legacy && !info.is_proven() && !info.extensions.quotes);
    assert_eq!(session.request_stats(), None);
    // Statistics that were not negotiated are dropped; a refusal tells no hash.
    dialled.mint.send(snapshot(1)).await;
    let refused = QuoteAnswer::Refused {
        header_hash: None,
        code: RefusalCode::Other,
        message: "no".to_owned(),
    };
    dialled.mint.send(refused.to_frame(false).unwrap()).await;
    assert_eq!(session.answers.recv().await, Some(refused));
    assert_eq!(pool.status(), Status::Unsupported);

    dialled.ask(&ALL).await;
    assert_eq!(dialled.mint.frame().await, granted(&ALL));
    dialled.prove(&key).await;
    dialled.mint.send(snapshot(2)).await;
    let mut info = session.watch_info();
    let upgraded = info.wait_for(|info| info.is_proven()).await.unwrap().clone();
    assert_eq!((upgraded.extensions, upgraded.legacy), (Extensions::ALL, false));
    settle().await;
    assert_eq!(pool.status(), Status::Live);
    assert!(pool.cache.load().peer.as_ref().unwrap().proven);
    assert_eq!(session.request_stats(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_late_proof_of_an_unlisted_key_ends_an_allowed_legacy_session() {
    let mut pool = Fixture::new(legacy_too(MintKey::generate().public()));
    let mut dialled = pool.set_up().await;
    let _session = pool.sessions.recv().await.unwrap();
    dialled.ask(&ALL).await;
    assert_eq!(dialled.mint.frame().await, granted(&ALL));
    dialled.prove(&MintKey::generate()).await;
    assert!(matches!(dialled.ended().await.0, LinkError::NotListed(_)));
}

#[tokio::test(start_paused = true)]
async fn where_a_proof_is_demanded_a_mint_that_asks_without_it_may_ask_again() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let mut dialled = pool.set_up().await;
    dialled.ask(&[0x4D53]).await;
    let error = ExtensionMessage::Error {
        request_id: 1,
        unsupported: vec![],
        required: vec![0x4D50],
    };
    assert_eq!(dialled.mint.frame().await, negotiation(error));
    dialled.ask(&ALL).await;
    assert_eq!(dialled.mint.frame().await, granted(&ALL));
    dialled.prove(&key).await;
    assert!(pool.sessions.recv().await.unwrap().info().is_proven());
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_takes_any_mint_that_negotiates() {
    let mut pool = Fixture::new(Admission::default());
    let start = Instant::now();
    let _plain = pool.granted(&[0x4D53]).await;
    assert!(!pool.sessions.recv().await.unwrap().info().is_proven());
    assert_eq!(start, Instant::now());
    let key = MintKey::generate();
    let (_dialled, session) = pool.proven(&key).await;
    assert_eq!(session.info().public_key, Some(key.public()));
    let mut false_proof = pool.granted(&ALL).await;
    false_proof.mint.send(Frame::new(0x4D50, 0x85, vec![1; 96])).await;
    assert!(matches!(false_proof.ended().await.0, LinkError::BadProof(_)));
    assert!(matches!(pool.set_up().await.ended().await.0, LinkError::LegacyRefused));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_taken_off_the_list_ends_its_session_and_no_other_change_does() {
    let (key, other) = (MintKey::generate(), MintKey::generate());
    let mut pool = Fixture::new(only(key.public()));
    let (mut dialled, mut session) = pool.proven(&key).await;
    let both = Admission {
        mint_public_keys: vec![other.public(), key.public()],
        allow_legacy_mint: false,
    };
    pool.rule.send_replace(Arc::new(both));
    settle().await;
    dialled.mint.send(created(1).to_frame(true).unwrap()).await;
    assert_eq!(session.answers.recv().await, Some(created(1)));
    pool.rule.send_replace(Arc::new(only(other.public())));
    assert_eq!(session.answers.recv().await, None);
    assert!(matches!(dialled.ended().await.0, LinkError::NotListed(_)));

    // The list also changes for those who wait.
    let mut waiting = pool.granted(&ALL).await;
    pool.rule.send_replace(Arc::new(only(key.public())));
    waiting.prove(&key).await;
    let _session = pool.sessions.recv().await.unwrap();
    // Without anybody to change it, it stays.
    drop(pool.rule);
    settle().await;
    assert!(!waiting.ended.is_finished());
}

#[tokio::test(start_paused = true)]
async fn p8_the_newest_ready_session_replaces_the_older_and_one_that_is_not_ready_does_not() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let (mut old, mut old_session) = pool.proven(&key).await;
    old.mint.send(snapshot(1)).await;
    let _unproven = pool.granted(&ALL).await;
    settle().await;
    assert!(!old.ended.is_finished());
    let (mut new, _session) = pool.proven(&key).await;
    assert!(matches!(old.ended().await.0, LinkError::Replaced));
    assert_eq!(old_session.answers.recv().await, None);
    drop(old_session);
    // The old one's end is not the mint's.
    assert_eq!(pool.status(), Status::Live);
    new.mint.send(snapshot(2)).await;
    settle().await;
    assert_eq!(pool.cache.load().latest.as_ref().unwrap().snapshot.sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_ends_at_the_deadline_of_its_step() {
    let pool = Fixture::new(Admission::default());
    let start = Instant::now();
    let (_silent, ended) = pool.connect(1024);
    let error = ended.await.unwrap();
    assert!(
        matches!(
            error,
            LinkError::Deadline {
                step: crate::Step::Handshake,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(start.elapsed(), 10 * SECOND);
    let shaken = pool.shake_hands(1024).await;
    let (error, after) = shaken.ended().await;
    assert!(
        matches!(
            error,
            LinkError::Deadline {
                step: crate::Step::Setup,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(after, 10 * SECOND);
    assert_eq!(pool.link.metrics.read().ended(FailureReason::Deadline), 2);
}

#[tokio::test(start_paused = true)]
async fn garbage_in_any_step_ends_the_connection() {
    use tokio::io::AsyncWriteExt;
    let pool = Fixture::new(Admission::default());
    let (mut raw, ended) = pool.connect(1024);
    raw.write_all(&[0x47; 400]).await.unwrap();
    // Any 64 bytes are a key in ElligatorSwift: what follows does not decrypt.
    assert_eq!(ended.await.unwrap().reason(), FailureReason::Undecryptable);
    let dialled = pool.set_up().await;
    let mut raw = dialled
        .mint
        .reader
        .into_inner()
        .unsplit(dialled.mint.writer.into_inner());
    raw.write_all(&[0x47; 400]).await.unwrap();
    assert_eq!(dialled.ended.await.unwrap().reason(), FailureReason::Undecryptable);
    let (raw, ended) = pool.connect(1024);
    drop(raw);
    assert_eq!(ended.await.unwrap().reason(), FailureReason::ClosedEarly);
}

#[tokio::test(start_paused = true)]
async fn a_setup_that_is_not_a_mints_is_refused_with_its_code() {
    let pool = Fixture::new(Admission::default());
    let setup = setup::setup_connection(&DeviceInfo::default(), "pool:1").unwrap();
    for (at, byte, code, flags) in [
        (0, 1, "unsupported-protocol", 0),
        (1, 9, "protocol-version-mismatch", 0),
        (5, 1, "unsupported-feature-flags", 1),
    ] {
        let mut wrong = setup.clone();
        wrong.payload[at] = byte;
        let mut dialled = pool.shake_hands(1024).await;
        dialled.mint.send(Frame::new(0x4D00, 0, vec![])).await;
        dialled.mint.send(wrong).await;
        assert_eq!(dialled.mint.frame().await, setup::setup_error(code, flags).unwrap());
        assert!(matches!(dialled.ended().await.0, LinkError::SetupUnacceptable(c) if c == code));
    }
}

#[tokio::test(start_paused = true)]
async fn p5_requests_for_statistics_grow_and_what_was_not_written_becomes_one() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let (mut dialled, session) = pool.proven(&key).await;
    let request = |id| Frame::new(0x4D53, MINT_STATS_REQUEST, MintStatsRequest { request_id: id }.encode());
    assert_eq!(session.request_stats(), Some(1));
    assert_eq!(dialled.mint.frame().await, request(1));
    let elsewhere = session.stats_requester();
    assert_eq!(
        (session.request_stats(), elsewhere.request(), session.request_stats()),
        (Some(2), Some(3), Some(4))
    );
    assert_eq!(dialled.mint.frame().await, request(4));
    drop(session);
    dialled.ended().await;
    assert_eq!(elsewhere.request(), None);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_session_closes_the_connection() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let (dialled, session) = pool.proven(&key).await;
    let requests = session.requests.clone();
    drop(session);
    assert!(matches!(dialled.ended().await.0, LinkError::Unserved));
    assert!(requests.is_closed());
    assert_eq!(pool.status(), Status::Disconnected);
}

#[tokio::test(start_paused = true)]
async fn a_role_that_takes_no_session_ends_it_when_it_is_gone_and_statistics_flow_before() {
    let mut pool = Fixture::new(Admission::default());
    let mut dialled = pool.granted(&ALL).await;
    dialled.prove(&MintKey::generate()).await;
    dialled.mint.send(snapshot(3)).await;
    settle().await;
    assert_eq!(pool.status(), Status::Live);
    drop(pool.sessions.recv().await.unwrap());
    dialled.ended().await;
    pool.sessions.close();
    let mut dialled = pool.granted(&ALL).await;
    dialled.prove(&MintKey::generate()).await;
    assert!(matches!(dialled.ended().await.0, LinkError::Unserved));
}

#[tokio::test(start_paused = true)]
async fn a_mint_that_stops_reading_is_left_at_the_write_deadline_and_heard_until_then() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let mut dialled = pool.shake_hands(1024).await;
    dialled
        .mint
        .send(setup::setup_connection(&DeviceInfo::default(), "pool:1").unwrap())
        .await;
    dialled.mint.frame().await;
    dialled.ask(&ALL).await;
    dialled.mint.frame().await;
    dialled.prove(&key).await;
    let mut session = pool.sessions.recv().await.unwrap();
    let requests = session.requests.clone();
    let asking = tokio::spawn(async move { while requests.send(quote_request(1)).await.is_ok() {} });
    let start = Instant::now();
    settle().await;
    dialled.mint.send(created(1).to_frame(true).unwrap()).await;
    assert_eq!(session.answers.recv().await, Some(created(1)));
    let error = dialled.ended.await.unwrap();
    assert!(
        matches!(
            error,
            LinkError::Deadline {
                step: crate::Step::Write,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(start.elapsed(), 10 * SECOND);
    asking.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_fit_its_message_is_refused_here() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let (mut dialled, mut session) = pool.proven(&key).await;
    let mut wrong = quote_request(1);
    wrong.unit = "x".repeat(256);
    session.requests.send(wrong).await.unwrap();
    session.requests.send(quote_request(2)).await.unwrap();
    assert_eq!(dialled.mint.frame().await, quote_request(2).to_frame().unwrap());
    let refused = session.answers.recv().await.unwrap();
    assert_eq!(refused.header_hash(), Some(HeaderHash([1; 32])));
}

#[tokio::test(start_paused = true)]
async fn stop_ends_every_connection_in_any_step() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let (_raw, shaking) = pool.connect(1024);
    let waiting = pool.granted(&ALL).await;
    let (working, _session) = pool.proven(&key).await;
    pool.stop.cancel();
    for ended in [shaking, waiting.ended, working.ended] {
        assert!(matches!(ended.await.unwrap(), LinkError::Stopped));
    }
}
