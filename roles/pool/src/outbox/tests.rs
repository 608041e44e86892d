//! The outbox through its handle, on real files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use tempfile::TempDir;

use rusqlite::Connection;

use super::*;

const DAY_MS: u64 = 86_400_000;

struct Fixture {
    dir: TempDir,
    config: OutboxConfig,
}

impl Fixture {
    fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            config: OutboxConfig::default(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("outbox.sqlite")
    }

    fn open(&self) -> Outbox {
        Outbox::open(self.path(), &self.config).unwrap()
    }
}

fn share(n: u32) -> AcceptedShare {
    let mut header_hash = [7; 32];
    header_hash[..4].copy_from_slice(&n.to_le_bytes());
    AcceptedShare {
        header_hash,
        amount: u64::from(n) + 1,
        locking_key: [2; 33],
    }
}

fn acknowledged(id: ShareId, quote_id: &str) -> Settlement {
    Settlement {
        id,
        answer: Answer::Acknowledged {
            quote_id: Some(quote_id.to_owned()),
        },
    }
}

fn refused(id: ShareId, code: u32) -> Settlement {
    Settlement {
        id,
        answer: Answer::Refused {
            code,
            message: "no".to_owned(),
        },
    }
}

async fn ids(outbox: &Outbox) -> Vec<ShareId> {
    let waiting = outbox.waiting_after(ShareId::default(), 1000).await.unwrap();
    waiting.into_iter().map(|row| row.id).collect()
}

#[tokio::test]
async fn a_share_goes_from_waiting_to_acknowledged_or_refused() {
    let fixture = Fixture::new();
    let outbox = fixture.open();
    for n in 0..3 {
        outbox.enqueue(share(n)).await.unwrap();
    }
    let waiting = outbox.waiting_after(ShareId::default(), 10).await.unwrap();
    assert_eq!(
        waiting.iter().map(|row| row.share).collect::<Vec<_>>(),
        [share(0), share(1), share(2)]
    );
    assert_eq!(outbox.waiting_after(waiting[0].id, 1).await.unwrap(), waiting[1..2]);

    let answers = vec![acknowledged(waiting[1].id, "q1"), refused(waiting[0].id, 3)];
    assert_eq!(outbox.settle(answers.clone()).await.unwrap(), 2);
    assert_eq!(
        outbox.settle(answers).await.unwrap(),
        0,
        "an answer that comes twice counts once"
    );

    let tally = outbox.view().tally.clone();
    assert_eq!((tally.requested, tally.waiting, tally.acknowledged), (3, 1, 1));
    assert_eq!(tally.refused, BTreeMap::from([(3, 1)]));
    let record = outbox.record(share(0).header_hash).await.unwrap().unwrap();
    assert_eq!(record.answer, Some(refused(waiting[0].id, 3).answer));
    assert_eq!(outbox.record(share(9).header_hash).await.unwrap(), None);
    let quotes = outbox.quotes_of([2; 33], 0, 10).await.unwrap();
    assert_eq!(quotes.len(), 1);
    assert_eq!((quotes[0].quote_id.as_str(), quotes[0].amount), ("q1", 2));
    assert!(outbox.quotes_of([3; 33], 0, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_redeemed_is_no_longer_listed_and_is_not_forgotten() {
    let fixture = Fixture::new();
    let outbox = fixture.open();
    for n in 0..4 {
        outbox.enqueue(share(n)).await.unwrap();
    }
    let waiting = ids(&outbox).await;
    let answers = vec![
        acknowledged(waiting[0], "q0"),
        acknowledged(waiting[1], "q1"),
        refused(waiting[2], 3),
    ];
    outbox.settle(answers.clone()).await.unwrap();
    // One that can be redeemed, one refused, one that waits, and one that nobody knows.
    let hashes = [0, 2, 3, 9].map(|n| share(n).header_hash).to_vec();
    assert_eq!(outbox.redeem(hashes.clone()).await.unwrap(), 1);
    assert_eq!(outbox.redeem(hashes).await.unwrap(), 0, "told twice it counts once");
    assert_eq!(outbox.settle(answers).await.unwrap(), 0);

    let listed = outbox.quotes_of([2; 33], 0, 10).await.unwrap();
    assert_eq!(
        listed.iter().map(|quote| quote.quote_id.as_str()).collect::<Vec<_>>(),
        ["q1"]
    );
    assert_eq!(outbox.quotes_after(0, 10).await.unwrap().len(), 2);
    assert!(matches!(outbox.enqueue(share(0)).await, Err(EnqueueError::Duplicate)));
    let record = outbox.record(share(0).header_hash).await.unwrap().unwrap();
    assert_eq!(
        (record.answer, record.redeemed),
        (Some(acknowledged(waiting[0], "q0").answer), true)
    );
    let tally = outbox.view().tally.clone();
    assert_eq!(
        (tally.acknowledged, tally.redeemed, tally.waiting, tally.kept),
        (2, 1, 1, 3)
    );
    outbox.close().await;
    assert_eq!(fixture.open().view().tally, tally);
}

/// As version 1 left it: a share that waits, a quote, and a refusal.
const LAYOUT_1: &str = include_str!("layout_1.sql");

#[tokio::test]
async fn a_file_of_layout_1_goes_on_as_it_is() {
    let fixture = Fixture::new();
    let old = Connection::open(fixture.path()).unwrap();
    old.pragma_update(None, "journal_mode", "WAL").unwrap();
    old.execute_batch(LAYOUT_1).unwrap();
    drop(old);
    for _ in 0..2 {
        let outbox = fixture.open();
        let expected = Tally {
            requested: 3,
            waiting: 1,
            oldest_waiting_ms: Some(30),
            acknowledged: 1,
            refused: BTreeMap::from([(3, 1)]),
            kept: 2,
            settled_seq: 2,
            ..Tally::default()
        };
        assert_eq!(outbox.view().tally, expected);
        let quotes = outbox.quotes_of([2; 33], 0, 10).await.unwrap();
        assert_eq!(
            (quotes.len(), quotes[0].quote_id.as_str(), quotes[0].amount),
            (1, "q1", 2)
        );
        assert_eq!(ids(&outbox).await.len(), 1);
        outbox.close().await;
    }
    let outbox = fixture.open();
    assert_eq!(outbox.redeem(vec![[1; 32]]).await.unwrap(), 1);
    assert!(outbox.quotes_of([2; 33], 0, 10).await.unwrap().is_empty());
    let id = ids(&outbox).await[0];
    outbox.settle(vec![acknowledged(id, "q3")]).await.unwrap();
    assert_eq!(outbox.quotes_of([2; 33], 0, 10).await.unwrap()[0].cursor, 3);
}

#[tokio::test]
async fn an_acknowledgement_without_an_id_is_counted_but_is_no_quote() {
    let fixture = Fixture::new();
    let outbox = fixture.open();
    outbox.enqueue(share(1)).await.unwrap();
    let id = ids(&outbox).await[0];
    let answer = Answer::Acknowledged { quote_id: None };
    outbox.settle(vec![Settlement { id, answer }]).await.unwrap();
    let tally = outbox.view().tally.clone();
    assert_eq!(
        (tally.acknowledged, tally.acknowledged_without_id, tally.waiting),
        (1, 1, 0)
    );
    assert!(outbox.quotes_after(0, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn refusal_codes_of_a_hostile_mint_do_not_grow_the_counters() {
    let fixture = Fixture::new();
    let outbox = fixture.open();
    for n in 0..20 {
        outbox.enqueue(share(n)).await.unwrap();
    }
    let answers = ids(&outbox)
        .await
        .into_iter()
        .zip(0..)
        .map(|(id, code)| refused(id, code * 1000 + code));
    outbox.settle(answers.collect()).await.unwrap();
    assert_eq!(outbox.view().tally.refused, BTreeMap::from([(0, 20)]));
}

#[tokio::test]
async fn a_full_outbox_refuses_and_takes_again_after_an_answer() {
    let mut fixture = Fixture::new();
    fixture.config.max_waiting = 2;
    let outbox = fixture.open();
    outbox.enqueue(share(0)).await.unwrap();
    assert_eq!(outbox.full(), None);
    outbox.enqueue(share(1)).await.unwrap();
    assert_eq!(outbox.full(), Some(2));
    assert!(matches!(
        outbox.enqueue(share(2)).await,
        Err(EnqueueError::Full { max_waiting: 2 })
    ));
    assert!(matches!(outbox.enqueue(share(1)).await, Err(EnqueueError::Duplicate)));
    let id = ids(&outbox).await[0];
    outbox.settle(vec![acknowledged(id, "q")]).await.unwrap();
    assert_eq!(outbox.full(), None);
    outbox.enqueue(share(2)).await.unwrap();
    assert_eq!(outbox.view().tally.requested, 3);
}

#[tokio::test]
async fn duplicates_and_impossible_amounts_are_refused() {
    let fixture = Fixture::new();
    let outbox = fixture.open();
    outbox.enqueue(share(1)).await.unwrap();
    let other_key = AcceptedShare {
        locking_key: [3; 33],
        ..share(1)
    };
    assert!(matches!(outbox.enqueue(other_key).await, Err(EnqueueError::Duplicate)));
    for amount in [0, MAX_AMOUNT + 1, u64::MAX] {
        let worthless = AcceptedShare { amount, ..share(2) };
        assert!(matches!(outbox.enqueue(worthless).await, Err(EnqueueError::Amount(a)) if a == amount));
    }
    outbox
        .enqueue(AcceptedShare {
            amount: MAX_AMOUNT,
            ..share(2)
        })
        .await
        .unwrap();
    assert_eq!(
        outbox.waiting_after(ShareId::default(), 10).await.unwrap()[1]
            .share
            .amount,
        MAX_AMOUNT
    );
}

#[tokio::test]
async fn callers_that_wait_together_share_a_commit() {
    let fixture = Fixture::new();
    let outbox = fixture.open();
    let calls = (0..1000).map(|n| {
        let outbox = outbox.clone();
        tokio::spawn(async move { outbox.enqueue(share(n)).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    let view = outbox.view();
    assert_eq!(view.tally.waiting, 1000);
    assert!(view.commits < 500, "{} commits for 1000 shares", view.commits);
}

#[tokio::test]
async fn counts_and_rows_survive_a_close_and_a_close_ends_all_handles() {
    let fixture = Fixture::new();
    let outbox = fixture.open();
    let other = outbox.clone();
    outbox.enqueue(share(1)).await.unwrap();
    outbox.enqueue(share(2)).await.unwrap();
    let id = ids(&outbox).await[0];
    outbox.settle(vec![acknowledged(id, "q")]).await.unwrap();
    let tally = outbox.view().tally.clone();
    outbox.close().await;
    assert!(matches!(other.enqueue(share(3)).await, Err(EnqueueError::Closed)));
    assert!(other.settle(vec![]).await.is_err());
    assert!(!other.is_serving());
    other.close().await;

    let reopened = fixture.open();
    assert_eq!(reopened.view().tally, tally);
    assert!(matches!(reopened.enqueue(share(1)).await, Err(EnqueueError::Duplicate)));
}

#[tokio::test]
async fn every_answer_is_found_by_the_cursor_whatever_the_order_of_answers() {
    let fixture = Fixture::new();
    let outbox = fixture.open();
    for n in 0..10 {
        outbox.enqueue(share(n)).await.unwrap();
    }
    let mut waiting = ids(&outbox).await;
    let (mut cursor, mut seen) = (0, Vec::new());
    let mut watch = outbox.watch();
    while let Some(id) = waiting.pop() {
        outbox
            .settle(vec![acknowledged(id, &format!("q{}", waiting.len()))])
            .await
            .unwrap();
        if waiting.len() % 3 == 0 {
            watch.wait_for(|view| view.tally.settled_seq > cursor).await.unwrap();
            for quote in outbox.quotes_after(cursor, 2).await.unwrap() {
                cursor = quote.cursor;
                seen.push(quote.quote_id);
            }
        }
    }
    for quote in outbox.quotes_after(cursor, 100).await.unwrap() {
        seen.push(quote.quote_id);
    }
    assert_eq!(seen, (0..10).rev().map(|n| format!("q{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_second_opener_of_the_file_feeds_the_first() {
    let fixture = Fixture::new();
    let pool = fixture.open();
    let feeder = fixture.open();
    let mut watch = pool.watch();
    feeder.enqueue(share(1)).await.unwrap();
    watch.wait_for(|view| view.tally.waiting == 1).await.unwrap();
    pool.enqueue(share(2)).await.unwrap();
    assert!(matches!(pool.enqueue(share(1)).await, Err(EnqueueError::Duplicate)));
    let answers = ids(&pool).await.into_iter().map(|id| acknowledged(id, "q")).collect();
    assert_eq!(pool.settle(answers).await.unwrap(), 2);
    feeder
        .watch()
        .wait_for(|view| view.tally.acknowledged == 2)
        .await
        .unwrap();
}

#[tokio::test]
async fn settled_rows_are_pruned_by_number_and_by_age_and_waiting_ones_never() {
    let mut fixture = Fixture::new();
    fixture.config.max_answered = 3;
    fixture.config.keep_answered_days = 2;
    let now = Arc::new(AtomicU64::new(10 * DAY_MS));
    let clock = {
        let now = Arc::clone(&now);
        Arc::new(move || now.load(Ordering::SeqCst))
    };
    let outbox = Outbox::open_with_clock(&fixture.path(), &fixture.config, clock).unwrap();
    for n in 0..6 {
        outbox.enqueue(share(n)).await.unwrap();
    }
    let waiting = ids(&outbox).await;
    for (n, id) in waiting.iter().enumerate().skip(1) {
        outbox.settle(vec![acknowledged(*id, &format!("q{n}"))]).await.unwrap();
    }
    let left = outbox.quotes_after(0, 10).await.unwrap();
    assert_eq!(
        left.iter().map(|q| q.quote_id.as_str()).collect::<Vec<_>>(),
        ["q3", "q4", "q5"]
    );
    assert_eq!((outbox.view().tally.kept, outbox.view().tally.acknowledged), (3, 5));

    // An idle outbox prunes by age on its own.
    now.fetch_add(3 * DAY_MS, Ordering::SeqCst);
    outbox.watch().wait_for(|view| view.tally.kept == 0).await.unwrap();
    assert!(outbox.quotes_after(0, 10).await.unwrap().is_empty());
    assert_eq!(ids(&outbox).await, waiting[..1]);
    // The cursor of answers goes on from where it was.
    outbox.settle(vec![acknowledged(waiting[0], "q0")]).await.unwrap();
    assert_eq!(outbox.quotes_after(5, 10).await.unwrap()[0].cursor, 6);
}

/// Fills the outbox with shares 0 and following until there is no room; gives back the first that found none.
async fn fill_disk(outbox: &Outbox) -> (u32, EnqueueError) {
    outbox.enqueue(share(0)).await.unwrap();
    // SQLite's own limit fails a write with the same code as a disk without room.
    let limit = |connection: &Connection| connection.pragma_update(None, "max_page_count", 1).unwrap();
    outbox.inspect(limit).await;
    for n in 1..200 {
        if let Err(error) = outbox.enqueue(share(n)).await {
            return (n, error);
        }
    }
    panic!("there is room without end");
}

#[tokio::test]
async fn an_outbox_that_could_not_write_is_unhealthy_until_it_has_written_and_tries_by_itself() {
    let fixture = Fixture::new();
    let outbox = fixture.open();
    let (n, _) = fill_disk(&outbox).await;
    let commits = outbox.view().commits;
    let mut view = outbox.watch();
    view.wait_for(|view| view.healthy).await.unwrap();
    let view = outbox.view();
    assert_eq!((view.commits, view.tally.waiting), (commits + 1, u64::from(n)));
}

#[tokio::test]
async fn a_full_disk_is_told_to_the_callers_and_forgotten_when_there_is_room() {
    let fixture = Fixture::new();
    let outbox = fixture.open();
    let (n, error) = fill_disk(&outbox).await;
    assert!(
        matches!(&error, EnqueueError::Storage(_)) && error.to_string().contains("full"),
        "{error}"
    );
    let view = outbox.view();
    assert_eq!(
        (view.storage_errors, view.healthy, view.tally.waiting),
        (1, false, u64::from(n))
    );
    // The next group works on a connection without the limit.
    outbox.enqueue(share(n)).await.unwrap();
    let view = outbox.view();
    assert_eq!(
        (view.storage_errors, view.healthy, view.tally.waiting),
        (1, true, u64::from(n) + 1)
    );
}

#[tokio::test]
async fn a_lock_that_is_held_too_long_is_an_error_and_then_over() {
    let fixture = Fixture::new();
    let outbox = fixture.open();
    let blocker = Connection::open(fixture.path()).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(outbox.enqueue(share(0)).await, Err(EnqueueError::Storage(_))));
    blocker.execute_batch("ROLLBACK").unwrap();
    outbox.enqueue(share(0)).await.unwrap();
}

#[test]
fn a_file_that_can_not_serve_is_refused() {
    let fixture = Fixture::new();
    assert!(matches!(
        Outbox::open(fixture.dir.path().join("none/outbox.sqlite"), &fixture.config),
        Err(OpenError::Sqlite(_))
    ));
    std::fs::write(fixture.path(), "x".repeat(5000)).unwrap();
    assert!(matches!(
        Outbox::open(fixture.path(), &fixture.config),
        Err(OpenError::Sqlite(_))
    ));
    std::fs::remove_file(fixture.path()).unwrap();
    Connection::open(fixture.path())
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    assert!(matches!(
        Outbox::open(fixture.path(), &fixture.config),
        Err(OpenError::NewerLayout { found: 99 })
    ));
}

/// What can happen to an outbox, in any order.
#[derive(Debug, Clone)]
enum Step {
    Enqueue(u32),
    /// Answer the waiting share at this place (modulo their number): refused if the flag is set.
    Answer(usize, bool),
    /// Read everything that waits, as after a reconnect.
    Reconnect,
    /// Killed at this moment: only what is in the files goes on.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u32..40).prop_map(Step::Enqueue),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(place, refused)| Step::Answer(place, refused)),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..60)
}

/// A copy of database and log as they are on the disk now, opened elsewhere: what a process finds after `kill -9`.
fn crash(from: Fixture, outbox: Outbox) -> (Fixture, Outbox) {
    let to = Fixture::new();
    for file in ["outbox.sqlite", "outbox.sqlite-wal"] {
        std::fs::copy(from.dir.path().join(file), to.dir.path().join(file)).unwrap();
    }
    drop(outbox);
    let outbox = to.open();
    (to, outbox)
}

async fn every_share_ends_once(steps: Vec<Step>) {
    let mut fixture = Fixture::new();
    let mut outbox = fixture.open();
    let mut waiting: Vec<u32> = Vec::new();
    let mut answered: BTreeMap<u32, Answer> = BTreeMap::new();
    for (n, step) in steps.into_iter().chain([Step::Crash]).enumerate() {
        match step {
            Step::Enqueue(hash) => {
                let known = waiting.contains(&hash) || answered.contains_key(&hash);
                match outbox.enqueue(share(hash)).await {
                    Ok(()) => {
                        assert!(!known);
                        waiting.push(hash)
                    }
                    Err(error) => assert!(known && matches!(error, EnqueueError::Duplicate), "{error}"),
                }
            }
            Step::Answer(..) if waiting.is_empty() => {}
            Step::Answer(place, refuse) => {
                let hash = waiting.remove(place % waiting.len());
                let id = outbox.record(share(hash).header_hash).await.unwrap().unwrap().id;
                let settlement = if refuse {
                    refused(id, 4)
                } else {
                    acknowledged(id, &format!("q{n}"))
                };
                assert_eq!(outbox.settle(vec![settlement.clone()]).await.unwrap(), 1);
                answered.insert(hash, settlement.answer);
            }
            Step::Reconnect => {}
            Step::Crash => (fixture, outbox) = crash(fixture, outbox),
        }
        let found = outbox.waiting_after(ShareId::default(), 1000).await.unwrap();
        assert_eq!(
            found.iter().map(|row| row.share).collect::<Vec<_>>(),
            waiting.iter().map(|n| share(*n)).collect::<Vec<_>>()
        );
    }
    for (hash, answer) in &answered {
        assert_eq!(
            outbox
                .record(share(*hash).header_hash)
                .await
                .unwrap()
                .unwrap()
                .answer
                .as_ref(),
            Some(answer)
        );
    }
    let tally = outbox.view().tally.clone();
    let refusals: u64 = tally.refused.values().sum();
    assert_eq!(tally.requested, (waiting.len() + answered.len()) as u64);
    assert_eq!(tally.requested, tally.waiting + tally.acknowledged + refusals);
    assert_eq!(
        outbox.quotes_after(0, 1000).await.unwrap().len() as u64,
        tally.acknowledged
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_committed_share_ends_as_exactly_one_answer(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(every_share_ends_once(steps));
    }
}
