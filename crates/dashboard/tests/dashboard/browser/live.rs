//! The page keeps up: with the mint, with its own server, and after it was out of sight.

use dashboard::{History, Limits};
use peer_test::proxy::{Proxy, Weather};

use super::*;
use crate::support::{Setup, history_file};

#[tokio::test]
async fn the_page_follows_the_mint_without_a_reload() {
    let server = Server::pool().await;
    let browser = Browser::start().await.unwrap();
    browser.emulate(1280, 800, Scheme::Light).await.unwrap();
    browser.open(&server.base).await.unwrap();
    browser.until_text("quotes-redeemed", "–").await.unwrap();
    browser.until_text("status", "no mint yet").await.unwrap();
    browser.eval("window.notReloaded = true").await.unwrap();
    picture(&browser, "pool-never").await;

    let session = server.connect();
    tell(&session, 1_234_567);
    browser.until_text("quotes-redeemed", "1,234,567").await.unwrap();
    browser.until_text("status", "live").await.unwrap();
    agrees(&browser, &server.cache).await;
    let zone = browser
        .eval("document.getElementById('received-at').title")
        .await
        .unwrap();
    assert!(
        zone.as_str().unwrap().contains("Z)"),
        "the exact time, with its zone: {zone}"
    );
    picture(&browser, "pool-live").await;
    tell(&session, 1_234_568);
    browser.until_text("quotes-redeemed", "1,234,568").await.unwrap();

    tell_often(&session, 1_234_569);
    browser.until_text("status", "stale").await.unwrap();
    browser.until_text("age", "3 s").await.unwrap();
    browser.until_text("quotes-redeemed", "1,234,569").await.unwrap();
    picture(&browser, "pool-stale").await;
    drop(session);
    browser.until_text("status", "disconnected").await.unwrap();
    browser.until_text("quotes-redeemed", "1,234,569").await.unwrap();
    picture(&browser, "pool-disconnected").await;

    let _legacy = server.connect();
    browser.until_text("status", "unsupported").await.unwrap();
    picture(&browser, "pool-unsupported").await;
    assert_eq!(browser.eval("window.notReloaded").await.unwrap(), true);
    nothing_to_complain_of(&browser, &server).await;

    server.stop.cancel();
    browser.until_text("status", "no answer").await.unwrap();
    browser.until_text("quotes-redeemed", "1,234,569").await.unwrap();
    picture(&browser, "pool-offline").await;
    let server = server.restart().await;
    browser.until_text("status", "no mint yet").await.unwrap();
    let session = server.connect();
    tell(&session, 7);
    browser.until_text("quotes-redeemed", "7").await.unwrap();
    browser.until_text("status", "live").await.unwrap();
    assert_eq!(browser.eval("window.notReloaded").await.unwrap(), true);
}

#[tokio::test]
async fn a_hidden_page_holds_no_stream_and_is_right_when_it_comes_back() {
    let server = Server::pool().await;
    let session = server.connect();
    tell(&session, 41);
    let browser = Browser::start().await.unwrap();
    browser.open(&server.base).await.unwrap();
    browser.until_text("status", "live").await.unwrap();
    server.until_streams(1).await;

    let covered = browser.cover().await.unwrap();
    server.until_streams(0).await;
    tell(&session, 42);
    drop(session);
    browser.uncover(covered).await.unwrap();
    browser.until_text("status", "disconnected").await.unwrap();
    browser.until_text("quotes-redeemed", "42").await.unwrap();
    server.until_streams(1).await;
    nothing_to_complain_of(&browser, &server).await;
}

#[tokio::test]
async fn where_no_stream_is_to_be_had_the_page_polls_under_any_path() {
    let limits = Limits::new("dashboard", 64, 0, Duration::from_secs(10)).unwrap();
    let setup = Setup {
        limits,
        base_path: "/behind/a-proxy",
        ..Setup::default()
    };
    let server = setup.start().await;
    let session = server.connect();
    tell(&session, 1);
    let browser = Browser::start().await.unwrap();
    browser.open(&format!("{}/behind/a-proxy", server.base)).await.unwrap();
    browser.until_text("quotes-redeemed", "1").await.unwrap();
    tell(&session, 2);
    browser.until_text("quotes-redeemed", "2").await.unwrap();
    browser.until_text("status", "live").await.unwrap();
    let requests = browser.requests().await.unwrap();
    let beside = |url: &&String| !url.starts_with(&format!("{}/behind/a-proxy", server.base));
    assert_eq!(requests.iter().find(beside), None);
}

#[tokio::test]
async fn without_scripts_the_numbers_are_in_the_page() {
    let (_folder, file) = history_file(7200);
    let history = History::open(file);
    let server = Setup {
        history,
        ..Setup::default()
    }
    .start()
    .await;
    let session = server.connect();
    tell(&session, 7260);
    let browser = Browser::start().await.unwrap();
    browser.scripts(false).await.unwrap();
    browser.open(&server.base).await.unwrap();
    assert_eq!(browser.text("quotes-redeemed").await.unwrap(), "7,260");
    assert_eq!(browser.text("status").await.unwrap(), "live");
    assert_eq!(browser.text("quotes-issued").await.unwrap(), "7,260");
    let rate = browser.text("rate-1h").await.unwrap();
    assert!(rate.ends_with(" / min"), "{rate}");
    browser.emulate(390, 844, Scheme::Light).await.unwrap();
    if let Some(folder) = env::var_os("SCREENSHOTS") {
        fs::create_dir_all(&folder).unwrap();
        let file = PathBuf::from(folder).join("pool-without-scripts-light-390.png");
        browser.screenshot(&file).await.unwrap();
    }
}

/// What the page has seen says live, and the server, or the network before it, freezes.
#[tokio::test]
async fn a_page_that_hears_nothing_does_not_go_on_saying_live() {
    let server = Server::pool().await;
    let proxy = Proxy::start(server.base.trim_start_matches("http://").parse().unwrap()).await;
    let session = server.connect();
    let every_second = |issued| {
        let mut snapshot = snapshot(issued, [unit("hash", issued)]);
        snapshot.interval = Duration::from_secs(1);
        session.apply(snapshot, Instant::now());
    };
    every_second(1);
    let browser = Browser::start().await.unwrap();
    browser.open(&format!("http://{}", proxy.address())).await.unwrap();
    server.until_streams(1).await;
    every_second(2);
    browser.until_text("quotes-redeemed", "2").await.unwrap();
    browser.until_text("status", "live").await.unwrap();
    proxy.set(Weather::Swallowing);
    // By its own clock, however busy the machine is: the limit is 3 s, and 6 s of silence are allowed.
    let watched = "window.live = [], setInterval(() => {
        if (document.getElementById('status').textContent === 'live') window.live.push(parseInt(document.getElementById('age').textContent) || 0);
    }, 100)";
    browser.eval(watched).await.unwrap();
    browser.until_text("status", "no answer").await.unwrap();
    let oldest = browser.eval("Math.max(...window.live)").await.unwrap();
    assert!(oldest.as_u64().unwrap() <= 9, "live with numbers {oldest} s old");
}
