//! The pool through its front doors: a mint on the link, clients on the dashboard, and the program as a process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on says so and ends"
)]

#[cfg(feature = "bitcoin-core")]
mod bitcoin_core;
mod miner;
mod mining;
mod mint;
mod old_mint;
mod process;
mod reload;
mod serving;
mod templates;
