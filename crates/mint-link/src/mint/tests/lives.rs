//! How a link ends and begins again.

use super::*;

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
async fn p10_a_frame_above_64_kib_or_garbage_ends_the_session_and_the_mint_dials_again() {
    use tokio::io::AsyncWriteExt;
    let mut mint = Fixture::start();
    let pool = mint.on().await;
    let mut raw = pool.reader.into_inner().unsplit(pool.writer.into_inner());
    raw.write_all(&[0x55; 64]).await.unwrap();
    mint.on().await;
    assert_eq!(mint.metrics.read().ended(FailureReason::Undecryptable), 1);
}
