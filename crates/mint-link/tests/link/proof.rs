//! Proof in every failure: nothing of a session that has not proven itself counts or shows.

use mint_link::{Extensions, MintProof, MintPublicKey, Step};
use peer_test::Peer;
use stats_push::{MINT_STATS_RESPONSE, Snapshot, UnixMillis};
use sv2_transport::Frame;

use super::{
    negotiation::{request, success},
    *,
};

const ALL: [u16; 3] = [0x4D53, 0x4D50, 0x4D51];

pub(crate) fn snapshot(sequence: u64) -> Frame {
    let snapshot = Snapshot {
        request_id: 0,
        reason: Reason::Event,
        run_id: RunId(1),
        sequence,
        taken_at: UnixMillis::now(),
        interval: Duration::from_secs(5),
        ehash: EhashTotals::default(),
        units_total: 0,
        units: Arc::new([]),
    };
    Frame::new(0x4D53, MINT_STATS_RESPONSE, snapshot.encode())
}

fn only(key: MintPublicKey) -> Admission {
    Admission {
        mint_public_keys: vec![key],
        allow_legacy_mint: false,
    }
}

fn all_on() -> Extensions {
    Extensions {
        stats: true,
        proof: true,
        quotes: true,
    }
}

/// A connection of somebody who claims to be the pool's mint.
async fn claimant(pool: &Pool) -> Peer {
    let mut peer = Peer::dial_and_set_up(pool.address, pool.authority.public()).await;
    peer.send(request(1, &ALL)).await;
    assert_eq!(peer.frame().await, Some(success(1, &ALL)));
    // Whatever it says before its proof, and with it, is nobody's word.
    peer.send(snapshot(7)).await;
    let answer = QuoteAnswer::Created {
        header_hash: HeaderHash([1; 32]),
        quote_id: "a quote".to_owned(),
    };
    peer.send(answer.to_frame(true).unwrap()).await;
    peer
}

fn frame_of(proof: MintProof) -> Frame {
    proof.to_frame(&Default::default())
}

/// The claimant hears of no quote, is let go for this reason, and nothing of it has counted.
async fn is_refused(mut peer: Peer, pool: &mut Pool, reason: FailureReason) {
    let start = Instant::now();
    assert_eq!(timeout(LONG, peer.rest()).await.expect("it is let go"), []);
    assert!(start.elapsed() < Duration::from_secs(5));
    pool.ended(reason, 1).await;
    assert!(pool.nothing_shows());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_proof_the_session_ends_at_the_deadline() {
    let mut pool = Pool::timed(only(MintKey::generate().public()), LONG, SHORT).await;
    let peer = claimant(&pool).await;
    is_refused(peer, &mut pool, FailureReason::Deadline(Step::Proof)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_after_the_deadline_is_too_late() {
    let key = MintKey::generate();
    let mut pool = Pool::timed(only(key.public()), LONG, SHORT).await;
    let mut peer = claimant(&pool).await;
    // The deadline passes long before the pool lets go: it has refused by now, though the connection is still there.
    let still = timeout(Duration::from_millis(500), peer.frame()).await;
    assert!(matches!(still, Err(_) | Ok(None)), "{still:?}");
    let proof = MintProof::new(&key, &peer.transcript);
    peer.send(frame_of(proof)).await;
    is_refused(peer, &mut pool, FailureReason::Deadline(Step::Proof)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_not_listed_is_refused() {
    let mut pool = Pool::start(only(MintKey::generate().public())).await;
    let mut peer = claimant(&pool).await;
    let proof = MintProof::new(&MintKey::generate(), &peer.transcript);
    peer.send(frame_of(proof)).await;
    is_refused(peer, &mut pool, FailureReason::NotListed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_key_that_somebody_else_signs_for_is_refused() {
    let key = MintKey::generate();
    let mut pool = Pool::start(only(key.public())).await;
    let mut peer = claimant(&pool).await;
    let proof = MintProof {
        public_key: key.public().to_bytes(),
        ..MintProof::new(&MintKey::generate(), &peer.transcript)
    };
    peer.send(frame_of(proof)).await;
    is_refused(peer, &mut pool, FailureReason::BadProof).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_that_is_no_key_no_signature_or_cut_short_is_refused() {
    let key = MintKey::generate();
    let none = MintProof {
        public_key: [0xff; 32],
        signature: [1; 64],
    };
    let unsigned = MintProof {
        public_key: key.public().to_bytes(),
        signature: [0xff; 64],
    };
    let mut short = frame_of(unsigned);
    short.payload.truncate(95);
    for frame in [frame_of(none), frame_of(unsigned), short] {
        let mut pool = Pool::start(only(key.public())).await;
        let mut peer = claimant(&pool).await;
        peer.send(frame).await;
        is_refused(peer, &mut pool, FailureReason::BadProof).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_that_was_good_once_is_refused_on_the_next_connection() {
    let key = MintKey::generate();
    let mut pool = Pool::start(only(key.public())).await;
    let first = claimant(&pool).await;
    let overheard = frame_of(MintProof::new(&key, &first.transcript));
    drop(first);
    let mut second = claimant(&pool).await;
    second.send(overheard).await;
    is_refused(second, &mut pool, FailureReason::BadProof).await;
}

/// Two pools hold one authority key, and whoever runs the one would pose as the mint to the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_that_one_pool_relays_to_another_of_the_same_authority_is_refused() {
    let mint = Mint::start();
    let mut honest = Pool::start(mint.rule()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _link = mint.connect(PoolTarget {
        address: listener.local_addr().unwrap().to_string().into(),
        authority: honest.authority.public(),
    });
    // The real mint proves itself to the pool that it dialled.
    let mut relay = Peer::accept_and_set_up(&listener, &honest.authority).await;
    assert_eq!(relay.frame().await, Some(request(1, &ALL)));
    relay.send(success(1, &ALL)).await;
    let proof = relay.frame().await.unwrap();
    let claimed = MintProof::decode(proof.payload.clone()).unwrap();
    assert_eq!(claimed.verify(&relay.transcript), Ok(mint.key.public()), "a good one");
    // That pool hands it on.
    let mut posing = claimant(&honest).await;
    posing.send(proof).await;
    is_refused(posing, &mut honest, FailureReason::BadProof).await;
    mint.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_changes_applies_to_those_within_and_to_those_who_come() {
    let (mint, other) = (Mint::start(), MintKey::generate());
    let mut pool = Pool::start(only(other.public())).await;
    let (mut status, _link) = mint.connect(pool.target());
    // It is refused, and comes again until it is listed.
    pool.ended(FailureReason::NotListed, 1).await;
    assert!(pool.nothing_shows());
    pool.rule.send_replace(Arc::new(mint.rule()));
    let mut session = pool.session().await;
    quotes_flow(&mut session, 10).await;
    pool.sees(|view| view.latest.is_some()).await;
    // Both are listed: nothing changes. Then it is taken off.
    let both = Admission {
        mint_public_keys: vec![other.public(), mint.key.public()],
        allow_legacy_mint: false,
    };
    pool.rule.send_replace(Arc::new(both));
    quotes_flow(&mut session, 10).await;
    let refused = pool.metrics.read().ended(FailureReason::NotListed);
    pool.rule.send_replace(Arc::new(only(other.public())));
    assert_eq!(timeout(LONG, session.answers.recv()).await.unwrap(), None);
    pool.ended(FailureReason::NotListed, refused + 2).await;
    assert_eq!(pool.status(), Status::Disconnected);
    assert!(pool.sessions.try_recv().is_err());
    timeout(LONG, status.wait_for(|status| status.failures_in_a_row >= 1))
        .await
        .unwrap()
        .unwrap();
    mint.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proven_mint_is_let_in_at_once_and_a_second_proof_is_ignored() {
    let key = MintKey::generate();
    let mut pool = Pool::start(only(key.public())).await;
    let mut peer = claimant(&pool).await;
    let proof = MintProof::new(&key, &peer.transcript);
    peer.send(frame_of(proof)).await;
    let mut session = pool.session().await;
    let info = session.info();
    assert_eq!((info.public_key, info.extensions), (Some(key.public()), all_on()));
    // What it said before the proof is forgotten.
    assert_eq!(pool.cache.load().counters.received(Reason::Event), 0);
    peer.send(frame_of(proof)).await;
    peer.send(frame_of(MintProof::new(&MintKey::generate(), &peer.transcript)))
        .await;
    peer.send(snapshot(8)).await;
    pool.sees(|view| view.latest.is_some()).await;
    session.requests.send(super::request(1)).await.unwrap();
    assert_eq!(peer.frame().await, Some(super::request(1).to_frame().unwrap()));
    assert!(session.answers.try_recv().is_err());
}
