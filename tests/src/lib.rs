//! What the whole-system tests share: the programs as processes, the truth in the mint's file, what a dashboard shows,
//! and waiting for a thing instead of for a while. And what the benches measure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on says so and ends"
)]

pub mod clock;
pub mod costs;
mod pair;
mod process;
mod rig;
pub mod stored;
pub mod sv1;
mod truth;
mod wait;

pub use pair::{PATIENCE, Pair, key_of, new_share};
pub use process::{Process, free_port, path_of};
pub use rig::{Heard, Lost, MiningConnection, Rig};
pub use truth::{Truth, truth};
pub use wait::eventually;

use serde_json::Value;

/// The JSON that a dashboard serves at `path`; `None` while nobody answers.
pub async fn json(address: &str, path: &str) -> Option<Value> {
    let response = reqwest::get(format!("http://{address}{path}")).await.ok()?;
    serde_json::from_slice(&response.bytes().await.ok()?).ok()
}

/// The mint's statistics as the dashboard at `address` shows them.
pub async fn stats(address: &str) -> Option<Value> {
    json(address, "/api/v1/mint/stats").await
}
