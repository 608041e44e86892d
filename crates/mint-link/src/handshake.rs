//! The Noise NX handshake of SV2 at both ends, and the connection that comes out of it.
//!
//! Both messages have a fixed size (64 and 234 bytes), so they are read exactly, before any framing. Their hash is kept:
//! it binds the mint's proof to this connection. Callers set the deadline.

use std::{io, sync::Arc, time::Duration};

use codec_sv2::{Handshake, Transport};
use noise_sv2::{ELLSWIFT_ENCODING_SIZE, INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE, Initiator, Responder};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::codec::{FramedRead, FramedWrite};

use crate::{
    codec::{CodecError, FrameDecoder, FrameEncoder, FrameReader, FrameWriter},
    error::{LinkError, Step},
    keys::{AuthorityKeypair, AuthorityPublicKey},
    metrics::LinkMetrics,
    proof::Transcript,
};

/// A connection after the handshake: two independent halves, and what was said to get there.
pub struct Secured<S> {
    /// Frames from the peer.
    pub reader: FrameReader<S>,
    /// Frames to the peer.
    pub writer: FrameWriter<S>,
    /// Binds a [`crate::MintProof`] to this connection.
    pub transcript: Transcript,
}

/// How many bytes of frames gather before a write goes out unasked: a batch of quote answers fits.
const WRITE_BOUNDARY: usize = 64 * 1024;

/// The mint's end: speaks first and accepts only a pool that holds `authority`.
pub async fn initiate<S>(
    mut stream: S,
    authority: AuthorityPublicKey,
    metrics: Arc<LinkMetrics>,
) -> Result<Secured<S>, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let initiator =
        Initiator::from_raw_k(authority.to_bytes()).map_err(|_| LinkError::Handshake("no authority key".to_owned()))?;
    let (first, sent) = Handshake::initiator(initiator).step_0().map_err(refused)?;
    stream.write_all(first.payload()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut second = [0; INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE];
    stream.read_exact(&mut second).await.map_err(broken)?;
    let transport = sent.step_2(second).map_err(refused)?;
    let transcript = Transcript::new(first.payload(), &second);
    Ok(secured(stream, transport, transcript, metrics))
}

/// The pool's end: answers with a certificate of `authority` that is valid for `validity` from now (at most 2^32 - 1 s).
pub async fn respond<S>(
    mut stream: S,
    authority: &AuthorityKeypair,
    validity: Duration,
    metrics: Arc<LinkMetrics>,
) -> Result<Secured<S>, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut first = [0; ELLSWIFT_ENCODING_SIZE];
    stream.read_exact(&mut first).await.map_err(broken)?;
    let validity = validity.min(Duration::from_secs(u32::MAX.into()));
    let public = authority.public().to_bytes();
    let responder = Responder::from_authority_kp(&public, &authority.secret_bytes(), validity)
        .map_err(|_| LinkError::Handshake("no authority key".to_owned()))?;
    let (second, transport) = Handshake::responder(responder).step_1(first).map_err(refused)?;
    stream.write_all(second.payload()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let transcript = Transcript::new(&first, second.payload());
    Ok(secured(stream, transport, transcript, metrics))
}

fn secured<S: AsyncRead + AsyncWrite>(
    stream: S,
    transport: Transport,
    transcript: Transcript,
    metrics: Arc<LinkMetrics>,
) -> Secured<S> {
    let (encrypt, decrypt) = transport.split();
    let (read, write) = tokio::io::split(stream);
    let mut writer = FramedWrite::new(write, FrameEncoder::new(encrypt, Arc::clone(&metrics)));
    writer.set_backpressure_boundary(WRITE_BOUNDARY);
    Secured {
        reader: FramedRead::new(read, FrameDecoder::new(decrypt, metrics)),
        writer,
        transcript,
    }
}

fn broken(error: io::Error) -> LinkError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => LinkError::ClosedDuring(Step::Handshake),
        _ => LinkError::Codec(CodecError::Io(error)),
    }
}

fn refused(error: codec_sv2::Error) -> LinkError {
    match error {
        // A certificate that the pinned key has not signed: another pool, or one in between.
        codec_sv2::Error::NoiseSv2Error(noise_sv2::Error::InvalidCertificate(_)) => LinkError::WrongAuthority,
        codec_sv2::Error::NoiseSv2Error(noise_sv2::Error::Aead(_)) | codec_sv2::Error::AeadError(_) => {
            LinkError::Handshake("the peer's message does not decrypt".to_owned())
        }
        other => LinkError::Handshake(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
