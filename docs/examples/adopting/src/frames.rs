//! Payload bytes to frames of `codec_sv2` 5, and back.

use binary_sv2::{GetSize, Serialize};
use codec_sv2::StandardSv2Frame;

/// Extension type, message type, length: SV2, section 3.2.
const HEADER: usize = 6;

/// A message, in or out of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The extension that it belongs to, without the bit that says "for a channel".
    pub extension: u16,
    /// Its number within that extension. Never look at it alone: `RequestExtensions` is 0x00 as `SetupConnection` is.
    pub message_type: u8,
    /// All after the header.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// What is in a frame that has been received.
    ///
    /// # Panics
    /// If the frame was made by `from_message` and never encoded. One out of a decoder is always fine.
    pub fn of<T: Serialize + GetSize>(frame: &'a mut StandardSv2Frame<T>) -> Option<Self> {
        let header = frame.get_header()?;
        Some(Self {
            extension: header.ext_type_without_channel_msg(),
            message_type: header.msg_type(),
            payload: frame.payload(),
        })
    }

    /// A frame around it, for a connection whose messages are of any type `T`: the bytes are made already, so `T` need
    /// not know of them. `None` if the payload is longer than a frame can say, 2^24 - 1 bytes.
    ///
    /// With `codec_sv2`'s feature `with_buffer_pool` a frame holds a `buffer_sv2::Slice`: write `bytes.into()` then.
    #[must_use]
    pub fn frame<T: Serialize + GetSize>(self) -> Option<StandardSv2Frame<T>> {
        let [a, b, c, 0] = u32::try_from(self.payload.len()).ok()?.to_le_bytes() else {
            return None;
        };
        let mut bytes = Vec::with_capacity(HEADER + self.payload.len());
        bytes.extend_from_slice(&self.extension.to_le_bytes());
        bytes.extend_from_slice(&[self.message_type, a, b, c]);
        bytes.extend_from_slice(self.payload);
        StandardSv2Frame::from_bytes(bytes).ok()
    }
}
