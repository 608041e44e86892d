//! What a start takes for granted, what it counts, and what an audit says.

use super::*;

#[tokio::test]
async fn leak_c_a_start_takes_the_stored_totals_and_counts_nothing() {
    let files = Files::new();
    let ledger = files.open().await;
    commit_quote(&ledger, "hash", 8, 8, 8).await;
    let before = assert_exact(&ledger).await;
    drop(ledger);

    // Rows that the ledger was not told of: only a count would see them.
    files
        .by_hand()
        .execute("UPDATE mint_quote SET amount_paid = 9, amount_issued = 9", [])
        .unwrap();
    let ledger = files.open().await;
    assert_eq!(*totals(&ledger), before);
    let audit = ledger.audit().await.unwrap();
    assert!(!audit.is_consistent());
    assert_eq!(
        audit.to_string(),
        "the ledger differs from the database at version 2:\n  hash: issued amount: ledger 8, database 9"
    );

    let mut watch = ledger.subscribe();
    watch.mark_unchanged();
    assert_eq!(ledger.rebase().await.unwrap(), 3);
    assert!(watch.has_changed().unwrap());
    assert_eq!(assert_exact(&ledger).await.ehash.amounts.issued, 9);
    drop(ledger);
    assert_eq!(totals(&files.open().await).version, 3);
}

#[tokio::test]
async fn the_first_start_counts_what_is_there() {
    let files = Files::new();
    let plain = files.database().await;
    for (unit, amount) in [("sat", 5), ("hash", 8), ("hash", 16)] {
        let mut tx = MintDatabase::begin_transaction(&*plain).await.unwrap();
        let mut quote = tx.add_mint_quote(quote(unit, Some(amount))).await.unwrap();
        pay(&mut tx, &mut quote, amount).await.unwrap();
        issue(&mut tx, &mut quote, 1).await.unwrap();
        tx.commit().await.unwrap();
    }
    let ledger = files.open().await;
    let seen = assert_exact(&ledger).await;
    assert_eq!(seen.version, 1);
    assert_eq!(
        seen.units.iter().map(|unit| &*unit.unit).collect::<Vec<_>>(),
        ["sat", "hash"]
    );
    assert_eq!(
        (
            seen.ehash.quotes_redeemed,
            seen.ehash.amounts.issued,
            seen.ehash.amounts.paid
        ),
        (2, 2, 22)
    );
    assert!(
        seen.units
            .iter()
            .all(|unit| unit.last_issued_at > Some(UnixMillis(1_700_000_000_000)))
    );
}

#[tokio::test]
async fn a_reopened_ledger_says_the_same_to_the_millisecond() {
    let files = Files::new();
    let time = Arc::new(AtomicU64::new(1_800_000_000_123));
    let options = || {
        let time = Arc::clone(&time);
        LedgerOptions {
            clock: Arc::new(move || UnixMillis(time.load(Ordering::Relaxed))),
            ..LedgerOptions::default()
        }
    };
    let ledger = files.open_with(options()).await.unwrap();
    commit_quote(&ledger, "hash_a_1", 8, 8, 8).await;
    time.store(1_800_000_000_456, Ordering::Relaxed);
    commit_quote(&ledger, "hash_b_2", 8, 8, 8).await;
    commit_quote(&ledger, "hash_a_1", 8, 8, 0).await;
    let before = assert_exact(&ledger).await;
    assert_eq!(
        before
            .units
            .iter()
            .map(|unit| (&*unit.unit, unit.last_issued_at.unwrap().0))
            .collect::<Vec<_>>(),
        [("hash_a_1", 1_800_000_000_123), ("hash_b_2", 1_800_000_000_456)]
    );
    drop(ledger);
    let ledger = files.open_with(options()).await.unwrap();
    assert_eq!(*totals(&ledger), before);
    commit_quote(&ledger, "hash_b_2", 1, 0, 0).await;
    assert_eq!(totals(&ledger).version, before.version + 1);
}

#[tokio::test]
async fn stored_totals_that_make_no_sense_are_an_error_until_a_recount() {
    let files = Files::new();
    commit_quote(&files.open().await, "hash", 8, 8, 8).await;
    let broken = "UPDATE kv_store SET value = X'78' WHERE primary_namespace = 'ehash_ledger' AND key = 'unit-0'";
    assert_eq!(files.by_hand().execute(broken, []).unwrap(), 1);
    let error = files.open_with(LedgerOptions::default()).await.unwrap_err();
    assert!(matches!(error, LedgerError::Stored { .. }), "{error}");
    let ledger = files
        .open_with(LedgerOptions {
            recount: true,
            ..LedgerOptions::default()
        })
        .await
        .unwrap();
    assert_eq!(assert_exact(&ledger).await.ehash.quotes_redeemed, 1);
}

#[tokio::test]
async fn a_recount_counts_what_is_there_whatever_is_stored() {
    let files = Files::new();
    commit_quote(&files.open().await, "hash", 8, 8, 8).await;
    let by_hand = "UPDATE mint_quote SET amount_paid = 9, amount_issued = 9";
    assert_eq!(files.by_hand().execute(by_hand, []).unwrap(), 1);
    let recount = LedgerOptions {
        recount: true,
        ..LedgerOptions::default()
    };
    let ledger = files.open_with(recount).await.unwrap();
    let counted = assert_exact(&ledger).await;
    assert_eq!((counted.version, counted.ehash.amounts.issued), (3, 9));
}

#[tokio::test]
async fn an_audit_of_a_file_without_totals_says_so() {
    let files = Files::new();
    files.database().await;
    assert!(matches!(
        mint_ledger::audit(&files.path()),
        Err(LedgerError::NoTotals { .. })
    ));
    assert!(matches!(
        mint_ledger::audit(Path::new("/nowhere/mint.sqlite")),
        Err(LedgerError::Sqlite { .. })
    ));
}
