//! An ehash mint: makes a paid quote for every share that a pool tells it of, lets wallets turn quotes into ecash, and
//! pushes live totals of both to its pools.
//!
//! ```text
//! pool ═ link ═▶ QuoteDesk ─▶ QuoteBatcher ─┐                                        ┌─▶ Publisher ═ link ═▶ pool
//! wallet ─ Cashu API (cdk-axum) ─▶ CDK mint ─┴▶ Ledger ─▶ cdk-sqlite, then watch<Totals> ┴─▶ Publisher ─▶ own page
//! ```
//!
//! [`start`] puts it together and returns a [`Running`]; the `mint` program, devnet and the tests call it. The links
//! have a thread and a runtime of their own, because SQLite blocks the threads that it runs on.

mod cashu;
mod config;
mod error;
mod keys;
mod links;
mod operator;
mod payment;
mod quotes;
mod running;
mod status;

pub use config::{HttpSection, InfoSection, LinkSection, MintConfig, PoolSection, QuotesSection};
pub use error::StartError;
pub use operator::{audit, public_key, rebase};
pub use quotes::{Batching, QuoteBatcher, QuoteCounters, QuoteDesk};
pub use running::{Running, start};

/// The payment method of ehash quotes, as it stands in paths of the Cashu API (`/v1/mint/ehash`).
pub const METHOD: &str = "ehash";

/// The mint's database, in its data directory.
pub const DATABASE: &str = "mint.sqlite";
