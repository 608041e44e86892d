//! When to push, and why: promises P2 to P7 as a state machine without a clock, a socket or a queue.
//!
//! One schedule serves one session. Its owner asks [`Schedule::poll`] whenever it could write a snapshot; the answer is
//! to push now, or how long there is nothing to do. A poll that says [`Step::Push`] has counted that push as made.

use std::time::Instant;

use crate::{PushConfig, Reason};

/// What [`Schedule::poll`] asks its owner to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Push a snapshot of the present totals now. `request_id` is the highest request that it answers, or 0.
    Push {
        /// The strongest of the reasons that are due.
        reason: Reason,
        /// See [`crate::Snapshot::request_id`].
        request_id: u32,
    },
    /// Poll again when the totals change, at the given time, or on a request, whichever comes first.
    WaitForChange(Instant),
    /// Poll again at the given time or on a request. A change brings nothing before: one is waiting already.
    WaitUntil(Instant),
    /// The final snapshot is out: the session pushes no more.
    Finished,
}

/// Decides the pushes of one session. Its owner asks [`Schedule::poll`] whenever it could write a snapshot.
#[derive(Clone, Debug)]
pub struct Schedule {
    config: PushConfig,
    /// When the next periodic push is due; moves in whole intervals from the start, so the phase never drifts (P3).
    next_periodic: Instant,
    /// The last push, of any reason, and the version of the totals that it carried.
    last_push: Option<(Instant, u64)>,
    /// The highest request that waits for an answer.
    asked: Option<u32>,
    /// The highest request that was ever asked: ids only grow (P5).
    highest_asked: u32,
    last_answer: Option<Instant>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Due,
    Pushed,
}

impl Schedule {
    /// A schedule whose initial push is due at once and whose intervals count from `start`.
    pub fn new(config: PushConfig, start: Instant) -> Self {
        Self {
            config,
            next_periodic: start + config.interval(),
            last_push: None,
            asked: None,
            highest_asked: 0,
            last_answer: None,
            end: End::Open,
        }
    }

    /// The pool asked for a snapshot (P5). Returns `false`, and changes nothing, if the id did not grow.
    pub fn request(&mut self, request_id: u32) -> bool {
        let grows = request_id > self.highest_asked;
        if grows {
            self.highest_asked = request_id;
            self.asked = Some(request_id);
        }
        grows
    }

    /// The mint stops in order: one final push is due at once, and none after it (P6).
    pub fn finish(&mut self) {
        if self.end == End::Open {
            self.end = End::Due;
        }
    }

    /// What to do at `now` with totals of this `version`. `now` must not run backwards.
    pub fn poll(&mut self, now: Instant, version: u64) -> Step {
        if self.end == End::Pushed {
            return Step::Finished;
        }
        let event_due_at = self.event_due_at(version);
        let answer_due_at = self.answer_due_at(now);
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let reason = [
            (self.end == End::Due, Reason::Final),
            (due(answer_due_at), Reason::Requested),
            (self.last_push.is_none(), Reason::Initial),
            (due(event_due_at), Reason::Event),
            (self.next_periodic <= now, Reason::Periodic),
        ]
        .into_iter()
        .find_map(|(is_due, reason)| is_due.then_some(reason));

        if let Some(reason) = reason {
            return self.push(now, version, reason, due(answer_due_at));
        }
        let wake = [answer_due_at, event_due_at]
            .into_iter()
            .flatten()
            .fold(self.next_periodic, Instant::min);
        if event_due_at.is_some() {
            Step::WaitUntil(wake)
        } else {
            Step::WaitForChange(wake)
        }
    }

    fn push(&mut self, now: Instant, version: u64, reason: Reason, answer_due: bool) -> Step {
        let answers = answer_due || reason == Reason::Final;
        let request_id = if answers { self.asked.take().unwrap_or(0) } else { 0 };
        if request_id != 0 {
            self.last_answer = Some(now);
        }
        self.last_push = Some((now, version));
        self.next_periodic = self.periodic_after(now);
        if reason == Reason::Final {
            self.end = End::Pushed;
        }
        Step::Push { reason, request_id }
    }

    /// When a change that was not pushed yet is due: a min_gap after the last push (P4).
    fn event_due_at(&self, version: u64) -> Option<Instant> {
        let (pushed_at, pushed_version) = self.last_push?;
        (version != pushed_version).then(|| pushed_at + self.config.min_gap())
    }

    /// When the waiting request may be answered: a min_gap after the last answer (P5).
    fn answer_due_at(&self, now: Instant) -> Option<Instant> {
        self.asked?;
        Some(self.last_answer.map_or(now, |at| at + self.config.min_gap()))
    }

    /// The first point of the periodic phase after `now`: what was missed is not caught up (P3).
    fn periodic_after(&self, now: Instant) -> Instant {
        let interval = self.config.interval();
        let Some(late) = now.checked_duration_since(self.next_periodic) else {
            return self.next_periodic;
        };
        let into_period = late.as_nanos() % interval.as_nanos();
        // Less than an interval, which is at most an hour.
        let into_period = std::time::Duration::from_nanos(into_period as u64);
        now + (interval - into_period)
    }
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
