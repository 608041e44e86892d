use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::{AuthorityKeypair, AuthorityPublicKey, testkit::pair};

const DAY: Duration = Duration::from_secs(86_400);

async fn meet(
    mint: DuplexStream,
    pinned: AuthorityPublicKey,
    pool: DuplexStream,
    authority: &AuthorityKeypair,
    validity: Duration,
) -> (
    Result<Secured<DuplexStream>, HandshakeError>,
    Result<Secured<DuplexStream>, HandshakeError>,
) {
    tokio::join!(
        initiate(mint, pinned, Arc::default()),
        respond(pool, authority, validity, Arc::default())
    )
}

#[tokio::test]
async fn both_ends_keep_the_same_transcript_and_no_two_connections_share_one() {
    let (mint, pool) = pair(1024).await;
    assert_eq!(mint.transcript, pool.transcript);
    let (other, _) = pair(1024).await;
    assert_ne!(mint.transcript, other.transcript);
}

#[tokio::test]
async fn a_pool_with_another_authority_key_is_not_accepted() {
    let (mint, pool) = duplex(1024);
    let pinned = AuthorityKeypair::generate().public();
    let (mint, _) = meet(mint, pinned, pool, &AuthorityKeypair::generate(), DAY).await;
    assert!(matches!(mint.err(), Some(HandshakeError::WrongAuthority)));
}

#[tokio::test]
async fn without_a_pin_whoever_answers_is_accepted() {
    let (dialling, listening) = duplex(1024);
    let authority = AuthorityKeypair::generate();
    let (dialling, listening) = tokio::join!(
        initiate_unpinned(dialling, Arc::default()),
        respond(listening, &authority, DAY, Arc::default())
    );
    assert_eq!(dialling.unwrap().transcript, listening.unwrap().transcript);
}

#[tokio::test]
async fn validity_beyond_the_wires_bound_is_cut_to_it() {
    let (mint, pool) = duplex(1024);
    let authority = AuthorityKeypair::generate();
    let (mint, pool) = meet(mint, authority.public(), pool, &authority, Duration::MAX).await;
    assert!(mint.is_ok() && pool.is_ok());
}

#[tokio::test]
async fn garbage_and_a_close_are_told_apart() {
    let authority = AuthorityKeypair::generate();
    let (mint, mut pool) = duplex(1024);
    let answer = async {
        pool.read_exact(&mut [0; 64]).await.unwrap();
        pool.write_all(&[0x42; 234]).await.unwrap();
    };
    let (mint, ()) = tokio::join!(initiate(mint, authority.public(), Arc::default()), answer);
    assert!(matches!(mint.err(), Some(HandshakeError::Refused(_))));

    let (mint, pool) = duplex(1024);
    drop(mint);
    let pool = respond(pool, &authority, DAY, Arc::default()).await;
    assert!(matches!(pool.err(), Some(HandshakeError::Closed)));
}
