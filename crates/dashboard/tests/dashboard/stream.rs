//! The live stream over real sockets. Its timing to the millisecond is tested beside its code.

use std::time::{Duration, Instant};

use dashboard::Limits;
use tokio::{io::AsyncWriteExt, net::TcpStream, time};

use crate::support::{PATIENCE, Role, Server, tell};

#[tokio::test]
async fn the_state_comes_at_once_and_every_change_after_it() {
    let server = Server::pool().await;
    let mut events = server.events().await;
    let headers = events.response.headers();
    assert_eq!(headers["content-type"], "text/event-stream");
    assert_eq!(headers["x-accel-buffering"], "no");
    assert_eq!(headers["cache-control"], "no-store");

    let first = events.next().await.unwrap();
    assert_eq!(
        (first.name.as_str(), &first.data["status"]),
        ("message", &"never".into())
    );
    assert_eq!(first.data, server.json("/api/v1/mint/stats").await);
    assert_eq!(first.id.as_deref(), Some("0"));

    let session = server.connect();
    tell(&session, 7);
    let mut event = events.next().await.unwrap();
    while event.data["quotes_redeemed"] != 7 {
        event = events.next().await.unwrap();
    }
    assert_eq!(event.data["status"], "live");
    assert_eq!(event.id, Some(server.cache.load().revision.0.to_string()));

    drop(session);
    let event = events.next().await.unwrap();
    assert_eq!(
        (&event.data["status"], &event.data["quotes_redeemed"]),
        (&"disconnected".into(), &7.into())
    );
}

#[tokio::test]
async fn of_a_burst_the_last_change_is_told_and_few_before_it() {
    let server = Server::pool().await;
    let session = server.connect();
    let start = Instant::now();
    let mut events = server.events().await;
    events.next().await.unwrap();
    for issued in 1..=500 {
        tell(&session, issued);
        tokio::task::yield_now().await;
    }
    let mut told = 1;
    while events.next().await.unwrap().data["quotes_redeemed"] != 500 {
        told += 1;
    }
    assert!(
        told * Duration::from_millis(250) <= start.elapsed(),
        "{told} in {:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_quiet_stream_beats_with_the_age() {
    let server = Server::pool().await;
    let session = server.connect();
    tell(&session, 1);
    let mut events = server.events().await;
    events.next().await.unwrap();
    let beat = events.next().await.unwrap();
    assert_eq!((beat.name.as_str(), beat.id), ("heartbeat", None));
    assert_eq!(beat.data["status"], "live");
    assert!(beat.data["age_ms"].as_u64().unwrap() >= 4000, "{}", beat.data);
}

#[tokio::test]
async fn streams_are_bounded_and_leave_room_for_polling() {
    let limits = Limits::new("dashboard", 4, 1, Duration::from_secs(10)).unwrap();
    let server = Server::start("pool", Role::default(), limits).await;
    let mut events = server.events().await;
    events.next().await.unwrap();
    let refused = server.get("/api/v1/mint/stats/stream").await;
    assert_eq!(
        (
            refused.status().as_u16(),
            refused.headers()["retry-after"].to_str().unwrap()
        ),
        (503, "10")
    );
    assert_eq!(server.get("/api/v1/mint/stats").await.status(), 200);
}

#[tokio::test]
async fn a_silent_peer_gives_its_place_back() {
    let limits = Limits::new("dashboard", 1, 0, Duration::from_millis(200)).unwrap();
    let server = Server::start("pool", Role::default(), limits).await;
    let address = server.base.strip_prefix("http://").unwrap();
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(b"GET / HT").await.unwrap();
    let answer = time::timeout(PATIENCE, server.get("/healthz")).await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_stop_ends_streams_and_connections_within_seconds() {
    let mut server = Server::pool().await;
    let mut events = server.events().await;
    events.next().await.unwrap();
    let address = server.base.strip_prefix("http://").unwrap();
    let mut half_asked = TcpStream::connect(address).await.unwrap();
    half_asked.write_all(b"GET / HT").await.unwrap();
    let kept_alive = reqwest::Client::new();
    kept_alive.get(server.url("/healthz")).send().await.unwrap();

    server.stop.cancel();
    let start = Instant::now();
    assert!(events.next().await.is_none(), "the stream ends in order");
    time::timeout(Duration::from_secs(5), &mut server.served)
        .await
        .expect("the server stops")
        .unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(TcpStream::connect(address).await.is_err());
}
