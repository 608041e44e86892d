//! The Noise NX handshake of SV2 at both ends, and the connection that comes out of it.
//!
//! Both messages have a fixed size (64 and 234 bytes), so they are read exactly, before any framing. Their hash is kept:
//! it binds whatever is signed with it to this connection. Callers set the deadline.

use std::{io, sync::Arc, time::Duration};

use bitcoin::hashes::{Hash, HashEngine, sha256};
use codec_sv2::{Handshake, Transport};
use noise_sv2::{ELLSWIFT_ENCODING_SIZE, INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE, Initiator, Responder};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::codec::{FramedRead, FramedWrite};

use crate::{
    codec::{FrameDecoder, FrameEncoder, FrameReader, FrameWriter},
    keys::{AuthorityKeypair, AuthorityPublicKey},
    traffic::Traffic,
};

/// A connection after the handshake: two independent halves, and what was said to get there.
pub struct Secured<S> {
    /// Frames from the peer.
    pub reader: FrameReader<S>,
    /// Frames to the peer.
    pub writer: FrameWriter<S>,
    /// Binds a signature to this connection.
    pub transcript: Transcript,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection failed.
    #[error("connection: {0}")]
    Io(io::Error),
    /// The peer closed the connection in the middle of it.
    #[error("the peer closed the connection during the handshake")]
    Closed,
    /// The peer holds another authority key than the one pinned here.
    #[error("the peer does not hold the pinned authority key")]
    WrongAuthority,
    /// The peer speaks something else, or to somebody else.
    #[error("Noise handshake failed: {0}")]
    Refused(String),
}

/// SHA256(first ‖ second handshake message) of one connection: the same at both ends, and never twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transcript([u8; 32]);

impl Transcript {
    /// The transcript of a connection with these handshake messages.
    #[must_use]
    pub fn new(first: &[u8], second: &[u8]) -> Self {
        let mut engine = sha256::Hash::engine();
        engine.input(first);
        engine.input(second);
        Self(sha256::Hash::from_engine(engine).to_byte_array())
    }

    /// The hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// How many bytes of frames gather before a write goes out unasked: a batch of quote answers fits.
const WRITE_BOUNDARY: usize = 64 * 1024;

/// The end that dials: speaks first and accepts only a peer that holds `authority`.
///
/// # Errors
/// [`HandshakeError`]; the stream is of no use any more.
pub async fn initiate<S>(
    stream: S,
    authority: AuthorityPublicKey,
    traffic: Arc<Traffic>,
) -> Result<Secured<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let initiator = Initiator::from_raw_k(authority.to_bytes())
        .map_err(|_| HandshakeError::Refused("no authority key".to_owned()))?;
    dial(stream, initiator, traffic).await
}

/// As [`initiate`], but accepts whoever answers: encrypted, yet with anybody in between. For a peer on this machine only.
///
/// # Errors
/// [`HandshakeError`]; the stream is of no use any more.
pub async fn initiate_unpinned<S>(stream: S, traffic: Arc<Traffic>) -> Result<Secured<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    dial(stream, Initiator::new(None), traffic).await
}

async fn dial<S>(mut stream: S, initiator: Box<Initiator>, traffic: Arc<Traffic>) -> Result<Secured<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (first, sent) = Handshake::initiator(initiator).step_0().map_err(refused)?;
    stream.write_all(first.payload()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut second = [0; INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE];
    stream.read_exact(&mut second).await.map_err(broken)?;
    let transport = sent.step_2(second).map_err(refused)?;
    let transcript = Transcript::new(first.payload(), &second);
    Ok(secured(stream, transport, transcript, traffic))
}

/// The end that listens: answers with a certificate of `authority` that is valid for `validity` from now (at most 2^32 - 1 s).
///
/// # Errors
/// [`HandshakeError`]; the stream is of no use any more.
pub async fn respond<S>(
    mut stream: S,
    authority: &AuthorityKeypair,
    validity: Duration,
    traffic: Arc<Traffic>,
) -> Result<Secured<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut first = [0; ELLSWIFT_ENCODING_SIZE];
    stream.read_exact(&mut first).await.map_err(broken)?;
    let validity = validity.min(Duration::from_secs(u32::MAX.into()));
    let public = authority.public().to_bytes();
    let responder = Responder::from_authority_kp(&public, &authority.secret_bytes(), validity)
        .map_err(|_| HandshakeError::Refused("no authority key".to_owned()))?;
    let (second, transport) = Handshake::responder(responder).step_1(first).map_err(refused)?;
    stream.write_all(second.payload()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let transcript = Transcript::new(&first, second.payload());
    Ok(secured(stream, transport, transcript, traffic))
}

fn secured<S: AsyncRead + AsyncWrite>(
    stream: S,
    transport: Transport,
    transcript: Transcript,
    traffic: Arc<Traffic>,
) -> Secured<S> {
    let (encrypt, decrypt) = transport.split();
    let (read, write) = tokio::io::split(stream);
    let mut writer = FramedWrite::new(write, FrameEncoder::new(encrypt, Arc::clone(&traffic)));
    writer.set_backpressure_boundary(WRITE_BOUNDARY);
    Secured {
        reader: FramedRead::new(read, FrameDecoder::new(decrypt, traffic)),
        writer,
        transcript,
    }
}

fn broken(error: io::Error) -> HandshakeError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => HandshakeError::Closed,
        _ => HandshakeError::Io(error),
    }
}

fn refused(error: codec_sv2::Error) -> HandshakeError {
    match error {
        // A certificate that the pinned key has not signed: another peer, or one in between.
        codec_sv2::Error::NoiseSv2Error(noise_sv2::Error::InvalidCertificate(_)) => HandshakeError::WrongAuthority,
        codec_sv2::Error::NoiseSv2Error(noise_sv2::Error::Aead(_)) | codec_sv2::Error::AeadError(_) => {
            HandshakeError::Refused("the peer's message does not decrypt".to_owned())
        }
        other => HandshakeError::Refused(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
