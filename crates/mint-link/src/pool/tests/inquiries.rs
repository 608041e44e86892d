//! When the pool asks its mint for a snapshot, and what becomes of the question.

use super::*;

fn question(request_id: u32) -> Frame {
    Frame::new(0x4D53, MINT_STATS_REQUEST, MintStatsRequest { request_id }.encode())
}

fn answer(request_id: u32, sequence: u64) -> Frame {
    let mut snapshot = Snapshot::decode(&snapshot(sequence).payload).unwrap();
    snapshot.request_id = request_id;
    snapshot.reason = Reason::Requested;
    Frame::new(0x4D53, MINT_STATS_RESPONSE, snapshot.encode())
}

#[tokio::test(start_paused = true)]
async fn a_session_without_its_first_snapshot_is_asked_for_it_after_two_seconds_and_every_five() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let (mut dialled, _session) = pool.proven(&key).await;
    let start = Instant::now();
    for (id, after) in [(1, 2), (2, 7), (3, 12)] {
        assert_eq!(dialled.mint.frame().await, question(id));
        assert_eq!(start.elapsed(), after * SECOND);
    }
    dialled.mint.send(answer(3, 1)).await;
    settle().await;
    assert_eq!(pool.status(), Status::Live);
    // The first question has been waiting for ten seconds.
    assert_eq!(pool.cache.load().round_trip, Some(10 * SECOND));
    let counters = pool.link.metrics.read();
    assert_eq!((counters.stats_requests, counters.round_trips), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn p9_a_status_that_turns_stale_while_the_link_is_up_makes_the_pool_ask() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let (mut dialled, _session) = pool.proven(&key).await;
    for sequence in 1..10 {
        dialled.mint.send(snapshot(sequence)).await;
        settle().await;
        tokio::time::advance(2900 * SECOND / 1000).await;
    }
    assert_eq!(pool.link.metrics.read().stats_requests, 0);
    assert_eq!(pool.status(), Status::Live);
    assert_eq!(dialled.mint.frame().await, question(1));
    assert_eq!(pool.status(), Status::Stale);
    dialled.mint.send(answer(1, 10)).await;
    settle().await;
    assert_eq!(pool.status(), Status::Live);
}

#[tokio::test(start_paused = true)]
async fn a_mint_without_statistics_is_asked_nothing_and_one_that_gets_them_late_has_two_seconds() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(legacy_too(key.public()));
    let mut dialled = pool.set_up().await;
    let session = pool.sessions.recv().await.unwrap();
    tokio::time::advance(600 * SECOND).await;
    session.requests.send(quote_request(1)).await.unwrap();
    assert_eq!(dialled.mint.frame().await, quote_request(1).to_frame().unwrap());
    dialled.ask(&[0x4D53]).await;
    assert_eq!(dialled.mint.frame().await, granted(&[0x4D53]));
    let on = Instant::now();
    assert_eq!(dialled.mint.frame().await, question(1));
    assert_eq!(on.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn p5_whoever_refreshes_gets_the_answer_or_the_reason_why_there_is_none() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(legacy_too(key.public()));
    let refresher = pool.link.refresher();
    assert_eq!(refresher.refresh(SECOND).await, Err(RefreshError::NoMint));
    let legacy = pool.set_up().await;
    let _session = pool.sessions.recv().await.unwrap();
    assert_eq!(refresher.refresh(SECOND).await, Err(RefreshError::Unsupported));

    let (mut dialled, _session) = pool.proven(&key).await;
    drop(legacy);
    dialled.mint.send(snapshot(1)).await;
    settle().await;
    let asking = tokio::spawn({
        let refresher = refresher.clone();
        async move { refresher.refresh(5 * SECOND).await }
    });
    assert_eq!(dialled.mint.frame().await, question(1));
    tokio::time::advance(SECOND).await;
    dialled.mint.send(answer(1, 7)).await;
    let refreshed = Refreshed {
        request_id: 1,
        round_trip: SECOND,
    };
    assert_eq!(asking.await.unwrap(), Ok(refreshed));
    let view = pool.cache.load().clone();
    assert_eq!(
        (view.latest.as_ref().unwrap().snapshot.sequence, view.round_trip),
        (7, Some(SECOND))
    );

    assert_eq!(refresher.refresh(SECOND).await, Err(RefreshError::TooLate));
    let asking = tokio::spawn({
        let refresher = refresher.clone();
        async move { refresher.refresh(5 * SECOND).await }
    });
    settle().await;
    drop(dialled.mint);
    assert_eq!(asking.await.unwrap(), Err(RefreshError::Ended));
    assert_eq!(refresher.refresh(SECOND).await, Err(RefreshError::NoMint));
}
