//! The ids of the quotes that wait, in the order of their arrival.
//!
//! The wallet's database has them all; this is the part that is needed to decide what comes next, so that a round costs
//! as much with a hundred thousand waiting as with ten.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// A quote's id; short and shared.
pub(super) type QuoteId = Arc<str>;

/// How many quotes may wait or be refused: some 40 MB, and five hours of ten shares a second.
pub(super) const MAX_QUOTES: usize = 200_000;

/// How many quotes that are done with are remembered, some 20 MB. A pool may tell of more: the mint is asked again then.
pub(super) const MAX_SETTLED: usize = 200_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    InLine,
    InHand,
    Refused,
}

/// Who waits, who is being served, and who won't be served until the next start.
#[derive(Debug, Default)]
pub(super) struct Queue {
    places: HashMap<QuoteId, Place>,
    line: VecDeque<QuoteId>,
    refused: usize,
    settled: Settled,
}

/// Quotes that are done with, as far as remembered: pools tell of them again, and the mint need not be asked each time.
#[derive(Debug, Default)]
struct Settled {
    ids: HashSet<QuoteId>,
    order: VecDeque<QuoteId>,
}

impl Settled {
    fn insert(&mut self, id: QuoteId) {
        if !self.ids.insert(Arc::clone(&id)) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > MAX_SETTLED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

impl Queue {
    /// Whether the quote waits, is refused, or was settled not long ago.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.places.contains_key(id) || self.settled.ids.contains(id)
    }

    pub(super) fn is_full(&self) -> bool {
        self.places.len() >= MAX_QUOTES
    }

    /// Quotes that wait in line.
    pub(super) fn in_line(&self) -> usize {
        self.line.len()
    }

    /// Quotes that are not minted yet, those in hand included and those refused not.
    pub(super) fn waiting(&self) -> usize {
        self.places.len() - self.refused
    }

    pub(super) fn refused(&self) -> usize {
        self.refused
    }

    /// Puts a quote at the end of the line, unless it is known.
    pub(super) fn push(&mut self, id: QuoteId) {
        if !self.places.contains_key(&id) {
            self.places.insert(Arc::clone(&id), Place::InLine);
            self.line.push_back(id);
        }
    }

    /// Takes up to `max` quotes from the front of the line in hand.
    pub(super) fn take(&mut self, max: usize) -> Vec<QuoteId> {
        let ids: Vec<_> = self.line.drain(..max.min(self.line.len())).collect();
        for id in &ids {
            self.places.insert(Arc::clone(id), Place::InHand);
        }
        ids
    }

    /// Puts those of `ids` that are still in hand at the end of the line, or at its front; says how many they were.
    pub(super) fn put_back(&mut self, ids: Vec<QuoteId>, to_front: bool) -> usize {
        let in_hand = |id: &QuoteId| self.places.get(id) == Some(&Place::InHand);
        let still: Vec<_> = ids.into_iter().filter(in_hand).collect();
        for id in &still {
            self.places.insert(Arc::clone(id), Place::InLine);
        }
        let count = still.len();
        if to_front {
            still.into_iter().rev().for_each(|id| self.line.push_front(id));
        } else {
            self.line.extend(still);
        }
        count
    }

    /// Takes out a quote that is done with: it is not to come up again.
    pub(super) fn settle(&mut self, id: &str) {
        self.remove(id);
        self.settled.insert(id.into());
    }

    /// Forgets a quote. True when it was known.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        match self.places.remove(id) {
            Some(Place::InHand) => true,
            Some(Place::InLine) => {
                self.line.retain(|other| &**other != id);
                true
            }
            Some(Place::Refused) => {
                self.refused -= 1;
                true
            }
            None => false,
        }
    }

    /// Keeps a quote that is in hand from coming up again.
    pub(super) fn refuse(&mut self, id: &str) {
        if let Some(place) = self.places.get_mut(id).filter(|place| **place == Place::InHand) {
            *place = Place::Refused;
            self.refused += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(ids: &[&str]) -> Queue {
        let mut queue = Queue::default();
        ids.iter().for_each(|id| queue.push((*id).into()));
        queue
    }

    fn all(queue: &mut Queue) -> Vec<String> {
        queue.take(usize::MAX).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn quotes_are_served_in_the_order_of_arrival_and_once() {
        let mut queue = queue(&["a", "b", "a", "c"]);
        assert_eq!(queue.waiting(), 3);
        assert_eq!(queue.take(2).len(), 2);
        queue.push("a".into());
        assert_eq!((queue.in_line(), queue.waiting()), (1, 3));
        assert_eq!(all(&mut queue), ["c"]);
    }

    #[test]
    fn what_could_not_be_served_goes_back_to_where_it_was_told_to() {
        let mut queue = queue(&["a", "b", "c"]);
        let ids = queue.take(2);
        queue.put_back(ids, true);
        let ids = queue.take(1);
        queue.put_back(ids, false);
        assert_eq!(all(&mut queue), ["b", "c", "a"]);
    }

    #[test]
    fn what_is_settled_or_refused_does_not_go_back() {
        let mut queue = queue(&["a", "b", "c"]);
        let ids = queue.take(3);
        assert!(queue.remove("a"));
        assert!(!queue.remove("a"));
        queue.refuse("b");
        queue.put_back(ids, false);
        assert_eq!((queue.in_line(), queue.waiting(), queue.refused()), (1, 1, 1));
        queue.push("b".into());
        assert_eq!(queue.in_line(), 1);
        assert!(queue.remove("b") && queue.remove("c"));
        assert_eq!((queue.in_line(), queue.waiting(), queue.refused()), (0, 0, 0));
    }

    #[test]
    fn what_is_settled_is_known_until_too_many_are() {
        let mut queue = queue(&["a"]);
        queue.settle("a");
        assert!(queue.knows("a"));
        assert_eq!(queue.waiting(), 0);
        for number in 1..MAX_SETTLED {
            queue.settle(&number.to_string());
        }
        assert!(queue.knows("a"));
        queue.settle("1");
        assert!(queue.knows("a"), "settled twice counts once");
        queue.settle("one more");
        assert!(!queue.knows("a") && queue.knows("1"));
    }
}
