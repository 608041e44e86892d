//! Which path leads where, for a pool and for a mint.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text, registry::Registry};
use serde::Deserialize;
use serde_json::json;
use stats_push::SnapshotCache;
use tokio::time;

use crate::{
    assets,
    exposition::Exposition,
    http::{self, ApiError},
    metrics::{MintCollector, PoolCollector},
    pages::{self, Host},
    server::Serving,
    source::{LockingKey, MintSource, PoolSource, QuoteQuery, Readiness, millis},
    stats::{MintStats, StatsJson},
    stream,
};

/// Quotes in one answer.
const QUOTES_PER_PAGE: usize = 1000;

/// A source that does not answer in this time is told of as unavailable.
const SOURCE_DEADLINE: time::Duration = time::Duration::from_secs(5);

/// A pool's dashboard: `mint` is fed by the link to its mint, `metrics` holds what the role registered (see
/// [`registry`](crate::registry)). To be run by [`serve`](crate::serve).
pub fn pool_router(mint: SnapshotCache, pool: Arc<dyn PoolSource>, mut metrics: Registry) -> Router {
    metrics.register_collector(Box::new(PoolCollector(Arc::clone(&pool))));
    let own = Router::new()
        .route("/", get(pool_page))
        .route("/api/v1/pool", get(pool_stats))
        .route("/api/v1/quotes", get(quotes))
        .with_state(PoolApp {
            mint: mint.clone(),
            pool: Arc::clone(&pool),
        });
    finish(own.merge(common(mint, Host::Pool, Box::new(move || pool.ready()), metrics)))
}

/// A mint's dashboard: `mint` is fed by a publisher in the same process. Otherwise like [`pool_router`].
pub fn mint_router(mint: SnapshotCache, source: Arc<dyn MintSource>, metrics: Registry) -> Router {
    let ready = Box::new(move || source.ready());
    let own = Router::new().route("/", get(mint_page).with_state((mint.clone(), Host::Mint)));
    finish(own.merge(common(mint, Host::Mint, ready, metrics)))
}

type Ready = Box<dyn Fn() -> Readiness + Send + Sync>;

/// What both serve.
fn common(mint: SnapshotCache, host: Host, ready: Ready, mut metrics: Registry) -> Router {
    metrics.register_collector(Box::new(MintCollector(mint.clone())));
    let stats = Arc::new(StatsJson::new(mint.clone()));
    Router::new()
        .route("/api/v1/mint/stats", get(mint_stats))
        .route("/api/v1/mint/stats/stream", get(mint_stream))
        .with_state(stats)
        .route("/mint", get(mint_page).with_state((mint.clone(), host)))
        .route("/readyz", get(readiness).with_state((mint, Arc::new(ready))))
        .route("/metrics", get(scrape).with_state(Arc::new(metrics)))
        .route("/healthz", get(async || Json(json!({ "status": "ok" }))))
        .route("/static/{name}", get(assets::serve))
}

/// What holds for every path, also for those that are not there.
fn finish(router: Router) -> Router {
    router
        .fallback(http::not_found)
        .method_not_allowed_fallback(http::method_not_allowed)
        .layer(middleware::map_response(http::secure))
}

#[derive(Clone)]
struct PoolApp {
    mint: SnapshotCache,
    pool: Arc<dyn PoolSource>,
}

async fn pool_page(State(app): State<PoolApp>) -> Response {
    page(pages::pool(&app.mint.load(), &app.pool.pool()))
}

async fn mint_page(State((mint, host)): State<(SnapshotCache, Host)>) -> Response {
    page(pages::mint(&mint.load(), host))
}

fn page(rendered: askama::Result<String>) -> Response {
    match rendered {
        Ok(html) => Html(html).into_response(),
        Err(error) => failed("a page can't be rendered", &error),
    }
}

async fn mint_stats(State(stats): State<Arc<StatsJson>>, request: HeaderMap) -> Response {
    let rendered = match stats.render() {
        Ok(rendered) => rendered,
        Err(error) => return failed("the statistics can't be rendered", &error),
    };
    let etag = (header::ETAG, rendered.etag.clone());
    if http::is_current(&request, &rendered.etag) {
        return (StatusCode::NOT_MODIFIED, [etag]).into_response();
    }
    let json = (
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    ([etag, json], rendered.body()).into_response()
}

async fn mint_stream(State(stats): State<Arc<StatsJson>>, serving: Option<Extension<Serving>>) -> Response {
    match serving {
        Some(Extension(serving)) => stream::open(stats, &serving),
        None => ApiError(StatusCode::NOT_IMPLEMENTED, "this server does not stream").into_response(),
    }
}

async fn pool_stats(State(app): State<PoolApp>) -> Response {
    Json(app.pool.pool()).into_response()
}

#[derive(Deserialize)]
struct QuoteParams {
    key: String,
    after: Option<String>,
}

async fn quotes(State(app): State<PoolApp>, params: Result<Query<QuoteParams>, QueryRejection>) -> Response {
    let bad = |line| ApiError(StatusCode::BAD_REQUEST, line).into_response();
    let Ok(Query(params)) = params else {
        return bad("give the locking key once, as ?key= and 66 hex digits");
    };
    let Ok(key) = params.key.parse::<LockingKey>() else {
        return bad(LockingKey::FORM);
    };
    let Ok(after) = params.after.as_deref().unwrap_or("0").parse() else {
        return bad("after must be the next of an earlier answer: a decimal number");
    };
    let query = QuoteQuery {
        key,
        after,
        limit: QUOTES_PER_PAGE,
    };
    let unavailable = ApiError(StatusCode::SERVICE_UNAVAILABLE, "the quotes can't be read right now");
    match time::timeout(SOURCE_DEADLINE, app.pool.quotes(query)).await {
        Ok(Ok(page)) => {
            let next = page.next.map(|next| next.to_string());
            Json(json!({ "key": key.to_string(), "quotes": page.quotes, "next": next })).into_response()
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "a wallet gets no quotes");
            unavailable.into_response()
        }
        Err(_) => unavailable.into_response(),
    }
}

async fn readiness(State((mint, ready)): State<(SnapshotCache, Arc<Ready>)>) -> Response {
    let readiness = ready();
    let is_ready = readiness.is_ready();
    let view = mint.load();
    let freshness = view.freshness(time::Instant::now().into_std());
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let connected = MintStats::new(&view, freshness).mint.connected;
    let body = json!({
        "ready": is_ready,
        "checks": readiness,
        "mint": { "status": freshness.status, "connected": connected, "age_ms": freshness.age.map(millis) },
    });
    (status, Json(body)).into_response()
}

async fn scrape(State(registry): State<Arc<Registry>>, request: HeaderMap) -> Response {
    let wanted = Exposition::wanted(&request);
    let mut body = String::new();
    match text::encode(&mut body, &registry) {
        Ok(()) => {
            let headers = [(header::CONTENT_TYPE, wanted.content_type()), (header::VARY, "accept")];
            (headers, wanted.of(body)).into_response()
        }
        Err(error) => failed("the metrics can't be written", &error),
    }
}

fn failed(what: &'static str, error: &dyn std::error::Error) -> Response {
    tracing::error!(%error, "{what}");
    ApiError(StatusCode::INTERNAL_SERVER_ERROR, what).into_response()
}
