//! The pool's side: the newest snapshot in an [`ArcSwap`], who sent it, and how fresh it is.
//!
//! Readers [`load`](SnapshotCache::load) without a lock, a wait or a round trip. Writers are the sessions with mints;
//! the newest one decides (P8), an older one that still talks changes nothing. Whoever wants to hear of changes waits on
//! [`SnapshotCache::changed`]; [`SnapshotCache::run`] makes the passing of time such a change.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use serde::Serialize;
use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;

use crate::{Freshness, Reason, Snapshot, Status, UnixMillis, stale_after};

/// The newest snapshot of a pool's mint. Cheap to clone; all clones are one cache.
#[derive(Clone, Debug)]
pub struct SnapshotCache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    view: ArcSwap<MintView>,
    /// Held only to write: by sessions and by [`SnapshotCache::run`], never by readers.
    writing: Mutex<Writing>,
    revision: watch::Sender<Revision>,
}

#[derive(Debug, Default)]
struct Writing {
    newest_session: u64,
}

/// Counts the changes of a [`SnapshotCache`]: of its snapshot or its status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Revision(pub u64);

/// Who is at the other end of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// Its socket address, for display.
    pub address: String,
    /// The x-only public key (BIP 340) that it claims, as 64 hex digits, if it claims one.
    pub public_key: Option<String>,
    /// Whether it has proven to hold that key.
    pub proven: bool,
}

/// The state of the connection to the mint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Connection {
    /// No mint has connected since the start.
    Never,
    /// A mint is connected.
    Up {
        /// Whether it negotiated the statistics extension.
        negotiated: bool,
    },
    /// The last mint is gone.
    Down,
}

/// A snapshot with the moment of its receipt.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// What the mint sent.
    pub snapshot: Arc<Snapshot>,
    /// When, by the monotonic clock: what freshness is judged by.
    pub at: Instant,
    /// When, by this machine's wall clock: for display.
    pub at_wall: UnixMillis,
}

impl Received {
    /// How far the mint's wall clock is ahead of this machine's, in milliseconds, the time on the wire included: for
    /// display.
    pub fn clock_skew_ms(&self) -> i64 {
        self.snapshot.taken_at.millis_since(self.at_wall)
    }
}

/// What has happened since the start. Counts only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Snapshots of the newest session by reason, indexed by [`Reason::code`]; read with [`Counters::received`].
    received: [u64; Reason::ALL.len()],
    /// Snapshots dropped for a lower sequence within one run (P8).
    pub outdated: u64,
    /// Snapshots dropped because a newer session had taken over (P8).
    pub superseded: u64,
    /// Messages dropped for their form (P10).
    pub malformed: u64,
    /// New runs of the mint seen after the first (P8).
    pub restarts: u64,
    /// Snapshots that showed fewer redeemed quotes, or less ehash issued, than the one before (P8).
    pub falls: u64,
    /// Sessions opened.
    pub sessions: u64,
}

impl Counters {
    /// Snapshots received for this reason and not dropped.
    pub fn received(&self, reason: Reason) -> u64 {
        self.received.get(usize::from(reason.code())).copied().unwrap_or(0)
    }
}

/// All that the pool knows of its mint, at one revision.
#[derive(Clone, Debug)]
pub struct MintView {
    /// Which change this is the state after.
    pub revision: Revision,
    /// Whether a mint is there.
    pub connection: Connection,
    /// The newest session's peer, also after its end.
    pub peer: Option<Arc<Peer>>,
    /// The newest snapshot. It outlives its session.
    pub latest: Option<Received>,
    /// How long the mint took over the newest question that it was asked in the newest session; `None` if it was asked none.
    pub round_trip: Option<Duration>,
    /// What has happened so far.
    pub counters: Counters,
}

impl MintView {
    /// Judges at `now`, a reading of the same monotonic clock that [`CacheSession::apply`] was given (P9).
    pub fn freshness(&self, now: Instant) -> Freshness {
        let age = self
            .latest
            .as_ref()
            .map(|latest| now.saturating_duration_since(latest.at));
        let status = match (self.connection, &self.latest, age) {
            (Connection::Never, ..) => Status::Never,
            (Connection::Down, ..) => Status::Disconnected,
            (Connection::Up { negotiated: false }, ..) => Status::Unsupported,
            (Connection::Up { .. }, Some(latest), Some(age)) if age <= stale_after(latest.snapshot.interval) => {
                Status::Live
            }
            (Connection::Up { .. }, Some(_), _) => Status::Stale,
            (Connection::Up { .. }, None, _) => Status::Never,
        };
        Freshness { status, age }
    }

    /// When a live view turns stale if nothing comes, by the monotonic clock.
    fn turns_stale_at(&self) -> Option<Instant> {
        let latest = self.latest.as_ref()?;
        latest.at.checked_add(stale_after(latest.snapshot.interval))
    }
}

/// What became of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is the newest now.
    Replaced,
    /// It says the same as the one before it, and made that younger.
    Refreshed,
    /// Dropped: this run of the mint has sent a newer one.
    Outdated,
    /// Dropped: a newer session has taken over.
    Superseded,
}

impl SnapshotCache {
    /// An empty cache: no mint has connected.
    pub fn new() -> Self {
        let view = MintView {
            revision: Revision::default(),
            connection: Connection::Never,
            peer: None,
            latest: None,
            round_trip: None,
            counters: Counters::default(),
        };
        Self {
            shared: Arc::new(Shared {
                view: ArcSwap::from_pointee(view),
                writing: Mutex::default(),
                revision: watch::Sender::new(Revision::default()),
            }),
        }
    }

    /// The present view. Wait-free; hold the guard briefly, or clone the `Arc` in it.
    pub fn load(&self) -> Guard<Arc<MintView>> {
        self.shared.view.load()
    }

    /// Tells each new revision; [`load`](Self::load) then returns that one or a later one.
    pub fn changed(&self) -> watch::Receiver<Revision> {
        self.shared.revision.subscribe()
    }

    /// A session with a mint is ready: from here on this one decides, whatever older one is still open (P8). Until
    /// [`CacheSession::negotiated`] the status is `unsupported`. Dropping the session means disconnected.
    pub fn open_session(&self, peer: Peer) -> CacheSession {
        self.open(peer, false)
    }

    /// The same for a session that has negotiated the extension already: no reader sees it as `unsupported`.
    pub fn open_negotiated_session(&self, peer: Peer) -> CacheSession {
        self.open(peer, true)
    }

    fn open(&self, peer: Peer, negotiated: bool) -> CacheSession {
        let mut writing = self.shared.lock();
        writing.newest_session += 1;
        let id = writing.newest_session;
        self.shared.change(&writing, |view| {
            view.connection = Connection::Up { negotiated };
            view.peer = Some(Arc::new(peer));
            view.round_trip = None;
            view.counters.sessions += 1;
        });
        CacheSession {
            shared: Arc::clone(&self.shared),
            id,
        }
    }

    /// Makes a new revision when a live view turns stale, so that those who wait on [`changed`](Self::changed) hear of
    /// it. Runs until `stop`. Readers judge by [`MintView::freshness`] and don't depend on it.
    pub async fn run(&self, stop: CancellationToken) {
        let mut changed = self.changed();
        loop {
            changed.mark_unchanged();
            let now = time::Instant::now().into_std();
            let view = self.load();
            let live = view.freshness(now).status == Status::Live;
            // A millisecond beyond the last moment that counts as live.
            let turns_stale_at = view
                .turns_stale_at()
                .filter(|_| live)
                .map(|at| at + Duration::from_millis(1));
            drop(view);
            let turned_stale = async {
                match turns_stale_at {
                    Some(at) => time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                // The sender lives in `self`: this does not fail.
                _ = changed.changed() => {}
                () = turned_stale => self.note_stale(),
            }
        }
    }

    fn note_stale(&self) {
        let writing = self.shared.lock();
        let now = time::Instant::now().into_std();
        if self.load().freshness(now).status == Status::Stale {
            self.shared.change(&writing, |_| {});
        }
    }
}

impl Default for SnapshotCache {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Writing> {
        // Each change is one store: a panic elsewhere leaves nothing half done.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the view after `change` as a new revision.
    fn change(&self, writing: &MutexGuard<'_, Writing>, change: impl FnOnce(&mut MintView)) {
        let revision = Revision(self.view.load().revision.0 + 1);
        self.store(writing, |view| {
            change(view);
            view.revision = revision;
        });
        self.revision.send_replace(revision);
    }

    /// Publishes the view after `change` under the same revision: for what no page shows.
    fn store(&self, _writing: &MutexGuard<'_, Writing>, change: impl FnOnce(&mut MintView)) {
        let mut view = MintView::clone(&self.view.load());
        change(&mut view);
        self.view.store(Arc::new(view));
    }
}

/// One session with a mint. Dropping it says that the connection is gone.
#[derive(Debug)]
pub struct CacheSession {
    shared: Arc<Shared>,
    id: u64,
}

impl CacheSession {
    /// The mint has negotiated the statistics extension, at once or late. Said again it changes nothing.
    pub fn negotiated(&self) {
        let writing = self.shared.lock();
        let on = Connection::Up { negotiated: true };
        if self.decides(&writing) && self.shared.view.load().connection != on {
            self.shared.change(&writing, |view| view.connection = on);
        }
    }

    /// Takes a snapshot that was received at `now` (P8). It implies that the extension is negotiated.
    pub fn apply(&self, snapshot: Snapshot, now: Instant) -> Applied {
        let writing = self.shared.lock();
        if !self.decides(&writing) {
            self.shared.store(&writing, |view| view.counters.superseded += 1);
            return Applied::Superseded;
        }
        let current = self.shared.view.load();
        let previous = current.latest.as_ref().map(|latest| latest.snapshot.as_ref());
        let same_run = previous.filter(|previous| previous.run_id == snapshot.run_id);
        let applied = match same_run {
            Some(previous) if snapshot.sequence < previous.sequence => Applied::Outdated,
            Some(previous) if snapshot.sequence == previous.sequence => Applied::Refreshed,
            _ => Applied::Replaced,
        };
        if applied == Applied::Outdated {
            self.shared.store(&writing, |view| view.counters.outdated += 1);
            return applied;
        }
        let restarted = previous.is_some() && same_run.is_none();
        let fell = previous.is_some_and(|previous| falls(previous, &snapshot));
        self.shared.change(&writing, |view| {
            view.connection = Connection::Up { negotiated: true };
            view.counters.restarts += u64::from(restarted);
            view.counters.falls += u64::from(fell);
            if let Some(count) = view.counters.received.get_mut(usize::from(snapshot.reason.code())) {
                *count += 1;
            }
            view.latest = Some(Received {
                snapshot: Arc::new(snapshot),
                at: now,
                at_wall: UnixMillis::now(),
            });
        });
        applied
    }

    /// The mint has answered a question of this session after this time (see [`Inquiry::heard`](crate::Inquiry::heard)).
    pub fn answered(&self, round_trip: Duration) {
        let writing = self.shared.lock();
        if self.decides(&writing) {
            self.shared.change(&writing, |view| view.round_trip = Some(round_trip));
        }
    }

    /// A message of the extension was malformed or unexpected, and is dropped (P10).
    pub fn malformed(&self) {
        let writing = self.shared.lock();
        self.shared.store(&writing, |view| view.counters.malformed += 1);
    }

    fn decides(&self, writing: &MutexGuard<'_, Writing>) -> bool {
        writing.newest_session == self.id
    }
}

impl Drop for CacheSession {
    fn drop(&mut self) {
        let writing = self.shared.lock();
        if self.decides(&writing) {
            self.shared.change(&writing, |view| view.connection = Connection::Down);
        }
    }
}

/// Whether what was issued is less than before: a restored database, to be shown and counted.
fn falls(previous: &Snapshot, next: &Snapshot) -> bool {
    next.ehash.quotes_redeemed < previous.ehash.quotes_redeemed
        || next.ehash.amounts.issued < previous.ehash.amounts.issued
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
