//! Which shares are with the mint, which are held back, and what an answer means: the logic of the pump without its
//! I/O. Time is an argument.
//!
//! A share is here from the moment that it was read from the outbox until the commit of its answer; a window bounds
//! their number. Toward a mint whose refusals name their share (extension 0x4D51) all of the window may be on the way.
//! A legacy mint's refusals name nothing, so exactly one is.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use mint_link::{QuoteAnswer, RefusalCode};
use tokio::time::Instant;

use crate::amount::HeaderHash;
use crate::outbox::{Answer, Settlement, ShareId, WaitingShare};

/// What a legacy mint says of a hash that it has a quote for already (hashpool's words).
const LEGACY_DUPLICATE: &str = "Duplicate entry";
const BUSY_BACK_OFF: BackOff = BackOff {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(10),
};
/// A request that got no answer comes after the others for a while: a mint may stay silent on it for ever.
const SILENCE_BACK_OFF: BackOff = BackOff {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(600),
};

struct BackOff {
    first: Duration,
    longest: Duration,
}

impl BackOff {
    fn after(&self, attempts: u32) -> Duration {
        let doubled = 2u32.saturating_pow(attempts.saturating_sub(1));
        self.first.saturating_mul(doubled).min(self.longest)
    }
}

/// What the mint's refusals allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They name their share: as many on the way as the window holds.
    Correlated,
    /// They name nothing: one at a time.
    OneAtATime,
}

/// The bounds of [`Flight`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Shares held here at most.
    pub(crate) window: usize,
    /// How long an answer may take.
    pub(crate) answer_timeout: Duration,
}

/// What an answer of the mint came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the last word on this share.
    Settle(HeaderHash, Settlement),
    /// The mint is busy: the share is asked for again later.
    Later,
    /// It belongs to no share that is on the way.
    Unexpected,
}

#[derive(Debug)]
struct Entry {
    waiting: WaitingShare,
    state: State,
    attempts: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Sent { deadline: Instant },
    HeldBack { until: Instant },
    Answered,
}

impl State {
    fn timer(self) -> Option<Instant> {
        match self {
            Self::Sent { deadline } => Some(deadline),
            Self::HeldBack { until } => Some(until),
            Self::Answered => None,
        }
    }
}

/// The shares between the outbox and the mint's answers.
#[derive(Debug)]
pub(crate) struct Flight {
    limits: Limits,
    mode: Mode,
    entries: HashMap<HeaderHash, Entry>,
    /// Deadlines and ends of holding back, soonest first; of one instant, the oldest share first.
    timers: BTreeSet<(Instant, ShareId, HeaderHash)>,
    /// Read, to be sent.
    queue: VecDeque<WaitingShare>,
    /// Held back and due, to be sent before the queue, oldest first.
    due: BTreeSet<(ShareId, HeaderHash)>,
    on_the_way: usize,
    cursor: ShareId,
}

impl Flight {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            mode: Mode::OneAtATime,
            entries: HashMap::new(),
            timers: BTreeSet::new(),
            queue: VecDeque::new(),
            due: BTreeSet::new(),
            on_the_way: 0,
            cursor: ShareId::default(),
        }
    }

    /// A new session: everything without an answer will be read and sent again, oldest first. What a legacy mint was
    /// silent on stays held back, so that it does not block the others for ever.
    pub(crate) fn begin(&mut self, mode: Mode) {
        self.mode = mode;
        self.cursor = ShareId::default();
        self.queue.clear();
        self.on_the_way = 0;
        let keep_held = mode == Mode::OneAtATime;
        self.entries.retain(|_, entry| match entry.state {
            State::Answered => true,
            State::HeldBack { .. } => keep_held,
            State::Sent { .. } => false,
        });
        let entries = &self.entries;
        let known = |hash: &HeaderHash| entries.get(hash).is_some_and(|entry| entry.state != State::Answered);
        self.timers.retain(|(_, _, hash)| known(hash));
        self.due.retain(|(_, hash)| known(hash));
    }

    /// What the session's refusals allow.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// The mint has negotiated correlated refusals after all.
    pub(crate) fn upgrade(&mut self) {
        self.mode = Mode::Correlated;
    }

    /// After which share to read on, and how many to read: 0 when the window is full.
    pub(crate) fn wants(&self) -> (ShareId, usize) {
        let held = self.entries.len() + self.queue.len();
        (self.cursor, self.limits.window.saturating_sub(held))
    }

    /// Takes shares read from the outbox, oldest first.
    pub(crate) fn took(&mut self, rows: impl IntoIterator<Item = WaitingShare>) {
        for row in rows {
            self.cursor = self.cursor.max(row.id);
            if !self.entries.contains_key(&row.share.header_hash) {
                self.queue.push_back(row);
            }
        }
    }

    /// Whether [`Flight::next`] would give one.
    pub(crate) fn has_next(&self) -> bool {
        let may = self.mode == Mode::Correlated || self.on_the_way == 0;
        may && !(self.due.is_empty() && self.queue.is_empty())
    }

    /// The next share to send; it counts as sent at `now`.
    pub(crate) fn next(&mut self, now: Instant) -> Option<WaitingShare> {
        if !self.has_next() {
            return None;
        }
        let state = State::Sent {
            deadline: now + self.limits.answer_timeout,
        };
        let waiting = match self.due.pop_first() {
            Some((_, hash)) => {
                let waiting = self.entries.get(&hash)?.waiting;
                self.enter(&hash, state);
                waiting
            }
            None => {
                let waiting = self.queue.pop_front()?;
                let hash = waiting.share.header_hash;
                self.entries.insert(
                    hash,
                    Entry {
                        waiting,
                        state: State::Answered,
                        attempts: 0,
                    },
                );
                self.enter(&hash, state);
                waiting
            }
        };
        Some(waiting)
    }

    /// What the mint's answer means.
    pub(crate) fn answered(&mut self, answer: QuoteAnswer, now: Instant) -> Verdict {
        match answer {
            QuoteAnswer::Created { header_hash, quote_id } => {
                let quote_id = Some(quote_id);
                self.settle(header_hash.0, Answer::Acknowledged { quote_id })
            }
            QuoteAnswer::Refused {
                header_hash,
                code,
                message,
            } => {
                let Some(hash) = header_hash.map(|hash| hash.0).or_else(|| self.only_one()) else {
                    return Verdict::Unexpected;
                };
                match code {
                    RefusalCode::Busy if self.hold_back(&hash, &BUSY_BACK_OFF, now) => Verdict::Later,
                    RefusalCode::Busy => Verdict::Unexpected,
                    _ if header_hash.is_none() && message == LEGACY_DUPLICATE => {
                        self.settle(hash, Answer::Acknowledged { quote_id: None })
                    }
                    _ => {
                        let code = code.code();
                        self.settle(hash, Answer::Refused { code, message })
                    }
                }
            }
        }
    }

    /// The answer is on the disk: the share has left.
    pub(crate) fn committed(&mut self, hash: &HeaderHash) {
        self.entries.remove(hash);
    }

    /// When [`Flight::tick`] has something to do.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, ..)| *at)
    }

    /// Makes the passing of time true. Gives back how many requests got no answer in time; those come again later.
    pub(crate) fn tick(&mut self, now: Instant) -> usize {
        let mut silent = 0;
        while let Some((at, id, hash)) = self.timers.first().copied()
            && at <= now
        {
            match self.entries.get(&hash).map(|entry| entry.state) {
                Some(State::Sent { .. }) => {
                    silent += 1;
                    self.hold_back(&hash, &SILENCE_BACK_OFF, now);
                }
                Some(State::HeldBack { .. }) => {
                    self.timers.pop_first();
                    self.due.insert((id, hash));
                }
                Some(State::Answered) | None => {
                    self.timers.pop_first();
                }
            }
        }
        silent
    }

    fn settle(&mut self, hash: HeaderHash, answer: Answer) -> Verdict {
        match self.entries.get(&hash) {
            Some(entry) if entry.state != State::Answered => {
                let id = entry.waiting.id;
                self.enter(&hash, State::Answered);
                Verdict::Settle(hash, Settlement { id, answer })
            }
            _ => Verdict::Unexpected,
        }
    }

    /// `false` for a share that is not here or has its answer.
    fn hold_back(&mut self, hash: &HeaderHash, back_off: &BackOff, now: Instant) -> bool {
        let Some(entry) = self
            .entries
            .get_mut(hash)
            .filter(|entry| entry.state != State::Answered)
        else {
            return false;
        };
        entry.attempts = entry.attempts.saturating_add(1);
        let until = now + back_off.after(entry.attempts);
        self.enter(hash, State::HeldBack { until });
        true
    }

    /// Changes the state of an entry and everything that follows from it.
    fn enter(&mut self, hash: &HeaderHash, state: State) {
        let Some(entry) = self.entries.get_mut(hash) else {
            return;
        };
        let (id, before) = (entry.waiting.id, entry.state);
        entry.state = state;
        if let Some(at) = before.timer() {
            self.timers.remove(&(at, id, *hash));
        }
        if let Some(at) = state.timer() {
            self.timers.insert((at, id, *hash));
        }
        self.due.remove(&(id, *hash));
        self.on_the_way += usize::from(matches!(state, State::Sent { .. }));
        self.on_the_way -= usize::from(matches!(before, State::Sent { .. }));
    }

    /// The share that is on the way, where it is the only one.
    fn only_one(&self) -> Option<HeaderHash> {
        let mut sent = self
            .entries
            .iter()
            .filter(|(_, entry)| matches!(entry.state, State::Sent { .. }));
        match (self.mode, sent.next(), sent.next()) {
            (Mode::OneAtATime, Some((hash, _)), None) => Some(*hash),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
