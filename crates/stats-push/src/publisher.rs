//! The mint's side of one session: totals in, snapshots out, each taken at the moment it can be written.
//!
//! There is no queue and no slot (P7): the session's writer calls [`Publisher::next`] only when it could write, and what
//! comes out is the newest there is. So a slow pool costs the mint nothing, and no pool delays another.

use std::sync::Arc;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{MintStatsRequest, PushConfig, RunId, Schedule, Snapshot, Step, Totals};

/// Takes the snapshots of one session. Owned by the session's writer.
#[derive(Debug)]
pub struct Publisher {
    totals: watch::Receiver<Arc<Totals>>,
    run_id: RunId,
    interval: std::time::Duration,
    schedule: Schedule,
    signals: watch::Receiver<Signals>,
}

/// What the other parts of a session tell its [`Publisher`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PublisherHandle {
    signals: watch::Sender<Signals>,
}

/// Only the highest request counts, since an answer closes all earlier ones (P5): a slot is enough, nothing queues.
#[derive(Clone, Copy, Debug, Default)]
struct Signals {
    highest_request: u32,
    finish: bool,
}

impl PublisherHandle {
    /// The pool asked (P5). Returns `false` if the id did not grow: such a request is to be counted as unexpected and
    /// dropped (P10).
    pub fn request(&self, request: MintStatsRequest) -> bool {
        self.signals.send_if_modified(|signals| {
            let grows = request.request_id > signals.highest_request;
            if grows {
                signals.highest_request = request.request_id;
            }
            grows
        })
    }

    /// The mint stops: [`Publisher::next`] yields a final snapshot and then `None` (P6). Give the writing of it a
    /// deadline.
    pub fn finish(&self) {
        self.signals.send_modify(|signals| signals.finish = true);
    }
}

impl Publisher {
    /// A publisher for a session that begins now: its first snapshot is due at once (P2). `totals` is what the ledger
    /// publishes, `run_id` the same for all sessions of this run of the mint.
    pub fn new(totals: watch::Receiver<Arc<Totals>>, run_id: RunId, config: PushConfig) -> (Self, PublisherHandle) {
        let (sender, signals) = watch::channel(Signals::default());
        let publisher = Self {
            totals,
            run_id,
            interval: config.interval(),
            schedule: Schedule::new(config, Instant::now().into_std()),
            signals,
        };
        (publisher, PublisherHandle { signals: sender })
    }

    /// Waits until a snapshot is due and takes it; `None` after the final one. If the ledger is gone the mint has
    /// stopped: the final snapshot follows, at once or when a change that waits has waited for its gap.
    ///
    /// Cancel-safe: a call that is dropped has taken nothing.
    pub async fn next(&mut self) -> Option<Snapshot> {
        loop {
            let signals = *self.signals.borrow_and_update();
            self.schedule.request(signals.highest_request);
            if signals.finish || self.totals.has_changed().is_err() {
                self.schedule.finish();
            }
            let now = Instant::now().into_std();
            let totals = Arc::clone(&self.totals.borrow_and_update());
            match self.schedule.poll(now, totals.version) {
                Step::Push { reason, request_id } => {
                    return Some(Snapshot::of(&totals, self.run_id, self.interval, request_id, reason));
                }
                Step::Finished => return None,
                Step::WaitForChange(until) => tokio::select! {
                    () = sleep_until(until.into()) => {}
                    // An error means that the ledger is gone: found at the top of the loop.
                    _ = self.totals.changed() => {}
                    () = signalled(&mut self.signals) => {}
                },
                Step::WaitUntil(until) => tokio::select! {
                    () = sleep_until(until.into()) => {}
                    () = signalled(&mut self.signals) => {}
                },
            }
        }
    }
}

/// Waits for a request or the end; without any handle left there will be none.
async fn signalled(signals: &mut watch::Receiver<Signals>) {
    if signals.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
