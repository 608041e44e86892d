//! A place where the mint's figures are shown, judged against the truth: how stale, how old, and whether they are right.
//!
//! A place is either watched, so that each change of what it shows is known with its moment and the time between two
//! changes is integrated ([`Place::shows`]), or asked at random moments ([`Place::sample`]). Events are judged some time
//! after they happened, when everything about the truth of that moment has been heard.

use std::collections::VecDeque;

use stats_push::EhashTotals;

use crate::{
    clock::Nanos,
    spread::Spread,
    truth::{Digest, Truth},
};

/// How long after an event it is judged: far longer than a stamp takes from the mint's process to this one.
pub(crate) const LAG: Nanos = 250_000_000;
/// How long the mint may take to tell of a version that is shown already: longer than any stop that is injected.
const PATIENCE: Nanos = 30_000_000_000;
/// Events that wait to be judged, at most.
const WAITING: usize = 200_000;
/// Complaints that are kept in words; the others are counted.
const TOLD: usize = 5;

/// A snapshot as a place shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// When it was seen there.
    pub(crate) at: Nanos,
    /// When the mint took it.
    pub(crate) taken: Nanos,
    /// The ledger's version that it says it is.
    pub(crate) version: u64,
    /// What it says.
    pub(crate) totals: EhashTotals,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Shows(Shown),
    /// Figures without their version.
    Figures(Nanos, EhashTotals),
    Asked(Shown),
    Gone(Nanos),
}

impl Event {
    fn at(&self) -> Nanos {
        match self {
            Self::Shows(shown) | Self::Asked(shown) => shown.at,
            Self::Figures(at, _) | Self::Gone(at) => *at,
        }
    }

    fn version(&self) -> Option<u64> {
        match self {
            Self::Shows(shown) | Self::Asked(shown) => Some(shown.version),
            Self::Figures(..) | Self::Gone(_) => None,
        }
    }
}

/// What was measured at a place.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// How long what is shown has differed from the truth: by time, or by count where it was asked.
    pub(crate) staleness: Spread,
    /// Time since the shown snapshot was taken, in the same way.
    pub(crate) age: Spread,
    /// From each commit until it, or a later one, was seen.
    pub(crate) delay: Spread,
    /// How long nothing was shown at all.
    pub(crate) blank: Nanos,
    /// Snapshots compared with the truth of their version.
    pub(crate) compared: u64,
    /// Those of them, and other things, that were wrong.
    pub(crate) wrong: u64,
    /// The first of what was wrong, in words.
    pub(crate) complaints: Vec<String>,
}

impl Measured {
    /// Adds what was measured at another place of this kind.
    pub(crate) fn merge(&mut self, other: &Self) -> anyhow::Result<()> {
        self.staleness.merge(&other.staleness)?;
        self.age.merge(&other.age)?;
        self.delay.merge(&other.delay)?;
        self.blank += other.blank;
        self.compared += other.compared;
        self.wrong += other.wrong;
        self.complaints.extend(other.complaints.iter().cloned());
        Ok(())
    }
}

/// One place.
#[derive(Debug)]
pub(crate) struct Place {
    name: String,
    waiting: VecDeque<Event>,
    current: Option<Shown>,
    /// The newest version that was ever shown.
    newest: Option<u64>,
    /// Everything until here is judged.
    judged: Nanos,
    /// What happened before is not measured, only compared.
    from: Nanos,
    pub(crate) measured: Measured,
}

impl Place {
    pub(crate) fn new(name: impl Into<String>) -> anyhow::Result<Self> {
        Ok(Self {
            name: name.into(),
            waiting: VecDeque::new(),
            current: None,
            newest: None,
            judged: 0,
            from: Nanos::MAX,
            measured: Measured {
                staleness: Spread::new()?,
                age: Spread::new()?,
                delay: Spread::new()?,
                blank: 0,
                compared: 0,
                wrong: 0,
                complaints: Vec::new(),
            },
        })
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Measures from this moment on.
    pub(crate) fn begin(&mut self, at: Nanos) {
        self.from = at;
    }

    /// From `shown.at` on this is what the place shows.
    pub(crate) fn shows(&mut self, shown: Shown) {
        self.push(Event::Shows(shown));
    }

    /// The same, where nobody says which version it is.
    pub(crate) fn shows_figures(&mut self, at: Nanos, totals: EhashTotals) {
        self.push(Event::Figures(at, totals));
    }

    /// It was asked, and this was its answer when it came.
    pub(crate) fn sample(&mut self, shown: Shown) {
        self.push(Event::Asked(shown));
    }

    /// From here on it shows nothing.
    pub(crate) fn gone(&mut self, at: Nanos) {
        self.push(Event::Gone(at));
    }

    /// The version shown now, as far as it is judged.
    pub(crate) fn version(&self) -> Option<u64> {
        self.newest
    }

    /// The last thing that was shown, judged or not.
    pub(crate) fn last(&self) -> Option<Shown> {
        let shown = |event: &Event| match event {
            Event::Shows(shown) | Event::Asked(shown) => Some(*shown),
            Event::Figures(..) | Event::Gone(_) => None,
        };
        self.waiting.iter().rev().find_map(shown).or(self.current)
    }

    /// Judges the events until `until`, of which everything is known by now.
    pub(crate) fn judge(&mut self, truth: &Truth, until: Nanos) {
        while let Some(event) = self.waiting.front().copied() {
            let told = event.version().is_none_or(|version| truth.newest() >= Some(version));
            if event.at() > until || !told && until.saturating_sub(event.at()) < PATIENCE {
                return;
            }
            self.waiting.pop_front();
            if !told {
                self.complain(format!("version {:?} was shown and never committed", event.version()));
                continue;
            }
            match event {
                Event::Shows(shown) => self.show(truth, shown),
                Event::Asked(shown) => self.ask(truth, shown),
                Event::Figures(at, totals) => match truth.version_of(Digest::of(&totals), self.newest.unwrap_or(0)) {
                    Some(version) => self.show(
                        truth,
                        Shown {
                            at,
                            taken: at,
                            version,
                            totals,
                        },
                    ),
                    None => self.complain(format!("figures that were never committed: {totals:?}")),
                },
                Event::Gone(at) => {
                    self.integrate(truth, at);
                    self.current = None;
                }
            }
        }
    }

    /// Judges everything, with `until` as the end of the measuring.
    pub(crate) fn finish(&mut self, truth: &Truth, until: Nanos) {
        self.judge(truth, until);
        self.integrate(truth, until);
        self.from = Nanos::MAX;
    }

    fn push(&mut self, event: Event) {
        if self.waiting.len() < WAITING {
            self.waiting.push_back(event);
        } else {
            self.complain(format!("more than {WAITING} events wait to be judged: one is lost"));
        }
    }

    fn show(&mut self, truth: &Truth, shown: Shown) {
        self.compare(truth, &shown);
        if self.newest.is_some_and(|newest| shown.version < newest) {
            self.complain(format!("fell from version {:?} to {}", self.newest, shown.version));
        }
        self.integrate(truth, shown.at);
        let unseen = self.newest.map_or(shown.version, |newest| newest + 1)..=shown.version;
        for committed in unseen.filter_map(|version| truth.at(version)) {
            if committed >= self.from {
                self.measured.delay.record(shown.at.saturating_sub(committed));
            }
        }
        self.newest = self.newest.max(Some(shown.version));
        self.current = Some(shown);
    }

    fn ask(&mut self, truth: &Truth, shown: Shown) {
        self.compare(truth, &shown);
        self.newest = self.newest.max(Some(shown.version));
        if shown.at < self.from {
            return;
        }
        let outdated = truth.outdated_at(shown.version).filter(|at| *at < shown.at);
        self.measured
            .staleness
            .record(outdated.map_or(0, |outdated| shown.at - outdated));
        self.measured.age.record(shown.at.saturating_sub(shown.taken));
    }

    /// Measures from where that ended last until here, during which the place has shown the same.
    fn integrate(&mut self, truth: &Truth, until: Nanos) {
        let since = self.judged.max(self.from);
        self.judged = self.judged.max(until);
        if until <= since {
            return;
        }
        let Some(shown) = &self.current else {
            self.measured.blank += until - since;
            return;
        };
        let age = |at: Nanos| at.saturating_sub(shown.taken);
        self.measured.age.ramp(age(since), age(until));
        let outdated = truth.outdated_at(shown.version).unwrap_or(until);
        let wrong_from = outdated.clamp(since, until);
        self.measured.staleness.zero(wrong_from - since);
        self.measured
            .staleness
            .ramp(wrong_from - outdated.min(wrong_from), until.saturating_sub(outdated));
    }

    fn compare(&mut self, truth: &Truth, shown: &Shown) {
        let Shown { version, at, .. } = *shown;
        let Some(digest) = truth.digest(version) else { return };
        self.measured.compared += 1;
        if digest != Digest::of(&shown.totals) {
            self.complain(format!(
                "other figures than were committed as version {version}: {:?}",
                shown.totals
            ));
        }
        if let Some(early) = truth
            .at(version)
            .and_then(|committed| committed.checked_sub(at))
            .filter(|ns| *ns > 0)
        {
            self.complain(format!("version {version} was shown {early} ns before its commit"));
        }
    }

    fn complain(&mut self, complaint: String) {
        self.measured.wrong += 1;
        if self.measured.complaints.len() < TOLD {
            self.measured.complaints.push(format!("{}: {complaint}", self.name));
        }
    }
}

#[cfg(test)]
mod tests;
