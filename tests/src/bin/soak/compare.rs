//! `soak --compare`: the same load, and in turn what shows the pool the mint's figures: the push, or what one would do
//! instead.
//!
//! Each method has its slices of the time, a few rounds of them, so that what else the machine does hits all alike. In a
//! slice mint and pool run anew on the same files. The methods without a push have a pool that does not negotiate
//! statistics, so that everything else is as with the push, and beside it who asks:
//!
//! | method | who asks | what is shown |
//! |---|---|---|
//! | `push` | nobody | the pool's cache |
//! | `request` | a pool's end of the link, by MintStatsRequest; the mint's `min_gap` is the period, so nothing is pushed unasked | the last answer |
//! | `poll` | a client of the mint's HTTP API, on one connection | the last answer |
//! | `prometheus` | Prometheus scrapes the mint's metrics, a page asks Prometheus | the page's last answer |
//!
//! Staleness is that of [`crate::place`]: integrated over time from every change of what is shown. Messages and bytes are
//! those of the statistics alone: frames of the link as encrypted, HTTP with its headers, without TCP and IP. The pool's CPU
//! is that of the pool and of who asks.

mod plot;
mod prometheus;
mod table;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use stats_push::{MintStatsRequest, PushConfig, Reason, RunId, Snapshot, Totals, UnitStats, UnixMillis};
use system_tests::free_port;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

pub(crate) use self::table::Table;
use crate::{
    args::{Rate, SoakArgs},
    clock,
    judge::{Judge, Traffic, Verdict},
    load::Load,
    meter::Meter,
    place::LAG,
    spread::Spread,
    system::{Consumer, Role, Setup, Source, System},
};

/// Rounds of slices.
const ROUNDS: u32 = 3;
/// Before a slice is measured: everything is shown, and the scrapes are in their pace.
const WARM: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(100);
/// Of a frame beside its payload: the header, and an authentication tag each for header and payload.
const FRAME: u64 = 6 + 16 + 16;

/// How the pool gets to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Push,
    Request(Duration),
    Poll(Duration),
    /// The scrapes' period, and the page's.
    Prometheus(Duration, Duration),
}

const METHODS: [Method; 5] = [
    Method::Push,
    Method::Request(Duration::from_secs(1)),
    Method::Request(Duration::from_secs(5)),
    Method::Poll(Duration::from_secs(1)),
    Method::Prometheus(Duration::from_secs(5), Duration::from_secs(3)),
];

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Push => f.pad("push"),
            Self::Request(period) => f.pad(&format!("MintStatsRequest every {} s", period.as_secs())),
            Self::Poll(period) => f.pad(&format!("poll the mint's HTTP every {} s", period.as_secs())),
            Self::Prometheus(scrape, page) => f.pad(&format!(
                "Prometheus every {} s, page every {} s",
                scrape.as_secs(),
                page.as_secs()
            )),
        }
    }
}

/// What a method has shown and cost.
struct Row {
    method: Method,
    staleness: Spread,
    seconds: f64,
    issued: u64,
    messages: u64,
    bytes: u64,
    cpu: [f64; 2],
    wrong: u64,
    complaints: Vec<String>,
}

/// Measures all methods; `stop` ends it with what there is.
pub(crate) async fn compare(args: &SoakArgs, dir: PathBuf, stop: CancellationToken) -> anyhow::Result<Table> {
    let Rate::PerSecond(rate) = args.rate else {
        anyhow::bail!("--compare needs a --rate in issuances a second");
    };
    let mut missing = Vec::new();
    let mut rows = Vec::new();
    for method in METHODS {
        if matches!(method, Method::Prometheus(..)) && !prometheus::is_there().await {
            missing.push(format!(
                "{method}: there is no `prometheus` to be found (Debian's package of this name has it)"
            ));
            continue;
        }
        rows.push(Row::new(method)?);
    }
    let slice = args.duration / ROUNDS / u32::try_from(rows.len())?;
    'all: for round in 1..=ROUNDS {
        for row in &mut rows {
            if stop.is_cancelled() {
                break 'all;
            }
            eprintln!("soak: round {round} of {ROUNDS}: {}", row.method);
            row.measure(args, rate, slice, &dir, &stop)
                .await
                .with_context(|| row.method.to_string())?;
        }
    }
    Ok(Table::of(rate, rows, missing))
}

impl Row {
    fn new(method: Method) -> anyhow::Result<Self> {
        Ok(Self {
            method,
            staleness: Spread::new()?,
            seconds: 0.0,
            issued: 0,
            messages: 0,
            bytes: 0,
            cpu: [0.0; 2],
            wrong: 0,
            complaints: Vec::new(),
        })
    }

    /// One slice, from the start of all processes to their end.
    async fn measure(
        &mut self,
        args: &SoakArgs,
        rate: f64,
        slice: Duration,
        dir: &Path,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let judge = Judge::new(1)?;
        let (mint_dashboard, prometheus_port) = (local(free_port()), local(free_port()));
        let setup = self.method.setup(args, dir, mint_dashboard, prometheus_port)?;
        let mut system = System::start(setup, judge.clone()).await?;
        let prometheus = match self.method {
            Method::Prometheus(scrape, _) => {
                let prometheus = prometheus::start(dir, mint_dashboard, prometheus_port, scrape)?;
                let pid = prometheus.id().context("prometheus has ended")?;
                system.meter().started(Role::Pool, pid);
                Some(prometheus)
            }
            _ => None,
        };
        let mut load = Load::start(&system.outbox(), system.addresses().mint_http).await?;
        load.set_rate(Some(rate));
        until_shown(&judge).await?;
        sleep(WARM).await;
        let scrape_bytes = self.scrape_bytes(mint_dashboard).await?;
        let (meter, issued) = (system.meter().clone(), Arc::clone(load.issued()));
        meter.begin().await;
        judge.begin();
        let (issued_before, traffic_before) = (issued.count(), judge.lock().traffic);
        let (began, end) = (clock::now(), Instant::now() + slice);
        while Instant::now() < end && !stop.is_cancelled() {
            sleep(TICK).await;
            judge.judge();
            system.check()?;
            load.check()?;
        }
        meter.read().await;
        let until = clock::now();
        let (issued, traffic) = (
            issued.count() - issued_before,
            judge.lock().traffic.since(traffic_before),
        );
        sleep(Duration::from_nanos(LAG) * 2).await;
        judge.finish(until);
        load.finish().await?;
        drop(prometheus);
        system.stop().await?;
        judge.judge();
        let seconds = (until - began) as f64 / 1e9;
        (self.issued, self.seconds) = (self.issued + issued, self.seconds + seconds);
        self.count(traffic, seconds, scrape_bytes, &meter);
        self.take(judge.verdict(until)?)
    }

    fn take(&mut self, verdict: Verdict) -> anyhow::Result<()> {
        self.wrong += verdict.wrong;
        self.complaints.extend(verdict.complaints);
        self.staleness.merge(&verdict.cache.staleness)
    }

    /// Adds what a slice of so many seconds has cost.
    fn count(&mut self, traffic: Traffic, seconds: f64, scrape_bytes: u64, meter: &Meter) {
        let mut readings = meter.lock();
        for (sum, side) in self.cpu.iter_mut().zip([Role::Mint, Role::Pool]) {
            *sum += readings.side(side).cost.cpu();
        }
        let (messages, bytes) = match self.method {
            Method::Push => {
                let received = |reason: Reason| readings.counters.received(reason);
                let pushes: u64 = Reason::ALL.into_iter().map(received).sum();
                (pushes, pushes * snapshot_bytes())
            }
            Method::Request(_) => {
                let request = MintStatsRequest { request_id: 1 }.encode().len() as u64 + FRAME;
                (2 * traffic.shown, traffic.shown * (snapshot_bytes() + request))
            }
            Method::Poll(_) => (traffic.messages, traffic.bytes),
            Method::Prometheus(scrape, _) => {
                let scrapes = (seconds / scrape.as_secs_f64()) as u64;
                (traffic.messages + 2 * scrapes, traffic.bytes + scrapes * scrape_bytes)
            }
        };
        self.messages += messages;
        self.bytes += bytes;
    }

    /// What one scrape transfers.
    async fn scrape_bytes(&self, dashboard: SocketAddr) -> anyhow::Result<u64> {
        /// Of Prometheus' request and the mint's header, about.
        const HEADERS: u64 = 500;
        if !matches!(self.method, Method::Prometheus(..)) {
            return Ok(0);
        }
        let body = crate::readers::get(&reqwest::Client::new(), &format!("http://{dashboard}/metrics")).await?;
        Ok(body.len() as u64 + HEADERS)
    }
}

impl Method {
    fn setup(self, args: &SoakArgs, dir: &Path, mint: SocketAddr, prometheus: SocketAddr) -> anyhow::Result<Setup> {
        let push = match self {
            Self::Push => args.push()?,
            Self::Request(period) => PushConfig::new(PushConfig::MAX_INTERVAL, period)?,
            // Nothing is pushed to anybody, but the mint's own page has to know.
            Self::Poll(_) | Self::Prometheus(..) => args.push()?,
        };
        let consumer = match self {
            Self::Push => None,
            Self::Request(period) => Some(Consumer::Asker(period)),
            Self::Poll(period) => Some(Consumer::Poller {
                whom: "mint",
                address: mint,
                period,
            }),
            Self::Prometheus(_, period) => Some(Consumer::Poller {
                whom: "prometheus",
                address: prometheus,
                period,
            }),
        };
        Ok(Setup {
            dir: dir.to_owned(),
            source: Source::Mint,
            push,
            pushed: self == Self::Push,
            consumer,
            mint_dashboard: Some(mint),
            pools: 1,
            breakable: false,
        })
    }
}

async fn until_shown(judge: &Judge) -> anyhow::Result<()> {
    let shown = async {
        loop {
            judge.judge();
            if judge.lock().cache.version().is_some() {
                return;
            }
            sleep(TICK).await;
        }
    };
    timeout(PATIENCE, shown).await.context("nothing was shown")
}

/// One snapshot of one unit on the wire.
fn snapshot_bytes() -> u64 {
    let unit = UnitStats {
        unit: "hash".into(),
        quotes: Default::default(),
        amounts: Default::default(),
        last_issued_at: None,
    };
    let totals = Totals::new(1, [(unit, 0)]);
    let snapshot = Snapshot {
        request_id: 0,
        reason: Reason::Event,
        run_id: RunId(1),
        sequence: 1,
        taken_at: UnixMillis(0),
        interval: PushConfig::MAX_INTERVAL,
        ehash: totals.ehash,
        units_total: 1,
        units: totals.units,
    };
    snapshot.encode().len() as u64 + FRAME
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}
