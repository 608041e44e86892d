//! Promises P2 to P7, with injected time: examples first, then properties over random histories.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn schedule(interval: u32, min_gap: u32) -> (Schedule, Instant) {
    let start = Instant::now();
    let config = PushConfig::new(interval * MS, min_gap * MS).unwrap();
    (Schedule::new(config, start), start)
}

/// A schedule of 1000 ms and 100 ms whose initial push, of version 1, is out.
fn pushed() -> (Schedule, Instant) {
    let (mut schedule, start) = schedule(1000, 100);
    assert_eq!(schedule.poll(start, 1), push(Reason::Initial));
    (schedule, start)
}

fn push(reason: Reason) -> Step {
    answer(reason, 0)
}

fn answer(reason: Reason, request_id: u32) -> Step {
    Step::Push { reason, request_id }
}

#[test]
fn p2_the_first_poll_pushes_and_names_it_initial() {
    let (mut schedule, start) = schedule(1000, 100);
    assert_eq!(schedule.poll(start + 5000 * MS, 0), push(Reason::Initial));
}

#[test]
fn p3_pushes_every_interval_without_a_change() {
    let (mut schedule, start) = pushed();
    assert_eq!(schedule.poll(start + MS, 1), Step::WaitForChange(start + 1000 * MS));
    assert_eq!(
        schedule.poll(start + 999 * MS, 1),
        Step::WaitForChange(start + 1000 * MS)
    );
    assert_eq!(schedule.poll(start + 1000 * MS, 1), push(Reason::Periodic));
    assert_eq!(
        schedule.poll(start + 1000 * MS, 1),
        Step::WaitForChange(start + 2000 * MS)
    );
    assert_eq!(schedule.poll(start + 2000 * MS, 1), push(Reason::Periodic));
}

#[test]
fn p3_keeps_its_phase_and_does_not_catch_up_after_a_stall() {
    let (mut schedule, start) = pushed();
    assert_eq!(schedule.poll(start + 4321 * MS, 1), push(Reason::Periodic));
    assert_eq!(
        schedule.poll(start + 4321 * MS, 1),
        Step::WaitForChange(start + 5000 * MS)
    );
}

#[test]
fn p3_a_push_exactly_on_the_phase_waits_a_whole_interval() {
    let (mut schedule, start) = pushed();
    assert_eq!(schedule.poll(start + 3000 * MS, 1), push(Reason::Periodic));
    assert_eq!(
        schedule.poll(start + 3000 * MS, 1),
        Step::WaitForChange(start + 4000 * MS)
    );
}

#[test]
fn p3_events_never_re_arm_the_interval() {
    let (mut schedule, start) = pushed();
    assert_eq!(schedule.poll(start + 900 * MS, 2), push(Reason::Event));
    assert_eq!(schedule.poll(start + 1000 * MS, 2), push(Reason::Periodic));
}

#[test]
fn p3_a_periodic_push_takes_a_waiting_event_along() {
    let (mut schedule, start) = pushed();
    assert_eq!(schedule.poll(start + 950 * MS, 2), push(Reason::Event));
    assert_eq!(schedule.poll(start + 960 * MS, 3), Step::WaitUntil(start + 1000 * MS));
    assert_eq!(schedule.poll(start + 1000 * MS, 3), push(Reason::Periodic));
    assert_eq!(
        schedule.poll(start + 1100 * MS, 3),
        Step::WaitForChange(start + 2000 * MS)
    );
}

#[test]
fn p4_the_first_change_after_a_quiet_gap_goes_at_once() {
    let (mut schedule, start) = pushed();
    assert_eq!(schedule.poll(start + 100 * MS, 2), push(Reason::Event));
}

#[test]
fn p4_changes_within_min_gap_become_one_push_at_its_end() {
    let (mut schedule, start) = pushed();
    assert_eq!(schedule.poll(start + 10 * MS, 2), Step::WaitUntil(start + 100 * MS));
    assert_eq!(schedule.poll(start + 99 * MS, 9), Step::WaitUntil(start + 100 * MS));
    assert_eq!(schedule.poll(start + 100 * MS, 10), push(Reason::Event));
    assert_eq!(
        schedule.poll(start + 100 * MS, 10),
        Step::WaitForChange(start + 1000 * MS)
    );
}

#[test]
fn p4_without_a_gap_every_change_goes_at_once() {
    let (mut schedule, start) = schedule(1000, 0);
    assert_eq!(schedule.poll(start, 1), push(Reason::Initial));
    assert_eq!(schedule.poll(start, 2), push(Reason::Event));
    assert_eq!(schedule.poll(start, 3), push(Reason::Event));
}

#[test]
fn p4_a_version_that_falls_is_a_change_too() {
    let (mut schedule, start) = pushed();
    assert_eq!(schedule.poll(start + 100 * MS, 0), push(Reason::Event));
}

#[test]
fn p5_an_answer_closes_its_request_and_all_earlier_ones() {
    let (mut schedule, start) = pushed();
    assert!(schedule.request(3));
    assert!(schedule.request(7));
    assert_eq!(schedule.poll(start + MS, 1), answer(Reason::Requested, 7));
    assert_eq!(schedule.poll(start + MS, 1), Step::WaitForChange(start + 1000 * MS));
}

#[test]
fn p5_ids_that_do_not_grow_are_refused() {
    let (mut schedule, start) = pushed();
    assert!(!schedule.request(0));
    assert!(schedule.request(5));
    assert!(!schedule.request(5));
    assert!(!schedule.request(4));
    assert_eq!(schedule.poll(start + MS, 1), answer(Reason::Requested, 5));
    assert!(!schedule.request(5), "answered ids stay closed");
}

#[test]
fn p5_one_answer_per_min_gap() {
    let (mut schedule, start) = pushed();
    schedule.request(1);
    assert_eq!(schedule.poll(start + 10 * MS, 1), answer(Reason::Requested, 1));
    schedule.request(2);
    assert_eq!(schedule.poll(start + 20 * MS, 1), Step::WaitForChange(start + 110 * MS));
    assert_eq!(schedule.poll(start + 110 * MS, 1), answer(Reason::Requested, 2));
}

#[test]
fn p5_a_push_before_the_answer_is_due_does_not_answer() {
    let (mut schedule, start) = pushed();
    schedule.request(1);
    assert_eq!(schedule.poll(start + 950 * MS, 1), answer(Reason::Requested, 1));
    schedule.request(2);
    assert_eq!(schedule.poll(start + 1000 * MS, 1), push(Reason::Periodic));
    assert_eq!(schedule.poll(start + 1050 * MS, 1), answer(Reason::Requested, 2));
}

#[test]
fn p6_one_final_push_and_nothing_after_it() {
    let (mut schedule, start) = pushed();
    schedule.finish();
    assert_eq!(schedule.poll(start + MS, 1), push(Reason::Final));
    schedule.finish();
    schedule.request(1);
    assert_eq!(schedule.poll(start + 5000 * MS, 2), Step::Finished);
}

#[test]
fn p6_the_final_push_answers_what_is_open_without_waiting_for_the_gap() {
    let (mut schedule, start) = pushed();
    schedule.request(1);
    assert_eq!(schedule.poll(start, 1), answer(Reason::Requested, 1));
    schedule.request(2);
    schedule.finish();
    assert_eq!(schedule.poll(start, 1), answer(Reason::Final, 2));
}

#[test]
fn p6_a_session_that_never_pushed_still_ends_with_a_final_push() {
    let (mut schedule, start) = schedule(1000, 100);
    schedule.finish();
    assert_eq!(schedule.poll(start, 1), push(Reason::Final));
    assert_eq!(schedule.poll(start, 1), Step::Finished);
}

#[test]
fn p7_the_strongest_due_reason_names_the_push() {
    let (mut all_due, start) = schedule(1000, 100);
    all_due.request(1);
    assert_eq!(all_due.poll(start + 1000 * MS, 1), answer(Reason::Requested, 1));

    let (mut schedule, start) = pushed();
    assert_eq!(schedule.poll(start + 1000 * MS, 2), push(Reason::Event));
    assert_eq!(
        schedule.poll(start + 1001 * MS, 2),
        Step::WaitForChange(start + 2000 * MS)
    );
}

/// What may happen to a schedule, and how much time passes before.
#[derive(Clone, Debug)]
enum Happening {
    Passes(u16),
    Changes,
    Asks(u32),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let happening = prop_oneof![
        4 => (0u16..700).prop_map(Happening::Passes),
        3 => Just(Happening::Changes),
        1 => (0u32..50).prop_map(Happening::Asks),
    ];
    prop::collection::vec(happening, 1..200)
}

#[derive(Debug)]
struct Made {
    at: Duration,
    reason: Reason,
    request_id: u32,
    version: u64,
}

/// Drives a schedule as a prompt owner would: polls after every happening, and at every time it asked for.
fn history(interval: u32, min_gap: u32, happenings: &[Happening]) -> (Vec<Made>, u64, Duration, u32) {
    let (mut schedule, start) = schedule(interval, min_gap);
    let (mut now, mut version, mut asked) = (start, 0, 0);
    let mut made = Vec::new();
    let mut settle = |schedule: &mut Schedule, now: Instant, version: u64| -> Instant {
        loop {
            match schedule.poll(now, version) {
                Step::Push { reason, request_id } => made.push(Made {
                    at: now - start,
                    reason,
                    request_id,
                    version,
                }),
                Step::WaitForChange(until) | Step::WaitUntil(until) => {
                    assert!(until > now, "a wait ends in the future");
                    return until;
                }
                Step::Finished => unreachable!("nobody finished"),
            }
        }
    };
    let mut wake = settle(&mut schedule, now, version);
    for happening in happenings {
        match happening {
            Happening::Passes(ms) => {
                let end = now + u32::from(*ms) * MS;
                while wake <= end {
                    now = wake;
                    wake = settle(&mut schedule, now, version);
                }
                now = end;
            }
            Happening::Changes => version += 1,
            Happening::Asks(id) => {
                if schedule.request(*id) {
                    asked = *id;
                }
            }
        }
        wake = settle(&mut schedule, now, version);
    }
    // A last quiet interval: all that was due has gone out.
    let end = now + interval * MS;
    while wake <= end {
        now = wake;
        wake = settle(&mut schedule, now, version);
    }
    (made, version, end - start, asked)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn promises_hold_over_random_histories(
        (interval, min_gap) in (100u32..2000).prop_flat_map(|interval| (Just(interval), 0..=interval)),
        happenings in happenings(),
    ) {
        let (made, version, end, asked) = history(interval, min_gap, &happenings);
        let gap = min_gap * MS;

        // P2: the initial push is the first, and the only one of that name.
        prop_assert_eq!(made.iter().filter(|push| push.reason == Reason::Initial).count(), 1);
        prop_assert_eq!(made[0].reason, Reason::Initial);
        // P3: one push at each point of the phase, and a periodic one nowhere else.
        for point in (1..=end.as_millis() as u32 / interval).map(|k| k * interval * MS) {
            prop_assert!(made.iter().any(|push| push.at == point), "no push at {:?}", point);
        }
        for push in made.iter().filter(|push| push.reason == Reason::Periodic) {
            prop_assert_eq!(push.at.as_millis() % u128::from(interval), 0);
        }
        // P4: an event keeps its gap from the push before it, whatever that was.
        for pair in made.windows(2).filter(|pair| pair[1].reason == Reason::Event) {
            prop_assert!(pair[1].at - pair[0].at >= gap);
            prop_assert!(pair[1].version != pair[0].version);
        }
        // P4, P1: the last push carries the last change.
        prop_assert_eq!(made.last().map(|push| push.version), Some(version));
        // P5: answers keep their gap and grow; the last request is answered.
        let answers: Vec<_> = made.iter().filter(|push| push.request_id != 0).collect();
        for pair in answers.windows(2) {
            prop_assert!(pair[1].at - pair[0].at >= gap);
            prop_assert!(pair[1].request_id > pair[0].request_id);
        }
        prop_assert_eq!(answers.last().map_or(0, |push| push.request_id), asked);
        prop_assert!(answers.iter().all(|push| push.reason == Reason::Requested));
    }
}
