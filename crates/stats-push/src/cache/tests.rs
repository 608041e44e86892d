//! Promises P8 and P9 on the cache: who decides, what replaces what, and what is said of its age.

use super::*;
use crate::{EhashTotals, PerState, RunId};

const MS: Duration = Duration::from_millis(1);

fn peer(name: &str) -> Peer {
    Peer {
        address: name.to_owned(),
        public_key: None,
        proven: false,
    }
}

/// A snapshot with an interval of 1 s, so stale after 3 s, that shows `issued` redeemed quotes.
fn snapshot(run: u64, sequence: u64, issued: u64) -> Snapshot {
    Snapshot {
        request_id: 0,
        reason: Reason::Event,
        run_id: RunId(run),
        sequence,
        taken_at: UnixMillis(1_000),
        interval: 1000 * MS,
        ehash: EhashTotals {
            quotes_redeemed: issued,
            quotes: PerState::default(),
            amounts: PerState {
                issued: issued * 32,
                ..PerState::default()
            },
        },
        units_total: 0,
        units: Arc::default(),
    }
}

fn sequence(cache: &SnapshotCache) -> Option<u64> {
    cache.load().latest.as_ref().map(|latest| latest.snapshot.sequence)
}

fn status(cache: &SnapshotCache, now: Instant) -> Status {
    cache.load().freshness(now).status
}

#[test]
fn p8_within_a_run_higher_replaces_equal_refreshes_lower_is_dropped() {
    let cache = SnapshotCache::new();
    let session = cache.open_session(peer("a"));
    let start = Instant::now();
    assert_eq!(session.apply(snapshot(1, 5, 5), start), Applied::Replaced);
    assert_eq!(session.apply(snapshot(1, 5, 5), start + MS), Applied::Refreshed);
    assert_eq!(
        cache.load().latest.as_ref().unwrap().at,
        start + MS,
        "an equal one makes it younger"
    );
    assert_eq!(session.apply(snapshot(1, 4, 4), start + 2 * MS), Applied::Outdated);
    assert_eq!(
        cache.load().latest.as_ref().unwrap().at,
        start + MS,
        "a dropped one changes no age"
    );
    assert_eq!(session.apply(snapshot(1, 6, 6), start + 3 * MS), Applied::Replaced);
    assert_eq!(sequence(&cache), Some(6));
    let counters = cache.load().counters;
    assert_eq!((counters.outdated, counters.restarts, counters.falls), (1, 0, 0));
    assert_eq!(counters.received(Reason::Event), 3);
    assert_eq!(counters.received(Reason::Final), 0);
}

#[test]
fn p8_a_new_run_counts_as_a_restart_and_replaces_whatever_its_sequence() {
    let cache = SnapshotCache::new();
    let session = cache.open_session(peer("a"));
    let now = Instant::now();
    session.apply(snapshot(1, 100, 5), now);
    assert_eq!(session.apply(snapshot(2, 3, 5), now), Applied::Replaced);
    assert_eq!(sequence(&cache), Some(3));
    assert_eq!(cache.load().counters.restarts, 1);
    assert_eq!(cache.load().counters.falls, 0);
}

#[test]
fn p8_a_total_that_falls_is_shown_and_counted() {
    let cache = SnapshotCache::new();
    let session = cache.open_session(peer("a"));
    let now = Instant::now();
    session.apply(snapshot(1, 1, 10), now);
    session.apply(snapshot(1, 2, 7), now);
    assert_eq!(cache.load().latest.as_ref().unwrap().snapshot.ehash.quotes_redeemed, 7);
    assert_eq!(cache.load().counters.falls, 1);
    let mut less_ehash = snapshot(1, 3, 7);
    less_ehash.ehash.amounts.issued -= 1;
    session.apply(less_ehash.clone(), now);
    assert_eq!(cache.load().counters.falls, 2);
    less_ehash.sequence = 4;
    session.apply(less_ehash, now);
    assert_eq!(cache.load().counters.falls, 2, "the same again is no fall");
}

#[test]
fn p8_the_newest_session_decides_and_the_older_changes_nothing() {
    let cache = SnapshotCache::new();
    let older = cache.open_session(peer("older"));
    let now = Instant::now();
    older.apply(snapshot(1, 1, 1), now);
    let newer = cache.open_session(peer("newer"));
    assert_eq!(cache.load().peer.as_ref().unwrap().address, "newer");
    assert_eq!(older.apply(snapshot(1, 9, 9), now), Applied::Superseded);
    older.negotiated();
    assert_eq!(sequence(&cache), Some(1));
    assert_eq!(
        status(&cache, now),
        Status::Unsupported,
        "the newer one has not negotiated"
    );
    newer.apply(snapshot(1, 2, 2), now);
    drop(older);
    assert_eq!(
        status(&cache, now),
        Status::Live,
        "the end of a superseded session is no disconnect"
    );
    assert_eq!(cache.load().counters.superseded, 1);
    assert_eq!(cache.load().counters.sessions, 2);
}

#[test]
fn p9_every_status_has_its_cause() {
    let cache = SnapshotCache::new();
    let start = Instant::now();
    assert_eq!(status(&cache, start), Status::Never);
    let session = cache.open_session(peer("a"));
    assert_eq!(status(&cache, start), Status::Unsupported);
    session.negotiated();
    assert_eq!(status(&cache, start), Status::Never, "connected, and no snapshot yet");
    let revision = cache.load().revision;
    session.negotiated();
    assert_eq!(cache.load().revision, revision, "said again it is no news");
    assert_eq!(cache.load().freshness(start).age, None);
    session.apply(snapshot(1, 1, 1), start);
    assert_eq!(status(&cache, start), Status::Live);
    assert_eq!(status(&cache, start + 3000 * MS), Status::Live);
    assert_eq!(status(&cache, start + 3001 * MS), Status::Stale);
    assert_eq!(cache.load().freshness(start + 3001 * MS).age, Some(3001 * MS));
    session.apply(snapshot(1, 1, 1), start + 4000 * MS);
    assert_eq!(status(&cache, start + 4000 * MS), Status::Live);
    drop(session);
    assert_eq!(status(&cache, start + 4000 * MS), Status::Disconnected);
    assert_eq!(sequence(&cache), Some(1), "the last numbers stay");
    let _next = cache.open_session(peer("legacy"));
    assert_eq!(status(&cache, start + 4000 * MS), Status::Unsupported);
}

#[test]
fn p9_an_age_never_runs_backwards() {
    let cache = SnapshotCache::new();
    let session = cache.open_session(peer("a"));
    let start = Instant::now();
    session.apply(snapshot(1, 1, 1), start + 10 * MS);
    assert_eq!(cache.load().freshness(start).age, Some(Duration::ZERO));
}

#[test]
fn p10_a_malformed_message_is_counted_and_wakes_nobody() {
    let cache = SnapshotCache::new();
    let session = cache.open_session(peer("a"));
    let changed = cache.changed();
    session.malformed();
    session.malformed();
    assert_eq!(cache.load().counters.malformed, 2);
    assert!(!changed.has_changed().unwrap());
}

#[test]
fn each_change_is_a_revision_and_a_drop_is_none() {
    let cache = SnapshotCache::new();
    let changed = cache.changed();
    let session = cache.open_session(peer("a"));
    assert_eq!(*changed.borrow(), Revision(1));
    session.apply(snapshot(1, 2, 2), Instant::now());
    assert_eq!(*changed.borrow(), Revision(2));
    session.apply(snapshot(1, 1, 1), Instant::now());
    assert_eq!(*changed.borrow(), Revision(2));
    drop(session);
    assert_eq!(*changed.borrow(), Revision(3));
    assert_eq!(cache.load().revision, Revision(3));
}

#[test]
fn the_clock_skew_has_a_sign() {
    let mut received = Received {
        snapshot: Arc::new(snapshot(1, 1, 1)),
        at: Instant::now(),
        at_wall: UnixMillis(990),
    };
    assert_eq!(received.clock_skew_ms(), 10);
    received.at_wall = UnixMillis(1_030);
    assert_eq!(received.clock_skew_ms(), -30);
}

#[tokio::test(start_paused = true)]
async fn p9_the_passing_of_time_is_a_change() {
    let cache = SnapshotCache::default();
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (cache, stop) = (cache.clone(), stop.clone());
        async move { cache.run(stop).await }
    });
    let session = cache.open_session(peer("a"));
    let start = time::Instant::now();
    session.apply(snapshot(1, 1, 1), start.into_std());
    let mut changed = cache.changed();
    changed.mark_unchanged();
    changed.changed().await.unwrap();
    assert_eq!(start.elapsed(), 3001 * MS);
    assert_eq!(status(&cache, time::Instant::now().into_std()), Status::Stale);

    // Stale once is told once; a refresh makes it live, and it turns stale anew.
    time::sleep(60_000 * MS).await;
    assert!(!changed.has_changed().unwrap());
    session.apply(snapshot(1, 1, 1), time::Instant::now().into_std());
    changed.mark_unchanged();
    let refreshed = time::Instant::now();
    changed.changed().await.unwrap();
    assert_eq!(refreshed.elapsed(), 3001 * MS);

    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p9_a_refresh_postpones_stale() {
    let cache = SnapshotCache::new();
    let stop = CancellationToken::new();
    let session = cache.open_session(peer("a"));
    session.apply(snapshot(1, 1, 1), time::Instant::now().into_std());
    let refresh = async {
        time::sleep(2000 * MS).await;
        session.apply(snapshot(1, 1, 1), time::Instant::now().into_std());
        let refreshed = cache.changed().borrow().0;
        time::sleep(2999 * MS).await;
        assert_eq!(cache.load().revision.0, refreshed);
        time::sleep(2 * MS).await;
        assert_eq!(cache.load().revision.0, refreshed + 1);
        stop.cancel();
    };
    tokio::join!(cache.run(stop.clone()), refresh);
}

#[tokio::test(start_paused = true)]
async fn a_stale_wake_that_lost_the_race_changes_nothing() {
    let cache = SnapshotCache::new();
    let session = cache.open_session(peer("a"));
    session.apply(snapshot(1, 1, 1), time::Instant::now().into_std());
    let revision = cache.load().revision;
    cache.note_stale();
    assert_eq!(cache.load().revision, revision);
}

#[test]
fn the_time_of_an_answer_is_that_of_the_newest_session_and_news() {
    let cache = SnapshotCache::new();
    let older = cache.open_session(peer("a"));
    older.answered(7 * MS);
    let view = cache.load().clone();
    assert_eq!(view.round_trip, Some(7 * MS));
    let newer = cache.open_session(peer("b"));
    older.answered(8 * MS);
    assert_eq!(cache.load().round_trip, None, "the newer one was asked nothing");
    let revision = cache.load().revision;
    newer.answered(9 * MS);
    assert_eq!(cache.load().round_trip, Some(9 * MS));
    assert!(cache.load().revision > revision);
}

#[test]
fn p9_a_session_that_has_negotiated_before_is_never_unsupported() {
    let cache = SnapshotCache::new();
    let told = cache.changed();
    let session = cache.open_negotiated_session(peer("a"));
    let view = cache.load();
    assert_eq!(view.connection, Connection::Up { negotiated: true });
    assert_eq!(*told.borrow(), view.revision);
    assert_eq!(
        view.revision,
        Revision(1),
        "one change, so that nobody can wake up between two"
    );
    session.negotiated();
    assert_eq!(cache.load().revision, Revision(1));
}
