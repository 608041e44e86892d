//! What a reader of the pool's cache pays: `SnapshotCache::load` beside a bare `ArcSwap::load`, alone and while a writer
//! applies a snapshot every millisecond. `cargo bench -p stats-push --bench cache_read`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use divan::{Bencher, black_box};
use stats_push::{EhashTotals, MintView, Peer, Reason, RunId, Snapshot, SnapshotCache, UnixMillis};

fn main() {
    divan::main();
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

/// Runs `write` every millisecond beside `bench`.
fn beside_a_writer(mut write: impl FnMut(u64) + Send, bench: impl FnOnce()) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for sequence in 0.. {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                write(sequence);
                thread::sleep(Duration::from_millis(1));
            }
        });
        bench();
        done.store(true, Ordering::Relaxed);
    });
}

fn filled() -> (SnapshotCache, stats_push::CacheSession) {
    let cache = SnapshotCache::new();
    let session = cache.open_session(Peer {
        address: "127.0.0.1:1".to_owned(),
        public_key: None,
        proven: false,
    });
    session.apply(snapshot(0), Instant::now());
    (cache, session)
}

fn sequence(view: &MintView) -> Option<u64> {
    view.latest.as_ref().map(|latest| latest.snapshot.sequence)
}

#[divan::bench_group(sample_count = 500)]
mod alone {
    use super::*;

    #[divan::bench]
    fn arc_swap(bencher: Bencher) {
        let bare = ArcSwap::from(Arc::clone(&filled().0.load()));
        bencher.bench_local(|| black_box(sequence(&black_box(&bare).load())));
    }

    #[divan::bench]
    fn snapshot_cache(bencher: Bencher) {
        let (cache, _session) = filled();
        bencher.bench_local(|| black_box(sequence(&black_box(&cache).load())));
    }
}

#[divan::bench_group(sample_count = 500)]
mod while_written {
    use super::*;

    #[divan::bench]
    fn arc_swap(bencher: Bencher) {
        let (cache, _session) = filled();
        let bare = ArcSwap::from(Arc::clone(&cache.load()));
        beside_a_writer(
            |_| bare.store(Arc::new(MintView::clone(&bare.load()))),
            || bencher.bench_local(|| black_box(sequence(&black_box(&bare).load()))),
        );
    }

    #[divan::bench]
    fn snapshot_cache(bencher: Bencher) {
        let (cache, session) = filled();
        beside_a_writer(
            |sequence| {
                session.apply(snapshot(sequence), Instant::now());
            },
            || bencher.bench_local(|| black_box(sequence(&black_box(&cache).load()))),
        );
    }
}
