//! An HTTP proxy in front of a mint that can misbehave.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// What is wrong, from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Nothing gets through.
    Away,
    /// Nothing gets through, and nothing is answered.
    Hangs,
    /// Nothing that mints gets through.
    NoMinting,
    /// What mints does not get through once, as if the mint were at it already.
    PendOneMinting,
    /// What mints gets through once, but its answer is lost.
    LoseOneAnswer,
    /// What mints gets through, but is never answered.
    HoldAnswers,
    /// No swap gets through.
    NoSwap,
    /// Swaps get through, but are never answered.
    HoldSwaps,
    /// A request for signatures (NUT-09) does not get through once.
    FailOneRestore,
    /// The mint does not say that it mints in batches.
    HideBatches,
}

pub(super) struct Proxy {
    upstream: Mutex<SocketAddr>,
    fault: Mutex<Fault>,
    /// Method and path of each request.
    log: Mutex<Vec<String>>,
    /// Told when an answer is held.
    pub(super) held: Notify,
    client: reqwest::Client,
}

impl Proxy {
    /// Serves until the runtime ends.
    pub(super) async fn start(upstream: SocketAddr) -> (Arc<Self>, SocketAddr) {
        let proxy = Arc::new(Self {
            upstream: Mutex::new(upstream),
            fault: Mutex::new(Fault::None),
            log: Mutex::default(),
            held: Notify::new(),
            client: reqwest::Client::new(),
        });
        let address = proxy.serve_anew().await;
        (proxy, address)
    }

    /// Serves at one more address.
    pub(super) async fn serve_anew(self: &Arc<Self>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(pass).with_state(Arc::clone(self));
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    pub(super) fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// How many requests of this method and path there were.
    pub(super) fn count(&self, request: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| *line == request).count()
    }
}

async fn pass(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    proxy.log.lock().unwrap().push(format!("{} {path}", request.method()));
    let mints = request.method() == Method::POST && ["/v1/mint/ehash", "/v1/mint/ehash/batch"].contains(&&*path);
    let fault = *proxy.fault.lock().unwrap();
    let swaps = path == "/v1/swap";
    if fault == Fault::Away || (fault == Fault::NoMinting && mints) || (fault == Fault::NoSwap && swaps) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if fault == Fault::Hangs {
        return std::future::pending().await;
    }
    if fault == Fault::PendOneMinting && mints {
        proxy.set(Fault::None);
        let pending = r#"{"code": 20005, "detail": "Quote pending"}"#;
        return (StatusCode::BAD_REQUEST, [("content-type", "application/json")], pending).into_response();
    }
    if fault == Fault::FailOneRestore && path == "/v1/restore" {
        proxy.set(Fault::None);
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let (status, mut body) = forward(&proxy, request).await;
    match fault {
        Fault::LoseOneAnswer if mints => {
            proxy.set(Fault::None);
            return StatusCode::GATEWAY_TIMEOUT.into_response();
        }
        Fault::HoldSwaps if swaps => {
            proxy.held.notify_one();
            return std::future::pending().await;
        }
        Fault::HoldAnswers if mints => {
            proxy.held.notify_one();
            return std::future::pending().await;
        }
        Fault::HideBatches if path == "/v1/info" => {
            let mut info: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert!(info["nuts"].as_object_mut().unwrap().remove("29").is_some());
            body = info.to_string().into();
        }
        _ => {}
    }
    (status, [("content-type", "application/json")], Body::from(body)).into_response()
}

async fn forward(proxy: &Proxy, request: Request) -> (StatusCode, Vec<u8>) {
    let upstream = *proxy.upstream.lock().unwrap();
    let path = request.uri().path_and_query().unwrap();
    let url = format!("http://{upstream}{path}");
    let method = request.method().clone();
    let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let forwarded = proxy
        .client
        .request(method, url)
        .header("content-type", "application/json")
        .body(body);
    let answer = forwarded.send().await.unwrap();
    (answer.status(), answer.bytes().await.unwrap().to_vec())
}
