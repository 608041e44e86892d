//! Leaves a page open and tells each minute what it costs: memory of the tab after a garbage collection, DOM nodes,
//! listeners, and how long the browser was busy with it.
//! `cargo run -p browser-test --example watch -- URL MINUTES`

use std::{env, error::Error, time::Duration};

use browser_test::{Browser, BrowserError, Scheme};
use serde_json::{Value, json};
use tokio::time::{self, MissedTickBehavior};

const METRICS: [&str; 6] = [
    "JSHeapUsedSize",
    "JSHeapTotalSize",
    "Nodes",
    "JSEventListeners",
    "Documents",
    "TaskDuration",
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let url = arguments.next().ok_or("which URL?")?;
    let minutes: u32 = arguments.next().ok_or("for how many minutes?")?.parse()?;
    let browser = Browser::start().await?;
    browser.emulate(1280, 800, Scheme::Light).await?;
    browser.open(&url).await?;
    browser.devtools("Performance.enable", json!({})).await?;
    println!("minute\t{}\tquotes redeemed\tbadge", METRICS.join("\t"));
    let mut minute_ends = time::interval(Duration::from_secs(60));
    minute_ends.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for minute in 0..=minutes {
        minute_ends.tick().await;
        browser.devtools("HeapProfiler.collectGarbage", json!({})).await?;
        let cost = cost(&browser).await?.map(|value| format!("{value:.1}"));
        let told = [browser.text("quotes-redeemed").await?, browser.text("status").await?];
        println!("{minute}\t{}\t{}", cost.join("\t"), told.join("\t"));
    }
    println!("console: {:?}", browser.console().await?);
    Ok(())
}

async fn cost(browser: &Browser) -> Result<[f64; 6], BrowserError> {
    let answer = browser.devtools("Performance.getMetrics", json!({})).await?;
    let metrics = answer
        .get("metrics")
        .and_then(Value::as_array)
        .ok_or(BrowserError::Answer("getMetrics"))?;
    Ok(METRICS.map(|name| {
        let found = metrics
            .iter()
            .find(|metric| metric.get("name").is_some_and(|told| told == name));
        found
            .and_then(|metric| metric.get("value")?.as_f64())
            .unwrap_or(f64::NAN)
    }))
}
