//! Each end against a peer that knows the quote messages and no extension.

use mint_link::{ExtensionMessage, LegacyReason, MINT_QUOTE_ERROR, MINT_QUOTE_RESPONSE};
use peer_test::{LegacyMint, LegacyPool, LegacySession, Manners, OnQuestion, QuoteRequest, SETUP_CONNECTION};
use stats_push::Connection;

use super::*;

/// A mint that dials this old pool, pushes often and takes this long a silence for an answer.
fn dialling(pool: &LegacyPool, negotiation: Duration) -> (Mint, watch::Receiver<LinkStatus>) {
    let mut mint = Mint::start();
    mint.link.push = PushConfig::new(Duration::from_millis(100), Duration::ZERO).unwrap();
    mint.link.timers.negotiation = negotiation;
    let (status, _link) = mint.connect(PoolTarget {
        address: pool.address().to_string().into(),
        authority: pool.authority().public(),
    });
    (mint, status)
}

/// Asks for a quote for this share and expects it.
async fn quote(session: &mut LegacySession, number: u64) -> Option<()> {
    let request = QuoteRequest {
        header_hash: request(number).header_hash.0,
        amount: 1,
        locking_key: vec![2; 33],
    };
    let answer = timeout(LONG, session.ask(&request)).await.expect("an answer")?;
    assert_eq!(
        (answer.extension_type, answer.channel_msg, answer.msg_type),
        (0x0003, true, 0x81)
    );
    assert!(answer.payload.ends_with(&request.header_hash));
    Some(())
}

/// Quotes flow while the mint's totals change, and for longer than its push interval.
async fn quotes_are_served(mint: &Mint, session: &mut LegacySession) {
    let start = Instant::now();
    let mut number = 0;
    while number < 200 || start.elapsed() < Duration::from_millis(300) {
        mint.totals.send(totals(number + 2)).unwrap();
        quote(session, number).await.expect("the session goes on");
        number += 1;
    }
}

/// What a mint may send to an old pool: answers to quote requests, and the one question first, if `asked`.
fn nothing_else_is_sent(session: &LegacySession, asked: bool) {
    let mut frames = session.heard().iter();
    if asked {
        let question = frames.next().unwrap();
        assert_eq!((question.extension_type, question.msg_type), (0x0001, SETUP_CONNECTION));
        let message = ExtensionMessage::decode(question.msg_type, question.payload.clone()).unwrap();
        assert!(matches!(message, ExtensionMessage::Request { request_id: 1, .. }));
    }
    for frame in frames {
        assert_eq!(frame.extension_type, 0x0003, "{frame:?}");
        assert!(
            matches!(frame.msg_type, MINT_QUOTE_RESPONSE | MINT_QUOTE_ERROR),
            "{frame:?}"
        );
    }
}

async fn is(status: &mut watch::Receiver<LinkStatus>, reason: LegacyReason) {
    let wanted = Negotiated::Legacy(reason);
    let seen = status
        .wait_for(|status| matches!(status.state, LinkState::Connected { negotiated, .. } if negotiated == wanted));
    timeout(LONG, seen)
        .await
        .unwrap_or_else(|_| panic!("never {reason:?}"))
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mint_serves_an_old_pool_that_ignores_the_question_or_takes_it_for_a_second_setup() {
    for (on_question, negotiation, reason) in [
        (OnQuestion::Ignores, SHORT, LegacyReason::NoAnswer),
        (OnQuestion::AnswersSuccess, LONG, LegacyReason::Misunderstood),
        (OnQuestion::AnswersError, LONG, LegacyReason::Misunderstood),
    ] {
        let pool = LegacyPool::listen(on_question).await;
        let (mint, mut status) = dialling(&pool, negotiation);
        let mut session = timeout(LONG, pool.session()).await.unwrap();
        // Served from the start, whatever becomes of the question.
        quote(&mut session, 1_000).await.unwrap();
        is(&mut status, reason).await;
        quotes_are_served(&mint, &mut session).await;
        is(&mut status, reason).await;
        nothing_else_is_sent(&session, true);
        assert_eq!(status.borrow().sessions, 1);
        mint.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mint_asks_nothing_of_an_old_pool_that_closed_over_the_question_and_serves_it() {
    let pool = LegacyPool::listen(OnQuestion::Closes).await;
    let (mint, mut status) = dialling(&pool, LONG);
    let mut session = timeout(LONG, pool.session()).await.unwrap();
    assert_eq!(quote(&mut session, 1_000).await, None);
    drop(session);
    let mut session = timeout(LONG, pool.session()).await.unwrap();
    is(&mut status, LegacyReason::NotAsked).await;
    quotes_are_served(&mint, &mut session).await;
    nothing_else_is_sent(&session, false);
    mint.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p9_a_pool_that_allows_an_old_mint_gets_quotes_and_says_that_statistics_are_unsupported() {
    let mut pool = Pool::timed(
        Admission {
            mint_public_keys: vec![MintKey::generate().public()],
            allow_legacy_mint: true,
        },
        SHORT,
        LONG,
    )
    .await;
    let mut mint = LegacyMint::start(pool.address, pool.authority.public(), Manners::default());
    let mut session = pool.session().await;
    assert_eq!(session.info().device.vendor, "HashPool Mint");
    assert!(session.info().legacy && !session.info().is_proven());
    assert_eq!(session.request_stats(), None);
    for number in 0..100 {
        session.requests.send(request(number)).await.unwrap();
        let answer = timeout(LONG, session.answers.recv()).await.unwrap().unwrap();
        assert_eq!(answer.header_hash(), Some(request(number).header_hash));
    }
    // The same share again: no hash, no id, one code.
    session.requests.send(request(0)).await.unwrap();
    let answer = timeout(LONG, session.answers.recv()).await.unwrap().unwrap();
    assert!(matches!(&answer, QuoteAnswer::Refused { header_hash: None, message, .. } if message == "Duplicate entry"));
    assert_eq!(pool.status(), Status::Unsupported);
    assert_eq!(pool.cache.load().connection, Connection::Up { negotiated: false });
    let seen = mint.sees(|seen| seen.duplicates == 1).await;
    assert_eq!(seen.frames.len(), 101);
    assert!(
        seen.frames
            .iter()
            .all(|frame| (frame.extension_type, frame.msg_type) == (0x0003, 0x80))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_old_mint_that_dials_again_at_once_costs_one_handshake_a_second() {
    let mut pool = Pool::timed(
        Admission {
            mint_public_keys: vec![MintKey::generate().public()],
            allow_legacy_mint: false,
        },
        SHORT,
        LONG,
    )
    .await;
    let start = Instant::now();
    let mut mint = LegacyMint::start(pool.address, pool.authority.public(), Manners::default());
    let seen = timeout(LONG, mint.sees(|seen| seen.handshakes == 4)).await.unwrap();
    assert!(
        start.elapsed() >= Duration::from_secs(3),
        "4 handshakes in {:?}",
        start.elapsed()
    );
    assert!(seen.frames.is_empty(), "it hears of no quote");
    assert!(pool.nothing_shows());
}
