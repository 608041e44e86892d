//! When the pool's list is read: once after each opening of a channel, for what was missed meanwhile, and again and again
//! where the pool does not tell of quotes itself.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::listing::Listing;
use crate::stratum::{PoolStatus, Stage};

/// Pauses between two readings: the first after something new was found.
const SHORTEST: Duration = Duration::from_secs(1);
/// Jitter adds up to as much again.
const LONGEST: Duration = Duration::from_secs(15);

/// Sends what is new on the list to the wallet, until `stop`.
pub(crate) async fn follow(
    mut listing: Listing,
    ids: mpsc::Sender<String>,
    mut pool: watch::Receiver<PoolStatus>,
    stop: CancellationToken,
) {
    let (mut opened, mut read) = (0, 0);
    let mut pauses = pauses();
    let mut next_at = Instant::now();
    loop {
        let status = pool.borrow_and_update().clone();
        if status.opened != opened {
            opened = status.opened;
            (pauses, next_at) = (self::pauses(), Instant::now());
        }
        let due = status.stage == Stage::Open && (read != opened || !status.tells_quotes);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = pool.changed() => if changed.is_err() { return },
            () = sleep_until(next_at), if due => {
                let Some(found) = stop.run_until_cancelled(listing.read_new(&ids)).await else { return };
                match found {
                    Ok(0) => read = opened,
                    Ok(found) => {
                        tracing::debug!(found, "quotes on the pool's list");
                        read = opened;
                        pauses = self::pauses();
                    }
                    Err(error) => tracing::warn!(%error, "the quotes on the pool's page are not known"),
                }
                next_at = Instant::now() + pauses.next().unwrap_or(LONGEST);
            }
        }
    }
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(SHORTEST)
        .with_max_delay(LONGEST)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}
