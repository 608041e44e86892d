//! When statistics reach the wire (P2 to P7).

use super::*;

#[tokio::test(start_paused = true)]
async fn p2_after_a_success_the_proof_goes_out_at_once_and_the_initial_snapshot_right_behind_it() {
    let mut mint = Fixture::start();
    let mut pool = mint.asked().await;
    assert!(matches!(
        mint.status.borrow().state,
        LinkState::Connected {
            negotiated: Negotiated::Pending,
            peer: Some(_),
            ..
        }
    ));
    let asked_at = Instant::now();
    pool.send(granted(&[0x4D50, 0x4D51, 0x4D53])).await;
    let proof = pool.frame().await;
    assert_eq!(
        (proof.extension_type, proof.channel_msg, proof.msg_type),
        (0x4D50, false, MINT_PROOF)
    );
    let proof = MintProof::decode(proof.payload).unwrap();
    assert_eq!(proof.verify(&pool.transcript), Ok(mint.key.public()));
    let initial = snapshot(&pool.frame().await);
    assert_eq!(
        (initial.reason, initial.sequence, initial.run_id),
        (Reason::Initial, 1, RunId(7))
    );
    assert_eq!(Instant::now(), asked_at);
    mint.negotiated(Negotiated::On(Extensions::ALL)).await;
}

#[tokio::test(start_paused = true)]
async fn p3_p4_periodic_and_event_pushes_reach_the_wire() {
    let mut mint = Fixture::start();
    let mut pool = mint.on().await;
    let start = Instant::now();
    assert_eq!(snapshot(&pool.frame().await).reason, Reason::Periodic);
    assert_eq!(start.elapsed(), 5 * SECOND);
    tokio::time::advance(SECOND).await;
    mint.totals.send(totals(2)).unwrap();
    let event = snapshot(&pool.frame().await);
    assert_eq!(
        (event.reason, event.sequence, start.elapsed()),
        (Reason::Event, 2, 6 * SECOND)
    );
}

#[tokio::test(start_paused = true)]
async fn p5_a_request_is_answered_and_ids_only_grow() {
    let mut mint = Fixture::start();
    let mut pool = mint.on().await;
    pool.send(stats_request(5)).await;
    let answer = snapshot(&pool.frame().await);
    assert_eq!((answer.reason, answer.request_id), (Reason::Requested, 5));
    pool.send(stats_request(5)).await;
    pool.send(stats_request(6)).await;
    assert_eq!(snapshot(&pool.frame().await).request_id, 6);
    assert_eq!(mint.metrics.read().unexpected, 1);
}

#[tokio::test(start_paused = true)]
async fn p7_quote_answers_go_first_and_a_due_snapshot_waits_behind_at_most_64() {
    let mut mint = Fixture::start();
    let mut pool = mint.on().await;
    let mut calls = Vec::new();
    for _ in 0..200 {
        pool.send(quote_request(1).to_frame().unwrap()).await;
        calls.push(mint.quotes.recv().await.unwrap());
    }
    // All of it happens at once, before the writer runs: a change that is due now, and 200 answers.
    tokio::time::advance(SECOND).await;
    mint.totals.send(totals(2)).unwrap();
    calls.into_iter().for_each(|call| call.answer.created("a quote"));
    let mut kinds = Vec::new();
    while kinds.len() < 201 {
        kinds.push(pool.frame().await.msg_type);
    }
    assert_eq!(kinds.iter().position(|kind| *kind == MINT_STATS_RESPONSE), Some(64));
    assert_eq!(kinds.iter().filter(|kind| **kind == MINT_QUOTE_RESPONSE).count(), 200);
}

#[tokio::test(start_paused = true)]
async fn p7_a_pool_that_stops_reading_is_left_at_the_deadline_and_gets_the_newest_after_it() {
    // A pipe that holds two snapshots or so.
    let mut mint = Fixture::with(512, |link| {
        link.push = PushConfig::new(SECOND, Duration::from_millis(100)).unwrap();
    });
    let mut pool = mint.on().await;
    let stalled = Instant::now();
    for version in 2..100 {
        mint.totals.send(totals(version)).unwrap();
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    // It is not read from, yet what it says is read.
    pool.send(quote_request(1).to_frame().unwrap()).await;
    assert_eq!(mint.quotes.recv().await.unwrap().request, quote_request(1));
    let (again, stream) = mint.dials.recv().await.unwrap();
    assert!(again - stalled < 12 * SECOND, "{:?}", again - stalled);
    assert_eq!(mint.metrics.read().ended(FailureReason::Deadline(Step::Write)), 1);
    // What had been handed to the pipe is old; nothing else was queued.
    let mut old = 0;
    while let Some(Ok(_)) = pool.reader.next().await {
        old += 1;
    }
    assert!(old < 8, "{old} frames were queued");
    drop(stream);
    let mut pool = mint.set_up().await;
    let _ = pool.frame().await;
    pool.send(granted(&[0x4D53])).await;
    assert_eq!(snapshot(&pool.frame().await).sequence, 99);
}

#[tokio::test(start_paused = true)]
async fn p7_a_pool_that_reads_between_two_pushes_gets_the_newest_only() {
    let mut mint = Fixture::with(300, |link| {
        link.push = PushConfig::new(SECOND, Duration::ZERO).unwrap();
    });
    let mut pool = mint.on().await;
    for version in 2..=500 {
        mint.totals.send(totals(version)).unwrap();
        settle().await;
    }
    let mut received = Vec::new();
    while received.last() != Some(&500) {
        received.push(snapshot(&pool.frame().await).sequence);
    }
    assert!(received.len() < 8, "{received:?}");
}

#[tokio::test(start_paused = true)]
async fn p6_a_mint_that_stops_answers_what_is_committed_pushes_once_more_and_closes() {
    let mut mint = Fixture::start();
    let mut pool = mint.on().await;
    pool.send(quote_request(1).to_frame().unwrap()).await;
    let call = mint.quotes.recv().await.unwrap();
    mint.stop.cancel();
    settle().await;
    // Too late: it is not taken any more.
    pool.send(quote_request(2).to_frame().unwrap()).await;
    settle().await;
    mint.totals.send(totals(2)).unwrap();
    call.answer.created("a quote");
    assert_eq!(pool.frame().await, created(1).to_frame(true).unwrap());
    let last = snapshot(&pool.frame().await);
    assert_eq!((last.reason, last.sequence), (Reason::Final, 2));
    assert!(pool.reader.next().await.is_none());
    assert!(mint.quotes.try_recv().is_err());
    drop(pool);
    mint.task.await.unwrap();
    assert_eq!(mint.status.borrow().state, LinkState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn p6_the_final_push_has_a_deadline_for_a_pool_that_does_not_read_and_a_batcher_that_does_not_answer() {
    let mut mint = Fixture::with(300, |_| {});
    let mut pool = mint.on().await;
    pool.send(quote_request(1).to_frame().unwrap()).await;
    let _unanswered = mint.quotes.recv().await.unwrap();
    for version in 2..5 {
        mint.totals.send(totals(version)).unwrap();
        tokio::time::advance(Duration::from_millis(100)).await;
        settle().await;
    }
    let stopped = Instant::now();
    mint.stop.cancel();
    mint.task.await.unwrap();
    assert!(stopped.elapsed() <= 3 * SECOND, "{:?}", stopped.elapsed());
}
