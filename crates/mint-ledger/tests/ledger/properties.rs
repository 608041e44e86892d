//! Random transactions with random ends, then the comparison.

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Add { unit: usize, amount: Option<u64> },
    Pay { quote: usize, amount: u64 },
    Issue { quote: usize, share: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Commit,
    CancelledCommit,
    FailedCommit,
    Rollback,
    Drop,
}

fn step() -> impl Strategy<Value = Step> {
    // 2^58 each: far beyond what 32-bit halves could hide, and forty of them stay within what a quote can be paid.
    let amount = || prop_oneof![1..1000_u64, Just(1_u64 << 58)];
    prop_oneof![
        3 => (0..3_usize, proptest::option::weighted(0.9, amount())).prop_map(|(unit, amount)| Step::Add { unit, amount }),
        3 => (any::<usize>(), amount()).prop_map(|(quote, amount)| Step::Pay { quote, amount }),
        3 => (any::<usize>(), 1..4_u64).prop_map(|(quote, share)| Step::Issue { quote, share }),
    ]
}

fn transaction() -> impl Strategy<Value = (Vec<Step>, End)> {
    let end = prop_oneof![
        6 => Just(End::Commit),
        2 => Just(End::CancelledCommit),
        1 => Just(End::FailedCommit),
        1 => Just(End::Rollback),
        1 => Just(End::Drop),
    ];
    (prop::collection::vec(step(), 0..6), end)
}

const UNITS: [&str; 3] = ["hash", "hash_02ab_7", "sat"];

/// Does the steps to quotes that exist; returns the ids of those that it added.
async fn perform(tx: &mut DynMintTransaction, steps: &[Step], known: &[QuoteId]) -> Vec<QuoteId> {
    let mut ids = known.to_vec();
    for step in steps {
        match *step {
            Step::Add { unit, amount } => {
                let quote = tx.add_mint_quote(quote(UNITS[unit], amount)).await.unwrap();
                ids.push(quote.id.clone());
            }
            Step::Pay { quote, amount } if !ids.is_empty() => {
                let id = &ids[quote % ids.len()];
                let mut quote = tx.get_mint_quote(id).await.unwrap().unwrap();
                if quote.amount_paid().value() < 1 << 61 {
                    pay(tx, &mut quote, amount).await.unwrap();
                }
            }
            Step::Issue { quote, share } if !ids.is_empty() => {
                let id = &ids[quote % ids.len()];
                let mut quote = tx.get_mint_quote_by_request(&id.to_string()).await.unwrap().unwrap();
                let amount = quote.amount_mintable().value().div_ceil(share);
                if amount > 0 {
                    issue(tx, &mut quote, amount).await.unwrap();
                }
            }
            Step::Pay { .. } | Step::Issue { .. } => {}
        }
    }
    ids.split_off(known.len())
}

async fn play(transactions: Vec<(Vec<Step>, End)>) {
    let files = Files::new();
    let ledger = files.open().await;
    files.by_hand().execute_batch(FAILING_COMMITS).unwrap();
    let mut known = Vec::new();
    let mut last = assert_exact(&ledger).await;
    for (steps, end) in transactions {
        set_failing(&files.path(), end == End::FailedCommit);
        let mut tx = begin(&ledger).await;
        let added = perform(&mut tx, &steps, &known).await;
        let kept = match end {
            End::Commit => tx.commit().await.is_ok(),
            End::CancelledCommit => poll_once(tx.commit()).await.is_none_or(|result| result.is_ok()),
            End::FailedCommit => tx.commit().await.is_ok(),
            End::Rollback => tx.rollback().await.is_err(),
            End::Drop => {
                drop(tx);
                false
            }
        };
        let now = assert_exact(&ledger).await;
        set_failing(&files.path(), false);
        if kept {
            known.extend(added);
        } else {
            assert_eq!(now, last, "{end:?} left a trace");
        }
        // Whatever changed has a version of its own; what did not keeps it.
        let changed = without_times(&now).units != without_times(&last).units;
        assert_eq!(now.version > last.version, changed || now != last);
        last = now;
    }
    drop(ledger);
    let reopened = files.open().await;
    assert_eq!(assert_exact(&reopened).await, last);
    let version = reopened.rebase().await.unwrap();
    assert_eq!(version, last.version + 1);
    assert_eq!(assert_exact(&reopened).await.units, last.units);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn published_stored_and_counted_totals_agree_after_anything(
        transactions in prop::collection::vec(transaction(), 1..10),
        threads in 1..3_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
        runtime.block_on(play(transactions));
    }
}
