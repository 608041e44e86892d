//! The listener for miners, and what its sessions share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use service::ConfigError;
use sv2_transport::{AuthorityKeypair, Place, Places};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::MiningParts;
use super::coinbase::Coinbase;
use super::config::MiningSection;
use super::floor::Floor;
use super::jobs::{JobMaker, Jobs};
use super::metrics::Counter;
use super::session::{self, Ended};
use crate::intake::ShareIntake;
use crate::notices::Notices;
use crate::templates::Templates;

/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the sessions of a pool's mining server share.
pub(crate) struct MiningServer {
    pub(super) floor: Arc<Floor>,
    pub(super) authority: AuthorityKeypair,
    pub(super) step_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) quotes_extension: u16,
    pub(super) jobs: watch::Receiver<Option<Arc<Jobs>>>,
    pub(super) intake: ShareIntake,
    pub(super) templates: Templates,
    pub(super) notices: Notices,
    pub(super) notify_hashpool_miners: bool,
    max_connections: usize,
}

impl MiningServer {
    /// A server and the maker of its jobs, which come to it by `jobs`.
    ///
    /// # Errors
    /// More channels than there are extranonces for.
    pub(crate) fn new(
        section: &MiningSection,
        parts: MiningParts,
        jobs: watch::Receiver<Option<Arc<Jobs>>>,
    ) -> Result<(Self, JobMaker), ConfigError> {
        if let Some(least) = section.hasty() {
            warn!(
                "mining.idle_timeout_ms = {}: with mining.shares_per_minute = {} honest miners will be cut off between two \
                 shares; {} and far more is advised",
                section.idle_timeout.as_millis(),
                section.shares_per_minute,
                least.as_millis()
            );
        }
        let floor = Floor::new(section, parts.has_default_key, parts.miners, parts.metrics)?;
        let maker = JobMaker::new(Coinbase::new(section), floor.extranonce_size);
        let server = Self {
            floor: Arc::new(floor),
            authority: parts.authority,
            step_timeout: section.step_timeout,
            idle_timeout: section.idle_timeout,
            quotes_extension: parts.quotes_extension,
            jobs,
            intake: parts.intake,
            templates: parts.templates,
            notices: parts.notices,
            notify_hashpool_miners: section.notify_hashpool_miners,
            max_connections: section.max_connections,
        };
        Ok((server, maker))
    }

    /// Serves whoever connects until `stop`, then ends all sessions and returns.
    pub(crate) async fn listen(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let places = Places::new(self.max_connections);
        let sessions = TaskTracker::new();
        let metrics = &self.floor.metrics;
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file handles, most likely: the waiting connections stay until there are some again.
                    if metrics.may_log("accept") {
                        warn!("can't accept a connection of a miner: {error}");
                    }
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(place) = places.take(address) else {
                metrics.count(Counter::RefusedFull);
                if metrics.may_log("full") {
                    warn!(%address, "turned away: all places for connections of miners are taken");
                }
                continue;
            };
            if let Err(error) = sv2_transport::tune(&stream) {
                debug!(%address, "can't set the connection up: {error}");
                continue;
            }
            let (server, stop) = (Arc::clone(&self), stop.clone());
            sessions.spawn(async move {
                server.serve(&place, stream, address, &stop).await;
            });
        }
        drop(listener);
        sessions.close();
        sessions.wait().await;
    }

    /// Serves one connection, whatever carries it, from the handshake to its end.
    pub(crate) async fn serve<S>(&self, place: &Place, stream: S, address: SocketAddr, stop: &CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let metrics = &self.floor.metrics;
        metrics.count(Counter::Connections);
        let ended = session::run(self, place, stream, address, stop).await;
        metrics.ended(ended.reason());
        match ended {
            Ended::Closed | Ended::Stopped => debug!(%address, "the session of a miner ended: {ended}"),
            // Anybody can connect: what fails must not fill the log.
            _ if metrics.may_log(ended.reason()) => info!(%address, "the session of a miner ended: {ended}"),
            _ => debug!(%address, "the session of a miner ended: {ended}"),
        }
    }
}
