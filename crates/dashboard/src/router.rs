//! Which path leads where, for a pool and for a mint.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, header},
    middleware,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use log_limit::LogLimit;
use prometheus_client::{encoding::text, registry::Registry};
use stats_push::SnapshotCache;
use tower_http::compression::CompressionLayer;
use utoipa::{OpenApi as _, openapi::OpenApi};

use crate::{
    History,
    api::{self, Ready, ReadyPools},
    assets,
    exposition::Exposition,
    history::json::{self as history_json, HistoryApp},
    http::{self, failed},
    metrics::{MintCollector, PoolCollector, StreamCollector},
    openapi::{MintApi, PoolApi},
    pages, refresh,
    source::{MintSource, PoolSource},
    stats::StatsJson,
};

/// A pool's dashboard: `mint` is fed by the link to its mint, `history` by [`History::record`], `metrics` holds what the
/// role registered (see [`registry`](crate::registry)). To be run by [`serve`](crate::serve).
pub fn pool_router(mint: SnapshotCache, pool: Arc<dyn PoolSource>, history: History, mut metrics: Registry) -> Router {
    metrics.register_collector(Box::new(PoolCollector(Arc::clone(&pool))));
    let own = Router::new()
        .route("/", get(pool_page))
        .route("/mint", get(mint_page_of_pool))
        .route("/api/v1/pool", get(api::pool_stats))
        .route("/api/v1/quotes", get(api::quotes))
        .with_state(PoolApp {
            mint: mint.clone(),
            history: history.clone(),
            pool: Arc::clone(&pool),
            unreadable: Arc::default(),
        });
    let own = own.merge(refresh::route(Arc::clone(&pool)));
    let common = Common {
        mint,
        history: HistoryApp { history, of_pool: true },
        ready: Box::new(move || (pool.ready(), None)),
        api: PoolApi::openapi(),
    };
    finish(own.merge(common.router(metrics)))
}

/// A mint's dashboard: `mint` is fed by a publisher in the same process. Otherwise like [`pool_router`].
pub fn mint_router(mint: SnapshotCache, source: Arc<dyn MintSource>, history: History, metrics: Registry) -> Router {
    let own = Router::new()
        .route("/", get(mint_page))
        .route("/mint", get(mint_page))
        .route("/api/v1/links", get(api::links))
        .with_state(MintApp {
            mint: mint.clone(),
            history: history.clone(),
            source: Arc::clone(&source),
        });
    let common = Common {
        mint,
        history: HistoryApp {
            history,
            of_pool: false,
        },
        ready: Box::new(move || (source.ready(), Some(ReadyPools::of(&source.links())))),
        api: MintApi::openapi(),
    };
    finish(own.merge(common.router(metrics)))
}

/// What both serve.
struct Common {
    mint: SnapshotCache,
    history: HistoryApp,
    ready: Ready,
    api: OpenApi,
}

impl Common {
    fn router(self, mut metrics: Registry) -> Router {
        metrics.register_collector(Box::new(MintCollector(self.mint.clone())));
        let stats = Arc::new(StatsJson::new(self.mint.clone()));
        metrics.register_collector(Box::new(StreamCollector(Arc::clone(&stats))));
        let mut document = self.api;
        document.info.version = "v1".to_owned();
        let document = Arc::new(document);
        Router::new()
            .route("/api/v1/mint/stats", get(api::mint_stats))
            .route("/api/v1/mint/stats/stream", get(api::mint_stream))
            .with_state(stats)
            .route(
                "/api/v1/mint/stats/history",
                get(history_json::mint_history).with_state(Arc::new(self.history)),
            )
            .route(
                "/readyz",
                get(api::readiness).with_state((self.mint, Arc::new(self.ready))),
            )
            .route("/metrics", get(scrape).with_state(Arc::new(metrics)))
            .route("/healthz", get(api::healthz))
            .route(
                "/api/openapi.json",
                get(async move || Json(Arc::clone(&document)).into_response()),
            )
            .route("/static/{*name}", get(assets::serve))
    }
}

/// What holds for every path, also for those that are not there.
fn finish(router: Router) -> Router {
    router
        .fallback(http::not_found)
        .method_not_allowed_fallback(http::method_not_allowed)
        .layer(CompressionLayer::new())
        .layer(middleware::map_response(http::secure))
}

/// What a pool's own paths read.
#[derive(Clone)]
pub(crate) struct PoolApp {
    mint: SnapshotCache,
    history: History,
    pub(crate) pool: Arc<dyn PoolSource>,
    /// That quotes can't be read, in the log.
    pub(crate) unreadable: Arc<LogLimit>,
}

/// What a mint's own paths read.
#[derive(Clone)]
pub(crate) struct MintApp {
    mint: SnapshotCache,
    history: History,
    pub(crate) source: Arc<dyn MintSource>,
}

async fn pool_page(State(app): State<PoolApp>) -> Response {
    page(pages::pool(&app.mint.load(), &app.history, &app.pool.pool()))
}

async fn mint_page_of_pool(State(app): State<PoolApp>) -> Response {
    page(pages::mint(&app.mint.load(), &app.history, None))
}

async fn mint_page(State(app): State<MintApp>) -> Response {
    page(pages::mint(&app.mint.load(), &app.history, Some(&app.source.links())))
}

fn page(rendered: askama::Result<String>) -> Response {
    match rendered {
        Ok(html) => Html(html).into_response(),
        Err(error) => failed("a page can't be rendered", &error),
    }
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
