//! Who works where two mints want to.

use super::{session::FIRST_SNAPSHOT, *};

/// A mint of this run that has proven itself and told its first snapshot.
async fn arrives(pool: &Fixture, key: &MintKey, run: u64) -> Dialled {
    let mut dialled = pool.granted(&ALL).await;
    dialled.prove(key).await;
    dialled.mint.send(snapshot_of(RunId(run), 1)).await;
    dialled
}

#[tokio::test(start_paused = true)]
async fn p8_of_two_mints_with_one_key_the_newest_stays_and_the_other_is_refused_until_that_one_goes() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let old = arrives(&pool, &key, 1).await;
    let _old = pool.sessions.recv().await.unwrap();
    settle().await;
    let new = arrives(&pool, &key, 2).await;
    let mut session = pool.sessions.recv().await.unwrap();
    assert!(matches!(old.ended().await.0, LinkError::Replaced));
    for _ in 0..5 {
        let (error, after) = arrives(&pool, &key, 1).await.ended().await;
        assert!(matches!(error, LinkError::Displaced), "{error}");
        assert_eq!(after, SECOND, "a refusal takes a second");
    }
    assert!(!new.ended.is_finished() && session.answers.try_recv().is_err());
    assert_eq!(pool.cache.load().latest.as_ref().unwrap().snapshot.run_id, RunId(2));
    assert_eq!(pool.link.metrics.read().ready, 2);
    drop(new.mint);
    new.ended.await.unwrap();
    let _back = arrives(&pool, &key, 1).await;
    pool.sessions.recv().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_mint_whose_old_connection_hangs_is_let_in_by_its_first_snapshot_and_nothing_before_it_is_lost() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let hanging = arrives(&pool, &key, 1).await;
    let _old = pool.sessions.recv().await.unwrap();
    settle().await;
    let start = Instant::now();
    let mut dialled = pool.granted(&ALL).await;
    dialled.prove(&key).await;
    let question = ExtensionMessage::Request {
        request_id: 3,
        requested: ALL.to_vec(),
    };
    dialled.mint.send(negotiation(question)).await;
    settle().await;
    assert!(pool.sessions.try_recv().is_err() && !hanging.ended.is_finished());
    dialled.mint.send(snapshot(7)).await;
    let _session = pool.sessions.recv().await.unwrap();
    assert!(matches!(hanging.ended().await.0, LinkError::Replaced));
    assert_eq!(start, Instant::now());
    assert_eq!(dialled.mint.frame().await.msg_type, 1);
    assert_eq!(pool.cache.load().latest.as_ref().unwrap().snapshot.sequence, 7);
}

#[tokio::test(start_paused = true)]
async fn a_mint_that_does_not_tell_its_run_takes_over_two_seconds_later() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let old = arrives(&pool, &key, 1).await;
    let _old = pool.sessions.recv().await.unwrap();
    settle().await;
    let start = Instant::now();
    let mut dialled = pool.granted(&ALL).await;
    dialled.prove(&key).await;
    let _session = pool.sessions.recv().await.unwrap();
    assert_eq!(start.elapsed(), FIRST_SNAPSHOT);
    assert!(matches!(old.ended().await.0, LinkError::Replaced));
}
