//! What a reader of the pool's cache pays, beside what else could hold the newest view: a bare `ArcSwap`, and the locks of
//! the standard library. Alone, and with 1, 2 and 8 readers beside a writer that puts 1,000 snapshots a second there.
//!
//! `cargo bench -p stats-push --bench cache_read`

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use divan::{Bencher, black_box};
use stats_push::{
    CacheSession, Connection, Counters, EhashTotals, MintView, Peer, Reason, Received, Revision, RunId, Snapshot,
    SnapshotCache, UnixMillis,
};

fn main() {
    divan::main();
}

/// What holds the newest view.
trait Place: Sync {
    /// One that holds the view of the first snapshot.
    fn filled() -> Self;
    /// What every reader does: finds the view, and a number in it.
    fn read(&self) -> Option<u64>;
    /// Puts the view of another snapshot there.
    fn write(&self, sequence: u64);
}

/// What the pool has.
struct Cache {
    cache: SnapshotCache,
    session: CacheSession,
}

impl Place for Cache {
    fn filled() -> Self {
        let cache = SnapshotCache::new();
        let session = cache.open_session(Peer {
            address: "127.0.0.1:1".to_owned(),
            public_key: None,
            proven: false,
        });
        let filled = Self { cache, session };
        filled.write(0);
        filled
    }

    fn read(&self) -> Option<u64> {
        number(&self.cache.load())
    }

    fn write(&self, sequence: u64) {
        self.session.apply(snapshot(sequence), Instant::now());
    }
}

struct BareArcSwap(ArcSwap<MintView>);

impl Place for BareArcSwap {
    fn filled() -> Self {
        Self(ArcSwap::new(view(0)))
    }

    fn read(&self) -> Option<u64> {
        number(&self.0.load())
    }

    fn write(&self, sequence: u64) {
        self.0.store(view(sequence));
    }
}

#[expect(clippy::disallowed_types, reason = "it is here to be compared with")]
struct RwLock(std::sync::RwLock<Arc<MintView>>);

impl Place for RwLock {
    fn filled() -> Self {
        Self(view(0).into())
    }

    fn read(&self) -> Option<u64> {
        number(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, sequence: u64) {
        let view = view(sequence);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = view;
    }
}

struct OneLock(Mutex<Arc<MintView>>);

impl Place for OneLock {
    fn filled() -> Self {
        Self(view(0).into())
    }

    fn read(&self) -> Option<u64> {
        number(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, sequence: u64) {
        let view = view(sequence);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }
}

fn number(view: &MintView) -> Option<u64> {
    view.latest.as_ref().map(|latest| latest.snapshot.sequence)
}

fn snapshot(sequence: u64) -> Snapshot {
    Snapshot {
        request_id: 0,
        reason: Reason::Event,
        run_id: RunId(1),
        sequence,
        taken_at: UnixMillis::now(),
        interval: Duration::from_secs(5),
        ehash: EhashTotals::default(),
        units_total: 0,
        units: Arc::default(),
    }
}

fn view(sequence: u64) -> Arc<MintView> {
    Arc::new(MintView {
        revision: Revision(sequence),
        connection: Connection::Up { negotiated: true },
        peer: None,
        latest: Some(Received {
            snapshot: Arc::new(snapshot(sequence)),
            at: Instant::now(),
            at_wall: UnixMillis::now(),
        }),
        round_trip: None,
        counters: Counters::default(),
    })
}

#[divan::bench(types = [BareArcSwap, Cache, RwLock, OneLock], sample_count = 500)]
fn alone<P: Place>(bencher: Bencher) {
    let place = P::filled();
    bencher.bench_local(|| black_box(&place).read());
}

// A sample lasts some 0.2 ms and more, so that many of them meet a write.
#[divan::bench(
    types = [BareArcSwap, Cache, RwLock, OneLock],
    threads = [1, 2, 8],
    sample_size = 10_000,
    sample_count = 1_000
)]
fn beside_a_writer<P: Place>(bencher: Bencher) {
    let place = P::filled();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| write_each_millisecond(&place, &done));
        bencher.bench(|| black_box(&place).read());
        done.store(true, Ordering::Relaxed);
    });
}

fn write_each_millisecond(place: &impl Place, done: &AtomicBool) {
    let start = Instant::now();
    for sequence in 1.. {
        if done.load(Ordering::Relaxed) {
            return;
        }
        place.write(sequence);
        let next = start + Duration::from_millis(sequence);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}
