//! Followers on real outboxes: what is acknowledged reaches them once and in order, whatever they do meanwhile.

use std::path::PathBuf;

use futures::FutureExt as _;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::outbox::{AcceptedShare, Answer, OutboxConfig, Settlement, ShareId};

struct Pool {
    dir: TempDir,
    outbox: Outbox,
    notices: Notices,
    shares: u32,
}

impl Pool {
    async fn new() -> Self {
        Self::with_room(RECENT_QUOTES)
    }

    fn with_room(room: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let outbox = open(&file(&dir));
        Self {
            notices: Notices::with_room(outbox.clone(), room),
            dir,
            outbox,
            shares: 0,
        }
    }

    /// The pool ends and another begins on the same file.
    async fn restart(&mut self, room: usize) {
        self.outbox.close().await;
        self.outbox = open(&file(&self.dir));
        self.notices = Notices::with_room(self.outbox.clone(), room);
    }

    /// Has the mint acknowledge a share for each of these keys, in one commit. Returns the quotes' ids, in their order.
    async fn acknowledge(&mut self, keys: impl IntoIterator<Item = u8>) -> Vec<String> {
        let outbox = self.outbox.clone();
        self.acknowledge_by(&outbox, keys).await
    }

    async fn acknowledge_by(&mut self, outbox: &Outbox, keys: impl IntoIterator<Item = u8>) -> Vec<String> {
        let first = self.shares;
        let adding = keys.into_iter().map(|key| {
            let share = share(self.shares, key);
            self.shares += 1;
            async move { outbox.enqueue(share).await.unwrap() }
        });
        futures::future::join_all(adding.collect::<Vec<_>>()).await;
        let waiting = outbox.waiting_after(ShareId::default(), 1000).await.unwrap();
        assert_eq!(waiting.len(), (self.shares - first) as usize);
        let id_of = |share: &AcceptedShare| quote_id(u32::from_le_bytes(*share.header_hash.first_chunk().unwrap()));
        let settlements = waiting.iter().map(|row| Settlement {
            id: row.id,
            answer: Answer::Acknowledged {
                quote_id: Some(id_of(&row.share)),
            },
        });
        assert_eq!(outbox.settle(settlements.collect()).await.unwrap(), waiting.len());
        waiting.iter().map(|row| id_of(&row.share)).collect()
    }
}

fn file(dir: &TempDir) -> PathBuf {
    dir.path().join("outbox.sqlite")
}

fn open(file: &PathBuf) -> Outbox {
    Outbox::open(file, &OutboxConfig::default()).unwrap()
}

fn quote_id(n: u32) -> String {
    format!("q{n:06}")
}

fn key(n: u8) -> [u8; 33] {
    let mut key = [2; 33];
    key[1] = n;
    key
}

fn share(n: u32, to: u8) -> AcceptedShare {
    let mut header_hash = [7; 32];
    header_hash[..4].copy_from_slice(&n.to_le_bytes());
    AcceptedShare {
        header_hash,
        amount: 1 + u64::from(n),
        locking_key: key(to),
    }
}

/// A follower and what it has seen.
struct Seen {
    follower: Follower,
    key: u8,
    quotes: Vec<AcknowledgedQuote>,
}

impl Seen {
    fn new(notices: &Notices, to: u8) -> Self {
        Self {
            follower: notices.follow(key(to)),
            key: to,
            quotes: Vec::new(),
        }
    }

    fn take(&mut self, quotes: Vec<AcknowledgedQuote>) {
        assert!((1..=MAX_QUOTES).contains(&quotes.len()), "{}", quotes.len());
        assert!(quotes.iter().all(|quote| quote.locking_key == key(self.key)));
        self.quotes.extend(quotes);
    }

    /// Waits until it has seen this many, and sees that there are no more.
    async fn until(&mut self, count: usize) {
        while self.quotes.len() < count {
            let quotes = self.follower.next().await;
            self.take(quotes);
        }
        assert_eq!(self.quotes.len(), count);
        assert_eq!(self.follower.next().now_or_never(), None);
        assert!(self.quotes.is_sorted_by(|a, b| a.cursor < b.cursor));
    }

    fn ids(&self) -> Vec<&str> {
        self.quotes.iter().map(|quote| quote.quote_id.as_str()).collect()
    }
}

#[tokio::test]
async fn a_follower_gets_what_is_kept_and_then_what_comes() {
    let mut pool = Pool::new().await;
    let kept = pool.acknowledge([1, 1, 2]).await;
    let mut seen = Seen::new(&pool.notices, 1);
    seen.until(2).await;
    let new = pool.acknowledge([2, 1]).await;
    seen.until(3).await;
    assert_eq!(seen.ids(), [&kept[0], &kept[1], &new[1]]);
    assert_eq!(seen.quotes[2].amount, 5);
    // Nothing for it: it goes on waiting.
    pool.acknowledge([2]).await;
    seen.until(3).await;
}

#[tokio::test]
async fn a_follower_that_waits_is_woken() {
    let mut pool = Pool::new().await;
    let mut seen = Seen::new(&pool.notices, 1);
    seen.until(0).await;
    let waiting = tokio::spawn(async move {
        seen.until(1).await;
        seen
    });
    let ids = pool.acknowledge([1]).await;
    assert_eq!(waiting.await.unwrap().ids(), ids);
}

#[tokio::test]
async fn all_followers_of_a_key_get_everything() {
    let mut pool = Pool::new().await;
    let mut early = Seen::new(&pool.notices, 1);
    pool.acknowledge([1; 10]).await;
    early.until(10).await;
    let mut late = Seen::new(&pool.notices, 1);
    pool.acknowledge([1; 10]).await;
    drop(Seen::new(&pool.notices, 1));
    early.until(20).await;
    late.until(20).await;
    assert_eq!(early.quotes, late.quotes);
}

#[tokio::test]
async fn new_quotes_of_many_followers_cost_no_read_of_the_file() {
    let mut pool = Pool::new().await;
    let mut all: Vec<_> = (0..250).map(|n| Seen::new(&pool.notices, n)).collect();
    pool.acknowledge(0..250).await;
    for seen in &mut all {
        seen.until(1).await;
    }
    // From here on whoever wants to read waits for ever.
    let _places = Arc::clone(&pool.notices.shared.readers)
        .acquire_many_owned(READERS as u32)
        .await
        .unwrap();
    for round in 2..=5 {
        pool.acknowledge(0..250).await;
        for seen in &mut all {
            seen.until(round).await;
        }
    }
}

#[tokio::test]
async fn a_slow_follower_reads_the_file_and_memory_stays_bounded() {
    let mut pool = Pool::with_room(8);
    let (mut slow, mut other) = (Seen::new(&pool.notices, 1), Seen::new(&pool.notices, 2));
    slow.until(0).await;
    let mut expected = Vec::new();
    for _ in 0..3 {
        // More than one page, and far more than there is room for.
        expected.extend(pool.acknowledge([1; 300]).await);
        pool.acknowledge([2]).await;
        other.until(expected.len() / 300).await;
        assert!(pool.notices.shared.recent().len() <= 8);
    }
    slow.until(900).await;
    assert_eq!(slow.ids(), expected);
}

#[tokio::test]
async fn a_call_that_is_dropped_loses_nothing_and_still_gets_somewhere() {
    let mut pool = Pool::new().await;
    let expected = pool.acknowledge([1; 600]).await;
    let mut seen = Seen::new(&pool.notices, 1);
    // Never waited for: polled once and dropped, again and again.
    while seen.quotes.len() < 600 {
        if let Some(quotes) = seen.follower.next().now_or_never() {
            seen.take(quotes);
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(seen.ids(), expected);
}

#[tokio::test]
async fn followers_that_are_left_alone_in_the_middle_stop_nobody() {
    let mut pool = Pool::new().await;
    pool.acknowledge([1]).await;
    let mut idle: Vec<_> = (0..READERS + 1).map(|_| Seen::new(&pool.notices, 1)).collect();
    for seen in &mut idle {
        assert_eq!(seen.follower.next().now_or_never(), None);
    }
    Seen::new(&pool.notices, 1).until(1).await;
}

#[tokio::test]
async fn after_a_restart_everything_kept_is_told_again() {
    let mut pool = Pool::new().await;
    let mut expected = pool.acknowledge([1; 3]).await;
    let mut before = Seen::new(&pool.notices, 1);
    before.until(3).await;
    pool.restart(RECENT_QUOTES).await;
    let mut seen = Seen::new(&pool.notices, 1);
    expected.extend(pool.acknowledge([1; 2]).await);
    seen.until(5).await;
    assert_eq!(seen.ids(), expected);
    assert_eq!(before.follower.next().now_or_never(), None, "its outbox is closed");
}

#[tokio::test]
async fn what_another_process_acknowledges_is_told_too() {
    let mut pool = Pool::new().await;
    let mut seen = Seen::new(&pool.notices, 1);
    seen.until(0).await;
    let other = open(&file(&pool.dir));
    let mut expected = pool.acknowledge_by(&other, [1, 2]).await;
    expected.remove(1);
    seen.until(1).await;
    expected.extend(pool.acknowledge([1]).await);
    seen.until(2).await;
    assert_eq!(seen.ids(), expected);
}

#[tokio::test]
async fn keys_that_nobody_follows_any_more_take_no_room() {
    let mut pool = Pool::new().await;
    for to in 0..20 {
        let mut seen = Seen::new(&pool.notices, to);
        pool.acknowledge([to]).await;
        seen.until(1).await;
    }
    assert_eq!(pool.notices.shared.recent().followed(), 0);
}

/// What can happen, in any order.
#[derive(Debug, Clone)]
enum Step {
    /// One commit for these keys.
    Acknowledge(Vec<u8>),
    /// The same by another process on the file.
    Elsewhere(Vec<u8>),
    Follow(u8),
    /// This follower (modulo their number) is asked and not waited for.
    Poll(usize),
    /// This follower is asked until it has something, if it must have something.
    Next(usize),
    Leave(usize),
    Restart,
}

const KEYS: u8 = 3;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let keys = || prop::collection::vec(0..KEYS, 1..8);
    let step = prop_oneof![
        5 => keys().prop_map(Step::Acknowledge),
        1 => keys().prop_map(Step::Elsewhere),
        3 => (0..KEYS).prop_map(Step::Follow),
        6 => any::<usize>().prop_map(Step::Poll),
        3 => any::<usize>().prop_map(Step::Next),
        1 => any::<usize>().prop_map(Step::Leave),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

async fn each_follower_sees_its_quotes_once_and_in_order(room: usize, steps: Vec<Step>) {
    let mut pool = Pool::with_room(room);
    let mut followers: Vec<Seen> = Vec::new();
    let mut totals = [0_usize; KEYS as usize];
    for step in steps {
        match step {
            Step::Acknowledge(keys) => {
                keys.iter().for_each(|key| totals[usize::from(*key)] += 1);
                pool.acknowledge(keys).await;
            }
            Step::Elsewhere(keys) => {
                keys.iter().for_each(|key| totals[usize::from(*key)] += 1);
                let other = open(&file(&pool.dir));
                pool.acknowledge_by(&other, keys).await;
            }
            Step::Follow(to) => followers.push(Seen::new(&pool.notices, to)),
            Step::Restart => {
                pool.restart(room).await;
                let again: Vec<_> = followers.iter().map(|seen| seen.key).collect();
                followers = again.into_iter().map(|to| Seen::new(&pool.notices, to)).collect();
            }
            Step::Poll(_) | Step::Next(_) | Step::Leave(_) if followers.is_empty() => {}
            Step::Poll(at) => {
                let at = at % followers.len();
                if let Some(quotes) = followers[at].follower.next().now_or_never() {
                    followers[at].take(quotes);
                }
            }
            Step::Next(at) => {
                let at = at % followers.len();
                let seen = &mut followers[at];
                if seen.quotes.len() < totals[usize::from(seen.key)] {
                    let quotes = seen.follower.next().await;
                    seen.take(quotes);
                }
            }
            Step::Leave(at) => drop(followers.swap_remove(at % followers.len())),
        }
        assert!(pool.notices.shared.recent().len() <= room);
    }
    for seen in &mut followers {
        seen.until(totals[usize::from(seen.key)]).await;
        let kept = pool.outbox.quotes_of(key(seen.key), 0, 1000).await.unwrap();
        assert_eq!(seen.quotes, kept);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_follower_sees_exactly_the_quotes_of_its_key_in_order(room in prop_oneof![Just(2_usize), Just(1000)], steps in steps()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
            .block_on(each_follower_sees_its_quotes_once_and_in_order(room, steps));
    }
}
