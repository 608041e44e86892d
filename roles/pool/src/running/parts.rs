//! What a running pool consists of: started together, ended in the order of the data.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dashboard::{BasePath, History, PoolSource};
use mint_link::{LinkCollector, LinkMetrics, MintSession, PoolLink, PoolLinkConfig, PoolTimers, Refresher};
use service::{BindError, bind, vital};
use stats_push::SnapshotCache;
use sv2_transport::AuthorityKeypair;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{MintLinkSection, PoolConfig};
use crate::mining::Mining;
use crate::mints::Mints;
use crate::outbox::Outbox;
use crate::quotes::{LAST_COMMIT, Pump, PumpConfig};
use crate::status::Status;

/// Ready sessions that wait for the pump; it takes them at once.
const SESSIONS: usize = 4;
/// How long each part may take to end, of the five seconds that a stop may take.
const MINING_END: Duration = Duration::from_millis(1500);
const LINK_END: Duration = Duration::from_millis(1500);
const DASHBOARD_END: Duration = Duration::from_secs(3);
const OUTBOX_END: Duration = Duration::from_secs(1);

/// What runs until the stop.
pub(super) struct Parts {
    pub(super) _lock: File,
    pub(super) outbox: Outbox,
    pub(super) status: Status,
    pub(super) pump_config: PumpConfig,
    pub(super) link: Link,
    pub(super) cache: SnapshotCache,
    pub(super) mining: Mining,
    pub(super) templates_task: JoinHandle<()>,
    pub(super) history: History,
    pub(super) dashboard_limits: dashboard::Limits,
    pub(super) base_path: BasePath,
}

/// The link to the mint before it listens.
pub(super) struct Link {
    link: PoolLink,
    sessions: mpsc::Receiver<MintSession>,
    metrics: Arc<LinkMetrics>,
}

impl Link {
    pub(super) fn new(
        section: &MintLinkSection,
        authority: AuthorityKeypair,
        mints: &Mints,
        cache: SnapshotCache,
    ) -> Self {
        let (ready, sessions) = mpsc::channel(SESSIONS);
        let metrics = Arc::<LinkMetrics>::default();
        let config = link_config(section, authority);
        Self {
            link: PoolLink::new(config, mints.watch(), cache, ready, Arc::clone(&metrics)),
            sessions,
            metrics,
        }
    }

    pub(super) fn refresher(&self) -> Refresher {
        self.link.refresher()
    }
}

/// Where it listens.
pub(super) struct Listeners {
    link: TcpListener,
    mining: TcpListener,
    dashboard: TcpListener,
}

impl Listeners {
    /// # Errors
    /// A port in use.
    pub(super) async fn bind(config: &PoolConfig) -> Result<Self, BindError> {
        Ok(Self {
            link: bind("mint_link.listen", config.mint_link.listen).await?,
            mining: bind("mining.listen", config.mining.listen).await?,
            dashboard: bind("dashboard.listen", config.dashboard.listen).await?,
        })
    }

    /// For mints, for miners, for browsers.
    ///
    /// # Errors
    /// What the operating system says.
    pub(super) fn addresses(&self) -> io::Result<[SocketAddr; 3]> {
        let Self {
            link,
            mining,
            dashboard,
        } = self;
        Ok([link.local_addr()?, mining.local_addr()?, dashboard.local_addr()?])
    }
}

impl Parts {
    /// Starts the tasks; after the stop ends them in the order of the data: miners first and with them the link, so that
    /// no share and no answer comes any more, then the pump, which records those that came, then the outbox. The
    /// dashboard ends meanwhile.
    pub(super) async fn run(self, listeners: Listeners, stop: CancellationToken) {
        let link_up = Arc::clone(&self.status.link_up);
        let Link {
            link,
            sessions,
            metrics: link_metrics,
        } = self.link;
        let mut metrics = dashboard::registry();
        metrics.register_collector(Box::new(self.status.clone()));
        metrics.register_collector(Box::new(LinkCollector(link_metrics)));
        let link = begin(&stop, {
            let stop = stop.clone();
            async move {
                Arc::new(link).listen(listeners.link, stop).await;
                link_up.store(false, Ordering::Relaxed);
            }
        });
        let mining = begin(&stop, {
            let (mining, stop, up) = (self.mining, stop.clone(), Arc::clone(&self.status.mining.up));
            async move {
                mining.run(listeners.mining, stop).await;
                up.store(false, Ordering::Relaxed);
            }
        });
        let aging = begin(&stop, {
            let (cache, stop) = (self.cache.clone(), stop.clone());
            async move { cache.run(stop).await }
        });
        let stop_pump = CancellationToken::new();
        let pump = Pump::new(self.outbox.clone(), self.pump_config, self.status.pump.clone());
        let pump = begin(&stop, pump.run(sessions, stop_pump.clone()));
        let status = Arc::new(self.status);
        let pool = Arc::clone(&status) as Arc<dyn PoolSource>;
        let history = self.history.clone();
        // Shares go on without it.
        let history = tokio::spawn(history.record(self.cache.clone(), Some(pool), stop.clone()));
        let router = self
            .base_path
            .mount(dashboard::pool_router(self.cache, status, self.history, metrics));
        let http = dashboard::serve_within(listeners.dashboard, router, self.dashboard_limits, stop.clone());
        let http = begin(&stop, http);

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
            ended("statistics", LINK_END, aging),
            ended("history", DASHBOARD_END, history)
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
            ..PoolTimers::default()
        },
        max_connections: section.max_connections,
        queue: section.window,
        ..PoolLinkConfig::new(authority)
    }
}

/// Starts a part. If it crashes the pool stops: shares would wait for a pump that is gone, and nobody would see it.
fn begin(stop: &CancellationToken, part: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(vital(stop.clone(), part))
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
