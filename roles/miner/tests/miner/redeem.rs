//! `miner redeem`, and the wallet's other errands: for people who mine with other software.

use miner::wallet::{Redeemer, WalletConfig, locking_key};
use system_tests::{Process, eventually, json};

use crate::house::{House, PATIENCE, miner, shell};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_has_earned_is_redeemed_by_one_command() {
    let house = House::start().await;
    let wallet = house.wallet("wallet");
    let wallet = wallet.to_str().unwrap();
    let (code, lines) = miner(&["key", "--data-dir", wallet]).await;
    assert_eq!(code, Some(0));
    let key = locking_key(wallet.as_ref()).unwrap();
    assert_eq!(lines, [hex::encode(key)]);

    let (page, mint) = (house.page(), house.mint_url());
    let redeem = ["redeem", "--pool", &page, "--mint", &mint, "--data-dir", wallet];
    let (code, lines) = miner(&redeem).await;
    assert_eq!(
        (code, lines.last().unwrap().as_str()),
        (Some(0), "redeemed 0 quotes, 0 ehash; balance 0")
    );

    // Several batches, and others' quotes among them.
    let other = locking_key(&house.wallet("other")).unwrap();
    let mut earned = house.earn(key, 40).await;
    house.earn(other, 10).await;
    earned += house.earn(key, 40).await;
    let (code, lines) = miner(&redeem).await;
    let said = lines.last().unwrap();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(*said, format!("redeemed 80 quotes, {earned} ehash; balance {earned}"));
    let truth = house.truth();
    assert_eq!((truth.redeemed, truth.amounts[2]), (80, earned));

    // Again: the mint has told the pool what is redeemed, and nothing is left to do.
    let listed = format!("/api/v1/quotes?key={}", hex::encode(key));
    eventually("the pool lists none of them any more", PATIENCE, async || {
        let list = json(&house.pool.dashboard_address().to_string(), &listed).await?;
        list["quotes"].as_array()?.is_empty().then_some(())
    })
    .await;
    let (code, lines) = miner(&redeem).await;
    let said = lines.last().unwrap();
    assert_eq!(code, Some(0));
    assert_eq!(*said, format!("redeemed 0 quotes, 0 ehash; balance {earned}"));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ehash_leaves_the_wallet_as_a_token() {
    let house = House::start().await;
    let wallet = house.wallet("wallet");
    let key = locking_key(&wallet).unwrap();
    let earned = house.earn(key, 6).await;
    let (page, mint, wallet) = (house.page(), house.mint_url(), wallet.to_str().unwrap().to_owned());
    let at = ["--mint", &mint, "--data-dir", &wallet];
    let (code, _) = miner(&[&["redeem", "--pool", &page], &at[..]].concat()).await;
    assert_eq!(code, Some(0));

    let (code, lines) = miner(&[&["send", "7"], &at[..]].concat()).await;
    assert_eq!(code, Some(0));
    let token: cdk::nuts::Token = lines.last().unwrap().parse().unwrap();
    assert_eq!(u64::from(token.value().unwrap()), 7);
    let (code, lines) = miner(&[&["balance"], &at[..]].concat()).await;
    assert_eq!((code, lines), (Some(0), vec![(earned - 7).to_string()]));

    let (code, lines) = miner(&[&["send", "1000"], &at[..]].concat()).await;
    assert_eq!(code, Some(1));
    assert!(lines.last().unwrap().contains("nsufficient funds"), "{lines:?}");
    let (code, _) = miner(&[&["send", "0"], &at[..]].concat()).await;
    assert_eq!(code, Some(2));
    let elsewhere = house.wallet("mistyped");
    let (code, lines) = miner(&["balance", "--data-dir", elsewhere.to_str().unwrap()]).await;
    assert_eq!((code, lines.len()), (Some(1), 1));
    assert!(lines[0].contains("mistyped: no wallet is here"), "{lines:?}");
    assert!(!elsewhere.exists());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_received_once_and_one_that_nobody_received_is_taken_back() {
    let house = House::start().await;
    let wallet = house.wallet("wallet");
    let earned = house.earn(locking_key(&wallet).unwrap(), 6).await;
    let (page, mint) = (house.page(), house.mint_url());
    let (wallet, other) = (wallet.to_str().unwrap().to_owned(), house.wallet("other"));
    let at = ["--mint", &mint, "--data-dir", &wallet];
    let there = ["--mint", &mint, "--data-dir", other.to_str().unwrap()];
    let (code, _) = miner(&[&["redeem", "--pool", &page], &at[..]].concat()).await;
    assert_eq!(code, Some(0));

    let (_, token) = miner(&[&["send", "7"], &at[..]].concat()).await;
    let receive = [&["receive", &token[0]], &there[..]].concat();
    let (code, lines) = miner(&receive).await;
    assert_eq!((code, lines), (Some(0), vec!["received 7; balance 7".to_owned()]));
    let (code, lines) = miner(&receive).await;
    assert_eq!(code, Some(1));
    assert!(lines[0].contains("has been received already"), "{lines:?}");
    let (code, lines) = miner(&[&["receive", "cashuB"], &there[..]].concat()).await;
    assert_eq!(code, Some(1));
    assert!(lines[0].contains("this is no Cashu token"), "{lines:?}");

    // From standard input, where nobody else can see it.
    let (_, token) = miner(&[&["send", "1"], &at[..]].concat()).await;
    let line = format!(r#"echo {} | "$0" "$@""#, token[0]);
    let (code, said) = shell(&line, &[&["receive", "-"], &there[..]].concat()).await;
    assert_eq!((code, said.trim_end()), (Some(0), "received 1; balance 8"));

    // One that nobody has received: it comes back, and is worth nothing any more.
    let (_, token) = miner(&[&["send", "5"], &at[..]].concat()).await;
    let (code, lines) = miner(&[&["reclaim"], &at[..]].concat()).await;
    let said = format!("taken back 5; balance {}", earned - 8);
    assert_eq!((code, lines), (Some(0), vec![said]));
    let (code, _) = miner(&[&["receive", &token[0]], &there[..]].concat()).await;
    assert_eq!(code, Some(1));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_can_not_be_printed_stays_in_the_wallet() {
    let house = House::start().await;
    let wallet = house.wallet("wallet");
    let earned = house.earn(locking_key(&wallet).unwrap(), 6).await;
    let (page, mint, wallet) = (house.page(), house.mint_url(), wallet.to_str().unwrap().to_owned());
    let at = ["--mint", &mint, "--data-dir", &wallet];
    let (code, _) = miner(&[&["redeem", "--pool", &page], &at[..]].concat()).await;
    assert_eq!(code, Some(0));

    let mut sending = Process::start("miner", &[&["send", "7"], &at[..]].concat());
    sending.stop_listening().await;
    assert_eq!(sending.ended().await.code(), Some(1));
    for (output, complaint) in [
        (">&-", "standard output is closed or /dev/null"),
        (">/dev/null", "standard output is closed or /dev/null"),
        (
            ">/dev/full",
            "the token could not be handed over, and is back in the wallet",
        ),
    ] {
        let (code, said) = shell(&format!(r#""$0" "$@" {output}"#), &[&["send", "7"], &at[..]].concat()).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(complaint), "{said}");
    }
    let (code, lines) = miner(&[&["balance"], &at[..]].concat()).await;
    assert_eq!((code, lines), (Some(0), vec![earned.to_string()]));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_redeemed_is_told_with_the_reason_and_exit_code_1() {
    let house = House::start().await;
    let wallet = house.wallet("wallet");
    let key = locking_key(&wallet).unwrap();
    house.earn(key, 3).await;
    let (page, mint) = (house.page(), house.mint_url());
    let path = wallet.to_str().unwrap();
    {
        // One that is none of the mint's.
        let config = WalletConfig::new(mint.parse().unwrap(), wallet.clone());
        let (redeemer, _) = Redeemer::open(&config).await.unwrap();
        redeemer.add(["7c9e6679-7425-40de-944b-e07fc1f90ae7"]).await.unwrap();
    }
    let (code, lines) = miner(&["redeem", "--pool", &page, "--mint", &mint, "--data-dir", path]).await;
    assert_eq!(code, Some(1));
    let said = lines.last().unwrap();
    assert!(
        said.starts_with("miner: 3 quotes redeemed; 1 are refused by the mint: "),
        "{said}"
    );

    let (code, lines) = miner(&[
        "redeem",
        "--pool",
        "http://127.0.0.1:1",
        "--mint",
        &mint,
        "--data-dir",
        path,
    ])
    .await;
    assert_eq!(code, Some(1));
    let said = "the pool's page at http://127.0.0.1:1 can't be read";
    assert!(lines.last().unwrap().contains(said), "{lines:?}");
    let (code, lines) = miner(&["redeem", "--pool", "127.0.0.1:8081", "--data-dir", path]).await;
    assert_eq!(code, Some(2));
    assert!(
        lines
            .last()
            .unwrap()
            .starts_with("miner: --pool = \"127.0.0.1:8081\": expected a URL"),
        "{lines:?}"
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redeeming_that_waits_for_its_mint_has_all_pages_and_can_be_stopped() {
    let house = House::start().await;
    let wallet = house.wallet("wallet");
    house.earn(locking_key(&wallet).unwrap(), 1100).await;
    let page = house.page();
    let nowhere = "http://127.0.0.1:1";
    let args = [
        "redeem",
        "--pool",
        &page,
        "--mint",
        nowhere,
        "--data-dir",
        wallet.to_str().unwrap(),
    ];
    let mut process = Process::start("miner", &args);
    process
        .hears("that it waits", |lines| {
            lines.iter().any(|line| line.contains("1100 wait")).then_some(())
        })
        .await;
    process.signal("TERM").await;
    assert_eq!(process.ended().await.code(), Some(1));
    let said = process.finished().await;
    assert_eq!(
        said.last().unwrap(),
        "miner: stopped: 0 quotes redeemed, 1100 still wait"
    );
    house.stop().await;
}
