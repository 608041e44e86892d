//! The miner's end of Stratum V2: jobs come in from a pool, shares go out, and the pool tells of quotes.
//!
//! [`run`] dials the pool for ever. Inside, [`channel`] is the state of a channel without sockets and without a clock:
//! messages in, the newest job out, and what has to be sent [`again`]. Around it are the messages ([`messages`]), one session with the pool ([`opening`],
//! [`session`]) and the dialling ([`client`]). While there is no session there is no job: a share of a lost session is worth nothing.

mod again;
mod channel;
mod client;
mod error;
mod messages;
mod opening;
mod refusals;
mod session;
mod status;
#[cfg(test)]
mod tests;

pub(crate) use client::{Client, Ends, run};
pub use error::{SessionError, Step};
pub use status::{PoolStatus, ShareCounts, Stage};
