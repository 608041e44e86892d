//! The charts draw what the history tells, and go on from there.

use dashboard::History;
use serde_json::Value;

use super::*;
use crate::support::{Setup, history_file};

/// What a chart's legend says of a series.
fn legend(chart: &str, series: usize) -> String {
    format!("document.querySelectorAll('[data-chart={chart}] li b')[{series}]?.textContent")
}

/// How many pixels of a chart are painted.
fn painted(chart: &str) -> String {
    format!(
        "(() => {{ const canvas = document.querySelector('[data-chart={chart}] canvas'); if (!canvas) return 0;\
         const {{ data }} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);\
         let count = 0; for (let at = 3; at < data.length; at += 4) count += data[at] > 0; return count; }})()"
    )
}

#[tokio::test]
async fn charts_show_each_range_and_follow_what_the_page_hears() {
    let (_folder, file) = history_file(2 * 86_400);
    let server = Setup {
        history: History::open(file),
        ..Setup::default()
    }
    .start()
    .await;
    let session = server.connect();
    let issued = 2 * 86_400;
    tell(&session, issued);
    let browser = Browser::start().await.unwrap();
    browser.emulate(1280, 800, Scheme::Light).await.unwrap();
    browser.open(&server.base).await.unwrap();
    browser
        .until(&format!("{} === '172,800'", legend("states", 0)))
        .await
        .unwrap();
    browser
        .until(&format!("{} === '3'", legend("states", 1)))
        .await
        .unwrap();
    browser
        .until(&format!("{} === '15 s'", legend("age", 1)))
        .await
        .unwrap();
    tell(&session, issued + 5);
    browser
        .until(&format!("{} === '172,805'", legend("states", 0)))
        .await
        .unwrap();
    for chart in ["rate", "states", "age", "hashrate"] {
        assert!(
            browser.eval(&painted(chart)).await.unwrap().as_u64().unwrap() > 1000,
            "{chart}"
        );
    }
    for range in ["86400", "2592000"] {
        let button = format!("document.querySelector('[data-range=\"{range}\"]')");
        browser.eval(&format!("{button}.click()")).await.unwrap();
        browser
            .until(&format!("{button}.ariaPressed === 'true'"))
            .await
            .unwrap();
        browser
            .until(&format!("{} === '172,805'", legend("states", 0)))
            .await
            .unwrap();
        picture(&browser, &format!("charts-{range}")).await;
        browser.emulate(1280, 800, Scheme::Light).await.unwrap();
    }
    nothing_to_complain_of(&browser, &server).await;
}

#[tokio::test]
async fn a_range_that_the_server_did_not_answer_for_is_asked_for_again_soon() {
    let (_folder, file) = history_file(7200);
    let server = Setup {
        history: History::open(file),
        ..Setup::default()
    }
    .start()
    .await;
    let session = server.connect();
    tell(&session, 1);
    let browser = Browser::start().await.unwrap();
    browser.open(&server.base).await.unwrap();
    browser
        .until(&format!("{} === '1'", legend("states", 0)))
        .await
        .unwrap();
    let fails_once = "const real = window.fetch; window.fetch = (url, ...rest) => { \
                      if (!String(url).includes('from=-86400')) return real(url, ...rest); \
                      window.fetch = real; return Promise.reject(new TypeError('cut off')); }; \
                      document.querySelector('[data-range=\"86400\"]').click()";
    browser.eval(&format!("(() => {{ {fails_once} }})()")).await.unwrap();
    let asked = "performance.getEntriesByType('resource').some(({ name }) => name.includes('from=-86400'))";
    browser.until(asked).await.unwrap();
    nothing_to_complain_of(&browser, &server).await;
}

#[tokio::test]
async fn a_long_look_adds_nothing_to_the_page() {
    let (_folder, file) = history_file(7200);
    let server = Setup {
        history: History::open(file),
        ..Setup::default()
    }
    .start()
    .await;
    let session = server.connect();
    tell(&session, 1);
    let browser = Browser::start().await.unwrap();
    browser.open(&server.base).await.unwrap();
    browser
        .until(&format!("{} === '1'", legend("states", 0)))
        .await
        .unwrap();
    let nodes = "document.querySelectorAll('*').length";
    let before: Value = browser.eval(nodes).await.unwrap();
    for issued in 2..30 {
        tell(&session, issued);
        browser
            .until_text("quotes-redeemed", &issued.to_string())
            .await
            .unwrap();
    }
    assert_eq!(browser.eval(nodes).await.unwrap(), before);
    server.until_streams(1).await;
}
