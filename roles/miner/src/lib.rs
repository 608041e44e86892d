//! What mines: proof of work on the CPU, and the wallet that turns its shares' quotes into ehash.
//!
//! [`hashing`] searches block headers on threads of its own and yields shares; where the headers come from is the
//! caller's business ([`synthetic`] invents them, a Stratum V2 client receives them). [`wallet`] keeps the key that the
//! quotes are locked to, and mints them over HTTP, whatever was interrupted before.

pub mod hashing;
pub mod synthetic;
pub mod wallet;
