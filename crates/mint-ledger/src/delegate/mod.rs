//! The trait implementations that make the ledger a CDK `MintDatabase`. Nearly every method hands its call on as it
//! came; the macros below write those. What is more than that is written out, and calls into `ledger` or `transaction`.
//!
//! A method with a default body in CDK's trait is delegated all the same: the default would silently replace what the
//! decorated database does.

mod database;
mod transaction;

/// Implements a trait for [`crate::Ledger`] by calling the decorated database.
macro_rules! delegate_to_database {
    ($trait:path { $(fn $method:ident(&self $(, $argument:ident: $type:ty)*) -> $output:ty;)* }) => {
        #[async_trait]
        impl $trait for Ledger {
            type Err = Error;

            $(async fn $method(&self $(, $argument: $type)*) -> Result<$output, Error> {
                self.inner().$method($($argument),*).await
            })*
        }
    };
}

/// Implements a trait for [`crate::transaction::LedgerTransaction`] by calling the decorated transaction.
macro_rules! delegate_to_transaction {
    ($trait:path, $($err:ident)? { $(fn $method:ident(&mut self $(, $argument:ident: $type:ty)*) -> $output:ty;)* }) => {
        #[async_trait]
        impl $trait for LedgerTransaction {
            $(type $err = Error;)?

            $(async fn $method(&mut self $(, $argument: $type)*) -> Result<$output, Error> {
                self.inner()?.$method($($argument),*).await
            })*
        }
    };
}

use {delegate_to_database, delegate_to_transaction};
