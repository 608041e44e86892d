//! Why a session with a pool ended, or never began.

use std::io;
use std::time::Duration;

use mint_link::Malformed;
use sv2_transport::{AuthorityPublicKey, CodecError, HandshakeError};

/// A step of a session that has a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// DNS and TCP.
    Connect,
    /// The Noise handshake.
    Handshake,
    /// SetupConnection and its answer.
    Setup,
    /// The opening of the channel.
    Open,
    /// A write that the pool does not read.
    Write,
}

impl Step {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connecting",
            Self::Handshake => "the handshake",
            Self::Setup => "the setup",
            Self::Open => "opening a channel",
            Self::Write => "a write",
        }
    }
}

/// Why a session with a pool ended, or never began. After any of these the pool is dialled again.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Name lookup or TCP failed.
    #[error("can't connect to {address}: {source}")]
    Connect {
        /// Where to.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A step took longer than its deadline.
    #[error("{} took longer than {after:?}", step.as_str())]
    Deadline {
        /// Which step.
        step: Step,
        /// Its deadline.
        after: Duration,
    },
    /// The peer has presented another authority key than this one, which is pinned here.
    #[error(
        "the peer does not hold the pinned authority key {0}: compare --authority-key with what \
         `pool --print-authority-key` shows"
    )]
    WrongAuthority(AuthorityPublicKey),
    /// The Noise handshake failed.
    #[error(transparent)]
    Handshake(HandshakeError),
    /// The pool closed the connection.
    #[error("the pool closed the connection")]
    Closed,
    /// The stream of frames broke.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The pool refused SetupConnection with this code.
    #[error("the pool refused the setup: {0}")]
    SetupRefused(String),
    /// The pool chose a version other than 2.
    #[error("the pool chose version {0}, wanted is 2")]
    Version(u16),
    /// The pool wants extensions that this miner does not know.
    #[error("the pool requires the extensions {0:04x?}")]
    Requires(Vec<u16>),
    /// The pool refused to open a channel with this code.
    #[error("the pool opens no channel: {0}")]
    OpenRefused(String),
    /// The pool closed the channel for this reason.
    #[error("the pool closed the channel: {0}")]
    ChannelClosed(String),
    /// The pool wants to be dialled anew, at this address if it names one.
    #[error("the pool asks to reconnect{}", .0.as_ref().map(|address| format!(" to {address}")).unwrap_or_default())]
    Reconnect(Option<String>),
    /// Nothing came from the pool for this long.
    #[error("the pool said nothing for {0:?}")]
    Silent(Duration),
    /// A message from here that can't be written: a text that is too long.
    #[error("a message can't be written: {0}")]
    Unwritable(#[from] Malformed),
    /// This end stops, in order.
    #[error("stopped")]
    Stopped,
}

impl SessionError {
    /// A handshake that failed, with a pool from which this authority key was expected.
    pub(super) fn handshake(error: HandshakeError, authority: AuthorityPublicKey) -> Self {
        match error {
            HandshakeError::WrongAuthority => Self::WrongAuthority(authority),
            other => Self::Handshake(other),
        }
    }
}

/// `step` within `after`.
pub(super) async fn within<T>(step: Step, after: Duration, doing: impl Future<Output = T>) -> Result<T, SessionError> {
    tokio::time::timeout(after, doing)
        .await
        .map_err(|_| SessionError::Deadline { step, after })
}
