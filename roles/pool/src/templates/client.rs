//! A source in another process: dialled for ever, whatever becomes of it.
//!
//! While it is away its last work is served on, and blocks that miners find wait; once it is back and has told its tip,
//! those that still build on it are sent. How it is dialled and what carries its messages is the business of a [`Dial`]
//! and of the [`Peer`] that it gives.

use std::time::Duration;

use sv2_transport::{Backoff, CodecError, HandshakeError};
use template_distribution_sv2::{NewTemplateOwned, SetNewPrevHashOwned, SubmitSolutionOwned};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::blocks::Blocks;
use super::board::{Board, Violation};
use super::session::Session;

/// Why a session with a source ended, or never began.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("can't connect: {0}")]
    Connect(std::io::Error),
    #[error("{step} not done within {after:?}")]
    Deadline { step: &'static str, after: Duration },
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("{0} is not this machine, and no templates.sv2_tp.authority_key is configured to know it by")]
    Unpinned(std::net::SocketAddr),
    #[error("it refused the setup: {0}")]
    Refused(String),
    #[error("it chose version {0}, wanted is 2")]
    Version(u16),
    #[error("it answered the setup with message {0:#04x}")]
    NoAnswer(u8),
    #[cfg(feature = "bitcoin-core")]
    #[error("{0}")]
    Core(String),
    #[error("it closed the connection")]
    Closed,
    #[error("it has said nothing for {0:?}")]
    Silent(Duration),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("it broke the protocol: {0}")]
    Violation(#[from] Violation),
    #[error("stopped")]
    Stopped,
}

impl From<binary_sv2::Error> for SourceError {
    fn from(error: binary_sv2::Error) -> Self {
        Self::Violation(error.into())
    }
}

/// Makes connections to a source.
pub(super) trait Dial: Send + Sync + 'static {
    /// A connection that has told how much room the pool needs in the coinbase transaction.
    type Peer: Peer;

    /// Where it dials, for the log.
    fn target(&self) -> String;

    /// How long a connection may say nothing, if that tells anything.
    fn silence_timeout(&self) -> Option<Duration>;

    /// Connects and sets up, each step within a deadline.
    fn dial(&self) -> impl Future<Output = Result<Self::Peer, SourceError>> + Send;
}

/// A connection to a source.
pub(super) trait Peer: Send {
    /// The next message. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Result<Said, SourceError>> + Send;

    /// Hands a block over, within a deadline. Its template id is the source's.
    fn submit(&mut self, solution: SubmitSolutionOwned) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Ends the connection in order, within a deadline.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// What a source says.
#[derive(Debug)]
pub(super) enum Said {
    Template(NewTemplateOwned),
    Tip(SetNewPrevHashOwned),
    /// Something that the pool has no use for.
    Other,
}

/// The client of one source.
pub(super) struct Client<D> {
    dialler: D,
    board: Board,
    solutions: mpsc::Receiver<SubmitSolutionOwned>,
    blocks: Blocks,
}

impl<D: Dial> Client<D> {
    pub(super) fn new(dialler: D, board: Board, solutions: mpsc::Receiver<SubmitSolutionOwned>) -> Self {
        Self {
            dialler,
            board,
            solutions,
            blocks: Blocks::default(),
        }
    }

    /// Dials and serves until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new();
        while !stop.is_cancelled() {
            let (error, worked) = self.attempt(&stop).await;
            if matches!(error, SourceError::Stopped) {
                break;
            }
            self.board.shared().away(error.to_string());
            let wait = backoff.after(worked);
            let source = self.dialler.target();
            warn!(source, ?worked, ?wait, "the source of templates is away: {error}");
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(wait) => {}
            }
        }
    }

    /// One connection, from the dial to its end: why it ended, and for how long it worked if it came to that.
    async fn attempt(&mut self, stop: &CancellationToken) -> (SourceError, Option<Duration>) {
        let dialled = tokio::select! {
            biased;
            () = stop.cancelled() => Err(SourceError::Stopped),
            dialled = self.dialler.dial() => dialled,
        };
        let mut peer = match dialled {
            Ok(peer) => peer,
            Err(error) => return (error, None),
        };
        info!(source = self.dialler.target(), "connected to the source of templates");
        self.board.connected();
        self.blocks.reconnected();
        let began = Instant::now();
        let session = Session {
            peer: &mut peer,
            board: &mut self.board,
            solutions: &mut self.solutions,
            blocks: &mut self.blocks,
            silence_timeout: self.dialler.silence_timeout(),
        };
        let error = session.serve(stop).await;
        peer.close().await;
        (error, Some(began.elapsed()))
    }
}

/// `step` within `after`.
pub(super) async fn within<T>(
    step: &'static str,
    after: Duration,
    doing: impl Future<Output = T>,
) -> Result<T, SourceError> {
    let done = timeout(after, doing).await;
    done.map_err(|_| SourceError::Deadline { step, after })
}
