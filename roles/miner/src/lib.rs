//! What mines: proof of work on the CPU, and the wallet that turns its shares' quotes into ehash.
//!
//! [`hashing`] searches block headers on threads of its own and yields shares; where the headers come from is the
//! caller's business ([`synthetic`] invents them, a Stratum V2 client receives them). [`wallet`] keeps the key that the
//! quotes are locked to, and mints them over HTTP, whatever was interrupted before. [`start`] runs both on invented
//! headers; what to do with the shares is the caller's business again.

pub mod hashing;
mod running;
pub mod synthetic;
pub mod wallet;

pub use running::{MinerConfig, Running, StartError, SyntheticConfig, start};
