//! The history as JSON, in columns: one array a figure, one place a slot.

use std::{str::FromStr, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    History,
    rings::{Figures, Grid, MintFigures, UnixSeconds},
    unix_seconds,
};
use crate::http::ApiError;

/// What is shown if nothing else is asked for.
const AN_HOUR: i64 = 3600;

/// The windows of the redeem rate: 5 minutes, an hour, a day.
pub(crate) const WINDOWS: [Duration; 3] = [
    Duration::from_secs(300),
    Duration::from_secs(3600),
    Duration::from_secs(86_400),
];

/// Which part of the history is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryParams {
    /// From when on, in Unix seconds; a negative number counts back from `to`. An hour before `to` if it is not given.
    #[param(value_type = Option<i64>)]
    from: Option<String>,
    /// Until when, in Unix seconds. Now if it is not given.
    #[param(value_type = Option<u64>)]
    to: Option<String>,
    /// The length of a slot in seconds: 10 (kept for an hour), 60 (for a day), 3600 (for 30 days). The finest that
    /// reaches back to `from` if it is not given.
    #[param(value_type = Option<u64>)]
    step: Option<String>,
}

/// Figures over time. `null` stands where nothing was known: a gap.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryJson {
    /// The server's time, in Unix seconds.
    now: u64,
    /// When the first slot begins, in Unix seconds.
    from: u64,
    /// The length of a slot in seconds. A slot's totals are those of its end, its age is the greatest in it.
    step: u64,
    /// Quotes of which anything was issued.
    redeemed: Vec<Option<u64>>,
    /// Quotes by state.
    unpaid: Vec<Option<u64>>,
    paid: Vec<Option<u64>>,
    issued: Vec<Option<u64>>,
    /// The age of the mint's numbers.
    age_ms: Vec<Option<u64>>,
    /// Quotes that this pool has requested. `null` on a mint.
    requested: Option<Vec<Option<u64>>>,
    /// The hashrate of this pool's miners in hashes per second. `null` on a mint.
    hashrate: Option<Vec<Option<f64>>>,
    /// How fast quotes are redeemed now.
    #[schema(inline, value_type = Vec<RateJson>)]
    pub(crate) rates: [RateJson; 3],
}

/// Redeemed quotes a minute.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct RateJson {
    /// The window in seconds.
    pub(crate) window_s: u64,
    /// `null` while less than a tenth of the window is known, while the mint does not tell, or if the total has fallen.
    pub(crate) per_minute: Option<f64>,
    /// The part of the window that is known, in seconds.
    pub(crate) over_s: Option<u64>,
}

/// The rate over each of the [`WINDOWS`].
pub(crate) fn rates(history: &History, now: UnixSeconds) -> [RateJson; 3] {
    WINDOWS.map(|window| {
        let rate = history.rate(window, now);
        RateJson {
            window_s: window.as_secs(),
            per_minute: rate.map(|rate| rate.per_minute),
            over_s: rate.map(|rate| rate.over.as_secs()),
        }
    })
}

impl HistoryJson {
    fn new(history: &History, grid: &Grid, of_pool: bool, now: UnixSeconds) -> Self {
        let mint = |of: fn(&MintFigures) -> u64| column(grid, |figures| figures.mint.as_ref().map(of));
        Self {
            now,
            from: grid.start,
            step: grid.step,
            redeemed: mint(|mint| mint.redeemed),
            unpaid: mint(|mint| mint.quotes.unpaid),
            paid: mint(|mint| mint.quotes.paid),
            issued: mint(|mint| mint.quotes.issued),
            age_ms: column(grid, |figures| figures.age_ms),
            requested: of_pool.then(|| column(grid, |figures| figures.requested)),
            hashrate: of_pool.then(|| column(grid, |figures| figures.hashrate)),
            rates: rates(history, now),
        }
    }
}

fn column<T>(grid: &Grid, of: impl Fn(&Figures) -> Option<T>) -> Vec<Option<T>> {
    grid.figures.iter().map(|figures| of(figures.as_ref()?)).collect()
}

fn number<T: FromStr>(text: Option<String>) -> Result<Option<T>, T::Err> {
    text.map(|text| text.parse()).transpose()
}

/// What the history of one router is.
#[derive(Clone, Debug)]
pub(crate) struct HistoryApp {
    pub(crate) history: History,
    /// Whether it has the pool's own figures.
    pub(crate) of_pool: bool,
}

/// Answers `GET /api/v1/mint/stats/history`.
#[utoipa::path(
    get,
    path = "/api/v1/mint/stats/history",
    params(HistoryParams),
    responses(
        (status = 200, body = HistoryJson),
        (status = 400, body = crate::http::ErrorJson, description = "A parameter is none that can be answered"),
    )
)]
pub(crate) async fn mint_history(
    State(app): State<Arc<HistoryApp>>,
    params: Result<Query<HistoryParams>, QueryRejection>,
) -> Response {
    let bad = |line| ApiError(StatusCode::BAD_REQUEST, line).into_response();
    let Ok(Query(HistoryParams { from, to, step })) = params else {
        return bad("give each of from, to and step once at most");
    };
    let now = unix_seconds();
    let (Ok(from), Ok(to), Ok(step)) = (number::<i64>(from), number::<u64>(to), number::<u64>(step)) else {
        return bad("from and to are Unix times in whole seconds, step is 10, 60 or 3600");
    };
    let to = to.unwrap_or(now);
    let from = from.unwrap_or(-AN_HOUR);
    let from = u64::try_from(from).unwrap_or_else(|_| to.saturating_sub(from.unsigned_abs()));
    if from > to {
        return bad("from must not be after to");
    }
    match app.history.grid(from, to, step, now) {
        Some(grid) => Json(HistoryJson::new(&app.history, &grid, app.of_pool, now)).into_response(),
        None => bad("step must be 10, 60 or 3600 seconds"),
    }
}
