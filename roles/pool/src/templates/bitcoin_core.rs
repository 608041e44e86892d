//! Bitcoin Core's mining interface, over its socket, by `bitcoin_core_sv2`.
//!
//! That crate's objects can't leave the thread they were made on, so each connection has a thread of its own with a
//! `LocalSet`; two bounded channels lead there and back. It ends the connection by itself when the node goes away, which
//! closes the channels.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use async_channel::{Receiver, Sender, bounded};
use bitcoin_core_sv2::runtime_api::{BitcoinCoreVersion, template_distribution_protocol};
use parsers_sv2::TemplateDistributionOwned;
use template_distribution_sv2::{CoinbaseOutputConstraints, SubmitSolutionOwned};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

use super::client::{Dial, Peer, Said, SourceError, within};
use super::config::BitcoinCoreSection;

/// Messages between the node's thread and the pool, each way.
const QUEUE: usize = 64;
/// Deadline of connecting, and of handing a block over.
const STEP: Duration = Duration::from_secs(10);
/// How long a connection may take to say goodbye to its node, which frees what it holds there.
const GOODBYE: Duration = Duration::from_secs(1);

/// Dials a node.
pub(super) struct Node {
    config: BitcoinCoreSection,
    constraints: CoinbaseOutputConstraints,
}

impl Node {
    pub(super) fn new(config: BitcoinCoreSection, constraints: CoinbaseOutputConstraints) -> Self {
        Self { config, constraints }
    }
}

impl Dial for Node {
    type Peer = Connection;

    fn target(&self) -> String {
        self.config.socket.display().to_string()
    }

    /// A node has nothing to say while neither blocks nor fees come.
    fn silence_timeout(&self) -> Option<Duration> {
        None
    }

    async fn dial(&self) -> Result<Connection, SourceError> {
        let (tell, told) = bounded(QUEUE);
        let (say, said) = bounded(QUEUE);
        let (ready, connected) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let stop = CancellationToken::new();
        let line = Line {
            socket: self.config.socket.clone(),
            version: BitcoinCoreVersion::try_from(self.config.version)
                .map_err(|version| SourceError::Core(format!("no interface for version {version} is known")))?,
            fee_threshold: self.config.fee_threshold_sat,
            min_interval: u8::try_from(self.config.min_interval.as_secs()).unwrap_or(u8::MAX),
            told,
            say,
            stop: stop.clone(),
        };
        // From here on the thread ends when this guard does.
        let stop = stop.drop_guard();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(SourceError::Connect)?;
        let spawned = thread::Builder::new().name("bitcoin-core".to_owned()).spawn(move || {
            LocalSet::new().block_on(&runtime, line.run(ready));
            // What the crate still has running ends with the runtime. Nobody waits if the pool has given up.
            drop(runtime);
            let _ = end.send(());
        });
        spawned.map_err(SourceError::Connect)?;
        within("connecting", STEP, connected)
            .await?
            .map_err(|_| SourceError::Closed)?
            .map_err(SourceError::Core)?;
        let constraints = TemplateDistributionOwned::CoinbaseOutputConstraints(self.constraints);
        tell.send(constraints).await.map_err(|_| SourceError::Closed)?;
        Ok(Connection {
            tell,
            said,
            stop,
            ended,
        })
    }
}

/// The thread's end of a connection.
struct Line {
    socket: PathBuf,
    version: BitcoinCoreVersion,
    fee_threshold: u64,
    min_interval: u8,
    told: Receiver<TemplateDistributionOwned>,
    say: Sender<TemplateDistributionOwned>,
    stop: CancellationToken,
}

impl Line {
    async fn run(self, ready: oneshot::Sender<Result<(), String>>) {
        let stop = self.stop.clone();
        let connecting = template_distribution_protocol::new(
            self.version,
            &self.socket,
            self.fee_threshold,
            self.min_interval,
            self.told,
            self.say,
            // The crate cancels it too, when the node is gone.
            stop.clone(),
        );
        let connected = tokio::select! {
            () = stop.cancelled() => return,
            connected = connecting => connected,
        };
        let mut node = match connected {
            Ok(node) => node,
            Err(error) => {
                // Nobody reads it if the pool has given up meanwhile.
                let _ = ready.send(Err(error.to_string()));
                return;
            }
        };
        if ready.send(Ok(())).is_err() {
            return;
        }
        let given_up = async {
            stop.cancelled().await;
            sleep(GOODBYE).await;
        };
        tokio::select! {
            () = node.run() => {}
            () = given_up => warn!("Bitcoin Core does not answer the goodbye"),
        }
    }
}

/// The pool's end of a connection.
pub(super) struct Connection {
    tell: Sender<TemplateDistributionOwned>,
    said: Receiver<TemplateDistributionOwned>,
    stop: DropGuard,
    ended: oneshot::Receiver<()>,
}

impl Peer for Connection {
    async fn next(&mut self) -> Result<Said, SourceError> {
        match self.said.recv().await {
            Ok(TemplateDistributionOwned::NewTemplate(template)) => Ok(Said::Template(template)),
            Ok(TemplateDistributionOwned::SetNewPrevHash(tip)) => Ok(Said::Tip(tip)),
            Ok(_) => Ok(Said::Other),
            Err(async_channel::RecvError) => Err(SourceError::Closed),
        }
    }

    async fn submit(&mut self, solution: SubmitSolutionOwned) -> Result<(), SourceError> {
        let telling = self.tell.send(TemplateDistributionOwned::SubmitSolution(solution));
        let told = within("handing a block over", STEP, telling).await?;
        told.map_err(|_| SourceError::Closed)
    }

    async fn close(self) {
        drop(self.stop);
        // The error says that the thread has panicked, which it has told itself.
        if timeout(GOODBYE + GOODBYE, self.ended).await.is_err() {
            warn!("the connection to Bitcoin Core does not end; its thread is left behind");
        }
    }
}
