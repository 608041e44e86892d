//! `/api/v1/mint/stats`: each status to the letter, amounts beyond 2^53, and ETags.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stats_push::{PerState, SnapshotCache};

use crate::support::{Server, snapshot, tell, unit};

const PATH: &str = "/api/v1/mint/stats";

/// The answer without the age, which is checked: not more than the time since `received`, `null` without it.
async fn answer(server: &Server, received: Option<Instant>) -> String {
    let text = server.text(PATH).await;
    let (age, rest) = text.strip_prefix(r#"{"age_ms":"#).unwrap().split_once(',').unwrap();
    match received {
        Some(at) => assert!(age.parse::<u128>().unwrap() <= at.elapsed().as_millis(), "{age}"),
        None => assert_eq!(age, "null"),
    }
    rest.to_owned()
}

/// What the cache has read from its own wall clock: the time of receipt, and the difference to `taken_at`.
fn received_at(cache: &SnapshotCache) -> (String, i64) {
    let latest = cache.load().latest.clone().unwrap();
    let nanos = i128::from(latest.at_wall.0) * 1_000_000;
    let form = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let at = time::OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .unwrap()
        .format(form)
        .unwrap();
    (at, 1_795_336_800_100 - i64::try_from(latest.at_wall.0).unwrap())
}

#[tokio::test]
async fn before_any_mint_everything_is_null() {
    let server = Server::pool().await;
    assert_eq!(
        answer(&server, None).await,
        r#""status":"never","stale_after_ms":null,"quotes_redeemed":null,"total_quotes_issued":null,"total_ehash_issued":null,"quotes_by_state":null,"amounts":null,"units_total":null,"units":null,"run_id":null,"sequence":null,"reason":null,"interval_ms":null,"taken_at":null,"received_at":null,"clock_skew_ms":null,"mint":{"connected":false,"peer":null,"proven":null,"public_key":null,"restarts":0,"round_trip_ms":null}}"#
    );
}

#[tokio::test]
async fn every_status_is_told_to_the_letter() {
    let server = Server::pool().await;
    let session = server.connect();
    let text = answer(&server, None).await;
    assert!(
        text.starts_with(r#""status":"unsupported","stale_after_ms":null,"#),
        "{text}"
    );
    session.negotiated();
    let text = answer(&server, None).await;
    assert!(text.starts_with(r#""status":"never","stale_after_ms":null,"#), "{text}");
    assert!(
        text.contains(r#""mint":{"connected":true,"peer":"127.0.0.1:51234","proven":true,"#),
        "{text}"
    );

    let now = Instant::now();
    session.apply(snapshot(123, [unit("hash", 42)]), now);
    let (received_at, skew) = received_at(&server.cache);
    let key = "ab".repeat(32);
    let expected = |status: &str, connected: bool| {
        format!(
            r#""status":"{status}","stale_after_ms":15000,"quotes_redeemed":42,"total_quotes_issued":42,"total_ehash_issued":"1344","quotes_by_state":{{"unpaid":0,"paid":3,"issued":42}},"amounts":{{"unpaid":"0","paid":"96","issued":"1344"}},"units_total":1,"units":[{{"unit":"hash","quotes":{{"unpaid":0,"paid":3,"issued":42}},"amounts":{{"unpaid":"0","paid":"96","issued":"1344"}},"last_issued_at":"2026-11-22T08:40:00.123Z"}}],"run_id":"0000000000005f0c","sequence":123,"reason":"event","interval_ms":5000,"taken_at":"2026-11-22T08:40:00.100Z","received_at":"{received_at}","clock_skew_ms":{skew},"mint":{{"connected":{connected},"peer":"127.0.0.1:51234","proven":true,"public_key":"{key}","restarts":0,"round_trip_ms":null}}}}"#
        )
    };
    assert_eq!(answer(&server, Some(now)).await, expected("live", true));
    drop(session);
    assert_eq!(answer(&server, Some(now)).await, expected("disconnected", false));
}

#[tokio::test]
async fn an_old_snapshot_is_stale_with_its_age_and_its_numbers() {
    let server = Server::pool().await;
    let session = server.connect();
    let minute_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
    session.apply(snapshot(1, [unit("hash", 42)]), minute_ago);
    let json = server.json(PATH).await;
    assert_eq!(
        (&json["status"], &json["quotes_redeemed"]),
        (&json!("stale"), &json!(42))
    );
    assert!(json["age_ms"].as_u64().unwrap() >= 60_000, "{json}");
}

#[tokio::test]
async fn amounts_pass_2_to_the_53_unharmed() {
    let server = Server::pool().await;
    let session = server.connect();
    let mut large = unit("hash", 1);
    large.amounts = PerState {
        unpaid: (1 << 53) + 1,
        paid: 1 << 62,
        issued: u64::MAX,
    };
    session.apply(snapshot(1, [large]), Instant::now());
    let json = server.json(PATH).await;
    let amounts =
        json!({"unpaid": "9007199254740993", "paid": "4611686018427387904", "issued": "18446744073709551615"});
    assert_eq!(json["amounts"], amounts);
    assert_eq!(json["units"][0]["amounts"], amounts);
    assert_eq!(json["total_ehash_issued"], "18446744073709551615");
    let page = server.text("/").await;
    assert!(page.contains(">18,446,744,073,709,551,615<"), "{page}");
}

#[tokio::test]
async fn a_known_revision_is_not_sent_again() {
    let server = Server::pool().await;
    let session = server.connect();
    tell(&session, 1);
    let client = reqwest::Client::new();
    let first = server.get(PATH).await;
    assert_eq!(first.headers()["cache-control"], "no-cache");
    assert_eq!(first.headers()["content-type"], "application/json");
    let etag = first.headers()["etag"].clone();
    assert!(etag.to_str().unwrap().starts_with("W/\""), "{etag:?}");
    let ask = || {
        client
            .get(server.url(PATH))
            .header("if-none-match", etag.clone())
            .send()
    };

    let unchanged = ask().await.unwrap();
    assert_eq!(
        (unchanged.status().as_u16(), &unchanged.headers()["etag"]),
        (304, &etag)
    );
    assert_eq!(unchanged.text().await.unwrap(), "");
    tell(&session, 2);
    let changed = ask().await.unwrap();
    assert_eq!(changed.status(), 200);
    assert_ne!(changed.headers()["etag"], etag);
    let json: Value = serde_json::from_str(&changed.text().await.unwrap()).unwrap();
    assert_eq!(json["quotes_redeemed"], 2);
}

#[tokio::test]
async fn another_process_does_not_take_an_etag_for_its_own() {
    let (one, other) = (Server::pool().await, Server::pool().await);
    let etag = one.get(PATH).await.headers()["etag"].clone();
    let request = reqwest::Client::new()
        .get(other.url(PATH))
        .header("if-none-match", etag);
    assert_eq!(request.send().await.unwrap().status(), 200);
}
