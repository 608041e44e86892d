//! Units as mining epochs roll: thousands of them, the newest told one by one, all of them in the totals.

use stats_push::{Applied, MAX_PAYLOAD, MAX_UNITS, Peer, Publisher, PushConfig, RunId, Snapshot, SnapshotCache};

use super::*;

/// An epoch's unit, as hashpool names it: its keyset's key and the height at which it began.
fn epoch(height: usize) -> String {
    format!("hash_02{}_{height}", format!("{height:08x}").repeat(8))
}

/// Adds one unpaid quote of 8 in each unit, in this order, in one transaction.
async fn add(ledger: &Ledger, units: impl IntoIterator<Item = String>) {
    let mut tx = begin(ledger).await;
    for unit in units {
        tx.add_mint_quote(quote(&unit, Some(8))).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// What a pool reads of the message that a mint sends now.
async fn told(ledger: &Ledger) -> Snapshot {
    let (mut publisher, _handle) = Publisher::new(ledger.subscribe(), RunId(1), PushConfig::default());
    let payload = publisher.next().await.unwrap().encode();
    assert!(payload.len() <= MAX_PAYLOAD);
    Snapshot::decode(&payload).unwrap()
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    snapshot.units.iter().map(|unit| unit.unit.to_string()).collect()
}

#[tokio::test]
async fn of_thousands_of_epochs_the_newest_are_told_one_by_one_and_all_are_in_the_totals() {
    let files = Files::new();
    let ledger = files.open().await;
    add(&ledger, (0..2_000).map(epoch)).await;
    // A wallet comes back with a quote of the first epoch, which is not listed any more.
    commit_quote(&ledger, &epoch(0), 8, 8, 8).await;
    let exact = assert_exact(&ledger).await;
    // The first start counts as one.
    assert_eq!((exact.version, exact.units.len()), (3, 2_000));
    let snapshot = told(&ledger).await;
    assert_eq!((snapshot.sequence, snapshot.units_total), (3, 2_000));
    assert_eq!(
        names(&snapshot),
        (2_000 - MAX_UNITS..2_000).map(epoch).collect::<Vec<_>>()
    );
    let ehash = snapshot.ehash;
    assert_eq!((ehash.quotes.unpaid, ehash.amounts.unpaid), (2_000, 16_000));
    assert_eq!((ehash.quotes_redeemed, ehash.amounts.issued), (1, 8));
    // The next run knows the same units in the same order, without counting.
    drop(ledger);
    assert_eq!(*totals(&files.open().await), exact);
}

#[tokio::test]
async fn p8_a_unit_that_is_stamped_anew_or_dropped_by_hand_is_a_new_sequence_after_a_rebase() {
    let files = Files::new();
    let ledger = files.open().await;
    for height in 0..3 {
        commit_quote(&ledger, &epoch(height), 8, 8, 8).await;
    }
    let cache = SnapshotCache::new();
    let session = cache.open_session(Peer {
        address: "a mint".to_owned(),
        public_key: None,
        proven: false,
    });
    let shows = async |ledger: &Ledger| {
        let applied = session.apply(told(ledger).await, Instant::now());
        let view = cache.load().clone();
        let latest = Arc::clone(&view.latest.as_ref().unwrap().snapshot);
        (applied, latest.sequence, names(&latest), latest.ehash.quotes_redeemed)
    };
    let all: Vec<_> = (0..3).map(epoch).collect();
    assert_eq!(shows(&ledger).await, (Applied::Replaced, 4, all.clone(), 3));

    let stamp = format!(
        "UPDATE mint_quote SET unit = '{}' WHERE unit = '{}'",
        epoch(7),
        epoch(0)
    );
    files.by_hand().execute_batch(&stamp).unwrap();
    assert_eq!(
        shows(&ledger).await,
        (Applied::Refreshed, 4, all, 3),
        "nobody has counted yet"
    );
    assert_eq!(ledger.rebase().await.unwrap(), 5);
    // It keeps the age of its first quote.
    let stamped = vec![epoch(7), epoch(1), epoch(2)];
    assert_eq!(shows(&ledger).await, (Applied::Replaced, 5, stamped, 3));

    let drop_it = format!(
        "PRAGMA foreign_keys = OFF; DELETE FROM mint_quote WHERE unit = '{}'",
        epoch(7)
    );
    files.by_hand().execute_batch(&drop_it).unwrap();
    assert_eq!(ledger.rebase().await.unwrap(), 6);
    let left = vec![epoch(1), epoch(2)];
    assert_eq!(shows(&ledger).await, (Applied::Replaced, 6, left.clone(), 2));
    assert_eq!(
        cache.load().counters.falls,
        1,
        "a total that falls is shown, and counted"
    );
    assert_eq!(told(&ledger).await.units_total, 2);

    // What is issued from here on goes on from there, also in a new run.
    commit_quote(&ledger, &epoch(7), 8, 8, 8).await;
    assert_exact(&ledger).await;
    drop(ledger);
    let names_now = vec![epoch(1), epoch(2), epoch(7)];
    assert_eq!(shows(&files.open().await).await, (Applied::Replaced, 7, names_now, 3));
}
