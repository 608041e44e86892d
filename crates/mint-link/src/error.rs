//! Why a message is dropped, and why a session ends.

use std::{fmt, time::Duration};

use sv2_transport::{AuthorityPublicKey, CodecError, Evicted, HandshakeError};

use crate::{MintPublicKey, proof::ProofError};

/// A message that is not what its type says. It is counted and dropped; the session goes on (P10).
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends before its last field, or a field exceeds its bound.
    #[error("fields don't fit: {0:?}")]
    Fields(binary_sv2::Error),
    /// A type that the extension does not have.
    #[error("message type {0:#04x} does not exist")]
    Type(u8),
    /// A text that is not UTF-8.
    #[error("a text that is not UTF-8")]
    Text,
    /// A refusal that must tell its hash and doesn't.
    #[error("a refusal without its hash")]
    Uncorrelated,
}

impl From<binary_sv2::Error> for Malformed {
    fn from(error: binary_sv2::Error) -> Self {
        Self::Fields(error)
    }
}

/// A step of a session that has a deadline. Prints as what an operator is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// DNS and TCP.
    Connect,
    /// The Noise handshake.
    Handshake,
    /// SetupConnection and its answer.
    Setup,
    /// Negotiation of the extensions.
    Negotiation,
    /// The mint's proof.
    Proof,
    /// A write that the peer does not read.
    Write,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Handshake => "the Noise handshake",
            Self::Setup => "SetupConnection",
            Self::Negotiation => "the negotiation of extensions",
            Self::Proof => "the mint's proof",
            Self::Write => "a write that the peer does not read",
        })
    }
}

/// Why a session ended, or never began.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Name lookup or TCP failed.
    #[error("can't connect: {0}")]
    Connect(std::io::Error),
    /// A step took longer than its deadline.
    #[error("{step} took longer than {after:?}")]
    Deadline {
        /// Which step.
        step: Step,
        /// Its deadline.
        after: Duration,
    },
    /// The Noise handshake failed for its form: the peer speaks something else, or to somebody else.
    #[error("Noise handshake failed: {0}")]
    Handshake(String),
    /// The pool holds another authority key than this one, which is pinned here.
    #[error(
        "the pool does not hold the pinned authority key {0}: compare authority_key in [[pools]] with what \
         `pool --print-authority-key` shows"
    )]
    WrongAuthority(AuthorityPublicKey),
    /// The mint was answered in the handshake, by a pool with this authority key, and has gone without a word.
    #[error(
        "the peer closed the connection without a word after it was answered in the handshake: a mint does so that has \
         pinned another authority key than this pool's {0}, or that gave up waiting for the answer"
    )]
    ClosedAfterHandshake(AuthorityPublicKey),
    /// The pool has seen the proof of this mint, whose key this is, and closed without a word.
    #[error(
        "the pool closed the connection right after this mint's proof: the pool may not list this mint's key {0} (see \
         mint_link.mint_public_keys in the pool's configuration), or another mint with the same key works there"
    )]
    ClosedAfterProof(MintPublicKey),
    /// The peer closed the connection.
    #[error("the peer closed the connection during {0}")]
    ClosedDuring(Step),
    /// The peer closed the connection of a working session.
    #[error("the peer closed the connection")]
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
    /// The mint's SetupConnection was refused with this code.
    #[error("refused the setup: {0}")]
    SetupUnacceptable(&'static str),
    /// The peer can't prove to be a mint, and such mints are not allowed here.
    #[error("the mint negotiates no proof, and mint_link.allow_legacy_mint is off")]
    LegacyRefused,
    /// The proof does not hold.
    #[error("the mint's proof fails: {0}")]
    BadProof(ProofError),
    /// The proof holds, for a key that is not listed, or no longer.
    #[error("the mint's key {0} is not in mint_link.mint_public_keys")]
    NotListed(MintPublicKey),
    /// The peer says nothing, or does not answer, for longer than it may.
    #[error("the peer has been silent for {after:?}: it is out of reach, or its program hangs")]
    Silent {
        /// How long it may be.
        after: Duration,
    },
    /// A newer ready session took over.
    #[error("a newer session of a mint took over")]
    Replaced,
    /// Another run of a mint took over from the run of this session before, and works.
    #[error(
        "another mint took over from this one, and works: two mints run with one seed, or the older one was not stopped"
    )]
    Displaced,
    /// All places were taken, and this peer had not been admitted yet.
    #[error(transparent)]
    Evicted(#[from] Evicted),
    /// The other part of this role that the session works for is gone.
    #[error("nobody here serves this session any more")]
    Unserved,
    /// This end stops, in order.
    #[error("stopped")]
    Stopped,
}

impl LinkError {
    /// A handshake that failed, of a pool with this authority key or with one where it was expected.
    pub(crate) fn handshake(error: HandshakeError, authority: AuthorityPublicKey) -> Self {
        match error {
            HandshakeError::Io(error) => Self::Codec(CodecError::Io(error)),
            HandshakeError::Closed => Self::ClosedDuring(Step::Handshake),
            HandshakeError::WrongAuthority => Self::WrongAuthority(authority),
            HandshakeError::Refused(why) => Self::Handshake(why),
        }
    }

    /// Whether the connection of a session is simply gone, for whatever reason the peer or the network had.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Closed | Self::Codec(CodecError::Io(_)))
    }

    /// Whether the pool does not want this mint, as opposed to: can't talk to it.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::LegacyRefused
                | Self::BadProof(_)
                | Self::NotListed(_)
                | Self::Displaced
                | Self::Deadline { step: Step::Proof, .. }
        )
    }

    /// The reason as a metric's label.
    pub fn reason(&self) -> FailureReason {
        match self {
            Self::Connect(_) => FailureReason::Connect,
            Self::Deadline { step, .. } => FailureReason::Deadline(*step),
            Self::Handshake(_) => FailureReason::Handshake,
            Self::WrongAuthority(_) => FailureReason::WrongAuthority,
            Self::ClosedDuring(_) | Self::ClosedAfterHandshake(_) => FailureReason::ClosedEarly,
            Self::ClosedAfterProof(_) => FailureReason::ClosedAfterProof,
            Self::Closed => FailureReason::Closed,
            Self::Codec(CodecError::Io(_)) => FailureReason::Connection,
            Self::Codec(CodecError::TooLarge) => FailureReason::FrameTooLarge,
            Self::Codec(_) => FailureReason::Undecryptable,
            Self::SetupRefused(_) | Self::Version(_) | Self::SetupUnacceptable(_) => FailureReason::Setup,
            Self::LegacyRefused => FailureReason::LegacyRefused,
            Self::BadProof(_) => FailureReason::BadProof,
            Self::NotListed(_) => FailureReason::NotListed,
            Self::Silent { .. } => FailureReason::Silent,
            Self::Replaced => FailureReason::Replaced,
            Self::Displaced => FailureReason::Displaced,
            Self::Evicted(_) => FailureReason::Evicted,
            Self::Unserved | Self::Stopped => FailureReason::Stopped,
        }
    }
}

/// Why sessions ended, as far as a metric tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants are those of LinkError, coarser")]
pub enum FailureReason {
    Connect,
    Deadline(Step),
    Handshake,
    WrongAuthority,
    ClosedEarly,
    ClosedAfterProof,
    Closed,
    Connection,
    FrameTooLarge,
    Undecryptable,
    Setup,
    LegacyRefused,
    BadProof,
    NotListed,
    Silent,
    Replaced,
    Displaced,
    Evicted,
    Stopped,
}

impl FailureReason {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::Connect,
        Self::Deadline(Step::Connect),
        Self::Deadline(Step::Handshake),
        Self::Deadline(Step::Setup),
        Self::Deadline(Step::Negotiation),
        Self::Deadline(Step::Proof),
        Self::Deadline(Step::Write),
        Self::Handshake,
        Self::WrongAuthority,
        Self::ClosedEarly,
        Self::ClosedAfterProof,
        Self::Closed,
        Self::Connection,
        Self::FrameTooLarge,
        Self::Undecryptable,
        Self::Setup,
        Self::LegacyRefused,
        Self::BadProof,
        Self::NotListed,
        Self::Silent,
        Self::Replaced,
        Self::Displaced,
        Self::Evicted,
        Self::Stopped,
    ];

    /// Whether it will go on until somebody changes a configuration.
    pub(crate) const fn needs_somebody(self) -> bool {
        matches!(
            self,
            Self::WrongAuthority
                | Self::ClosedAfterProof
                | Self::Setup
                | Self::LegacyRefused
                | Self::BadProof
                | Self::NotListed
        )
    }

    /// The label in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Deadline(Step::Connect) => "deadline_connect",
            Self::Deadline(Step::Handshake) => "deadline_handshake",
            Self::Deadline(Step::Setup) => "deadline_setup",
            Self::Deadline(Step::Negotiation) => "deadline_negotiation",
            Self::Deadline(Step::Proof) => "deadline_proof",
            Self::Deadline(Step::Write) => "deadline_write",
            Self::Handshake => "handshake",
            Self::WrongAuthority => "wrong_authority",
            Self::ClosedEarly => "closed_early",
            Self::ClosedAfterProof => "closed_after_proof",
            Self::Closed => "closed",
            Self::Connection => "connection",
            Self::FrameTooLarge => "frame_too_large",
            Self::Undecryptable => "undecryptable",
            Self::Setup => "setup",
            Self::LegacyRefused => "legacy_refused",
            Self::BadProof => "bad_proof",
            Self::NotListed => "not_listed",
            Self::Silent => "silent",
            Self::Replaced => "replaced",
            Self::Displaced => "displaced",
            Self::Evicted => "evicted",
            Self::Stopped => "stopped",
        }
    }
}

/// `step` within `after`.
pub(crate) async fn within<T>(step: Step, after: Duration, doing: impl Future<Output = T>) -> Result<T, LinkError> {
    tokio::time::timeout(after, doing)
        .await
        .map_err(|_| LinkError::Deadline { step, after })
}
