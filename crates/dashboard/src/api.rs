//! The JSON paths: what they take and what they answer, described for OpenAPI where they are made.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use stats_push::{Connection, SnapshotCache, Status};
use tokio::time;
use utoipa::{IntoParams, ToSchema};

use crate::{
    http::{self, ApiError, ErrorJson, failed},
    openapi,
    router::{MintApp, PoolApp},
    server::Serving,
    source::{Check, LinkStage, LinkView, LinksView, LockingKey, PoolView, QuoteQuery, QuoteRef, Readiness, millis},
    stats::{AgedStats, StatsJson},
    stream,
};

/// Quotes in one answer.
const QUOTES_PER_PAGE: usize = 1000;

/// A source that does not answer in this time is told of as unavailable.
const SOURCE_DEADLINE: time::Duration = time::Duration::from_secs(5);

/// Asks a role whether it can do its work, and a mint how many of its pools are there.
pub(crate) type Ready = Box<dyn Fn() -> (Readiness, Option<ReadyPools>) + Send + Sync>;

/// What the mint has issued, as it last told.
#[utoipa::path(
    get,
    path = "/api/v1/mint/stats",
    responses(
        (status = 200, body = AgedStats, headers(("etag" = String, description = "Weak: the revision"))),
        (status = 304, description = "The revision is the one that If-None-Match names"),
    )
)]
pub(crate) async fn mint_stats(State(stats): State<Arc<StatsJson>>, request: HeaderMap) -> Response {
    let rendered = match stats.render() {
        Ok(rendered) => rendered,
        Err(error) => return failed("the statistics can't be rendered", &error),
    };
    let etag = (header::ETAG, rendered.etag.clone());
    if http::is_current(&request, &rendered.etag) {
        return (StatusCode::NOT_MODIFIED, [etag]).into_response();
    }
    let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    ([etag, json], rendered.body()).into_response()
}

/// The same as a stream of Server-Sent Events: at once and on every change, at most four a second, with the revision as
/// `id`. When it is quiet, an event `heartbeat` every 5 s with `age_ms` and `status`.
#[utoipa::path(
    get,
    path = "/api/v1/mint/stats/stream",
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 503, body = ErrorJson, description = "Too many streams are open"),
    )
)]
pub(crate) async fn mint_stream(State(stats): State<Arc<StatsJson>>, serving: Option<Extension<Serving>>) -> Response {
    match serving {
        Some(Extension(serving)) => stream::open(stats, &serving),
        None => ApiError(StatusCode::NOT_IMPLEMENTED, "this server does not stream").into_response(),
    }
}

/// The pool's own side: miners, shares, quotes.
#[utoipa::path(get, path = "/api/v1/pool", responses((status = 200, body = PoolView)))]
pub(crate) async fn pool_stats(State(app): State<PoolApp>) -> Response {
    Json(app.pool.pool()).into_response()
}

/// The mint's links to its pools, and the settings of the push that are in force.
#[utoipa::path(get, path = "/api/v1/links", responses((status = 200, body = LinksView)))]
pub(crate) async fn links(State(app): State<MintApp>) -> Response {
    Json(app.source.links()).into_response()
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct QuoteParams {
    /// The locking key: 66 hex digits that begin with 02 or 03.
    key: String,
    /// The `next` of an earlier answer.
    after: Option<String>,
}

/// Quotes of a locking key that can be redeemed, the oldest first.
#[derive(Serialize, ToSchema)]
struct QuotesJson {
    key: String,
    /// What to give as `after` for the next page, if there may be one.
    next: Option<String>,
    /// At most 1,000.
    quotes: Vec<QuoteRef>,
}

/// The quotes of one locking key, for wallets of miners that can't be notified.
#[utoipa::path(
    get,
    path = "/api/v1/quotes",
    params(QuoteParams),
    responses(
        (status = 200, body = QuotesJson),
        (status = 400, body = ErrorJson, description = "A parameter is none that can be answered"),
        (status = 503, body = ErrorJson, description = "The quotes can't be read right now"),
    )
)]
pub(crate) async fn quotes(State(app): State<PoolApp>, params: Result<Query<QuoteParams>, QueryRejection>) -> Response {
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
    let why = match time::timeout(SOURCE_DEADLINE, app.pool.quotes(query)).await {
        Ok(Ok(page)) => {
            let page = QuotesJson {
                key: key.to_string(),
                quotes: page.quotes,
                next: page.next.map(|next| next.to_string()),
            };
            return Json(page).into_response();
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {SOURCE_DEADLINE:?}"),
    };
    // Anybody may ask, and as often as he likes.
    if let Some(times) = app.unreadable.note() {
        tracing::warn!(times, "a wallet gets no quotes: {why}");
    }
    ApiError(StatusCode::SERVICE_UNAVAILABLE, "the quotes can't be read right now").into_response()
}

/// The process serves.
#[derive(Serialize, ToSchema)]
struct HealthJson {
    status: &'static str,
}

/// Whether the process serves.
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = HealthJson)))]
pub(crate) async fn healthz() -> Response {
    Json(HealthJson { status: "ok" }).into_response()
}

/// Whether the role can do its work.
#[derive(Serialize, ToSchema)]
struct ReadyJson {
    /// Every check holds.
    ready: bool,
    #[schema(value_type = BTreeMap<String, Check>)]
    checks: Readiness,
    mint: ReadyMint,
    /// Only of a mint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pools: Option<ReadyPools>,
}

/// The mint, which does not decide.
#[derive(Serialize, ToSchema)]
struct ReadyMint {
    #[schema(schema_with = openapi::status)]
    status: Status,
    connected: bool,
    age_ms: Option<u64>,
}

/// The pools of a mint, which do not decide: wallets are served without them.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReadyPools {
    configured: usize,
    /// Those whose link works.
    connected: usize,
}

impl ReadyPools {
    pub(crate) fn of(links: &LinksView) -> Self {
        let works = |link: &&LinkView| link.state == LinkStage::Connected;
        Self {
            configured: links.links.len(),
            connected: links.links.iter().filter(works).count(),
        }
    }
}

/// Whether miners (of a pool) or wallets (of a mint) can be served, with the reasons if not.
#[utoipa::path(
    get,
    path = "/readyz",
    responses((status = 200, body = ReadyJson), (status = 503, body = ReadyJson))
)]
pub(crate) async fn readiness(State((mint, ready)): State<(SnapshotCache, Arc<Ready>)>) -> Response {
    let (checks, pools) = ready();
    let view = mint.load();
    let freshness = view.freshness(time::Instant::now().into_std());
    let body = ReadyJson {
        ready: checks.is_ready(),
        checks,
        mint: ReadyMint {
            status: freshness.status,
            connected: matches!(view.connection, Connection::Up { .. }),
            age_ms: freshness.age.map(millis),
        },
        pools,
    };
    let status = if body.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(body)).into_response()
}
