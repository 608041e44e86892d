//! Message 0xC0, pool to miner: a quote is there to be minted. The mining server writes it and the miner reads it, each on
//! its own connection; here is its form, which is hashpool's.

use std::fmt;

use binary_sv2::{Deserialize, Serialize, Str0255, from_bytes, to_bytes};
use sv2_transport::Frame;

use crate::{error::Malformed, messages::text};

/// Message type of [`MintQuoteNotification`].
pub const MINT_QUOTE_NOTIFICATION: u8 = 0xC0;

/// Message 0xC0, pool to miner: the mint has made a paid quote for a share of this channel's locking key.
#[derive(Clone, PartialEq, Eq)]
pub struct MintQuoteNotification {
    /// The miner's channel.
    pub channel_id: u32,
    /// The mint's id of the quote, a UUID; up to 255 bytes.
    pub quote_id: String,
    /// What it is worth, in the unit's smallest denomination.
    pub amount: u64,
}

impl fmt::Debug for MintQuoteNotification {
    /// Without the quote's id, which is between the miner and the mint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MintQuoteNotification")
            .field("channel_id", &self.channel_id)
            .field("amount", &self.amount)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct NotificationFields<'decoder> {
    channel_id: u32,
    quote_id: Str0255<'decoder>,
    amount: u64,
}

impl MintQuoteNotification {
    /// The frame that carries it, with the channel bit: `extension_type` is that of ehash quotes (0x4D51) for a miner that
    /// has negotiated it, and 0 for hashpool's.
    ///
    /// # Errors
    /// [`Malformed`]: a quote id above 255 bytes.
    pub fn to_frame(&self, extension_type: u16) -> Result<Frame, Malformed> {
        let payload = to_bytes(NotificationFields {
            channel_id: self.channel_id,
            quote_id: self.quote_id.as_bytes().try_into()?,
            amount: self.amount,
        })?;
        Ok(Frame {
            channel_msg: true,
            ..Frame::new(extension_type, MINT_QUOTE_NOTIFICATION, payload)
        })
    }

    /// Reads a payload; ignores what follows the fields known here.
    ///
    /// # Errors
    /// [`Malformed`]: cut short, or an id that is no text.
    pub fn decode(mut payload: Vec<u8>) -> Result<Self, Malformed> {
        let fields: NotificationFields<'_> = from_bytes(&mut payload)?;
        Ok(Self {
            channel_id: fields.channel_id,
            quote_id: text(fields.quote_id.as_bytes())?,
            amount: fields.amount,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::vector;

    fn legacy() -> Frame {
        vector("quote-notification-legacy")
    }

    fn notification() -> MintQuoteNotification {
        MintQuoteNotification {
            channel_id: 7,
            quote_id: "01a2027e-a6b6-7fe1-a757-ff6fa6c0c235".to_owned(),
            amount: 8,
        }
    }

    #[test]
    fn vector_of_a_quote_notification() {
        assert_eq!(notification().to_frame(0).unwrap(), legacy());
        assert_eq!(MintQuoteNotification::decode(legacy().payload).unwrap(), notification());
        let negotiated = notification().to_frame(0x4D51).unwrap();
        assert_eq!((negotiated.extension_type, negotiated.channel_msg), (0x4D51, true));
        assert_eq!(negotiated.payload, legacy().payload);
    }

    #[test]
    fn a_notification_cut_short_is_malformed_and_a_longer_one_is_read() {
        let payload = legacy().payload;
        for end in 0..payload.len() {
            assert!(MintQuoteNotification::decode(payload[..end].to_vec()).is_err(), "{end}");
        }
        let longer = [payload.clone(), vec![1, 2, 3]].concat();
        assert_eq!(MintQuoteNotification::decode(longer).unwrap(), notification());
        let mut not_text = payload;
        not_text[5] = 0xff;
        assert_eq!(MintQuoteNotification::decode(not_text), Err(Malformed::Text));
    }

    #[test]
    fn an_id_that_does_not_fit_is_refused_and_none_is_in_debug_output() {
        let long = MintQuoteNotification {
            quote_id: "x".repeat(256),
            ..notification()
        };
        assert!(long.to_frame(0).is_err());
        assert!(!format!("{:?}", notification()).contains("01a2027e"));
    }
}
