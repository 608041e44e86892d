//! Peers that are no mint: they are bounded, and keep no mint out.

use mint_link::Step;
use tokio::task::JoinSet;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_peers_and_garbage_beside_a_mint_hurt_nobody_and_end_at_the_deadline() {
    let mint = Mint::start();
    let mut pool = Pool::start(mint.rule()).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(pool.address).await.unwrap());
    }
    let mut garbage = TcpStream::connect(pool.address).await.unwrap();
    garbage.write_all(&[0x47; 4096]).await.unwrap();
    let start = Instant::now();
    let _link = mint.connect(pool.target());
    let mut session = pool.session().await;
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "the mint had to wait for the silent ones"
    );
    quotes_flow(&mut session, 100).await;
    for mut peer in silent {
        let read = timeout(LONG, peer.read(&mut [0; 16]))
            .await
            .expect("a silent peer is never left");
        assert_eq!(read.unwrap_or(0), 0);
    }
    quotes_flow(&mut session, 100).await;
    assert_eq!(pool.metrics.read().ended(FailureReason::Deadline(Step::Handshake)), 20);
    mint.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_bounded_and_one_that_is_not_admitted_makes_room() {
    let mint = Mint::start();
    let address = "127.0.0.1:0".parse().unwrap();
    let mut pool = Pool::at(address, AuthorityKeypair::generate(), mint.rule(), 2).await;
    let mut first = TcpStream::connect(pool.address).await.unwrap();
    let _second = TcpStream::connect(pool.address).await.unwrap();
    let _third = TcpStream::connect(pool.address).await.unwrap();
    let read = timeout(LONG, first.read(&mut [0; 16])).await.expect("the first stays");
    assert_eq!(read.unwrap_or(0), 0);
    pool.ended(FailureReason::Evicted, 1).await;
    let _link = mint.connect(pool.target());
    let mut session = pool.session().await;
    quotes_flow(&mut session, 10).await;
    mint.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mint_that_works_makes_room_for_nobody() {
    let mint = Mint::start();
    let address = "127.0.0.1:0".parse().unwrap();
    let mut pool = Pool::at(address, AuthorityKeypair::generate(), mint.rule(), 1).await;
    let _link = mint.connect(pool.target());
    let mut session = pool.session().await;
    let mut stranger = TcpStream::connect(pool.address).await.unwrap();
    let read = timeout(LONG, stranger.read(&mut [0; 16])).await.unwrap();
    assert_eq!(read.unwrap_or(0), 0);
    assert_eq!(pool.metrics.read().refused_full, 1);
    quotes_flow(&mut session, 10).await;
    mint.stop.cancel();
}

/// Between two dials of one of the silent peers below, so that they leave this machine some of its time.
const DIALS_AGAIN: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_silent_peers_that_dial_on_and_on_keep_no_mint_out() {
    let mint = Mint::start();
    let mut pool = Pool::with(
        "127.0.0.1:0".parse().unwrap(),
        AuthorityKeypair::generate(),
        mint.rule(),
        // Who waited for the silent ones to be given up would wait for this.
        |config| config.timers.handshake = LONG,
    )
    .await;
    let mut silent = JoinSet::new();
    let address = pool.address;
    for _ in 0..200 {
        silent.spawn(async move {
            loop {
                if let Ok(mut peer) = TcpStream::connect(address).await {
                    let _ = peer.read(&mut [0; 16]).await;
                }
                tokio::time::sleep(DIALS_AGAIN).await;
            }
        });
    }
    // The house is full, and goes on being fought over.
    pool.ended(FailureReason::Evicted, 200).await;
    let start = Instant::now();
    for _ in 0..5 {
        let (_, link) = mint.connect(pool.target());
        let mut session = pool.session().await;
        quotes_flow(&mut session, 20).await;
        link.abort();
        assert!(link.await.unwrap_err().is_cancelled());
    }
    assert!(start.elapsed() < LONG / 2, "{:?} for five arrivals", start.elapsed());
    assert_eq!(pool.metrics.read().refused_full, 0);
    mint.stop.cancel();
}
