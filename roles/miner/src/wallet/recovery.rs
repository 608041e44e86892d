//! Finishing what was begun and not finished: the process was killed, or an answer of the mint got lost.
//!
//! CDK writes each mint request down before it sends it. Its own recovery repeats the request (the mint may remember the
//! answer, NUT-19, or not have seen the request at all) and else asks for the signatures (NUT-09). It keeps, for ever, an
//! operation that the mint refuses to repeat and has signed nothing for, say because one quote of the batch is bad or the
//! keyset has been rotated meanwhile. Those are given up here, so that their quotes can be minted anew.
//!
//! Given up, too, are operations whose secrets have been signed for others: CDK would take those signatures, whatever has
//! become of them, for its own. Then the database is an older copy, or another machine uses the seed, and a
//! [restore](super::restore) brings what is missing.

use std::collections::HashMap;

use cdk::nuts::{MintQuoteState, PaymentMethod, PublicKey, RestoreRequest};
use cdk::{Amount, Error};
use cdk_common::wallet::{OperationData, WalletSaga};

use super::error::WalletError;
use super::restore;
use super::round::RoundError;
use super::store::{METHOD, Store};

/// After this many seconds a mint no longer works on a request that it has not signed.
///
/// Should one do so all the same, the ehash is not lost: its secrets follow from the seed (NUT-13).
const SETTLED_AFTER_SECS: u64 = 60;

/// Finishes or gives up what it can; `now` in Unix seconds. True when nothing is left unfinished.
///
/// # Errors
/// [`RoundError::Behind`]: a restore is due, which this has asked for.
pub(super) async fn recover(store: &Store, now: u64) -> Result<bool, RoundError> {
    if give_up_foreign(store).await? {
        return Err(RoundError::Behind);
    }
    let report = store.wallet.recover_incomplete_sagas().await?;
    if !report.is_empty() {
        tracing::info!(
            recovered = report.recovered,
            rolled_back = report.compensated,
            unfinished = report.skipped + report.failed,
            "minting that was interrupted"
        );
    }
    let mut left = 0;
    for saga in store.unfinished().await? {
        if saga.updated_at.saturating_add(SETTLED_AFTER_SECS) <= now && signed_nothing(store, &saga).await? {
            tracing::warn!(operation = %saga.id, "the mint will not sign this request: its quotes are minted anew");
            store.abandon(&saga).await?;
        } else {
            left += 1;
        }
    }
    Ok(left == 0)
}

/// Gives up the operations whose secrets have been signed for others, and asks for a restore if there were any. Whether
/// there were.
pub(super) async fn give_up_foreign(store: &Store) -> Result<bool, RoundError> {
    let mut any = false;
    for saga in store.unfinished().await? {
        let foreign = match signed_for_another(store, &saga).await {
            Ok(foreign) => foreign,
            // A mint that does not tell of signatures: CDK makes of it what it can.
            Err(error) if error.is_definitive_failure() => false,
            Err(error) => return Err(error.into()),
        };
        if foreign {
            // First, since nothing may be minted before, also if this process dies here.
            restore::mark(&store.data_dir)?;
            store.abandon(&saga).await?;
            any = true;
        }
    }
    Ok(any)
}

/// Whether the mint has signed the secrets of this operation, but not for it. A mint signs all secrets of a request, for
/// the amounts asked for, and issues its quotes, or does none of that. Asked in this order, so that a request that the mint
/// is at does not count as another one.
async fn signed_for_another(store: &Store, saga: &WalletSaga) -> Result<bool, Error> {
    let OperationData::Mint(data) = &saga.data else {
        return Ok(false);
    };
    let outputs = data.blinded_messages.clone().unwrap_or_default();
    if outputs.is_empty() {
        return Ok(false);
    }
    let asked: HashMap<PublicKey, Amount> = outputs
        .iter()
        .map(|output| (output.blinded_secret, output.amount))
        .collect();
    let mint = store.wallet.mint_connector();
    let signed = mint.post_restore(RestoreRequest { outputs }).await?;
    if signed.signatures.is_empty() {
        return Ok(false);
    }
    let mut pairs = signed.outputs.iter().zip(&signed.signatures);
    let as_asked = signed.signatures.len() == asked.len()
        && pairs.all(|(output, signature)| asked.get(&output.blinded_secret) == Some(&signature.amount));
    if !as_asked {
        return Ok(true);
    }
    let method = PaymentMethod::Custom(METHOD.to_owned());
    let quote = mint.get_mint_quote_status(method, data.primary_quote_id()).await?;
    Ok(quote.state() != Some(MintQuoteState::Issued))
}

/// Whether the mint knows none of the signatures that the operation asked for.
async fn signed_nothing(store: &Store, saga: &WalletSaga) -> Result<bool, RoundError> {
    let OperationData::Mint(data) = &saga.data else {
        return Ok(false);
    };
    let Some(outputs) = data.blinded_messages.clone().filter(|outputs| !outputs.is_empty()) else {
        return Ok(true);
    };
    let answer = store
        .wallet
        .mint_connector()
        .post_restore(RestoreRequest { outputs })
        .await;
    Ok(answer.map_err(WalletError::from)?.signatures.is_empty())
}
