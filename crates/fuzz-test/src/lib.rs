//! What the fuzzer runs: each target is a function of bytes that panics where a promise is broken.
//!
//! `fuzz/` hands these functions to libFuzzer, and `cargo nextest` calls them on every seed in `fuzz/seeds/TARGET`
//! ([`replay`]), so what was found once stays mended on any toolchain. A target that needs what is private to a crate lives
//! there (`session`: in the pool) and reads its input by the same functions.
//!
//! - [`decoders`]: every decoder of what a peer sends, by its first byte.
//! - [`mint_end`], [`pool_end`]: an end of the mint link against a peer that says anything, in paused time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a broken promise is told by a panic: that is what the fuzzer looks for"
)]

mod decoders;
mod end;
mod mint_end;
mod pool_end;
mod script;
mod seeds;

pub use decoders::decoders;
pub use mint_end::mint_end;
pub use pool_end::pool_end;
pub use script::{Move, Moves, frames};
pub use seeds::{replay, seeds_of};
