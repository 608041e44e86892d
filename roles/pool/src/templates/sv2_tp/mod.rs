//! The SV2 template provider, `sv2-tp` or any other: a client of the Template Distribution Protocol over Noise (SV2
//! specification, section 7).
//!
//! It dials for ever. While the provider is away its last work is served on, and blocks that miners find wait; once it is
//! back and has told its tip, those that still build on it are sent. A block is sent again after each reconnect until the
//! tip moves on, for the protocol has no answer that would say that it has arrived.

mod blocks;
mod session;
mod setup;

use std::sync::Arc;
use std::time::Duration;

use sv2_transport::{
    Backoff, CodecError, Connector, HandshakeError, Secured, Tcp, Traffic, initiate, initiate_unpinned,
};
use template_distribution_sv2::{CoinbaseOutputConstraints, SubmitSolutionOwned};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::blocks::Blocks;
use self::session::Session;
use super::board::{Board, Violation};
use super::config::Sv2TpSection;

/// Why a session with the provider ended, or never began.
#[derive(Debug, thiserror::Error)]
enum SessionError {
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
    #[error("it chose version {0}, wanted is {version}", version = setup::VERSION)]
    Version(u16),
    #[error("it answered the setup with message {0:#04x}")]
    NoAnswer(u8),
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

impl From<binary_sv2::Error> for SessionError {
    fn from(error: binary_sv2::Error) -> Self {
        Self::Violation(error.into())
    }
}

/// The client of one provider.
pub(super) struct Client {
    config: Sv2TpSection,
    constraints: CoinbaseOutputConstraints,
    board: Board,
    solutions: mpsc::Receiver<SubmitSolutionOwned>,
    blocks: Blocks,
    traffic: Arc<Traffic>,
}

impl Client {
    pub(super) fn new(
        config: Sv2TpSection,
        constraints: CoinbaseOutputConstraints,
        board: Board,
        solutions: mpsc::Receiver<SubmitSolutionOwned>,
    ) -> Self {
        Self {
            config,
            constraints,
            board,
            solutions,
            blocks: Blocks::default(),
            traffic: Arc::default(),
        }
    }

    /// Dials and serves until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new();
        while !stop.is_cancelled() {
            let (error, worked) = self.attempt(&stop).await;
            if matches!(error, SessionError::Stopped) {
                break;
            }
            self.board.shared().away(error.to_string());
            let wait = backoff.after(worked);
            warn!(provider = %self.config.address, ?worked, ?wait, "no template provider: {error}");
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(wait) => {}
            }
        }
    }

    /// One connection, from the dial to its end: why it ended, and for how long it worked if it came to that.
    async fn attempt(&mut self, stop: &CancellationToken) -> (SessionError, Option<Duration>) {
        let connected = tokio::select! {
            biased;
            () = stop.cancelled() => Err(SessionError::Stopped),
            connected = self.connect() => connected,
        };
        let secured = match connected {
            Ok(secured) => secured,
            Err(error) => return (error, None),
        };
        info!(provider = %self.config.address, "template provider connected");
        self.board.connected();
        self.blocks.reconnected();
        let began = Instant::now();
        let session = Session {
            reader: secured.reader,
            writer: secured.writer,
            board: &mut self.board,
            solutions: &mut self.solutions,
            blocks: &mut self.blocks,
            step_timeout: self.config.step_timeout,
            silence_timeout: self.config.silence_timeout,
        };
        (session.serve(stop).await, Some(began.elapsed()))
    }

    /// Everything up to the first template, each step within its deadline.
    async fn connect(&self) -> Result<Secured<<Tcp as Connector>::Stream>, SessionError> {
        let address = self.config.address.as_str();
        let (stream, peer) = self
            .within("connecting", Tcp.connect(address))
            .await?
            .map_err(SessionError::Connect)?;
        let traffic = Arc::clone(&self.traffic);
        let mut secured = match self.config.authority_key {
            Some(key) => self.within("the handshake", initiate(stream, key, traffic)).await??,
            None if peer.ip().is_loopback() => {
                self.within("the handshake", initiate_unpinned(stream, traffic))
                    .await??
            }
            None => return Err(SessionError::Unpinned(peer)),
        };
        self.within("the setup", setup::set_up(&mut secured, address, self.constraints))
            .await??;
        Ok(secured)
    }

    async fn within<T>(&self, step: &'static str, doing: impl Future<Output = T>) -> Result<T, SessionError> {
        let after = self.config.step_timeout;
        let done = timeout(after, doing).await;
        done.map_err(|_| SessionError::Deadline { step, after })
    }
}
