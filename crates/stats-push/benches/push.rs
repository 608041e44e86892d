//! What one push costs in this crate, without a connection: deciding and encoding at the mint, decoding and applying at the
//! pool; with a mint's one unit, and with about as many as a message can list.
//!
//! `cargo bench -p stats-push --bench push`

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use divan::{Bencher, black_box, counter::BytesCount};
use stats_push::{
    Peer, PerState, PushConfig, Reason, RunId, Schedule, Snapshot, SnapshotCache, Step, Totals, UnitStats, UnixMillis,
};

const UNITS: [u64; 2] = [1, 250];

fn main() {
    divan::main();
}

/// A snapshot of so many units, one for each mining epoch.
fn snapshot(units: u64) -> Snapshot {
    let count = |n| PerState {
        unpaid: n,
        paid: n * 3,
        issued: n * 1_000_003,
    };
    let units = (0..units).map(|epoch| {
        let unit = UnitStats {
            unit: format!("hash_02ab34cd_{}", 900_000 + epoch).into(),
            quotes: count(epoch + 1),
            amounts: count((epoch + 1) << 16),
            last_issued_at: Some(UnixMillis::now()),
        };
        let redeemed = unit.quotes.issued;
        (unit, redeemed)
    });
    let totals = Totals::new(1, units);
    Snapshot {
        request_id: 0,
        reason: Reason::Event,
        run_id: RunId::random(),
        sequence: totals.version,
        taken_at: UnixMillis::now(),
        interval: Duration::from_secs(5),
        ehash: totals.ehash,
        units_total: totals.units.len() as u16,
        units: totals.units,
    }
}

#[divan::bench(args = UNITS)]
fn encode(bencher: Bencher, units: u64) {
    let snapshot = snapshot(units);
    bencher
        .counter(BytesCount::new(snapshot.encode().len()))
        .bench_local(|| black_box(&snapshot).encode());
}

#[divan::bench(args = UNITS)]
fn decode(bencher: Bencher, units: u64) {
    let payload = snapshot(units).encode();
    bencher
        .counter(BytesCount::new(payload.len()))
        .bench_local(|| Snapshot::decode(black_box(&payload)));
}

/// Each snapshot replaces the one before it, which is dropped.
#[divan::bench(args = UNITS)]
fn apply(bencher: Bencher, units: u64) {
    let cache = SnapshotCache::new();
    let session = cache.open_session(Peer {
        address: "127.0.0.1:51234".to_owned(),
        public_key: None,
        proven: false,
    });
    let (newest, now) = (snapshot(units), Instant::now());
    let mut sequence = 0;
    let next = || {
        sequence += 1;
        Snapshot {
            sequence,
            // As decoded: shared with nobody.
            units: newest.units.iter().cloned().collect::<Arc<[_]>>(),
            ..newest.clone()
        }
    };
    bencher
        .with_inputs(next)
        .bench_local_values(|snapshot| session.apply(snapshot, now));
}

/// The writer looks after each of its batches of answers: mostly there is nothing to push.
#[divan::bench]
fn poll_with_nothing_due(bencher: Bencher) {
    let now = Instant::now();
    let mut schedule = Schedule::new(PushConfig::default(), now);
    assert!(matches!(schedule.poll(now, 1), Step::Push { .. }));
    bencher.bench_local(|| schedule.poll(black_box(now), black_box(1)));
}

#[divan::bench]
fn poll_with_an_event_due(bencher: Bencher) {
    let config = PushConfig::default();
    let (mut now, mut version) = (Instant::now(), 0);
    let mut schedule = Schedule::new(config, now);
    bencher.bench_local(|| {
        now += config.min_gap();
        version += 1;
        schedule.poll(black_box(now), black_box(version))
    });
}
