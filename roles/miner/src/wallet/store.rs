//! The wallet on disk: its directory, its lock, its database, and the CDK wallet on top.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cdk::mint_url::MintUrl;
use cdk::nuts::{CurrencyUnit, PaymentMethod, PublicKey, SecretKey};
use cdk::wallet::{Wallet, WalletBuilder};
use cdk_common::database::{self, WalletDatabase};
use cdk_common::wallet::{MintQuote, OperationKind, WalletSaga};
use cdk_sqlite::WalletSqliteDatabase;
use service::Misconfigured;
use service::secret_file::{SecretFileError, create_private_dir};
use zeroize::Zeroizing;

use super::config::{WalletConfig, unusable_dir};
use super::error::WalletError;
use super::keys::{Keys, has_seed};
use super::restore;

/// Ehash quotes are quotes of this payment method.
pub(super) const METHOD: &str = "ehash";

/// Pieces of ehash that a mint is asked about in one request.
pub(super) const PIECES: usize = 100;

const DATABASE: &str = "wallet.sqlite";
const LOCK: &str = "lock";

/// Where in the database's key-value store the mint's address is kept.
const MINT_KEY: (&str, &str, &str) = ("miner", "wallet", "mint_url");

pub(super) type Db = dyn WalletDatabase<database::Error> + Send + Sync;

/// An open wallet for the quotes of one unit of one mint.
pub(super) struct Store {
    pub(super) wallet: Wallet,
    pub(super) data_dir: PathBuf,
    pub(super) seed: Zeroizing<[u8; 64]>,
    locking: SecretKey,
    /// Held as long as the wallet is open; the operating system lets go of it when the process ends in whatever way.
    _lock: File,
}

impl Store {
    /// Opens the wallet of this directory, or makes one.
    pub(super) async fn open(config: &WalletConfig) -> Result<Self, WalletError> {
        make_dir(&config.data_dir)?;
        let lock = lock(&config.data_dir)?;
        let has_seed = has_seed(&config.data_dir)?;
        let keys = Keys::read_or_create(&config.data_dir)?;
        let database = config.data_dir.join(DATABASE);
        if has_seed && !exists(&database)? {
            restore::mark(&config.data_dir)?;
        }
        create_private_file(&database)?;
        let db: Arc<Db> = Arc::new(WalletSqliteDatabase::new(&database).await?);
        let mint_url = claim_for_mint(&*db, config).await?;
        let wallet = builder(&mint_url, config.unit.clone(), db, &keys.seed).build()?;
        tracing::info!(mint = %mint_url, locking_key = %keys.locking_public(), "wallet open");
        Ok(Self {
            wallet,
            data_dir: config.data_dir.clone(),
            seed: keys.seed,
            locking: keys.locking,
            _lock: lock,
        })
    }

    pub(super) fn locking_key(&self) -> PublicKey {
        self.locking.public_key()
    }

    /// Unspent ehash in the wallet.
    pub(super) async fn balance(&self) -> Result<u64, WalletError> {
        Ok(self.wallet.total_balance().await?.to_u64())
    }

    fn db(&self) -> &Db {
        &*self.wallet.localstore
    }

    /// Remembers a quote of which only the id is known; what it is worth, the mint will say.
    pub(super) async fn remember(&self, id: &str) -> Result<(), WalletError> {
        let quote = MintQuote::new(
            id.to_owned(),
            self.wallet.mint_url.clone(),
            PaymentMethod::Custom(METHOD.to_owned()),
            None,
            self.wallet.unit.clone(),
            String::new(),
            0,
            // CDK signs with the key that is stored with the quote, also when it repeats a request after a crash.
            Some(self.locking.clone()),
        );
        Ok(self.db().add_mint_quote(quote).await?)
    }

    pub(super) async fn forget(&self, id: &str) -> Result<(), WalletError> {
        Ok(self.db().remove_mint_quote(id).await?)
    }

    pub(super) async fn quote(&self, id: &str) -> Result<Option<MintQuote>, WalletError> {
        Ok(self.db().get_mint_quote(id).await?)
    }

    /// All quotes that are remembered.
    pub(super) async fn quotes(&self) -> Result<Vec<MintQuote>, WalletError> {
        let mut quotes = self.db().get_mint_quotes().await?;
        quotes.retain(|quote| quote.mint_url == self.wallet.mint_url && quote.unit == self.wallet.unit);
        Ok(quotes)
    }

    /// Mint requests that were begun and not finished.
    pub(super) async fn unfinished(&self) -> Result<Vec<WalletSaga>, WalletError> {
        let mut sagas = self.db().get_incomplete_sagas().await?;
        // CDK keeps one for each token sent until it is received, which may be never, and nothing of ours waits for it.
        sagas.retain(|saga| {
            saga.kind == OperationKind::Mint && saga.mint_url == self.wallet.mint_url && saga.unit == self.wallet.unit
        });
        Ok(sagas)
    }

    /// Gives up an operation, and sets its quotes free.
    pub(super) async fn abandon(&self, saga: &WalletSaga) -> Result<(), WalletError> {
        self.db().delete_saga(&saga.id).await?;
        Ok(self.db().release_mint_quote(&saga.id).await?)
    }
}

/// A CDK wallet to be.
pub(super) fn builder(mint_url: &MintUrl, unit: CurrencyUnit, db: Arc<Db>, seed: &[u8; 64]) -> WalletBuilder {
    WalletBuilder::new()
        .mint_url(mint_url.clone())
        .unit(unit)
        .localstore(db)
        .seed(*seed)
        // The redeemer paces itself: batches, one request at a time, back-off.
        .without_rate_limiting()
}

/// The mint has issued all that was paid for the quote.
pub(super) fn is_issued(quote: &MintQuote) -> bool {
    quote.amount_issued.to_u64() > 0 && quote.amount_mintable().to_u64() == 0
}

/// Makes the wallet's directory if need be. One that can't be made is the configuration's fault.
pub(super) fn make_dir(path: &Path) -> Result<(), WalletError> {
    create_private_dir(path).map_err(|error| match error {
        SecretFileError::Io { source, .. } => unusable_dir(path, source).into(),
        other => other.into(),
    })
}

/// Two processes would take each other's secrets and counters.
fn lock(data_dir: &Path) -> Result<File, WalletError> {
    let path = data_dir.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path);
    let file = file.map_err(|error| unusable_dir(data_dir, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(WalletError::InUse {
            path: data_dir.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(WalletError::Io {
            path,
            action: "locking",
            source,
        }),
    }
}

pub(super) fn exists(path: &Path) -> Result<bool, WalletError> {
    path.try_exists().map_err(|source| WalletError::Io {
        path: path.to_owned(),
        action: "looking for it",
        source,
    })
}

/// The database holds the ehash and the locking key; SQLite gives its side files the mode of this one.
pub(super) fn create_private_file(path: &Path) -> Result<(), WalletError> {
    match OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(WalletError::Io {
            path: path.to_owned(),
            action: "creating",
            source,
        }),
    }
}

/// Whether the wallet belongs to this mint: it holds its ehash or a request to it, or quotes and what CDK has noted of the
/// mint's first answer. Quotes alone say nothing: the pool tells of them, and the mint's address may be mistyped.
async fn is_bound(db: &Db, mint: &MintUrl) -> Result<bool, WalletError> {
    let holds =
        !db.get_proofs(None, None, None, None).await?.is_empty() || !db.get_incomplete_sagas().await?.is_empty();
    Ok(holds || (!db.get_mint_quotes().await?.is_empty() && db.get_mint(mint.clone()).await?.is_some()))
}

/// The wallet's mint: the configured one, or the one that it knows where none is configured. A wallet that is bound to its
/// mint is taken along where that has moved, and refused where it has not.
async fn claim_for_mint(db: &Db, config: &WalletConfig) -> Result<MintUrl, WalletError> {
    let (space, subspace, key) = MINT_KEY;
    let stored = db
        .kv_read(space, subspace, key)
        .await?
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let known: Option<MintUrl> = stored.and_then(|text| text.parse().ok());
    let new = match (&config.mint_url, &known) {
        (Some(configured), _) => configured.clone(),
        (None, Some(known)) => known.clone(),
        (None, None) => WalletConfig::default_mint()?,
    };
    match known {
        Some(known) if known == new => return Ok(new),
        // Whoever forgot to name the mint, or mistyped it, is not bound to what has never answered. What this seed has
        // earned at the new mint, only that one knows.
        Some(known) if !is_bound(db, &known).await? => {
            restore::mark(&config.data_dir)?;
            db.update_mint_url(known, new.clone()).await?;
        }
        Some(known) if config.mint_has_moved => {
            for mut saga in db
                .get_incomplete_sagas()
                .await?
                .into_iter()
                .filter(|saga| saga.mint_url == known)
            {
                saga.mint_url = new.clone();
                saga.version += 1;
                db.update_saga(saga).await?;
            }
            db.update_mint_url(known.clone(), new.clone()).await?;
            tracing::info!(from = %known, to = %new, "the wallet's mint has moved");
        }
        Some(known) => {
            return Err(WalletError::OtherMint {
                known,
                configured: new,
                mark: Misconfigured { located: false },
            });
        }
        None => {}
    }
    db.kv_write(space, subspace, key, new.to_string().as_bytes()).await?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use cdk::nuts::MintInfo;

    use super::*;

    fn config(folder: &Path, port: u16) -> WalletConfig {
        WalletConfig::new(
            format!("http://127.0.0.1:{port}").parse().unwrap(),
            folder.join("wallet"),
        )
    }

    #[tokio::test]
    async fn the_directory_and_all_files_in_it_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), 1);
        let store = Store::open(&config).await.unwrap();
        store.remember("q").await.unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&config.data_dir), 0o700);
        let files: Vec<_> = std::fs::read_dir(&config.data_dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(files.len() >= 4, "{files:?}");
        for file in files {
            assert_eq!(mode(&file), 0o600, "{}", file.display());
        }
    }

    #[tokio::test]
    async fn only_one_may_have_it_open() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), 1);
        let first = Store::open(&config).await.unwrap();
        let error = Store::open(&config).await.err().unwrap();
        assert!(matches!(error, WalletError::InUse { .. }), "{error}");
        drop(first);
        Store::open(&config).await.unwrap();
    }

    #[tokio::test]
    async fn a_remembered_quote_and_the_locking_key_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), 1);
        let store = Store::open(&config).await.unwrap();
        let key = store.locking_key();
        store.remember("q1").await.unwrap();
        store.remember("q2").await.unwrap();
        store.forget("q2").await.unwrap();
        drop(store);

        let store = Store::open(&config).await.unwrap();
        assert_eq!(store.locking_key(), key);
        let quotes = store.quotes().await.unwrap();
        assert_eq!(quotes.len(), 1);
        assert_eq!(quotes[0].id, "q1");
        assert_eq!(quotes[0].secret_key.as_ref().unwrap().public_key(), key);
        assert!(!is_issued(&quotes[0]));
        assert_eq!(store.balance().await.unwrap(), 0);
    }

    /// What CDK notes at the mint's first answer.
    async fn answered(store: &Store) {
        let (db, mint) = (&store.wallet.localstore, store.wallet.mint_url.clone());
        db.add_mint(mint, Some(MintInfo::default())).await.unwrap();
    }

    #[tokio::test]
    async fn an_empty_wallet_takes_any_mint_and_the_last_is_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let unnamed = WalletConfig {
            mint_url: None,
            ..config(folder.path(), 1)
        };
        let mint = async |config: &WalletConfig| Store::open(config).await.unwrap().wallet.mint_url.to_string();
        assert_eq!(mint(&unnamed).await, "http://127.0.0.1:3338");
        assert_eq!(mint(&config(folder.path(), 2)).await, "http://127.0.0.1:2");
        assert_eq!(mint(&unnamed).await, "http://127.0.0.1:2");
        // The new one may know of something.
        let store = Store::open(&unnamed).await.unwrap();
        let error = store.restore().await.unwrap_err();
        assert!(matches!(error, WalletError::Restore { .. }), "{error}");
        store.remember("q").await.unwrap();
        answered(&store).await;
        drop(store);
        assert_eq!(mint(&unnamed).await, "http://127.0.0.1:2");
        let error = Store::open(&config(folder.path(), 3)).await.err().unwrap().to_string();
        assert!(error.contains("--mint") && error.contains("wallet.mint_url"), "{error}");
    }

    #[tokio::test]
    async fn quotes_that_wait_for_a_mint_that_has_never_answered_go_to_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let mistyped = Store::open(&config(folder.path(), 1)).await.unwrap();
        mistyped.remember("q").await.unwrap();
        drop(mistyped);
        let store = Store::open(&config(folder.path(), 2)).await.unwrap();
        assert_eq!(store.wallet.mint_url.to_string(), "http://127.0.0.1:2");
        assert_eq!(store.quotes().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_wallet_of_another_mint_is_refused_unless_the_mint_has_moved() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&config(folder.path(), 1)).await.unwrap();
        store.remember("q").await.unwrap();
        answered(&store).await;
        drop(store);

        let mut moved = config(folder.path(), 2);
        let error = Store::open(&moved).await.err().unwrap();
        assert!(
            error.to_string().contains("belongs to the mint at http://127.0.0.1:1"),
            "{error}"
        );
        moved.mint_has_moved = true;
        let store = Store::open(&moved).await.unwrap();
        assert_eq!(store.quotes().await.unwrap().len(), 1);
        drop(store);
        moved.mint_has_moved = false;
        Store::open(&moved).await.unwrap();
    }
}
