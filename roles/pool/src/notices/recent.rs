//! The quotes that were acknowledged lately, by followed key, and up to where that is all of them. No I/O, no clock.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;

use crate::outbox::{AcknowledgedQuote, Acknowledgements};

type LockingKey = [u8; 33];

/// Recent quotes of the keys that are followed; of the others nothing is kept.
pub(super) struct Recent {
    keys: HashMap<LockingKey, Key>,
    /// Whose quotes there are, the oldest first: whose go when there are too many. Has entries of keys that are no longer
    /// followed, until it is their turn.
    order: VecDeque<(LockingKey, u64)>,
    room: usize,
    /// How far in the outbox this has come.
    upto: u64,
}

struct Key {
    followers: usize,
    /// Wakes those that wait for more.
    changed: Arc<Notify>,
    /// In the order of their cursors: all of this key with a cursor above `complete_after`.
    quotes: VecDeque<AcknowledgedQuote>,
    complete_after: u64,
}

/// What comes after a cursor.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// These, up to this cursor.
    Quotes {
        quotes: Vec<AcknowledgedQuote>,
        cursor: u64,
    },
    /// Nothing yet.
    Nothing,
    /// That is no longer here, but in the file, complete as far as `upto` by now.
    InFile { upto: u64 },
}

impl Recent {
    /// Begins with what the outbox acknowledges after `upto`; keeps `room` quotes at most.
    pub(super) fn new(upto: u64, room: usize) -> Self {
        Self {
            keys: HashMap::new(),
            order: VecDeque::new(),
            room,
            upto,
        }
    }

    /// A key has a follower more. Returns what wakes it.
    pub(super) fn follow(&mut self, locking_key: LockingKey) -> Arc<Notify> {
        let upto = self.upto;
        let key = self.keys.entry(locking_key).or_insert_with(|| Key {
            followers: 0,
            changed: Arc::default(),
            quotes: VecDeque::new(),
            complete_after: upto,
        });
        key.followers += 1;
        Arc::clone(&key.changed)
    }

    /// A key has a follower less.
    pub(super) fn leave(&mut self, locking_key: &LockingKey) {
        if let Some(key) = self.keys.get_mut(locking_key) {
            key.followers = key.followers.saturating_sub(1);
            if key.followers == 0 {
                self.keys.remove(locking_key);
            }
        }
    }

    /// At most `limit` quotes of a key after a cursor; without one, the file is to be read from its beginning.
    pub(super) fn after(&self, locking_key: &LockingKey, cursor: Option<u64>, limit: usize) -> Next {
        let in_file = Next::InFile { upto: self.upto };
        // Without an entry nobody follows it.
        let (Some(cursor), Some(key)) = (cursor, self.keys.get(locking_key)) else {
            return in_file;
        };
        if cursor < key.complete_after {
            return in_file;
        }
        let first = key.quotes.partition_point(|quote| quote.cursor <= cursor);
        let quotes: Vec<_> = key.quotes.iter().skip(first).take(limit).cloned().collect();
        match quotes.last().map(|quote| quote.cursor) {
            Some(cursor) => Next::Quotes { quotes, cursor },
            None => Next::Nothing,
        }
    }

    /// Takes what a commit has acknowledged and wakes who waits for it. What was missed before it is in the file.
    pub(super) fn take(&mut self, news: &Acknowledgements) {
        if news.after > self.upto {
            self.forget_all(news.after);
        }
        for quote in news.quotes.iter().filter(|quote| quote.cursor > self.upto) {
            if let Some(key) = self.keys.get_mut(&quote.locking_key) {
                key.quotes.push_back(quote.clone());
                self.order.push_back((quote.locking_key, quote.cursor));
                key.changed.notify_waiters();
            }
        }
        self.upto = self.upto.max(news.upto);
        while self.order.len() > self.room {
            self.forget_oldest();
        }
    }

    /// Something up to `upto` was missed: everybody looks into the file.
    fn forget_all(&mut self, upto: u64) {
        self.order.clear();
        for key in self.keys.values_mut() {
            key.quotes = VecDeque::new();
            key.complete_after = upto;
            key.changed.notify_waiters();
        }
        self.upto = upto;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys
            .values()
            .map(|key| key.quotes.len())
            .sum::<usize>()
            .max(self.order.len())
    }

    #[cfg(test)]
    pub(super) fn followed(&self) -> usize {
        self.keys.len()
    }

    fn forget_oldest(&mut self) {
        let Some((locking_key, cursor)) = self.order.pop_front() else {
            return;
        };
        let Some(key) = self.keys.get_mut(&locking_key) else {
            return;
        };
        // Of a key that was left and is followed again, the entries of before mean nothing.
        if key.quotes.front().is_some_and(|oldest| oldest.cursor == cursor) {
            key.quotes.pop_front();
            key.complete_after = cursor;
            if key.quotes.is_empty() {
                key.quotes = VecDeque::new();
            }
        }
    }
}
