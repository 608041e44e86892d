//! What is measured: operations that can be done again and again. `benches/costs.rs` takes their time, and
//! `benches/instructions.rs` counts their instructions.
//!
//! Each runs on one thread, but for what blocks and for the parts that have a thread of their own, so that it is the work
//! that is measured and not the waiting for another.

mod ledger;
mod link;
mod quoting;

use std::{path::Path, sync::Arc};

use cdk_common::database::DynMintDatabase;
use cdk_sqlite::mint::MintSqliteDatabase;
use mint_ledger::{Ledger, LedgerOptions};
use tokio::runtime::{Builder, Runtime};

pub use self::{
    ledger::{Issuance, Start, WholeStart},
    link::{Push, WrittenPush},
    quoting::Quoting,
};

/// Something to be measured.
pub trait Operation {
    /// Does it once more, and panics if that fails.
    fn once(&mut self);
}

/// Whether a mint has a ledger between CDK and the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistics {
    /// As our mint has it.
    On,
    /// CDK on its database alone.
    Off,
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Opens a mint's database as the mint does.
async fn open(path: &Path, statistics: Statistics) -> DynMintDatabase {
    let database = Arc::new(MintSqliteDatabase::new(&path.to_path_buf()).await.unwrap());
    match statistics {
        Statistics::Off => database,
        Statistics::On => {
            let options = LedgerOptions {
                pay_once: true,
                paid_at_birth: true,
                ..LedgerOptions::default()
            };
            Arc::new(Ledger::open(database, path, options).await.unwrap())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{stored, truth};

    /// What is measured is what it is said to be: all of it, at every call.
    #[test]
    fn every_operation_does_its_work_at_every_call() {
        let folder = tempfile::tempdir().unwrap();
        let file = runtime().block_on(stored::kept(folder.path(), 100));
        let before = truth(&file);
        for statistics in [Statistics::On, Statistics::Off] {
            let mut issuance = Issuance::new(&file, folder.path(), statistics);
            issuance.once();
            issuance.once();
            let after = truth(issuance.database());
            assert_eq!(after.redeemed, before.redeemed + 2);
            assert_eq!(after.quotes[2], before.quotes[2] + 2);

            let mut quoting = Quoting::new(folder.path(), 7, statistics);
            quoting.once();
            quoting.once();
            assert_eq!(truth(quoting.database()).quotes, [0, 14, 0]);

            Start::new(&file, statistics).once();
        }
        WholeStart::new(&file, folder.path()).once();
        for units in [1, 250] {
            let (mut push, mut written) = (Push::new(units), WrittenPush::new(units));
            for _ in 0..3 {
                push.once();
                written.once();
            }
        }
        assert!(WrittenPush::new(1).size() < 250);
        assert_eq!(truth(&file), before);
    }
}
