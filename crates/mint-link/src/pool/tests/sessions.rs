//! What flows over a working session, and how one ends.

use super::*;

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

fn issued(tag: u8) -> Frame {
    let message = MintQuotesIssued {
        header_hashes: vec![HeaderHash([tag; 32])],
    };
    message.to_frame(&ExtensionIds::default()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn issued_quotes_reach_the_role_and_what_it_does_not_take_is_dropped_and_delays_nothing() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let (mut dialled, mut session) = pool.proven(&key).await;
    let mut malformed = issued(1);
    malformed.payload.truncate(30);
    dialled.mint.send(malformed).await;
    for tag in 0..70 {
        dialled.mint.send(issued(tag)).await;
    }
    dialled.mint.send(created(1).to_frame(true).unwrap()).await;
    assert_eq!(session.answers.recv().await, Some(created(1)));
    let counters = pool.link.metrics.read();
    assert_eq!((counters.malformed_quotes, counters.issued_missed), (1, 70 - 64));
    for tag in 0..64 {
        assert_eq!(session.issued.recv().await, Some(vec![HeaderHash([tag; 32])]));
    }
    drop(dialled.mint);
    assert_eq!(session.issued.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn issued_quotes_of_a_mint_that_did_not_negotiate_them_are_unexpected() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let mut dialled = pool.granted(&[0x4D53, 0x4D50]).await;
    dialled.prove(&key).await;
    let mut session = pool.sessions.recv().await.unwrap();
    dialled.mint.send(issued(1)).await;
    dialled.mint.send(created(1).to_frame(true).unwrap()).await;
    assert_eq!(session.answers.recv().await, Some(created(1)));
    assert_eq!(pool.link.metrics.read().unexpected, 1);
    assert!(session.issued.try_recv().is_err());
}
