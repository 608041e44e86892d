//! Proof of work on the CPU: 80-byte Bitcoin headers, double SHA-256, a target.
//!
//! Jobs come in through a `watch` channel, of which only the newest matters; shares go out through a bounded `mpsc`. The
//! search runs on operating system threads, never on the runtime's workers, and ends at once when told to stop, when a
//! job is replaced, or when either channel's other end is gone.

mod config;
mod job;
mod pace;
mod rate;
mod search;
mod threads;

pub use config::HashingConfig;
pub use job::{Job, Share};
pub use rate::hashes_per_second;
pub use threads::{Hasher, Hashes};
