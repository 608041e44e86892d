//! What the figures were: kept in memory in [`rings`], written down in a [`journal`], asked for by the charts.
//!
//! A [`History`] is opened on a file, given to a router, and fed by [`History::record`] until the role stops. It never
//! stands in the way: a file that can't be read or written is told in the log, and the page goes on from memory.

use std::{
    convert::Infallible,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use log_limit::LogLimit;
use stats_push::{MintView, SnapshotCache, Status, UnixMillis};
use tokio::{task, time};
use tokio_util::sync::CancellationToken;

use crate::{
    PoolSource,
    source::{PoolView, millis},
};

mod journal;
pub(crate) mod json;
pub(crate) mod rings;

use journal::Journal;
use rings::{FINEST, Figures, Grid, MintFigures, Rate, Rings, UnixSeconds};

/// How often is looked. Slots are longer: what counts in them is the last total and the greatest age.
const LOOK: Duration = Duration::from_secs(1);

/// The file's name in a role's data directory.
pub const HISTORY_FILE: &str = "history.jsonl";

/// The figures of the last 30 days: by 10 s for an hour, by the minute for a day, by the hour before. Some hundred KiB.
/// Clones share it.
#[derive(Clone, Debug)]
pub struct History {
    rings: Arc<Mutex<Rings>>,
    file: Option<PathBuf>,
}

impl History {
    /// Goes on with what `file` holds, under the times at which it was true. What can't be read is told in the log and
    /// left out.
    pub fn open(file: PathBuf) -> Self {
        let rings = match journal::read(&file) {
            Ok((rings, 0)) => rings,
            Ok((rings, left_out)) => {
                tracing::warn!(file = %file.display(), lines = left_out, "the history's file has lines that say nothing");
                rings
            }
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "the history can't be read: it begins anew");
                Rings::new()
            }
        };
        Self {
            rings: Arc::new(Mutex::new(rings)),
            file: Some(file),
        }
    }

    /// Keeps nothing when the process ends.
    pub fn in_memory() -> Self {
        Self {
            rings: Arc::new(Mutex::new(Rings::new())),
            file: None,
        }
    }

    /// Looks once a second, and writes down what is complete, until `stop`.
    pub async fn record(self, mint: SnapshotCache, pool: Option<Arc<dyn PoolSource>>, stop: CancellationToken) {
        tokio::select! {
            // Ends after the last write.
            () = self.write_down(stop) => {}
            never = self.look(&mint, pool.as_deref()) => match never {},
        }
    }

    async fn look(&self, mint: &SnapshotCache, pool: Option<&dyn PoolSource>) -> Infallible {
        let mut observer = Observer::default();
        let mut ticks = time::interval(LOOK);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let now = unix_seconds();
            let pool = pool.filter(|_| observer.wants_pool(now)).map(PoolSource::pool);
            let figures = observer.figures(&mint.load(), pool.as_ref(), time::Instant::now().into_std());
            self.rings().note(now, &figures);
        }
    }

    /// Writes every few seconds until `stop`, and once more then.
    async fn write_down(&self, stop: CancellationToken) {
        let Some(file) = &self.file else {
            return stop.cancelled().await;
        };
        let (mut journal, failures) = (Journal::new(file.clone()), LogLimit::default());
        loop {
            let stopping = stop
                .run_until_cancelled(time::sleep(Duration::from_secs(FINEST)))
                .await
                .is_none();
            if stopping {
                // Written whole, with the slot that is not complete.
                journal = Journal::new(file.clone());
            }
            let work = journal.plan(&self.rings(), unix_seconds());
            // A disk may take its time; the page does not wait for it.
            let written = task::spawn_blocking(move || {
                let written = journal.write(&work);
                (journal, written)
            });
            let Ok((returned, written)) = written.await else {
                tracing::error!("the history is no longer written down; it goes on in memory");
                return stop.cancelled().await;
            };
            journal = returned;
            if let Err(error) = written
                && let Some(times) = failures.note()
            {
                tracing::warn!(
                    file = %file.display(), %error, times, "the history can't be written down; it goes on in memory"
                );
            }
            if stopping {
                return;
            }
        }
    }

    /// See [`Rings::grid`].
    pub(crate) fn grid(&self, from: UnixSeconds, to: UnixSeconds, step: Option<u64>, now: UnixSeconds) -> Option<Grid> {
        self.rings().grid(from, to, step, now)
    }

    /// See [`Rings::rate`].
    pub(crate) fn rate(&self, window: Duration, now: UnixSeconds) -> Option<Rate> {
        self.rings().rate(window, now)
    }

    fn rings(&self) -> MutexGuard<'_, Rings> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn unix_seconds() -> UnixSeconds {
    UnixMillis::now().0 / 1000
}

/// Turns what is seen at one moment into figures.
#[derive(Debug, Default)]
struct Observer {
    /// When the newest snapshot seen was received.
    received: Option<Instant>,
    /// The slot for which the pool has been asked.
    pool_slot: Option<u64>,
}

impl Observer {
    /// When a slot begins and at its end, where its totals are taken: a pool of many miners has to go through all of
    /// them.
    fn wants_pool(&mut self, now: UnixSeconds) -> bool {
        let begins = self.pool_slot.replace(now / FINEST) != Some(now / FINEST);
        begins || now % FINEST >= FINEST - 2
    }

    fn figures(&mut self, mint: &MintView, pool: Option<&PoolView>, now: Instant) -> Figures {
        let freshness = mint.freshness(now);
        let received = mint.latest.as_ref().map(|latest| latest.at);
        // The age was greatest just before the newest one came, between two looks.
        let before = self
            .received
            .zip(received)
            .map(|(before, received)| received.saturating_duration_since(before));
        self.received = received;
        let live = mint.latest.as_ref().filter(|_| freshness.status == Status::Live);
        Figures {
            mint: live.map(|latest| MintFigures {
                redeemed: latest.snapshot.ehash.quotes_redeemed,
                quotes: latest.snapshot.ehash.quotes,
            }),
            age_ms: freshness.age.max(before).map(millis),
            requested: pool.and_then(|pool| pool.quotes.requested),
            hashrate: pool.and_then(|pool| pool.hashrate),
        }
    }
}

#[cfg(test)]
mod tests {
    use stats_push::{Peer, Reason, RunId, Snapshot, Totals};

    use super::*;

    fn snapshot(sequence: u64) -> Snapshot {
        let totals = Totals::new(sequence, []);
        Snapshot {
            request_id: 0,
            reason: Reason::Periodic,
            run_id: RunId(1),
            sequence,
            taken_at: UnixMillis(0),
            interval: Duration::from_secs(5),
            ehash: totals.ehash,
            units_total: 0,
            units: totals.units,
        }
    }

    #[test]
    fn totals_are_noted_while_the_mint_tells_and_the_age_is_the_greatest_that_was() {
        let cache = SnapshotCache::new();
        let mut observer = Observer::default();
        let start = Instant::now();
        let second = |count| start + Duration::from_secs(count);
        let mut look = |at| observer.figures(&cache.load(), None, at);
        assert!(look(start).is_empty(), "nothing is known: nothing is noted");
        let session = cache.open_session(Peer {
            address: "here".to_owned(),
            public_key: None,
            proven: false,
        });
        session.apply(snapshot(1), start);
        assert_eq!(look(second(4)).age_ms, Some(4000));
        session.apply(snapshot(2), second(5));
        let refreshed = look(second(6));
        assert_eq!(refreshed.age_ms, Some(5000), "what it was before the snapshot came");
        assert!(refreshed.mint.is_some());
        assert_eq!(look(second(7)).age_ms, Some(2000));
        let stale = look(second(21));
        assert_eq!(
            (stale.mint, stale.age_ms),
            (None, Some(16_000)),
            "stale: a gap with an age"
        );
        drop(session);
        assert_eq!(look(second(22)).mint, None);
    }

    #[test]
    fn the_pool_is_asked_when_a_slot_begins_and_at_its_end() {
        let mut observer = Observer::default();
        let asked: Vec<u64> = (103..125).filter(|now| observer.wants_pool(*now)).collect();
        assert_eq!(asked, [103, 108, 109, 110, 118, 119, 120]);
    }

    #[tokio::test]
    async fn what_was_seen_is_there_after_a_stop_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(HISTORY_FILE);
        let cache = SnapshotCache::new();
        let session = cache.open_session(Peer {
            address: "here".to_owned(),
            public_key: None,
            proven: false,
        });
        session.apply(snapshot(1), Instant::now());
        let (history, stop) = (History::open(file.clone()), CancellationToken::new());
        let recording = tokio::spawn(history.clone().record(cache.clone(), None, stop.clone()));
        let seen = |history: &History| {
            let now = unix_seconds();
            let grid = history.grid(now - 60, now, None, now).unwrap();
            grid.figures
                .into_iter()
                .flatten()
                .filter(|figures| figures.mint.is_some())
                .count()
        };
        while seen(&history) == 0 {
            task::yield_now().await;
        }
        stop.cancel();
        recording.await.unwrap();
        assert!(seen(&History::open(file)) > 0);
    }
}
