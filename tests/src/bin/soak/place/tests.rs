//! What staleness and age are, by example and against a second, slow way to compute them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::child::totals_at;

const MS: Nanos = 1_000_000;

/// A truth with commits at these milliseconds, versions from 1.
fn truth(commits: &[u64]) -> Truth {
    let mut truth = Truth::default();
    for (version, at) in (1..).zip(commits) {
        truth
            .committed(version, at * MS, Digest::of(&totals_at(version)))
            .unwrap();
    }
    truth
}

fn shown(at: u64, version: u64) -> Shown {
    Shown {
        at: at * MS,
        taken: at * MS,
        version,
        totals: totals_at(version),
    }
}

fn place(from: u64) -> Place {
    let mut place = Place::new("here").unwrap();
    place.begin(from * MS);
    place
}

fn near(left: f64, right: f64) {
    assert!(
        (left - right).abs() <= right.abs() * 0.02 + 0.01,
        "{left} is not {right}"
    );
}

#[test]
fn what_is_shown_is_stale_from_the_first_commit_that_it_lacks() {
    let truth = truth(&[0, 100, 150, 400]);
    let mut place = place(0);
    place.shows(shown(0, 1));
    // Lacks version 2 from 100 on, and 3 which was committed at 150, until 200.
    place.shows(shown(200, 3));
    place.finish(&truth, 1000 * MS);
    let stale = place.measured.staleness.figures().unwrap();
    // A ramp to 100 ms in 100 ms, and one to 600 ms from 400 on: the last commit was never shown.
    near(stale.mean, (100.0 * 50.0 + 600.0 * 300.0) / 1000.0);
    near(stale.max, 600.0);
    near(
        place.measured.age.figures().unwrap().mean,
        (200.0 * 100.0 + 800.0 * 400.0) / 1000.0,
    );
    // Commits 2 and 3 were seen at 200; 1 before anything was measured, and 4 never.
    let delay = place.measured.delay.figures().unwrap();
    near(delay.max, 100.0);
    assert_eq!(place.measured.wrong, 0, "{:?}", place.measured.complaints);
}

#[test]
fn polling_every_second_a_truth_that_always_moves_is_half_a_second_stale_on_average() {
    let commits: Vec<u64> = (0..10_000).step_by(2).collect();
    let truth = truth(&commits);
    let mut place = place(0);
    for second in 0..10 {
        place.shows(shown(second * 1000, second * 500 + 1));
    }
    place.finish(&truth, 9_990 * MS);
    let stale = place.measured.staleness.figures().unwrap();
    near(stale.mean, 498.0);
    near(stale.p99, 988.0);
}

#[test]
fn nothing_is_stale_while_nothing_is_shown_and_that_time_is_told() {
    let truth = truth(&[0, 100]);
    let mut place = place(0);
    place.shows(shown(0, 1));
    place.gone(50 * MS);
    place.shows(shown(700, 2));
    place.finish(&truth, 1000 * MS);
    near(place.measured.staleness.figures().unwrap().max, 0.0);
    assert_eq!(place.measured.blank, 650 * MS);
    // It was not seen all the same, for so long.
    near(place.measured.delay.figures().unwrap().max, 600.0);
}

#[test]
fn only_what_happens_while_measuring_counts() {
    let truth = truth(&[0, 100, 900]);
    let mut place = place(500);
    place.shows(shown(0, 1));
    place.shows(shown(600, 2));
    place.finish(&truth, 800 * MS);
    let stale = place.measured.staleness.figures().unwrap();
    // From 500 to 600 it is 400 to 500 ms stale, and then not.
    near(stale.mean, 100.0 * 450.0 / 300.0);
    near(stale.max, 500.0);
    assert!(place.measured.delay.figures().is_none(), "committed before");
}

#[test]
fn an_answer_is_judged_by_the_moment_it_is_there() {
    let truth = truth(&[0, 100]);
    let mut place = place(0);
    place.sample(shown(99, 1));
    place.sample(shown(130, 1));
    place.finish(&truth, 1000 * MS);
    let stale = place.measured.staleness.figures().unwrap();
    near(stale.mean, 15.0);
    near(stale.max, 30.0);
    assert_eq!(place.measured.staleness.weight(), 2.0);
}

#[test]
fn wrong_figures_early_figures_and_falls_are_found() {
    let truth = truth(&[0, 100, 200]);
    let complaints = |events: &[Shown]| {
        let mut place = place(0);
        events.iter().for_each(|shown| place.shows(*shown));
        place.finish(&truth, 1000 * MS);
        assert_eq!(place.measured.wrong, place.measured.complaints.len() as u64);
        place.measured.complaints.concat()
    };
    assert_eq!(complaints(&[shown(0, 1), shown(100, 2)]), "");
    let altered = Shown {
        totals: totals_at(3),
        ..shown(110, 2)
    };
    assert!(complaints(&[altered]).contains("other figures than were committed as version 2"));
    assert!(complaints(&[shown(99, 2)]).contains("before its commit"));
    assert!(complaints(&[shown(210, 3), shown(220, 2)]).contains("fell from version Some(3) to 2"));
}

#[test]
fn a_version_that_is_never_committed_is_found_once_patience_is_over() {
    let truth = truth(&[0]);
    let mut place = place(0);
    place.shows(shown(10, 2));
    place.judge(&truth, 20 * MS);
    assert_eq!(place.measured.wrong, 0);
    place.judge(&truth, 10 * MS + PATIENCE);
    assert_eq!(place.measured.wrong, 1);
}

#[test]
fn figures_without_a_version_are_found_in_the_truth() {
    let truth = truth(&[0, 100, 200]);
    let mut place = place(0);
    place.shows_figures(10 * MS, totals_at(1));
    place.shows_figures(250 * MS, totals_at(3));
    place.judge(&truth, 900 * MS);
    assert_eq!((place.version(), place.measured.wrong), (Some(3), 0));
    place.shows_figures(300 * MS, totals_at(99));
    place.judge(&truth, 900 * MS);
    assert_eq!(place.measured.wrong, 1);
}

proptest! {
    /// Every millisecond one looks what is shown and what is true then: the slow way to the same mean.
    #[test]
    fn staleness_and_age_are_those_of_looking_all_the_time(
        gaps in prop::collection::vec(1_u64..80, 1..40),
        shows in prop::collection::vec((1_u64..120, 0_u64..60), 1..30),
        from in 0_u64..500,
    ) {
        let commits: Vec<u64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
        let truth = truth(&commits);
        let mut place = place(from);
        let (mut events, mut at) = (Vec::new(), commits[0]);
        for (gap, late) in shows {
            at += gap;
            // What was newest some time ago, and never older than what was shown before.
            let newest = commits.iter().filter(|commit| **commit <= at.saturating_sub(late).max(commits[0])).count() as u64;
            let version = newest.max(events.last().map_or(1, |(_, version)| *version));
            events.push((at, version));
            place.shows(shown(at, version));
        }
        let end = at + 200;
        place.finish(&truth, end * MS);

        let (mut stale, mut age, mut looks) = (0.0, 0.0, 0.0);
        // Ten looks a millisecond, each in the middle of its tenth.
        for tenth in (from * 10).max(events[0].0 * 10)..end * 10 {
            let now = (tenth as f64 + 0.5) / 10.0;
            let (since, version) = *events.iter().rev().find(|(at, _)| *at as f64 <= now).unwrap();
            let outdated = commits.get(version as usize).map(|at| *at as f64).filter(|at| *at < now);
            stale += outdated.map_or(0.0, |outdated| now - outdated);
            age += now - since as f64;
            looks += 1.0;
        }
        prop_assert_eq!(place.measured.wrong, 0, "{:?}", place.measured.complaints);
        if looks > 0.0 {
            let near = |found: f64, slow: f64| (found - slow).abs() < slow.abs() * 1e-6 + 1e-3;
            let found = place.measured.staleness.figures().unwrap().mean;
            prop_assert!(near(found, stale / looks), "{} {}", found, stale / looks);
            let found = place.measured.age.figures().unwrap().mean;
            prop_assert!(near(found, age / looks), "{} {}", found, age / looks);
        }
    }
}
