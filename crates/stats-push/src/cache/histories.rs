//! Promises P8, P9 and P10 over random histories of sessions: opened, overlapping, out of order, dropped in any order, on
//! paused time. Each step is compared with a model that is told in the words of the promises.

use proptest::prelude::*;
use tokio::time::sleep;

use super::*;
use crate::{EhashTotals, PerState, RunId};

/// What may happen; sessions by their place among those that are open.
#[derive(Clone, Debug)]
enum Event {
    Open,
    Negotiated(prop::sample::Index),
    Apply(prop::sample::Index, Pushed),
    Malformed(prop::sample::Index),
    Drop(prop::sample::Index),
    Passes(u64),
}

/// What matters of a snapshot here.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pushed {
    run: u64,
    sequence: u64,
    redeemed: u64,
    interval_ms: u64,
    reason: Reason,
}

impl Pushed {
    fn snapshot(self) -> Snapshot {
        Snapshot {
            request_id: 0,
            reason: self.reason,
            run_id: RunId(self.run),
            sequence: self.sequence,
            taken_at: UnixMillis(0),
            interval: Duration::from_millis(self.interval_ms),
            ehash: EhashTotals {
                quotes_redeemed: self.redeemed,
                quotes: PerState::default(),
                amounts: PerState {
                    issued: self.redeemed / 2,
                    ..PerState::default()
                },
            },
            units_total: 0,
            units: Arc::default(),
        }
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let session = any::<prop::sample::Index>;
    let interval = prop_oneof![4 => 100u64..3_000, 1 => Just(3_600_000)];
    let pushed = (
        0u64..3,
        0u64..8,
        0u64..8,
        interval,
        prop::sample::select(&Reason::ALL[..]),
    )
        .prop_map(|(run, sequence, redeemed, interval_ms, reason)| Pushed {
            run,
            sequence,
            redeemed,
            interval_ms,
            reason,
        });
    let event = prop_oneof![
        4 => Just(Event::Open),
        2 => session().prop_map(Event::Negotiated),
        20 => (session(), pushed).prop_map(|(session, pushed)| Event::Apply(session, pushed)),
        2 => session().prop_map(Event::Malformed),
        3 => session().prop_map(Event::Drop),
        6 => (0u64..4_000).prop_map(Event::Passes),
        1 => (0u64..20_000_000).prop_map(Event::Passes),
    ];
    prop::collection::vec(event, 1..80)
}

/// What the promises make of a history.
#[derive(Default)]
struct Model {
    opened: u64,
    /// Whether the newest session is open, and what it has negotiated; `None` before the first.
    newest: Option<(bool, bool)>,
    latest: Option<(Pushed, time::Instant)>,
    counters: Counters,
    /// Changes that everybody must hear of.
    changes: u64,
}

impl Model {
    fn status(&self) -> Status {
        match (self.newest, &self.latest) {
            (None, _) => Status::Never,
            (Some((false, _)), _) => Status::Disconnected,
            (Some((true, false)), _) => Status::Unsupported,
            (Some((true, true)), None) => Status::Never,
            (Some((true, true)), Some((pushed, at))) => {
                let stale_after = (3 * pushed.interval_ms).max(2_000);
                let is_stale = at.elapsed() > Duration::from_millis(stale_after);
                if is_stale { Status::Stale } else { Status::Live }
            }
        }
    }

    fn apply(&mut self, by_newest: bool, pushed: Pushed) -> Applied {
        if !by_newest {
            self.counters.superseded += 1;
            return Applied::Superseded;
        }
        let previous = self.latest.map(|(previous, _)| previous);
        let applied = match previous.filter(|previous| previous.run == pushed.run) {
            Some(previous) if pushed.sequence < previous.sequence => {
                self.counters.outdated += 1;
                return Applied::Outdated;
            }
            Some(previous) if pushed.sequence == previous.sequence => Applied::Refreshed,
            _ => Applied::Replaced,
        };
        if let Some(previous) = previous {
            self.counters.restarts += u64::from(previous.run != pushed.run);
            self.counters.falls += u64::from(pushed.redeemed < previous.redeemed);
        }
        self.counters.received[usize::from(pushed.reason.code())] += 1;
        self.latest = Some((pushed, time::Instant::now()));
        self.newest = Some((true, true));
        self.changes += 1;
        applied
    }
}

/// A cache, the sessions that are open with it, and the model.
struct Bench {
    cache: SnapshotCache,
    sessions: Vec<(u64, CacheSession)>,
    model: Model,
    changed: watch::Receiver<Revision>,
}

impl Bench {
    fn pick(&self, index: prop::sample::Index) -> Option<usize> {
        (!self.sessions.is_empty()).then(|| index.index(self.sessions.len()))
    }

    async fn happen(&mut self, event: Event) {
        match event {
            Event::Open => {
                let address = self.model.opened.to_string();
                let session = self.cache.open_session(Peer {
                    address,
                    public_key: None,
                    proven: false,
                });
                self.model.opened += 1;
                self.model.counters.sessions += 1;
                self.model.newest = Some((true, false));
                self.model.changes += 1;
                self.sessions.push((self.model.opened, session));
            }
            Event::Negotiated(index) => {
                let Some(at) = self.pick(index) else { return };
                let (id, session) = &self.sessions[at];
                session.negotiated();
                if *id == self.model.opened && self.model.newest != Some((true, true)) {
                    self.model.newest = Some((true, true));
                    self.model.changes += 1;
                }
            }
            Event::Apply(index, pushed) => {
                let Some(at) = self.pick(index) else { return };
                let (id, session) = &self.sessions[at];
                let applied = session.apply(pushed.snapshot(), time::Instant::now().into_std());
                assert_eq!(applied, self.model.apply(*id == self.model.opened, pushed), "P8");
            }
            Event::Malformed(index) => {
                let Some(at) = self.pick(index) else { return };
                self.sessions[at].1.malformed();
                self.model.counters.malformed += 1;
            }
            Event::Drop(index) => {
                let Some(at) = self.pick(index) else { return };
                let (id, session) = self.sessions.swap_remove(at);
                drop(session);
                if id == self.model.opened {
                    self.model.newest = self.model.newest.map(|(_, negotiated)| (false, negotiated));
                    self.model.changes += 1;
                }
            }
            Event::Passes(ms) => {
                let before = self.model.status();
                sleep(Duration::from_millis(ms)).await;
                // Whoever woke at this very moment has his turn.
                for _ in 0..5 {
                    tokio::task::yield_now().await;
                }
                let turned_stale = before == Status::Live && self.model.status() == Status::Stale;
                self.model.changes += u64::from(turned_stale);
            }
        }
    }

    /// Everything that a reader sees is what the model says.
    fn check(&mut self) {
        let view = self.cache.load();
        let model = &self.model;
        assert_eq!(view.counters, model.counters, "P8, P10: counters");
        let latest = view.latest.as_ref().map(|latest| {
            let pushed = latest.snapshot.as_ref();
            (
                pushed.run_id.0,
                pushed.sequence,
                pushed.ehash.quotes_redeemed,
                latest.at,
            )
        });
        let expected = model
            .latest
            .map(|(pushed, at)| (pushed.run, pushed.sequence, pushed.redeemed, at.into_std()));
        assert_eq!(latest, expected, "P8: the newest");
        let newest = (model.opened > 0).then(|| (model.opened - 1).to_string());
        assert_eq!(
            view.peer.as_ref().map(|peer| &peer.address),
            newest.as_ref(),
            "P8: who decides"
        );
        let freshness = view.freshness(time::Instant::now().into_std());
        assert_eq!(freshness.status, model.status(), "P9");
        assert_eq!(freshness.age, model.latest.map(|(_, at)| at.elapsed()), "P9: the age");
        assert_eq!(
            *self.changed.borrow_and_update(),
            Revision(model.changes),
            "P9: everybody hears of it"
        );
        assert_eq!(view.revision, Revision(model.changes));
    }
}

fn play(events: Vec<Event>) {
    let playing = async {
        let cache = SnapshotCache::new();
        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let (cache, stop) = (cache.clone(), stop.clone());
            async move { cache.run(stop).await }
        });
        let changed = cache.changed();
        let mut bench = Bench {
            cache,
            sessions: Vec::new(),
            model: Model::default(),
            changed,
        };
        for event in events {
            bench.happen(event).await;
            // `run` has seen what happened: paused time passes only when it has nothing left to do.
            bench.happen(Event::Passes(1)).await;
            bench.check();
        }
        stop.cancel();
        running.await.unwrap();
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(playing);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn p8_p9_p10_whatever_sessions_do_a_reader_sees_what_the_promises_say(events in events()) {
        play(events);
    }
}
