//! What mines: a Stratum V2 client, proof of work on the CPU, and the wallet that turns its shares' quotes into ehash.
//!
//! [`start`] runs it all. Jobs come from the pool and are searched by threads of their own ([`hashing`]); the shares go
//! back, and the quotes that they earn, locked to the wallet's key, are minted over HTTP ([`wallet`]), whatever was
//! interrupted before. [`redeem`] does that last part alone, for people who mine with other software.

mod config;
pub mod hashing;
mod quotes;
mod redeem;
mod report;
mod running;
mod stratum;
pub mod wallet;

pub use config::{MinerConfig, PoolSection};
pub use quotes::{ListingError, ListingProblem};
pub use redeem::{RedeemError, Redeemed, redeem};
pub use report::{Figures, Observer};
pub use running::{Running, StartError, start};
pub use stratum::{PoolStatus, SessionError, ShareCounts, Stage, Step};
