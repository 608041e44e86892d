//! The one place that a pool has for a mint: who works, and who has lost it to whom.
//!
//! The newest ready session takes the place (P8). Two mints that run with one seed would so take it from each other for
//! ever; hence a run of a mint that has lost its place to another run does not get it back for as long as that one works.

use std::collections::VecDeque;

use stats_push::RunId;
use tokio_util::sync::CancellationToken;

/// Runs that have lost their place are remembered up to this number, the newest of them.
const REMEMBERED: usize = 16;

/// Who has the place.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    /// Counts the sessions that have had it.
    newest: u64,
    holder: Option<Holder>,
    displaced: VecDeque<RunId>,
}

#[derive(Debug)]
struct Holder {
    run: Option<RunId>,
    replaced: CancellationToken,
}

/// A session's claim to the place, as long as nobody has replaced it.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    number: u64,
    /// A newer session has the place.
    pub(crate) replaced: CancellationToken,
}

/// The place belongs to another run of a mint, which took it from this one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Displaced;

impl Seat {
    /// Whether somebody works of whom it is known which run it is.
    pub(crate) fn is_contested(&self) -> bool {
        self.holder.as_ref().is_some_and(|holder| holder.run.is_some())
    }

    /// Takes the place for a session of this run, as far as it is known, and tells the one before that it is replaced.
    pub(crate) fn take(&mut self, run: Option<RunId>) -> Result<Ticket, Displaced> {
        let before = self.holder.as_ref().and_then(|holder| holder.run);
        if let (Some(before), Some(run)) = (before, run)
            && before != run
        {
            if self.displaced.contains(&run) {
                return Err(Displaced);
            }
            self.remember(before);
        }
        let replaced = CancellationToken::new();
        self.newest += 1;
        let holder = Holder {
            run,
            replaced: replaced.clone(),
        };
        if let Some(before) = self.holder.replace(holder) {
            before.replaced.cancel();
        }
        let number = self.newest;
        Ok(Ticket { number, replaced })
    }

    /// The session has turned out to be one of this run.
    pub(crate) fn is_of(&mut self, ticket: &Ticket, run: RunId) {
        if let Some(holder) = self.holder.as_mut().filter(|_| ticket.number == self.newest) {
            holder.run = Some(run);
        }
    }

    /// The session has ended. The place is free, unless it was another's already.
    pub(crate) fn leave(&mut self, ticket: &Ticket) {
        if ticket.number == self.newest {
            self.holder = None;
        }
    }

    fn remember(&mut self, run: RunId) {
        if !self.displaced.contains(&run) {
            self.displaced.push_back(run);
        }
        if self.displaced.len() > REMEMBERED {
            self.displaced.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u64) -> Option<RunId> {
        Some(RunId(number))
    }

    #[test]
    fn the_newest_takes_the_place_and_one_run_may_replace_itself_for_ever() {
        let mut seat = Seat::default();
        assert!(!seat.is_contested());
        let mut last = seat.take(run(1)).unwrap();
        for _ in 0..50 {
            let next = seat.take(run(1)).unwrap();
            assert!(last.replaced.is_cancelled() && !next.replaced.is_cancelled());
            // Its end is not that of the newer one.
            seat.leave(&last);
            assert!(seat.is_contested());
            last = next;
        }
        seat.leave(&last);
        assert!(!seat.is_contested() && !last.replaced.is_cancelled());
    }

    #[test]
    fn p8_two_runs_do_not_evict_each_other_and_the_older_gets_in_when_the_newer_has_gone() {
        let mut seat = Seat::default();
        let old = seat.take(run(1)).unwrap();
        let new = seat.take(run(2)).unwrap();
        assert!(old.replaced.is_cancelled());
        seat.leave(&old);
        for _ in 0..50 {
            assert_eq!(seat.take(run(1)).err(), Some(Displaced));
        }
        // The newer one comes again over another connection.
        let again = seat.take(run(2)).unwrap();
        seat.leave(&new);
        assert_eq!(seat.take(run(1)).err(), Some(Displaced));
        seat.leave(&again);
        let back = seat.take(run(1)).unwrap();
        // A third one is newer than both, and a restart is a new run.
        let third = seat.take(run(3)).unwrap();
        assert!(back.replaced.is_cancelled());
        assert_eq!(seat.take(run(1)).err(), Some(Displaced));
        seat.take(run(4)).unwrap();
        assert!(third.replaced.is_cancelled());
    }

    #[test]
    fn who_does_not_tell_its_run_replaces_and_is_replaced() {
        let mut seat = Seat::default();
        seat.take(run(1)).unwrap();
        let legacy = seat.take(None).unwrap();
        assert!(!seat.is_contested());
        let told = seat.take(run(1)).unwrap();
        assert!(legacy.replaced.is_cancelled());
        // One that tells it later counts from then on; one that was replaced has no say.
        let late = seat.take(None).unwrap();
        seat.is_of(&told, RunId(9));
        assert!(!seat.is_contested());
        seat.is_of(&late, RunId(2));
        assert!(seat.is_contested());
        seat.take(run(3)).unwrap();
        assert_eq!(seat.take(run(2)).err(), Some(Displaced));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut seat = Seat::default();
        for number in 0..100 {
            seat.take(run(number)).unwrap();
        }
        assert_eq!(seat.displaced.len(), REMEMBERED);
        assert_eq!(seat.take(run(98)).err(), Some(Displaced));
    }
}
