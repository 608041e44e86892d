//! When a pool asks its mint for a snapshot, and how long the answer takes: one session's questions, without a clock.
//!
//! A mint pushes by itself. The pool asks when that fails it: the first snapshot does not come, or the newest has grown
//! stale while the link is up. Whoever looks at the pool may have it ask as well; ids grow over all of them (P5).

use std::time::{Duration, Instant};

use crate::{Applied, MintStatsRequest, stale_after};

/// The questions of one session. Its owner asks whenever [`due_at`](Self::due_at) has come.
#[derive(Clone, Debug)]
pub struct Inquiry {
    due: Instant,
    /// The highest id that was asked with; 0 before the first.
    highest: u32,
    /// The oldest question that waits for an answer, and the newest.
    waiting: Option<(Asked, Asked)>,
    /// The highest id that was answered.
    answered: u32,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    request_id: u32,
    at: Instant,
}

impl Inquiry {
    /// How long a session may be without its first snapshot: 2 s. Then the pool asks.
    pub const FIRST: Duration = Duration::from_secs(2);
    /// Between two questions that the pool asks by itself: 5 s.
    pub const AGAIN: Duration = Duration::from_secs(5);
    /// What a snapshot may be late beyond the last moment at which it counts as live.
    const LATE: Duration = Duration::from_millis(1);

    /// For a session in which the extension is on from `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            due: now + Self::FIRST,
            highest: 0,
            waiting: None,
            answered: 0,
        }
    }

    /// The extension is on from `now`, later than the session began.
    pub fn negotiated(&mut self, now: Instant) {
        self.due = now + Self::FIRST;
    }

    /// When to [`ask`](Self::ask) next, if nothing comes before.
    pub fn due_at(&self) -> Instant {
        self.due
    }

    /// The question to send, by whomever it is asked; `None` after 2^32-1 of them.
    pub fn ask(&mut self, now: Instant) -> Option<MintStatsRequest> {
        let request_id = self.highest.checked_add(1)?;
        self.highest = request_id;
        self.due = now + Self::AGAIN;
        let asked = Asked { request_id, at: now };
        let oldest = self.waiting.map_or(asked, |(oldest, _)| oldest);
        self.waiting = Some((oldest, asked));
        Some(MintStatsRequest { request_id })
    }

    /// A snapshot with this `request_id` and `interval` was received at `now`, and this became of it. If it answers a
    /// question: how long the oldest that it answers had been waiting, in the queues of pool and mint, too.
    pub fn heard(&mut self, request_id: u32, interval: Duration, became: Applied, now: Instant) -> Option<Duration> {
        if matches!(became, Applied::Replaced | Applied::Refreshed) {
            self.due = now + stale_after(interval) + Self::LATE;
        }
        let id = request_id;
        let (oldest, newest) = self.waiting?;
        if id < oldest.request_id || id > newest.request_id {
            return None;
        }
        self.answered = id;
        self.waiting = (id < newest.request_id).then_some((newest, newest));
        Some(now.saturating_duration_since(oldest.at))
    }

    /// The highest id that was asked with; 0 before the first. What of it is not written yet may go out as one request.
    pub fn asked(&self) -> u32 {
        self.highest
    }

    /// The highest id that was answered, and with it all lower ones; 0 before the first.
    pub fn answered(&self) -> u32 {
        self.answered
    }
}

/// The mint has answered a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refreshed {
    /// The `request_id` that it was asked by.
    pub request_id: u32,
    /// From the question to its answer.
    pub round_trip: Duration,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// No session with a mint works.
    #[error("no mint is connected")]
    NoMint,
    /// The mint that works has no statistics.
    #[error("the mint does not support statistics")]
    Unsupported,
    /// It has not answered in time. It may still: at most one answer goes out in each of its `min_gap`s.
    #[error("the mint has not answered in time")]
    TooLate,
    /// The session ended meanwhile.
    #[error("the connection with the mint ended before it answered")]
    Ended,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    const INTERVAL: Duration = Duration::from_secs(5);

    fn asked(inquiry: &mut Inquiry, now: Instant) -> u32 {
        inquiry.ask(now).unwrap().request_id
    }

    #[test]
    fn a_first_snapshot_that_does_not_come_is_asked_for_after_two_seconds_and_then_every_five() {
        let start = Instant::now();
        let mut inquiry = Inquiry::new(start);
        let mut at = start + 2 * SECOND;
        for id in 1..10 {
            assert_eq!(inquiry.due_at(), at);
            assert_eq!(asked(&mut inquiry, at), id);
            at += 5 * SECOND;
        }
    }

    #[test]
    fn p9_the_pool_asks_when_the_newest_snapshot_turns_stale_and_not_before() {
        let start = Instant::now();
        let mut inquiry = Inquiry::new(start);
        for second in 0..100 {
            let now = start + second * SECOND;
            assert_eq!(inquiry.heard(0, INTERVAL, Applied::Refreshed, now), None);
            assert_eq!(inquiry.due_at(), now + 15 * SECOND + MS);
        }
        // What is dropped makes nothing fresh.
        let due = inquiry.due_at();
        for dropped in [Applied::Outdated, Applied::Superseded] {
            inquiry.heard(0, INTERVAL, dropped, due);
            assert_eq!(inquiry.due_at(), due);
        }
        asked(&mut inquiry, due);
        assert_eq!(inquiry.due_at(), due + 5 * SECOND);
    }

    #[test]
    fn p5_an_answer_closes_its_question_and_all_before_it_and_tells_how_long_the_oldest_took() {
        let start = Instant::now();
        let at = |second: u32| start + second * SECOND;
        let mut inquiry = Inquiry::new(start);
        assert_eq!(
            inquiry.heard(1, INTERVAL, Applied::Replaced, start),
            None,
            "nobody asked"
        );
        for second in 1..=4 {
            assert_eq!(asked(&mut inquiry, at(second)), second);
        }
        assert_eq!(inquiry.heard(0, INTERVAL, Applied::Refreshed, at(5)), None, "a push");
        assert_eq!(
            inquiry.heard(5, INTERVAL, Applied::Refreshed, at(5)),
            None,
            "of nobody's"
        );
        assert_eq!(inquiry.heard(3, INTERVAL, Applied::Refreshed, at(6)), Some(5 * SECOND));
        assert_eq!((inquiry.asked(), inquiry.answered()), (4, 3));
        assert_eq!(inquiry.heard(3, INTERVAL, Applied::Refreshed, at(6)), None, "again");
        assert_eq!(inquiry.heard(4, INTERVAL, Applied::Outdated, at(7)), Some(3 * SECOND));
        assert_eq!(inquiry.answered(), 4);
        assert_eq!(inquiry.heard(4, INTERVAL, Applied::Refreshed, at(8)), None);
    }

    #[test]
    fn ids_end_where_the_field_does_and_a_late_negotiation_begins_anew() {
        let start = Instant::now();
        let mut inquiry = Inquiry::new(start);
        inquiry.negotiated(start + 60 * SECOND);
        assert_eq!(inquiry.due_at(), start + 62 * SECOND);
        inquiry.highest = u32::MAX - 1;
        assert_eq!(asked(&mut inquiry, start), u32::MAX);
        assert_eq!(inquiry.ask(start), None);
    }
}
