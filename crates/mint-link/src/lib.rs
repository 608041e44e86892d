//! The Stratum V2 connection between an ehash mint and a pool, both ends.

mod codec;
mod error;
mod extensions;
mod frame;
mod handshake;
mod keys;
mod messages;
mod metrics;
mod proof;
mod setup;
#[cfg(test)]
mod testkit;

pub use codec::{CodecError, FrameDecoder, FrameEncoder, FrameReader, FrameWriter};
pub use error::{FailureReason, LinkError, Malformed, Step};
pub use extensions::{ExtensionIds, ExtensionIdsError, Extensions};
pub use frame::{Frame, HEADER, MAX_FRAME, MAX_PAYLOAD};
pub use handshake::{Secured, initiate, respond};
pub use keys::{AuthorityKeypair, AuthorityPublicKey, KeyError, MintKey, MintPublicKey};
pub use messages::{
    HeaderHash, MINT_PROOF, MINT_QUOTE_ERROR, MINT_QUOTE_REQUEST, MINT_QUOTE_RESPONSE, MintQuoteRequest,
    QUOTE_EXTENSION, QuoteAnswer, RefusalCode,
};
pub use metrics::{LinkCounters, LinkMetrics};
pub use proof::{MintProof, ProofError, Transcript};
pub use setup::{DeviceInfo, VERSION};
