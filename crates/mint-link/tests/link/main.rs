//! Both ends over real sockets, through the public API alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use mint_link::{
    Admission, FailureReason, HeaderHash, LinkMetrics, LinkState, LinkStatus, MintKey, MintLink, MintQuoteRequest,
    MintSession, Negotiated, PoolLink, PoolLinkConfig, PoolTarget, QuoteAnswer, QuoteCall, Refresher, RefusalCode,
};
use stats_push::{Connection, Counters, EhashTotals, PushConfig, Reason, RunId, SnapshotCache, Status, Totals};
use sv2_transport::AuthorityKeypair;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

mod apart;
mod many;
mod negotiation;
mod old_peers;
mod proof;
mod strangers;

const LONG: Duration = Duration::from_secs(30);
/// For deadlines that are to pass.
const SHORT: Duration = Duration::from_millis(200);

struct Pool {
    address: SocketAddr,
    authority: AuthorityKeypair,
    cache: SnapshotCache,
    sessions: mpsc::Receiver<MintSession>,
    metrics: Arc<LinkMetrics>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    rule: watch::Sender<Arc<Admission>>,
    refresher: Refresher,
}

impl Pool {
    async fn start(rule: Admission) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), AuthorityKeypair::generate(), rule, 64).await
    }

    async fn at(address: SocketAddr, authority: AuthorityKeypair, rule: Admission, places: usize) -> Self {
        Self::with(address, authority, rule, |config| {
            config.max_connections = places;
            config.timers.handshake = Duration::from_secs(2);
        })
        .await
    }

    /// One that gives its mint this long to negotiate, and to prove itself.
    async fn timed(rule: Admission, negotiation: Duration, proof: Duration) -> Self {
        let address = "127.0.0.1:0".parse().unwrap();
        Self::with(address, AuthorityKeypair::generate(), rule, |config| {
            config.timers.negotiation = negotiation;
            config.timers.proof = proof;
        })
        .await
    }

    async fn with(
        address: SocketAddr,
        authority: AuthorityKeypair,
        rule: Admission,
        alter: impl FnOnce(&mut PoolLinkConfig),
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (rule, admission) = watch::channel(Arc::new(rule));
        let (ready, sessions) = mpsc::channel(4);
        let (cache, metrics, stop) = (
            SnapshotCache::new(),
            Arc::<LinkMetrics>::default(),
            CancellationToken::new(),
        );
        let mut config = PoolLinkConfig::new(authority.clone());
        alter(&mut config);
        let link = Arc::new(PoolLink::new(
            config,
            admission,
            cache.clone(),
            ready,
            Arc::clone(&metrics),
        ));
        let refresher = link.refresher();
        let task = tokio::spawn(link.listen(listener, stop.clone()));
        Self {
            address,
            authority,
            cache,
            sessions,
            metrics,
            stop,
            task,
            rule,
            refresher,
        }
    }

    fn target(&self) -> PoolTarget {
        // By name, so that it is looked up.
        let address = format!("localhost:{}", self.address.port()).into();
        PoolTarget {
            address,
            authority: self.authority.public(),
        }
    }

    async fn session(&mut self) -> MintSession {
        timeout(LONG, self.sessions.recv()).await.expect("no session").unwrap()
    }

    /// Whether nothing of any session has come to count or show.
    fn nothing_shows(&mut self) -> bool {
        let view = self.cache.load();
        view.connection == Connection::Never
            && view.latest.is_none()
            && view.peer.is_none()
            && view.counters == Counters::default()
            && self.sessions.try_recv().is_err()
            && self.metrics.read().ready == 0
    }

    fn status(&self) -> Status {
        self.cache.load().freshness(std::time::Instant::now()).status
    }

    /// Waits until this many connections have ended for this reason.
    async fn ended(&self, reason: FailureReason, count: u64) {
        let seen = async {
            while self.metrics.read().ended(reason) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, seen).await.expect("no connection ends for this reason");
    }

    async fn sees(&self, what: impl Fn(&stats_push::MintView) -> bool) {
        let mut changed = self.cache.changed();
        timeout(LONG, async {
            while !what(&self.cache.load()) {
                changed.changed().await.unwrap();
            }
        })
        .await
        .expect("the cache does not come to show it");
    }
}

struct Mint {
    key: MintKey,
    totals: watch::Sender<Arc<Totals>>,
    link: MintLink,
    stop: CancellationToken,
    _batcher: JoinHandle<()>,
}

impl Mint {
    fn start() -> Self {
        let key = MintKey::generate();
        let (calls, mut quotes) = mpsc::channel::<QuoteCall>(1024);
        let batcher = tokio::spawn(async move {
            while let Some(call) = quotes.recv().await {
                if call.request.amount == 0 {
                    call.answer.refused(RefusalCode::Amount, "nothing");
                    continue;
                }
                let id = call.request.header_hash.to_string();
                call.answer.created(&id[..36]);
            }
        });
        let (totals, published) = watch::channel(totals(1));
        let mut link = MintLink::new(key.clone(), calls, published, RunId::random());
        link.push = PushConfig::new(Duration::from_secs(5), Duration::ZERO).unwrap();
        Self {
            key,
            totals,
            link,
            stop: CancellationToken::new(),
            _batcher: batcher,
        }
    }

    fn connect(&self, target: PoolTarget) -> (watch::Receiver<LinkStatus>, JoinHandle<()>) {
        let (status, running) = self.link.connect(target, self.stop.clone());
        (status, tokio::spawn(running))
    }

    fn rule(&self) -> Admission {
        Admission {
            mint_public_keys: vec![self.key.public()],
            allow_legacy_mint: false,
        }
    }
}

fn totals(version: u64) -> Arc<Totals> {
    let ehash = EhashTotals {
        quotes_redeemed: version,
        ..EhashTotals::default()
    };
    Arc::new(Totals {
        version,
        ehash,
        units: Arc::new([]),
    })
}

fn request(number: u64) -> MintQuoteRequest {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_le_bytes());
    MintQuoteRequest {
        amount: 1,
        unit: "HASH".to_owned(),
        header_hash: HeaderHash(hash),
        description: None,
        locking_key: vec![2; 33],
    }
}

/// Asks for `count` quotes, many at a time, and takes the answers.
async fn quotes_flow(session: &mut MintSession, count: u64) {
    let requests = session.requests.clone();
    let asking = tokio::spawn(async move {
        for number in 0..count {
            requests.send(request(number)).await.unwrap();
        }
    });
    for number in 0..count {
        let answer = timeout(LONG, session.answers.recv()).await.unwrap().unwrap();
        assert!(
            matches!(answer, QuoteAnswer::Created { header_hash, .. } if header_hash == request(number).header_hash)
        );
    }
    asking.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_p4_p6_a_mint_and_its_pool_from_the_first_snapshot_to_the_final_one() {
    let mint = Mint::start();
    let mut pool = Pool::start(mint.rule()).await;
    let (mut status, running) = mint.connect(pool.target());
    let mut session = pool.session().await;
    assert_eq!(session.info().public_key, Some(mint.key.public()));
    pool.sees(|view| view.latest.is_some()).await;
    quotes_flow(&mut session, 5_000).await;
    for version in 2..50 {
        mint.totals.send(totals(version)).unwrap();
        pool.sees(|view| view.latest.as_ref().unwrap().snapshot.sequence == version)
            .await;
    }
    let connected = status.borrow_and_update().clone();
    assert!(
        matches!(
            connected.state,
            LinkState::Connected {
                negotiated: Negotiated::On(_),
                ..
            }
        ),
        "{connected:?}"
    );

    mint.stop.cancel();
    timeout(LONG, running).await.unwrap().unwrap();
    pool.sees(|view| view.freshness(std::time::Instant::now()).status == Status::Disconnected)
        .await;
    assert_eq!(
        pool.cache.load().latest.as_ref().unwrap().snapshot.reason,
        Reason::Final
    );
    assert_eq!(session.answers.recv().await, None);
    pool.stop.cancel();
    timeout(LONG, pool.task).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_comes_back_is_found_again() {
    let mint = Mint::start();
    let mut pool = Pool::start(mint.rule()).await;
    let (address, authority) = (pool.address, pool.authority.clone());
    let (mut status, _running) = mint.connect(pool.target());
    pool.session().await;
    pool.stop.cancel();
    pool.task.await.unwrap();
    timeout(LONG, status.wait_for(|status| status.failures_in_a_row >= 2))
        .await
        .unwrap()
        .unwrap();
    let mut pool = Pool::at(address, authority, mint.rule(), 64).await;
    let mut session = pool.session().await;
    quotes_flow(&mut session, 10).await;
    pool.sees(|view| view.latest.is_some()).await;
    mint.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_mint_serves_many_pools_and_one_that_is_away_or_wrong_disturbs_none() {
    let mint = Mint::start();
    let mut pools = Vec::new();
    for _ in 0..5 {
        pools.push(Pool::start(mint.rule()).await);
    }
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let authority = AuthorityKeypair::generate().public();
    let (mut away, _) = mint.connect(PoolTarget {
        address: away.to_string().into(),
        authority,
    });
    let (mut wrong, _) = mint.connect(PoolTarget {
        authority,
        ..pools[0].target()
    });
    for pool in &pools {
        let _link = mint.connect(pool.target());
    }
    for pool in &mut pools {
        quotes_flow(&mut pool.session().await, 200).await;
    }
    mint.totals.send(totals(9)).unwrap();
    for pool in &pools {
        // Sessions end when they are dropped; the mint comes again.
        pool.sees(|view| view.latest.as_ref().is_some_and(|latest| latest.snapshot.sequence == 9))
            .await;
    }
    for (status, reason) in [(&mut away, "can't connect"), (&mut wrong, "authority key")] {
        let seen = status.wait_for(|status| status.last_error.as_ref().is_some_and(|error| error.contains(reason)));
        timeout(LONG, seen).await.unwrap().unwrap();
    }
    mint.stop.cancel();
}
