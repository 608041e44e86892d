//! The program: what it says, how it mines, how it ends.

use std::time::Duration;

use system_tests::{Process, eventually};

use crate::house::{House, PATIENCE, miner};

#[tokio::test(flavor = "multi_thread")]
async fn it_mines_hears_of_its_quotes_and_redeems_them() {
    let house = House::start().await;
    let (pool, mint) = (house.pool.mining_address().to_string(), house.mint_url());
    let (key, wallet) = (house.pool.authority_public_key().to_string(), house.wallet("wallet"));
    let config = house.dir.path().join("miner.toml");
    std::fs::write(&config, "[hashing]\nmax_hashrate = 100_000\n").unwrap();
    let mut process = Process::start(
        "miner",
        &[
            "--config",
            config.to_str().unwrap(),
            "--pool",
            &pool,
            "--authority-key",
            &key,
            "--mint",
            &mint,
            "--worker",
            "test",
            "--data-dir",
            wallet.to_str().unwrap(),
        ],
    );
    let [locking_key] = process.announces(["locking-key"]).await;
    assert_eq!(locking_key, hex::encode(miner::wallet::locking_key(&wallet).unwrap()));
    process
        .hears("a line with redeemed quotes", |lines| {
            let working = |line: &&String| line.contains("H/s, shares ") && !line.contains(" waiting 0 redeemed");
            lines.iter().find(working).cloned()
        })
        .await;
    process.signal("TERM").await;
    assert_eq!(process.ended().await.code(), Some(0));
    let said = process.finished().await;
    assert!(
        !said.iter().any(|line| line.contains("did not end in order")),
        "{said:?}"
    );
    let last = said.last().unwrap();
    assert!(last.contains(" 0 rejected"), "{last}");

    // What it was stopped with, it redeems the next time; at rest the wallet has what the mint has issued.
    let (page, path) = (house.page(), wallet.to_str().unwrap());
    eventually("nothing waits for the mint", PATIENCE, async || {
        (house.pool.outbox().view().tally.waiting == 0).then_some(())
    })
    .await;
    let (code, lines) = miner(&["redeem", "--pool", &page, "--mint", &mint, "--data-dir", path]).await;
    assert_eq!(code, Some(0), "{lines:?}");
    let truth = house.truth();
    assert_eq!(truth.quotes, [0, 0, truth.redeemed]);
    assert_eq!(truth.redeemed, house.pool.outbox().view().tally.acknowledged);
    let (_, balance) = miner(&["balance", "--mint", &mint, "--data-dir", path]).await;
    assert_eq!(balance, [truth.amounts[2].to_string()]);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_pool_and_mint_it_waits_for_them_and_a_signal_ends_it_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let key = sv2_transport::AuthorityKeypair::generate().public().to_string();
    let path = dir.path().join("wallet");
    let args = [
        "--pool",
        "127.0.0.1:1",
        "--authority-key",
        &key,
        "--data-dir",
        path.to_str().unwrap(),
    ];
    for signal in ["TERM", "INT"] {
        let mut process = Process::start("miner", &[&args[..], &["--mint", "http://127.0.0.1:1"]].concat());
        process
            .hears("that there is no pool", |lines| {
                lines.iter().any(|line| line.contains("can't connect")).then_some(())
            })
            .await;
        let told = std::time::Instant::now();
        process.signal(signal).await;
        assert_eq!(process.ended().await.code(), Some(0));
        assert!(told.elapsed() < Duration::from_secs(10));
        let seed = std::fs::read_to_string(path.join("seed")).unwrap();
        let first_words = seed.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
        let said = process.finished().await;
        assert!(
            !said.iter().any(|line| line.contains(&first_words)),
            "the seed was shown"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_is_one_clear_line_and_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("miner.toml");
    let cases = [
        ("", vec![], "pool.authority_key = none: expected the pool's public key"),
        ("[pool]\nadress = \"a\"", vec![], "pool.adress: unknown key"),
        (
            "[hashing]\nthreads = 0",
            vec![],
            "hashing.threads = 0: expected 1 to 1024",
        ),
        (
            "[wallet]\nmint_url = \"nowhere\"",
            vec![],
            "wallet.mint_url = \"nowhere\"",
        ),
        (
            "",
            vec!["--authority-key", "abc"],
            "--authority-key = \"abc\": expected base58",
        ),
        (
            "",
            vec![
                "--authority-key",
                "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
            ],
            "in hex are the keys of mints and wallets",
        ),
        (
            "",
            vec!["--pool", "http://127.0.0.1:8081"],
            "pool.address = \"http://127.0.0.1:8081\": expected host:port without http://",
        ),
        (
            "",
            vec!["--pool-http", "127.0.0.1:34254"],
            "expected a URL that begins with http://",
        ),
        ("", vec!["--mint", "abc"], "--mint = \"abc\": expected a URL"),
        (
            "",
            vec!["--threads", "5000"],
            "hashing.threads = 5000: expected 1 to 1024",
        ),
        ("", vec!["--worker", "a.b"], "pool.worker = \"a.b\""),
        ("[wallet]\nunit = \"sat\"", vec!["balance"], "wallet.unit = \"sat\""),
        (
            "",
            vec!["receive", "x", "--data-dir", "/proc/wallet"],
            "wallet.data_dir = \"/proc/wallet\": ",
        ),
        (
            "",
            vec!["key", "--data-dir", "/proc/wallet"],
            "wallet.data_dir = \"/proc/wallet\": ",
        ),
    ];
    for (text, flags, complaint) in cases {
        std::fs::write(&file, text).unwrap();
        let (code, lines) = miner(&[&["--config", file.to_str().unwrap()], &flags[..]].concat()).await;
        assert_eq!(code, Some(2), "{text} {flags:?}");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(complaint), "{lines:?} does not say {complaint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_flag_is_a_usage_error_and_help_is_none() {
    for (args, code) in [
        (vec!["--help"], 0),
        (vec!["redeem", "--help"], 0),
        (vec!["--version"], 0),
        (vec!["--colour"], 2),
        (vec!["redeem"], 2),
        (vec!["send"], 2),
    ] {
        assert_eq!(miner(&args).await.0, Some(code), "{args:?}");
    }
}
