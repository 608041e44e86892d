//! Links on which nothing gets through, pools that do not read, and two mints that want one place.

use mint_link::{ExtensionIds, MintProof};
use peer_test::{
    Peer,
    proxy::{Line, Proxy, Weather},
};

use stats_push::MINT_STATS_REQUEST;

use super::*;

/// What the issue of a lost link may take, from the moment at which nothing gets through any more.
const FOUND: Duration = Duration::from_secs(10);

/// A mint and a pool that work together, with a network between them that the test makes good or bad.
struct Together {
    mint: Mint,
    pool: Pool,
    proxy: Proxy,
    status: watch::Receiver<LinkStatus>,
    session: MintSession,
}

impl Together {
    async fn start() -> Self {
        let mint = Mint::start();
        let mut pool = Pool::start(mint.rule()).await;
        let proxy = Proxy::start(pool.address).await;
        let (status, _link) = mint.connect(PoolTarget {
            address: proxy.address().to_string().into(),
            authority: pool.authority.public(),
        });
        let session = pool.session().await;
        pool.sees(|view| view.latest.is_some()).await;
        Self {
            mint,
            pool,
            proxy,
            status,
            session,
        }
    }

    /// How long it takes the mint, and the pool, to find that the link is lost.
    async fn lost_after(&mut self, line: Line) -> (Duration, Duration) {
        self.proxy.refuse(true);
        self.proxy.set_open(line);
        let start = Instant::now();
        tokio::join!(
            async {
                gone(&mut self.status).await;
                start.elapsed()
            },
            async {
                let disconnected = |view: &stats_push::MintView| view.connection == Connection::Down;
                self.pool.sees(disconnected).await;
                start.elapsed()
            },
        )
    }
}

/// Waits until the mint no longer takes the link for a working one.
async fn gone(status: &mut watch::Receiver<LinkStatus>) {
    timeout(LONG, status.wait_for(|status| !status.is_connected()))
        .await
        .expect("the mint does not find that the pool is gone")
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_on_which_nothing_gets_through_is_found_within_10_s_by_both_ends_whichever_way_it_is_cut() {
    let (clear, swallowing) = (Weather::Clear, Weather::Swallowing);
    let lines = [(swallowing, swallowing), (swallowing, clear), (clear, swallowing)];
    let losing = lines.map(|(there, back)| async move {
        let mut both = Together::start().await;
        let (mint, pool) = both.lost_after(Line { there, back }).await;
        assert!(mint <= FOUND, "the mint after {mint:?}: there {there:?}, back {back:?}");
        assert!(pool <= FOUND, "the pool after {pool:?}: there {there:?}, back {back:?}");
        // Whoever finds it first tells the other by closing, where that gets through.
        let found_by_mint = both.mint.link.metrics.read().ended(FailureReason::Silent) == 1;
        if !found_by_mint || there == back {
            both.pool.ended(FailureReason::Silent, 1).await;
        }
        assert!(found_by_mint || there != back);
        assert_eq!(both.session.answers.recv().await, None);
    });
    let [both, there, back] = losing;
    tokio::join!(both, there, back);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_a_mint_is_asked_by_whoever_wants_a_fresh_look_and_by_the_pool_where_its_pushes_fail() {
    let mut mint = Mint::start();
    mint.link.push = PushConfig::new(Duration::from_secs(3600), Duration::ZERO).unwrap();
    let mut pool = Pool::start(mint.rule()).await;
    let (_status, _link) = mint.connect(pool.target());
    let _session = pool.session().await;
    pool.sees(|view| view.latest.is_some()).await;
    assert_eq!(pool.cache.load().round_trip, None);
    let refreshed = pool.refresher.refresh(LONG).await.unwrap();
    assert_eq!(refreshed.request_id, 1);
    let view = pool.cache.load().clone();
    assert!(view.round_trip.unwrap() <= refreshed.round_trip);
    assert_eq!(view.latest.as_ref().unwrap().snapshot.request_id, 1);
    assert_eq!(view.counters.received(Reason::Requested), 1);

    // In its place a mint that negotiates, proves itself, and pushes nothing.
    mint.stop.cancel();
    pool.sees(|view| view.connection == Connection::Down).await;
    let mut silent = Peer::dial_and_set_up(pool.address, pool.authority.public()).await;
    silent.send(negotiation::request(1, &[0x4D53, 0x4D50])).await;
    assert_eq!(silent.frame().await, Some(negotiation::success(1, &[0x4D53, 0x4D50])));
    silent
        .send(MintProof::new(&mint.key, &silent.transcript).to_frame(&ExtensionIds::default()))
        .await;
    let asked = timeout(LONG, silent.frame()).await.unwrap().unwrap();
    assert_eq!((asked.extension_type, asked.msg_type), (0x4D53, MINT_STATS_REQUEST));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_a_session_that_hangs_is_replaced_at_once_by_a_newer_one() {
    let mut both = Together::start().await;
    both.proxy.set_open(Weather::Swallowing);
    let (_status, _link) = both.mint.connect(both.pool.target());
    let mut session = both.pool.session().await;
    quotes_flow(&mut session, 100).await;
    both.pool.ended(FailureReason::Replaced, 1).await;
    // That was not the end of anybody's patience.
    assert_eq!(both.pool.metrics.read().ended(FailureReason::Silent), 0);
    both.mint.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_reads_nothing_or_a_byte_a_second_is_found_within_10_s_and_the_others_get_every_push() {
    let slow = Together::start().await;
    let Together { mint, mut status, .. } = slow;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = AuthorityKeypair::generate();
    let (mut deaf_status, _deaf) = mint.connect(PoolTarget {
        address: listener.local_addr().unwrap().to_string().into(),
        authority: authority.public(),
    });
    let mut healthy = Pool::start(mint.rule()).await;
    let _link = mint.connect(healthy.target());
    let _session = healthy.session().await;
    healthy.sees(|view| view.latest.is_some()).await;

    let mut deaf = Peer::accept_and_set_up(&listener, &authority).await;
    deaf.frame().await.expect("RequestExtensions");
    deaf.send(negotiation::success(1, &[0x4D53])).await;
    slow.proxy.refuse(true);
    slow.proxy.set_open(Line {
        there: Weather::Trickling(Duration::from_secs(1)),
        back: Weather::Clear,
    });
    let start = Instant::now();
    let both_gone = async {
        tokio::join!(gone(&mut status), gone(&mut deaf_status));
        start.elapsed()
    };
    let pushing = async {
        for version in 2.. {
            mint.totals.send(totals(version)).unwrap();
            healthy
                .sees(|view| {
                    view.latest
                        .as_ref()
                        .is_some_and(|latest| latest.snapshot.sequence == version)
                })
                .await;
        }
    };
    let found = tokio::select! {
        found = both_gone => found,
        () = pushing => unreachable!(),
    };
    assert!(found <= FOUND, "{found:?}");
    mint.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_of_two_mints_with_one_seed_the_newest_stays_and_the_other_waits_until_it_has_gone() {
    let first = Mint::start();
    let mut second = Mint::start();
    second.key = first.key.clone();
    second.link.key = first.key.clone();
    let mut pool = Pool::start(first.rule()).await;
    let (mut first_status, _link) = first.connect(pool.target());
    let _older = pool.session().await;
    pool.sees(|view| view.latest.is_some()).await;
    let (second_status, _link) = second.connect(pool.target());
    let mut newer = pool.session().await;
    pool.sees(|view| view.latest.as_ref().unwrap().snapshot.run_id == second.link.run_id)
        .await;

    pool.ended(FailureReason::Displaced, 3).await;
    let told = first_status.wait_for(|status| {
        let error = status.last_error.as_deref().unwrap_or_default();
        error.contains("another mint with the same key")
    });
    timeout(LONG, told).await.expect("the older one is not told").unwrap();
    quotes_flow(&mut newer, 100).await;
    assert_eq!(
        (second_status.borrow().sessions, second_status.borrow().is_connected()),
        (1, true)
    );
    let counters = pool.metrics.read();
    assert_eq!((counters.ready, counters.ended(FailureReason::Replaced)), (2, 1));

    second.stop.cancel();
    quotes_flow(&mut pool.session().await, 100).await;
    first.stop.cancel();
}
