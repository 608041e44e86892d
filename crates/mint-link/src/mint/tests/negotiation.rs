//! From the handshake to the proof: what is turned on, with whom, and what is said when it fails.

use super::*;

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
        (
            None,
            "SetupConnection took longer than 10s",
            FailureReason::Deadline(Step::Setup),
        ),
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
    assert_eq!(counters.ended(FailureReason::Deadline(Step::Handshake)), 1);
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
