//! The pool: takes accepted shares, asks the mint for their quotes, and shows what the mint has issued.
//!
//! ```text
//! share ─▶ ShareIntake ─▶ Outbox (SQLite) ─▶ pump ─▶ mint-link ─▶ mint
//!                            ▲    answers ◀──┘           │ snapshots
//!            quotes by key ──┘                           ▼
//!                            dashboard ◀── load ── SnapshotCache
//! ```
//!
//! [`start`] opens the outbox and the listeners and returns the addresses that it serves. A share that
//! [`ShareIntake::accept`] has confirmed survives any crash and ends as exactly one quote, or as a refusal with its reason
//! ([`outbox`]). The pool serves without a mint: shares then wait.

pub mod amount;
mod authority;
pub mod config;
mod intake;
pub mod mining;
mod mints;
pub mod notices;
pub mod outbox;
mod quotes;
mod running;
mod status;
pub mod templates;

pub use authority::{AuthorityError, authority};
pub use config::PoolConfig;
pub use intake::{Earned, IntakeCounts, ShareIntake};
pub use mints::Mints;
pub use quotes::PumpCounts;
pub use running::{Running, StartError, start};
