//! What goes wrong in the life of a pool, and what is said of it.

use std::time::{Duration, Instant};

use system_tests::{PATIENCE, Pair, Process, Truth, eventually, json, new_share, stats};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_mint_away_the_outbox_goes_on_and_the_page_says_so() {
    let mut pair = Pair::start().await;
    let outbox = pair.outbox();
    outbox.enqueue(new_share()).await.unwrap();
    pair.until_answered(1).await;
    let before = pair.until_shown_is_true().await;

    pair.kill_mint().await;
    let disconnected = pair.until_status("disconnected").await;
    assert_eq!(Truth::shown(&disconnected), Some(before), "the last numbers stay");
    assert_eq!(disconnected["mint"]["connected"], false);
    for _ in 0..10 {
        outbox.enqueue(new_share()).await.unwrap();
    }
    eventually("ten shares wait", PATIENCE, async || {
        let pool = json(&pair.dashboard, "/api/v1/pool").await?;
        (pool["quotes"]["waiting"] == 10).then_some(())
    })
    .await;
    let older = stats(&pair.dashboard).await.unwrap();
    assert!(
        older["age_ms"].as_u64() > disconnected["age_ms"].as_u64(),
        "the age goes on"
    );

    pair.start_mint();
    eventually("the mint is back", PATIENCE, async || {
        stats(&pair.dashboard)
            .await
            .filter(|stats| stats["mint"]["connected"] == true)
    })
    .await;
    let connected = Instant::now();
    let live = pair.until_status("live").await;
    assert!(
        connected.elapsed() < Duration::from_secs(1),
        "live after {:?}",
        connected.elapsed()
    );
    assert_eq!(live["mint"]["restarts"], 1);
    pair.until_answered(11).await;
    assert_eq!(pair.until_shown_is_true().await.quotes, [0, 11, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pool_away_the_mint_serves_wallets() {
    let mut pair = Pair::configure().await;
    pair.start_mint();
    let info = eventually("the mint answers", PATIENCE, async || {
        json(&pair.mint_http, "/v1/info").await
    })
    .await;
    assert_eq!(info["nuts"]["5"]["disabled"], true, "melting is off");
    let keysets = json(&pair.mint_http, "/v1/keysets").await.unwrap();
    assert_eq!(keysets["keysets"][0]["unit"], "hash");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_peer_and_one_that_talks_garbage_keep_nobody_out() {
    let mut pair = Pair::configure().await;
    pair.start_pool();
    eventually("the pool listens", PATIENCE, async || {
        TcpStream::connect(&pair.mint_link).await.ok()
    })
    .await;
    let mut silent = TcpStream::connect(&pair.mint_link).await.unwrap();
    let mut garbage = TcpStream::connect(&pair.mint_link).await.unwrap();
    garbage.write_all(&[0x5a; 4096]).await.unwrap();

    pair.start_mint();
    pair.until_status("live").await;
    closed(&mut garbage).await;
    closed(&mut silent).await;
}

/// Reads until the other end closes the connection.
async fn closed(stream: &mut TcpStream) {
    let mut said = [0; 1024];
    let reading = async {
        // An error is an end too: a connection that was reset.
        while matches!(stream.read(&mut said).await, Ok(1..)) {}
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the peer closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_in_order_and_quick() {
    let mut pair = Pair::start().await;
    pair.until_status("live").await;
    for (role, process) in [("mint", &mut pair.mint), ("pool", &mut pair.pool)] {
        let process = process.as_mut().unwrap();
        let start = Instant::now();
        process.signal("TERM").await;
        let status = process.ended().await;
        assert_eq!(status.code(), Some(0), "{role}");
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{role} took {:?}",
            start.elapsed()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_keeps_no_stop_from_being_heard() {
    let mut pair = Pair::start().await;
    pair.until_status("live").await;
    for (role, process) in [("mint", &mut pair.mint), ("pool", &mut pair.pool)] {
        let process = process.as_mut().unwrap();
        process.stop_listening().await;
        process.signal("TERM").await;
        assert_eq!(process.ended().await.code(), Some(0), "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_other_end_does_not_expect_is_named_in_both_logs() {
    let mut pair = Pair::configure().await;
    let mint_key = pair.key_of("mint", "--print-public-key").await;
    let authority = pair.key_of("pool", "--print-authority-key").await;

    // Something else goes wrong first; it must not hide what comes.
    pair.write_pool(OTHER_MINT);
    pair.start_pool();
    eventually("garbage is sent", PATIENCE, async || {
        let mut garbage = TcpStream::connect(&pair.mint_link).await.ok()?;
        garbage.write_all(&[0x5a; 4096]).await.ok()
    })
    .await;
    says(&mut pair.pool, &["the connection of a mint failed"]).await;
    pair.start_mint();
    says(
        &mut pair.pool,
        &["WARN", &mint_key, "is not in mint_link.mint_public_keys"],
    )
    .await;
    says(
        &mut pair.mint,
        &["WARN", &mint_key, "mint_link.mint_public_keys", "right after"],
    )
    .await;
    pair.kill_mint().await;

    pair.pin(OTHER_AUTHORITY);
    pair.start_mint();
    says(&mut pair.pool, &["WARN", &authority, "pinned another authority key"]).await;
    says(&mut pair.mint, &["WARN", OTHER_AUTHORITY, "authority_key in [[pools]]"]).await;
}

/// Waits for a line that holds all of these.
async fn says(process: &mut Option<Process>, parts: &[&str]) {
    let all = |line: &String| parts.iter().all(|part| line.contains(part));
    let process = process.as_mut().unwrap();
    process
        .hears(&format!("{parts:?}"), |lines| lines.iter().any(all).then_some(()))
        .await;
}

/// A pool, as the mint's configuration names it.
const POOL: &str = "[[pools]]\naddress = \"pool:34260\"\n\
                    authority_key = \"9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72\"\n";

/// Keys that belong to nobody here: the generator of secp256k1, and an authority key.
const OTHER_MINT: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
const OTHER_AUTHORITY: &str = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72";

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_is_one_clear_line_and_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let cases = [
        (
            "pool",
            "[mint_link]\nwindow = 0".to_owned(),
            vec!["mint_link.window", "0"],
        ),
        ("pool", "colour = \"red\"".to_owned(), vec!["colour"]),
        (
            "pool",
            "[mint_link]\nlisten = \"0.0.0.0:0\"".to_owned(),
            vec!["mint_public_keys"],
        ),
        (
            "pool",
            format!(
                "[mint_link]\nlisten = \"127.0.0.1:0\"\n[mining]\nlisten = \"127.0.0.1:0\"\n[dashboard]\nlisten = \"{taken}\""
            ),
            vec!["dashboard.listen", taken.as_str()],
        ),
        (
            "mint",
            format!("{POOL}{POOL}"),
            vec!["pools[1].address = \"pool:34260\"", "pools[0]"],
        ),
        (
            "mint",
            "[push]\ninterval_ms = 50".to_owned(),
            vec!["interval_ms", "50", "100"],
        ),
        (
            "mint",
            format!("[dashboard]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"{taken}\""),
            vec!["http.listen", taken.as_str()],
        ),
        (
            "devnet",
            "[mining]\nshares_per_second = 0.0".to_owned(),
            vec!["mining.shares_per_second"],
        ),
    ];
    let data = dir.path().join("data");
    let with_data = cases
        .into_iter()
        .map(|(role, text, said)| (role, format!("data_dir = {data:?}\n{text}"), said));
    let taken = dir.path().join("file");
    std::fs::write(&taken, "").unwrap();
    let bad_data = ["mint", "pool"].into_iter().flat_map(|role| {
        [
            (
                role,
                "data_dir = \"\"".to_owned(),
                vec!["data_dir = \"\"", "expected a directory"],
            ),
            (
                role,
                format!("data_dir = {taken:?}"),
                vec!["data_dir = ", "/file\"", "expected a directory"],
            ),
        ]
    });
    for (role, text, said) in with_data.chain(bad_data) {
        let file = dir.path().join(format!("{role}.toml"));
        std::fs::write(&file, format!("{text}\n")).unwrap();
        let mut process = Process::start(role, &["--config", file.to_str().unwrap()]);
        assert_eq!(process.ended().await.code(), Some(2), "{role}: {text}");
        let line = process.hears("what is wrong", |lines| lines.last().cloned()).await;
        for part in said.iter().chain([&file.to_str().unwrap()]) {
            assert!(line.contains(part), "{role}: {text}: {line:?} does not name {part}");
        }
    }
}
