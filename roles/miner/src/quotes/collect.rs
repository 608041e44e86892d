//! Handing ids to the wallet, at the wallet's pace.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::wallet::{Redeemer, WalletError};

/// How long an id waits for room in the wallet.
const ROOM: Duration = Duration::from_secs(60);

/// The wait before a wallet whose database fails is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Hands over what comes, until the last sender is gone or `stop`. What is left then, the pool tells again.
pub(crate) async fn collect(mut ids: mpsc::Receiver<String>, wallet: Redeemer, stop: CancellationToken) {
    let collecting = async {
        while let Some(id) = ids.recv().await {
            hand_in(&wallet, &id).await;
        }
    };
    stop.run_until_cancelled(collecting).await;
}

/// Hands one id over and says whether it was new. Waits for a wallet that is full, or whose disk is; an id that finds no
/// room in a minute is left to be told again.
pub(crate) async fn hand_in(wallet: &Redeemer, id: &str) -> bool {
    loop {
        match wallet.add([id]).await {
            Ok(new) => return new > 0,
            Err(error @ WalletError::QuoteId) => {
                tracing::warn!(%error, "the pool tells of a quote that can be none");
                return false;
            }
            Err(error @ WalletError::Full(_)) => {
                let mut progress = wallet.progress();
                progress.mark_unchanged();
                if timeout(ROOM, progress.changed()).await.is_err() {
                    tracing::warn!(%error, "a quote is left to be told of again");
                    return false;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a quote can't be taken down yet");
                sleep(RETRY).await;
            }
        }
    }
}
