//! The pool's end: lets mints in, proves them, and hands working sessions to the role.
//!
//! Each peer has a task and a place of its own and a deadline for every step, so one that is silent or speaks garbage
//! costs a place until somebody else needs it, and nothing else. The newest working session replaces the one before it: a
//! pool has one mint.

mod admission;
mod gate;
mod handle;
mod reader;
mod refresher;
mod seat;
mod session;
mod writer;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use stats_push::{CacheSession, Peer, RunId, SnapshotCache};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::seat::{Seat, Ticket};
pub use self::{
    admission::Admission,
    handle::{MintSession, SessionInfo, StatsRequester},
    refresher::Refresher,
};
use crate::{
    error::{FailureReason, LinkError},
    extensions::ExtensionIds,
    metrics::LinkMetrics,
};
use sv2_transport::{AuthorityKeypair, Evicted, Place, Places};

/// How long the steps of a pool's session may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTimers {
    /// The Noise handshake; default 10 s.
    pub handshake: Duration,
    /// From the handshake until SetupConnection is answered; default 10 s.
    pub setup: Duration,
    /// From then until the mint negotiates; default 2 s. After it the mint counts as a legacy one, until it negotiates.
    pub negotiation: Duration,
    /// From the mint's negotiating MintProof until it proves itself; default 10 s.
    pub proof: Duration,
    /// A batch of requests until the mint has taken it; default 10 s.
    pub write: Duration,
    /// How long a mint that beats, or pushes, may say nothing at all; default 9 s. After it the mint counts as gone. One that
    /// pushes and does not beat has its interval and 4 s, if that is longer.
    pub silence: Duration,
}

impl Default for PoolTimers {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            setup: Duration::from_secs(10),
            negotiation: Duration::from_secs(2),
            proof: Duration::from_secs(10),
            write: Duration::from_secs(10),
            silence: Duration::from_secs(9),
        }
    }
}

/// How a pool listens for its mint.
#[derive(Clone, Debug)]
pub struct PoolLinkConfig {
    /// By which mints know the pool.
    pub authority: AuthorityKeypair,
    /// How long the certificate of one connection is valid; default 1 h. It is checked only while connecting.
    pub cert_validity: Duration,
    /// The numbers of the extensions.
    pub extensions: ExtensionIds,
    /// The deadlines.
    pub timers: PoolTimers,
    /// How many connections there may be at once, of mints and of others, at least 1; default 64. When they are taken, who
    /// is not admitted yet makes room for newcomers.
    pub max_connections: usize,
    /// How many requests, and how many answers, may wait in a [`MintSession`], at least 1; default 1024.
    pub queue: usize,
}

impl PoolLinkConfig {
    /// The defaults, with this key.
    pub fn new(authority: AuthorityKeypair) -> Self {
        Self {
            authority,
            cert_validity: Duration::from_secs(3600),
            extensions: ExtensionIds::default(),
            timers: PoolTimers::default(),
            max_connections: 64,
            queue: 1024,
        }
    }
}

/// A pool's end of the link.
#[derive(Debug)]
pub struct PoolLink {
    config: PoolLinkConfig,
    admission: watch::Receiver<Arc<Admission>>,
    cache: SnapshotCache,
    sessions: mpsc::Sender<MintSession>,
    metrics: Arc<LinkMetrics>,
    seat: Mutex<Seat>,
    /// Asks the mint that works, or that worked last.
    requester: watch::Sender<Option<StatsRequester>>,
}

impl PoolLink {
    /// A link that lets mints in by `admission`, puts their snapshots into `cache` and hands working sessions to the
    /// receiver of `sessions`.
    pub fn new(
        config: PoolLinkConfig,
        admission: watch::Receiver<Arc<Admission>>,
        cache: SnapshotCache,
        sessions: mpsc::Sender<MintSession>,
        metrics: Arc<LinkMetrics>,
    ) -> Self {
        let config = PoolLinkConfig {
            max_connections: config.max_connections.max(1),
            queue: config.queue.max(1),
            ..config
        };
        Self {
            config,
            admission,
            cache,
            sessions,
            metrics,
            seat: Mutex::default(),
            requester: watch::Sender::default(),
        }
    }

    /// To ask whichever mint works for a snapshot, now and in sessions to come.
    pub fn refresher(&self) -> Refresher {
        Refresher(self.requester.subscribe())
    }

    /// Serves whoever connects until `stop`, then ends all sessions and returns.
    pub async fn listen(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let places = Places::new(self.config.max_connections);
        let peers = TaskTracker::new();
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
                    self.metrics.not_accepted(&error);
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(place) = places.take(address) else {
                self.metrics.full(address);
                continue;
            };
            if let Err(error) = sv2_transport::tune(&stream) {
                tracing::debug!(%address, "can't set the connection up: {error}");
                continue;
            }
            let (link, stop) = (Arc::clone(&self), stop.clone());
            peers.spawn(async move {
                link.serve_at(&place, stream, address, &stop).await;
            });
        }
        peers.close();
        peers.wait().await;
    }

    /// Serves one connection, whatever carries it, from the handshake to its end. Returns why it ended.
    pub async fn serve<S>(&self, stream: S, address: SocketAddr, stop: &CancellationToken) -> LinkError
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        // It shares the place with nobody.
        match Places::new(1).take(address) {
            Some(place) => self.serve_at(&place, stream, address, stop).await,
            None => Evicted.into(),
        }
    }

    async fn serve_at<S>(&self, place: &Place, stream: S, address: SocketAddr, stop: &CancellationToken) -> LinkError
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.metrics.connection();
        let ended = session::run(self, place, stream, address, stop).await;
        self.metrics.ended(ended.reason());
        match ended.reason() {
            FailureReason::Closed | FailureReason::Replaced | FailureReason::Stopped => {
                tracing::info!(%address, "the session of a mint ended: {ended}");
            }
            // Anybody can connect: what fails early must not fill the log.
            reason if self.metrics.may_log(reason) => {
                tracing::warn!(%address, "the connection of a mint failed: {ended}")
            }
            _ => tracing::debug!(%address, "the connection of a mint failed: {ended}"),
        }
        ended
    }

    fn seat(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session of this run, as far as it is known, comes to work: the one before it ends. Returns its claim and its place
    /// in the cache. Both change hands under one lock, so that the newest session is the same one everywhere.
    fn take_over(&self, info: &SessionInfo, run: Option<RunId>) -> Result<(Ticket, CacheSession), LinkError> {
        let mut seat = self.seat();
        let ticket = seat.take(run).map_err(|seat::Displaced| LinkError::Displaced)?;
        Ok((ticket, self.open_session(info)))
    }

    /// A new place in the cache for a session of which more is known now; `None` if it has been replaced meanwhile.
    fn reopen(&self, ticket: &Ticket, info: &SessionInfo) -> Option<CacheSession> {
        let _seat = self.seat();
        (!ticket.replaced.is_cancelled()).then(|| self.open_session(info))
    }

    /// Who wants a snapshot asks in this session from here on, unless it has been replaced meanwhile.
    fn offer(&self, ticket: &Ticket, requester: StatsRequester) {
        let _seat = self.seat();
        if !ticket.replaced.is_cancelled() {
            self.requester.send_replace(Some(requester));
        }
    }

    fn open_session(&self, info: &SessionInfo) -> CacheSession {
        let peer = Peer {
            address: info.address.to_string(),
            public_key: info.public_key.map(|key| key.to_string()),
            proven: info.is_proven(),
        };
        if info.extensions.stats {
            self.cache.open_negotiated_session(peer)
        } else {
            self.cache.open_session(peer)
        }
    }
}

/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
