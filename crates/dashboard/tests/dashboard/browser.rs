//! The pages in a real Chromium. `SCREENSHOTS=FOLDER` keeps pictures of every state.

use std::{env, path::PathBuf, time::Instant};

use browser_test::{Browser, Scheme};
use stats_push::{CacheSession, SnapshotCache};

use crate::support::{Server, snapshot, tell, unit};

/// Says that `issued` quotes are issued, by a mint that pushes every 100 ms: stale after 2 s.
fn tell_often(session: &CacheSession, issued: u64) {
    let mut snapshot = snapshot(issued, [unit("hash", issued)]);
    snapshot.interval = std::time::Duration::from_millis(100);
    session.apply(snapshot, Instant::now());
}

async fn picture(browser: &Browser, name: &str) {
    let Some(folder) = env::var_os("SCREENSHOTS") else {
        return;
    };
    for (scheme, shade) in [(Scheme::Dark, "dark"), (Scheme::Light, "light")] {
        for width in [390, 1280] {
            browser.emulate(width, 800, scheme).await.unwrap();
            let file = PathBuf::from(&folder).join(format!("{name}-{shade}-{width}.png"));
            browser.screenshot(&file).await.unwrap();
        }
    }
}

/// The page's numbers are those of the JSON.
async fn agrees(browser: &Browser, cache: &SnapshotCache) {
    let ehash = cache.load().latest.as_ref().unwrap().snapshot.ehash;
    for (id, number) in [
        ("quotes-redeemed", ehash.quotes_redeemed),
        ("quotes-issued", ehash.quotes.issued),
        ("quotes-paid", ehash.quotes.paid),
        ("ehash-issued", ehash.amounts.issued),
        ("ehash-waiting", ehash.amounts.paid),
    ] {
        assert_eq!(
            browser.text(id).await.unwrap().replace(',', ""),
            number.to_string(),
            "{id}"
        );
    }
}

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
    assert_eq!(browser.eval("window.notReloaded").await.unwrap(), true);
    assert_eq!(browser.console().await.unwrap(), Vec::<String>::new());
    let foreign = |url: &String| !url.starts_with(&server.base) && !url.starts_with("data:");
    let requests = browser.requests().await.unwrap();
    assert!(!requests.iter().any(foreign), "{requests:?}");

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
async fn the_mint_page_lists_units_and_nothing_overflows_on_a_phone() {
    let server = Server::pool().await;
    let session = server.connect();
    let units = |issued| {
        [
            unit("hash_02ab_912345", 7),
            unit("hash_<script>alert(1)</script>", issued),
            unit(&"x".repeat(255), u64::MAX / 32),
        ]
    };
    session.apply(snapshot(1, units(8)), Instant::now());
    let browser = Browser::start().await.unwrap();
    browser.emulate(390, 844, Scheme::Light).await.unwrap();
    browser.open(&format!("{}/mint", server.base)).await.unwrap();
    let rows = "[...document.querySelectorAll('#units tbody tr')].map((tr) => tr.cells[0].textContent).join()";
    let names = format!("{},hash_<script>alert(1)</script>,hash_02ab_912345", "x".repeat(255));
    assert_eq!(browser.eval(rows).await.unwrap(), names);
    session.apply(snapshot(2, units(1_000_000)), Instant::now());
    browser
        .until("document.querySelectorAll('#units tbody tr')[1].cells[1].textContent === '1,000,000'")
        .await
        .unwrap();
    assert_eq!(browser.eval(rows).await.unwrap(), names);
    for (path, width) in [
        ("/mint", 390),
        ("/", 390),
        ("/mint", 320),
        ("/", 320),
        ("/mint", 840),
        ("/", 1280),
    ] {
        browser.emulate(width, 844, Scheme::Light).await.unwrap();
        browser.open(&format!("{}{path}", server.base)).await.unwrap();
        let overflow = browser
            .eval("document.documentElement.scrollWidth - window.innerWidth")
            .await
            .unwrap();
        assert!(overflow.as_i64().unwrap() <= 0, "{path} at {width}: {overflow}");
    }
    browser.open(&format!("{}/mint", server.base)).await.unwrap();
    picture(&browser, "mint-odd").await;
    assert_eq!(browser.console().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn without_scripts_the_numbers_are_in_the_page() {
    let server = Server::pool().await;
    let session = server.connect();
    tell(&session, 4242);
    let browser = Browser::start().await.unwrap();
    browser.scripts(false).await.unwrap();
    browser.open(&server.base).await.unwrap();
    assert_eq!(browser.text("quotes-redeemed").await.unwrap(), "4,242");
    assert_eq!(browser.text("status").await.unwrap(), "live");
}
