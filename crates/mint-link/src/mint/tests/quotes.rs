//! Quote requests and their answers, and what is dropped on the way (P10).

use super::*;

#[tokio::test(start_paused = true)]
async fn refusals_tell_hash_and_reason_to_a_pool_that_negotiated_it() {
    let mut mint = Fixture::start();
    let mut pool = mint.on().await;
    pool.send(quote_request(3).to_frame().unwrap()).await;
    mint.quotes
        .recv()
        .await
        .unwrap()
        .answer
        .refused(RefusalCode::Conflict, "taken");
    let refusal = pool.frame().await;
    assert_eq!(
        (refusal.extension_type, refusal.channel_msg, refusal.msg_type),
        (3, true, MINT_QUOTE_ERROR)
    );
    let wanted = QuoteAnswer::Refused {
        header_hash: Some(HeaderHash([3; 32])),
        code: RefusalCode::Conflict,
        message: "taken".to_owned(),
    };
    assert_eq!(QuoteAnswer::decode_error(refusal.payload, true).unwrap(), wanted);
    // Let go without an answer: ask again.
    pool.send(quote_request(4).to_frame().unwrap()).await;
    drop(mint.quotes.recv().await.unwrap());
    let busy = QuoteAnswer::decode_error(pool.frame().await.payload, true).unwrap();
    assert!(matches!(
        busy,
        QuoteAnswer::Refused {
            code: RefusalCode::Busy,
            ..
        }
    ));
    assert_eq!(busy.header_hash(), Some(HeaderHash([4; 32])));
    assert_eq!(mint.metrics.read().unanswered, 1);
}

#[tokio::test(start_paused = true)]
async fn an_older_pool_is_not_told_that_the_mint_is_busy() {
    let mut mint = Fixture::start();
    let mut pool = mint.asked().await;
    pool.send(quote_request(1).to_frame().unwrap()).await;
    drop(mint.quotes.recv().await.unwrap());
    mint.quote_is_served(&mut pool).await;
}

#[tokio::test(start_paused = true)]
async fn p10_what_is_malformed_or_unknown_is_dropped_and_quotes_go_on() {
    let mut mint = Fixture::start();
    let mut pool = mint.on().await;
    let mut short = quote_request(1).to_frame().unwrap();
    short.payload.truncate(20);
    pool.send(short).await;
    pool.send(Frame::new(0x4D53, MINT_STATS_REQUEST, vec![0; 3])).await;
    pool.send(stats_request(0)).await;
    pool.send(Frame::new(0x4D53, 0x99, vec![])).await;
    pool.send(Frame::new(1, 1, vec![])).await;
    pool.send(created(1).to_frame(true).unwrap()).await;
    mint.quote_is_served(&mut pool).await;
    let counters = mint.metrics.read();
    assert_eq!(
        (counters.malformed_quotes, counters.malformed_stats, counters.unexpected),
        (1, 2, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn a_quote_request_counts_whatever_extension_type_an_older_pool_gives_it() {
    let mut mint = Fixture::start();
    let mut pool = mint.asked().await;
    for extension_type in [0, 3, 0x4D51, 0x1234] {
        let request = Frame {
            extension_type,
            ..quote_request(1).to_frame().unwrap()
        };
        assert_eq!(request.msg_type, MINT_QUOTE_REQUEST);
        pool.send(request).await;
        mint.quotes.recv().await.unwrap().answer.created("a quote");
        assert_eq!(pool.frame().await.msg_type, MINT_QUOTE_RESPONSE);
    }
}

#[tokio::test(start_paused = true)]
async fn unanswered_quotes_are_bounded_and_the_batcher_never_waits_for_a_pool() {
    let mut mint = Fixture::with(1 << 20, |link| link.max_outstanding = 2);
    let mut pool = mint.on().await;
    for tag in 1..=4 {
        pool.send(quote_request(tag).to_frame().unwrap()).await;
    }
    let first = mint.quotes.recv().await.unwrap();
    let second = mint.quotes.recv().await.unwrap();
    settle().await;
    assert!(mint.quotes.try_recv().is_err(), "a third request was read");
    second.answer.created("a quote");
    first.answer.created("a quote");
    assert_eq!(pool.frame().await, created(2).to_frame(true).unwrap());
    assert_eq!(pool.frame().await, created(1).to_frame(true).unwrap());
    assert_eq!(mint.quotes.recv().await.unwrap().request, quote_request(3));
}

#[tokio::test(start_paused = true)]
async fn a_batcher_that_is_gone_ends_the_session() {
    let mut mint = Fixture::start();
    let mut pool = mint.on().await;
    mint.quotes.close();
    pool.send(quote_request(1).to_frame().unwrap()).await;
    pool.end().await;
    settle().await;
    assert_eq!(mint.metrics.read().ended(FailureReason::Stopped), 1);
}
