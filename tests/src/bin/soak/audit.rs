//! The chain from the database to what is shown, checked while everything runs: every few seconds one read transaction
//! takes the stored totals and the SQL aggregate at the same version, which must agree with each other and with what the
//! mint told of that version. What is shown is compared with the latter, snapshot by snapshot, in [`crate::place`].

use std::{path::PathBuf, time::Duration};

use serde::Serialize;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{judge::Judge, place::LAG, truth::Digest};

const EVERY: Duration = Duration::from_secs(5);

/// How many were made, and how many were right.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Audits {
    pub(crate) made: u64,
    pub(crate) equal: u64,
}

/// Audits until it is stopped.
pub(crate) struct Auditor {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<Audits>>,
}

impl Auditor {
    pub(crate) fn start(database: PathBuf, judge: Judge) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let stop = stop.clone();
            async move {
                let mut audits = Audits::default();
                // Once more after the stop: the last one is of the database at rest.
                loop {
                    let last = tokio::select! {
                        () = sleep(EVERY) => false,
                        () = stop.cancelled() => true,
                    };
                    audit(database.clone(), &judge, &mut audits).await?;
                    if last {
                        return Ok(audits);
                    }
                }
            }
        });
        Self { stop, task }
    }

    pub(crate) async fn stop(self) -> anyhow::Result<Audits> {
        self.stop.cancel();
        self.task.await?
    }
}

async fn audit(database: PathBuf, judge: &Judge, audits: &mut Audits) -> anyhow::Result<()> {
    let audit = tokio::task::spawn_blocking(move || mint_ledger::audit(&database)).await??;
    // Until the mint's own word of this version has arrived.
    sleep(Duration::from_nanos(LAG)).await;
    audits.made += 1;
    let mut state = judge.lock();
    let told = state.truth.digest(audit.version);
    if !audit.is_consistent() {
        state.complain(audit.to_string());
    } else if told.is_some_and(|told| told != Digest::of(&audit.counted.ehash)) {
        state.complain(format!(
            "version {} was told with other figures than the database holds",
            audit.version
        ));
    } else {
        audits.equal += 1;
    }
    Ok(())
}
