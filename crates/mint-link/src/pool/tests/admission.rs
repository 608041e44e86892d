//! Who is let in, by which proof, and when a rule that changes ends a session.

use super::*;

#[tokio::test(start_paused = true)]
async fn nothing_of_an_unproven_session_counts_or_shows() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let mut dialled = pool.granted(&ALL).await;
    dialled.mint.send(snapshot(5)).await;
    dialled.mint.send(created(1).to_frame(true).unwrap()).await;
    settle().await;
    assert!(pool.nothing_shows());
    let (error, after) = dialled.ended().await;
    assert!(
        matches!(
            error,
            LinkError::Deadline {
                step: crate::Step::Proof,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(after, 10 * SECOND);
    assert!(pool.nothing_shows());
    assert_eq!(pool.link.metrics.read().ready, 0);
}

#[tokio::test(start_paused = true)]
async fn a_proof_of_another_key_a_false_one_or_a_replayed_one_ends_the_session_after_a_second() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let mut unlisted = pool.granted(&ALL).await;
    let stranger = MintKey::generate();
    unlisted.prove(&stranger).await;
    let (error, after) = unlisted.ended().await;
    assert!(
        matches!(error, LinkError::NotListed(key) if key == stranger.public()) && after == SECOND,
        "{error} after {after:?}"
    );
    let named = format!("{} is not in mint_link.mint_public_keys", stranger.public());
    assert!(error.to_string().contains(&named), "{error}");

    let mut first = pool.granted(&ALL).await;
    let replayed = MintProof::new(&key, &first.mint.transcript).to_frame(&ExtensionIds::default());
    first.mint.send(Frame::new(0x4D50, 0x85, vec![1; 96])).await;
    assert!(matches!(first.ended().await.0, LinkError::BadProof(_)));
    let mut second = pool.granted(&ALL).await;
    second.mint.send(replayed).await;
    assert!(matches!(second.ended().await.0, LinkError::BadProof(_)));
    assert!(pool.nothing_shows());
    assert_eq!(pool.link.metrics.read().ended(FailureReason::BadProof), 2);
}

#[tokio::test(start_paused = true)]
async fn a_mint_that_leaves_once_it_has_seen_the_pools_key_is_said_to_have_pinned_another_or_given_up() {
    let pool = Fixture::new(Admission::default());
    let Dialled { mint, ended } = pool.shake_hands(1 << 20).await;
    drop(mint);
    let error = ended.await.unwrap();
    let key = pool.link.config.authority.public();
    assert!(
        matches!(error, LinkError::ClosedAfterHandshake(named) if named == key),
        "{error}"
    );
    let said = error.to_string();
    assert!(
        said.contains(&format!("pinned another authority key than this pool's {key}")),
        "{said}"
    );
    assert!(said.contains("gave up waiting"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_legacy_mint_is_refused_after_the_deadline_and_hears_of_no_quote_before() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let mut dialled = pool.set_up().await;
    let start = Instant::now();
    assert!(dialled.mint.reader.next().await.is_none());
    assert_eq!(start.elapsed(), 2 * SECOND);
    assert!(matches!(dialled.ended.await.unwrap(), LinkError::LegacyRefused));
    assert!(pool.nothing_shows());
}

#[tokio::test(start_paused = true)]
async fn an_allowed_legacy_mint_works_after_the_deadline_and_upgrades_when_it_negotiates_late() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(legacy_too(key.public()));
    let mut dialled = pool.set_up().await;
    let start = Instant::now();
    let mut session = pool.sessions.recv().await.unwrap();
    assert_eq!(start.elapsed(), 2 * SECOND);
    assert_eq!(pool.status(), Status::Unsupported);
    let info = session.info();
    assert!(info.legacy && !info.is_proven() && !info.extensions.quotes);
    assert_eq!(session.request_stats(), None);
    // Statistics that were not negotiated are dropped; a refusal tells no hash.
    dialled.mint.send(snapshot(1)).await;
    let refused = QuoteAnswer::Refused {
        header_hash: None,
        code: RefusalCode::Other,
        message: "no".to_owned(),
    };
    dialled.mint.send(refused.to_frame(false).unwrap()).await;
    assert_eq!(session.answers.recv().await, Some(refused));
    assert_eq!(pool.status(), Status::Unsupported);

    dialled.ask(&ALL).await;
    assert_eq!(dialled.mint.frame().await, granted(&ALL));
    dialled.prove(&key).await;
    dialled.mint.send(snapshot(2)).await;
    let mut info = session.watch_info();
    let upgraded = info.wait_for(|info| info.is_proven()).await.unwrap().clone();
    assert_eq!((upgraded.extensions, upgraded.legacy), (Extensions::ALL, false));
    settle().await;
    assert_eq!(pool.status(), Status::Live);
    assert!(pool.cache.load().peer.as_ref().unwrap().proven);
    assert_eq!(session.request_stats(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_late_proof_of_an_unlisted_key_ends_an_allowed_legacy_session() {
    let mut pool = Fixture::new(legacy_too(MintKey::generate().public()));
    let mut dialled = pool.set_up().await;
    let _session = pool.sessions.recv().await.unwrap();
    dialled.ask(&ALL).await;
    assert_eq!(dialled.mint.frame().await, granted(&ALL));
    dialled.prove(&MintKey::generate()).await;
    assert!(matches!(dialled.ended().await.0, LinkError::NotListed(_)));
}

#[tokio::test(start_paused = true)]
async fn where_a_proof_is_demanded_a_mint_that_asks_without_it_may_ask_again() {
    let key = MintKey::generate();
    let mut pool = Fixture::new(only(key.public()));
    let mut dialled = pool.set_up().await;
    dialled.ask(&[0x4D53]).await;
    let error = ExtensionMessage::Error {
        request_id: 1,
        unsupported: vec![],
        required: vec![0x4D50],
    };
    assert_eq!(dialled.mint.frame().await, negotiation(error));
    dialled.ask(&ALL).await;
    assert_eq!(dialled.mint.frame().await, granted(&ALL));
    dialled.prove(&key).await;
    assert!(pool.sessions.recv().await.unwrap().info().is_proven());
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_takes_any_mint_that_negotiates() {
    let mut pool = Fixture::new(Admission::default());
    let start = Instant::now();
    let _plain = pool.granted(&[0x4D53]).await;
    assert!(!pool.sessions.recv().await.unwrap().info().is_proven());
    assert_eq!(start, Instant::now());
    let key = MintKey::generate();
    let (_dialled, session) = pool.proven(&key).await;
    assert_eq!(session.info().public_key, Some(key.public()));
    let mut false_proof = pool.granted(&ALL).await;
    false_proof.mint.send(Frame::new(0x4D50, 0x85, vec![1; 96])).await;
    assert!(matches!(false_proof.ended().await.0, LinkError::BadProof(_)));
    assert!(matches!(pool.set_up().await.ended().await.0, LinkError::LegacyRefused));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_taken_off_the_list_ends_its_session_and_no_other_change_does() {
    let (key, other) = (MintKey::generate(), MintKey::generate());
    let mut pool = Fixture::new(only(key.public()));
    let (mut dialled, mut session) = pool.proven(&key).await;
    let both = Admission {
        mint_public_keys: vec![other.public(), key.public()],
        allow_legacy_mint: false,
    };
    pool.rule.send_replace(Arc::new(both));
    settle().await;
    dialled.mint.send(created(1).to_frame(true).unwrap()).await;
    assert_eq!(session.answers.recv().await, Some(created(1)));
    pool.rule.send_replace(Arc::new(only(other.public())));
    assert_eq!(session.answers.recv().await, None);
    assert!(matches!(dialled.ended().await.0, LinkError::NotListed(_)));

    // The list also changes for those who wait.
    let mut waiting = pool.granted(&ALL).await;
    pool.rule.send_replace(Arc::new(only(key.public())));
    waiting.prove(&key).await;
    let _session = pool.sessions.recv().await.unwrap();
    // Without anybody to change it, it stays.
    drop(pool.rule);
    settle().await;
    assert!(!waiting.ended.is_finished());
}
