//! The live stream: Server-Sent Events with the statistics at once, on every change, and a heartbeat when it is quiet.
//!
//! Nothing is queued for a reader. What it is sent is rendered when it can be sent, so a slow reader skips states and
//! never lags, and a change inside the shortest gap is told at the end of that gap.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use stats_push::Revision;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use crate::{
    http::{ApiError, X_ACCEL_BUFFERING},
    server::Serving,
    stats::{OpenStream, RenderError, StatsJson},
};

/// At most four statistics events a second.
const GAP: Duration = Duration::from_millis(250);

/// A stream that has nothing to tell says so after this long. Pages take twice as long and more for a dead stream.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Answers with a stream, or with 503 if there are too many.
pub(crate) fn open(stats: Arc<StatsJson>, serving: &Serving) -> Response {
    let Ok(place) = Arc::clone(&serving.streams).try_acquire_owned() else {
        let mut busy = ApiError(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many streams are open: poll /api/v1/mint/stats",
        )
        .into_response();
        busy.headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        return busy;
    };
    let feed = Feed::new(stats, serving.stop.clone(), place);
    let events = stream::unfold(feed, |mut feed| async move { Some((feed.next().await?, feed)) });
    let chunks = events.flat_map(stream::iter).map(Ok::<_, Infallible>);
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (X_ACCEL_BUFFERING, "no"),
    ];
    (headers, Body::from_stream(chunks)).into_response()
}

/// One reader's place in the stream.
struct Feed {
    stats: Arc<StatsJson>,
    changed: watch::Receiver<Revision>,
    stop: CancellationToken,
    started: bool,
    not_before: Instant,
    heartbeat_at: Instant,
    _place: OwnedSemaphorePermit,
    _counted: OpenStream,
}

enum Due {
    Stats,
    Heartbeat,
    End,
}

impl Feed {
    fn new(stats: Arc<StatsJson>, stop: CancellationToken, place: OwnedSemaphorePermit) -> Self {
        let now = Instant::now();
        Self {
            changed: stats.cache().changed(),
            _counted: stats.open_stream(),
            stats,
            stop,
            started: false,
            not_before: now,
            heartbeat_at: now,
            _place: place,
        }
    }

    /// The next event, in parts; `None` at the end of the stream.
    async fn next(&mut self) -> Option<[Bytes; 2]> {
        let event = match self.due().await {
            Due::Stats => self.stats_event(),
            Due::Heartbeat => self.heartbeat(),
            Due::End => return None,
        };
        event.inspect_err(|error| tracing::error!(%error, "a stream ends")).ok()
    }

    async fn due(&mut self) -> Due {
        if self.stop.is_cancelled() {
            return Due::End;
        }
        if !self.started {
            self.started = true;
            return Due::Stats;
        }
        let (changed, not_before) = (&mut self.changed, self.not_before);
        let settled = async {
            time::sleep_until(not_before).await;
            changed.changed().await
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Due::End,
            result = settled => result.map_or(Due::End, |()| Due::Stats),
            () = time::sleep_until(self.heartbeat_at) => Due::Heartbeat,
        }
    }

    fn stats_event(&mut self) -> Result<[Bytes; 2], RenderError> {
        // Seen before it is read: a change in between is told once more, never lost.
        self.changed.mark_unchanged();
        let event = self.stats.render()?.event();
        let now = Instant::now();
        self.not_before = now + GAP;
        self.heartbeat_at = now + HEARTBEAT;
        Ok(event)
    }

    fn heartbeat(&mut self) -> Result<[Bytes; 2], RenderError> {
        self.heartbeat_at = Instant::now() + HEARTBEAT;
        let rendered = self.stats.render()?;
        let (age_ms, status) = (rendered.age_ms(), rendered.status);
        let event = format!("event: heartbeat\ndata: {{\"age_ms\":{age_ms},\"status\":\"{status}\"}}\n\n");
        Ok([event.into(), Bytes::new()])
    }
}

#[cfg(test)]
mod tests {
    use stats_push::{CacheSession, Peer, Reason, RunId, Snapshot, SnapshotCache, Totals, UnixMillis};
    use tokio::sync::Semaphore;

    use super::*;

    struct Fixture {
        session: CacheSession,
        feed: Feed,
        stop: CancellationToken,
        start: Instant,
    }

    async fn fixture() -> Fixture {
        let cache = SnapshotCache::new();
        let peer = Peer {
            address: "here".to_owned(),
            public_key: None,
            proven: false,
        };
        let session = cache.open_session(peer);
        let stop = CancellationToken::new();
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let feed = Feed::new(Arc::new(StatsJson::new(cache)), stop.clone(), place);
        Fixture {
            session,
            feed,
            stop,
            start: Instant::now(),
        }
    }

    impl Fixture {
        fn apply(&self, sequence: u64) {
            let totals = Totals::new(sequence, []);
            let snapshot = Snapshot {
                request_id: 0,
                reason: Reason::Event,
                run_id: RunId(1),
                sequence,
                taken_at: UnixMillis(0),
                interval: Duration::from_secs(3600),
                ehash: totals.ehash,
                units_total: 0,
                units: totals.units,
            };
            self.session.apply(snapshot, Instant::now().into_std());
        }

        /// The next event with the milliseconds since the start.
        async fn next(&mut self) -> (u128, String) {
            let parts = self.feed.next().await.unwrap();
            (
                self.start.elapsed().as_millis(),
                String::from_utf8(parts.concat()).unwrap(),
            )
        }
    }

    #[tokio::test(start_paused = true)]
    async fn four_a_second_at_most_and_the_last_change_is_told() {
        let mut fixture = fixture().await;
        let (at, first) = fixture.next().await;
        assert_eq!(at, 0);
        assert!(first.contains(r#""sequence":null"#), "{first}");
        for sequence in 1..=3 {
            fixture.apply(sequence);
        }
        let (at, second) = fixture.next().await;
        assert_eq!(at, 250);
        assert!(second.contains(r#""sequence":3"#), "{second}");
        time::advance(Duration::from_millis(100)).await;
        fixture.apply(4);
        let (at, third) = fixture.next().await;
        assert_eq!(at, 500);
        assert!(third.contains(r#""sequence":4"#), "{third}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_after_a_quiet_time_is_told_at_once() {
        let mut fixture = fixture().await;
        fixture.next().await;
        time::advance(Duration::from_secs(2)).await;
        fixture.apply(1);
        let (at, event) = fixture.next().await;
        assert_eq!(at, 2000);
        assert!(
            event.starts_with("id: 2\ndata: {\"age_ms\":0,\"status\":\"live\","),
            "{event}"
        );
        assert!(event.ends_with("}\n\n"), "{event}");
    }

    #[tokio::test(start_paused = true)]
    async fn quiet_streams_beat_every_five_seconds_with_the_age() {
        let mut fixture = fixture().await;
        fixture.apply(1);
        fixture.next().await;
        for beat in 1..=3 {
            let (at, event) = fixture.next().await;
            assert_eq!(at, beat * 5000);
            assert_eq!(
                event,
                format!("event: heartbeat\ndata: {{\"age_ms\":{at},\"status\":\"live\"}}\n\n")
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopping_server_ends_the_stream_before_anything_else() {
        let mut fixture = fixture().await;
        fixture.next().await;
        fixture.apply(1);
        time::advance(GAP).await;
        fixture.stop.cancel();
        assert!(fixture.feed.next().await.is_none());
    }
}
