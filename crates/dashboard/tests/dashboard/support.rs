//! A dashboard on a port of its own, what feeds it, and what reads its streams.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use dashboard::{
    BasePath, History, Limits, LinkView, LinksView, MintSource, PoolSource, PoolView, PushView, QuotePage, QuoteQuery,
    QuotesUnavailable, Readiness, RefreshToken, mint_router, pool_router, registry, serve_within,
};
use futures::future::BoxFuture;
use reqwest::{Response, Url};
use serde_json::Value;
use stats_push::{
    CacheSession, Peer, PerState, Reason, RefreshError, Refreshed, RunId, Snapshot, SnapshotCache, Totals, UnitStats,
    UnixMillis,
};
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
    pub(crate) links: Mutex<Vec<LinkView>>,
    /// What the mint answers when it is asked.
    pub(crate) refreshed: Mutex<Option<Result<Refreshed, RefreshError>>>,
    pub(crate) refreshes: Mutex<usize>,
    pub(crate) token: Option<RefreshToken>,
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

    fn refresh(&self, _within: Duration) -> BoxFuture<'_, Result<Refreshed, RefreshError>> {
        *self.refreshes.lock().unwrap() += 1;
        let answer = self.refreshed.lock().unwrap().unwrap_or(Err(RefreshError::NoMint));
        Box::pin(async move { answer })
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.token.as_ref()
    }
}

impl MintSource for Role {
    fn ready(&self) -> Readiness {
        PoolSource::ready(self)
    }

    fn links(&self) -> LinksView {
        LinksView {
            push: PushView {
                interval: Duration::from_secs(5),
                min_gap: Duration::from_millis(100),
            },
            links: self.links.lock().unwrap().clone(),
        }
    }
}

/// What a dashboard is served with.
pub(crate) struct Setup<'a> {
    pub(crate) address: &'a str,
    /// `pool` or `mint`
    pub(crate) host: &'a str,
    pub(crate) role: Role,
    pub(crate) limits: Limits,
    pub(crate) history: History,
    pub(crate) base_path: &'a str,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:0",
            host: "pool",
            role: Role::default(),
            limits: Limits::default(),
            history: History::in_memory(),
            base_path: "",
        }
    }
}

impl Setup<'_> {
    pub(crate) async fn start(self) -> Server {
        let (cache, history) = (SnapshotCache::new(), self.history);
        let role = Arc::new(self.role);
        let router = match self.host {
            "pool" => pool_router(cache.clone(), Arc::clone(&role) as _, history.clone(), registry()),
            _ => mint_router(cache.clone(), Arc::clone(&role) as _, history.clone(), registry()),
        };
        let base_path: BasePath = self.base_path.parse().unwrap();
        let listener = TcpListener::bind(self.address).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn({
            let (cache, stop) = (cache.clone(), stop.clone());
            async move { cache.run(stop).await }
        });
        let pool = (self.host == "pool").then(|| Arc::clone(&role) as Arc<dyn PoolSource>);
        let recorded = tokio::spawn(history.clone().record(cache.clone(), pool, stop.clone()));
        let served = tokio::spawn(serve_within(
            listener,
            base_path.mount(router),
            self.limits,
            stop.clone(),
        ));
        Server {
            base,
            cache,
            history,
            role,
            stop,
            served,
            recorded,
        }
    }
}

/// A history file of `seconds` until now with a quote a second, and a gap in the middle.
pub(crate) fn history_file(seconds: u64) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(dashboard::HISTORY_FILE);
    let now = UnixMillis::now().0 / 1000;
    let gap = now - seconds / 2..now - seconds / 2 + seconds / 12;
    let slots = |step: u64| {
        (now - seconds..now)
            .filter(move |at| at.is_multiple_of(step))
            .map(move |at| (step, at))
    };
    let mut text = String::new();
    for (step, at) in slots(3600)
        .chain(slots(60))
        .chain(slots(10))
        .filter(|(_, at)| !gap.contains(at))
    {
        let (end, wave) = (at + step - (now - seconds), (at as f64 / 700.0).sin());
        let (paid, age) = ((6.0 + 5.0 * wave) as u64, (2500.0 + 2400.0 * wave * wave) as u64);
        let line = serde_json::json!([step, at, end, 0, paid, end, age, end + paid, 2.0e14 + 3.0e13 * wave]);
        text.push_str(&format!("{line}\n"));
    }
    std::fs::write(&file, text).unwrap();
    (folder, file)
}

/// A served dashboard.
pub(crate) struct Server {
    pub(crate) base: String,
    pub(crate) cache: SnapshotCache,
    pub(crate) history: History,
    pub(crate) role: Arc<Role>,
    pub(crate) stop: CancellationToken,
    pub(crate) served: JoinHandle<()>,
    recorded: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn pool() -> Self {
        Self::start("pool", Role::default(), Limits::default()).await
    }

    pub(crate) async fn start(host: &str, role: Role, limits: Limits) -> Self {
        Setup {
            host,
            role,
            limits,
            ..Setup::default()
        }
        .start()
        .await
    }

    /// Stops in order.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        (&mut self.served).await.unwrap();
        (&mut self.recorded).await.unwrap();
    }

    /// Stops this one and serves a fresh one at the same address, as a restarted pool does.
    pub(crate) async fn restart(mut self) -> Self {
        self.stop.cancel();
        (&mut self.served).await.unwrap();
        let address = self.base.strip_prefix("http://").unwrap();
        Setup {
            address,
            history: self.history.clone(),
            ..Setup::default()
        }
        .start()
        .await
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

    /// Whether a request that may be cut off is answered with 200.
    pub(crate) async fn is_served(&self, request: &str) -> bool {
        let address = self.base.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut answer = Vec::new();
        // The server may have closed before all was said, and what it has answered is lost then.
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = stream.read_to_end(&mut answer).await;
        answer.starts_with(b"HTTP/1.1 200 ")
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

    /// Waits until so many streams are open, by the server's own count.
    pub(crate) async fn until_streams(&self, count: u64) {
        let line = format!("ehash_dashboard_streams {count}");
        let counted = async {
            while !self.text("/metrics").await.lines().any(|told| told == line) {
                time::sleep(Duration::from_millis(50)).await;
            }
        };
        time::timeout(PATIENCE, counted).await.expect(&line);
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
