//! One soak from its start to its report.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::Context as _;
use reqwest::Client;
use stats_push::EhashTotals;
use system_tests::{Truth, truth};
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    args::{Rate, SoakArgs},
    audit::Auditor,
    child::totals_at,
    clock::{self, Nanos},
    faults::{self, Breaker},
    judge::Judge,
    load::Load,
    place::LAG,
    progress::Progress,
    readers,
    report::Report,
    system::{Setup, Source, System},
};

/// How long everything may take to show something, and to come to rest at the end.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the most that can be issued is measured, where the rate is a share of it.
const CALIBRATES: Duration = Duration::from_secs(10);
/// At the rate, before the measuring begins.
const WARM: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_millis(100);

/// What was found out at the end, with the load at rest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Final {
    pub(crate) equal: bool,
    /// What was not equal.
    pub(crate) differences: Vec<String>,
}

/// Runs a soak; `stop` ends the measuring early.
///
/// # Errors
/// If something did not run that should. What was measured and found wrong is in the report.
pub(crate) async fn soak(args: &SoakArgs, dir: PathBuf, stop: CancellationToken) -> anyhow::Result<Report> {
    let judge = Judge::new(args.pools)?;
    let source = match (args.synthetic, args.rate) {
        (true, Rate::PerSecond(rate)) => Source::Ledger {
            rate,
            units: args.units,
        },
        _ => Source::Mint,
    };
    let push = args.push()?;
    let setup = Setup {
        dir,
        source,
        push,
        pushed: true,
        consumer: None,
        mint_dashboard: None,
        pools: args.pools,
        breakable: args.faults.is_some(),
    };
    let pools = match args.pools {
        1 => "the pool".to_owned(),
        more => format!("{more} pools"),
    };
    eprintln!("soak: starting {pools} and the mint, data in {}", setup.dir.display());
    let system = System::start(setup, judge.clone()).await?;
    let mut soak = Soak::begin(args, system, judge).await?;
    let measured = soak.measure(args, &stop).await?;
    soak.end(args, measured).await
}

struct Soak {
    system: Arc<Mutex<System>>,
    judge: Judge,
    load: Option<Load>,
    readers: JoinSet<anyhow::Result<()>>,
    auditor: Option<Auditor>,
    dashboard: SocketAddr,
    /// The most that could be issued a second, where it was measured.
    max_rate: Option<f64>,
    rate: f64,
}

/// What the measuring left.
struct Measured {
    until: Nanos,
    faults: faults::Count,
    issued: u64,
    interrupted: bool,
}

impl Soak {
    /// Has everything run and show something, and the load at its rate.
    async fn begin(args: &SoakArgs, system: System, judge: Judge) -> anyhow::Result<Self> {
        let addresses = system.addresses();
        let mut readers = JoinSet::new();
        readers.spawn(readers::ask(addresses.dashboard, judge.clone()));
        readers.spawn(readers::follow(addresses.dashboard, judge.clone()));
        let (mut load, mut auditor) = (None, None);
        if !args.synthetic {
            load = Some(Load::start(&system.outbox(), addresses.mint_http).await?);
            auditor = Some(Auditor::start(system.mint_database(), judge.clone()));
        }
        let (max_rate, rate) = match args.rate {
            Rate::PerSecond(rate) => (None, rate),
            Rate::Share(share) => {
                let most = calibrate(load.as_ref().context("wallets")?).await?;
                eprintln!("soak: at most {most:.0} issuances a second here and now");
                (Some(most), most * share)
            }
        };
        if let Some(load) = &load {
            load.set_rate(Some(rate));
        }
        sleep(WARM).await;
        let shown = async {
            loop {
                judge.judge();
                let all = {
                    let state = judge.lock();
                    state
                        .caches()
                        .chain([&state.http, &state.sse])
                        .all(|place| place.version().is_some())
                };
                if all {
                    return;
                }
                sleep(TICK).await;
            }
        };
        timeout(PATIENCE, shown)
            .await
            .context("cache, API and stream did not show anything")?;
        let system = Arc::new(Mutex::new(system));
        Ok(Self {
            system,
            judge,
            load,
            readers,
            auditor,
            dashboard: addresses.dashboard,
            max_rate,
            rate,
        })
    }

    /// Measures for the duration, or until the stop.
    async fn measure(&mut self, args: &SoakArgs, stop: &CancellationToken) -> anyhow::Result<Measured> {
        let meter = self.system.lock().await.meter().clone();
        meter.begin().await;
        self.judge.begin();
        let issued_before = self.issued();
        let breaker = Breaker::start(args.faults, Arc::clone(&self.system));
        let mut progress = Progress::new(args.duration);
        let end = Instant::now() + args.duration;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick = 0_u64;
        let mut interrupted = false;
        while Instant::now() < end && !interrupted {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => interrupted = true,
            }
            tick += 1;
            self.judge.judge();
            if tick.is_multiple_of(10) {
                meter.read().await;
                self.check()?;
                progress.tell(self.issued() - issued_before, &self.judge, &meter, breaker.now());
            }
        }
        meter.read().await;
        let until = clock::now();
        let issued = self.issued() - issued_before;
        progress.end();
        let faults = breaker.stop().await?;
        sleep(Duration::from_nanos(LAG) * 2).await;
        self.judge.finish(until);
        Ok(Measured {
            until,
            faults,
            issued,
            interrupted,
        })
    }

    /// # Errors
    /// If something has ended by itself.
    fn check(&mut self) -> anyhow::Result<()> {
        // Not while a fault is injected.
        if let Ok(mut system) = self.system.try_lock() {
            system.check()?;
        }
        if let Some(load) = &mut self.load {
            load.check()?;
        }
        match self.readers.try_join_next() {
            Some(ended) => ended?.context("a reader"),
            None => Ok(()),
        }
    }

    fn issued(&self) -> u64 {
        match &self.load {
            Some(load) => load.issued().count(),
            None => self.judge.lock().truth.newest().unwrap_or(0),
        }
    }

    /// Brings everything to rest, compares, stops all, and reports.
    async fn end(mut self, args: &SoakArgs, measured: Measured) -> anyhow::Result<Report> {
        eprintln!("soak: bringing the load to rest and comparing every figure");
        let wallets = self.rest().await?;
        let mut last = Final {
            differences: self.differences(args.synthetic).await,
            ..Final::default()
        };
        last.differences
            .extend(wallets.as_ref().and_then(|wallets| self.wrong_with(wallets, args)));
        let audits = match self.auditor.take() {
            Some(auditor) => Some(auditor.stop().await?),
            None => None,
        };
        self.readers.shutdown().await;
        // What was seen last has to be judged, too.
        sleep(Duration::from_nanos(LAG) * 2).await;
        self.judge.judge();
        let system = Arc::into_inner(self.system)
            .context("the system is in use")?
            .into_inner();
        let meter = system.meter().clone();
        system.stop().await?;
        last.equal = last.differences.is_empty();
        let verdict = self.judge.verdict(measured.until)?;
        let mut report = Report::new(args, &verdict, &mut meter.lock(), &last);
        report.issued = measured.issued;
        report.rate = self.rate;
        report.max_rate = self.max_rate;
        report.audits = audits;
        report.faults = measured.faults;
        report.interrupted = measured.interrupted;
        if let Some(wallets) = wallets {
            (report.retries, report.unanswered) = (wallets.retries, wallets.unanswered);
        }
        Ok(report)
    }

    /// Ends the load: every share has its answer and every wallet is done, or the ledger changes no more. What the wallets
    /// say they have done.
    async fn rest(&mut self) -> anyhow::Result<Option<Wallets>> {
        let Some(load) = self.load.take() else {
            self.system.lock().await.stop_mint().await?;
            return Ok(None);
        };
        let (issued, complaint) = (Arc::clone(load.issued()), load.complaint());
        load.finish().await?;
        Ok(Some(Wallets {
            minted: issued.count(),
            retries: issued.retries.load(Relaxed),
            unanswered: issued.unanswered.load(Relaxed),
            failed: issued.failed.load(Relaxed),
            complaint,
        }))
    }

    /// Where what is shown differs from the truth, once that has had time to travel.
    async fn differences(&self, synthetic: bool) -> Vec<String> {
        let Ok(http) = Client::builder().timeout(Duration::from_secs(5)).build() else {
            return vec!["there is no HTTP client to compare with".into()];
        };
        let database = self.system.lock().await.mint_database();
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.judge.judge();
            let expected = match synthetic {
                true => self.judge.lock().truth.newest().map(totals_at),
                false => Some(totals(&truth(&database))),
            };
            let differences = differ(&http, self.dashboard, expected, &self.judge).await;
            if differences.is_empty() || Instant::now() >= deadline {
                return differences;
            }
            sleep(TICK).await;
        }
    }

    /// What the wallets have to complain about, and whether they have minted just what the mint's file says.
    fn wrong_with(&self, wallets: &Wallets, args: &SoakArgs) -> Option<String> {
        if wallets.failed > 0 {
            let first = wallets.complaint.as_deref().unwrap_or("without a word");
            return Some(format!("{} issuances failed, the first: {first}", wallets.failed));
        }
        let redeemed = self.judge.lock().cache.last()?.totals.quotes_redeemed;
        // A data directory of one's own may hold what an earlier run has minted.
        let wrong = args.data_dir.is_none() && redeemed != wallets.minted;
        wrong.then(|| format!("{redeemed} quotes redeemed, and wallets have minted {}", wallets.minted))
    }
}

/// What the wallets have done, all in all.
struct Wallets {
    minted: u64,
    retries: u64,
    unanswered: u64,
    failed: u64,
    complaint: Option<String>,
}

/// The most issuances a second.
async fn calibrate(load: &Load) -> anyhow::Result<f64> {
    eprintln!("soak: measuring for {CALIBRATES:?} how much can be issued here");
    load.set_rate(None);
    // The first quotes have to come.
    sleep(WARM).await;
    let (before, started) = (load.issued().count(), Instant::now());
    sleep(CALIBRATES).await;
    let most = (load.issued().count() - before) as f64 / started.elapsed().as_secs_f64();
    anyhow::ensure!(most >= 1.0, "nothing could be issued");
    Ok(most)
}

/// Where what is shown is not `expected`.
async fn differ(http: &Client, dashboard: SocketAddr, expected: Option<EhashTotals>, judge: &Judge) -> Vec<String> {
    let Some(expected) = expected else {
        return vec!["no truth to compare with".into()];
    };
    let api = match readers::look(http, dashboard).await {
        Ok(stats) => Truth::shown(&stats).map(|shown| totals(&shown)),
        Err(error) => return vec![format!("the API does not answer: {error:#}")],
    };
    let state = judge.lock();
    let watched = state.caches().chain([&state.sse]);
    let watched = watched.map(|place| (place.name(), place.last().map(|shown| shown.totals)));
    watched
        .chain([("http", api)])
        .filter(|(_, shown)| *shown != Some(expected))
        .map(|(place, shown)| format!("{place} shows {shown:?}, the database holds {expected:?}"))
        .collect()
}

/// The SQL aggregate in the form of snapshots.
fn totals(truth: &Truth) -> EhashTotals {
    let per_state = |[unpaid, paid, issued]: [u64; 3]| stats_push::PerState { unpaid, paid, issued };
    EhashTotals {
        quotes_redeemed: truth.redeemed,
        quotes: per_state(truth.quotes),
        amounts: per_state(truth.amounts),
    }
}
