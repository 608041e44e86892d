//! A pool's dashboard on 127.0.0.1:8081 and a mint's on 127.0.0.1:8082 over made-up figures that grow: for work on the
//! pages. `cargo run -p dashboard --example demo`; an argument shows another state: `away`, `never`, or `many` miners and
//! units. `DEMO_PORT` moves the two ports.

use std::{
    collections::BTreeMap,
    env, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use dashboard::{
    ChannelKind, HISTORY_FILE, History, LinkStage, LinkView, LinksView, MinerView, MiningAddress, MintSource,
    PoolSource, PoolView, PushView, QuoteCounts, QuotePage, QuoteQuery, QuotesUnavailable, Readiness, RefreshToken,
    ShareCounts, TemplateView, mint_router, pool_router, registry, serve,
};
use futures::future::BoxFuture;
use stats_push::{
    Peer, PerState, Reason, RefreshError, Refreshed, RunId, Snapshot, SnapshotCache, Totals, UnitStats, UnixMillis,
};
use tokio::{net::TcpListener, time};
use tokio_util::sync::CancellationToken;

struct Demo {
    shares: Mutex<u64>,
    start: Instant,
    mode: String,
}

impl Demo {
    fn miners(&self, shares: u64) -> Vec<MinerView> {
        let miner = |id, identity: &str, kind, hashrate, accepted, rejected, last_share| MinerView {
            id,
            identity: identity.to_owned(),
            kind,
            hashrate,
            accepted,
            rejected,
            quotes: accepted - accepted / 50,
            last_share,
            connected: self.start.elapsed() + Duration::from_secs(40_000 / id),
            earns: id != 3,
        };
        let now = Some(Duration::from_millis(shares % 3 * 700));
        let mut miners = vec![
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
                Some(self.start.elapsed() + Duration::from_secs(150)),
            ),
            miner(400, "02ffee…0042", ChannelKind::Standard, None, 0, 0, None),
        ];
        if self.mode == "many" {
            miners.extend((401..700).map(|id| {
                let last_share = Some(Duration::from_secs(id % 17 * (id % 13)));
                let hashrate = Some(1e12 * (1.0 + (id as f64).sin()));
                let identity = format!("02beef…00{id}.rig{}", id - 400);
                miner(
                    id,
                    &identity,
                    ChannelKind::Extended,
                    hashrate,
                    id * 7,
                    id % 3,
                    last_share,
                )
            }));
        }
        miners
    }
}

impl PoolSource for Demo {
    fn pool(&self) -> PoolView {
        let shares = *self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if self.mode == "never" {
            return newcomer();
        }
        let miners = self.miners(shares);
        PoolView {
            started_at: Some(UnixMillis(UnixMillis::now().0 - 86_400_000)),
            channels_refused: Some(BTreeMap::new()),
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
            mint_link: Some("0.0.0.0:34260".to_owned()),
            channels_list: miners,
            shares: ShareCounts {
                accepted: Some(shares),
                rejected: Some(shares / 900),
                without_key: Some(0),
            },
            quotes: QuoteCounts {
                requested: Some(190_000 + shares),
                waiting: Some(shares % 3),
                oldest_waiting: (!shares.is_multiple_of(3)).then_some(Duration::from_millis(400)),
                acknowledged: Some(shares - shares % 3 - 7),
                refused: Some(BTreeMap::from([("amount".into(), 5), ("locking key".into(), 2)])),
                full: Some(false),
            },
        }
    }

    fn quotes(&self, _: QuoteQuery) -> BoxFuture<'_, Result<QuotePage, QuotesUnavailable>> {
        Box::pin(async { Ok(QuotePage::default()) })
    }

    fn ready(&self) -> Readiness {
        Readiness::new()
    }

    fn refresh(&self, _: Duration) -> BoxFuture<'_, Result<Refreshed, RefreshError>> {
        let answer = match &*self.mode {
            "away" | "never" => Err(RefreshError::NoMint),
            _ => Ok(Refreshed {
                request_id: 1,
                round_trip: Duration::from_micros(412),
            }),
        };
        Box::pin(async move { answer })
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        None
    }
}

impl MintSource for Demo {
    fn ready(&self) -> Readiness {
        Readiness::new()
    }

    fn links(&self) -> LinksView {
        let link = |pool: &str, state, since, extensions, failures_in_a_row, last_error: Option<&str>| LinkView {
            pool: pool.to_owned(),
            state,
            since,
            extensions,
            sessions: 3,
            failures_in_a_row,
            last_error: last_error.map(str::to_owned),
        };
        let all = vec!["statistics", "proof", "quotes"];
        let since = Some(UnixMillis(UnixMillis::now().0 - 86_400_000));
        let links = vec![
            link("pool.example:34260", LinkStage::Connected, since, all, 0, None),
            link(
                "other.example:34260",
                LinkStage::Waiting,
                None,
                Vec::new(),
                12,
                Some("can't connect: Connection refused (os error 111)"),
            ),
            link(
                "old.example:34260",
                LinkStage::Connected,
                since,
                Vec::new(),
                0,
                Some("the peer closed the connection"),
            ),
        ];
        LinksView {
            push: PushView {
                interval: Duration::from_secs(5),
                min_gap: Duration::from_millis(100),
            },
            links: if self.mode == "never" { Vec::new() } else { links },
        }
    }
}

/// A pool that has just been installed.
fn newcomer() -> PoolView {
    PoolView {
        miners: Some(0),
        channels: Some(0),
        shares: ShareCounts {
            accepted: Some(0),
            rejected: Some(0),
            without_key: Some(0),
        },
        quotes: QuoteCounts {
            requested: Some(0),
            waiting: Some(0),
            oldest_waiting: None,
            acknowledged: Some(0),
            refused: Some(BTreeMap::new()),
            full: Some(false),
        },
        template: Some(TemplateView {
            source: "embedded".to_owned(),
            connected: true,
            age: Some(Duration::from_secs(7)),
            blocks_submitted: 0,
        }),
        mining: Some(MiningAddress {
            address: "127.0.0.1:34254".to_owned(),
            authority_key: "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72".to_owned(),
        }),
        mint_link: Some("127.0.0.1:34260".to_owned()),
        ..PoolView::default()
    }
}

/// Two days of made-up past, with gaps.
fn past(file: &Path) -> io::Result<()> {
    let now = UnixMillis::now().0 / 1000;
    let mut text = String::new();
    for (step, back) in [(3600, 20 * 86_400), (60, 86_400), (10, 3600)] {
        for at in (now - back..now).filter(|at: &u64| at.is_multiple_of(step)) {
            let before = (now - at) as f64;
            if (900.0..1200.0).contains(&before) || (30_000.0..36_000.0).contains(&before) {
                continue;
            }
            let wave = (before / 3000.0).sin() * (before / 800.0).cos();
            let quotes = 202_949 - (now - at) / 10 + (wave * 20.0) as u64;
            let (paid, age) = ((40.0 + 30.0 * wave) as u64, (2500.0 + 2400.0 * wave.abs()) as u64);
            let requested = 194_321 + paid - (now - at) / 10;
            let hashrate = 9.8e15 + 4e14 * wave;
            text.push_str(&format!(
                "[{step},{at},{quotes},3,{paid},{quotes},{age},{requested},{hashrate}]\n"
            ));
        }
    }
    std::fs::write(file, text)
}

fn snapshot(shares: u64, run_id: RunId, many: bool) -> Snapshot {
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
    let mut units = vec![
        (unit("hash_0284ac_912001", 180_442, 3, 0), 180_442),
        (unit("hash_0284ac_912345", 18_400, 0, 17), 18_400),
        (hash, shares - 214),
    ];
    if many {
        let epoch = |epoch: u64| {
            (
                unit(&format!("hash_{}", 912_346 + epoch), epoch * 3, epoch, 1),
                epoch * 3,
            )
        };
        units.extend((0..247).map(epoch));
    }
    let totals = Totals::new(shares, units);
    Snapshot {
        request_id: 0,
        reason: Reason::Event,
        run_id,
        sequence: totals.version,
        taken_at: UnixMillis::now(),
        interval: Duration::from_secs(5),
        ehash: totals.ehash,
        units_total: u16::try_from(totals.units.len()).unwrap_or(u16::MAX),
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
    let folder = env::temp_dir().join(format!("dashboard-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(HISTORY_FILE);
    if demo.mode != "never" {
        past(&file)?;
    }
    let history = History::open(file);
    let source = Arc::clone(&demo) as Arc<dyn PoolSource>;
    let recorded = (cache.clone(), Some(Arc::clone(&source)), stop.clone());
    tokio::spawn(history.clone().record(recorded.0, recorded.1, recorded.2));
    let pool = pool_router(cache.clone(), source, history.clone(), registry());
    let mint = mint_router(cache, demo, history, registry());
    let port = env::var("DEMO_PORT")
        .ok()
        .and_then(|port| port.parse().ok())
        .unwrap_or(8081);
    let listeners = (
        TcpListener::bind(("127.0.0.1", port)).await?,
        TcpListener::bind(("127.0.0.1", port + 1)).await?,
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
    let (run_id, many) = (RunId::random(), demo.mode == "many");
    session.apply(snapshot(4_321, run_id, many), Instant::now());
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
        session.apply(snapshot(shares, run_id, many), Instant::now());
    }
}
