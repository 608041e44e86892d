//! A miner that is there and mines no more: the page must not show it as if it did.

use browser_test::Browser;
use system_tests::{Process, key_of};

/// Of the only miner: how long ago its last share was, in seconds; `null` unless there is one row.
const LAST_SHARE: &str = "(() => {
    const rows = document.querySelectorAll('#miners-table tbody tr');
    const age = rows[0]?.querySelector('[data-label=\"Last share\"]').textContent;
    return rows.length === 1 && /^<?\\d+ s$/.test(age) ? (age[0] === '<' ? 0 : parseInt(age)) : null;
})()";

#[tokio::test]
async fn a_stopped_miners_last_share_grows_old_and_then_its_row_goes() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("pool.toml");
    let text = format!(
        "data_dir = {:?}\n[mint_link]\nlisten = \"127.0.0.1:0\"\n[dashboard]\nlisten = \"127.0.0.1:0\"\n\
         [mining]\nlisten = \"127.0.0.1:0\"\nshares_per_minute = 300.0\nidle_timeout_ms = 10000\n",
        dir.path().join("pool"),
    );
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let authority = key_of("pool", config, "--print-authority-key").await;
    let mut pool = Process::start("pool", &["--config", config]);
    let [mining, dashboard] = pool.announces(["mining", "dashboard"]).await;

    let browser = Browser::start().await.unwrap();
    browser.open(&format!("http://{dashboard}/")).await.unwrap();
    browser.until_text("miners", "0").await.unwrap();
    let wallet = dir.path().join("wallet");
    let wallet = wallet.to_str().unwrap();
    let miner = Process::start(
        "miner",
        &["--pool", &mining, "--authority-key", &authority, "--data-dir", wallet],
    );
    browser.until(&format!("{LAST_SHARE} === 0")).await.unwrap();
    browser.until_text("miners", "1").await.unwrap();

    // Its connection lives on, for the kernel answers in its place.
    miner.signal("STOP").await;
    browser.until(&format!("{LAST_SHARE} >= 2")).await.unwrap();
    browser
        .until("document.querySelectorAll('#miners-table tbody tr').length === 0")
        .await
        .unwrap();
    browser.until_text("miners", "0").await.unwrap();

    miner.signal("CONT").await;
    browser.until(&format!("{LAST_SHARE} === 0")).await.unwrap();
    assert_eq!(browser.console().await.unwrap(), Vec::<String>::new());
}
