//! A pool, put together of its [`parts`].

mod parts;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use dashboard::{HISTORY_FILE, History};
use service::{BindError, ConfigError, data_dir};
use stats_push::{SnapshotCache, UnixMillis};
use sv2_transport::AuthorityPublicKey;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::parts::{Link, Listeners, Parts};
use crate::authority::{AuthorityError, authority};
use crate::config::PoolConfig;
use crate::intake::ShareIntake;
use crate::mining::{self, Miners, Mining, MiningMetrics, MiningParts};
use crate::mints::Mints;
use crate::notices::Notices;
use crate::outbox::{OpenError, Outbox};
use crate::quotes::{PumpConfig, PumpCounts, PumpStats};
use crate::status::{MiningStatus, Status};
use crate::templates::{self, TemplateError, Templates};

/// The outbox's file in the data directory.
const OUTBOX: &str = "outbox.sqlite";

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
    /// The address of a listener.
    #[error("a listener does not tell its address: {0}")]
    Address(#[source] std::io::Error),
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

    /// Waits until the pool has been told to stop and has: at most 5 s after. It stops of itself if a part that it can't do
    /// without has crashed.
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
    warn_of_worthless_shares(&config);
    let dashboard_limits = config.dashboard.limits()?;
    // Two pools on one outbox would ask for every quote twice.
    let lock = data_dir::take(&config.data_dir, "pool")?;
    let keys = authority(&config)?;
    let listeners = Listeners::bind(&config).await?;
    let [mint_link, mining, dashboard] = listeners.addresses().map_err(StartError::Address)?;
    let file = config.data_dir.join(OUTBOX);
    let outbox = Outbox::open(&file, &config.outbox).map_err(|source| StartError::Outbox { file, source })?;

    let authority = keys.public();
    let mints = Mints::new(&config.mint_link, mint_link);
    let quotes = &config.quotes;
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
    let link = Link::new(&config.mint_link, keys, &mints, cache.clone());
    let parts = Parts {
        _lock: lock,
        outbox: outbox.clone(),
        status: Status {
            started_at: UnixMillis::now(),
            outbox: outbox.clone(),
            intake: intake.clone(),
            pump: pump.clone(),
            link_address: mint_link,
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
            refresher: link.refresher(),
            refresh_token: config.refresh.token.clone(),
        },
        pump_config: PumpConfig {
            unit: quotes.unit.clone(),
            window: config.mint_link.window,
            answer_timeout: config.mint_link.answer_timeout,
        },
        link,
        cache: cache.clone(),
        mining: mining_server,
        templates_task,
        history: History::open(config.data_dir.join(HISTORY_FILE)),
        dashboard_limits,
        base_path: config.dashboard.base_path,
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

fn warn_of_worthless_shares(config: &PoolConfig) {
    let (easiest, earning) = (config.mining.minimum_difficulty, config.quotes.minimum_difficulty);
    if easiest < earning {
        warn!(
            "mining.minimum_difficulty = {easiest} is below quotes.minimum_difficulty = {earning}: slow miners send shares that \
             earn nothing"
        );
    }
}
