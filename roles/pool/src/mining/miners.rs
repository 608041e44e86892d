//! Who is mining: the registry that sessions write and the page reads.
//!
//! An entry lives as long as its channel: dropping it removes the row. So a miner that is gone is gone from the page the
//! moment its session ends.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::channels::GROUP;

/// The registry; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Miners(Arc<Registry>);

#[derive(Debug, Default)]
struct Registry {
    rows: Mutex<Rows>,
    connections: AtomicUsize,
}

/// The open channels of all connections, by the number that miners know them by.
#[derive(Debug)]
struct Rows {
    open: BTreeMap<u32, Arc<Row>>,
    next: u32,
}

/// The first channel's number. The one before is that of each connection's group.
const FIRST: u32 = GROUP + 1;

impl Default for Rows {
    fn default() -> Self {
        Self {
            open: BTreeMap::new(),
            next: FIRST,
        }
    }
}

impl Rows {
    /// A number that no open channel has. It comes again after four thousand million others.
    fn vacant(&mut self) -> u32 {
        loop {
            let id = self.next;
            self.next = id.checked_add(1).unwrap_or(FIRST);
            if !self.open.contains_key(&id) {
                return id;
            }
        }
    }
}

/// The kind of a channel (SV2 specification, section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The miner rolls nothing but the header.
    Standard,
    /// The miner rolls an extranonce too.
    Extended,
}

/// One open channel at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Miner {
    /// Names the channel and no other of the pool, also to its miner; newer ones have higher numbers.
    pub id: u32,
    /// What the miner calls itself, as public pages show it.
    pub identity: String,
    /// The kind of channel.
    pub kind: Kind,
    /// Hashes per second by accepted work; `None` until a few shares have come.
    pub hashrate: Option<f64>,
    /// Shares accepted.
    pub accepted: u64,
    /// Shares refused, for whatever reason.
    pub rejected: u64,
    /// Quotes that its shares have earned.
    pub quotes: u64,
    /// Time since the last accepted share.
    pub last_share: Option<Duration>,
    /// Time since the channel was opened.
    pub connected: Duration,
    /// Whether its shares have a key to lock quotes to.
    pub earns: bool,
}

/// All that the registry knows at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MinersView {
    /// Connections that are set up.
    pub connections: u64,
    /// Channels open.
    pub channels: u64,
    /// Hashes per second of all channels together; `None` while no channel has one.
    pub hashrate: Option<f64>,
    /// The channels; those with the newest shares if there are more than were asked for.
    pub listed: Vec<Miner>,
}

#[derive(Debug)]
struct Row {
    identity: String,
    kind: Kind,
    opened: Instant,
    earns: bool,
    accepted: AtomicU64,
    rejected: AtomicU64,
    quotes: AtomicU64,
    pulse: Mutex<Pulse>,
}

/// Accepted work, the older the less it counts.
#[derive(Debug, Default, Clone, Copy)]
struct Pulse {
    /// Expected hashes, decayed to `last`.
    hashes: f64,
    last: Option<Instant>,
}

/// The time in which work loses most of its weight. At 6 shares a minute the estimate is right within a fifth.
const MEMORY: f64 = 180.0;
/// Shares and age from which on an estimate means something.
const ENOUGH_SHARES: u64 = 3;
const ENOUGH_AGE: Duration = Duration::from_secs(5);

impl Pulse {
    fn share(&mut self, hashes: f64, now: Instant) {
        self.hashes = self.at(now) + hashes;
        self.last = Some(now);
    }

    fn at(&self, now: Instant) -> f64 {
        let age = self.last.map_or(0.0, |last| now.duration_since(last).as_secs_f64());
        self.hashes * (-age / MEMORY).exp()
    }

    /// Without bias at any age: a constant rate gives itself.
    fn rate(&self, opened: Instant, now: Instant) -> f64 {
        let age = now.duration_since(opened).as_secs_f64();
        self.at(now) / (MEMORY * (1.0 - (-age / MEMORY).exp()))
    }
}

impl Row {
    fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self, id: u32, now: Instant) -> Miner {
        let pulse = *self.pulse();
        let (accepted, connected) = (self.accepted.load(Relaxed), now.duration_since(self.opened));
        let known = accepted >= ENOUGH_SHARES && connected >= ENOUGH_AGE;
        Miner {
            id,
            identity: self.identity.clone(),
            kind: self.kind,
            hashrate: known.then(|| pulse.rate(self.opened, now)),
            accepted,
            rejected: self.rejected.load(Relaxed),
            quotes: self.quotes.load(Relaxed),
            last_share: pulse.last.map(|last| now.duration_since(last)),
            connected,
            earns: self.earns,
        }
    }
}

impl Miners {
    /// A connection that is set up; it counts until the guard is dropped.
    pub(crate) fn connect(&self) -> Connected {
        self.0.connections.fetch_add(1, Relaxed);
        Connected(self.clone())
    }

    /// A channel that was opened; it is listed until the entry is dropped.
    pub(crate) fn open(&self, identity: String, kind: Kind, earns: bool, now: Instant) -> Entry {
        let row = Arc::new(Row {
            identity,
            kind,
            opened: now,
            earns,
            accepted: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            quotes: AtomicU64::new(0),
            pulse: Mutex::default(),
        });
        let id = {
            let mut rows = self.rows();
            let id = rows.vacant();
            rows.open.insert(id, Arc::clone(&row));
            id
        };
        Entry {
            id,
            row,
            miners: self.clone(),
        }
    }

    /// What is known now; lists at most `most` channels.
    #[must_use]
    pub fn view(&self, most: usize, now: Instant) -> MinersView {
        let rows: Vec<(u32, Arc<Row>)> = {
            let rows = self.rows();
            rows.open.iter().map(|(id, row)| (*id, Arc::clone(row))).collect()
        };
        let mut listed: Vec<Miner> = rows.iter().map(|(id, row)| row.view(*id, now)).collect();
        let rates = listed.iter().filter_map(|miner| miner.hashrate);
        let view = MinersView {
            connections: self.0.connections.load(Relaxed) as u64,
            channels: listed.len() as u64,
            hashrate: rates.fold(None, |sum, rate| Some(sum.unwrap_or(0.0) + rate)),
            listed: Vec::new(),
        };
        if listed.len() > most {
            listed.sort_by_key(|miner| (miner.last_share.unwrap_or(Duration::MAX), miner.id));
            listed.truncate(most);
        }
        MinersView { listed, ..view }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in the registry.
#[derive(Debug)]
pub(crate) struct Connected(Miners);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.0.connections.fetch_sub(1, Relaxed);
    }
}

/// A channel in the registry.
#[derive(Debug)]
pub(crate) struct Entry {
    id: u32,
    row: Arc<Row>,
    miners: Miners,
}

impl Entry {
    /// What its miner is to know the channel by (SV2's `channel_id`): a number of its own in the whole pool, so that a
    /// miner's log and the pool's page speak of the same one.
    pub(crate) fn channel_id(&self) -> u32 {
        self.id
    }

    /// A share was accepted that took so many hashes on average, and earned a quote or not.
    pub(crate) fn accepted(&self, hashes: f64, earned_quote: bool, now: Instant) {
        self.row.accepted.fetch_add(1, Relaxed);
        self.row.quotes.fetch_add(u64::from(earned_quote), Relaxed);
        self.row.pulse().share(hashes, now);
    }

    pub(crate) fn rejected(&self) {
        self.row.rejected.fetch_add(1, Relaxed);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.miners.rows().open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_rate_is_told_from_the_first_shares_on_and_fades_without_them() {
        let miners = Miners::default();
        let start = Instant::now();
        let entry = miners.open("alice".to_owned(), Kind::Standard, true, start);
        assert_eq!(miners.view(9, start).hashrate, None);
        let mut now = start;
        for share in 1..=600 {
            now = start + Duration::from_secs(share);
            entry.accepted(1000.0, true, now);
            let view = miners.view(9, now);
            match view.listed[0].hashrate {
                None => assert!(share < 5),
                Some(rate) => assert!((900.0..1250.0).contains(&rate), "{share}: {rate}"),
            }
        }
        let later = miners.view(9, now + Duration::from_secs(180));
        assert!(later.hashrate.unwrap() < 400.0);
        assert_eq!(later.listed[0].last_share, Some(Duration::from_secs(180)));
        assert_eq!(later.listed[0].accepted, 600);
    }

    #[test]
    fn a_row_goes_with_its_channel_and_a_long_list_shows_the_newest_shares() {
        let miners = Miners::default();
        let now = Instant::now();
        let connected = miners.connect();
        let entries: Vec<Entry> = (0..5)
            .map(|n| miners.open(n.to_string(), Kind::Extended, false, now))
            .collect();
        entries[3].accepted(1.0, false, now + Duration::from_secs(1));
        entries[1].accepted(1.0, true, now + Duration::from_secs(2));
        entries[1].rejected();
        let view = miners.view(2, now + Duration::from_secs(3));
        assert_eq!((view.connections, view.channels), (1, 5));
        assert_eq!(view.listed.iter().map(|m| &*m.identity).collect::<Vec<_>>(), ["1", "3"]);
        assert_eq!((view.listed[0].rejected, view.listed[0].quotes), (1, 1));
        assert_eq!(view.listed[1].quotes, 0, "an accepted share that earned nothing");
        drop((entries, connected));
        assert_eq!(miners.view(2, now), MinersView::default());
    }

    #[test]
    fn numbers_begin_anew_when_they_are_used_up_and_pass_over_those_that_are_taken() {
        let miners = Miners::default();
        let now = Instant::now();
        let open = || miners.open(String::new(), Kind::Standard, true, now);
        let (first, second) = (open(), open());
        assert_eq!((first.channel_id(), second.channel_id()), (GROUP + 1, GROUP + 2));
        miners.rows().next = u32::MAX;
        assert_eq!(open().channel_id(), u32::MAX);
        assert_eq!(open().channel_id(), GROUP + 3);
    }
}
