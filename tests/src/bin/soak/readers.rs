//! Those who read the pool's dashboard: one asks the JSON API at random moments, one follows the live stream.
//!
//! The moments are a Poisson process that does not wait for answers: so what is seen is what a visitor at any time sees,
//! and a pool that hangs is asked all the same. An answer is judged by the moment it is there, with the time that HTTP
//! took in it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use reqwest::Client;
use serde_json::Value;
use stats_push::{EhashTotals, PerState, UnixMillis};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::{clock, judge::Judge, place::Shown};

/// The mean time between two questions.
const MEAN_GAP: Duration = Duration::from_millis(50);
/// A visitor has more patience, but not a poller.
const ANSWER: Duration = Duration::from_secs(2);
/// Questions without an answer at the same time.
const OPEN: usize = 64;
/// A stream says something every five seconds.
const SILENCE: Duration = Duration::from_secs(15);
/// Before a stream that has ended is opened again.
const REOPEN: Duration = Duration::from_millis(100);
/// The longest event that a stream may send.
const EVENT: usize = 1024 * 1024;

/// Asks for the JSON at random moments, for ever.
pub(crate) async fn ask(dashboard: SocketAddr, judge: Judge) -> anyhow::Result<()> {
    let http = Client::builder().timeout(ANSWER).build()?;
    let url: Arc<str> = format!("http://{dashboard}/api/v1/mint/stats").into();
    let places = Arc::new(Semaphore::new(OPEN));
    loop {
        sleep(MEAN_GAP.mul_f64(-(1.0 - rand::random::<f64>()).ln())).await;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let (http, url, judge) = (http.clone(), Arc::clone(&url), judge.clone());
        tokio::spawn(async move {
            // No answer is no figure: it is not shown.
            if let Ok(body) = get(&http, &url).await
                && let Some(shown) = serde_json::from_slice(&body).ok().as_ref().and_then(shown)
            {
                judge.lock().http.sample(shown);
            }
            drop(place);
        });
    }
}

/// One question.
pub(crate) async fn get(http: &Client, url: &str) -> reqwest::Result<bytes::Bytes> {
    http.get(url).send().await?.error_for_status()?.bytes().await
}

/// Follows the live stream, for ever.
pub(crate) async fn follow(dashboard: SocketAddr, judge: Judge) -> anyhow::Result<()> {
    let http = Client::new();
    let url = format!("http://{dashboard}/api/v1/mint/stats/stream");
    loop {
        // Whatever ended it, a browser opens it again, and shows the last figures meanwhile.
        let _ = follow_once(&http, &url, &judge).await;
        sleep(REOPEN).await;
    }
}

async fn follow_once(http: &Client, url: &str, judge: &Judge) -> anyhow::Result<()> {
    let mut response = timeout(SILENCE, http.get(url).send()).await??.error_for_status()?;
    let mut buffer = Vec::new();
    while let Some(chunk) = timeout(SILENCE, response.chunk()).await?? {
        buffer.extend_from_slice(&chunk);
        anyhow::ensure!(buffer.len() <= EVENT, "an event without an end");
        while let Some(end) = buffer.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = buffer.drain(..end + 2).collect();
            if let Some(shown) = data(&event).as_ref().and_then(shown) {
                judge.lock().sse.shows(shown);
            }
        }
    }
    Ok(())
}

/// The JSON in an event's data, but for heartbeats, which carry no figures.
fn data(event: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(event).ok()?;
    serde_json::from_str(text.lines().find_map(|line| line.strip_prefix("data: "))?).ok()
}

/// What the dashboard's JSON shows, seen now; `None` if it knows nothing.
pub(crate) fn shown(stats: &Value) -> Option<Shown> {
    let at = clock::now();
    let taken = OffsetDateTime::parse(stats.get("taken_at")?.as_str()?, &Rfc3339).ok()?;
    let taken = UnixMillis(u64::try_from(taken.unix_timestamp_nanos() / 1_000_000).ok()?);
    Some(Shown {
        at,
        taken: clock::of_wall(taken),
        version: stats.get("sequence")?.as_u64()?,
        totals: EhashTotals {
            quotes_redeemed: stats.get("quotes_redeemed")?.as_u64()?,
            quotes: per_state(stats.get("quotes_by_state")?)?,
            amounts: per_state(stats.get("amounts")?)?,
        },
    })
}

fn per_state(counts: &Value) -> Option<PerState> {
    let number = |state: &str| {
        let number = counts.get(state)?;
        number.as_u64().or_else(|| number.as_str()?.parse().ok())
    };
    Some(PerState {
        unpaid: number("unpaid")?,
        paid: number("paid")?,
        issued: number("issued")?,
    })
}

/// What the pool's API shows now.
pub(crate) async fn look(http: &Client, dashboard: SocketAddr) -> anyhow::Result<Value> {
    let body = get(http, &format!("http://{dashboard}/api/v1/mint/stats")).await?;
    serde_json::from_slice(&body).context("the statistics' JSON")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_events_of_the_stream_are_read_and_heartbeats_are_not() {
        let figures =
            r#""quotes_by_state":{"unpaid":1,"paid":2,"issued":3},"amounts":{"unpaid":"4","paid":"5","issued":"6"}"#;
        let stats = format!(
            "id: 7\ndata: {{\"age_ms\":0,\"quotes_redeemed\":3,{figures},\"sequence\":9,\"taken_at\":\"2026-11-22T08:40:00.123Z\"}}\n\n"
        );
        let shown = shown(&data(stats.as_bytes()).unwrap()).unwrap();
        assert_eq!(shown.version, 9);
        assert_eq!(
            shown.totals.quotes,
            PerState {
                unpaid: 1,
                paid: 2,
                issued: 3
            }
        );
        assert_eq!(
            shown.totals.amounts,
            PerState {
                unpaid: 4,
                paid: 5,
                issued: 6
            }
        );
        let heartbeat = b"event: heartbeat\ndata: {\"age_ms\":5,\"status\":\"live\"}\n\n";
        assert!(super::shown(&data(heartbeat).unwrap()).is_none());
    }
}
