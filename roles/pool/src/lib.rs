//! The pool.

pub mod amount;
pub mod outbox;
