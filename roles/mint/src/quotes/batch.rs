//! One transaction: each order is looked up, and if it is new, added and paid.

use cdk::{Amount, nuts::PaymentMethod, util::unix_time};
use cdk_common::{
    database::{DynMintDatabase, DynMintTransaction, Error, mint::Acquired},
    mint::MintQuote,
    payment::PaymentIdentifier,
    quote_id::QuoteId,
};
use mint_link::RefusalCode;

use super::order::Order;
use crate::METHOD;

/// Quotes for shares do not expire. Wallets compare this with their clock, and some hold it in 32 bits: the year 2106.
const NEVER: u64 = u32::MAX as u64;

/// What became of one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A new quote, paid.
    Created(String),
    /// The quote that an equal order made earlier.
    Repeated(String),
    Refused(RefusalCode, String),
}

/// Carries the orders out, all or none. The second of two orders in one batch with the same hash finds the first one's
/// quote, like any repetition.
pub(super) async fn commit(store: &DynMintDatabase, orders: &[Order]) -> Result<Vec<Outcome>, Error> {
    let mut transaction = store.begin_transaction().await?;
    let mut outcomes = Vec::with_capacity(orders.len());
    for order in orders {
        outcomes.push(place(&mut transaction, order).await?);
    }
    transaction.commit().await?;
    Ok(outcomes)
}

async fn place(transaction: &mut DynMintTransaction, order: &Order) -> Result<Outcome, Error> {
    let request = order.header_hash.to_string();
    let Some(mut known) = transaction.get_mint_quote_by_request(&request).await? else {
        let mut quote = transaction.add_mint_quote(new_quote(order, &request)).await?;
        pay(transaction, &mut quote, order).await?;
        return Ok(Outcome::Created(quote.id.to_string()));
    };
    // Its unit may be that of the epoch before: a pool that lost the answer and has rolled over since asks in the next one,
    // and what the share has earned is the quote that it has.
    let same =
        known.pubkey == Some(order.locking_key) && known.amount.as_ref().map(Amount::value) == Some(order.amount);
    if !same {
        let message = "this hash has a quote with another amount or locking key".to_owned();
        return Ok(Outcome::Refused(RefusalCode::Conflict, message));
    }
    // Made by something that does not pay in the same transaction, and then interrupted.
    if known.amount_paid().value() == 0 {
        pay(transaction, &mut known, order).await?;
    }
    Ok(Outcome::Repeated(known.id.to_string()))
}

/// The share is the payment: one for each quote, under the quote's id.
async fn pay(
    transaction: &mut DynMintTransaction,
    quote: &mut Acquired<MintQuote>,
    order: &Order,
) -> Result<(), Error> {
    let amount = Amount::new(order.amount, order.unit.clone());
    let payment_id = quote.id.to_string();
    quote
        .add_payment(amount, payment_id, None)
        .map_err(|error| Error::Internal(error.to_string()))?;
    transaction.update_mint_quote(quote).await
}

/// The share's hash is the request, and nothing else: it stands in one index of the database. Hashes are scattered, so each
/// index that holds them costs a page a quote; ids grow with the time and go to the end of theirs.
fn new_quote(order: &Order, request: &str) -> MintQuote {
    let id = QuoteId::new();
    let now = unix_time();
    let nothing = Amount::new(0, order.unit.clone());
    let extra = order
        .description
        .as_ref()
        .map(|text| serde_json::json!({ "description": text }));
    MintQuote::new(
        Some(id.clone()),
        request.to_owned(),
        order.unit.clone(),
        Some(Amount::new(order.amount, order.unit.clone())),
        NEVER,
        PaymentIdentifier::QuoteId(id),
        Some(order.locking_key),
        nothing.clone(),
        nothing,
        PaymentMethod::Custom(METHOD.to_owned()),
        now,
        now,
        Vec::new(),
        Vec::new(),
        Some(extra.unwrap_or_default()),
    )
}
