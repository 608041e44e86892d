//! Promises P3 to P7 over random histories of a session's writer that comes when it can, and lets go of the calls that it
//! makes, on paused time.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::{sleep, timeout};

use super::*;
use crate::{EhashTotals, Reason};

const MS: Duration = Duration::from_millis(1);

/// What the mint does, and when: milliseconds after what it did before.
#[derive(Clone, Debug)]
enum Deed {
    Changes,
    Asks(u32),
    Stops,
    LedgerGoes,
}

/// What the writer does.
#[derive(Clone, Debug)]
enum Turn {
    /// It waits for a snapshot for so many milliseconds at most, and then drops the call.
    Waits(u32),
    /// It can't write: the pool does not read.
    Stalls(u32),
}

fn deeds() -> impl Strategy<Value = Vec<(u32, Deed)>> {
    let deed = prop_oneof![
        60 => Just(Deed::Changes),
        10 => (0u32..40).prop_map(Deed::Asks),
        1 => Just(Deed::Stops),
        1 => Just(Deed::LedgerGoes),
    ];
    prop::collection::vec((prop_oneof![3 => 0u32..30, 2 => 0u32..1500], deed), 0..60)
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        6 => (0u32..2_000).prop_map(Turn::Waits),
        2 => Just(Turn::Waits(0)),
        1 => (0u32..4_000).prop_map(Turn::Stalls),
    ];
    prop::collection::vec(turn, 1..80)
}

/// A snapshot as it was taken.
struct Taken {
    snapshot: Snapshot,
    at: Duration,
    /// The ledger's version at that moment.
    version: u64,
}

/// What a session has come to.
#[derive(Default)]
struct Record {
    taken: Vec<Taken>,
    /// When each version came to be.
    versions: Vec<Duration>,
    /// The requests that were taken, and when.
    asked: Vec<(u32, Duration)>,
    /// When the mint stopped.
    stopped: Option<Duration>,
    /// Until when the final snapshot must have been taken.
    final_by: Option<Duration>,
    /// The times in which the writer was waiting for a snapshot.
    waiting: Vec<(Duration, Duration)>,
    /// The publisher has yielded its end.
    ended: bool,
}

impl Record {
    /// Whether the writer waited for a snapshot from here until there, without a moment elsewhere.
    fn waited(&self, from: Duration, until: Duration) -> bool {
        let mut reached = from;
        for (begin, end) in &self.waiting {
            if *begin <= reached {
                reached = reached.max(*end);
            }
        }
        // What happens at the very end of a wait may happen after it.
        reached > until
    }

    fn taken_within(&self, from: Duration, until: Duration) -> impl Iterator<Item = &Taken> {
        self.taken
            .iter()
            .filter(move |taken| (from..=until).contains(&taken.at))
    }
}

fn totals(version: u64) -> Arc<Totals> {
    Arc::new(Totals {
        version,
        ehash: EhashTotals::default(),
        units: Arc::new([]),
    })
}

fn play(config: PushConfig, deeds: Vec<(u32, Deed)>, turns: Vec<Turn>) -> Record {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(async {
            let (sender, published) = watch::channel(totals(0));
            let (publisher, handle) = Publisher::new(published.clone(), RunId(9), config);
            let start = Instant::now();
            let (record, by_mint) = tokio::join!(
                write(publisher, published, turns, start),
                rule(sender, handle, deeds, config.min_gap(), start)
            );
            Record {
                versions: by_mint.versions,
                asked: by_mint.asked,
                stopped: by_mint.stopped,
                final_by: by_mint.final_by,
                ..record
            }
        })
}

async fn rule(
    ledger: watch::Sender<Arc<Totals>>,
    handle: PublisherHandle,
    deeds: Vec<(u32, Deed)>,
    gap: Duration,
    start: Instant,
) -> Record {
    let mut record = Record {
        versions: vec![Duration::ZERO],
        ..Record::default()
    };
    let mut ledger = Some(ledger);
    for (after, deed) in deeds {
        sleep(after * MS).await;
        match deed {
            Deed::Changes => {
                if let Some(ledger) = &ledger {
                    ledger.send_replace(totals(record.versions.len() as u64));
                    record.versions.push(start.elapsed());
                }
            }
            Deed::Asks(request_id) => {
                let grows = record.asked.last().map_or(0, |(id, _)| *id) < request_id;
                assert_eq!(handle.request(MintStatsRequest { request_id }), grows, "P5: ids grow");
                if grows {
                    record.asked.push((request_id, start.elapsed()));
                }
            }
            Deed::Stops => {
                handle.finish();
                record.stopped.get_or_insert(start.elapsed());
                record.final_by = record.final_by.min(Some(start.elapsed())).or(Some(start.elapsed()));
            }
            Deed::LedgerGoes => {
                ledger = None;
                record.stopped.get_or_insert(start.elapsed());
                // A change that waits for its gap does not listen to the ledger.
                record.final_by.get_or_insert(start.elapsed() + gap);
            }
        }
    }
    // It lives as long as the writer.
    sleep(Duration::from_secs(3600)).await;
    drop((ledger, handle));
    record
}

async fn write(
    mut publisher: Publisher,
    ledger: watch::Receiver<Arc<Totals>>,
    turns: Vec<Turn>,
    start: Instant,
) -> Record {
    let mut record = Record::default();
    for turn in turns {
        let from = start.elapsed();
        match turn {
            Turn::Stalls(ms) => sleep(ms * MS).await,
            Turn::Waits(ms) => match timeout(ms * MS, publisher.next()).await {
                Ok(Some(snapshot)) => record.taken.push(Taken {
                    snapshot,
                    at: start.elapsed(),
                    version: ledger.borrow().version,
                }),
                Ok(None) => record.ended = true,
                Err(_) => {}
            },
        }
        if matches!(turn, Turn::Waits(_)) {
            record.waiting.push((from, start.elapsed()));
        }
    }
    record
}

fn config() -> impl Strategy<Value = PushConfig> {
    (100u32..2_000)
        .prop_flat_map(|interval| (Just(interval), 0..=interval))
        .prop_map(|(interval, gap)| PushConfig::new(interval * MS, gap * MS).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn p3_a_writer_that_waits_at_a_point_of_the_phase_gets_a_push_there(
        config in config(), deeds in deeds(), turns in turns(),
    ) {
        let record = play(config, deeds, turns);
        let end = record.stopped.or(record.waiting.last().map(|wait| wait.1)).unwrap_or_default();
        for point in (1..).map(|k| config.interval() * k).take_while(|point| *point < end) {
            if record.waited(point - MS, point) {
                prop_assert_eq!(record.taken_within(point, point).count().min(1), 1, "nothing at {:?}", point);
            }
        }
        for taken in record.taken.iter().filter(|taken| taken.snapshot.reason == Reason::Periodic) {
            let first = taken.at.as_millis() / config.interval().as_millis();
            let in_interval = |other: &&Taken| other.at.as_millis() / config.interval().as_millis() == first;
            let earlier = record.taken.iter().filter(in_interval).take_while(|other| !std::ptr::eq(*other, taken));
            prop_assert_eq!(earlier.count(), 0, "a periodic push at {:?} is not the first", taken.at);
        }
    }

    #[test]
    fn p4_a_writer_that_waits_gets_each_change_within_the_gap(config in config(), deeds in deeds(), turns in turns()) {
        let record = play(config, deeds, turns);
        for (version, at) in record.versions.iter().enumerate() {
            let until = *at + config.min_gap();
            if record.stopped.is_none_or(|stopped| stopped > until) && record.waited(*at, until) {
                let told = record.taken_within(*at, until).any(|taken| taken.snapshot.sequence >= version as u64);
                let before = record.taken_within(Duration::ZERO, *at).any(|taken| taken.version >= version as u64);
                prop_assert!(told || before, "version {} of {:?} was not told by {:?}", version, at, until);
            }
        }
        for pair in record.taken.windows(2).filter(|pair| pair[1].snapshot.reason == Reason::Event) {
            prop_assert!(pair[1].at - pair[0].at >= config.min_gap());
        }
    }

    #[test]
    fn p5_a_writer_that_waits_gets_an_answer_to_each_request_within_the_gap(
        config in config(), deeds in deeds(), turns in turns(),
    ) {
        let record = play(config, deeds, turns);
        for (id, at) in &record.asked {
            let until = *at + config.min_gap();
            if record.stopped.is_none_or(|stopped| stopped > until) && record.waited(*at, until) {
                let answered = record.taken_within(*at, until).any(|taken| taken.snapshot.request_id >= *id);
                prop_assert!(answered, "request {} of {:?} was not answered by {:?}", id, at, until);
            }
        }
        let answers: Vec<_> = record.taken.iter().filter(|taken| taken.snapshot.is_answer()).collect();
        for pair in answers.windows(2) {
            prop_assert!(pair[1].snapshot.request_id > pair[0].snapshot.request_id);
            let spaced = pair[1].at - pair[0].at >= config.min_gap();
            prop_assert!(spaced || pair[1].snapshot.reason == Reason::Final);
        }
    }

    #[test]
    fn p6_the_final_snapshot_is_the_last_and_what_follows_is_the_end(
        config in config(), deeds in deeds(), turns in turns(),
    ) {
        let record = play(config, deeds, turns);
        let finals = record.taken.iter().filter(|taken| taken.snapshot.reason == Reason::Final).count();
        let last = record.taken.last().map(|taken| taken.snapshot.reason);
        prop_assert!(finals == 0 || (finals == 1 && last == Some(Reason::Final)));
        prop_assert!(!record.ended || finals == 1, "it ended without a final snapshot");
        if let Some((stopped, by)) = record.stopped.zip(record.final_by)
            && record.waited(stopped, by)
        {
            prop_assert!(record.taken_within(stopped, by).any(|taken| taken.snapshot.reason == Reason::Final));
        }
    }

    #[test]
    fn p7_what_is_taken_is_the_newest_and_a_dropped_call_takes_nothing(
        config in config(), deeds in deeds(), turns in turns(),
    ) {
        let record = play(config, deeds, turns);
        for taken in &record.taken {
            prop_assert_eq!(taken.snapshot.sequence, taken.version);
        }
        // The first turn that waits gets the initial snapshot, however short it is.
        let reasons: Vec<_> = record.taken.iter().map(|taken| taken.snapshot.reason).collect();
        let named = reasons.first().is_none_or(|first| *first > Reason::Event);
        prop_assert!(named && !reasons.iter().skip(1).any(|reason| *reason == Reason::Initial), "{:?}", reasons);
        prop_assert_eq!(reasons.is_empty(), record.waiting.is_empty());
    }
}
