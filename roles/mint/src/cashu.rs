//! The Cashu mint: CDK on SQLite with the ledger in between, told what it is, and its HTTP API.

use std::{path::Path, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    middleware::{self, Next},
    response::Response,
};
use cdk::{
    Mint,
    mint::{MintBuilder, MintMeltLimits, UnitConfig},
    nuts::{CurrencyUnit, MintInfo, MintVersion, PaymentMethod, nut05},
};
use cdk_sqlite::mint::MintSqliteDatabase;
use mint_ledger::{Ledger, LedgerOptions};
use tower_http::timeout::TimeoutLayer;

use crate::{
    METHOD, StartError,
    config::{InfoSection, MintConfig},
    payment::EhashPayments,
    quotes::MAX_AMOUNT,
};

/// Quotes in one batch of a wallet (NUT-29).
const WALLET_BATCH: u64 = 100;
/// How long an answer may take, a request's body included.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// The mint and the ledger that it writes through.
pub(crate) struct Cashu {
    pub(crate) mint: Arc<Mint>,
    pub(crate) ledger: Ledger,
}

/// Opens the ledger on the database file, which is made if it isn't there.
pub(crate) async fn open_ledger(
    path: &Path,
    options: LedgerOptions,
) -> Result<(Arc<MintSqliteDatabase>, Ledger), StartError> {
    let database = MintSqliteDatabase::new(&path.to_path_buf()).await;
    let database = Arc::new(database.map_err(|source| StartError::Database {
        path: path.to_owned(),
        source,
    })?);
    let ledger = Ledger::open(database.clone(), path, options).await?;
    Ok((database, ledger))
}

/// Opens the mint. What it says of itself comes from the configuration at every start: CDK would prefer what it stored.
pub(crate) async fn open(config: &MintConfig, path: &Path, seed: &[u8]) -> Result<Cashu, StartError> {
    let options = LedgerOptions {
        pay_once: true,
        paid_at_birth: true,
        ..LedgerOptions::default()
    };
    let (database, ledger) = open_ledger(path, options).await?;
    let mut builder = MintBuilder::new(Arc::new(ledger.clone()))
        .with_batch_minting(Some(WALLET_BATCH), Some(vec![METHOD.to_owned()]));
    let limits = MintMeltLimits::new(1, MAX_AMOUNT);
    for name in &config.quotes.units {
        let unit = CurrencyUnit::custom(name.as_str());
        builder.configure_unit(unit.clone(), denominations())?;
        let payments = Arc::new(EhashPayments { unit: name.clone() });
        let method = PaymentMethod::Custom(METHOD.to_owned());
        builder.add_payment_processor(unit, method, limits, payments).await?;
    }
    let info = described(builder.current_mint_info(), &config.info);
    let mint = builder.build_with_seed(database, seed).await?;
    let pubkey = mint.mint_info().await?.pubkey;
    mint.set_mint_info(MintInfo { pubkey, ..info }).await?;
    mint.start().await?;
    Ok(Cashu {
        mint: Arc::new(mint),
        ledger,
    })
}

/// One key for each power of two up to the largest amount of a quote, so that any quote fits into 63 tokens.
fn denominations() -> UnitConfig {
    UnitConfig {
        amounts: (0..=MAX_AMOUNT.trailing_zeros()).map(|power| 1 << power).collect(),
        input_fee_ppk: 0,
    }
}

/// What the mint says of itself (NUT-06). Melting is off: there is nothing that ehash could be paid out in.
fn described(mut info: MintInfo, section: &InfoSection) -> MintInfo {
    info.name = Some(section.name.clone());
    info.description = Some(section.description.clone());
    info.motd.clone_from(&section.motd);
    info.urls = Some(section.urls.clone()).filter(|urls| !urls.is_empty());
    info.version = Some(MintVersion::new(
        "ehash-mint".to_owned(),
        env!("CARGO_PKG_VERSION").to_owned(),
    ));
    info.nuts.nut05 = nut05::Settings {
        methods: Vec::new(),
        disabled: true,
    };
    info.nuts = info.nuts.nut08(false);
    info
}

/// The Cashu API (`/v1/…`).
pub(crate) async fn api(mint: Arc<Mint>) -> Result<Router, StartError> {
    let router = cdk_axum::create_mint_router(mint, vec![METHOD.to_owned()]).await;
    let router = router.map_err(|error| StartError::Api(error.to_string()))?;
    Ok(router
        .layer(middleware::from_fn(to_the_end))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            ANSWER_DEADLINE,
        )))
}

/// Does what was asked to its end, though whoever asked be gone: a swap that is dropped half way would leave its inputs
/// pending until the mint's next start, and they may be somebody else's by then.
async fn to_the_end(request: Request, next: Next) -> Result<Response, StatusCode> {
    let answering = tokio::spawn(next.run(request));
    answering.await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
