//! How the ids of quotes reach the wallet: told by the pool on the mining connection, or read from its page.
//!
//! Both ways end in one bounded channel, at whose other end [`collect`] hands them to the wallet. An id may come any
//! number of times; the wallet takes it once.

mod collect;
mod follow;
mod listing;

pub(crate) use collect::{collect, hand_in};
pub(crate) use follow::follow;
pub(crate) use listing::Listing;
pub use listing::{ListingError, ListingProblem};
