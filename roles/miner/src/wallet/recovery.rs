//! Finishing what was begun and not finished: the process was killed, or an answer of the mint got lost.
//!
//! CDK writes each mint request down before it sends it. Its own recovery repeats the request (the mint may remember the
//! answer, NUT-19, or not have seen the request at all) and else asks for the signatures (NUT-09). It keeps, for ever, an
//! operation that the mint refuses to repeat and has signed nothing for, say because one quote of the batch is bad or the
//! keyset has been rotated meanwhile. Those are given up here, so that their quotes can be minted anew.

use cdk::nuts::RestoreRequest;
use cdk_common::wallet::{OperationData, WalletSaga};

use super::error::WalletError;
use super::round::RoundError;
use super::store::Store;

/// After this many seconds a mint no longer works on a request that it has not signed.
///
/// Should one do so all the same, the ehash is not lost: its secrets follow from the seed (NUT-13).
const SETTLED_AFTER_SECS: u64 = 60;

/// Finishes or gives up what it can; `now` in Unix seconds. True when nothing is left unfinished.
pub(super) async fn recover(store: &Store, now: u64) -> Result<bool, RoundError> {
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
