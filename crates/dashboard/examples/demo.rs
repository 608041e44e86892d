//! A pool's dashboard on 127.0.0.1:8081 and a mint's on 127.0.0.1:8082 over made-up figures that grow: for work on the
//! pages. `cargo run -p dashboard --example demo`; `away` or `never` as an argument shows those states.

use std::{
    collections::BTreeMap,
    env, io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use dashboard::{
    ChannelKind, MinerView, MiningAddress, MintSource, PoolSource, PoolView, QuoteCounts, QuotePage, QuoteQuery,
    QuotesUnavailable, Readiness, ShareCounts, TemplateView, mint_router, pool_router, registry, serve,
};
use futures::future::BoxFuture;
use stats_push::{Peer, PerState, Reason, RunId, Snapshot, SnapshotCache, Totals, UnitStats, UnixMillis};
use tokio::{net::TcpListener, time};
use tokio_util::sync::CancellationToken;

struct Demo {
    shares: Mutex<u64>,
    start: Instant,
    mode: String,
}

impl Demo {
    fn miners(&self, shares: u64) -> Vec<MinerView> {
        if self.mode == "never" {
            return Vec::new();
        }
        let miner = |id, identity: &str, kind, hashrate, accepted, rejected, last_share| MinerView {
            id,
            identity: identity.to_owned(),
            kind,
            hashrate,
            accepted,
            rejected,
            last_share,
            connected: self.start.elapsed() + Duration::from_secs(40_000 / id),
            earns: id != 3,
        };
        let now = Some(Duration::from_millis(shares % 3 * 700));
        vec![
            miner(
                1,
                "0284ac…91f3.rig1",
                ChannelKind::Standard,
                Some(1.23e14),
                shares - 900,
                1,
                now,
            ),
            miner(
                2,
                "0284ac…91f3.a-proxy-with-a-long-name",
                ChannelKind::Extended,
                Some(9.8e15),
                880,
                2,
                now,
            ),
            miner(
                3,
                "kitchen",
                ChannelKind::Standard,
                Some(2.1e6),
                20,
                0,
                Some(self.start.elapsed()),
            ),
            miner(400, "02ffee…0042", ChannelKind::Standard, None, 0, 0, None),
        ]
    }
}

impl PoolSource for Demo {
    fn pool(&self) -> PoolView {
        let shares = *self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let miners = self.miners(shares);
        PoolView {
            miners: Some(miners.len() as u64),
            channels: Some(miners.len() as u64),
            hashrate: Some(miners.iter().filter_map(|miner| miner.hashrate).sum()),
            template: Some(TemplateView {
                source: "sv2-tp".to_owned(),
                connected: self.mode != "away",
                age: Some(self.start.elapsed() + Duration::from_secs(17)),
                blocks_submitted: 0,
            }),
            mining: Some(MiningAddress {
                address: "203.0.113.7:34254".to_owned(),
                authority_key: "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72".to_owned(),
            }),
            channels_list: miners,
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
    let demo = Arc::new(Demo {
        shares: Mutex::new(4_321),
        start: Instant::now(),
        mode,
    });
    let stop = CancellationToken::new();
    tokio::spawn({
        let (cache, stop) = (cache.clone(), stop.clone());
        async move { cache.run(stop).await }
    });
    tokio::spawn(feed(cache.clone(), Arc::clone(&demo)));
    let pool = pool_router(cache.clone(), Arc::clone(&demo) as Arc<dyn PoolSource>, registry());
    let mint = mint_router(cache, demo, registry());
    let listeners = (
        TcpListener::bind("127.0.0.1:8081").await?,
        TcpListener::bind("127.0.0.1:8082").await?,
    );
    tokio::join!(serve(listeners.0, pool, stop.clone()), serve(listeners.1, mint, stop));
    Ok(())
}

async fn feed(cache: SnapshotCache, demo: Arc<Demo>) {
    if demo.mode == "never" {
        return;
    }
    let session = cache.open_session(Peer {
        address: "127.0.0.1:51234".to_owned(),
        public_key: Some("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".to_owned()),
        proven: true,
    });
    let run_id = RunId::random();
    session.apply(snapshot(4_321, run_id), Instant::now());
    if demo.mode == "away" {
        return;
    }
    let mut share = time::interval(Duration::from_millis(700));
    loop {
        share.tick().await;
        let shares = {
            let mut shares = demo.shares.lock().unwrap_or_else(PoisonError::into_inner);
            *shares += 1;
            *shares
        };
        session.apply(snapshot(shares, run_id), Instant::now());
    }
}
