//! The Stratum V2 connection between an ehash mint and a pool, both ends of it.
//!
//! The mint dials the pool and pins its authority key (Noise). Over the one connection the pool asks for quotes, one for
//! each accepted share, and the mint answers them; and the mint pushes its statistics, as [`stats_push`] schedules them.
//! What the two must know of each other they negotiate right after the setup: a peer that knows only quotes is served all
//! the same.
//!
//! - The mint: [`MintLink::connect`] dials one pool for ever. Quote requests of all pools arrive in one channel as
//!   [`QuoteCall`]s; a [`LinkStatus`] tells how each link is.
//! - The pool: [`PoolLink::listen`] lets mints in by an [`Admission`] rule, fills a [`stats_push::SnapshotCache`], and
//!   hands each working session to the role as a [`MintSession`].
//! - Underneath: [`sv2_transport`], an encrypted connection that carries frames.
//!
//! Both ends are generic over `AsyncRead + AsyncWrite`, take their time from tokio's clock, and bound everything: frames
//! (64 KiB), connections, quotes outstanding, and the time of every step.

mod collector;
mod error;
mod extensions;
mod issued;
mod keys;
mod messages;
mod metrics;
mod mint;
mod notification;
mod pool;
mod proof;
mod setup;
#[cfg(test)]
mod testkit;
#[cfg(test)]
mod tests;
mod timing;
#[cfg(test)]
mod vectors;

pub use collector::LinkCollector;
pub use error::{FailureReason, LinkError, Malformed, Step};
pub use extensions::{ExtensionIds, ExtensionIdsError, ExtensionMessage, Extensions};
pub use issued::{MINT_QUOTES_ISSUED, MintQuotesIssued};
pub use keys::{MintKey, MintPublicKey};
pub use messages::{
    HeaderHash, HeaderHashError, MINT_PROOF, MINT_QUOTE_ERROR, MINT_QUOTE_REQUEST, MINT_QUOTE_RESPONSE,
    MintQuoteRequest, QUOTE_EXTENSION, QuoteAnswer, RefusalCode,
};
pub use metrics::{LinkCounters, LinkMetrics};
pub use mint::{
    AnswerHandle, LegacyReason, LinkState, LinkStatus, MintLink, MintTimers, Negotiated, PoolTarget, QuoteCall,
};
pub use notification::{MINT_QUOTE_NOTIFICATION, MintQuoteNotification};
pub use pool::{Admission, MintSession, PoolLink, PoolLinkConfig, PoolTimers, Refresher, SessionInfo, StatsRequester};
pub use proof::{MintProof, ProofError};
pub use setup::{DeviceInfo, VERSION};
