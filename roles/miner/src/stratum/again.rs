//! Shares that the pool could not store: they are sent again until it can, or until the tip moves on and they are worth
//! nothing. No socket, and no clock: time is an argument.
//!
//! After a pause one of them is tried; once the pool accepts a share again, whichever, all others follow at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use mining_sv2::SubmitSharesStandard;

/// What our pool says of a share that is right, is not stored, and may come again. To others these codes mean nothing.
const NOT_STORED: [&str; 2] = ["outbox-full", "not-stored"];

/// Shares that are kept to be sent again; the oldest go first. Our pool remembers as many of a channel, and would refuse
/// more as repeated.
const MAX_HELD: usize = 32;

/// Shares that were sent of which a refusal can be known; of older ones it means nothing here.
const MAX_SENT: usize = 256;

/// Pauses between two tries.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// The shares of one channel and one tip.
#[derive(Debug)]
pub(super) struct Again {
    /// The newest last.
    sent: VecDeque<SubmitSharesStandard>,
    /// The one that has waited longest first.
    held: VecDeque<SubmitSharesStandard>,
    next: Next,
    pauses: ExponentialBackoff,
}

/// What is to be sent again next.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// Nothing before the next answer of the pool.
    Nothing,
    /// One share, from then on.
    One(Instant),
    /// All, since then.
    All(Instant),
}

impl Default for Again {
    fn default() -> Self {
        Self {
            sent: VecDeque::new(),
            held: VecDeque::new(),
            next: Next::Nothing,
            pauses: pauses(),
        }
    }
}

impl Again {
    /// A share goes out, with the number that its answer will name.
    pub(super) fn sent(&mut self, submission: &SubmitSharesStandard) {
        push(&mut self.sent, submission.clone(), MAX_SENT);
    }

    /// The pool has accepted shares.
    pub(super) fn accepted(&mut self, now: Instant) {
        self.pauses = pauses();
        if !self.held.is_empty() {
            self.next = Next::All(now);
        }
    }

    /// The pool has refused the share of this number with this code.
    pub(super) fn refused(&mut self, sequence_number: u32, code: &str, now: Instant) {
        let of_it = |sent: &SubmitSharesStandard| sent.sequence_number == sequence_number;
        let index = self.sent.iter().position(of_it);
        let refused = index.and_then(|index| self.sent.remove(index));
        if let Some(refused) = refused.filter(|_| NOT_STORED.contains(&code)) {
            push(&mut self.held, refused, MAX_HELD);
        }
        // Of shares that are refused together the first decides.
        let waits = matches!(self.next, Next::One(_));
        if !waits && !self.held.is_empty() {
            self.next = Next::One(now + self.pauses.next().unwrap_or(LONGEST));
        }
    }

    /// The tip has moved on.
    pub(super) fn forget(&mut self) {
        self.sent.clear();
        self.held.clear();
        self.next = Next::Nothing;
    }

    /// From when on [`Self::due`] has a share, as far as is known.
    pub(super) fn at(&self) -> Option<Instant> {
        match self.next {
            Next::Nothing => None,
            Next::One(at) | Next::All(at) => Some(at),
        }
    }

    /// A share that is to be sent again now.
    pub(super) fn due(&mut self, now: Instant) -> Option<SubmitSharesStandard> {
        self.at().filter(|at| *at <= now)?;
        let share = self.held.pop_front();
        if matches!(self.next, Next::One(_)) || self.held.is_empty() {
            self.next = Next::Nothing;
        }
        share
    }
}

fn push(shares: &mut VecDeque<SubmitSharesStandard>, share: SubmitSharesStandard, most: usize) {
    if shares.len() >= most {
        shares.pop_front();
    }
    shares.push_back(share);
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(SHORTEST)
        .with_max_delay(LONGEST)
        .with_factor(2.0)
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share that was sent under this number first; the nonce tells it from others.
    fn share(number: u32) -> SubmitSharesStandard {
        SubmitSharesStandard {
            channel_id: 7,
            sequence_number: number,
            job_id: 1,
            nonce: number,
            ntime: 1000,
            version: 0x2000_0000,
        }
    }

    /// Shares with these numbers were sent, and refused as not stored.
    fn refused(numbers: std::ops::Range<u32>, now: Instant) -> Again {
        let mut again = Again::default();
        numbers.clone().for_each(|number| again.sent(&share(number)));
        numbers.for_each(|number| again.refused(number, "outbox-full", now));
        again
    }

    fn due(again: &mut Again, now: Instant) -> Vec<u32> {
        std::iter::from_fn(|| again.due(now)).map(|share| share.nonce).collect()
    }

    #[test]
    fn one_is_tried_after_growing_pauses_and_the_others_follow_once_the_pool_stores_again() {
        let mut now = Instant::now();
        let mut again = refused(0..3, now);
        for (number, seconds) in [(10, 1), (11, 2), (12, 4), (13, 8), (14, 16), (15, 30), (16, 30)] {
            let pause = Duration::from_secs(seconds);
            assert_eq!(again.at(), Some(now + pause));
            now += pause;
            assert!(again.due(now - Duration::from_millis(1)).is_none());
            let tried = again.due(now).unwrap();
            assert!(again.due(now).is_none() && again.at().is_none());
            again.sent(&SubmitSharesStandard {
                sequence_number: number,
                ..tried
            });
            again.refused(number, "not-stored", now);
        }
        again.accepted(now);
        assert_eq!(due(&mut again, now), [1, 2, 0]);
        assert_eq!(again.at(), None);
        again.sent(&share(20));
        again.refused(20, "outbox-full", now);
        assert_eq!(
            again.at(),
            Some(now + SHORTEST),
            "after a success pauses are short again"
        );
    }

    #[test]
    fn what_is_refused_for_another_reason_or_for_an_old_tip_does_not_come_again() {
        let now = Instant::now();
        let mut again = Again::default();
        again.sent(&share(0));
        again.refused(0, "stale-share", now);
        again.refused(5, "outbox-full", now);
        assert_eq!(again.at(), None);
        let mut again = refused(0..3, now);
        again.forget();
        again.accepted(now);
        assert_eq!((again.at(), due(&mut again, now + LONGEST)), (None, vec![]));
    }

    #[test]
    fn a_try_that_is_refused_for_another_reason_keeps_the_others_going() {
        let now = Instant::now();
        let mut again = refused(0..2, now);
        let tried = again.due(now + SHORTEST).unwrap();
        again.sent(&tried);
        again.refused(tried.sequence_number, "duplicate-share", now + SHORTEST);
        assert_eq!(due(&mut again, now + LONGEST), [1]);
    }

    #[test]
    fn the_newest_are_kept_and_as_many_as_the_pool_remembers() {
        let now = Instant::now();
        let mut again = refused(0..200, now);
        again.accepted(now);
        assert_eq!(due(&mut again, now), (168..200).collect::<Vec<_>>());
    }
}
