//! The Noise codec: [`Frame`]s in, ciphertext out, and back, as `tokio_util` codecs over `codec_sv2`.
//!
//! The two directions share nothing after the handshake, so a session reads and writes independently. Both are
//! cancel-safe: a frame is encrypted in one step into the write buffer, and bytes are taken out of the read buffer only
//! in pieces that the decryption can use whole.

use std::{io, sync::Arc};

use bytes::{Buf, BytesMut};
use codec_sv2::{Decrypted, NoiseDecoder, NoiseEncoder, TransportDecryptState, TransportEncryptState};
use tokio::io::{ReadHalf, WriteHalf};
use tokio_util::codec::{Decoder, Encoder, FramedRead, FramedWrite};

use crate::{
    frame::{Frame, MAX_FRAME, MAX_PAYLOAD},
    traffic::Traffic,
};

/// Reads the frames of one direction.
pub type FrameReader<S> = FramedRead<ReadHalf<S>, FrameDecoder>;
/// Writes the frames of one direction.
pub type FrameWriter<S> = FramedWrite<WriteHalf<S>, FrameEncoder>;

/// Why a stream of frames can't go on. After any of these the session is over.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The connection failed.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// A frame above [`MAX_FRAME`], from the peer or from here.
    #[error("a frame above {MAX_FRAME} bytes")]
    TooLarge,
    /// What came does not decrypt: it was not encrypted for this connection, or was tampered with.
    #[error("a frame that does not decrypt")]
    Undecryptable,
    /// Encryption failed; after 2^64 frames.
    #[error("a frame that can't be encrypted")]
    Unencryptable,
}

/// Encrypts frames. Counts what it writes.
pub struct FrameEncoder {
    noise: NoiseEncoder,
    state: TransportEncryptState,
    traffic: Arc<Traffic>,
}

/// Decrypts frames within [`MAX_FRAME`]. Counts what it reads.
pub struct FrameDecoder {
    noise: NoiseDecoder,
    /// `None` after an error: the cipher's nonce no longer follows the stream.
    state: Option<TransportDecryptState>,
    /// How often the frame at hand has been found incomplete.
    rounds: u8,
    traffic: Arc<Traffic>,
}

/// Noise encrypts a payload in chunks of this many bytes at most, with a MAC in each.
const CHUNK: usize = framing_sv2::SV2_FRAME_CHUNK_SIZE;
/// What the largest payload still lacks after its first full chunk; it takes two chunks.
const LARGEST_REST: usize = MAX_PAYLOAD + 2 * noise_sv2::AEAD_MAC_LEN - CHUNK;

impl FrameEncoder {
    pub(crate) fn new(state: TransportEncryptState, traffic: Arc<Traffic>) -> Self {
        Self {
            noise: NoiseEncoder::new(),
            state,
            traffic,
        }
    }
}

impl Encoder<Frame> for FrameEncoder {
    type Error = CodecError;

    fn encode(&mut self, frame: Frame, target: &mut BytesMut) -> Result<(), CodecError> {
        if frame.payload.len() > MAX_PAYLOAD {
            return Err(CodecError::TooLarge);
        }
        let ciphertext = self
            .noise
            .encode_transport(&frame, &mut self.state)
            .map_err(|_| CodecError::Unencryptable)?;
        let ciphertext: &[u8] = ciphertext.as_ref();
        target.extend_from_slice(ciphertext);
        self.traffic.wrote(ciphertext.len());
        Ok(())
    }
}

impl FrameDecoder {
    pub(crate) fn new(state: TransportDecryptState, traffic: Arc<Traffic>) -> Self {
        Self {
            noise: NoiseDecoder::new(),
            state: Some(state),
            rounds: 0,
            traffic,
        }
    }

    /// One step with the bytes that `noise` has: a frame, or `None` if it wants more of them.
    fn step(&mut self) -> Result<Option<Frame>, CodecError> {
        let state = self.state.take().ok_or(CodecError::Undecryptable)?;
        let decrypted = self.noise.next_transport_frame(state);
        match decrypted.map_err(|_| CodecError::Undecryptable)? {
            Decrypted::Frame(frame, state) => {
                self.state = Some(state);
                self.rounds = 0;
                let frame = Frame::from_bytes(frame.as_bytes()).ok_or(CodecError::TooLarge)?;
                Ok(Some(frame))
            }
            Decrypted::Incomplete(missing, state) => {
                // The first round has read the header, the second the payload's first chunk. `missing` never tells
                // more than a chunk, so that is the first moment at which a payload can be seen to be too large: by
                // then it holds one chunk of memory, and the peer has sent as much.
                self.rounds += 1;
                if self.rounds > 2 || (self.rounds == 2 && missing > LARGEST_REST) {
                    return Err(CodecError::TooLarge);
                }
                self.state = Some(state);
                Ok(None)
            }
        }
    }
}

impl Decoder for FrameDecoder {
    type Item = Frame;
    type Error = CodecError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Frame>, CodecError> {
        if self.state.is_none() {
            return Err(CodecError::Undecryptable);
        }
        loop {
            let wanted = self.noise.writable_len();
            let Some(bytes) = source.get(..wanted) else {
                source.reserve(wanted - source.len());
                return Ok(None);
            };
            self.noise.writable().copy_from_slice(bytes);
            source.advance(wanted);
            self.traffic.read_bytes(wanted);
            if let Some(frame) = self.step()? {
                self.traffic.read_frame();
                return Ok(Some(frame));
            }
        }
    }
}

#[cfg(test)]
mod tests;
