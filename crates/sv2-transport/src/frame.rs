//! One SV2 frame in the clear: what the codec takes and gives, and all that the rest of the crate sees of framing.
//!
//! On the wire a frame is a 6-byte header (extension type with the channel bit, message type, 24-bit length, all
//! little-endian; SV2 specification, section 3.2) and a payload.

use std::fmt;

use framing_sv2::{Error as FramingError, framing::EncodableFrame};

/// Size of a frame's header in bytes.
pub const HEADER: usize = 6;
/// The largest frame that a connection carries, header included: 64 KiB. A larger one ends the session, since Noise can't
/// skip what it has not decrypted (P10).
pub const MAX_FRAME: usize = 65_536;
/// The largest payload in bytes.
pub const MAX_PAYLOAD: usize = MAX_FRAME - HEADER;

const CHANNEL_BIT: u16 = 0x8000;

/// A frame in the clear.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// The extension whose message this is, without the channel bit: 0 to 0x7FFF.
    pub extension_type: u16,
    /// The channel bit: the payload begins with a channel id. (On the mint link it is set on quote messages, though none follows.)
    pub channel_msg: bool,
    /// The message's type within its extension.
    pub msg_type: u8,
    /// The message, at most [`MAX_PAYLOAD`] bytes.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame without the channel bit.
    pub fn new(extension_type: u16, msg_type: u8, payload: Vec<u8>) -> Self {
        Self {
            extension_type: extension_type & !CHANNEL_BIT,
            channel_msg: false,
            msg_type,
            payload,
        }
    }

    /// Size on the wire before encryption, in bytes.
    pub fn size(&self) -> usize {
        HEADER + self.payload.len()
    }

    /// The whole frame, header and payload. `None` if the payload exceeds [`MAX_PAYLOAD`].
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; self.size()];
        self.write_into(&mut bytes)?;
        Some(bytes)
    }

    /// Reads one whole frame; `None` unless `bytes` is exactly one frame within [`MAX_FRAME`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[e0, e1, msg_type, l0, l1, l2], payload) = bytes.split_first_chunk::<HEADER>()?;
        let length = u32::from_le_bytes([l0, l1, l2, 0]);
        if bytes.len() > MAX_FRAME || u32::try_from(payload.len()) != Ok(length) {
            return None;
        }
        let extension = u16::from_le_bytes([e0, e1]);
        Some(Self {
            extension_type: extension & !CHANNEL_BIT,
            channel_msg: extension & CHANNEL_BIT != 0,
            msg_type,
            payload: payload.to_vec(),
        })
    }

    fn write_into(&self, target: &mut [u8]) -> Option<()> {
        if self.payload.len() > MAX_PAYLOAD {
            return None;
        }
        let (header, payload) = target.split_first_chunk_mut::<HEADER>()?;
        let channel_bit = if self.channel_msg { CHANNEL_BIT } else { 0 };
        let [e0, e1] = (self.extension_type & !CHANNEL_BIT | channel_bit).to_le_bytes();
        let [l0, l1, l2, _] = u32::try_from(self.payload.len()).ok()?.to_le_bytes();
        *header = [e0, e1, self.msg_type, l0, l1, l2];
        if payload.len() != self.payload.len() {
            return None;
        }
        payload.copy_from_slice(&self.payload);
        Some(())
    }
}

impl fmt::Debug for Frame {
    /// Without the payload: some are worth money, such as the ids of unlocked quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("extension_type", &format_args!("{:#06x}", self.extension_type))
            .field("channel_msg", &self.channel_msg)
            .field("msg_type", &format_args!("{:#04x}", self.msg_type))
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .finish()
    }
}

impl EncodableFrame for &Frame {
    fn encoded_length(&self) -> usize {
        self.size()
    }

    fn encode_into(self, target: &mut [u8]) -> Result<(), FramingError> {
        self.write_into(target)
            .ok_or(FramingError::PayloadTooLong(self.payload.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_header_and_payload_with_the_channel_bit_on_top() {
        let frame = Frame {
            extension_type: 3,
            channel_msg: true,
            msg_type: 0x80,
            payload: vec![1, 2],
        };
        let bytes = frame.to_bytes().unwrap();
        assert_eq!(bytes, [0x03, 0x80, 0x80, 2, 0, 0, 1, 2]);
        assert_eq!(Frame::from_bytes(&bytes).unwrap(), frame);
    }

    #[test]
    fn only_whole_frames_within_64_kib_are_read_and_written() {
        assert_eq!(Frame::from_bytes(&[0; 5]), None);
        assert_eq!(Frame::from_bytes(&[0, 0, 1, 1, 0, 0]), None);
        assert_eq!(Frame::from_bytes(&[0, 0, 1, 0, 0, 0, 9]), None);
        assert_eq!(
            Frame::new(0, 1, vec![0; MAX_PAYLOAD]).to_bytes().unwrap().len(),
            MAX_FRAME
        );
        assert_eq!(Frame::new(0, 1, vec![0; MAX_PAYLOAD + 1]).to_bytes(), None);
    }

    #[test]
    fn debug_keeps_the_payload_to_itself() {
        let shown = format!("{:?}", Frame::new(0x4D53, 0x84, b"secret".to_vec()));
        assert!(
            shown.contains("0x4d53") && shown.contains("6 bytes") && !shown.contains("115"),
            "{shown}"
        );
    }
}
