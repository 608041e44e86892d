//! Promises P3 to P7 over random histories of an owner that polls when it can: late, twice, or exactly when it was told
//! to, with clocks that jump by hours.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// What may happen to a schedule.
#[derive(Clone, Debug)]
enum Happening {
    Passes(Duration),
    /// Time passes until the moment that the schedule named last.
    Wakes,
    Changes,
    /// The ledger is as it was before: a restored database, or a change that was taken back.
    Reverts,
    Asks(u32),
    Polls,
    Finishes,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let time = prop_oneof![
        6 => (0u64..700).prop_map(Duration::from_millis),
        1 => (0u64..2_000_000).prop_map(Duration::from_nanos),
        1 => (0u64..20_000).prop_map(Duration::from_secs),
    ];
    let happening = prop_oneof![
        40 => time.prop_map(Happening::Passes),
        20 => Just(Happening::Wakes),
        30 => Just(Happening::Changes),
        5 => Just(Happening::Reverts),
        10 => (0u32..60).prop_map(Happening::Asks),
        60 => Just(Happening::Polls),
        1 => Just(Happening::Finishes),
    ];
    prop::collection::vec(happening, 1..150)
}

fn configs() -> impl Strategy<Value = PushConfig> {
    let interval = prop_oneof![4 => 100u64..2_000, 1 => 2_000u64..=3_600_000];
    interval
        .prop_flat_map(|interval| (Just(interval), 0..=interval))
        .prop_map(|(interval, gap)| {
            PushConfig::new(Duration::from_millis(interval), Duration::from_millis(gap)).unwrap()
        })
}

/// A push that was made, when, and of which version.
#[derive(Clone, Copy, Debug)]
struct Made {
    at: Instant,
    reason: Reason,
    request_id: u32,
    version: u64,
}

/// All that has happened to one schedule.
struct History {
    config: PushConfig,
    start: Instant,
    now: Instant,
    version: u64,
    highest_asked: u32,
    finishing: bool,
    made: Vec<Made>,
    /// What each poll found that was pending, and said.
    polls: Vec<(Pending, Step)>,
}

/// What there was to be pushed when a schedule was polled: told from the whole history alone.
#[derive(Clone, Debug)]
struct Pending {
    now: Instant,
    /// The reasons that are due, in the order of the promises.
    due: Vec<Reason>,
    /// When the next one will be, if none is.
    next: Instant,
    /// A change that waits.
    changed: bool,
    /// The highest request that waits.
    asked: Option<u32>,
    over: bool,
}

impl History {
    fn play(config: PushConfig, happenings: &[Happening]) -> Self {
        let start = Instant::now();
        let mut schedule = Schedule::new(config, start);
        let mut history = Self {
            config,
            start,
            now: start,
            version: 7,
            highest_asked: 0,
            finishing: false,
            made: Vec::new(),
            polls: Vec::new(),
        };
        for happening in happenings {
            history.happen(&mut schedule, happening);
        }
        history.happen(&mut schedule, &Happening::Polls);
        history
    }

    fn happen(&mut self, schedule: &mut Schedule, happening: &Happening) {
        match happening {
            Happening::Passes(time) => self.now += *time,
            Happening::Wakes => {
                if let Some((_, Step::WaitForChange(until) | Step::WaitUntil(until))) = self.polls.last() {
                    self.now = self.now.max(*until);
                }
            }
            Happening::Changes => self.version += 1,
            Happening::Reverts => self.version -= u64::from(self.version > 7),
            Happening::Asks(id) => {
                let grows = *id > self.highest_asked;
                assert_eq!(schedule.request(*id), grows, "P5: ids grow");
                self.highest_asked = self.highest_asked.max(*id);
            }
            Happening::Finishes => {
                self.finishing = true;
                schedule.finish();
            }
            Happening::Polls => {
                let pending = self.pending();
                let step = schedule.poll(self.now, self.version);
                self.polls.push((pending, step));
                if let Step::Push { reason, request_id } = step {
                    self.made.push(Made {
                        at: self.now,
                        reason,
                        request_id,
                        version: self.version,
                    });
                }
            }
        }
    }

    /// How many whole intervals lie between the start and this moment.
    fn intervals(&self, at: Instant) -> u32 {
        let passed = (at - self.start).as_nanos() / self.config.interval().as_nanos();
        u32::try_from(passed).unwrap()
    }

    fn pending(&self) -> Pending {
        let last = self.made.last();
        let answered = self.made.iter().rev().find(|made| made.request_id != 0);
        let asked = (self.highest_asked > answered.map_or(0, |made| made.request_id)).then_some(self.highest_asked);
        let answer_at = asked.map(|_| answered.map_or(self.start, |made| made.at + self.config.min_gap()));
        let changed_since = last.filter(|made| made.version != self.version);
        let event_at = changed_since.map(|made| made.at + self.config.min_gap());
        let pushed_intervals = last.map_or(0, |made| self.intervals(made.at));
        let point = self.start + self.config.interval() * (pushed_intervals + 1);
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= self.now);
        let due = [
            (self.finishing, Reason::Final),
            (is_due(answer_at), Reason::Requested),
            (last.is_none(), Reason::Initial),
            (is_due(event_at), Reason::Event),
            (point <= self.now, Reason::Periodic),
        ];
        Pending {
            now: self.now,
            due: due
                .into_iter()
                .filter_map(|(due, reason)| due.then_some(reason))
                .collect(),
            next: [answer_at, event_at].into_iter().flatten().fold(point, Instant::min),
            changed: event_at.is_some(),
            asked,
            over: last.is_some_and(|made| made.reason == Reason::Final),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn p3_a_periodic_push_is_the_first_in_its_interval_whatever_the_owner_does(
        config in configs(), happenings in happenings(),
    ) {
        let history = History::play(config, &happenings);
        let mut intervals = None;
        for made in &history.made {
            let interval = history.intervals(made.at);
            if made.reason == Reason::Periodic {
                prop_assert!(intervals < Some(interval), "two in interval {}: {:?}", interval, history.made);
            }
            intervals = Some(interval);
        }
        // And no interval is left out by an owner that comes.
        for (pending, step) in history.polls.iter().filter(|(pending, _)| pending.due.contains(&Reason::Periodic)) {
            prop_assert!(matches!(step, Step::Push { .. } | Step::Finished), "{:?}: {:?}", pending, step);
        }
    }

    #[test]
    fn p4_events_keep_their_gap_and_no_change_waits_longer(config in configs(), happenings in happenings()) {
        let history = History::play(config, &happenings);
        for pair in history.made.windows(2).filter(|pair| pair[1].reason == Reason::Event) {
            prop_assert!(pair[1].at - pair[0].at >= config.min_gap());
            prop_assert_ne!(pair[1].version, pair[0].version);
        }
        for (pending, step) in &history.polls {
            match step {
                Step::WaitForChange(until) => prop_assert!(!pending.changed && *until > pending.now),
                Step::WaitUntil(until) => prop_assert!(pending.changed && *until > pending.now),
                Step::Push { .. } | Step::Finished => {}
            }
        }
    }

    #[test]
    fn p5_answers_grow_keep_their_gap_and_close_all_that_was_asked(config in configs(), happenings in happenings()) {
        let history = History::play(config, &happenings);
        let answers: Vec<_> = history.made.iter().filter(|made| made.request_id != 0).collect();
        for pair in answers.windows(2) {
            prop_assert!(pair[1].request_id > pair[0].request_id);
            prop_assert!(pair[1].reason == Reason::Final || pair[1].at - pair[0].at >= config.min_gap());
        }
        for (pending, step) in &history.polls {
            if let Step::Push { request_id, .. } = step {
                let answers = pending.due.iter().any(|due| matches!(due, Reason::Requested | Reason::Final));
                prop_assert_eq!(*request_id, if answers { pending.asked.unwrap_or(0) } else { 0 });
            }
        }
    }

    #[test]
    fn p6_the_first_poll_after_the_end_makes_the_last_push(config in configs(), happenings in happenings()) {
        let history = History::play(config, &happenings);
        for (pending, step) in &history.polls {
            let finishing = pending.due.contains(&Reason::Final);
            let is_final = matches!(step, Step::Push { reason: Reason::Final, .. });
            prop_assert_eq!(is_final, finishing && !pending.over);
            prop_assert_eq!(*step == Step::Finished, pending.over);
        }
    }

    #[test]
    fn p7_the_strongest_reason_that_is_due_names_the_push_and_nothing_due_waits(
        config in configs(), happenings in happenings(),
    ) {
        let history = History::play(config, &happenings);
        for (pending, step) in history.polls.iter().filter(|(pending, _)| !pending.over) {
            match *step {
                Step::Push { reason, .. } => prop_assert_eq!(Some(&reason), pending.due.first()),
                Step::WaitForChange(until) | Step::WaitUntil(until) => {
                    prop_assert!(pending.due.is_empty(), "{:?}", pending);
                    prop_assert_eq!(until, pending.next);
                }
                Step::Finished => prop_assert!(false, "nobody finished"),
            }
        }
    }
}
