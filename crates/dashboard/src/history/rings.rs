//! The figures of the past, the older the coarser: 10 s for an hour, a minute for a day, an hour for 30 days.
//!
//! Pure: the wall clock is an argument. What was not known leaves no slot, so a gap stays a gap. Each ring's slots grow
//! in time; when the wall clock steps back, what lies in its future goes.

use std::{collections::VecDeque, time::Duration};

use stats_push::PerState;

/// A point in time by the wall clock, in whole seconds since the Unix epoch.
pub(crate) type UnixSeconds = u64;

/// A ring's step and how many slots it has.
struct Tier {
    step: u64,
    slots: usize,
}

const TIERS: [Tier; 3] = [
    Tier { step: 10, slots: 360 },
    Tier { step: 60, slots: 1440 },
    Tier { step: 3600, slots: 720 },
];

/// The finest step.
pub(crate) const FINEST: u64 = 10;

/// No slot begins later: the end of the year 9999. What is written of a later one is a mistake.
const LATEST: UnixSeconds = 253_402_300_799;

/// What was known at the end of a slot. What was not is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    /// Of the mint, while it told.
    pub(crate) mint: Option<MintFigures>,
    /// The greatest age of the mint's numbers in the slot, in milliseconds.
    pub(crate) age_ms: Option<u64>,
    /// Quotes that the pool has requested.
    pub(crate) requested: Option<u64>,
    /// Of all the pool's miners, in hashes per second.
    pub(crate) hashrate: Option<f64>,
}

/// The mint's totals over all ehash units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MintFigures {
    pub(crate) redeemed: u64,
    pub(crate) quotes: PerState,
}

impl Figures {
    /// Nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn take_in(&mut self, later: &Self) {
        self.mint = later.mint.or(self.mint);
        self.age_ms = self.age_ms.max(later.age_ms);
        self.requested = later.requested.or(self.requested);
        self.hashrate = later.hashrate.or(self.hashrate);
    }
}

/// The figures of the `step` seconds from `at` on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slot {
    pub(crate) at: UnixSeconds,
    pub(crate) figures: Figures,
}

/// Slots of one step, the oldest first.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(crate) step: u64,
    pub(crate) slots: VecDeque<Slot>,
    most: usize,
}

impl Ring {
    fn new(tier: &Tier) -> Self {
        Self {
            step: tier.step,
            slots: VecDeque::with_capacity(tier.slots),
            most: tier.slots,
        }
    }

    /// How far back it reaches, in seconds.
    fn span(&self) -> u64 {
        self.step * self.most as u64
    }

    /// Takes figures that are true at `now`.
    fn note(&mut self, now: UnixSeconds, figures: &Figures) {
        while self.slots.back().is_some_and(|newest| newest.at > now) {
            self.slots.pop_back();
        }
        self.put(now, figures);
    }

    /// Takes figures of `at` unless later ones are there.
    fn put(&mut self, at: UnixSeconds, figures: &Figures) {
        let at = at - at % self.step;
        match self.slots.back_mut() {
            Some(newest) if newest.at > at => return,
            Some(newest) if newest.at == at => newest.figures.take_in(figures),
            _ => self.slots.push_back(Slot { at, figures: *figures }),
        }
        let first = (at + self.step).saturating_sub(self.span());
        while self.slots.front().is_some_and(|oldest| oldest.at < first) {
            self.slots.pop_front();
        }
    }

    /// From the slot of `from` to that of `to`, both included; `None` where nothing was known.
    fn grid(&self, from: UnixSeconds, to: UnixSeconds) -> Grid {
        let (start, end) = (from - from % self.step, to - to % self.step);
        let begin = self.slots.partition_point(|slot| slot.at < start);
        let mut known = self.slots.range(begin..).peekable();
        let places = (start..=end).step_by(usize::try_from(self.step).unwrap_or(1));
        let figures = places.map(|at| known.next_if(|slot| slot.at == at).map(|slot| slot.figures));
        Grid {
            start,
            step: self.step,
            figures: figures.collect(),
        }
    }
}

/// Figures at equal distances.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grid {
    /// Where the first slot begins.
    pub(crate) start: UnixSeconds,
    pub(crate) step: u64,
    pub(crate) figures: Vec<Option<Figures>>,
}

/// Redeemed quotes a minute over some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    pub(crate) per_minute: f64,
    /// The time that it is known over: the window, or less while there is not enough history.
    pub(crate) over: Duration,
}

/// The three rings.
#[derive(Debug)]
pub(crate) struct Rings {
    rings: [Ring; TIERS.len()],
}

impl Rings {
    pub(crate) fn new() -> Self {
        Self {
            rings: TIERS.each_ref().map(Ring::new),
        }
    }

    /// Takes figures that are true at `now`.
    pub(crate) fn note(&mut self, now: UnixSeconds, figures: &Figures) {
        if figures.is_empty() {
            return;
        }
        for ring in &mut self.rings {
            ring.note(now, figures);
        }
    }

    /// Takes a slot that was written down: of one step, and for the finest one into the others as well, whose own slots
    /// may not have been written yet. False if there is no such step, or no such time.
    pub(crate) fn restore(&mut self, step: u64, slot: &Slot) -> bool {
        let mut taken = false;
        for ring in &mut self.rings {
            if (ring.step == step || step == FINEST) && slot.at.is_multiple_of(step) && slot.at <= LATEST {
                ring.put(slot.at, &slot.figures);
                taken = true;
            }
        }
        taken
    }

    pub(crate) fn coarsest_first(&self) -> impl Iterator<Item = &Ring> {
        self.rings.iter().rev()
    }

    fn of_step(&self, step: u64) -> Option<&Ring> {
        self.rings.iter().find(|ring| ring.step == step)
    }

    /// The finest slots that begin at `from` or later.
    pub(crate) fn finest_since(&self, from: UnixSeconds) -> Vec<Slot> {
        let slots = self.of_step(FINEST).map(|ring| ring.slots.iter());
        slots
            .into_iter()
            .flatten()
            .filter(|slot| slot.at >= from)
            .copied()
            .collect()
    }

    /// What is known of the time between `from` and `to`, in the given step or else in the finest that reaches back to
    /// `from`. Cut to what the ring can hold at `now`. `None` if there is no such step.
    pub(crate) fn grid(&self, from: UnixSeconds, to: UnixSeconds, step: Option<u64>, now: UnixSeconds) -> Option<Grid> {
        let reaches = |ring: &&Ring| from.saturating_add(ring.span()) >= now;
        let ring = match step {
            Some(step) => self.of_step(step)?,
            None => self.rings.iter().find(reaches).or_else(|| self.rings.last())?,
        };
        let first = (now - now % ring.step + ring.step).saturating_sub(ring.span());
        let to = to.min(now);
        Some(ring.grid(from.max(first).min(to), to))
    }

    /// How many quotes a minute were redeemed in the last `window`. `None` if the mint has not told for a tenth of that,
    /// if what it told covers less than a tenth, or if the total fell meanwhile.
    pub(crate) fn rate(&self, window: Duration, now: UnixSeconds) -> Option<Rate> {
        let window = window.as_secs();
        let ring = self.rings.iter().find(|ring| ring.span() >= window)?;
        let tenth = (window / 10).max(2 * ring.step);
        let first = now.saturating_sub(window);
        let begin = ring.slots.partition_point(|slot| slot.at + ring.step <= first);
        // A slot's figures are those of its last second, which for the newest is yet to come.
        let mut told = ring.slots.range(begin..).filter_map(|slot| {
            let end = (slot.at + ring.step - 1).min(now);
            Some((end, slot.figures.mint?.redeemed))
        });
        let (start, at_start) = told.next()?;
        let (mut end, mut at_end) = (start, at_start);
        for (at, redeemed) in told {
            redeemed.checked_sub(at_end)?;
            (end, at_end) = (at, redeemed);
        }
        let covered = end.saturating_sub(start);
        if now.saturating_sub(end) > tenth || covered < tenth {
            return None;
        }
        Some(Rate {
            per_minute: (at_end - at_start) as f64 * 60.0 / covered as f64,
            over: Duration::from_secs(covered),
        })
    }
}

#[cfg(test)]
mod tests;
