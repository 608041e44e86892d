//! The quote messages 0x80 to 0x82, byte for byte as hashpool peers speak them, and what kind of message a frame is.
//!
//! Our frames of them carry extension type 0x0003 with the channel bit, although no channel id follows: so do the peers
//! that were first. Hash and reason at the end of 0x82 are what extension 0x4D51 adds.

use std::{fmt, str::FromStr};

use binary_sv2::{B0255, Deserialize, Serialize, Str0255, Sv2Option, U256, from_bytes, to_bytes};
use common_messages_sv2::{
    MESSAGE_TYPE_SETUP_CONNECTION, MESSAGE_TYPE_SETUP_CONNECTION_ERROR, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS,
};
use extensions_sv2::{EXTENSION_TYPE_EXTENSIONS_NEGOTIATION, MESSAGE_TYPE_REQUEST_EXTENSIONS_ERROR};
use stats_push::{MINT_STATS_REQUEST, MINT_STATS_RESPONSE};

use sv2_transport::Frame;

use crate::{error::Malformed, extensions::ExtensionIds, issued::MINT_QUOTES_ISSUED};

/// The extension type that frames of quote messages carry.
pub const QUOTE_EXTENSION: u16 = 0x0003;
/// Message type of [`MintQuoteRequest`].
pub const MINT_QUOTE_REQUEST: u8 = 0x80;
/// Message type of `MintQuoteResponse`: [`QuoteAnswer::Created`].
pub const MINT_QUOTE_RESPONSE: u8 = 0x81;
/// Message type of `MintQuoteError`: [`QuoteAnswer::Refused`].
pub const MINT_QUOTE_ERROR: u8 = 0x82;
/// Message type of [`crate::MintProof`].
pub const MINT_PROOF: u8 = 0x85;

/// The hash of a share's block header, in the internal byte order in which it travels: reversed from how explorers print
/// it. Prints as the hex of its bytes, in that order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeaderHash(pub [u8; 32]);

impl fmt::Display for HeaderHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Not the 64 hex digits that a [`HeaderHash`] prints as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hex digits")]
pub struct HeaderHashError;

impl FromStr for HeaderHash {
    type Err = HeaderHashError;

    fn from_str(text: &str) -> Result<Self, HeaderHashError> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map_err(|_| HeaderHashError)?;
        Ok(Self(hash))
    }
}

impl fmt::Debug for HeaderHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeaderHash({self})")
    }
}

/// Message 0x80, pool to mint: a share was accepted, make a paid quote for it.
#[derive(Clone, PartialEq, Eq)]
pub struct MintQuoteRequest {
    /// The amount in the unit's smallest denomination.
    pub amount: u64,
    /// The unit, up to 255 bytes of UTF-8.
    pub unit: String,
    /// The share's hash.
    pub header_hash: HeaderHash,
    /// For people, up to 255 bytes of UTF-8.
    pub description: Option<String>,
    /// The compressed public key (33 bytes) that the quote is locked to (NUT-20). Up to 255 bytes travel; whether they
    /// are a key is the mint's to judge.
    pub locking_key: Vec<u8>,
}

impl fmt::Debug for MintQuoteRequest {
    /// Without the locking key: it tells whose share it was.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MintQuoteRequest")
            .field("amount", &self.amount)
            .field("unit", &self.unit)
            .field("header_hash", &self.header_hash)
            .finish_non_exhaustive()
    }
}

/// Why a mint makes no quote: the codes of 0x82.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// Anything without a code of its own, code 1; also what codes are read as that later versions may add.
    Other,
    /// The hash has a quote with another key or amount, code 2.
    Conflict,
    /// The locking key is no key, code 3.
    LockingKey,
    /// The amount is outside the mint's bounds, code 4.
    Amount,
    /// Not now: ask again later, code 5. Not final, unlike the others.
    Busy,
}

impl RefusalCode {
    /// The number on the wire, 1 to 5.
    pub fn code(self) -> u32 {
        match self {
            Self::Other => 1,
            Self::Conflict => 2,
            Self::LockingKey => 3,
            Self::Amount => 4,
            Self::Busy => 5,
        }
    }

    /// The name in metrics and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Conflict => "conflict",
            Self::LockingKey => "locking_key",
            Self::Amount => "amount",
            Self::Busy => "busy",
        }
    }

    fn from_code(code: u32) -> Self {
        match code {
            2 => Self::Conflict,
            3 => Self::LockingKey,
            4 => Self::Amount,
            5 => Self::Busy,
            _ => Self::Other,
        }
    }
}

/// What a mint answers to a [`MintQuoteRequest`]: message 0x81 or 0x82.
#[derive(Clone, PartialEq, Eq)]
pub enum QuoteAnswer {
    /// The quote exists and is paid.
    Created {
        /// The share that it is for.
        header_hash: HeaderHash,
        /// Its id, a UUID; up to 255 bytes.
        quote_id: String,
    },
    /// There is no such quote.
    Refused {
        /// The share that was refused; `None` from a peer without extension 0x4D51, which can only mean the one that is
        /// outstanding.
        header_hash: Option<HeaderHash>,
        /// Why, for machines.
        code: RefusalCode,
        /// Why, for people; cut to 255 bytes.
        message: String,
    },
}

impl fmt::Debug for QuoteAnswer {
    /// Without the quote's id: an unlocked quote belongs to whoever knows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created { header_hash, .. } => f
                .debug_struct("Created")
                .field("header_hash", header_hash)
                .finish_non_exhaustive(),
            Self::Refused {
                header_hash,
                code,
                message,
            } => f
                .debug_struct("Refused")
                .field("header_hash", header_hash)
                .field("code", code)
                .field("message", message)
                .finish(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct RequestFields<'decoder> {
    amount: u64,
    unit: Str0255<'decoder>,
    header_hash: U256<'decoder>,
    description: Sv2Option<'decoder, Str0255<'decoder>>,
    locking_key: B0255<'decoder>,
}

#[derive(Serialize, Deserialize)]
struct ResponseFields<'decoder> {
    quote_id: Str0255<'decoder>,
    header_hash: U256<'decoder>,
}

#[derive(Serialize, Deserialize)]
struct ErrorFields<'decoder> {
    error_code: u32,
    error_message: Str0255<'decoder>,
}

impl MintQuoteRequest {
    /// The frame that carries it. Fails on a field above 255 bytes.
    pub fn to_frame(&self) -> Result<Frame, Malformed> {
        let description = match &self.description {
            Some(text) => Some(Str0255::try_from(text.as_bytes())?),
            None => None,
        };
        let payload = to_bytes(RequestFields {
            amount: self.amount,
            unit: self.unit.as_bytes().try_into()?,
            header_hash: (&self.header_hash.0).into(),
            description: Sv2Option::new(description),
            locking_key: self.locking_key.as_slice().try_into()?,
        })?;
        Ok(quote_frame(MINT_QUOTE_REQUEST, payload))
    }

    /// Reads a payload; ignores what follows the fields known here.
    pub fn decode(mut payload: Vec<u8>) -> Result<Self, Malformed> {
        let fields: RequestFields<'_> = from_bytes(&mut payload)?;
        let description = match fields.description.as_option_bytes() {
            Some(bytes) => Some(text(bytes)?),
            None => None,
        };
        Ok(Self {
            amount: fields.amount,
            unit: text(fields.unit.as_bytes())?,
            header_hash: HeaderHash(*fields.header_hash.as_array()),
            description,
            locking_key: fields.locking_key.as_bytes().to_vec(),
        })
    }
}

impl QuoteAnswer {
    /// The share that this is about, if it tells.
    pub fn header_hash(&self) -> Option<HeaderHash> {
        match self {
            Self::Created { header_hash, .. } => Some(*header_hash),
            Self::Refused { header_hash, .. } => *header_hash,
        }
    }

    /// The frame that carries it. `correlated` tells that extension 0x4D51 is on: then a refusal ends with its hash, and
    /// its code is what it is; otherwise the code is 1, the only one that older peers know. Fails on a quote id above 255
    /// bytes, and on a refusal without hash where one must be.
    pub fn to_frame(&self, correlated: bool) -> Result<Frame, Malformed> {
        match self {
            Self::Created { header_hash, quote_id } => {
                let payload = to_bytes(ResponseFields {
                    quote_id: quote_id.as_bytes().try_into()?,
                    header_hash: (&header_hash.0).into(),
                })?;
                Ok(quote_frame(MINT_QUOTE_RESPONSE, payload))
            }
            Self::Refused {
                header_hash,
                code,
                message,
            } => {
                let code = if correlated { *code } else { RefusalCode::Other };
                let mut payload = to_bytes(ErrorFields {
                    error_code: code.code(),
                    error_message: cut(message).as_bytes().try_into()?,
                })?;
                if correlated {
                    let HeaderHash(hash) = header_hash.ok_or(Malformed::Uncorrelated)?;
                    payload.extend_from_slice(&hash);
                }
                Ok(quote_frame(MINT_QUOTE_ERROR, payload))
            }
        }
    }

    /// Reads the payload of a `MintQuoteResponse`.
    pub fn decode_response(mut payload: Vec<u8>) -> Result<Self, Malformed> {
        let fields: ResponseFields<'_> = from_bytes(&mut payload)?;
        Ok(Self::Created {
            header_hash: HeaderHash(*fields.header_hash.as_array()),
            quote_id: text(fields.quote_id.as_bytes())?,
        })
    }

    /// Reads the payload of a `MintQuoteError`. With `correlated` it takes the hash at the end, if there is one: what a
    /// mint sent before it heard that the extension is on has none.
    pub fn decode_error(mut payload: Vec<u8>, correlated: bool) -> Result<Self, Malformed> {
        // Code, length of the message, message.
        const BEFORE_MESSAGE: usize = 5;
        let length = payload.get(BEFORE_MESSAGE - 1).copied().map_or(0, usize::from);
        let header_hash = payload
            .get(BEFORE_MESSAGE + length..)
            .and_then(|rest| rest.first_chunk::<32>())
            .filter(|_| correlated)
            .map(|hash| HeaderHash(*hash));
        let fields: ErrorFields<'_> = from_bytes(&mut payload)?;
        Ok(Self::Refused {
            header_hash,
            code: RefusalCode::from_code(fields.error_code),
            message: text(fields.error_message.as_bytes())?,
        })
    }
}

fn quote_frame(msg_type: u8, payload: Vec<u8>) -> Frame {
    Frame {
        channel_msg: true,
        ..Frame::new(QUOTE_EXTENSION, msg_type, payload)
    }
}

/// A text field, which must be UTF-8.
pub(crate) fn text(bytes: &[u8]) -> Result<String, Malformed> {
    Ok(std::str::from_utf8(bytes).map_err(|_| Malformed::Text)?.to_owned())
}

/// At most 255 bytes of `message`, whole characters.
pub(crate) fn cut(message: &str) -> &str {
    let end = (0..=message.len().min(255))
        .rev()
        .find(|&end| message.is_char_boundary(end));
    message.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// What a frame is, by extension and message type together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    SetupConnection,
    SetupConnectionSuccess,
    SetupConnectionError,
    /// Any message of extension 0x0001 that exists.
    Negotiation,
    QuoteRequest,
    QuoteResponse,
    QuoteError,
    QuotesIssued,
    StatsRequest,
    StatsResponse,
    Proof,
    /// To be ignored, as SV2 wants it for what is unknown.
    Unknown,
}

impl Kind {
    pub(crate) fn of(frame: &Frame, ids: &ExtensionIds) -> Self {
        match (frame.extension_type, frame.msg_type) {
            (EXTENSION_TYPE_EXTENSIONS_NEGOTIATION, 0..=MESSAGE_TYPE_REQUEST_EXTENSIONS_ERROR) => Self::Negotiation,
            (EXTENSION_TYPE_EXTENSIONS_NEGOTIATION, _) => Self::Unknown,
            (extension, msg_type) if extension == ids.stats => match msg_type {
                MINT_STATS_REQUEST => Self::StatsRequest,
                MINT_STATS_RESPONSE => Self::StatsResponse,
                _ => Self::Unknown,
            },
            (extension, MINT_PROOF) if extension == ids.proof => Self::Proof,
            (extension, _) if extension == ids.proof => Self::Unknown,
            (extension, MINT_QUOTES_ISSUED) if extension == ids.quotes => Self::QuotesIssued,
            // Neither side of an older peer looks at the extension type of these, nor tells a fixed one.
            (_, MINT_QUOTE_REQUEST) => Self::QuoteRequest,
            (_, MINT_QUOTE_RESPONSE) => Self::QuoteResponse,
            (_, MINT_QUOTE_ERROR) => Self::QuoteError,
            (0 | QUOTE_EXTENSION, MESSAGE_TYPE_SETUP_CONNECTION) => Self::SetupConnection,
            (0 | QUOTE_EXTENSION, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS) => Self::SetupConnectionSuccess,
            (0 | QUOTE_EXTENSION, MESSAGE_TYPE_SETUP_CONNECTION_ERROR) => Self::SetupConnectionError,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
