//! The miner from outside: its program, against a real mint and a real pool.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on says so and ends"
)]

mod house;
mod program;
mod redeem;
