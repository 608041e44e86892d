//! Exact totals of a CDK mint, kept beside its database and told at every committed change.
//!
//! [`Ledger`] is a decorator: it takes a CDK `MintDatabase`, is one itself, and is given to the mint in its place. Each
//! transaction notes what it does to mint quotes; when it commits, the new totals and their version are stored in the
//! very same transaction, and published on a [`tokio::sync::watch`] channel only after the database said Ok. So the
//! totals are those of the committed rows, over restarts and after kill -9, and nobody ever counts a million quotes to
//! show three numbers.
//!
//! How it is built:
//! - `tally`: the arithmetic, from a quote's amounts to a unit's figures; no database in sight.
//! - `sqlite`: what is read straight from the SQLite file, on a second connection: the stored totals, and the one SQL
//!   aggregate that the first start, [`Ledger::rebase`] and [`audit`] need.
//! - `ledger`: opening, publishing, and the **books**, whose lock is the one writer's permit.
//! - `transaction`: what happens between begin and commit.
//! - `delegate`: the dozen trait implementations that only hand calls on.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::{path::Path, sync::Arc};
//! use mint_ledger::{Ledger, LedgerOptions};
//!
//! let path = Path::new("mint.sqlite");
//! let database = Arc::new(cdk_sqlite::mint::MintSqliteDatabase::new(&path.to_path_buf()).await?);
//! let ledger = Ledger::open(database, path, LedgerOptions::default()).await?;
//! let totals = ledger.subscribe();       // give this to a publisher
//! let localstore = Arc::new(ledger);     // and this to the mint
//! println!("{} quotes redeemed", totals.borrow().ehash.quotes_redeemed);
//! # drop(localstore);
//! # Ok(())
//! # }
//! ```

mod audit;
mod delegate;
mod error;
mod ledger;
mod sqlite;
mod tally;
mod transaction;

pub use audit::{Audit, Difference, audit};
pub use error::LedgerError;
pub use ledger::{Clock, Ledger, LedgerOptions, PUBLISHED};
