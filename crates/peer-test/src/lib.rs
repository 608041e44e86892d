//! Peers of the mint link in a test's hands: one that says what it is told to, and the two that were first.
//!
//! [`Peer`] is either end of an encrypted connection, frame by frame. [`LegacyMint`] and [`LegacyPool`] behave as hashpool's
//! roles were seen to: they know the quote messages 0x80 to 0x82 and no extension, not even how to tell an extension's
//! message from another by its number. All of it writes its bytes itself, so that no mistake of `mint-link` can hide in
//! both ends. [`proxy`] is the network between two ends, on a bad day.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on says so and ends"
)]

mod bytes;
mod legacy_mint;
mod legacy_pool;
mod peer;
pub mod proxy;

pub use bytes::{
    MINT_QUOTE_ERROR, MINT_QUOTE_REQUEST, MINT_QUOTE_RESPONSE, QuoteRequest, SETUP_CONNECTION, setup_connection,
    setup_error, setup_success,
};
pub use legacy_mint::{LegacyMint, Manners, Seen};
pub use legacy_pool::{LegacyPool, LegacySession, OnQuestion};
pub use peer::Peer;
