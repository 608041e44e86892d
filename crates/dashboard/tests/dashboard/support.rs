//! A dashboard on a port of its own, what feeds it, and what reads its streams.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use dashboard::{
    Limits, MintSource, PoolSource, PoolView, QuotePage, QuoteQuery, QuotesUnavailable, Readiness, mint_router,
    pool_router, registry, serve_within,
};
use futures::future::BoxFuture;
use reqwest::{Response, Url};
use serde_json::Value;
use stats_push::{CacheSession, Peer, PerState, Reason, RunId, Snapshot, SnapshotCache, Totals, UnitStats, UnixMillis};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time,
};
use tokio_util::sync::CancellationToken;

/// Far longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What the role behind the dashboard says.
#[derive(Default)]
pub(crate) struct Role {
    pub(crate) pool: Mutex<PoolView>,
    pub(crate) quotes: Mutex<QuotePage>,
    pub(crate) asked: Mutex<Vec<QuoteQuery>>,
    /// Why the role is not ready.
    pub(crate) trouble: Mutex<Option<String>>,
    /// Quotes can't be read.
    pub(crate) broken: bool,
}

impl PoolSource for Role {
    fn pool(&self) -> PoolView {
        self.pool.lock().unwrap().clone()
    }

    fn quotes(&self, query: QuoteQuery) -> BoxFuture<'_, Result<QuotePage, QuotesUnavailable>> {
        self.asked.lock().unwrap().push(query);
        Box::pin(async {
            if self.broken {
                return Err(QuotesUnavailable("disk /var/secret is full".into()));
            }
            Ok(self.quotes.lock().unwrap().clone())
        })
    }

    fn ready(&self) -> Readiness {
        let trouble = self.trouble.lock().unwrap().clone();
        Readiness::new().check("listener", trouble.map_or(Ok(()), Err))
    }
}

impl MintSource for Role {
    fn ready(&self) -> Readiness {
        PoolSource::ready(self)
    }
}

/// A served dashboard.
pub(crate) struct Server {
    pub(crate) base: String,
    pub(crate) cache: SnapshotCache,
    pub(crate) role: Arc<Role>,
    pub(crate) stop: CancellationToken,
    pub(crate) served: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn pool() -> Self {
        Self::start("pool", Role::default(), Limits::default()).await
    }

    pub(crate) async fn start(host: &str, role: Role, limits: Limits) -> Self {
        Self::start_at("127.0.0.1:0", host, role, limits).await
    }

    /// Stops this one and serves a fresh one at the same address, as a restarted pool does.
    pub(crate) async fn restart(mut self) -> Self {
        self.stop.cancel();
        (&mut self.served).await.unwrap();
        let address = self.base.strip_prefix("http://").unwrap();
        Self::start_at(address, "pool", Role::default(), Limits::default()).await
    }

    async fn start_at(address: &str, host: &str, role: Role, limits: Limits) -> Self {
        let cache = SnapshotCache::new();
        let role = Arc::new(role);
        let router = match host {
            "pool" => pool_router(cache.clone(), Arc::clone(&role) as Arc<dyn PoolSource>, registry()),
            _ => mint_router(cache.clone(), Arc::clone(&role) as Arc<dyn MintSource>, registry()),
        };
        let listener = TcpListener::bind(address).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn({
            let (cache, stop) = (cache.clone(), stop.clone());
            async move { cache.run(stop).await }
        });
        let served = tokio::spawn(serve_within(listener, router, limits, stop.clone()));
        Self {
            base,
            cache,
            role,
            stop,
            served,
        }
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        format!("{}{path}", self.base).parse().unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        reqwest::get(self.url(path)).await.unwrap()
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        self.get(path).await.text().await.unwrap()
    }

    /// What Prometheus reads.
    pub(crate) async fn open_metrics(&self) -> String {
        let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let request = reqwest::Client::new()
            .get(self.url("/metrics"))
            .header("accept", accept);
        let answer = request.send().await.unwrap();
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(answer.headers()["content-type"], content_type);
        answer.text().await.unwrap()
    }

    /// Sends these bytes over a connection of their own, and reads until the server closes it.
    pub(crate) async fn raw(&self, request: &str) -> String {
        let address = self.base.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).unwrap()
    }

    /// Opens a session with a mint, without a snapshot yet.
    pub(crate) fn connect(&self) -> CacheSession {
        self.cache.open_session(Peer {
            address: "127.0.0.1:51234".to_owned(),
            public_key: Some("ab".repeat(32)),
            proven: true,
        })
    }

    pub(crate) async fn events(&self) -> Events {
        let response = self.get("/api/v1/mint/stats/stream").await;
        assert_eq!(response.status(), 200);
        Events {
            response,
            buffer: String::new(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A unit of which `issued` quotes, of 32 each, are issued, 3 paid and none unpaid.
pub(crate) fn unit(name: &str, issued: u64) -> UnitStats {
    UnitStats {
        unit: name.into(),
        quotes: PerState {
            unpaid: 0,
            paid: 3,
            issued,
        },
        amounts: PerState {
            unpaid: 0,
            paid: 96,
            issued: issued * 32,
        },
        last_issued_at: Some(UnixMillis(1_795_336_800_123)),
    }
}

/// A snapshot of these units, taken at 2026-11-22T08:40:00.100Z.
pub(crate) fn snapshot(sequence: u64, units: impl IntoIterator<Item = UnitStats>) -> Snapshot {
    let totals = Totals::new(
        sequence,
        units.into_iter().map(|unit| (unit.clone(), unit.quotes.issued)),
    );
    Snapshot {
        request_id: 0,
        reason: Reason::Event,
        run_id: RunId(0x5f0c),
        sequence,
        taken_at: UnixMillis(1_795_336_800_100),
        interval: Duration::from_secs(5),
        ehash: totals.ehash,
        units_total: u16::try_from(totals.units.len()).unwrap(),
        units: totals.units,
    }
}

/// Says that `issued` quotes are issued.
pub(crate) fn tell(session: &CacheSession, issued: u64) {
    session.apply(snapshot(issued, [unit("hash", issued)]), Instant::now());
}

/// Reads a stream.
pub(crate) struct Events {
    pub(crate) response: Response,
    buffer: String,
}

/// One event of it.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) data: Value,
}

impl Events {
    /// The next event; `None` when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let event = Event::parse(event);
                self.buffer = rest.to_owned();
                return Some(event);
            }
            let chunk = time::timeout(PATIENCE, self.response.chunk())
                .await
                .expect("an event")
                .unwrap()?;
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

impl Event {
    fn parse(text: &str) -> Self {
        let field = |name: &str| {
            let mut lines = text
                .lines()
                .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let value = lines.next().map(str::to_owned);
            assert_eq!(lines.next(), None, "{name} once in {text}");
            value
        };
        Self {
            name: field("event").unwrap_or_else(|| "message".to_owned()),
            id: field("id"),
            data: serde_json::from_str(&field("data").unwrap()).unwrap(),
        }
    }
}
