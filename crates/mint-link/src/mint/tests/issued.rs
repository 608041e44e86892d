//! Which quotes were issued, told last and once.

use super::*;

/// Tells all sessions that the quote of one share was issued.
fn issue(mint: &Fixture, tag: u8) {
    let _ = mint.issued.send(Arc::new([HeaderHash([tag; 32])]));
}

/// The shares that a frame tells of.
fn issued(frame: Frame) -> Vec<u8> {
    assert_eq!(
        (frame.extension_type, frame.channel_msg, frame.msg_type),
        (0x4D51, false, MINT_QUOTES_ISSUED)
    );
    let issued = MintQuotesIssued::decode(frame.payload).unwrap();
    issued.header_hashes.iter().map(|hash| hash.0[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn p7_issued_quotes_are_told_after_every_answer_and_a_due_snapshot() {
    let mut mint = Fixture::start();
    let mut pool = mint.on().await;
    let mut calls = Vec::new();
    for _ in 0..200 {
        pool.send(quote_request(1).to_frame().unwrap()).await;
        calls.push(mint.quotes.recv().await.unwrap());
    }
    tokio::time::advance(SECOND).await;
    (1..=3).for_each(|tag| issue(&mint, tag));
    mint.totals.send(totals(2)).unwrap();
    calls.into_iter().for_each(|call| call.answer.created("a quote"));
    for _ in 0..201 {
        assert_ne!(pool.frame().await.msg_type, MINT_QUOTES_ISSUED);
    }
    assert_eq!(issued(pool.frame().await), [1, 2, 3]);
    issue(&mint, 4);
    assert_eq!(issued(pool.frame().await), [4]);
    assert_eq!(mint.metrics.read().issued_missed, 0);
}

#[tokio::test(start_paused = true)]
async fn a_pool_hears_of_issued_quotes_only_with_the_extension_and_of_none_from_before() {
    let mut mint = Fixture::start();
    let mut pool = mint.asked().await;
    issue(&mint, 1);
    pool.send(granted(&[0x4D53])).await;
    assert_eq!(snapshot(&pool.frame().await).reason, Reason::Initial);
    issue(&mint, 2);
    settle().await;
    mint.totals.send(totals(2)).unwrap();
    assert_eq!(snapshot(&pool.frame().await).sequence, 2);
    drop(pool);

    let mut pool = mint.on().await;
    issue(&mint, 3);
    assert_eq!(issued(pool.frame().await), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_does_not_read_misses_issued_quotes_and_gets_its_answers() {
    // A pipe that holds a few messages.
    let mut mint = Fixture::with(512, |link| link.issued = broadcast::Sender::new(4));
    let mut pool = mint.on().await;
    for tag in 0..100 {
        issue(&mint, tag);
        settle().await;
    }
    pool.send(quote_request(9).to_frame().unwrap()).await;
    mint.quotes.recv().await.unwrap().answer.created("a quote");
    let mut told = Vec::new();
    loop {
        let frame = pool.frame().await;
        match frame.msg_type {
            MINT_QUOTES_ISSUED => told.extend(issued(frame)),
            MINT_QUOTE_RESPONSE => break,
            other => assert_eq!(other, MINT_STATS_RESPONSE),
        }
    }
    assert!(told.len() < 30, "{told:?} were queued");
    assert_eq!(issued(pool.frame().await), [96, 97, 98, 99]);
    let missed = mint.metrics.read().issued_missed;
    assert_eq!(missed as usize, 100 - 4 - told.len());
}
