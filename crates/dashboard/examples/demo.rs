//! A pool's dashboard on 127.0.0.1:8081 and a mint's on 127.0.0.1:8082 over made-up figures that grow: for work on the
//! pages. `cargo run -p dashboard --example demo`; `away` or `never` as an argument shows those states.

use std::{
    collections::BTreeMap,
    env, io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use dashboard::{
    MintSource, PoolSource, PoolView, QuoteCounts, QuotePage, QuoteQuery, QuotesUnavailable, Readiness, ShareCounts,
    mint_router, pool_router, registry, serve,
};
use futures::future::BoxFuture;
use stats_push::{Peer, PerState, Reason, RunId, Snapshot, SnapshotCache, Totals, UnitStats, UnixMillis};
use tokio::{net::TcpListener, time};
use tokio_util::sync::CancellationToken;

#[derive(Default)]
struct Demo(Mutex<u64>);

impl PoolSource for Demo {
    fn pool(&self) -> PoolView {
        let shares = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        PoolView {
            shares: ShareCounts {
                accepted: Some(shares),
                rejected: Some(shares / 900),
                without_key: Some(0),
            },
            quotes: QuoteCounts {
                requested: Some(shares),
                waiting: Some(shares % 3),
                oldest_waiting: (!shares.is_multiple_of(3)).then_some(Duration::from_millis(400)),
                acknowledged: Some(shares - shares % 3 - 7),
                refused: Some(BTreeMap::from([("amount".into(), 5), ("locking key".into(), 2)])),
            },
            ..PoolView::default()
        }
    }

    fn quotes(&self, _: QuoteQuery) -> BoxFuture<'_, Result<QuotePage, QuotesUnavailable>> {
        Box::pin(async { Ok(QuotePage::default()) })
    }

    fn ready(&self) -> Readiness {
        Readiness::new()
    }
}

impl MintSource for Demo {
    fn ready(&self) -> Readiness {
        Readiness::new()
    }
}

fn snapshot(shares: u64, run_id: RunId) -> Snapshot {
    let unit = |name: &str, issued, paid, unpaid| UnitStats {
        unit: name.into(),
        quotes: PerState { unpaid, paid, issued },
        amounts: PerState {
            unpaid: unpaid * 32,
            paid: paid * 48,
            issued: issued * 53,
        },
        last_issued_at: (issued > 0).then(UnixMillis::now),
    };
    let hash = unit("hash", shares - 214, 214, 0);
    let units = vec![
        (unit("hash_0284ac_912001", 180_442, 3, 0), 180_442),
        (unit("hash_0284ac_912345", 18_400, 0, 17), 18_400),
        (hash, shares - 214),
    ];
    let totals = Totals::new(shares, units);
    Snapshot {
        request_id: 0,
        reason: Reason::Event,
        run_id,
        sequence: totals.version,
        taken_at: UnixMillis::now(),
        interval: Duration::from_secs(5),
        ehash: totals.ehash,
        units_total: 3,
        units: totals.units,
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let mode = env::args().nth(1).unwrap_or_default();
    let cache = SnapshotCache::new();
    let demo = Arc::new(Demo(Mutex::new(4_321)));
    let stop = CancellationToken::new();
    tokio::spawn({
        let (cache, stop) = (cache.clone(), stop.clone());
        async move { cache.run(stop).await }
    });
    tokio::spawn(feed(cache.clone(), Arc::clone(&demo), mode));
    let pool = pool_router(cache.clone(), Arc::clone(&demo) as Arc<dyn PoolSource>, registry());
    let mint = mint_router(cache, demo, registry());
    let listeners = (
        TcpListener::bind("127.0.0.1:8081").await?,
        TcpListener::bind("127.0.0.1:8082").await?,
    );
    tokio::join!(serve(listeners.0, pool, stop.clone()), serve(listeners.1, mint, stop));
    Ok(())
}

async fn feed(cache: SnapshotCache, demo: Arc<Demo>, mode: String) {
    if mode == "never" {
        return;
    }
    let session = cache.open_session(Peer {
        address: "127.0.0.1:51234".to_owned(),
        public_key: Some("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".to_owned()),
        proven: true,
    });
    let run_id = RunId::random();
    session.apply(snapshot(4_321, run_id), Instant::now());
    if mode == "away" {
        return;
    }
    let mut share = time::interval(Duration::from_millis(700));
    loop {
        share.tick().await;
        let shares = {
            let mut shares = demo.0.lock().unwrap_or_else(PoisonError::into_inner);
            *shares += 1;
            *shares
        };
        session.apply(snapshot(shares, run_id), Instant::now());
    }
}
