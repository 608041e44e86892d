//! The dashboard of a pool or a mint: pages, JSON, a live stream, metrics and health over HTTP.
//!
//! It reads and never asks. The mint's statistics lie in a [`SnapshotCache`](stats_push::SnapshotCache), fed over the
//! link (pool) or by a publisher in the same process (mint); a role's own figures come from the trait it implements,
//! [`PoolSource`] or [`MintSource`]. A role makes a [`registry`] and registers its own metrics, opens a [`History`] and
//! has it recorded, hands all of them to [`pool_router`] or [`mint_router`], and runs the router by [`serve`], which
//! bounds connections and stops in order.
//!
//! ```text
//! SnapshotCache ─┬─▶ stats: JSON once per revision ─┬─▶ /api/v1/mint/stats
//!                │                                  └─▶ /api/v1/mint/stats/stream ─▶ the page in the browser
//!                ├─▶ pages: / and /mint, numbers in the HTML
//! PoolSource ────┼─▶ metrics, /api/v1/pool, /api/v1/quotes, /readyz
//!                └─▶ history: /api/v1/mint/stats/history, the charts, the redeem rate
//! ```
//!
//! What is not known is `null` in JSON and `–` on a page with the reason beside it, never 0.

mod api;
mod assets;
mod base_path;
mod config;
mod exposition;
mod format;
mod history;
mod http;
mod metrics;
mod openapi;
mod pages;
mod refresh;
mod router;
mod server;
mod source;
mod stats;
mod stream;

pub use base_path::{BasePath, InvalidBasePath};
pub use config::{DashboardSection, Limits};
pub use history::{HISTORY_FILE, History};
pub use metrics::registry;
pub use prometheus_client;
pub use refresh::{InvalidRefreshToken, RefreshToken};
pub use router::{mint_router, pool_router};
pub use server::{serve, serve_within};
pub use source::{
    ChannelKind, InvalidLockingKey, LinkStage, LinkView, LinksView, LockingKey, MinerView, MiningAddress, MintSource,
    PoolSource, PoolView, PushView, QuoteCounts, QuotePage, QuoteQuery, QuoteRef, QuotesUnavailable, Readiness,
    ShareCounts, TemplateView,
};
