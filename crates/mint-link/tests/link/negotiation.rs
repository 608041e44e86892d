//! Negotiation in every order, each end against a peer that the test plays.

use mint_link::{ExtensionMessage, Extensions, LegacyReason, MINT_PROOF, MINT_QUOTE_ERROR, MintProof, RefusalCode};
use peer_test::{Peer, QuoteRequest, setup_error, setup_success};
use stats_push::{MINT_STATS_RESPONSE, Snapshot};
use sv2_transport::Frame;

use super::*;

const STATS: u16 = 0x4D53;
const PROOF: u16 = 0x4D50;
const QUOTES: u16 = 0x4D51;
const ALL: [u16; 3] = [STATS, PROOF, QUOTES];

pub(crate) fn request(request_id: u16, requested: &[u16]) -> Frame {
    let requested = requested.to_vec();
    let message = ExtensionMessage::Request { request_id, requested };
    message.to_frame().unwrap()
}

pub(crate) fn success(request_id: u16, supported: &[u16]) -> Frame {
    let supported = supported.to_vec();
    let message = ExtensionMessage::Success { request_id, supported };
    message.to_frame().unwrap()
}

fn error(request_id: u16, unsupported: &[u16], required: &[u16]) -> Frame {
    let message = ExtensionMessage::Error {
        request_id,
        unsupported: unsupported.to_vec(),
        required: required.to_vec(),
    };
    message.to_frame().unwrap()
}

fn among(list: &[u16]) -> Extensions {
    Extensions {
        stats: list.contains(&STATS),
        proof: list.contains(&PROOF),
        quotes: list.contains(&QUOTES),
    }
}

/// A mint that dials the pool which the test plays. Its batcher refuses amount 0 and makes quotes of the others.
struct Asking {
    mint: Mint,
    listener: TcpListener,
    authority: AuthorityKeypair,
    status: watch::Receiver<LinkStatus>,
}

impl Asking {
    async fn start(negotiation: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = AuthorityKeypair::generate();
        let mut mint = Mint::start();
        mint.link.timers.negotiation = negotiation;
        // This pool says nothing that the test does not tell it to.
        mint.link.timers.heartbeat = 100 * LONG;
        let (status, _link) = mint.connect(PoolTarget {
            address: listener.local_addr().unwrap().to_string().into(),
            authority: authority.public(),
        });
        Self {
            mint,
            listener,
            authority,
            status,
        }
    }

    async fn patient() -> Self {
        Self::start(LONG).await
    }

    /// The pool's end of the next session, which has been asked for everything.
    async fn asked(&self) -> Peer {
        let mut pool = Peer::accept_and_set_up(&self.listener, &self.authority).await;
        assert_eq!(pool.frame().await, Some(request(1, &ALL)));
        pool
    }

    async fn comes_to(&mut self, wanted: Negotiated) {
        let seen = self
            .status
            .wait_for(|status| matches!(status.state, LinkState::Connected { negotiated, .. } if negotiated == wanted));
        timeout(LONG, seen)
            .await
            .unwrap_or_else(|_| panic!("never {wanted:?}"))
            .unwrap();
    }

    /// The frames that the mint has sent unasked, up to the answer to a request that it refuses; whether the refusal tells
    /// its hash.
    async fn said(&self, pool: &mut Peer) -> (Vec<Frame>, bool) {
        pool.send(quote(0xEE, 0)).await;
        let mut said = Vec::new();
        loop {
            let frame = pool.frame().await.expect("quotes are served");
            if frame.msg_type == MINT_QUOTE_ERROR {
                return (said, frame.payload.ends_with(&[0xEE; 32]));
            }
            said.push(frame);
        }
    }
}

pub(crate) fn quote(hash: u8, amount: u64) -> Frame {
    let request = QuoteRequest {
        header_hash: [hash; 32],
        amount,
        locking_key: vec![2; 33],
    };
    request.to_frame()
}

/// What the mint sends at once when these are on, in this order.
fn kinds(frames: &[Frame]) -> Vec<(u16, u8)> {
    frames
        .iter()
        .map(|frame| (frame.extension_type, frame.msg_type))
        .collect()
}

fn expected(on: &[u16]) -> Vec<(u16, u8)> {
    let proof = on.contains(&PROOF).then_some((PROOF, MINT_PROOF));
    let stats = on.contains(&STATS).then_some((STATS, MINT_STATS_RESPONSE));
    proof.into_iter().chain(stats).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_every_subset_that_a_pool_grants_is_on_at_once_and_nothing_else() {
    for subset in 0..8_usize {
        let on: Vec<_> = (0..3)
            .filter(|bit| subset & (1 << bit) != 0)
            .map(|bit| ALL[bit])
            .collect();
        let mut asking = Asking::patient().await;
        let mut pool = asking.asked().await;
        // What was not asked for does not matter, nor the order.
        let listed: Vec<_> = [0x0002].into_iter().chain(on.iter().rev().copied()).collect();
        pool.send(success(1, &listed)).await;
        let wanted = match on.is_empty() {
            true => Negotiated::Legacy(LegacyReason::Refused),
            false => Negotiated::On(among(&on)),
        };
        asking.comes_to(wanted).await;
        let (said, correlated) = asking.said(&mut pool).await;
        assert_eq!(kinds(&said), expected(&on), "{on:x?}");
        assert_eq!(correlated, on.contains(&QUOTES), "{on:x?}");
        if let Some(proof) = said.iter().find(|frame| frame.msg_type == MINT_PROOF) {
            let proof = MintProof::decode(proof.payload.clone()).unwrap();
            assert_eq!(proof.verify(&pool.transcript), Ok(asking.mint.key.public()));
        }
        asking.mint.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_is_followed_by_one_request_for_the_rest() {
    let mut asking = Asking::patient().await;
    let mut pool = asking.asked().await;
    pool.send(error(1, &[STATS], &[PROOF])).await;
    assert_eq!(pool.frame().await, Some(request(2, &[PROOF, QUOTES])));
    pool.send(success(2, &[PROOF, QUOTES])).await;
    asking.comes_to(Negotiated::On(among(&[PROOF, QUOTES]))).await;
    let (said, correlated) = asking.said(&mut pool).await;
    assert_eq!(kinds(&said), expected(&[PROOF]));
    assert!(correlated);
    asking.mint.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_that_leaves_nothing_or_requires_the_unknown_leaves_a_legacy_session() {
    for refusal in [error(1, &ALL, &[]), error(1, &[], &[]), error(1, &[STATS], &[0x0002])] {
        let mut asking = Asking::patient().await;
        let mut pool = asking.asked().await;
        pool.send(refusal).await;
        asking.comes_to(Negotiated::Legacy(LegacyReason::Refused)).await;
        assert_eq!(asking.said(&mut pool).await, (vec![], false));
        asking.mint.stop.cancel();
    }
    let mut asking = Asking::patient().await;
    let mut pool = asking.asked().await;
    pool.send(error(1, &[STATS], &[])).await;
    assert_eq!(pool.frame().await, Some(request(2, &[PROOF, QUOTES])));
    pool.send(error(2, &[PROOF], &[])).await;
    asking.comes_to(Negotiated::Legacy(LegacyReason::Refused)).await;
    assert_eq!(asking.said(&mut pool).await, (vec![], false));
    asking.mint.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_answer_there_are_quotes_alone_until_a_late_success() {
    let mut asking = Asking::start(Duration::from_millis(50)).await;
    let mut pool = asking.asked().await;
    asking.comes_to(Negotiated::Legacy(LegacyReason::NoAnswer)).await;
    for version in 2..20 {
        asking.mint.totals.send(totals(version)).unwrap();
        assert_eq!(asking.said(&mut pool).await, (vec![], false));
    }
    pool.send(success(1, &ALL)).await;
    asking.comes_to(Negotiated::On(among(&ALL))).await;
    let (said, correlated) = asking.said(&mut pool).await;
    assert_eq!(kinds(&said), expected(&ALL));
    assert_eq!(Snapshot::decode(&said[1].payload).unwrap().sequence, 19);
    assert!(correlated);
    asking.mint.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_nothing_and_second_answers_change_nothing() {
    let mut asking = Asking::patient().await;
    let mut pool = asking.asked().await;
    for stray in [
        success(0, &ALL),
        success(2, &ALL),
        error(7, &ALL, &[]),
        request(1, &ALL),
    ] {
        pool.send(stray).await;
    }
    assert_eq!(asking.said(&mut pool).await, (vec![], false));
    pool.send(success(1, &[PROOF, STATS])).await;
    for late in [
        success(1, &ALL),
        error(1, &ALL, &[]),
        setup_success(),
        setup_error("no"),
    ] {
        pool.send(late).await;
    }
    asking.comes_to(Negotiated::On(among(&[PROOF, STATS]))).await;
    let (said, correlated) = asking.said(&mut pool).await;
    assert_eq!(kinds(&said), expected(&ALL), "one proof, one initial snapshot");
    assert!(!correlated);
    asking.mint.stop.cancel();
}

/// A mint's end that the test plays, set up.
async fn dial(pool: &Pool) -> Peer {
    Peer::dial_and_set_up(pool.address, pool.authority.public()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_grants_what_it_knows_of_what_is_asked_for() {
    let mut pool = Pool::start(Admission::default()).await;
    for (asked, granted) in [
        (vec![0x0002, PROOF, 0x7ABC, STATS], vec![STATS, PROOF]),
        (vec![QUOTES], vec![QUOTES]),
        (vec![STATS, STATS, STATS], vec![STATS]),
    ] {
        let mut mint = dial(&pool).await;
        mint.send(request(9, &asked)).await;
        assert_eq!(mint.frame().await, Some(success(9, &granted)));
        let proof = MintProof::new(&MintKey::generate(), &mint.transcript);
        mint.send(proof.to_frame(&Default::default())).await;
        let info = pool.session().await.info();
        assert_eq!((info.extensions, info.legacy), (among(&granted), false));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_answers_every_request_and_what_is_on_stays_on() {
    let mut pool = Pool::start(Admission::default()).await;
    let mut mint = dial(&pool).await;
    for (asked, answer) in [
        (request(1, &[0x0002, 0x0003]), error(1, &[0x0002, 0x0003], &[])),
        (request(1, &[]), error(1, &[], &[])),
        (request(2, &[STATS]), success(2, &[STATS])),
        (request(2, &[STATS]), success(2, &[STATS])),
        (request(3, &[QUOTES, 0x0002]), success(3, &[QUOTES])),
        (request(4, &[0x0002]), error(4, &[0x0002], &[])),
    ] {
        mint.send(asked).await;
        assert_eq!(mint.frame().await, Some(answer));
    }
    let session = pool.session().await;
    assert_eq!(session.info().extensions, among(&[STATS, QUOTES]));
    assert!(pool.sessions.try_recv().is_err(), "one session");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_demands_a_proof_says_so_and_lets_a_mint_ask_again() {
    let key = MintKey::generate();
    let mut pool = Pool::start(Admission {
        mint_public_keys: vec![key.public()],
        allow_legacy_mint: false,
    })
    .await;
    let mut mint = dial(&pool).await;
    mint.send(request(1, &[STATS, 0x0002])).await;
    assert_eq!(mint.frame().await, Some(error(1, &[0x0002], &[PROOF])));
    mint.send(request(2, &[STATS, PROOF])).await;
    assert_eq!(mint.frame().await, Some(success(2, &[STATS, PROOF])));
    mint.send(MintProof::new(&key, &mint.transcript).to_frame(&Default::default()))
        .await;
    assert_eq!(pool.session().await.info().public_key, Some(key.public()));
    // One that does not is refused when its time is over.
    let mut pool = Pool::timed(
        Admission {
            mint_public_keys: vec![key.public()],
            allow_legacy_mint: false,
        },
        Duration::from_secs(2),
        LONG,
    )
    .await;
    let mut mint = dial(&pool).await;
    mint.send(request(1, &[STATS])).await;
    assert_eq!(mint.rest().await, [error(1, &[], &[PROOF])]);
    pool.ended(FailureReason::LegacyRefused, 1).await;
    assert!(pool.nothing_shows());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p9_a_legacy_session_that_negotiates_late_is_upgraded() {
    let key = MintKey::generate();
    let mut pool = Pool::timed(
        Admission {
            mint_public_keys: vec![key.public()],
            allow_legacy_mint: true,
        },
        SHORT,
        LONG,
    )
    .await;
    let mut mint = dial(&pool).await;
    let mut session = pool.session().await;
    assert_eq!(pool.status(), Status::Unsupported);
    session.requests.send(super::request(1)).await.unwrap();
    assert_eq!(mint.frame().await, Some(super::request(1).to_frame().unwrap()));
    mint.send(request(1, &ALL)).await;
    assert_eq!(mint.frame().await, Some(success(1, &ALL)));
    // A refusal that was on its way has no hash; one that follows has.
    let refused = |header_hash| QuoteAnswer::Refused {
        header_hash,
        code: RefusalCode::Other,
        message: "no".to_owned(),
    };
    mint.send(refused(None).to_frame(false).unwrap()).await;
    assert_eq!(session.answers.recv().await, Some(refused(None)));
    let hash = Some(HeaderHash([4; 32]));
    mint.send(refused(hash).to_frame(true).unwrap()).await;
    assert_eq!(session.answers.recv().await, Some(refused(hash)));
    mint.send(MintProof::new(&key, &mint.transcript).to_frame(&Default::default()))
        .await;
    mint.send(proof::snapshot(5)).await;
    pool.sees(|view| view.latest.is_some()).await;
    assert_eq!(pool.status(), Status::Live);
    assert!(session.info().is_proven());
}
