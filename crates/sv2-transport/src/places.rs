//! The places that a listener has for connections, and who makes room when all are taken.
//!
//! Anybody can connect and say nothing until a deadline passes, so a full house must not keep those out whom the listener
//! is there for: a newcomer gets the place of somebody who has not been admitted yet. Whose it is decides what an attacker
//! can do who dials on and on while an honest peer shakes hands. The oldest of all would not do, for it would be the honest
//! peer as soon as enough others have come; nor would only those that are old enough, for then a few dials a second would
//! keep the door shut. So it is one
//! 1. of the source that would hold the most such places: whoever fills the house pushes out himself, and who comes from
//!    another address stays, however fast he dials;
//! 2. of these, one that has come least far: who dials speaks first in Noise, and at once, so that silent peers beside him,
//!    behind one address translation with him, go before he does;
//! 3. of these, the oldest.
//!
//! What remains is who has as many addresses as there are places, and who shares the honest peer's address and shakes hands
//! faster than he does.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// How far a peer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It is connected.
    Silent,
    /// The Noise handshake is done.
    Shaken,
    /// SetupConnection is answered.
    SetUp,
    /// It is let in. From here on it keeps its place.
    Admitted,
}

/// Somebody newer got the place of this peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("made room for a newer connection: all places were taken, and this peer had not been admitted yet")]
pub struct Evicted;

/// All places of a listener, and who holds them.
#[derive(Debug)]
pub struct Places {
    most: usize,
    holders: Mutex<Holders>,
}

#[derive(Debug, Default)]
struct Holders {
    /// How many have come so far.
    came: u64,
    /// Those that are here, by the number of their coming.
    here: BTreeMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    source: IpAddr,
    stage: Stage,
    evicted: CancellationToken,
}

/// One place, held until this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    number: u64,
    evicted: CancellationToken,
}

impl Places {
    /// So many.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            holders: Mutex::default(),
        })
    }

    /// A place for a newcomer, who may have to be made room for. `None`: everybody here is admitted.
    pub fn take(self: &Arc<Self>, address: SocketAddr) -> Option<Place> {
        let source = source(address);
        let mut holders = self.lock();
        if holders.here.len() >= self.most {
            let number = holders.to_go(source)?;
            if let Some(gone) = holders.here.remove(&number) {
                gone.evicted.cancel();
            }
        }
        holders.came += 1;
        let (number, evicted) = (holders.came, CancellationToken::new());
        let holder = Holder {
            source,
            stage: Stage::Silent,
            evicted: evicted.clone(),
        };
        holders.here.insert(number, holder);
        Some(Place {
            places: Arc::clone(self),
            number,
            evicted,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holders {
    /// Who makes room for a newcomer from this source.
    fn to_go(&self, newcomer: IpAddr) -> Option<u64> {
        let waiting = || self.here.iter().filter(|(_, holder)| holder.stage < Stage::Admitted);
        let mut crowds = HashMap::from([(newcomer, 1_usize)]);
        for (_, holder) in waiting() {
            *crowds.entry(holder.source).or_default() += 1;
        }
        let rank = |(number, holder): &(&u64, &Holder)| {
            let crowd = crowds.get(&holder.source).copied().unwrap_or_default();
            (Reverse(crowd), holder.stage, **number)
        };
        waiting().min_by_key(rank).map(|(number, _)| *number)
    }
}

impl Place {
    /// The peer has come so far.
    ///
    /// # Errors
    /// It had to make room in this very moment.
    pub fn reached(&self, stage: Stage) -> Result<(), Evicted> {
        let mut holders = self.places.lock();
        let holder = holders.here.get_mut(&self.number).ok_or(Evicted)?;
        holder.stage = stage;
        Ok(())
    }

    /// Waits until the peer has to make room; for ever once it is admitted.
    pub async fn evicted(&self) -> Evicted {
        self.evicted.cancelled().await;
        Evicted
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().here.remove(&self.number);
    }
}

/// Who is taken for one: an IPv4 address, or the IPv6 network of 64 bits that one machine may have all addresses of.
fn source(address: SocketAddr) -> IpAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 64;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn is_here(place: &Place) -> bool {
        assert_eq!(
            place.evicted.is_cancelled(),
            !place.places.lock().here.contains_key(&place.number)
        );
        !place.evicted.is_cancelled()
    }

    #[test]
    fn a_newcomer_gets_in_while_one_place_is_held_by_somebody_who_is_not_admitted() {
        let places = Places::new(2);
        let mint = places.take(address("192.0.2.1:1")).unwrap();
        mint.reached(Stage::Admitted).unwrap();
        let strangers: Vec<_> = (0..100).map(|_| places.take(address("192.0.2.9:1")).unwrap()).collect();
        let (last, before) = strangers.split_last().unwrap();
        assert!(is_here(&mint) && is_here(last));
        assert!(!before.iter().any(is_here));
        assert_eq!(before[0].reached(Stage::Shaken), Err(Evicted));
        last.reached(Stage::Admitted).unwrap();
        assert!(places.take(address("192.0.2.1:2")).is_none(), "all are admitted");
        drop(mint);
        assert!(places.take(address("192.0.2.1:2")).is_some());
        drop(strangers);
        assert_eq!(places.lock().here.len(), 0);
    }

    #[test]
    fn who_dials_on_and_on_pushes_out_himself_however_far_he_comes() {
        let places = Places::new(MOST);
        let crowd = |_| {
            let place = places.take(address("[2001:db8::1]:1")).unwrap();
            place.reached(Stage::SetUp).unwrap();
            place
        };
        let _crowd: Vec<_> = (0..2 * MOST).map(crowd).collect();
        let mint = places.take(address("192.0.2.1:1")).unwrap();
        // From anywhere in his network.
        let _more: Vec<_> = (0..1000)
            .map(|n| places.take(address(&format!("[2001:db8::{n:x}]:1"))).unwrap())
            .collect();
        assert!(is_here(&mint));
        let _another = places.take(address("192.0.2.2:1")).unwrap();
        assert!(is_here(&mint));
        assert_eq!(places.lock().here.len(), MOST);
    }

    #[test]
    fn a_mint_beside_silent_peers_of_its_own_address_stays_once_it_has_spoken() {
        let places = Places::new(MOST);
        let here = address("127.0.0.1:1");
        let _silent: Vec<_> = (0..200).map(|_| places.take(here).unwrap()).collect();
        let mint = places.take(here).unwrap();
        for stage in [Stage::Shaken, Stage::SetUp] {
            mint.reached(stage).unwrap();
            let _more: Vec<_> = (0..200).map(|_| places.take(here).unwrap()).collect();
            assert!(is_here(&mint), "{stage:?}");
        }
        // Before it has, as many must come as there are places.
        let _crowd: Vec<_> = (0..200).map(|_| places.take(here).unwrap()).collect();
        let newest = places.take(here).unwrap();
        let _more: Vec<_> = (0..MOST - 2).map(|_| places.take(here).unwrap()).collect();
        assert!(is_here(&newest));
        let _one_more = places.take(here).unwrap();
        assert!(!is_here(&newest) && is_here(&mint));
    }

    #[test]
    fn of_many_sources_the_oldest_goes_and_a_source_that_comes_again_makes_room_for_itself() {
        let places = Places::new(3);
        let take = |last: u8| places.take(([192, 0, 2, last], 1).into()).unwrap();
        let (first, second, third) = (take(1), take(2), take(3));
        let again = take(2);
        assert!(is_here(&first) && !is_here(&second) && is_here(&third) && is_here(&again));
        let fourth = take(4);
        assert!(!is_here(&first) && is_here(&third) && is_here(&again) && is_here(&fourth));
    }

    #[test]
    fn an_ipv4_address_is_a_source_however_it_is_written_and_so_is_an_ipv6_network() {
        assert_eq!(source(address("[::ffff:192.0.2.1]:1")), source(address("192.0.2.1:2")));
        assert_ne!(source(address("192.0.2.1:1")), source(address("192.0.2.2:1")));
        assert_eq!(
            source(address("[2001:db8::1]:1")),
            source(address("[2001:db8::ffff:1:2:3]:1"))
        );
        assert_ne!(
            source(address("[2001:db8::1]:1")),
            source(address("[2001:db8:0:1::1]:1"))
        );
    }
}
