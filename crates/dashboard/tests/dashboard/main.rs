//! The dashboard through its front door: real sockets, real HTTP, and for the pages a real browser.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod browser;
mod history;
mod http;
mod metrics;
mod openapi;
mod refresh;
mod stats;
mod stream;
mod support;
