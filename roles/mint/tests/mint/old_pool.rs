//! A pool that knows quotes and no extension, as hashpool's, before the whole mint.

use mint::PoolSection;
use peer_test::{LegacyPool, LegacySession, OnQuestion, QuoteRequest};

use super::*;

/// A mint that dials this pool.
async fn dialling(folder: &Path, pool: &LegacyPool) -> Running {
    let mut config = config(folder);
    config.push = stats_push::PushConfig::new(Duration::from_millis(100), Duration::ZERO).unwrap();
    config.pools = vec![PoolSection {
        address: pool.address().to_string(),
        authority_key: pool.authority().public(),
    }];
    mint::start(config, CancellationToken::new()).await.unwrap()
}

fn share(number: u8, key: &SecretKey) -> QuoteRequest {
    QuoteRequest {
        header_hash: [number; 32],
        amount: 8,
        locking_key: key.public_key().to_bytes().to_vec(),
    }
}

/// The id of the quote that the mint makes for it; `None` if the session ends instead.
async fn quote_of(session: &mut LegacySession, share: &QuoteRequest) -> Option<String> {
    let answer = session.ask(share).await?;
    assert_eq!(
        (answer.extension_type, answer.channel_msg, answer.msg_type),
        (0x0003, true, 0x81)
    );
    assert_eq!(answer.payload[37..], share.header_hash);
    Some(String::from_utf8(answer.payload[1..37].to_vec()).unwrap())
}

/// Everything that an old pool wants of a mint.
async fn is_served(running: &Running, session: &mut LegacySession) {
    let key = SecretKey::generate();
    let first = quote_of(session, &share(1, &key)).await.unwrap();
    for number in 2..40 {
        quote_of(session, &share(number, &key)).await.unwrap();
    }
    // Asked again, it is the same one; with another amount it is refused, as an old pool understands it.
    assert_eq!(quote_of(session, &share(1, &key)).await, Some(first.clone()));
    let conflict = QuoteRequest {
        amount: 16,
        ..share(1, &key)
    };
    let refusal = session.ask(&conflict).await.unwrap();
    assert_eq!((refusal.msg_type, &refusal.payload[..4]), (0x82, &[1, 0, 0, 0][..]));
    assert_eq!(
        refusal.payload.len(),
        5 + usize::from(refusal.payload[4]),
        "no hash at its end"
    );
    // A wallet mints, which a pool that knows statistics would be told.
    let wallet = Wallet::new(running).await;
    let outputs = wallet.outputs(&[8]);
    let signed = serde_json::to_value(wallet.signed(&first, &outputs, &key)).unwrap();
    assert_eq!(wallet.post("/mint/ehash", &signed).await.0, 200);
    quote_of(session, &share(40, &key)).await.unwrap();
}

/// Stops the mint, and looks at all that the pool was ever sent: answers, and first the one question if it was `asked`.
async fn nothing_else_was_sent(running: Running, mut session: LegacySession, asked: bool) {
    running.stop().await;
    while session.next().await.is_some() {}
    let mut frames = session.heard().iter();
    if asked {
        let question = frames.next().unwrap();
        assert_eq!((question.extension_type, question.msg_type), (0x0001, 0x00));
    }
    for frame in frames {
        assert!(
            matches!((frame.extension_type, frame.msg_type), (0x0003, 0x81 | 0x82)),
            "{frame:?}"
        );
    }
}

#[tokio::test]
async fn an_old_pool_is_served_whatever_it_makes_of_the_question() {
    for on_question in [
        OnQuestion::Ignores,
        OnQuestion::AnswersSuccess,
        OnQuestion::AnswersError,
    ] {
        let folder = tempfile::tempdir().unwrap();
        let pool = LegacyPool::listen(on_question).await;
        let running = dialling(folder.path(), &pool).await;
        let mut session = pool.session().await;
        is_served(&running, &mut session).await;
        nothing_else_was_sent(running, session, true).await;
    }
}

#[tokio::test]
async fn an_old_pool_that_closes_over_the_question_is_served_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let pool = LegacyPool::listen(OnQuestion::Closes).await;
    let running = dialling(folder.path(), &pool).await;
    let mut session = pool.session().await;
    assert_eq!(quote_of(&mut session, &share(250, &SecretKey::generate())).await, None);
    drop(session);
    let mut session = pool.session().await;
    is_served(&running, &mut session).await;
    nothing_else_was_sent(running, session, false).await;
}
