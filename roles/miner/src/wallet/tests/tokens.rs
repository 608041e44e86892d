//! Ehash that leaves the wallet as a token, and comes in as one.

use super::*;

pub(super) async fn token_of(redeemer: &Redeemer, amount: u64) -> String {
    let mut sent = String::new();
    let hand_over = |token: &str| {
        token.clone_into(&mut sent);
        Ok(())
    };
    redeemer.send(amount, hand_over).await.unwrap();
    sent
}

#[tokio::test]
async fn a_token_of_many_small_earnings_has_few_pieces() {
    let rig = Rig::start().await;
    rig.proxy.set(Fault::HideBatches);
    let wallet = rig.wallet().await;
    let ids = rig
        .quotes(wallet.redeemer.locking_key(), std::iter::repeat_n(1, 220))
        .await;
    wallet.redeemer.add(&ids).await.unwrap();
    wallet.until(|progress| progress.redeemed_amount == 220).await;
    wallet.stop().await;
    let (redeemer, _task) = Redeemer::open(&rig.config).await.unwrap();
    assert_eq!(redeemer.wallet().get_unspent_proofs().await.unwrap().len(), 220);
    let token = token_of(&redeemer, 220).await;
    assert_eq!(redeemer.balance().await.unwrap(), 0);
    let other = WalletConfig::new(rig.config.mint_url.clone().unwrap(), rig.folder.path().join("other"));
    let (receiver, _task) = Redeemer::open(&other).await.unwrap();
    let keysets = receiver
        .wallet()
        .mint_connector()
        .get_mint_keysets()
        .await
        .unwrap()
        .keysets;
    let pieces = token
        .parse::<cdk::nuts::Token>()
        .unwrap()
        .proofs(&keysets)
        .unwrap()
        .len();
    assert!(pieces < 50, "{pieces} pieces");
    assert_eq!(receiver.receive(&token).await.unwrap(), 220);
}

#[tokio::test]
async fn a_token_of_another_mint_is_told_from_a_failure() {
    let (rig, other) = (Rig::start().await, Rig::start().await);
    let (_sender, token) = sent(&other).await;
    let (redeemer, _task) = Redeemer::open(&rig.config).await.unwrap();
    let error = redeemer.receive(&token).await.unwrap_err();
    assert!(matches!(error, WalletError::TokenOfOtherMint { .. }), "{error:?}");
}

#[tokio::test]
async fn receiving_ends_when_the_mint_hangs() {
    let rig = Rig::start().await;
    let (_sender, token) = sent(&rig).await;
    let other = WalletConfig::new(rig.config.mint_url.clone().unwrap(), rig.folder.path().join("other"));
    let (receiver, _task) = Redeemer::open(&other).await.unwrap();
    rig.proxy.set(Fault::Hangs);
    tokio::time::pause();
    let receiving = timeout(Duration::from_secs(3600), receiver.receive(&token));
    let error = receiving.await.expect("it ends").unwrap_err();
    assert!(matches!(error, WalletError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_token_that_nobody_has_received_holds_nothing_up() {
    let rig = Rig::start().await;
    let wallet = rig.wallet().await;
    let ids = rig.quotes(wallet.redeemer.locking_key(), [4, 8]).await;
    wallet.redeemer.add(&ids).await.unwrap();
    wallet.until(|progress| progress.redeemed_amount == 12).await;
    wallet.redeemer.send(4, |_| Ok(())).await.unwrap();
    wallet.stop().await;

    let store = store::Store::open(&rig.config).await.unwrap();
    assert_eq!(store.wallet.localstore.get_incomplete_sagas().await.unwrap().len(), 1);
    assert!(recovery::recover(&store, cdk::util::unix_time()).await.unwrap());
    assert_eq!(store.balance().await.unwrap(), 8);
}

/// A token of 4 out of a wallet of 12.
async fn sent(rig: &Rig) -> (Redeemer, String) {
    let wallet = rig.wallet().await;
    let ids = rig.quotes(wallet.redeemer.locking_key(), [4, 8]).await;
    wallet.redeemer.add(&ids).await.unwrap();
    wallet.until(|progress| progress.redeemed_amount == 12).await;
    wallet.stop().await;
    let (redeemer, _task) = Redeemer::open(&rig.config).await.unwrap();
    let token = token_of(&redeemer, 4).await;
    (redeemer, token)
}

#[tokio::test]
async fn a_token_whose_receipt_was_interrupted_is_finished_before_it_is_received_again() {
    let rig = Rig::start().await;
    let (_sender, token) = sent(&rig).await;
    let config = WalletConfig::new(rig.config.mint_url.clone().unwrap(), rig.folder.path().join("other"));
    rig.proxy.set(Fault::HoldSwaps);
    {
        let (receiver, _task) = Redeemer::open(&config).await.unwrap();
        tokio::select! {
            received = receiver.receive(&token) => panic!("{received:?}"),
            () = rig.proxy.held.notified() => {}
        }
        assert_eq!(receiver.balance().await.unwrap(), 0);
    }
    rig.proxy.set(Fault::None);
    let (receiver, _task) = Redeemer::open(&config).await.unwrap();
    receiver.receive(&token).await.unwrap_err();
    assert_eq!(receiver.balance().await.unwrap(), 4);
}

#[tokio::test]
async fn a_token_that_can_not_be_taken_back_now_stays_sent() {
    let rig = Rig::start().await;
    let (sender, _token) = sent(&rig).await;
    rig.proxy.set(Fault::NoSwap);
    for _ in 0..2 {
        sender.reclaim().await.unwrap_err();
        assert_eq!(sender.balance().await.unwrap(), 8);
    }
    rig.proxy.set(Fault::None);
    assert_eq!(sender.reclaim().await.unwrap(), 4);
    assert_eq!(
        (sender.reclaim().await.unwrap(), sender.balance().await.unwrap()),
        (0, 12)
    );
}
