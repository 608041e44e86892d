//! Peers that are no mint, and a stop at any step.

use super::*;

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
    let counters = pool.link.metrics.read();
    for step in [crate::Step::Handshake, crate::Step::Setup] {
        assert_eq!(counters.ended(FailureReason::Deadline(step)), 1, "{step}");
    }
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
