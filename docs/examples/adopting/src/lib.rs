//! What a mint and a pool on the SV2 crates 5.x add to be one end of `stats-push`: the worked example of
//! `docs/ADOPTING.md`.
//!
//! They keep their connection, their codec and their message types. A statistics message is a payload that `stats-push`
//! makes or reads; here it becomes a frame of `codec_sv2` 5 and back ([`Message`]), the extension is negotiated, and each
//! end gets a value to keep beside its connection: [`MintStats`] and [`PoolStats`]. Neither
//! touches a frame that is not its own, so what the two have said so far they go on saying.

mod frames;
mod mint;
mod negotiation;
mod pool;

pub use frames::Message;
pub use mint::MintStats;
pub use pool::{Heard, PoolStats};
