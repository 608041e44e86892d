//! The whole system through its front doors: processes, sockets, files, a browser.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on says so and ends"
)]

mod first_run;
mod kills;
mod mining;
mod monitoring;
mod pages;
mod soak;
mod stopped;
mod trouble;
