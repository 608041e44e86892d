//! A mint and the pool end of its link, over real sockets: quotes, pushes, the last push, and a pool that comes back.

use std::sync::Arc;

use mint::PoolSection;
use mint_link::{Admission, LinkMetrics, MintSession, PoolLink, PoolLinkConfig, RefusalCode};
use stats_push::{SnapshotCache, Status};
use sv2_transport::AuthorityKeypair;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

use super::*;

/// A pool as far as its mint sees it.
struct Pool {
    address: String,
    keys: AuthorityKeypair,
    cache: SnapshotCache,
    sessions: mpsc::Receiver<MintSession>,
    stop: CancellationToken,
    end: JoinHandle<()>,
    _admission: watch::Sender<Arc<Admission>>,
}

impl Pool {
    async fn new(address: &str, keys: AuthorityKeypair, admission: Admission) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, sessions) = mpsc::channel(1);
        let (cache, stop) = (SnapshotCache::new(), CancellationToken::new());
        let (allowed, admission) = watch::channel(Arc::new(admission));
        let config = PoolLinkConfig::new(keys.clone());
        let link = PoolLink::new(
            config,
            admission,
            cache.clone(),
            sender,
            Arc::new(LinkMetrics::default()),
        );
        let end = tokio::spawn(Arc::new(link).listen(listener, stop.clone()));
        Self {
            address,
            keys,
            cache,
            sessions,
            stop,
            end,
            _admission: allowed,
        }
    }

    async fn session(&mut self) -> MintSession {
        self.sessions.recv().await.unwrap()
    }

    fn section(&self) -> PoolSection {
        PoolSection {
            address: self.address.clone(),
            authority_key: self.keys.public(),
        }
    }

    /// Waits until the pool shows these totals of the mint.
    async fn shows(&self, quotes: PerState) {
        let mut changed = self.cache.changed();
        loop {
            let view = self.cache.load();
            if view
                .latest
                .as_ref()
                .is_some_and(|latest| latest.snapshot.ehash.quotes == quotes)
            {
                return;
            }
            drop(view);
            changed.changed().await.unwrap();
        }
    }
}

fn linked_config(folder: &Path, pools: &[&Pool]) -> MintConfig {
    let mut config = config(folder);
    config.pools = pools.iter().map(|pool| pool.section()).collect();
    config
}

async fn ask(session: &mut MintSession, request: MintQuoteRequest) -> QuoteAnswer {
    session.requests.send(request).await.unwrap();
    session.answers.recv().await.unwrap()
}

#[tokio::test]
async fn a_share_becomes_a_quote_and_the_pool_sees_it() {
    let folder = tempfile::tempdir().unwrap();
    let key = mint::public_key(&config(folder.path())).unwrap();
    let admission = Admission {
        mint_public_keys: vec![key],
        allow_legacy_mint: false,
    };
    let mut pool = Pool::new("127.0.0.1:0", AuthorityKeypair::generate(), admission).await;
    let running = mint::start(linked_config(folder.path(), &[&pool]), CancellationToken::new())
        .await
        .unwrap();
    running.linked().await;
    let mut session = pool.session().await;
    assert_eq!(session.info().public_key, Some(running.public_key()));

    let wallet_key = SecretKey::generate();
    let answer = ask(&mut session, request(1, 8, &wallet_key)).await;
    let QuoteAnswer::Created { quote_id, header_hash } = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(header_hash, HeaderHash([1; 32]));
    pool.shows(PerState {
        unpaid: 0,
        paid: 1,
        issued: 0,
    })
    .await;

    // Refusals come with hash and code.
    let answer = ask(&mut session, request(1, 16, &wallet_key)).await;
    let refused =
        |code| move |answer: &QuoteAnswer| matches!(answer, QuoteAnswer::Refused { code: c, .. } if *c == code);
    assert!(refused(RefusalCode::Conflict)(&answer), "{answer:?}");
    assert_eq!(answer.header_hash(), Some(HeaderHash([1; 32])));
    let answer = ask(&mut session, request(2, 0, &wallet_key)).await;
    assert!(refused(RefusalCode::Amount)(&answer), "{answer:?}");

    // A wallet mints it, and the pool sees that too.
    let wallet = Wallet::new(&running).await;
    let outputs = wallet.outputs(&[8]);
    let signed = serde_json::to_value(wallet.signed(&quote_id, &outputs, &wallet_key)).unwrap();
    assert!(
        session.issued.try_recv().is_err(),
        "nothing is told before it is issued"
    );
    assert_eq!(wallet.post("/mint/ehash", &signed).await.0, 200);
    assert_eq!(session.issued.recv().await, Some(vec![HeaderHash([1; 32])]));
    pool.shows(PerState {
        unpaid: 0,
        paid: 0,
        issued: 1,
    })
    .await;

    // P6: the last push, then the end of the connection.
    running.stop().await;
    while session.answers.recv().await.is_some() {}
    let view = pool.cache.load();
    assert_eq!(view.latest.as_ref().unwrap().snapshot.reason, Reason::Final);
    assert_eq!(view.freshness(Instant::now().into_std()).status, Status::Disconnected);
}

#[tokio::test]
async fn a_pool_that_comes_back_is_linked_again_and_another_is_not_disturbed() {
    let folder = tempfile::tempdir().unwrap();
    let any = Admission::default;
    let mut first = Pool::new("127.0.0.1:0", AuthorityKeypair::generate(), any()).await;
    let mut second = Pool::new("127.0.0.1:0", AuthorityKeypair::generate(), any()).await;
    let config = linked_config(folder.path(), &[&first, &second]);
    let running = mint::start(config, CancellationToken::new()).await.unwrap();
    let (_first_session, mut other) = (first.session().await, second.session().await);

    let (address, keys) = (first.address.clone(), first.keys.clone());
    first.stop.cancel();
    first.end.await.unwrap();
    let key = SecretKey::generate();
    assert!(matches!(
        ask(&mut other, request(1, 8, &key)).await,
        QuoteAnswer::Created { .. }
    ));
    let mut again = Pool::new(&address, keys, any()).await;
    let mut session = again.session().await;
    assert!(matches!(
        ask(&mut session, request(2, 8, &key)).await,
        QuoteAnswer::Created { .. }
    ));
    for pool in [&again, &second] {
        pool.shows(PerState {
            unpaid: 0,
            paid: 2,
            issued: 0,
        })
        .await;
    }
    running.stop().await;
}

#[tokio::test]
async fn requests_that_come_in_a_burst_are_answered_in_batches() {
    let folder = tempfile::tempdir().unwrap();
    let mut pool = Pool::new("127.0.0.1:0", AuthorityKeypair::generate(), Admission::default()).await;
    let running = mint::start(linked_config(folder.path(), &[&pool]), CancellationToken::new())
        .await
        .unwrap();
    let mut session = pool.session().await;
    let (requests, key) = (session.requests.clone(), SecretKey::generate());
    let burst = tokio::spawn(async move {
        for n in 0..300_u64 {
            let mut hash = [7; 32];
            hash[..8].copy_from_slice(&n.to_le_bytes());
            let request = MintQuoteRequest {
                header_hash: HeaderHash(hash),
                ..request(0, 1 + n, &key)
            };
            requests.send(request).await.unwrap();
        }
    });
    for _ in 0..300 {
        let answer = session.answers.recv().await.unwrap();
        assert!(matches!(answer, QuoteAnswer::Created { .. }), "{answer:?}");
    }
    burst.await.unwrap();
    let batches = running.desk().counters().batches();
    assert!(batches < 150, "{batches} transactions for 300 requests");
    assert!(running.ledger().audit().await.unwrap().is_consistent());
    pool.shows(PerState {
        unpaid: 0,
        paid: 300,
        issued: 0,
    })
    .await;
    running.stop().await;
}
