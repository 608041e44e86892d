//! The mining server: miners connect over Stratum V2, get jobs, and hand in shares.
//!
//! ```text
//! listener ─▶ session (one task a connection) ─▶ channels (no I/O, no clock)
//!               │ share that is right                ▲
//!               ├─▶ a block: back to the templates   │ jobs, made once for all
//!               └─▶ intake ─▶ outbox ─▶ answer       │
//!                                          work of the templates
//! ```
//!
//! Each connection has a task of its own, which alone writes to its socket; none has a timer or a task per channel. What
//! a miner says reaches its own channels and nobody else's.

mod answers;
mod channel;
mod channels;
mod coinbase;
mod config;
mod difficulty;
mod floor;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod identity;
mod jobs;
mod messages;
mod metrics;
mod miners;
mod notify;
mod server;
mod session;
mod setup;
mod share;
#[cfg(test)]
mod testkit;
mod vardiff;

use std::sync::Arc;

use service::ConfigError;
use sv2_transport::AuthorityKeypair;
use template_distribution_sv2::CoinbaseOutputConstraints;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::error;

use self::coinbase::Coinbase;
pub use self::config::{MiningSection, RewardAddress, RewardAddressError};
use self::jobs::{JobMaker, Jobs};
pub(crate) use self::metrics::{Counter, MiningMetrics};
pub use self::miners::{Kind, Miner, Miners, MinersView};
use self::server::MiningServer;
use crate::intake::ShareIntake;
use crate::notices::Notices;
use crate::templates::{Templates, Work};

/// What a mining server works with.
pub(crate) struct MiningParts {
    /// By which miners know the pool.
    pub(crate) authority: AuthorityKeypair,
    /// The number of the extension for quotes.
    pub(crate) quotes_extension: u16,
    /// Whether the pool has a key for miners that bring none.
    pub(crate) has_default_key: bool,
    pub(crate) templates: Templates,
    pub(crate) intake: ShareIntake,
    pub(crate) notices: Notices,
    pub(crate) miners: Miners,
    pub(crate) metrics: Arc<MiningMetrics>,
}

/// A mining server that is to [run](Self::run).
pub(crate) struct Mining {
    server: Arc<MiningServer>,
    work: watch::Receiver<Option<Arc<Work>>>,
    maker: JobMaker,
    jobs: watch::Sender<Option<Arc<Jobs>>>,
    metrics: Arc<MiningMetrics>,
}

/// Room that the pool needs in the coinbase transaction.
pub(crate) fn payout(section: &MiningSection) -> CoinbaseOutputConstraints {
    Coinbase::new(section).constraints()
}

impl Mining {
    /// # Errors
    /// More channels than there are extranonces for.
    pub(crate) fn new(section: &MiningSection, parts: MiningParts) -> Result<Self, ConfigError> {
        let (jobs, jobs_rx) = watch::channel(None);
        let (work, metrics) = (parts.templates.work(), Arc::clone(&parts.metrics));
        let (server, maker) = MiningServer::new(section, parts, jobs_rx)?;
        let mut mining = Self {
            server: Arc::new(server),
            work,
            maker,
            jobs,
            metrics,
        };
        mining.make_jobs();
        Ok(mining)
    }

    /// Serves miners until `stop`, then ends their sessions and returns.
    pub(crate) async fn run(mut self, listener: TcpListener, stop: CancellationToken) {
        let serving = Arc::clone(&self.server).listen(listener, stop);
        tokio::pin!(serving);
        loop {
            tokio::select! {
                () = &mut serving => return,
                Ok(()) = self.work.changed() => self.make_jobs(),
            }
        }
    }

    /// Jobs of the newest work. If none can be made of it, miners go on with those they have.
    fn make_jobs(&mut self) {
        let Some(work) = self.work.borrow_and_update().clone() else {
            return;
        };
        match self.maker.next(&work.tip, &work.current, work.future.as_deref()) {
            Ok(jobs) => {
                self.jobs.send_replace(Some(jobs));
            }
            Err(error) => {
                self.metrics.count(Counter::BadTemplates);
                error!(
                    ?error,
                    template_id = work.current.template_id,
                    "no job can be made of a template"
                );
            }
        }
    }
}
