//! How the pool finds that its mint is out of reach.

use super::*;

fn beating(rule: Admission) -> Fixture {
    Fixture::with_silence(rule, PoolTimers::default().silence)
}

fn question(request_id: u16) -> Frame {
    let requested = ALL.to_vec();
    negotiation(ExtensionMessage::Request { request_id, requested })
}

#[tokio::test(start_paused = true)]
async fn a_mint_that_is_not_heard_for_nine_seconds_is_gone() {
    let key = MintKey::generate();
    let mut pool = beating(only(key.public()));
    let (mut dialled, mut session) = pool.proven(&key).await;
    let mut info = session.watch_info();
    info.mark_unchanged();
    dialled.mint.send(snapshot_with(RunId(1), 1, 3600 * SECOND)).await;
    for id in 3..13 {
        tokio::time::advance(8 * SECOND).await;
        dialled.mint.send(question(id)).await;
        let supported = ALL.to_vec();
        let answer = ExtensionMessage::Success {
            request_id: id,
            supported,
        };
        assert_eq!(dialled.mint.frame().await, negotiation(answer));
    }
    assert!(!info.has_changed().unwrap(), "a heartbeat is no news");
    let (error, after) = dialled.ended().await;
    assert!(matches!(error, LinkError::Silent { .. }), "{error}");
    assert_eq!(after, 9 * SECOND);
    assert_eq!(session.answers.recv().await, None);
    assert_eq!(pool.status(), Status::Disconnected);
}

#[tokio::test(start_paused = true)]
async fn a_mint_without_heartbeats_has_the_interval_that_it_announces_and_one_without_statistics_has_for_ever() {
    for (interval, patience) in [(SECOND, 9 * SECOND), (60 * SECOND, 64 * SECOND)] {
        let key = MintKey::generate();
        let mut pool = beating(only(key.public()));
        let (mut dialled, _session) = pool.proven(&key).await;
        dialled.mint.send(snapshot_with(RunId(1), 1, interval)).await;
        let (error, after) = dialled.ended().await;
        assert!(matches!(error, LinkError::Silent { .. }), "{error}");
        assert_eq!(after, patience);
    }
    let mut pool = beating(Admission::default());
    let dialled = pool.granted(&[0x4D51]).await;
    let _session = pool.sessions.recv().await.unwrap();
    tokio::time::advance(86_400 * SECOND).await;
    settle().await;
    assert!(!dialled.ended.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_mint_that_says_nothing_from_the_beginning_is_gone_after_nine_seconds_too() {
    let key = MintKey::generate();
    let mut pool = beating(only(key.public()));
    let (dialled, _session) = pool.proven(&key).await;
    let (error, after) = dialled.ended().await;
    assert!(matches!(error, LinkError::Silent { .. }), "{error}");
    assert_eq!(after, 9 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_legacy_mint_may_be_silent_for_as_long_as_it_likes() {
    let key = MintKey::generate();
    let mut pool = beating(legacy_too(key.public()));
    let mut dialled = pool.set_up().await;
    let mut session = pool.sessions.recv().await.unwrap();
    tokio::time::advance(86_400 * SECOND).await;
    dialled.mint.send(created(1).to_frame(true).unwrap()).await;
    assert_eq!(session.answers.recv().await, Some(created(1)));
}

#[tokio::test(start_paused = true)]
async fn time_in_which_the_pool_itself_does_not_listen_is_not_the_mints_silence() {
    let key = MintKey::generate();
    let mut pool = beating(only(key.public()));
    let (mut dialled, mut session) = pool.proven(&key).await;
    // The role takes none of them, and there is room for four.
    for tag in 0..6 {
        dialled.mint.send(created(tag).to_frame(true).unwrap()).await;
    }
    dialled.mint.send(question(3)).await;
    settle().await;
    tokio::time::advance(60 * SECOND).await;
    for tag in 0..6 {
        assert_eq!(session.answers.recv().await, Some(created(tag)));
    }
    assert_eq!(dialled.mint.frame().await.msg_type, 1);
    assert!(!dialled.ended.is_finished());
}
