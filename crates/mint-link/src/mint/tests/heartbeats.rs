//! How the mint finds that a pool is out of reach, or does not read.

use futures::SinkExt;

use super::*;
use crate::MintTimers;

/// A mint with heartbeats.
fn beating(pipe: usize) -> Fixture {
    Fixture::with(pipe, |link| {
        link.timers = MintTimers::default();
        link.push = PushConfig::new(3600 * SECOND, Duration::ZERO).unwrap();
    })
}

fn question(request_id: u16) -> Frame {
    let requested = vec![0x4D53, 0x4D50, 0x4D51];
    negotiation(ExtensionMessage::Request { request_id, requested })
}

fn answer(request_id: u16) -> Frame {
    negotiation(ExtensionMessage::Success {
        request_id,
        supported: vec![0x4D53, 0x4D50, 0x4D51],
    })
}

#[tokio::test(start_paused = true)]
async fn a_pool_is_asked_every_three_seconds_and_left_six_seconds_after_a_question_that_it_does_not_answer() {
    let mut mint = beating(1 << 20);
    let mut pool = mint.on().await;
    let start = Instant::now();
    for (round, id) in (3..23).enumerate() {
        assert_eq!(pool.frame().await, question(id));
        assert_eq!(start.elapsed(), (round as u32 + 1) * 3 * SECOND);
        tokio::time::advance(SECOND).await;
        pool.send(answer(id)).await;
    }
    let last_answer = Instant::now();
    pool.end().await;
    let silent = last_answer.elapsed();
    assert!((8 * SECOND..=9 * SECOND).contains(&silent), "{silent:?}");
    let counters = mint.metrics.read();
    assert_eq!((counters.ended(FailureReason::Silent), counters.round_trips), (1, 20));
    assert_eq!(counters.unexpected, 0);
    mint.on().await;
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_goes_on_sending_and_reads_nothing_is_found_too() {
    let mut mint = beating(1 << 20);
    let mut pool = mint.on().await;
    let start = Instant::now();
    let (again, _stream) = loop {
        pool.writer.send(quote_request(1).to_frame().unwrap()).await.unwrap();
        mint.quotes.recv().await.unwrap().answer.created("a quote");
        tokio::select! {
            dialled = mint.dials.recv() => break dialled.unwrap(),
            () = tokio::time::sleep(SECOND) => {}
        }
        assert!(start.elapsed() < 20 * SECOND, "it is never found");
    };
    assert!(again - start <= 10 * SECOND, "{:?}", again - start);
    assert_eq!(mint.metrics.read().ended(FailureReason::Silent), 1);
}

#[tokio::test(start_paused = true)]
async fn a_mint_that_is_busy_itself_goes_on_beating_and_blames_no_pool() {
    let mut mint = Fixture::with(1 << 20, |link| {
        link.timers = MintTimers::default();
        link.push = PushConfig::new(3600 * SECOND, Duration::ZERO).unwrap();
        link.max_outstanding = 1;
    });
    let mut pool = mint.on().await;
    pool.send(quote_request(1).to_frame().unwrap()).await;
    let held = mint.quotes.recv().await.unwrap();
    // There is no place for its answer: the mint reads on only when the first quote is made. What the pool answers lies
    // behind this in the stream.
    pool.send(quote_request(2).to_frame().unwrap()).await;
    let start = Instant::now();
    for id in 3..23 {
        assert_eq!(pool.frame().await, question(id));
        pool.send(answer(id)).await;
    }
    assert_eq!(start.elapsed(), 60 * SECOND);
    held.answer.created("a quote");
    mint.quotes.recv().await.unwrap().answer.created("a quote");
    assert_eq!(pool.frame().await.msg_type, MINT_QUOTE_RESPONSE);
    assert_eq!(pool.frame().await.msg_type, MINT_QUOTE_RESPONSE);
    assert_eq!(pool.frame().await, question(23));
    assert_eq!(mint.metrics.read().ended(FailureReason::Silent), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_negotiated_nothing_is_never_asked_whether_it_is_there() {
    let mut mint = beating(1 << 20);
    let mut pool = mint.asked().await;
    mint.negotiated(Negotiated::Legacy(LegacyReason::NoAnswer)).await;
    tokio::time::advance(3600 * SECOND).await;
    mint.quote_is_served(&mut pool).await;
}
