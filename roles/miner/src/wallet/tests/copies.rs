//! A seed without its database, with an older copy of it, or on two machines.

use std::path::Path;

use super::tokens::token_of;
use super::*;

#[tokio::test]
async fn a_seed_without_its_database_brings_everything_back() {
    let rig = Rig::start().await;
    let wallet = rig.wallet().await;
    let key = wallet.redeemer.locking_key();
    let ids = rig.quotes(key, [4, 8, 3]).await;
    wallet.redeemer.add(&ids).await.unwrap();
    wallet.until(|progress| progress.redeemed_amount == 15).await;
    wallet.stop().await;
    for file in FILES {
        let _ = std::fs::remove_file(rig.config.data_dir.join(file));
    }

    // Not before the mint answers, and whatever was done in between is done again.
    rig.proxy.set(Fault::Away);
    let (redeemer, task) = Redeemer::open(&rig.config).await.unwrap();
    let error = redeemer.restore().await.unwrap_err();
    assert!(matches!(error, WalletError::Restore { .. }), "{error}");
    drop((redeemer, task));
    rig.proxy.set(Fault::FailOneRestore);
    let wallet = rig.wallet().await;
    assert_eq!(wallet.redeemer.locking_key(), key);
    let more = rig.quotes(key, [16, 32]).await;
    wallet.redeemer.add(&more).await.unwrap();
    wallet.until(|progress| progress.last_error.is_some()).await;
    let progress = wallet.until(|progress| progress.redeemed_amount == 48).await;
    assert_eq!((progress.refused, progress.waiting), (0, 0));
    assert_eq!(wallet.redeemer.balance().await.unwrap(), 63);
    wallet.stop().await;

    // It is done once: the next start asks for nothing.
    rig.proxy.set(Fault::Away);
    let (redeemer, _task) = Redeemer::open(&rig.config).await.unwrap();
    redeemer.restore().await.unwrap();
    assert_eq!(redeemer.balance().await.unwrap(), 63);
}

/// The database and what SQLite keeps beside it.
const FILES: [&str; 3] = ["wallet.sqlite", "wallet.sqlite-wal", "wallet.sqlite-shm"];

/// Copies the database from one folder to another, in which it takes the place of another one.
fn copy_database(from: &Path, to: &Path) {
    for file in FILES {
        let _ = std::fs::remove_file(to.join(file));
        if from.join(file).exists() {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
    }
}

#[tokio::test]
async fn an_older_copy_of_the_database_is_found_out_and_brought_up_to_date() {
    // The second time CDK would take what was signed for others for its own: it is as much.
    for after in [[2, 64], [16, 32]] {
        let rig = Rig::start().await;
        let wallet = rig.wallet().await;
        let key = wallet.redeemer.locking_key();
        let ids = rig.quotes(key, [4, 8]).await;
        wallet.redeemer.add(&ids).await.unwrap();
        wallet.until(|progress| progress.redeemed_amount == 12).await;
        wallet.stop().await;
        let copy = tempfile::tempdir().unwrap();
        copy_database(&rig.config.data_dir, copy.path());

        // Some more is redeemed, and some of what is in the copy is spent.
        let wallet = rig.wallet().await;
        let ids = rig.quotes(key, [16, 32]).await;
        wallet.redeemer.add(&ids).await.unwrap();
        wallet.until(|progress| progress.redeemed_amount == 48).await;
        let mut token = String::new();
        let hand_over = |sent: &str| {
            sent.clone_into(&mut token);
            Ok(())
        };
        wallet.redeemer.send(4, hand_over).await.unwrap();
        wallet.stop().await;
        let other = WalletConfig::new(rig.config.mint_url.clone().unwrap(), rig.folder.path().join("other"));
        let (receiver, _task) = Redeemer::open(&other).await.unwrap();
        receiver.receive(&token).await.unwrap();

        copy_database(copy.path(), &rig.config.data_dir);
        let wallet = rig.wallet().await;
        assert_eq!(wallet.redeemer.balance().await.unwrap(), 12);
        let ids = rig.quotes(key, after).await;
        wallet.redeemer.add(&ids).await.unwrap();
        let earned: u64 = after.iter().sum();
        wallet.until(|progress| progress.redeemed_amount == earned).await;
        assert_eq!(wallet.redeemer.balance().await.unwrap(), 8 + 16 + 32 + earned);
        assert_eq!(rig.issued().await, 12 + 48 + earned);
        wallet.stop().await;
    }
}

#[tokio::test]
async fn two_machines_with_one_seed_stop_neither_of_them() {
    let rig = Rig::start().await;
    let wallet = rig.wallet().await;
    let key = wallet.redeemer.locking_key();
    let other = WalletConfig {
        data_dir: rig.folder.path().join("other"),
        ..rig.config.clone()
    };
    std::fs::create_dir(&other.data_dir).unwrap();
    std::fs::copy(rig.config.data_dir.join("seed"), other.data_dir.join("seed")).unwrap();
    let (redeemer, task) = Redeemer::open(&other).await.unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(task.run(stop.clone()));
    let other = Wallet { redeemer, task, stop };

    let mut earned = [0, 0];
    for amount in [4, 8, 16] {
        for (machine, earned) in [&wallet, &other].into_iter().zip(&mut earned) {
            let ids = rig.quotes(key, [amount]).await;
            machine.redeemer.add(&ids).await.unwrap();
            *earned += amount;
            machine.until(|progress| progress.redeemed_amount == *earned).await;
        }
    }
    // Whoever was the last to find out has everything.
    assert_eq!(other.redeemer.balance().await.unwrap(), rig.issued().await);
    wallet.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_copy_that_is_found_out_while_sending_is_mended_by_the_next_try() {
    let rig = Rig::start().await;
    let wallet = rig.wallet().await;
    let key = wallet.redeemer.locking_key();
    let ids = rig.quotes(key, [8]).await;
    wallet.redeemer.add(&ids).await.unwrap();
    wallet.until(|progress| progress.redeemed_amount == 8).await;
    wallet.stop().await;
    let copy = tempfile::tempdir().unwrap();
    copy_database(&rig.config.data_dir, copy.path());
    let wallet = rig.wallet().await;
    let ids = rig.quotes(key, [2, 1, 4, 1, 2]).await;
    wallet.redeemer.add(&ids).await.unwrap();
    wallet.until(|progress| progress.redeemed_amount == 10).await;
    wallet.stop().await;
    copy_database(copy.path(), &rig.config.data_dir);

    // Its 8 has to be changed, into pieces whose secrets are used up.
    let (redeemer, _task) = Redeemer::open(&rig.config).await.unwrap();
    redeemer.restore().await.unwrap();
    let error = redeemer.send(3, |_| Ok(())).await.unwrap_err();
    assert!(matches!(error, WalletError::Behind), "{error}");
    redeemer.restore().await.unwrap();
    redeemer.send(3, |_| Ok(())).await.unwrap();
    assert_eq!(redeemer.balance().await.unwrap(), 15);
}

#[tokio::test]
async fn an_older_copy_makes_no_token_of_what_is_spent() {
    let rig = Rig::start().await;
    let wallet = rig.wallet().await;
    let ids = rig.quotes(wallet.redeemer.locking_key(), [4, 8]).await;
    wallet.redeemer.add(&ids).await.unwrap();
    wallet.until(|progress| progress.redeemed_amount == 12).await;
    wallet.stop().await;
    let copy = tempfile::tempdir().unwrap();
    copy_database(&rig.config.data_dir, copy.path());
    let other = WalletConfig::new(rig.config.mint_url.clone().unwrap(), rig.folder.path().join("other"));
    let (receiver, _task) = Redeemer::open(&other).await.unwrap();
    let (redeemer, task) = Redeemer::open(&rig.config).await.unwrap();
    receiver.receive(&token_of(&redeemer, 4).await).await.unwrap();
    drop((redeemer, task));
    copy_database(copy.path(), &rig.config.data_dir);

    // The 4 needs no change, so the mint is not asked for any.
    let (redeemer, _task) = Redeemer::open(&rig.config).await.unwrap();
    let error = redeemer.send(4, |_| panic!("a token worth nothing")).await.unwrap_err();
    assert!(matches!(error, WalletError::Behind), "{error}");
    redeemer.restore().await.unwrap();
    assert_eq!(redeemer.balance().await.unwrap(), 8);
    assert_eq!(receiver.receive(&token_of(&redeemer, 4).await).await.unwrap(), 4);
}

#[tokio::test]
async fn a_restore_ends_when_the_mint_hangs() {
    let rig = Rig::start().await;
    // A seed without a database.
    locking_key(&rig.config.data_dir).unwrap();
    rig.proxy.set(Fault::Hangs);
    let (redeemer, _task) = Redeemer::open(&rig.config).await.unwrap();
    tokio::time::pause();
    let restoring = timeout(Duration::from_secs(3600), redeemer.restore());
    let error = restoring.await.expect("it ends").unwrap_err();
    assert!(matches!(error, WalletError::Restore { .. }), "{error}");
}
