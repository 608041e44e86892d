//! The wallet against a real mint over HTTP, through a proxy that misbehaves.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cdk::nuts::SecretKey;
use mint_link::{HeaderHash, MintQuoteRequest, QuoteAnswer};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;

mod copies;
mod proxy;
mod tokens;

use proxy::{Fault, Proxy};

const BATCH: &str = "POST /v1/mint/ehash/batch";
const SINGLE: &str = "POST /v1/mint/ehash";

/// A mint, and a wallet's directory.
struct Rig {
    folder: tempfile::TempDir,
    mint: mint::Running,
    proxy: Arc<Proxy>,
    config: WalletConfig,
}

impl Rig {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let anywhere = "127.0.0.1:0".parse().unwrap();
        let mut config = mint::MintConfig {
            data_dir: folder.path().join("mint"),
            ..mint::MintConfig::default()
        };
        config.http.listen = anywhere;
        config.dashboard.listen = anywhere;
        let mint = mint::start(config, CancellationToken::new()).await.unwrap();
        let (proxy, address) = Proxy::start(mint.http_address()).await;
        let wallet: PathBuf = folder.path().join("wallet");
        let mut config = WalletConfig::new(format!("http://{address}").parse().unwrap(), wallet);
        config.gather = Duration::from_millis(20);
        Self {
            folder,
            mint,
            proxy,
            config,
        }
    }

    /// Quotes of these amounts, paid, locked to the key.
    async fn quotes(&self, locking_key: [u8; 33], amounts: impl IntoIterator<Item = u64>) -> Vec<String> {
        let mut ids = Vec::new();
        for amount in amounts {
            let request = MintQuoteRequest {
                amount,
                unit: "hash".to_owned(),
                header_hash: HeaderHash(rand::random()),
                description: None,
                locking_key: locking_key.to_vec(),
            };
            match self.mint.desk().request(request).await {
                QuoteAnswer::Created { quote_id, .. } => ids.push(quote_id),
                QuoteAnswer::Refused { message, .. } => panic!("{message}"),
            }
        }
        ids
    }

    async fn wallet(&self) -> Wallet {
        let (redeemer, task) = Redeemer::open(&self.config).await.unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(task.run(stop.clone()));
        Wallet { redeemer, task, stop }
    }

    /// What the mint says it has issued, from its ledger and from SQL.
    async fn issued(&self) -> u64 {
        let audit = self.mint.ledger().audit().await.unwrap();
        assert!(audit.is_consistent(), "{audit:?}");
        self.mint.ledger().subscribe().borrow().ehash.amounts.issued
    }
}

/// A wallet at work.
struct Wallet {
    redeemer: Redeemer,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Wallet {
    async fn until(&self, what: impl FnMut(&Progress) -> bool) -> Progress {
        let mut progress = self.redeemer.progress();
        let reached = timeout(Duration::from_secs(60), progress.wait_for(what)).await;
        match reached {
            Ok(now) => now.unwrap().clone(),
            Err(_) => panic!("stuck at {:?}", self.redeemer.progress().borrow()),
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// Ends it as a crash would: whatever it was doing, it does no more.
    async fn crash(self) {
        self.task.abort();
        self.task.await.unwrap_err();
    }
}

#[tokio::test]
async fn quotes_become_ehash_in_batches() {
    let rig = Rig::start().await;
    let wallet = rig.wallet().await;
    let amounts: Vec<u64> = (0..60).map(|i| 1 << (i % 40)).collect();
    let total: u64 = amounts.iter().sum();
    let ids = rig.quotes(wallet.redeemer.locking_key(), amounts).await;
    wallet.redeemer.add(&ids).await.unwrap();

    let progress = wallet.until(|progress| progress.redeemed_quotes == 60).await;
    assert_eq!(
        progress,
        Progress {
            redeemed_quotes: 60,
            redeemed_amount: total,
            ..Progress::default()
        }
    );
    assert_eq!(wallet.redeemer.balance().await.unwrap(), total);
    assert_eq!(rig.issued().await, total);
    assert_eq!(rig.proxy.count(SINGLE), 0);
    assert!(rig.proxy.count(BATCH) <= 6, "{}", rig.proxy.count(BATCH));
    wallet.stop().await;
}

#[tokio::test]
async fn what_was_not_minted_before_a_restart_is_minted_after_it() {
    let rig = Rig::start().await;
    let (redeemer, task) = Redeemer::open(&rig.config).await.unwrap();
    let ids = rig.quotes(redeemer.locking_key(), [4, 8]).await;
    redeemer.add(&ids).await.unwrap();
    drop((redeemer, task));

    let wallet = rig.wallet().await;
    wallet.until(|progress| progress.redeemed_amount == 12).await;
    wallet.stop().await;
    let wallet = rig.wallet().await;
    assert_eq!(*wallet.redeemer.progress().borrow(), Progress::default());
    assert_eq!(wallet.redeemer.balance().await.unwrap(), 12);
}

#[tokio::test]
async fn while_the_mint_is_away_quotes_wait_and_then_all_are_minted() {
    let rig = Rig::start().await;
    rig.proxy.set(Fault::Away);
    let wallet = rig.wallet().await;
    let ids = rig.quotes(wallet.redeemer.locking_key(), [1, 2, 4]).await;
    wallet.redeemer.add(&ids).await.unwrap();
    let progress = wallet.until(|progress| progress.last_error.is_some()).await;
    assert_eq!((progress.waiting, progress.redeemed_quotes), (3, 0));

    rig.proxy.set(Fault::None);
    let progress = wallet
        .until(|progress| progress.redeemed_quotes == 3 && progress.last_error.is_none())
        .await;
    assert_eq!(
        progress,
        Progress {
            redeemed_quotes: 3,
            redeemed_amount: 7,
            ..Progress::default()
        }
    );
    wallet.stop().await;
}

#[tokio::test]
async fn a_mistyped_mint_that_has_never_answered_binds_no_wallet() {
    let mut rig = Rig::start().await;
    let mistyped = "http://127.0.0.1:1".parse().unwrap();
    let right = rig.config.mint_url.replace(mistyped);
    let address = right.clone().unwrap();
    let wallet = rig.wallet().await;
    let ids = rig.quotes(wallet.redeemer.locking_key(), [4, 8]).await;
    wallet.redeemer.add(&ids).await.unwrap();
    wallet.until(|progress| progress.last_error.is_some()).await;
    wallet.stop().await;

    let mistyped = std::mem::replace(&mut rig.config.mint_url, right);
    let wallet = rig.wallet().await;
    wallet.until(|progress| progress.redeemed_amount == 12).await;
    wallet.stop().await;

    rig.config.mint_url = mistyped;
    let error = Redeemer::open(&rig.config).await.err().unwrap().to_string();
    assert!(error.contains(&format!("belongs to the mint at {address}")), "{error}");
}

#[tokio::test]
async fn an_answer_that_got_lost_is_fetched_again() {
    let rig = Rig::start().await;
    let wallet = rig.wallet().await;
    for (amounts, total) in [(vec![1, 2, 4, 8], 15), (vec![16], 31)] {
        rig.proxy.set(Fault::LoseOneAnswer);
        let ids = rig.quotes(wallet.redeemer.locking_key(), amounts).await;
        wallet.redeemer.add(&ids).await.unwrap();
        wallet.until(|progress| progress.redeemed_amount == total).await;
        assert_eq!(wallet.redeemer.balance().await.unwrap(), total);
        assert_eq!(rig.issued().await, total);
    }
    wallet.stop().await;
}

#[tokio::test]
async fn a_crash_between_the_mints_signature_and_our_storing_it_loses_nothing() {
    for count in [1, 5] {
        let mut rig = Rig::start().await;
        rig.proxy.set(Fault::HoldAnswers);
        let wallet = rig.wallet().await;
        let ids = rig.quotes(wallet.redeemer.locking_key(), vec![32; count]).await;
        wallet.redeemer.add(&ids).await.unwrap();
        rig.proxy.held.notified().await;
        let total = 32 * count as u64;
        assert_eq!(rig.issued().await, total);
        wallet.crash().await;

        // To make it harder, the mint has moved meanwhile.
        rig.proxy.set(Fault::None);
        rig.config.mint_url = format!("http://{}", rig.proxy.serve_anew().await).parse().ok();
        rig.config.mint_has_moved = true;
        let wallet = rig.wallet().await;
        let progress = wallet.until(|progress| progress.redeemed_quotes == count as u64).await;
        assert_eq!(progress.redeemed_amount, total);
        assert_eq!(wallet.redeemer.balance().await.unwrap(), total);
        assert_eq!(rig.issued().await, total);
        wallet.stop().await;
    }
}

#[tokio::test]
async fn what_was_interrupted_on_its_last_step_still_waits() {
    let rig = Rig::start().await;
    rig.proxy.set(Fault::HoldAnswers);
    let wallet = rig.wallet().await;
    let ids = rig.quotes(wallet.redeemer.locking_key(), [4, 8]).await;
    wallet.redeemer.add(&ids).await.unwrap();
    rig.proxy.held.notified().await;
    wallet.crash().await;
    // CDK notes that a quote is issued, and then its ehash.
    let store = store::Store::open(&rig.config).await.unwrap();
    for mut quote in store.quotes().await.unwrap() {
        quote.amount_issued = quote.amount_paid;
        store.wallet.localstore.add_mint_quote(quote).await.unwrap();
    }
    drop(store);

    let (redeemer, task) = Redeemer::open(&rig.config).await.unwrap();
    assert_eq!(redeemer.progress().borrow().waiting, 2);
    drop((redeemer, task));
    rig.proxy.set(Fault::None);
    let wallet = rig.wallet().await;
    let progress = wallet.until(|progress| progress.waiting == 0).await;
    assert_eq!((progress.redeemed_quotes, progress.redeemed_amount), (2, 12));
    assert_eq!(wallet.redeemer.balance().await.unwrap(), 12);
    assert_eq!(rig.issued().await, 12);
    wallet.stop().await;
}

#[tokio::test]
async fn an_operation_that_the_mint_is_at_is_finished_later() {
    let rig = Rig::start().await;
    rig.proxy.set(Fault::PendOneMinting);
    let wallet = rig.wallet().await;
    let ids = rig.quotes(wallet.redeemer.locking_key(), [16]).await;
    wallet.redeemer.add(&ids).await.unwrap();
    wallet.until(|progress| progress.redeemed_amount == 16).await;
    assert_eq!(wallet.redeemer.balance().await.unwrap(), 16);
    wallet.stop().await;
}

#[tokio::test]
async fn bad_quotes_hold_no_others_up_and_are_tried_again_after_a_restart() {
    let rig = Rig::start().await;
    let wallet = rig.wallet().await;
    let key = wallet.redeemer.locking_key();
    let mut ids = rig.quotes(key, [1, 2]).await;
    ids.push("7c9e6679-7425-40de-944b-e07fc1f90ae7".to_owned());
    ids.extend(rig.quotes(SecretKey::generate().public_key().to_bytes(), [1024]).await);
    ids.push("no-uuid".to_owned());
    ids.extend(rig.quotes(key, [4]).await);
    wallet.redeemer.add(&ids).await.unwrap();

    let told = wallet
        .until(|progress| progress.refused == 3 && progress.waiting == 0)
        .await;
    assert_eq!((told.redeemed_quotes, told.redeemed_amount), (3, 7));
    assert!(told.last_refusal.is_some());
    assert_eq!(rig.issued().await, 7);
    let more = rig.quotes(key, [8]).await;
    wallet.redeemer.add(&more).await.unwrap();
    wallet.until(|progress| progress.redeemed_amount == 15).await;
    wallet.stop().await;

    let wallet = rig.wallet().await;
    assert_eq!(wallet.redeemer.progress().borrow().waiting, 3);
    wallet.until(|progress| progress.refused == 3).await;
    wallet.stop().await;
}

#[tokio::test]
async fn a_quote_that_was_minted_before_is_recognised() {
    let rig = Rig::start().await;
    let wallet = rig.wallet().await;
    let ids = rig.quotes(wallet.redeemer.locking_key(), [1, 2]).await;
    assert_eq!(wallet.redeemer.add(&ids).await.unwrap(), 2);
    assert_eq!(wallet.redeemer.add(&ids).await.unwrap(), 0);
    wallet.until(|progress| progress.redeemed_quotes == 2).await;
    // This run remembers them, and asks nobody.
    assert_eq!(wallet.redeemer.add(&ids).await.unwrap(), 0);
    assert_eq!(wallet.redeemer.progress().borrow().waiting, 0);
    wallet.stop().await;

    // The next one does not, and the mint tells.
    let wallet = rig.wallet().await;
    assert_eq!(wallet.redeemer.add(&ids).await.unwrap(), 2);
    let progress = wallet.until(|progress| progress.already_issued == 2).await;
    assert_eq!((progress.redeemed_quotes, progress.waiting), (0, 0));
    assert_eq!(wallet.redeemer.balance().await.unwrap(), 3);
    wallet.stop().await;
}

#[tokio::test]
async fn a_mint_without_batches_is_asked_one_by_one() {
    let rig = Rig::start().await;
    rig.proxy.set(Fault::HideBatches);
    let wallet = rig.wallet().await;
    let ids = rig.quotes(wallet.redeemer.locking_key(), [1, 2, 4]).await;
    wallet.redeemer.add(&ids).await.unwrap();
    wallet.until(|progress| progress.redeemed_amount == 7).await;
    assert_eq!((rig.proxy.count(SINGLE), rig.proxy.count(BATCH)), (3, 0));
    wallet.stop().await;
}

#[tokio::test]
async fn a_request_that_the_mint_will_never_sign_sets_its_quotes_free() {
    let rig = Rig::start().await;
    rig.proxy.set(Fault::NoMinting);
    let wallet = rig.wallet().await;
    let mut ids = rig.quotes(wallet.redeemer.locking_key(), [1, 2]).await;
    ids.extend(rig.quotes(SecretKey::generate().public_key().to_bytes(), [1024]).await);
    wallet.redeemer.add(&ids).await.unwrap();
    wallet.until(|progress| progress.last_error.is_some()).await;
    wallet.stop().await;

    // The mint is back, but refuses the batch for its bad quote: the batch is stuck until it is old enough.
    rig.proxy.set(Fault::None);
    let now = cdk::util::unix_time();
    let store = store::Store::open(&rig.config).await.unwrap();
    assert_eq!(store.unfinished().await.unwrap().len(), 1);
    assert!(!recovery::recover(&store, now).await.unwrap());
    assert!(recovery::recover(&store, now + 61).await.unwrap());
    drop(store);

    let wallet = rig.wallet().await;
    let progress = wallet
        .until(|progress| progress.refused == 1 && progress.waiting == 0)
        .await;
    assert_eq!((progress.redeemed_quotes, progress.redeemed_amount), (2, 3));
    assert_eq!(wallet.redeemer.balance().await.unwrap(), 3);
    assert_eq!(rig.issued().await, 3);
    wallet.stop().await;
}

#[tokio::test]
async fn a_request_that_the_mint_has_signed_is_never_given_up() {
    let rig = Rig::start().await;
    rig.proxy.set(Fault::HoldAnswers);
    let wallet = rig.wallet().await;
    let ids = rig.quotes(wallet.redeemer.locking_key(), [1, 2]).await;
    wallet.redeemer.add(&ids).await.unwrap();
    rig.proxy.held.notified().await;
    wallet.crash().await;

    rig.proxy.set(Fault::FailOneRestore);
    let much_later = cdk::util::unix_time() + 1_000_000;
    let store = store::Store::open(&rig.config).await.unwrap();
    recovery::recover(&store, much_later).await.unwrap_err();
    assert!(recovery::recover(&store, much_later).await.unwrap());
    assert_eq!(store.balance().await.unwrap(), 3);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_mint_that_hangs() {
    let rig = Rig::start().await;
    rig.proxy.set(Fault::HoldAnswers);
    let wallet = rig.wallet().await;
    let ids = rig.quotes(wallet.redeemer.locking_key(), [1, 2]).await;
    wallet.redeemer.add(&ids).await.unwrap();
    rig.proxy.held.notified().await;
    timeout(Duration::from_secs(4), wallet.stop()).await.unwrap();
    drop(rig.folder);
}

#[tokio::test]
async fn what_is_no_quote_id_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let config = WalletConfig::new("http://127.0.0.1:1".parse().unwrap(), folder.path().join("wallet"));
    let (redeemer, _task) = Redeemer::open(&config).await.unwrap();
    for id in ["", "../keys", "a b", "a?b", &"a".repeat(129)] {
        assert!(matches!(redeemer.add([id]).await, Err(WalletError::QuoteId)), "{id}");
    }
    assert_eq!(redeemer.progress().borrow().waiting, 0);
}
