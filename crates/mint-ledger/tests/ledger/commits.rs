//! Only what is committed counts: transactions that are dropped, cancelled or fail, and many writers.

use super::*;

#[tokio::test]
async fn nothing_is_told_before_the_commit() {
    let files = Files::new();
    let ledger = files.open().await;
    let mut watch = ledger.subscribe();
    watch.mark_unchanged();
    let mut tx = begin(&ledger).await;
    let mut quote = tx.add_mint_quote(quote("hash", Some(4))).await.unwrap();
    pay(&mut tx, &mut quote, 4).await.unwrap();
    assert!(!watch.has_changed().unwrap());
    assert_eq!(ledger.audit().await.unwrap().counted.ehash.quotes.paid, 0);
    tx.commit().await.unwrap();
    assert!(watch.has_changed().unwrap());
    assert_eq!(watch.borrow_and_update().ehash.quotes.paid, 1);

    // A commit that changed no quote is no event, and neither is a rolled-back one.
    begin(&ledger).await.commit().await.unwrap();
    let mut tx = begin(&ledger).await;
    tx.add_mint_quote(crate::quote("hash", Some(4))).await.unwrap();
    tx.rollback().await.unwrap();
    assert!(!watch.has_changed().unwrap());
    assert_exact(&ledger).await;
}

async fn dropped_then_begun() {
    let files = Files::new();
    let ledger = files.open().await;
    let started = Instant::now();
    for _ in 0..50 {
        let mut tx = begin(&ledger).await;
        tx.add_mint_quote(quote("hash", Some(1))).await.unwrap();
        drop(tx);
        begin(&ledger).await.commit().await.unwrap();
    }
    // SQLite's busy wait is 10 s: one collision with a pending rollback would show.
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    assert_eq!(assert_exact(&ledger).await.version, 1);
}

#[tokio::test]
async fn leak_a_the_permit_stays_with_a_dropped_transaction_until_its_rollback_on_one_thread() {
    dropped_then_begun().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leak_a_the_permit_stays_with_a_dropped_transaction_until_its_rollback_on_two_threads() {
    dropped_then_begun().await;
}

/// On a worker the task that was spawned last runs first: the next writer before a rollback that nobody waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn leak_a_the_permit_stays_with_a_dropped_transaction_until_its_rollback_on_a_worker() {
    tokio::spawn(dropped_then_begun()).await.unwrap();
}

#[tokio::test]
async fn leak_a_a_caller_cancelled_while_beginning_leaves_the_lock_free() {
    let files = Files::new();
    let ledger = files.open().await;
    for _ in 0..20 {
        assert!(poll_once(ledger.begin_transaction()).await.is_none());
    }
    let started = Instant::now();
    begin(&ledger).await.commit().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(9));
}

#[tokio::test]
async fn leak_b_a_cancelled_caller_does_not_part_commit_and_publish() {
    let files = Files::new();
    let ledger = files.open().await;
    let mut watch = ledger.subscribe();
    for n in 1..=10 {
        let mut tx = begin(&ledger).await;
        tx.add_mint_quote(quote("hash", Some(1))).await.unwrap();
        assert!(
            poll_once(tx.commit()).await.is_none(),
            "the commit was not cancelled: the test shows nothing"
        );
        watch.wait_for(|totals| totals.ehash.quotes.unpaid == n).await.unwrap();
        assert_exact(&ledger).await;
    }
}

async fn failed_commits() {
    let files = Files::new();
    let ledger = files.open().await;
    commit_quote(&ledger, "hash", 8, 8, 0).await;
    files.by_hand().execute_batch(FAILING_COMMITS).unwrap();
    let before = assert_exact(&ledger).await;
    for _ in 0..5 {
        set_failing(&files.path(), true);
        let mut tx = begin(&ledger).await;
        let mut added = tx.add_mint_quote(quote("hash", Some(4))).await.unwrap();
        pay(&mut tx, &mut added, 4).await.unwrap();
        assert!(tx.commit().await.is_err());
        // At once, without SQLite's busy wait: the failed transaction is rolled back.
        let started = Instant::now();
        begin(&ledger).await.rollback().await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(9));
        assert_eq!(assert_exact(&ledger).await, before);
        set_failing(&files.path(), false);
    }
    commit_quote(&ledger, "hash", 8, 8, 8).await;
    assert_eq!(assert_exact(&ledger).await.version, before.version + 1);
}

#[tokio::test]
async fn a_failed_commit_counts_nothing_on_one_thread() {
    failed_commits().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_commit_counts_nothing_on_two_threads() {
    failed_commits().await;
}

#[tokio::test]
async fn after_a_commit_of_unknown_outcome_the_totals_are_those_of_the_file() {
    let files = Files::new();
    let ledger = files.open().await;
    commit_quote(&ledger, "hash", 8, 8, 0).await;
    files.by_hand().execute_batch(FAILING_COMMITS).unwrap();
    // As if what fails below had gone through, and only the Ok been lost.
    let beside = files.open().await;
    commit_quote(&beside, "hash", 4, 4, 4).await;
    let committed = assert_exact(&beside).await;
    drop(beside);

    set_failing(&files.path(), true);
    let mut tx = begin(&ledger).await;
    tx.add_mint_quote(quote("hash", Some(4))).await.unwrap();
    assert!(tx.commit().await.is_err());
    assert_eq!(*totals(&ledger), committed);
    set_failing(&files.path(), false);
    commit_quote(&ledger, "hash", 2, 2, 2).await;
    assert_eq!(assert_exact(&ledger).await.version, committed.version + 1);
}

/// Two workers and many writers is where stock cdk-sqlite stalls in "database is locked".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_writers_never_meet_a_locked_database() {
    let files = Files::new();
    let ledger = files.open().await;
    for writers in [8, 32] {
        let tasks = (0..writers).map(|n| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                for round in 0..5_u64 {
                    let mut tx = ledger.begin_transaction().await?;
                    let mut quote = tx.add_mint_quote(quote("hash", Some(n + 1))).await?;
                    pay(&mut tx, &mut quote, n + 1).await?;
                    if round == 2 {
                        drop(tx);
                        continue;
                    }
                    tx.commit().await?;
                    ledger.try_update_mint_quote_last_checked(&quote.id, 100, 1).await?;
                }
                Ok::<_, Error>(())
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap().unwrap();
        }
    }
    assert_eq!(assert_exact(&ledger).await.ehash.quotes.paid, 4 * (8 + 32));
}

#[tokio::test]
async fn quotes_issued_whole_are_told_once_after_their_commit() {
    let files = Files::new();
    let ledger = files.open().await;
    let mut told = ledger.issuances();
    let (first, second) = (
        commit_quote(&ledger, "hash", 8, 8, 0).await,
        commit_quote(&ledger, "hash", 4, 4, 0).await,
    );
    let mut tx = begin(&ledger).await;
    for (id, amount) in [(&first, 8), (&second, 3)] {
        let mut quote = tx.get_mint_quote(id).await.unwrap().unwrap();
        issue(&mut tx, &mut quote, amount).await.unwrap();
    }
    assert!(told.try_recv().is_err(), "not before the commit");
    tx.commit().await.unwrap();
    let requests = |ids: &[&QuoteId]| ids.iter().map(|id| id.to_string().into()).collect::<Vec<Arc<str>>>();
    assert_eq!(told.recv().await.unwrap().to_vec(), requests(&[&first]));

    // What is rolled back, or fails at the commit, is not told.
    let issue_rest = async |tx: &mut DynMintTransaction| {
        let mut quote = tx.get_mint_quote(&second).await.unwrap().unwrap();
        issue(tx, &mut quote, 1).await.unwrap();
    };
    let mut tx = begin(&ledger).await;
    issue_rest(&mut tx).await;
    tx.rollback().await.unwrap();
    files.by_hand().execute_batch(FAILING_COMMITS).unwrap();
    set_failing(&files.path(), true);
    let mut tx = begin(&ledger).await;
    issue_rest(&mut tx).await;
    assert!(tx.commit().await.is_err());
    set_failing(&files.path(), false);
    let mut tx = begin(&ledger).await;
    issue_rest(&mut tx).await;
    tx.commit().await.unwrap();
    assert_eq!(told.recv().await.unwrap().to_vec(), requests(&[&second]));
    assert!(told.try_recv().is_err());
    assert_exact(&ledger).await;
}
