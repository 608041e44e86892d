//! Whether the pool is there and reads, without a connection and without a clock.
//!
//! TCP can't tell: behind a proxy both of its connections may be in order while nothing gets through, and a program that
//! hangs has a kernel that acknowledges. So the mint repeats the one question that a pool with extensions always answers,
//! RequestExtensions for what is on, and wants the answer in time. The pool hears of the mint by it, too.

use std::time::Duration;

use tokio::time::Instant;

use crate::extensions::ExtensionMessage;

/// The ids below are those of the negotiation itself.
const FIRST_ID: u16 = 3;

/// Asks a pool for ever whether it is there. At rest until [`start`](Self::start): a legacy pool is not asked.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    every: Duration,
    patience: Duration,
    /// What to ask for; empty at rest.
    requested: Vec<u16>,
    next: Instant,
    /// The newest question, and when it was asked.
    last: (u16, Instant),
    /// What the answer to the newest question is waited for since.
    waiting_since: Option<Instant>,
}

impl Heartbeat {
    /// One that asks so often, and waits for an answer so long.
    pub(crate) fn new(every: Duration, patience: Duration, now: Instant) -> Self {
        Self {
            every,
            patience,
            requested: Vec::new(),
            next: now,
            last: (FIRST_ID - 1, now),
            waiting_since: None,
        }
    }

    /// These extensions are on.
    pub(crate) fn start(&mut self, extensions: Vec<u16>, now: Instant) {
        self.requested = extensions;
        self.next = now + self.every;
    }

    /// When to ask next.
    pub(crate) fn due(&self) -> Option<Instant> {
        (!self.requested.is_empty()).then_some(self.next)
    }

    /// The question, whether or not the one before it was answered: the pool is to hear it.
    pub(crate) fn beat(&mut self, now: Instant) -> ExtensionMessage {
        let request_id = self.last.0.checked_add(1).unwrap_or(FIRST_ID);
        self.last = (request_id, now);
        self.next = now + self.every;
        self.waiting_since.get_or_insert(now);
        ExtensionMessage::Request {
            request_id,
            requested: self.requested.clone(),
        }
    }

    /// An answer to the request with this id. Returns how long the newest question took, if it is the answer to that.
    pub(crate) fn answered(&mut self, request_id: u16, now: Instant) -> Option<Duration> {
        let (newest, asked) = self.last;
        let since = self.waiting_since.as_mut()?;
        if request_id == newest {
            self.waiting_since = None;
            return Some(now - asked);
        }
        if request_id >= FIRST_ID {
            // An older one: the pool reads, and has not come to the newest yet.
            *since = now;
        }
        None
    }

    /// The mint itself has not listened for so long: that is not the pool's silence.
    pub(crate) fn excuse(&mut self, time: Duration) {
        if let Some(since) = &mut self.waiting_since {
            *since += time;
        }
    }

    /// When the pool counts as gone, if no answer comes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting_since.map(|since| since + self.patience)
    }

    /// How long an answer may take.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const ON: [u16; 2] = [0x4D53, 0x4D51];

    fn beating(now: Instant) -> Heartbeat {
        let mut heartbeat = Heartbeat::new(3 * SECOND, 6 * SECOND, now);
        heartbeat.start(ON.to_vec(), now);
        heartbeat
    }

    fn id(message: &ExtensionMessage) -> u16 {
        let ExtensionMessage::Request { request_id, requested } = message else {
            panic!("{message:?}");
        };
        assert_eq!(requested, &ON);
        *request_id
    }

    #[test]
    fn nobody_is_asked_before_something_is_on() {
        let heartbeat = Heartbeat::new(SECOND, SECOND, Instant::now());
        assert_eq!((heartbeat.due(), heartbeat.deadline()), (None, None));
    }

    #[test]
    fn a_pool_that_stops_answering_is_given_up_nine_seconds_after_its_last_answer_at_most() {
        let start = Instant::now();
        let mut heartbeat = beating(start);
        let mut now = start;
        for question in 0..100 {
            assert_eq!((heartbeat.due(), heartbeat.deadline()), (Some(now + 3 * SECOND), None));
            now += 3 * SECOND;
            let asked = id(&heartbeat.beat(now));
            assert_eq!(asked, FIRST_ID + question);
            assert_eq!(heartbeat.deadline(), Some(now + 6 * SECOND));
            assert_eq!(heartbeat.answered(asked, now + SECOND), Some(SECOND));
            // Again, or to the negotiation: nothing.
            assert_eq!(heartbeat.answered(asked, now), None);
            assert_eq!(heartbeat.answered(1, now), None);
        }
        let last_answer = now;
        heartbeat.beat(now + 3 * SECOND);
        heartbeat.beat(now + 6 * SECOND);
        assert_eq!(heartbeat.deadline(), Some(last_answer + 9 * SECOND));
    }

    #[test]
    fn a_late_answer_begins_the_patience_anew_and_a_wrong_one_does_not() {
        let start = Instant::now();
        let mut heartbeat = beating(start);
        let first = id(&heartbeat.beat(start));
        let second = id(&heartbeat.beat(start + 3 * SECOND));
        for wrong in [0, 1, 2] {
            assert_eq!(heartbeat.answered(wrong, start + 5 * SECOND), None);
            assert_eq!(heartbeat.deadline(), Some(start + 6 * SECOND));
        }
        assert_eq!(heartbeat.answered(first, start + 5 * SECOND), None);
        assert_eq!(heartbeat.deadline(), Some(start + 11 * SECOND));
        assert_eq!(heartbeat.answered(second, start + 5 * SECOND), Some(2 * SECOND));
        assert_eq!(heartbeat.deadline(), None);
    }

    #[test]
    fn time_in_which_the_mint_does_not_listen_is_not_the_pools_silence() {
        let start = Instant::now();
        let mut heartbeat = beating(start);
        heartbeat.excuse(SECOND);
        assert_eq!(heartbeat.deadline(), None);
        heartbeat.beat(start);
        heartbeat.excuse(60 * SECOND);
        assert_eq!(heartbeat.deadline(), Some(start + 66 * SECOND));
    }

    #[test]
    fn ids_begin_anew_behind_those_of_the_negotiation() {
        let now = Instant::now();
        let mut heartbeat = beating(now);
        let ids: Vec<_> = (0..70_000).map(|_| id(&heartbeat.beat(now))).collect();
        assert_eq!(ids.iter().min(), Some(&FIRST_ID));
        let wrap = ids.iter().position(|id| *id == u16::MAX).unwrap();
        assert_eq!(ids[wrap + 1], FIRST_ID);
    }
}
