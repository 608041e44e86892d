//! What the rings promise, on clocks of the tests' own.

use proptest::prelude::*;

use super::*;

/// A round hour.
const START: UnixSeconds = 1_795_334_400;
const HOUR: u64 = 3600;

fn told(redeemed: u64) -> Figures {
    Figures {
        mint: Some(MintFigures {
            redeemed,
            quotes: PerState {
                issued: redeemed,
                ..PerState::default()
            },
        }),
        ..Figures::default()
    }
}

fn redeemed(grid: &Grid) -> Vec<Option<u64>> {
    let redeemed = |figures: &Option<Figures>| Some((*figures)?.mint?.redeemed);
    grid.figures.iter().map(redeemed).collect()
}

/// One quote a second for `seconds`, told each second.
fn steady(seconds: u64) -> Rings {
    let mut rings = Rings::new();
    for second in 0..=seconds {
        rings.note(START + second, &told(second));
    }
    rings
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

#[test]
fn a_slot_has_the_last_totals_and_the_greatest_age() {
    let mut rings = Rings::new();
    let aged = |redeemed, age_ms| Figures {
        age_ms: Some(age_ms),
        ..told(redeemed)
    };
    rings.note(START + 1, &aged(5, 900));
    rings.note(START + 9, &aged(6, 100));
    let pool = Figures {
        requested: Some(8),
        hashrate: Some(1.5),
        ..Figures::default()
    };
    rings.note(START + 9, &pool);
    let grid = rings.grid(START, START + 9, None, START + 9).unwrap();
    let slot = Figures {
        requested: Some(8),
        hashrate: Some(1.5),
        ..aged(6, 900)
    };
    assert_eq!((grid.start, grid.step, grid.figures), (START, 10, vec![Some(slot)]));
}

#[test]
fn a_gap_stays_a_gap() {
    let mut rings = Rings::new();
    rings.note(START, &told(1));
    rings.note(START + 12, &Figures::default());
    rings.note(START + 35, &told(2));
    let grid = rings.grid(START, START + 35, Some(10), START + 35).unwrap();
    assert_eq!(redeemed(&grid), [Some(1), None, None, Some(2)]);
}

#[test]
fn the_finest_step_that_reaches_back_is_chosen() {
    let rings = steady(10);
    let now = START + 10;
    let step = |back| rings.grid(now - back, now, None, now).unwrap().step;
    assert_eq!([step(60), step(HOUR), step(HOUR + 1)], [10, 10, 60]);
    assert_eq!(
        [step(24 * HOUR), step(25 * HOUR), step(90 * 24 * HOUR)],
        [60, 3600, 3600]
    );
    assert_eq!(rings.grid(now - 60, now, Some(7), now), None);
}

#[test]
fn a_grid_is_cut_to_what_its_ring_holds() {
    let rings = steady(10);
    let now = START + 10;
    let grid = rings.grid(0, u64::MAX / 2, Some(10), now).unwrap();
    assert_eq!((grid.start, grid.figures.len()), (START + 20 - HOUR, 360));
    let backwards = rings.grid(now, now - 50, Some(10), now).unwrap();
    assert_eq!(backwards.figures.len(), 1);
}

#[test]
fn a_constant_rate_is_told_over_each_window_once_a_tenth_of_it_is_known() {
    for (seconds, window, known) in [
        (31, 5, false),
        (39, 5, true),
        (400, 5, true),
        (350, 60, false),
        (371, 60, true),
        (4 * HOUR, 60, true),
        (2 * HOUR, 24 * 60, false),
        (3 * HOUR, 24 * 60, true),
        (40 * HOUR, 24 * 60, true),
    ] {
        let rate = steady(seconds).rate(minutes(window), START + seconds);
        assert_eq!(rate.is_some(), known, "{seconds} s, {window} min: {rate:?}");
        if let Some(rate) = rate {
            assert!(
                (rate.per_minute - 60.0).abs() < 0.01,
                "{seconds} s, {window} min: {rate:?}"
            );
            assert!(
                rate.over <= minutes(window) && rate.over.as_secs() <= seconds,
                "{rate:?}"
            );
        }
    }
}

#[test]
fn no_rate_is_told_when_the_mint_is_silent_or_the_total_fell() {
    let mut rings = steady(600);
    let now = START + 600;
    assert!(rings.rate(minutes(5), now + 25).is_some());
    assert_eq!(rings.rate(minutes(5), now + 45), None);
    assert!(
        rings.rate(minutes(60), now + 45).is_some(),
        "a short silence is little in an hour"
    );
    rings.note(now + 10, &told(3));
    rings.note(now + 20, &told(1000));
    assert_eq!(rings.rate(minutes(5), now + 20), None);
}

#[test]
fn when_the_clock_steps_back_its_future_goes() {
    let mut rings = steady(120);
    rings.note(START + 60, &told(7));
    let grid = rings.grid(START, START + 120, Some(10), START + 120).unwrap();
    let mut expected: Vec<_> = (0..6).map(|slot| Some(slot * 10 + 9)).collect();
    expected.extend([Some(7), None, None, None, None, None, None]);
    assert_eq!(redeemed(&grid), expected);
}

#[test]
fn a_slot_of_no_ring_is_refused() {
    let mut rings = Rings::new();
    let figures = told(1);
    for (step, at) in [(7, START), (60, START + 10), (10, START + 1), (0, START)] {
        assert!(!rings.restore(step, &Slot { at, figures }), "{step} {at}");
    }
}

/// A clock that mostly goes on, sometimes jumps ahead, and now and then steps back.
fn steps() -> impl Strategy<Value = Vec<(i64, u64)>> {
    let step = prop_oneof![20 => 0i64..15, 2 => 0i64..5_000_000, 1 => -100_000i64..0];
    prop::collection::vec((step, 0u64..1000), 1..300)
}

proptest! {
    #[test]
    fn rings_are_bounded_in_order_and_not_ahead_of_the_clock(steps in steps()) {
        let (mut rings, mut now) = (Rings::new(), START);
        for (step, redeemed) in steps {
            now = now.saturating_add_signed(step);
            rings.note(now, &told(redeemed));
            for (ring, tier) in rings.rings.iter().zip(&TIERS) {
                prop_assert!(ring.slots.len() <= tier.slots);
                prop_assert!(ring.slots.iter().zip(ring.slots.iter().skip(1)).all(|(a, b)| a.at < b.at));
                prop_assert!(ring.slots.iter().all(|slot| slot.at.is_multiple_of(tier.step)));
                let newest = ring.slots.back().unwrap();
                prop_assert!(newest.at <= now && now < newest.at + tier.step);
                prop_assert_eq!(newest.figures, told(redeemed));
                prop_assert!(ring.slots.front().unwrap().at + ring.span() > now - now % tier.step);
            }
        }
    }

    #[test]
    fn what_is_written_down_at_any_moment_and_read_again_is_the_same(steps in steps(), dumped in 0usize..300) {
        // A whole dump somewhere on the way, and after it the finest slots alone, as the file has them.
        let (mut rings, mut now, mut lines) = (Rings::new(), START, Vec::new());
        let (mut clock_stepped_back, mut noted_until) = (false, 0);
        for (turn, (step, redeemed)) in steps.into_iter().enumerate() {
            clock_stepped_back |= turn > dumped && step < 0;
            now = now.saturating_add_signed(step);
            rings.note(now, &told(redeemed));
            if turn == dumped {
                lines = rings
                    .coarsest_first()
                    .flat_map(|ring| ring.slots.iter().map(|slot| (ring.step, *slot)))
                    .collect();
            } else {
                lines.extend(rings.finest_since(noted_until).into_iter().map(|slot| (FINEST, slot)));
            }
            noted_until = now - now % FINEST;
        }
        let mut again = Rings::new();
        for (step, slot) in &lines {
            prop_assert!(again.restore(*step, slot));
        }
        if !clock_stepped_back && lines.iter().any(|(step, _)| *step != FINEST) {
            for (ring, restored) in rings.rings.iter().zip(&again.rings) {
                prop_assert_eq!(&ring.slots, &restored.slots, "step {}", ring.step);
            }
        }
    }
}
