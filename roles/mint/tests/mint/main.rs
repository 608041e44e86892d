//! A mint through its front doors: the Cashu API over HTTP, the desk, its own page, its files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{path::Path, time::Duration};

use cdk::{
    Amount,
    dhke::{blind_message, construct_proofs},
    mint::MintInput,
    nuts::{BlindSignature, BlindedMessage, CurrencyUnit, Id, Keys, MintRequest, Proofs, SecretKey},
    secret::Secret,
};
use cdk_common::payment::{PaymentIdentifier, WaitPaymentResponse};
use mint::{MintConfig, Running, StartError};
use mint_link::{HeaderHash, MintQuoteRequest, QuoteAnswer};
use serde_json::{Value, json};
use stats_push::{PerState, Reason};
use tokio_util::sync::CancellationToken;

mod linked;
mod old_pool;
mod program;

fn config(folder: &Path) -> MintConfig {
    let mut config = MintConfig {
        data_dir: folder.join("mint"),
        ..MintConfig::default()
    };
    config.http.listen.set_port(0);
    config.dashboard.listen.set_port(0);
    config
}

async fn start(folder: &Path) -> Running {
    mint::start(config(folder), CancellationToken::new()).await.unwrap()
}

/// A request for a quote of `amount`, for a share that hashes to `hash` repeated, locked to `key`.
fn request(hash: u8, amount: u64, key: &SecretKey) -> MintQuoteRequest {
    MintQuoteRequest {
        amount,
        unit: "HASH".to_owned(),
        header_hash: HeaderHash([hash; 32]),
        description: None,
        locking_key: key.public_key().to_bytes().to_vec(),
    }
}

async fn quote(running: &Running, hash: u8, amount: u64, key: &SecretKey) -> String {
    match running.desk().request(request(hash, amount, key)).await {
        QuoteAnswer::Created { quote_id, .. } => quote_id,
        refused => panic!("{refused:?}"),
    }
}

/// As much of a wallet as the tests need, over HTTP.
struct Wallet {
    http: reqwest::Client,
    base: String,
    keyset: Id,
    keys: Keys,
}

/// Outputs with what unblinds their signatures.
struct Outputs {
    messages: Vec<BlindedMessage>,
    secrets: Vec<Secret>,
    blinding: Vec<SecretKey>,
}

impl Wallet {
    async fn new(running: &Running) -> Self {
        let http = reqwest::Client::new();
        let base = format!("http://{}/v1", running.http_address());
        let keys: Value = http
            .get(format!("{base}/keys"))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let keyset = &keys["keysets"][0];
        assert_eq!(keyset["unit"], "hash");
        Self {
            http,
            base,
            keyset: serde_json::from_value(keyset["id"].clone()).unwrap(),
            keys: serde_json::from_value(keyset["keys"].clone()).unwrap(),
        }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self
            .http
            .post(format!("{}{path}", self.base))
            .json(body)
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    fn outputs(&self, amounts: &[u64]) -> Outputs {
        let mut outputs = Outputs {
            messages: Vec::new(),
            secrets: Vec::new(),
            blinding: Vec::new(),
        };
        for amount in amounts {
            let secret = Secret::generate();
            let (blinded, blinding) = blind_message(&secret.to_bytes(), None).unwrap();
            outputs
                .messages
                .push(BlindedMessage::new(Amount::from(*amount), self.keyset, blinded));
            outputs.secrets.push(secret);
            outputs.blinding.push(blinding);
        }
        outputs
    }

    fn proofs(&self, outputs: Outputs, signatures: &Value) -> Proofs {
        let signatures: Vec<BlindSignature> = serde_json::from_value(signatures["signatures"].clone()).unwrap();
        construct_proofs(signatures, outputs.blinding, outputs.secrets, &self.keys).unwrap()
    }

    fn signed(&self, quote: &str, outputs: &Outputs, key: &SecretKey) -> MintRequest<String> {
        let mut request = MintRequest {
            quote: quote.to_owned(),
            outputs: outputs.messages.clone(),
            signature: None,
        };
        request.sign(key).unwrap();
        request
    }
}

#[tokio::test]
async fn a_wallet_mints_swaps_and_checks_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let (wallet, key) = (Wallet::new(&running).await, SecretKey::generate());
    let quote = quote(&running, 1, 11, &key).await;

    let (status, seen) = wallet.get(&format!("/mint/quote/ehash/{quote}")).await;
    assert_eq!(
        (status, &seen["amount_paid"], &seen["amount_issued"]),
        (200, &json!(11), &json!(0))
    );
    assert_eq!(seen["pubkey"], key.public_key().to_hex());

    let outputs = wallet.outputs(&[1, 2, 8]);
    let request = serde_json::to_value(wallet.signed(&quote, &outputs, &key)).unwrap();
    let (status, minted) = wallet.post("/mint/ehash", &request).await;
    assert_eq!(status, 200, "{minted}");
    let proofs = wallet.proofs(outputs, &minted);

    let fresh = wallet.outputs(&[1, 2, 4, 4]);
    let swap = json!({"inputs": proofs, "outputs": fresh.messages});
    let (status, swapped) = wallet.post("/swap", &swap).await;
    assert_eq!(status, 200, "{swapped}");
    let spent: Vec<_> = proofs.iter().map(|proof| proof.y().unwrap()).collect();
    let (_, states) = wallet.post("/checkstate", &json!({"Ys": spent})).await;
    assert!(
        states["states"]
            .as_array()
            .unwrap()
            .iter()
            .all(|state| state["state"] == "SPENT"),
        "{states}"
    );

    // Swapping issued signatures, but no ehash: the totals know quotes only.
    let totals = running.ledger().subscribe().borrow().clone();
    assert_eq!((totals.ehash.quotes_redeemed, totals.ehash.amounts.issued), (1, 11));
    assert!(running.ledger().audit().await.unwrap().is_consistent());
    running.stop().await;
}

#[tokio::test]
async fn a_wallet_mints_many_quotes_in_one_batch() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let (wallet, key) = (Wallet::new(&running).await, SecretKey::generate());
    let mut quotes = Vec::new();
    for hash in 0..5 {
        quotes.push(quote(&running, hash, 4, &key).await);
    }
    let outputs = wallet.outputs(&[4, 16]);
    let ids: Vec<cdk::mint::QuoteId> = quotes.iter().map(|quote| quote.parse().unwrap()).collect();
    let mut batch = cdk_common::BatchMintRequest {
        quotes: ids.clone(),
        quote_amounts: None,
        outputs: outputs.messages.clone(),
        signatures: None,
    };
    let signatures = ids.iter().map(|id| Some(batch.sign_quote(id, &key).unwrap()));
    batch.signatures = Some(signatures.collect());
    let (status, minted) = wallet
        .post("/mint/ehash/batch", &serde_json::to_value(&batch).unwrap())
        .await;
    assert_eq!(status, 200, "{minted}");
    assert_eq!(wallet.proofs(outputs, &minted).len(), 2);
    let totals = running.ledger().subscribe().borrow().clone();
    assert_eq!((totals.ehash.quotes_redeemed, totals.ehash.amounts.issued), (5, 20));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_that_goes_away_in_the_middle_leaves_nothing_pending() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let (wallet, key) = (Wallet::new(&running).await, SecretKey::generate());
    let mut swapped = 0;
    for hash in 0..20 {
        let quote = quote(&running, hash, 8, &key).await;
        let outputs = wallet.outputs(&[8]);
        let request = serde_json::to_value(wallet.signed(&quote, &outputs, &key)).unwrap();
        let (_, minted) = wallet.post("/mint/ehash", &request).await;
        let proofs = wallet.proofs(outputs, &minted);
        let swap = json!({"inputs": proofs, "outputs": wallet.outputs(&[4, 4]).messages});
        // Sooner or later: sometimes before it is begun, sometimes after its end, mostly in between.
        let patience = Duration::from_millis(u64::from(hash));
        let _ = tokio::time::timeout(patience, Wallet::new(&running).await.post("/swap", &swap)).await;
        let spent = [proofs[0].y().unwrap()];
        let over = async {
            loop {
                let (_, states) = wallet.post("/checkstate", &json!({"Ys": spent})).await;
                match states["states"][0]["state"].as_str().unwrap() {
                    "PENDING" => tokio::time::sleep(Duration::from_millis(10)).await,
                    state => return state == "SPENT",
                }
            }
        };
        let over = tokio::time::timeout(Duration::from_secs(30), over).await;
        swapped += usize::from(over.expect("the swap is pending for ever"));
    }
    assert!(swapped > 0);
    running.stop().await;
}

#[tokio::test]
async fn a_quote_can_be_redeemed_when_its_unit_is_configured_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let (mut wallet, key) = (Wallet::new(&running).await, SecretKey::generate());
    let quote = quote(&running, 1, 8, &key).await;
    running.stop().await;

    let mut next_epoch = config(folder.path());
    next_epoch.quotes.units = vec!["hash_2".to_owned()];
    let running = mint::start(next_epoch, CancellationToken::new()).await.unwrap();
    wallet.base = format!("http://{}/v1", running.http_address());
    let (status, seen) = wallet.get(&format!("/mint/quote/ehash/{quote}")).await;
    assert_eq!((status, &seen["amount_paid"]), (200, &json!(8)));
    let outputs = wallet.outputs(&[8]);
    let request = serde_json::to_value(wallet.signed(&quote, &outputs, &key)).unwrap();
    let (status, minted) = wallet.post("/mint/ehash", &request).await;
    assert_eq!(status, 200, "{minted}");
    let swap = json!({"inputs": wallet.proofs(outputs, &minted), "outputs": wallet.outputs(&[4, 4]).messages});
    let (status, swapped) = wallet.post("/swap", &swap).await;
    assert_eq!(status, 200, "{swapped}");
    running.stop().await;
}

#[tokio::test]
async fn a_look_at_a_quote_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let wallet = Wallet::new(&running).await;
    let quote = quote(&running, 1, 8, &SecretKey::generate()).await;
    let beside = rusqlite::Connection::open(folder.path().join("mint").join(mint::DATABASE)).unwrap();
    // Changes with every commit of another connection.
    let commits = || {
        beside
            .query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    let before = commits();
    let (status, _) = wallet.get(&format!("/mint/quote/ehash/{quote}")).await;
    assert_eq!((status, commits()), (200, before));
    running.stop().await;
}

#[tokio::test]
async fn what_a_wallet_must_not_do_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let (wallet, key) = (Wallet::new(&running).await, SecretKey::generate());
    let before = running.ledger().subscribe().borrow().clone();

    // Quotes are for shares only: nobody may squat a hash.
    let (status, _) = wallet
        .post("/mint/quote/ehash", &json!({"amount": 8, "unit": "hash"}))
        .await;
    assert!((400..500).contains(&status), "{status}");
    let (status, _) = wallet
        .post("/mint/quote/bolt11", &json!({"amount": 8, "unit": "sat"}))
        .await;
    assert!((400..500).contains(&status), "{status}");
    assert_eq!(*running.ledger().subscribe().borrow(), before);

    // The key that the quote is locked to, or nothing.
    let quote = quote(&running, 1, 8, &key).await;
    let outputs = wallet.outputs(&[8]);
    let unsigned = json!({"quote": quote, "outputs": outputs.messages});
    let (status, _) = wallet.post("/mint/ehash", &unsigned).await;
    assert!((400..500).contains(&status), "{status}");
    let thief = serde_json::to_value(wallet.signed(&quote, &outputs, &SecretKey::generate())).unwrap();
    let (status, _) = wallet.post("/mint/ehash", &thief).await;
    assert!((400..500).contains(&status), "{status}");

    // Once.
    let honest = serde_json::to_value(wallet.signed(&quote, &outputs, &key)).unwrap();
    let (status, minted) = wallet.post("/mint/ehash", &honest).await;
    assert_eq!(status, 200, "{minted}");
    let proofs = wallet.proofs(outputs, &minted);
    let again = wallet.outputs(&[8]);
    let again = serde_json::to_value(wallet.signed(&quote, &again, &key)).unwrap();
    let (status, refusal) = wallet.post("/mint/ehash", &again).await;
    assert!((400..500).contains(&status), "{status} {refusal}");

    // Melting is off, and is said to be.
    let (_, info) = wallet.get("/info").await;
    assert_eq!(info["nuts"]["5"]["disabled"], true, "{info}");
    let melt = json!({"method": "ehash", "request": "x", "unit": "hash", "amount": 8});
    let (status, refusal) = wallet.post("/melt/quote/ehash", &melt).await;
    assert!((400..500).contains(&status), "{status} {refusal}");
    let melt = json!({"quote": quote, "inputs": proofs});
    let (status, _) = wallet.post("/melt/ehash", &melt).await;
    assert!((400..500).contains(&status), "{status}");

    let totals = running.ledger().subscribe().borrow().clone();
    assert_eq!(
        totals.ehash.quotes,
        PerState {
            unpaid: 0,
            paid: 0,
            issued: 1
        }
    );
    running.stop().await;
}

#[tokio::test]
async fn a_quote_is_paid_once_whoever_asks() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let key = SecretKey::generate();
    let id = quote(&running, 1, 8, &key).await;
    let before = running.ledger().subscribe().borrow().clone();
    let paid_again = WaitPaymentResponse {
        payment_identifier: PaymentIdentifier::QuoteId(id.parse().unwrap()),
        payment_amount: Amount::new(8, CurrencyUnit::custom("hash")),
        payment_id: "another".to_owned(),
    };
    running
        .cashu()
        .pay_mint_quote_for_request_id(paid_again)
        .await
        .unwrap_err();
    assert_eq!(*running.ledger().subscribe().borrow(), before);
    assert!(running.ledger().audit().await.unwrap().is_consistent());
    running.stop().await;
}

#[tokio::test]
async fn issuing_in_process_is_counted_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let (wallet, key) = (Wallet::new(&running).await, SecretKey::generate());
    let quote = quote(&running, 1, 8, &key).await;
    let outputs = wallet.outputs(&[8]);
    let signed = wallet.signed(&quote, &outputs, &key);
    let request = MintRequest {
        quote: quote.parse().unwrap(),
        outputs: signed.outputs,
        signature: signed.signature,
    };
    running
        .cashu()
        .process_mint_request(MintInput::Single(request))
        .await
        .unwrap();
    assert_eq!(running.ledger().subscribe().borrow().ehash.quotes_redeemed, 1);
    running.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_totals_keys_and_quotes_and_refreshes_the_info() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let key = SecretKey::generate();
    let id = quote(&running, 1, 8, &key).await;
    let (public_key, keyset) = (running.public_key(), Wallet::new(&running).await.keyset);
    let totals = running.ledger().subscribe().borrow().clone();
    running.stop().await;

    let mut renamed = config(folder.path());
    renamed.info.name = "another name".to_owned();
    assert_eq!(mint::public_key(&renamed).unwrap(), public_key);
    let running = mint::start(renamed, CancellationToken::new()).await.unwrap();
    let wallet = Wallet::new(&running).await;
    assert_eq!((running.public_key(), wallet.keyset), (public_key, keyset));
    assert_eq!(*running.ledger().subscribe().borrow(), totals);
    assert_eq!(quote(&running, 1, 8, &key).await, id);
    assert_eq!(wallet.get("/info").await.1["name"], "another name");
    running.stop().await;
}

#[tokio::test]
async fn the_own_page_shows_what_is_issued_and_ends_with_a_final_push() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let (cache, mut changed) = (running.cache().clone(), running.cache().changed());
    quote(&running, 1, 8, &SecretKey::generate()).await;
    let paid = |cache: &stats_push::SnapshotCache| {
        let view = cache.load();
        view.latest
            .as_ref()
            .is_some_and(|latest| latest.snapshot.ehash.quotes.paid == 1)
    };
    while !paid(&cache) {
        changed.changed().await.unwrap();
    }
    let page = format!("http://{}", running.dashboard_address());
    let stats: Value = reqwest::get(format!("{page}/api/v1/mint/stats"))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        (&stats["status"], &stats["amounts"]["paid"]),
        (&json!("live"), &json!("8"))
    );
    let metrics = reqwest::get(format!("{page}/metrics"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(metrics.contains("ehash_quotes_created_total 1"), "{metrics}");
    assert_eq!(
        reqwest::get(format!("{page}/readyz")).await.unwrap().status().as_u16(),
        200
    );
    running.stop().await;
    let last = cache.load().latest.as_ref().map(|latest| latest.snapshot.reason);
    assert_eq!(last, Some(Reason::Final));
}

#[tokio::test]
async fn a_start_that_cannot_be_is_one_clear_line_and_leaves_nothing_running() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let line = |error: StartError| {
        let line = error.to_string();
        assert!(!line.contains('\n'), "{line}");
        line
    };

    let error = mint::start(config(folder.path()), CancellationToken::new())
        .await
        .unwrap_err();
    assert!(line(error).contains("another mint is using it"));

    let other = tempfile::tempdir().unwrap();
    let mut taken = config(other.path());
    taken.http.listen = running.http_address();
    let error = mint::start(taken, CancellationToken::new()).await.unwrap_err();
    assert!(line(error).contains("http.listen = "));
    running.stop().await;

    // A file that is no database. The mint that did not start holds neither the directory nor a port.
    let path = other.path().join("mint").join(mint::DATABASE);
    std::fs::write(&path, "no database at all, but long enough to be read as one").unwrap();
    let error = line(
        mint::start(config(other.path()), CancellationToken::new())
            .await
            .unwrap_err(),
    );
    assert!(error.contains("mint.sqlite: can't open the mint's database"), "{error}");
    std::fs::remove_file(&path).unwrap();
    start(other.path()).await.stop().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_silent_clients() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let _silent = tokio::net::TcpStream::connect(running.http_address()).await.unwrap();
    let _watching = reqwest::get(format!(
        "http://{}/api/v1/mint/stats/stream",
        running.dashboard_address()
    ))
    .await
    .unwrap();
    tokio::time::timeout(Duration::from_secs(5), running.stop())
        .await
        .expect("five seconds");
}

#[tokio::test]
async fn an_audit_reads_a_running_mint_and_a_rebase_waits_for_a_stopped_one() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    quote(&running, 1, 8, &SecretKey::generate()).await;
    let audit = mint::audit(&config(folder.path())).unwrap();
    assert!(
        audit.is_consistent() && audit.counted.ehash.amounts.paid == 8,
        "{audit}"
    );
    assert!(mint::rebase(&config(folder.path())).await.is_err());
    running.stop().await;

    let file = config(folder.path()).data_dir.join(mint::DATABASE);
    rusqlite::Connection::open(file)
        .unwrap()
        .execute("UPDATE mint_quote SET amount_paid = 9", [])
        .unwrap();
    assert!(!mint::audit(&config(folder.path())).unwrap().is_consistent());
    let audit = mint::rebase(&config(folder.path())).await.unwrap();
    assert!(
        audit.is_consistent() && audit.counted.ehash.amounts.paid == 9,
        "{audit}"
    );
}
