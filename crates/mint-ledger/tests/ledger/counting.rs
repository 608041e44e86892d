//! What a quote counts for, whatever is done to it.

use super::*;

#[tokio::test]
async fn a_quote_is_counted_through_all_its_states() {
    let files = Files::new();
    let ledger = files.open().await;
    assert_eq!(totals(&ledger).version, 1);

    let id = commit_quote(&ledger, "hash", 8, 0, 0).await;
    let states = |unpaid, paid, issued| PerState { unpaid, paid, issued };
    let seen = assert_exact(&ledger).await;
    assert_eq!(
        (seen.ehash.quotes, seen.ehash.amounts),
        (states(1, 0, 0), states(8, 0, 0))
    );

    let mut tx = begin(&ledger).await;
    let mut quote = tx.get_mint_quote(&id).await.unwrap().unwrap();
    pay(&mut tx, &mut quote, 8).await.unwrap();
    tx.commit().await.unwrap();
    let seen = assert_exact(&ledger).await;
    assert_eq!(
        (seen.ehash.quotes, seen.ehash.amounts),
        (states(0, 1, 0), states(0, 8, 0))
    );

    for (amount, quotes, amounts) in [
        (3, states(0, 1, 0), states(0, 5, 3)),
        (5, states(0, 0, 1), states(0, 0, 8)),
    ] {
        let mut tx = begin(&ledger).await;
        let mut quote = tx
            .get_mint_quotes_by_ids(std::slice::from_ref(&id))
            .await
            .unwrap()
            .remove(0)
            .unwrap();
        issue(&mut tx, &mut quote, amount).await.unwrap();
        tx.commit().await.unwrap();
        let seen = assert_exact(&ledger).await;
        assert_eq!(
            (seen.ehash.quotes, seen.ehash.amounts, seen.ehash.quotes_redeemed),
            (quotes, amounts, 1)
        );
    }
    assert_eq!(totals(&ledger).version, 5);
}

#[tokio::test]
async fn an_update_of_a_stale_quote_is_counted_as_the_database_saw_it() {
    let files = Files::new();
    let ledger = files.open().await;
    let id = commit_quote(&ledger, "hash", 8, 0, 0).await;
    let mut stale: Acquired<MintQuote> = ledger.get_mint_quote(&id).await.unwrap().unwrap().into();
    let mut tx = begin(&ledger).await;
    let mut fresh = tx.get_mint_quote(&id).await.unwrap().unwrap();
    pay(&mut tx, &mut fresh, 5).await.unwrap();
    tx.commit().await.unwrap();
    // Not read in its transaction, and wrong about what is paid: CDK stores the stale sum.
    let mut tx = begin(&ledger).await;
    pay(&mut tx, &mut stale, 3).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(assert_exact(&ledger).await.ehash.amounts.paid, 3);
}

#[tokio::test]
async fn a_payment_backend_may_be_asked_unless_quotes_are_paid_at_birth() {
    let files = Files::new();
    let id = commit_quote(&files.open().await, "hash", 8, 8, 0).await;
    for (paid_at_birth, last_checked) in [(true, 0), (false, 100)] {
        let options = LedgerOptions {
            paid_at_birth,
            ..LedgerOptions::default()
        };
        let ledger = files.open_with(options).await.unwrap();
        let may_ask = ledger.try_update_mint_quote_last_checked(&id, 100, 10).await.unwrap();
        assert_eq!(may_ask, !paid_at_birth);
        let quote = ledger.get_mint_quote(&id).await.unwrap().unwrap();
        assert_eq!(quote.last_checked(), last_checked);
    }
}

#[tokio::test]
async fn a_quote_that_is_added_as_paid_counts_as_it_is_stored() {
    let files = Files::new();
    let ledger = files.open().await;
    let unit = CurrencyUnit::custom("hash");
    let mut odd = quote("hash", Some(9));
    odd.amount = None;
    let paid = MintQuote::new(
        Some(odd.id.clone()),
        odd.request.clone(),
        unit.clone(),
        None,
        0,
        odd.request_lookup_id.clone(),
        None,
        Amount::new(9, unit.clone()),
        Amount::new(0, unit),
        odd.payment_method.clone(),
        1,
        1,
        vec![],
        vec![],
        None,
    );
    let mut tx = begin(&ledger).await;
    let mut quote = tx.add_mint_quote(paid).await.unwrap();
    tx.update_mint_quote(&mut quote).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(assert_exact(&ledger).await.ehash.quotes.unpaid, 1);
}

#[tokio::test]
async fn an_update_that_failed_half_way_is_read_again() {
    let files = Files::new();
    let ledger = files.open().await;
    let id = commit_quote(&ledger, "hash", 8, 0, 0).await;
    // The row is written, and then the update fails: CDK finds the quote gone when it reads it back.
    let refuse = "CREATE TRIGGER gone AFTER UPDATE ON mint_quote WHEN NEW.amount_paid = 7
        BEGIN DELETE FROM mint_quote_payments WHERE quote_id = NEW.id; DELETE FROM mint_quote WHERE id = NEW.id; END;";
    files.by_hand().execute_batch(refuse).unwrap();
    let mut tx = begin(&ledger).await;
    let mut quote = tx.get_mint_quote(&id).await.unwrap().unwrap();
    assert!(pay(&mut tx, &mut quote, 7).await.is_err());
    tx.commit().await.unwrap();
    let seen = totals(&ledger);
    assert_eq!((seen.version, seen.ehash.quotes), (3, PerState::default()));
}

#[tokio::test]
async fn huge_sums_saturate_and_still_agree_with_sql() {
    let files = Files::new();
    let ledger = files.open().await;
    for _ in 0..5 {
        commit_quote(&ledger, "hash", 1 << 62, 1 << 62, 1 << 62).await;
        commit_quote(&ledger, "hash", 1 << 62, 1 << 62, 0).await;
        commit_quote(&ledger, "hash", 1 << 62, 0, 0).await;
    }
    let everything = PerState {
        unpaid: u64::MAX,
        paid: u64::MAX,
        issued: u64::MAX,
    };
    assert_eq!(assert_exact(&ledger).await.ehash.amounts, everything);
    let recount = LedgerOptions {
        recount: true,
        ..LedgerOptions::default()
    };
    drop(ledger);
    let ledger = files.open_with(recount).await.unwrap();
    assert_eq!(assert_exact(&ledger).await.ehash.amounts, everything);
}

#[tokio::test]
async fn a_second_payment_is_refused_where_asked_for() {
    let files = Files::new();
    let ledger = files
        .open_with(LedgerOptions {
            pay_once: true,
            ..LedgerOptions::default()
        })
        .await
        .unwrap();
    let id = commit_quote(&ledger, "hash", 8, 8, 8).await;
    let mut tx = begin(&ledger).await;
    let mut paid = tx.get_mint_quote(&id).await.unwrap().unwrap();
    assert!(matches!(pay(&mut tx, &mut paid, 8).await, Err(Error::Duplicate)));
    drop(tx);
    let mut tx = begin(&ledger).await;
    let mut fresh = tx.add_mint_quote(quote("hash", Some(2))).await.unwrap();
    let one = Amount::new(1, fresh.unit.clone());
    fresh.add_payment(one.clone(), "first".into(), None).unwrap();
    fresh.add_payment(one, "second".into(), None).unwrap();
    assert!(matches!(tx.update_mint_quote(&mut fresh).await, Err(Error::Duplicate)));
    drop(tx);
    assert_eq!(
        assert_exact(&ledger).await.ehash.quotes,
        PerState {
            issued: 1,
            ..PerState::default()
        }
    );
}
