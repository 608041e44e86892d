//! Quotes a second: a pool's requests over the link beside CDK's calls one by one, on the same kind of file in the same
//! run.
//!
//! `cargo bench -p mint --bench quotes [-- QUOTES]`. Both sides have their database on a file with cdk-sqlite's
//! `synchronous = FULL` and WAL, in a new directory under the present one, so that the disk is the one at hand and not a
//! `tmpfs`. `over the link` is from a pool's end of a Noise connection on loopback to the committed, paid quote and its
//! answer there, ledger and statistics included; `one by one` is what stock CDK offers: `get_mint_quote` and
//! `pay_mint_quote_for_request_id`, on a mint without a ledger.
#![allow(missing_docs)]

use std::{collections::HashMap, path::Path, pin::Pin, sync::Arc, time::Instant};

use anyhow::{Context, ensure};
use bitcoin::hashes::{Hash as _, sha256};
use cdk::{
    Amount, Mint,
    mint::{MintBuilder, MintMeltLimits},
    nuts::{CurrencyUnit, PaymentMethod, SecretKey},
};
use cdk_common::{
    MintQuoteCustomRequest,
    mint_quote::MintQuoteRequest as CdkRequest,
    payment::{
        CreateIncomingPaymentResponse, Error, Event, IncomingPaymentOptions, MakePaymentResponse, MintPayment,
        OutgoingPaymentOptions, PaymentIdentifier, PaymentQuoteResponse, SettingsResponse, WaitPaymentResponse,
    },
};
use cdk_sqlite::mint::MintSqliteDatabase;
use futures::{Stream, stream};
use mint::{MintConfig, PoolSection};
use mint_link::{Admission, HeaderHash, MintQuoteRequest, MintSession, PoolLink, PoolLinkConfig, QuoteAnswer};
use stats_push::SnapshotCache;
use sv2_transport::AuthorityKeypair;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

const ROUNDS: usize = 5;
/// Requests on their way at a time, as a pool's window allows.
const IN_FLIGHT: usize = 512;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let quotes = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .next()
        .unwrap_or(20_000);
    let folder = tempfile::Builder::new().prefix("bench-quotes-").tempdir_in(".")?;
    let key = SecretKey::generate().public_key();
    let stock = stock_mint(&folder.path().join("stock.sqlite")).await?;
    let mut config = MintConfig {
        data_dir: folder.path().join("mint"),
        ..MintConfig::default()
    };
    config.http.listen.set_port(0);
    config.dashboard.listen.set_port(0);
    let mut pool = Pool::listen().await?;
    config.pools.push(pool.section.clone());
    let running = mint::start(config, CancellationToken::new()).await?;
    let mut session = pool.sessions.recv().await.context("no session")?;

    let (mut batched, mut single) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let started = Instant::now();
        let requests = (0..quotes).map(|n| request(round, n, key.to_bytes().to_vec()));
        let answers = over_the_link(&mut session, requests).await?;
        ensure!(answers == quotes, "{answers} of {quotes} quotes made");
        batched.push(quotes as f64 / started.elapsed().as_secs_f64());

        // A tenth as many: it is slow.
        let few = (quotes / 10).max(1);
        let started = Instant::now();
        for n in 0..few {
            one_by_one(&stock, round, n, key).await?;
        }
        single.push(few as f64 / started.elapsed().as_secs_f64());
        println!(
            "round {}: over the link {:.0}/s, one by one {:.0}/s",
            round + 1,
            last(&batched),
            last(&single)
        );
    }
    let audit = running.ledger().audit().await?;
    ensure!(audit.is_consistent(), "{audit}");
    let counters = running.desk().counters();
    let per_batch = counters.batched_requests() as f64 / counters.batches().max(1) as f64;
    running.stop().await;
    println!(
        "over the link: {}, {per_batch:.0} quotes a transaction",
        spread(&mut batched)
    );
    println!("one by one:    {}", spread(&mut single));
    println!("ratio of the medians: {:.1}", median(&batched) / median(&single));
    Ok(())
}

/// A pool's end of the link, with nothing behind it.
struct Pool {
    section: PoolSection,
    sessions: mpsc::Receiver<MintSession>,
    _admission: watch::Sender<Arc<Admission>>,
}

impl Pool {
    async fn listen() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let authority = AuthorityKeypair::generate();
        let section = PoolSection {
            address: listener.local_addr()?.to_string(),
            authority_key: authority.public(),
        };
        let (admission, admitted) = watch::channel(Arc::default());
        let (ready, sessions) = mpsc::channel(1);
        let config = PoolLinkConfig::new(authority);
        let link = PoolLink::new(config, admitted, SnapshotCache::new(), ready, Arc::default());
        tokio::spawn(Arc::new(link).listen(listener, CancellationToken::new()));
        Ok(Self {
            section,
            sessions,
            _admission: admission,
        })
    }
}

/// Sends all requests, [`IN_FLIGHT`] at a time, and counts the quotes that come back.
async fn over_the_link(
    session: &mut MintSession,
    requests: impl Iterator<Item = MintQuoteRequest>,
) -> anyhow::Result<usize> {
    let (mut in_flight, mut made) = (0, 0);
    let mut answered = async |in_flight: &mut usize, answers: &mut mpsc::Receiver<QuoteAnswer>| {
        let answer = answers.recv().await.context("the session ended")?;
        *in_flight -= 1;
        made += usize::from(matches!(answer, QuoteAnswer::Created { .. }));
        anyhow::Ok(())
    };
    for request in requests {
        if in_flight == IN_FLIGHT {
            answered(&mut in_flight, &mut session.answers).await?;
        }
        session.requests.send(request).await?;
        in_flight += 1;
    }
    while in_flight > 0 {
        answered(&mut in_flight, &mut session.answers).await?;
    }
    Ok(made)
}

fn last(rates: &[f64]) -> f64 {
    rates.last().copied().unwrap_or_default()
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn spread(rates: &mut [f64]) -> String {
    rates.sort_by(f64::total_cmp);
    let (least, most) = (rates.first().copied().unwrap_or_default(), last(rates));
    format!(
        "{:.0}/s median of {} rounds ({least:.0} to {most:.0})",
        median(rates),
        rates.len()
    )
}

/// As shares have them: scattered, but for zeros at the end of the bytes.
fn hash(round: usize, n: usize) -> [u8; 32] {
    let mut hash = sha256::Hash::hash(&[round.to_le_bytes(), n.to_le_bytes()].concat()).to_byte_array();
    for byte in hash.iter_mut().rev().take(2) {
        *byte = 0;
    }
    hash
}

fn request(round: usize, n: usize, locking_key: Vec<u8>) -> MintQuoteRequest {
    MintQuoteRequest {
        amount: 32,
        unit: "HASH".to_owned(),
        header_hash: HeaderHash(hash(round, n)),
        description: None,
        locking_key,
    }
}

/// What a mint without the engine would do for each share.
async fn one_by_one(mint: &Mint, round: usize, n: usize, key: cdk::nuts::PublicKey) -> anyhow::Result<()> {
    let request = HeaderHash(hash(round, n)).to_string();
    let amount = Amount::from(32);
    let quote = MintQuoteCustomRequest {
        amount: Some(amount),
        unit: CurrencyUnit::custom("hash"),
        description: Some(request.clone()),
        pubkey: Some(key),
        extra: serde_json::Value::Null,
    };
    let method = PaymentMethod::Custom("ehash".into());
    mint.get_mint_quote(CdkRequest::Custom { method, request: quote })
        .await?;
    mint.pay_mint_quote_for_request_id(WaitPaymentResponse {
        payment_identifier: PaymentIdentifier::CustomId(request.clone()),
        payment_amount: amount.with_unit(CurrencyUnit::custom("hash")),
        payment_id: request,
    })
    .await?;
    Ok(())
}

async fn stock_mint(path: &Path) -> anyhow::Result<Mint> {
    let database = Arc::new(
        MintSqliteDatabase::new(&path.to_path_buf())
            .await
            .context("stock database")?,
    );
    let mut builder = MintBuilder::new(database.clone());
    let method = PaymentMethod::Custom("ehash".into());
    let limits = MintMeltLimits::new(1, 1 << 62);
    builder
        .add_payment_processor(CurrencyUnit::custom("hash"), method, limits, Arc::new(Stock))
        .await?;
    Ok(builder.build_with_seed(database, &[7; 64]).await?)
}

/// A backend that takes the description for the share's hash.
struct Stock;

#[async_trait::async_trait]
impl MintPayment for Stock {
    type Err = Error;

    async fn get_settings(&self) -> Result<SettingsResponse, Error> {
        Ok(SettingsResponse {
            unit: "hash".to_owned(),
            bolt11: None,
            bolt12: None,
            onchain: None,
            custom: HashMap::from([("ehash".to_owned(), String::new())]),
        })
    }

    async fn create_incoming_payment_request(
        &self,
        options: IncomingPaymentOptions,
    ) -> Result<CreateIncomingPaymentResponse, Error> {
        let IncomingPaymentOptions::Custom(options) = options else {
            return Err(Error::UnsupportedPaymentOption);
        };
        let request = options.description.unwrap_or_default();
        Ok(CreateIncomingPaymentResponse {
            request_lookup_id: PaymentIdentifier::CustomId(request.clone()),
            request,
            expiry: None,
            extra_json: None,
        })
    }

    async fn get_payment_quote(
        &self,
        _: &CurrencyUnit,
        _: OutgoingPaymentOptions,
    ) -> Result<PaymentQuoteResponse, Error> {
        Err(Error::UnsupportedPaymentOption)
    }

    async fn make_payment(&self, _: &CurrencyUnit, _: OutgoingPaymentOptions) -> Result<MakePaymentResponse, Error> {
        Err(Error::UnsupportedPaymentOption)
    }

    async fn wait_payment_event(&self) -> Result<Pin<Box<dyn Stream<Item = Event> + Send>>, Error> {
        Ok(Box::pin(stream::pending()))
    }

    fn is_payment_event_stream_active(&self) -> bool {
        false
    }

    fn cancel_payment_event_stream(&self) {}

    async fn check_incoming_payment_status(&self, _: &PaymentIdentifier) -> Result<Vec<WaitPaymentResponse>, Error> {
        Ok(Vec::new())
    }

    async fn check_outgoing_payment(&self, _: &PaymentIdentifier) -> Result<MakePaymentResponse, Error> {
        Err(Error::UnknownPaymentState)
    }
}
