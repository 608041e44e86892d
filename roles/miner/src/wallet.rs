//! The wallet of a miner: it holds the key that quotes are locked to (NUT-20) and mints them over HTTP.
//!
//! [`Redeemer::open`] gives a handle, for whoever hears of quotes, and a task that does the work. A quote id is on disk
//! when [`Redeemer::add`] returns and stays there until its ehash is in the wallet, so what was not minted before a
//! restart is minted after it. Minting itself is CDK's: a request is written down before it is sent, and an answer that
//! got lost is fetched again (NUT-09, NUT-19).

mod config;
mod error;
mod keys;
mod queue;
mod recovery;
mod redeemer;
mod restore;
mod round;
mod shared;
mod spend;
mod store;
mod verdict;

pub use config::WalletConfig;
pub use error::WalletError;
pub use keys::{has_seed, locking_key};
pub use redeemer::{RedeemTask, Redeemer};
pub use shared::Progress;

#[cfg(test)]
mod tests;
