//! The pool's page while processes are stopped, killed and started: it says what is so, and forgets nothing.

use browser_test::Browser;
use serde_json::Value;
use system_tests::{PATIENCE, Pair, eventually, json};

const HISTORY: &str = "/api/v1/mint/stats/history";

/// When the mint was heard, by the pool's history: the times of the slots that have a total.
fn heard(history: &Value) -> Vec<u64> {
    let (from, step) = (history["from"].as_u64().unwrap(), history["step"].as_u64().unwrap());
    let redeemed = history["redeemed"].as_array().unwrap();
    let slots = redeemed.iter().enumerate().filter(|(_, total)| !total.is_null());
    slots.map(|(slot, _)| from + slot as u64 * step).collect()
}

#[tokio::test]
async fn p9_the_badge_follows_a_mint_that_is_stopped_killed_and_started() {
    let mut pair = Pair::start().await;
    pair.until_status("live").await;
    let browser = Browser::start().await.unwrap();
    browser.open(&format!("http://{}/", pair.dashboard)).await.unwrap();
    browser.eval("window.notReloaded = true").await.unwrap();
    browser.until_text("status", "live").await.unwrap();

    // The kernel goes on answering for it: the link is up, and nothing comes.
    let mint = pair.mint.as_ref().unwrap();
    mint.signal("STOP").await;
    browser.until_text("status", "stale").await.unwrap();
    mint.signal("CONT").await;
    browser.until_text("status", "live").await.unwrap();
    pair.kill_mint().await;
    browser.until_text("status", "disconnected").await.unwrap();
    browser.until_text("quotes-redeemed", "0").await.unwrap();
    pair.start_mint();
    browser.until_text("status", "live").await.unwrap();
    browser.until_text("mint-restarts", "1").await.unwrap();
    assert_eq!(browser.eval("window.notReloaded").await.unwrap(), true);
    assert_eq!(browser.console().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_killed_pools_history_is_there_again_under_its_own_times_with_a_gap() {
    let mut pair = Pair::start().await;
    // Two slots, so that the first is complete and written down.
    let before = eventually("two slots of history", PATIENCE, async || {
        let heard = heard(&json(&pair.dashboard, HISTORY).await?);
        (heard.len() >= 2).then_some(heard)
    })
    .await;
    let file = pair.path("pool").join("history.jsonl");
    let written = format!("[10,{},", before[0]);
    eventually("the first slot is in the file", PATIENCE, async || {
        std::fs::read_to_string(&file).ok()?.contains(&written).then_some(())
    })
    .await;
    pair.kill_pool().await;
    pair.kill_mint().await;
    // Killed in the middle of a line.
    let mut text = std::fs::read(&file).unwrap();
    text.extend_from_slice(b"[10,179");
    std::fs::write(&file, text).unwrap();

    pair.start_pool();
    let history = eventually("the pool serves", PATIENCE, async || {
        json(&pair.dashboard, HISTORY).await
    })
    .await;
    let restored = heard(&history);
    assert!(restored.contains(&before[0]), "{restored:?}, before {before:?}");
    assert!(
        restored.iter().all(|at| *at <= *before.last().unwrap() + 10),
        "{restored:?}, before {before:?}"
    );
    let stats = pair.until_status("never").await;
    assert_eq!(
        stats["quotes_redeemed"],
        Value::Null,
        "what was restored is not passed off as new"
    );
    assert_eq!(stats["age_ms"], Value::Null);
    pair.start_mint();
    pair.until_status("live").await;
    eventually("the history goes on", PATIENCE, async || {
        let now = heard(&json(&pair.dashboard, HISTORY).await?);
        (now.contains(&before[0]) && now.last() > before.last()).then_some(())
    })
    .await;
}
