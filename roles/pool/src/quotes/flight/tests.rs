//! The pump's logic on made-up time.

use std::collections::{BTreeMap, VecDeque};

use mint_link::HeaderHash as WireHash;
use proptest::prelude::*;

use super::*;
use crate::outbox::AcceptedShare;

const LIMITS: Limits = Limits {
    window: 4,
    answer_timeout: Duration::from_secs(10),
};
const SECOND: Duration = Duration::from_secs(1);

fn row(n: u8) -> WaitingShare {
    WaitingShare {
        id: ShareId(i64::from(n) + 1),
        share: AcceptedShare {
            header_hash: [n; 32],
            amount: 1,
            locking_key: [2; 33],
        },
    }
}

fn rows(range: std::ops::Range<u8>) -> Vec<WaitingShare> {
    range.map(row).collect()
}

fn created(n: u8) -> QuoteAnswer {
    QuoteAnswer::Created {
        header_hash: WireHash([n; 32]),
        quote_id: format!("q{n}"),
    }
}

fn refused(n: Option<u8>, code: RefusalCode, message: &str) -> QuoteAnswer {
    QuoteAnswer::Refused {
        header_hash: n.map(|n| WireHash([n; 32])),
        code,
        message: message.to_owned(),
    }
}

fn settled(n: u8, answer: Answer) -> Verdict {
    let id = row(n).id;
    Verdict::Settle([n; 32], Settlement { id, answer })
}

fn acknowledged(n: u8) -> Verdict {
    let quote_id = Some(format!("q{n}"));
    settled(n, Answer::Acknowledged { quote_id })
}

/// Sends all that may be sent.
fn send(flight: &mut Flight, now: Instant) -> Vec<u8> {
    std::iter::from_fn(|| flight.next(now))
        .map(|row| row.share.header_hash[0])
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_window_of_shares_is_on_the_way_and_moves_with_the_commits() {
    let now = Instant::now();
    let mut flight = Flight::new(LIMITS);
    flight.begin(Mode::Correlated);
    assert_eq!(flight.wants(), (ShareId(0), 4));
    flight.took(rows(0..4));
    assert_eq!(flight.wants(), (ShareId(4), 0));
    assert_eq!(send(&mut flight, now), [0, 1, 2, 3]);
    assert_eq!(flight.answered(created(2), now), acknowledged(2));
    assert_eq!(flight.wants().1, 0, "an answer holds its place until it is on the disk");
    flight.committed(&[2; 32]);
    assert_eq!(flight.wants(), (ShareId(4), 1));
    assert_eq!(flight.answered(created(2), now), Verdict::Unexpected);
    let conflict = refused(Some(0), RefusalCode::Conflict, "another key");
    let answer = Answer::Refused {
        code: 2,
        message: "another key".into(),
    };
    assert_eq!(flight.answered(conflict, now), settled(0, answer));
}

#[tokio::test(start_paused = true)]
async fn a_new_session_sends_everything_without_an_answer_again_oldest_first() {
    let now = Instant::now();
    let mut flight = Flight::new(LIMITS);
    flight.begin(Mode::Correlated);
    flight.took(rows(0..4));
    send(&mut flight, now);
    assert_eq!(flight.answered(created(1), now), acknowledged(1));
    flight.answered(refused(Some(0), RefusalCode::Busy, "later"), now);

    flight.begin(Mode::Correlated);
    // The answer of 1 is not on the disk yet: it is read again and must not be sent again.
    assert_eq!(flight.wants(), (ShareId(0), 3));
    flight.took(rows(0..3));
    assert_eq!(send(&mut flight, now), [0, 2]);
    assert_eq!(flight.wants(), (ShareId(3), 1));
}

#[tokio::test(start_paused = true)]
async fn a_busy_mint_is_asked_again_after_growing_pauses() {
    let mut now = Instant::now();
    let mut flight = Flight::new(LIMITS);
    flight.begin(Mode::Correlated);
    flight.took(rows(0..1));
    let mut pauses = Vec::new();
    for _ in 0..9 {
        assert_eq!(send(&mut flight, now), [0]);
        assert_eq!(
            flight.answered(refused(Some(0), RefusalCode::Busy, ""), now),
            Verdict::Later
        );
        let due = flight.next_timer().unwrap();
        pauses.push((due - now).as_millis());
        assert_eq!(flight.tick(due - Duration::from_nanos(1)), 0);
        assert!(!flight.has_next());
        now = due;
        assert_eq!(flight.tick(now), 0);
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_comes_again_and_a_late_answer_counts() {
    let now = Instant::now();
    let mut flight = Flight::new(LIMITS);
    flight.begin(Mode::Correlated);
    flight.took(rows(0..2));
    send(&mut flight, now);
    assert_eq!(flight.next_timer(), Some(now + 10 * SECOND));
    assert_eq!(flight.tick(now + 10 * SECOND), 2);
    assert_eq!(flight.answered(created(0), now + 10 * SECOND), acknowledged(0));
    assert_eq!(flight.tick(now + 11 * SECOND), 0);
    assert_eq!(send(&mut flight, now + 11 * SECOND), [1]);
}

#[tokio::test(start_paused = true)]
async fn toward_a_legacy_mint_exactly_one_is_outstanding() {
    let now = Instant::now();
    let mut flight = Flight::new(LIMITS);
    flight.begin(Mode::OneAtATime);
    flight.took(rows(0..4));
    assert_eq!(send(&mut flight, now), [0]);
    assert_eq!(flight.answered(created(0), now), acknowledged(0));
    assert_eq!(send(&mut flight, now), [1]);
    let duplicate = refused(None, RefusalCode::Other, "Duplicate entry");
    assert_eq!(
        flight.answered(duplicate.clone(), now),
        settled(1, Answer::Acknowledged { quote_id: None })
    );
    assert_eq!(
        flight.answered(duplicate, now),
        Verdict::Unexpected,
        "nothing is outstanding"
    );
    assert_eq!(send(&mut flight, now), [2]);
    let answer = Answer::Refused {
        code: 1,
        message: "no such unit".into(),
    };
    assert_eq!(
        flight.answered(refused(None, RefusalCode::Other, "no such unit"), now),
        settled(2, answer)
    );
    assert_eq!(send(&mut flight, now), [3]);
}

#[tokio::test(start_paused = true)]
async fn what_a_legacy_mint_is_silent_on_does_not_block_the_others_after_the_reconnect() {
    let now = Instant::now();
    let mut flight = Flight::new(LIMITS);
    flight.begin(Mode::OneAtATime);
    flight.took(rows(0..3));
    assert_eq!(send(&mut flight, now), [0]);
    assert_eq!(flight.tick(now + 10 * SECOND), 1);

    let later = now + 10 * SECOND;
    flight.begin(Mode::OneAtATime);
    flight.took(rows(0..3));
    assert_eq!(send(&mut flight, later), [1]);
    flight.answered(created(1), later);
    assert_eq!(flight.tick(later + SECOND), 0);
    assert_eq!(
        send(&mut flight, later + SECOND),
        [0],
        "it has its turn again, before the younger"
    );
}

#[tokio::test(start_paused = true)]
async fn a_late_upgrade_opens_the_window_and_ends_the_guessing() {
    let now = Instant::now();
    let mut flight = Flight::new(LIMITS);
    flight.begin(Mode::OneAtATime);
    flight.took(rows(0..3));
    assert_eq!(send(&mut flight, now), [0]);
    flight.upgrade();
    assert_eq!(send(&mut flight, now), [1, 2]);
    let nameless = refused(None, RefusalCode::Other, "whose?");
    assert_eq!(flight.answered(nameless, now), Verdict::Unexpected);
}

/// What can happen between outbox and mint.
#[derive(Debug, Clone)]
enum Step {
    Accept,
    Pump,
    /// The mint answers the request at this place of those it has; by this kind of answer.
    Answer(usize, u8),
    Commit,
    Reconnect(bool),
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Accept),
        4 => Just(Step::Pump),
        4 => (any::<usize>(), 0u8..6).prop_map(|(place, kind)| Step::Answer(place, kind)),
        2 => Just(Step::Commit),
        1 => any::<bool>().prop_map(Step::Reconnect),
        1 => (0u16..20_000).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..120)
}

/// An outbox, a flight and a mint.
struct World {
    now: Instant,
    flight: Flight,
    legacy: bool,
    accepted: u8,
    answers: BTreeMap<ShareId, Answer>,
    settling: Vec<(HeaderHash, Settlement)>,
    /// What the mint of this session has been asked, in order.
    asked: VecDeque<u8>,
}

impl World {
    fn new() -> Self {
        let mut flight = Flight::new(LIMITS);
        flight.begin(Mode::Correlated);
        Self {
            now: Instant::now(),
            flight,
            legacy: false,
            accepted: 0,
            answers: BTreeMap::new(),
            settling: Vec::new(),
            asked: VecDeque::new(),
        }
    }

    fn pump(&mut self) {
        let (after, room) = self.flight.wants();
        let waiting = rows(0..self.accepted).into_iter();
        self.flight.took(
            waiting
                .filter(|row| row.id > after && !self.answers.contains_key(&row.id))
                .take(room),
        );
        let sent = send(&mut self.flight, self.now);
        assert!(!self.legacy || self.asked.len() + sent.len() <= 1, "one at a time");
        for n in &sent {
            assert!(!self.answers.contains_key(&row(*n).id), "{n} has its answer");
            assert!(
                !self.settling.iter().any(|(hash, _)| hash[0] == *n),
                "{n} has its answer, in memory"
            );
        }
        self.asked.extend(sent);
        assert!(self.flight.entries.len() + self.flight.queue.len() <= LIMITS.window);
    }

    fn answer(&mut self, place: usize, kind: u8) {
        let Some(n) = self.asked.remove(place % self.asked.len().max(1)) else {
            return;
        };
        let named = (!self.legacy).then_some(n);
        let answer = match kind {
            0 => return, // It never answers.
            1 if !self.legacy => refused(named, RefusalCode::Busy, "busy"),
            2 => refused(named, RefusalCode::Amount, "no"),
            3 if self.legacy => refused(None, RefusalCode::Other, "Duplicate entry"),
            _ => created(n),
        };
        if let Verdict::Settle(hash, settlement) = self.flight.answered(answer, self.now) {
            assert_eq!(hash[0], n, "an answer reaches its own share");
            self.settling.push((hash, settlement));
        }
    }

    fn commit(&mut self) {
        for (hash, settlement) in self.settling.drain(..) {
            assert_eq!(
                self.answers.insert(settlement.id, settlement.answer),
                None,
                "settled twice"
            );
            self.flight.committed(&hash);
        }
    }

    fn reconnect(&mut self, legacy: bool) {
        self.legacy = legacy;
        self.asked.clear();
        self.flight
            .begin(if legacy { Mode::OneAtATime } else { Mode::Correlated });
    }

    fn wait(&mut self, ms: u16) {
        self.now += Duration::from_millis(ms.into());
        if self.flight.tick(self.now) > 0 && self.legacy {
            // The pump ends a legacy session that was silent: what it says later could mean anything.
            self.reconnect(true);
        }
    }
}

proptest! {
    #[test]
    fn every_share_is_settled_once_whatever_the_mint_does(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Accept => world.accepted = world.accepted.saturating_add(1),
                Step::Pump => world.pump(),
                Step::Answer(place, kind) => world.answer(place, kind),
                Step::Commit => world.commit(),
                Step::Reconnect(legacy) => world.reconnect(legacy),
                Step::Wait(ms) => world.wait(ms),
            }
        }
        // In the end a mint that answers.
        world.reconnect(false);
        for _ in 0..=world.accepted {
            world.pump();
            while !world.asked.is_empty() {
                world.answer(0, 5);
            }
            world.commit();
        }
        prop_assert_eq!(world.answers.len(), usize::from(world.accepted));
    }
}
