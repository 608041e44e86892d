//! The publisher on paused time: what it waits for, what it takes, and that a dropped call takes nothing.

use std::{future::Future, pin::pin, task::Poll, time::Duration};

use tokio::time::advance;

use super::*;
use crate::{PerState, Reason, UnitStats, UnixMillis};

const MS: Duration = Duration::from_millis(1);

fn totals(version: u64) -> Arc<Totals> {
    let unit = UnitStats {
        unit: "hash".into(),
        quotes: PerState {
            issued: version,
            ..PerState::default()
        },
        amounts: PerState::default(),
        last_issued_at: None,
    };
    Arc::new(Totals::new(version, [(unit, version)]))
}

fn publisher() -> (watch::Sender<Arc<Totals>>, Publisher, PublisherHandle) {
    let ledger = watch::Sender::new(totals(1));
    let config = PushConfig::new(1000 * MS, 100 * MS).unwrap();
    let (publisher, handle) = Publisher::new(ledger.subscribe(), RunId(9), config);
    (ledger, publisher, handle)
}

/// What a call yields without waiting.
fn at_once(publisher: &mut Publisher) -> Poll<Option<Snapshot>> {
    let mut next = pin!(publisher.next());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    next.as_mut().poll(&mut context)
}

fn reason_at_once(publisher: &mut Publisher) -> Option<Reason> {
    match at_once(publisher) {
        Poll::Ready(snapshot) => snapshot.map(|snapshot| snapshot.reason),
        Poll::Pending => None,
    }
}

#[tokio::test(start_paused = true)]
async fn p1_p2_the_initial_snapshot_is_whole_and_needs_no_wait() {
    let (_ledger, mut publisher, _handle) = publisher();
    let Poll::Ready(Some(snapshot)) = at_once(&mut publisher) else {
        panic!("the initial snapshot waits")
    };
    assert_eq!((snapshot.reason, snapshot.request_id), (Reason::Initial, 0));
    assert_eq!((snapshot.run_id, snapshot.sequence), (RunId(9), 1));
    assert_eq!(snapshot.interval, 1000 * MS);
    assert_eq!((snapshot.units_total, snapshot.units.len()), (1, 1));
    assert_eq!(snapshot.ehash, totals(1).ehash);
    assert!(UnixMillis::now().millis_since(snapshot.taken_at) < 60_000);
}

#[tokio::test(start_paused = true)]
async fn p3_an_unchanged_ledger_is_pushed_every_interval() {
    let (_ledger, mut publisher, _handle) = publisher();
    publisher.next().await.unwrap();
    let start = Instant::now();
    for k in 1..=3 {
        assert_eq!(publisher.next().await.unwrap().reason, Reason::Periodic);
        assert_eq!(start.elapsed(), k * 1000 * MS);
    }
}

#[tokio::test(start_paused = true)]
async fn p4_a_change_wakes_a_waiting_call() {
    let (ledger, mut publisher, _handle) = publisher();
    publisher.next().await.unwrap();
    advance(300 * MS).await;
    let changes = async {
        tokio::time::sleep(5 * MS).await;
        ledger.send_replace(totals(2));
    };
    let start = Instant::now();
    let (snapshot, ()) = tokio::join!(publisher.next(), changes);
    let snapshot = snapshot.unwrap();
    assert_eq!((snapshot.reason, snapshot.sequence), (Reason::Event, 2));
    assert_eq!(start.elapsed(), 5 * MS);
}

#[tokio::test(start_paused = true)]
async fn p4_changes_within_min_gap_are_one_snapshot_of_the_last() {
    let (ledger, mut publisher, _handle) = publisher();
    publisher.next().await.unwrap();
    ledger.send_replace(totals(2));
    assert!(at_once(&mut publisher).is_pending());
    ledger.send_replace(totals(3));
    assert!(at_once(&mut publisher).is_pending());
    let start = Instant::now();
    assert_eq!(publisher.next().await.unwrap().sequence, 3);
    assert_eq!(start.elapsed(), 100 * MS);
    advance(100 * MS).await;
    assert!(at_once(&mut publisher).is_pending());
}

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(std::sync::atomic::AtomicUsize);

impl std::task::Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn p4_a_waiting_publisher_is_not_woken_by_changes_inside_min_gap() {
    let (ledger, mut publisher, _handle) = publisher();
    publisher.next().await.unwrap();
    ledger.send_replace(totals(2));
    let wakes = Arc::new(Wakes::default());
    let waker = Arc::clone(&wakes).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut next = pin!(publisher.next());
    assert!(next.as_mut().poll(&mut context).is_pending());
    for version in 3..1000 {
        ledger.send_replace(totals(version));
    }
    assert_eq!(wakes.0.load(std::sync::atomic::Ordering::SeqCst), 0);
    assert_eq!(next.await.unwrap().sequence, 999);
}

#[tokio::test(start_paused = true)]
async fn p5_a_request_wakes_a_waiting_call_and_is_answered_once() {
    let (_ledger, mut publisher, handle) = publisher();
    publisher.next().await.unwrap();
    let asks = async {
        assert!(handle.request(MintStatsRequest { request_id: 4 }));
        assert!(!handle.request(MintStatsRequest { request_id: 4 }));
        assert!(!handle.request(MintStatsRequest { request_id: 3 }));
    };
    let start = Instant::now();
    let (snapshot, ()) = tokio::join!(publisher.next(), asks);
    let snapshot = snapshot.unwrap();
    assert_eq!((snapshot.reason, snapshot.request_id), (Reason::Requested, 4));
    assert!(snapshot.is_answer());
    assert_eq!(start.elapsed(), Duration::ZERO);
    let periodic = publisher.next().await.unwrap();
    assert_eq!((periodic.reason, periodic.is_answer()), (Reason::Periodic, false));
}

#[tokio::test(start_paused = true)]
async fn p5_a_request_is_heard_while_an_event_waits() {
    let (ledger, mut publisher, handle) = publisher();
    publisher.next().await.unwrap();
    ledger.send_replace(totals(2));
    let start = Instant::now();
    let (snapshot, _) = tokio::join!(publisher.next(), async {
        handle.request(MintStatsRequest { request_id: 1 })
    });
    let snapshot = snapshot.unwrap();
    assert_eq!((snapshot.reason, snapshot.sequence), (Reason::Requested, 2));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn p6_finish_yields_one_final_snapshot_and_then_none() {
    let (ledger, mut publisher, handle) = publisher();
    publisher.next().await.unwrap();
    ledger.send_replace(totals(2));
    let (snapshot, ()) = tokio::join!(publisher.next(), async { handle.finish() });
    let snapshot = snapshot.unwrap();
    assert_eq!((snapshot.reason, snapshot.sequence), (Reason::Final, 2));
    assert_eq!(publisher.next().await, None);
    assert_eq!(publisher.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn p6_a_ledger_that_is_gone_ends_with_a_final_snapshot() {
    let (ledger, mut publisher, handle) = publisher();
    publisher.next().await.unwrap();
    drop(handle);
    let (snapshot, ()) = tokio::join!(publisher.next(), async { drop(ledger) });
    assert_eq!(snapshot.unwrap().reason, Reason::Final);
    assert_eq!(publisher.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_without_handles_goes_on() {
    let (_ledger, mut publisher, handle) = publisher();
    drop(handle);
    assert_eq!(publisher.next().await.unwrap().reason, Reason::Initial);
    assert_eq!(publisher.next().await.unwrap().reason, Reason::Periodic);
}

#[tokio::test(start_paused = true)]
async fn p7_nothing_queues_while_the_writer_is_busy() {
    let (ledger, mut publisher, _handle) = publisher();
    publisher.next().await.unwrap();
    for version in 2..100 {
        ledger.send_replace(totals(version));
        advance(70 * MS).await;
    }
    let snapshot = publisher.next().await.unwrap();
    assert_eq!((snapshot.reason, snapshot.sequence), (Reason::Event, 99));
    assert_eq!(reason_at_once(&mut publisher), None);
}

#[tokio::test(start_paused = true)]
async fn p7_a_call_that_is_dropped_has_taken_nothing() {
    let (_ledger, mut publisher, _handle) = publisher();
    publisher.next().await.unwrap();
    for _ in 0..5 {
        let dropped = tokio::time::timeout(150 * MS, publisher.next()).await;
        assert!(dropped.is_err());
    }
    assert_eq!(publisher.next().await.unwrap().reason, Reason::Periodic);
}
