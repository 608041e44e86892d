//! The mint's end: dials its pools, serves their quote requests and pushes its statistics, for ever.
//!
//! One [`MintLink`] serves any number of pools, one [`MintLink::connect`] each. Nothing that a pool does, or fails to do,
//! touches the link to another.

mod heartbeat;
mod negotiation;
mod outage;
mod quotes;
mod session;
mod status;
mod writer;

use std::{sync::Arc, time::Duration};

use stats_push::{PushConfig, RunId, Totals};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{broadcast, mpsc, watch},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

pub use self::{
    negotiation::{LegacyReason, Negotiated},
    quotes::{AnswerHandle, QuoteCall},
    status::{LinkState, LinkStatus},
};
use self::{
    outage::{Outage, SETTLED, Tell},
    session::Ended,
    status::StatusCell,
};
use crate::{
    error::{LinkError, Step, within},
    extensions::ExtensionIds,
    keys::MintKey,
    messages::HeaderHash,
    metrics::LinkMetrics,
    setup::DeviceInfo,
};
use sv2_transport::{AuthorityPublicKey, Backoff, Connector, Tcp};

/// A pool to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTarget {
    /// `host:port`. The name is looked up at every dial.
    pub address: Arc<str>,
    /// The key that the pool must hold.
    pub authority: AuthorityPublicKey,
}

/// How long the steps of a mint's session may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintTimers {
    /// Name lookup and TCP; default 10 s.
    pub connect: Duration,
    /// The Noise handshake; default 10 s.
    pub handshake: Duration,
    /// SetupConnection until its answer; default 10 s.
    pub setup: Duration,
    /// RequestExtensions until its answer; default 2 s. After it the pool counts as a legacy one, until it answers.
    pub negotiation: Duration,
    /// A batch of answers, or a snapshot, until the pool has taken it; default 10 s.
    pub write: Duration,
    /// Between two questions whether the pool is there; default 3 s. They are asked once extensions are on.
    pub heartbeat: Duration,
    /// From such a question until its answer; default 6 s. After it the pool counts as gone: with `heartbeat` that makes 9 s
    /// at most since it was there.
    pub silence: Duration,
    /// On stop: until the batcher has answered what it was asked; default 1.5 s.
    pub drain: Duration,
    /// On stop: until the final push is written (P6); default 1 s.
    pub final_push: Duration,
    /// On stop: until the pool has closed its end; default 500 ms.
    pub linger: Duration,
}

impl Default for MintTimers {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            setup: Duration::from_secs(10),
            negotiation: Duration::from_secs(2),
            write: Duration::from_secs(10),
            heartbeat: Duration::from_secs(3),
            silence: Duration::from_secs(6),
            drain: Duration::from_millis(1500),
            final_push: Duration::from_secs(1),
            linger: Duration::from_millis(500),
        }
    }
}

/// What all links of a mint share.
#[derive(Clone, Debug)]
pub struct MintLink {
    /// How the mint introduces itself.
    pub device: DeviceInfo,
    /// By which it proves itself.
    pub key: MintKey,
    /// Takes the quote requests of all pools: the batcher's inbox. A full one slows the pools down.
    pub quotes: mpsc::Sender<QuoteCall>,
    /// What the ledger publishes.
    pub totals: watch::Receiver<Arc<Totals>>,
    /// Tells every session that negotiated ehash quotes which quotes have been issued whole. Whoever is slower than its
    /// capacity misses some; [`LinkCounters::issued_missed`](crate::LinkCounters::issued_missed) counts that.
    pub issued: broadcast::Sender<Arc<[HeaderHash]>>,
    /// Of this run of the mint.
    pub run_id: RunId,
    /// When to push.
    pub push: PushConfig,
    /// The numbers of the extensions.
    pub extensions: ExtensionIds,
    /// The deadlines.
    pub timers: MintTimers,
    /// How many quote requests of one session may be unanswered, at least 1: more are not read.
    pub max_outstanding: usize,
    /// Counts for all links.
    pub metrics: Arc<LinkMetrics>,
}

/// What one session's parts need to know of where they are.
#[derive(Clone, Copy)]
struct SessionSide<'a> {
    pool: &'a str,
    metrics: &'a LinkMetrics,
    extensions: &'a ExtensionIds,
}

impl MintLink {
    /// The default of `max_outstanding`.
    pub const MAX_OUTSTANDING: usize = 1024;
    /// The default capacity of `issued`, in transactions of the mint.
    pub const ISSUED_KEPT: usize = 1024;

    /// A mint with defaults for all that has one.
    pub fn new(
        key: MintKey,
        quotes: mpsc::Sender<QuoteCall>,
        totals: watch::Receiver<Arc<Totals>>,
        run_id: RunId,
    ) -> Self {
        Self {
            device: DeviceInfo::default(),
            key,
            quotes,
            totals,
            issued: broadcast::Sender::new(Self::ISSUED_KEPT),
            run_id,
            push: PushConfig::default(),
            extensions: ExtensionIds::default(),
            timers: MintTimers::default(),
            max_outstanding: Self::MAX_OUTSTANDING,
            metrics: Arc::default(),
        }
    }

    /// The link to one pool: its status to read, and what to run (or spawn) until `stop`. It dials again whenever it must,
    /// after 100 ms to 10 s. On `stop` it pushes once more (P6) and ends within the sum of the last three timers.
    pub fn connect(
        &self,
        target: PoolTarget,
        stop: CancellationToken,
    ) -> (watch::Receiver<LinkStatus>, impl Future<Output = ()> + Send + 'static) {
        self.connect_by(Tcp, target, stop)
    }

    /// Serves one pool over a connection that exists already, whatever carries it, from the handshake to its end. Returns
    /// why it ended.
    pub async fn serve<S>(&self, stream: S, target: &PoolTarget, stop: &CancellationToken) -> LinkError
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let status = StatusCell::new(Arc::clone(&target.address));
        session::run(self, target, stream, None, true, &status, stop)
            .await
            .error
    }

    pub(crate) fn connect_by<C: Connector + 'static>(
        &self,
        connector: C,
        target: PoolTarget,
        stop: CancellationToken,
    ) -> (
        watch::Receiver<LinkStatus>,
        impl Future<Output = ()> + Send + 'static + use<C>,
    ) {
        let status = StatusCell::new(Arc::clone(&target.address));
        let reader = status.subscribe();
        let link = self.clone();
        let running = async move { link.run(&connector, &target, &status, &stop).await };
        (reader, running)
    }

    async fn run<C: Connector>(
        &self,
        connector: &C,
        target: &PoolTarget,
        status: &StatusCell,
        stop: &CancellationToken,
    ) {
        let mut backoff = Backoff::new();
        let mut outage = Outage::default();
        let mut ask = true;
        while !stop.is_cancelled() {
            status.dialling();
            let settled = async {
                status.works_for(SETTLED).await;
                tracing::info!(pool = %target.address, "the link works");
                std::future::pending().await
            };
            let ended = tokio::select! {
                ended = self.attempt(connector, target, ask, status, stop) => ended,
                ended = settled => ended,
            };
            self.metrics.ended(ended.error.reason());
            if matches!(ended.error, LinkError::Stopped) {
                break;
            }
            // After a close that may have been about the question, one session without it; then it is asked again: the pool
            // may have been replaced by one that understands.
            ask = !ended.over_the_question;
            status.failed(&ended.error);
            let wait = backoff.after(ended.worked);
            let tell = outage.failed(ended.error.reason(), ended.worked, Instant::now());
            log_failure(&target.address, &ended, wait, tell);
            status.waiting(wait);
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(wait) => {}
            }
        }
        status.stopped();
    }

    async fn attempt<C: Connector>(
        &self,
        connector: &C,
        target: &PoolTarget,
        ask: bool,
        status: &StatusCell,
        stop: &CancellationToken,
    ) -> Ended {
        let connecting = within(Step::Connect, self.timers.connect, connector.connect(&target.address));
        let connected = tokio::select! {
            biased;
            () = stop.cancelled() => Err(LinkError::Stopped),
            connected = connecting => connected.and_then(|connected| connected.map_err(LinkError::Connect)),
        };
        match connected {
            Ok((stream, peer)) => {
                self.metrics.connection();
                session::run(self, target, stream, Some(peer), ask, status, stop).await
            }
            Err(error) => Ended::early(error),
        }
    }
}

fn log_failure(pool: &str, ended: &Ended, wait: Duration, tell: Tell) {
    let (error, worked) = (&ended.error, ended.worked);
    match tell {
        Tell::New => tracing::info!(pool, ?worked, ?wait, "no link: {error}"),
        Tell::Wrong => tracing::warn!(pool, ?worked, ?wait, "no link: {error}"),
        Tell::Still { failures, lasts } => {
            let lasts = lasts.as_secs();
            tracing::warn!(pool, failures, "no link for {lasts} s; the last failure: {error}");
        }
        Tell::Again => tracing::debug!(pool, ?worked, ?wait, "no link: {error}"),
    }
}

#[cfg(test)]
mod tests;
