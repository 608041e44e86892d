//! The commit of an issuance, and starts, on a database with quotes in it.

use std::path::{Path, PathBuf};

use cdk_common::{Amount, database::DynMintDatabase, quote_id::QuoteId};
use mint::MintConfig;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::{Operation, Statistics, open, runtime};
use crate::stored::paid_quotes;

/// One event: a transaction that issues a stored quote, on disk when it is committed; then the new totals are published.
pub struct Issuance {
    runtime: Runtime,
    store: DynMintDatabase,
    waiting: std::vec::IntoIter<QuoteId>,
    database: PathBuf,
    _folder: TempDir,
}

impl Issuance {
    /// How often it can be done: as often as there are paid quotes, but no more often than this.
    pub const AT_MOST: u32 = 10_000;

    /// On a copy of the database at `stored`, which is made in `folder` and does not outlive this.
    pub fn new(stored: &Path, folder: &Path, statistics: Statistics) -> Self {
        let runtime = runtime();
        let folder = tempfile::tempdir_in(folder).unwrap();
        let database = folder.path().join("mint.sqlite");
        std::fs::copy(stored, &database).unwrap();
        let store = runtime.block_on(open(&database, statistics));
        Self {
            runtime,
            store,
            waiting: paid_quotes(&database, Self::AT_MOST).into_iter(),
            database,
            _folder: folder,
        }
    }

    /// The copy.
    pub fn database(&self) -> &Path {
        &self.database
    }
}

impl Operation for Issuance {
    fn once(&mut self) {
        let id = self.waiting.next().expect("a paid quote is left");
        self.runtime.block_on(async {
            let mut transaction = self.store.begin_transaction().await.unwrap();
            let mut quote = transaction.get_mint_quote(&id).await.unwrap().unwrap();
            let amount = Amount::new(quote.amount_paid().value(), quote.unit.clone());
            quote.add_issuance(amount).unwrap();
            transaction.update_mint_quote(&mut quote).await.unwrap();
            transaction.commit().await.unwrap();
        });
    }
}

/// The database opened, with what the ledger knows at once, and closed again.
pub struct Start {
    runtime: Runtime,
    database: PathBuf,
    statistics: Statistics,
}

impl Start {
    /// Of the database at `stored`. The first start of a ledger on it, which counts, is over when this returns.
    pub fn new(stored: &Path, statistics: Statistics) -> Self {
        let mut start = Self {
            runtime: runtime(),
            database: stored.to_owned(),
            statistics,
        };
        start.once();
        start
    }
}

impl Operation for Start {
    fn once(&mut self) {
        drop(self.runtime.block_on(open(&self.database, self.statistics)));
    }
}

/// A mint from its start until it serves, and its stop: with keysets, both HTTP servers and its history.
pub struct WholeStart {
    runtime: Runtime,
    config: MintConfig,
    _folder: TempDir,
}

impl WholeStart {
    /// On a copy of the database at `stored`, which is made in `folder` and does not outlive this. The mint's first start,
    /// which makes its keys and counts, is over when this returns.
    pub fn new(stored: &Path, folder: &Path) -> Self {
        let folder = tempfile::tempdir_in(folder).unwrap();
        let mut config = MintConfig {
            data_dir: folder.path().join("mint"),
            ..MintConfig::default()
        };
        config.http.listen.set_port(0);
        config.dashboard.listen.set_port(0);
        let mut start = Self {
            runtime: runtime(),
            config,
            _folder: folder,
        };
        // The mnemonic comes first: a mint that finds a database without one takes it for lost.
        start.once();
        std::fs::copy(stored, start.config.data_dir.join(mint::DATABASE)).unwrap();
        start.once();
        start
    }
}

impl Operation for WholeStart {
    fn once(&mut self) {
        self.runtime.block_on(async {
            let running = mint::start(self.config.clone(), CancellationToken::new()).await;
            running.unwrap().stop().await;
        });
    }
}
