//! The parts of a pool, put together and taken apart in order.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mint_link::{LinkCollector, LinkMetrics, PoolLink, PoolLinkConfig, PoolTimers};
use service::{BindError, ConfigError, bind, data_dir};
use stats_push::SnapshotCache;
use sv2_transport::{AuthorityKeypair, AuthorityPublicKey};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::authority::{AuthorityError, authority};
use crate::config::{MintLinkSection, PoolConfig};
use crate::intake::ShareIntake;
use crate::mining::{self, Miners, Mining, MiningMetrics, MiningParts};
use crate::mints::Mints;
use crate::notices::Notices;
use crate::outbox::{OpenError, Outbox};
use crate::quotes::{LAST_COMMIT, Pump, PumpConfig, PumpCounts, PumpStats};
use crate::status::{MiningStatus, Status};
use crate::templates::{self, TemplateError, Templates};

/// The outbox's file in the data directory.
const OUTBOX: &str = "outbox.sqlite";
/// Ready sessions that wait for the pump; it takes them at once.
const SESSIONS: usize = 4;
/// How long each part may take to end, of the five seconds that a stop may take.
const MINING_END: Duration = Duration::from_millis(1500);
const LINK_END: Duration = Duration::from_millis(1500);
const DASHBOARD_END: Duration = Duration::from_secs(3);
const OUTBOX_END: Duration = Duration::from_secs(1);

/// Why a pool did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A value that does not go with another, or a data directory in use.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port in use.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// No authority key.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// No source of templates.
    #[error(transparent)]
    Templates(#[from] TemplateError),
    /// The outbox's file can't serve.
    #[error("{}: {source}", file.display())]
    Outbox {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: OpenError,
    },
    /// The data directory.
    #[error("{}: {source}", path.display())]
    DataDir {
        /// The path.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// A pool at work.
#[derive(Debug)]
pub struct Running {
    mint_link: SocketAddr,
    mining: SocketAddr,
    dashboard: SocketAddr,
    authority: AuthorityPublicKey,
    outbox: Outbox,
    notices: Notices,
    intake: ShareIntake,
    cache: SnapshotCache,
    templates: Templates,
    miners: Miners,
    pump: PumpStats,
    mints: Mints,
    stop: CancellationToken,
    end: JoinHandle<()>,
}

impl Running {
    /// Where the mint dials in.
    #[must_use]
    pub fn mint_link_address(&self) -> SocketAddr {
        self.mint_link
    }

    /// Where miners connect.
    #[must_use]
    pub fn mining_address(&self) -> SocketAddr {
        self.mining
    }

    /// Who is mining.
    #[must_use]
    pub fn miners(&self) -> &Miners {
        &self.miners
    }

    /// Where the dashboard serves.
    #[must_use]
    pub fn dashboard_address(&self) -> SocketAddr {
        self.dashboard
    }

    /// What mints and miners pin.
    #[must_use]
    pub fn authority_public_key(&self) -> AuthorityPublicKey {
        self.authority
    }

    /// Takes accepted shares.
    #[must_use]
    pub fn intake(&self) -> &ShareIntake {
        &self.intake
    }

    /// Shares on their way, and the quotes that came of them.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Where the quotes of a locking key are followed.
    #[must_use]
    pub fn notices(&self) -> &Notices {
        &self.notices
    }

    /// What the mint has pushed.
    #[must_use]
    pub fn cache(&self) -> &SnapshotCache {
        &self.cache
    }

    /// What is mined.
    #[must_use]
    pub fn templates(&self) -> &Templates {
        &self.templates
    }

    /// Which mints may connect, to be changed while the pool runs.
    #[must_use]
    pub fn mints(&self) -> &Mints {
        &self.mints
    }

    /// What went on between outbox and mint.
    #[must_use]
    pub fn pump_counts(&self) -> PumpCounts {
        self.pump.counts()
    }

    /// Waits until the pool has been told to stop and has: at most 5 s after.
    pub async fn ended(self) {
        if let Err(error) = self.end.await {
            warn!(%error, "the pool did not end in order");
        }
    }

    /// Stops this pool alone and waits for its end.
    pub async fn stop(self) {
        self.stop.cancel();
        self.ended().await;
    }
}

/// Starts a pool; it runs until `stop`, with or without the [`Running`].
///
/// # Errors
/// [`StartError`]; then nothing runs.
pub async fn start(config: PoolConfig, stop: CancellationToken) -> Result<Running, StartError> {
    config.check()?;
    let dashboard_limits = config.dashboard.limits()?;
    // Two pools on one outbox would ask for every quote twice.
    let lock = data_dir::take(&config.data_dir, "pool")?;
    let keys = authority(&config)?;
    let link_listener = bind("mint_link.listen", config.mint_link.listen).await?;
    let mining_listener = bind("mining.listen", config.mining.listen).await?;
    let dashboard_listener = bind("dashboard.listen", config.dashboard.listen).await?;
    let mint_link = address(&link_listener, &config.data_dir)?;
    let mining = address(&mining_listener, &config.data_dir)?;
    let dashboard = address(&dashboard_listener, &config.data_dir)?;
    let file = config.data_dir.join(OUTBOX);
    let outbox = Outbox::open(&file, &config.outbox).map_err(|source| StartError::Outbox { file, source })?;

    let authority = keys.public();
    let mints = Mints::new(&config.mint_link, mint_link);
    let quotes = &config.quotes;
    let (easiest, earning) = (config.mining.minimum_difficulty, quotes.minimum_difficulty);
    if easiest < earning {
        warn!(
            "mining.minimum_difficulty = {easiest} is below quotes.minimum_difficulty = {earning}: slow miners send shares that \
             earn nothing"
        );
    }
    let intake = ShareIntake::new(
        outbox.clone(),
        quotes.minimum_difficulty,
        quotes.default_locking_key.map(|key| key.to_bytes()),
    );
    let notices = Notices::new(outbox.clone());
    let cache = SnapshotCache::new();
    let pump = PumpStats::default();
    let stop = stop.child_token();
    let payout = mining::payout(&config.mining);
    let (templates, templates_task) = templates::start(&config.templates, payout, stop.clone())?;
    let (miners, mining_metrics) = (Miners::default(), Arc::new(MiningMetrics::default()));
    let mining_server = Mining::new(
        &config.mining,
        MiningParts {
            authority: keys.clone(),
            quotes_extension: config.mint_link.extensions.quotes,
            has_default_key: quotes.default_locking_key.is_some(),
            templates: templates.clone(),
            intake: intake.clone(),
            notices: notices.clone(),
            miners: miners.clone(),
            metrics: Arc::clone(&mining_metrics),
        },
    )?;
    let parts = Parts {
        _lock: lock,
        outbox: outbox.clone(),
        status: Status {
            outbox: outbox.clone(),
            intake: intake.clone(),
            pump: pump.clone(),
            link_up: Arc::new(AtomicBool::new(true)),
            templates: templates.clone(),
            mining: MiningStatus {
                address: mining,
                authority,
                miners: miners.clone(),
                metrics: mining_metrics,
                up: Arc::new(AtomicBool::new(true)),
            },
            unit: quotes.unit.to_lowercase(),
        },
        pump_config: PumpConfig {
            unit: quotes.unit.clone(),
            window: config.mint_link.window,
            answer_timeout: config.mint_link.answer_timeout,
        },
        link_config: link_config(&config.mint_link, keys),
        mints: mints.clone(),
        cache: cache.clone(),
        mining: mining_server,
        templates_task,
        dashboard_limits,
    };
    let listeners = Listeners {
        link: link_listener,
        mining: mining_listener,
        dashboard: dashboard_listener,
    };
    let end = tokio::spawn(parts.run(listeners, stop.clone()));
    info!(%mint_link, %mining, %dashboard, %authority, waiting = outbox.view().tally.waiting, "the pool serves");
    Ok(Running {
        mint_link,
        mining,
        dashboard,
        authority,
        outbox,
        notices,
        intake,
        cache,
        templates,
        miners,
        pump,
        mints,
        stop,
        end,
    })
}

/// What runs until the stop.
struct Parts {
    _lock: File,
    outbox: Outbox,
    status: Status,
    pump_config: PumpConfig,
    link_config: PoolLinkConfig,
    mints: Mints,
    cache: SnapshotCache,
    mining: Mining,
    templates_task: JoinHandle<()>,
    dashboard_limits: dashboard::Limits,
}

/// Where it listens.
struct Listeners {
    link: TcpListener,
    mining: TcpListener,
    dashboard: TcpListener,
}

impl Parts {
    /// Starts the tasks; after the stop ends them in the order of the data: miners first and with them the link, so that
    /// no share and no answer comes any more, then the pump, which records those that came, then the outbox. The
    /// dashboard ends meanwhile.
    async fn run(self, listeners: Listeners, stop: CancellationToken) {
        let (sessions_tx, sessions) = mpsc::channel(SESSIONS);
        let link_up = Arc::clone(&self.status.link_up);
        let link_metrics = Arc::<LinkMetrics>::default();
        let mut metrics = dashboard::registry();
        metrics.register_collector(Box::new(self.status.clone()));
        metrics.register_collector(Box::new(LinkCollector(Arc::clone(&link_metrics))));
        let pool_link = PoolLink::new(
            self.link_config,
            self.mints.watch(),
            self.cache.clone(),
            sessions_tx,
            link_metrics,
        );
        let link = tokio::spawn({
            let stop = stop.clone();
            async move {
                Arc::new(pool_link).listen(listeners.link, stop).await;
                link_up.store(false, Ordering::Relaxed);
            }
        });
        let mining = tokio::spawn({
            let (mining, stop, up) = (self.mining, stop.clone(), Arc::clone(&self.status.mining.up));
            async move {
                mining.run(listeners.mining, stop).await;
                up.store(false, Ordering::Relaxed);
            }
        });
        let aging = tokio::spawn({
            let (cache, stop) = (self.cache.clone(), stop.clone());
            async move { cache.run(stop).await }
        });
        let stop_pump = CancellationToken::new();
        let pump = Pump::new(self.outbox.clone(), self.pump_config, self.status.pump.clone());
        let pump = tokio::spawn(pump.run(sessions, stop_pump.clone()));
        let router = dashboard::pool_router(self.cache, Arc::new(self.status), metrics);
        let http = tokio::spawn(dashboard::serve_within(
            listeners.dashboard,
            router,
            self.dashboard_limits,
            stop.clone(),
        ));

        stop.cancelled().await;
        let http = ended("dashboard", DASHBOARD_END, http);
        let data = async {
            tokio::join!(
                ended("mining server", MINING_END, mining),
                ended("mint link", LINK_END, link)
            );
            stop_pump.cancel();
            ended("quote pump", LAST_COMMIT + LINK_END, pump).await;
            if timeout(OUTBOX_END, self.outbox.close()).await.is_err() {
                warn!("the outbox takes long to close; what was committed is safe");
            }
        };
        tokio::join!(
            http,
            data,
            ended("templates", LINK_END, self.templates_task),
            ended("statistics", LINK_END, aging)
        );
        info!("the pool has stopped");
    }
}

fn link_config(section: &MintLinkSection, authority: AuthorityKeypair) -> PoolLinkConfig {
    let step = section.step_timeout;
    PoolLinkConfig {
        extensions: section.extensions,
        timers: PoolTimers {
            handshake: step,
            setup: step,
            negotiation: section.negotiation_timeout,
            proof: step,
            write: step,
        },
        max_connections: section.max_connections,
        queue: section.window,
        ..PoolLinkConfig::new(authority)
    }
}

/// Waits for a part's end, and says so if it had to be cut short.
async fn ended(name: &str, deadline: Duration, mut task: JoinHandle<()>) {
    match timeout(deadline, &mut task).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "{name}: ended out of order"),
        Err(_) => {
            warn!("{name}: not ended in {deadline:?}, cut off");
            task.abort();
        }
    }
}

fn address(listener: &TcpListener, data_dir: &Path) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::DataDir {
        path: data_dir.to_owned(),
        source,
    })
}
