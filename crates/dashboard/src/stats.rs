//! The mint's statistics as JSON, the one place that knows their form.
//!
//! The text is made once per revision and status, and shared by every request and every stream; only `age_ms`, which
//! never stands still, is put in front of it each time.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use axum::http::HeaderValue;
use bytes::Bytes;
use serde::{Serialize, Serializer};
use stats_push::{
    Connection, Freshness, MintView, PerState, Reason, Revision, RunId, Snapshot, SnapshotCache, Status, UnixMillis,
    stale_after,
};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::{
    format, openapi,
    refresh::fine_millis,
    source::{as_decimal, millis},
};

/// All that `/api/v1/mint/stats` tells, without the age. What is not known is `null`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MintStats<'a> {
    /// How fresh the numbers are.
    #[schema(schema_with = openapi::status)]
    pub(crate) status: Status,
    /// The age from which on they are stale.
    pub(crate) stale_after_ms: Option<u64>,
    /// Quotes of which anything was issued, over all ehash units.
    pub(crate) quotes_redeemed: Option<u64>,
    /// The same, under its name on the wire.
    total_quotes_issued: Option<u64>,
    /// Ehash issued, over all ehash units.
    #[schema(value_type = Option<String>)]
    pub(crate) total_ehash_issued: Option<Amount>,
    /// Quotes by state, over all ehash units.
    #[schema(schema_with = openapi::per_state_or_null)]
    pub(crate) quotes_by_state: Option<PerState>,
    /// Ehash by the state of its quote, over all ehash units.
    pub(crate) amounts: Option<Amounts>,
    /// How many units the mint has. `units` lists the newest that a message has room for.
    pub(crate) units_total: Option<u16>,
    /// The units, the newest last.
    pub(crate) units: Option<Vec<Unit<'a>>>,
    /// Differs from one run of the mint to the next: 16 hex digits.
    #[schema(value_type = Option<String>)]
    pub(crate) run_id: Option<RunId>,
    /// The version of the mint's ledger; grows within a run.
    pub(crate) sequence: Option<u64>,
    /// What the newest snapshot was pushed for.
    #[schema(schema_with = openapi::reason_or_null)]
    pub(crate) reason: Option<Reason>,
    /// The mint pushes at least so often.
    pub(crate) interval_ms: Option<u64>,
    /// When the mint took the snapshot, by its own clock.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) taken_at: Option<Timestamp>,
    /// When it was received, by this machine's clock.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) received_at: Option<Timestamp>,
    /// How far the mint's clock is ahead, the time on the wire included.
    pub(crate) clock_skew_ms: Option<i64>,
    /// The mint at the other end of the link.
    pub(crate) mint: Mint<'a>,
}

/// The whole answer, for those who read of it: it is spliced together, never made.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct AgedStats<'a> {
    /// Time since the newest snapshot was received: a lower bound of its age.
    age_ms: Option<u64>,
    #[serde(flatten)]
    stats: MintStats<'a>,
}

/// The mint at the other end of the link.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Mint<'a> {
    pub(crate) connected: bool,
    /// Its socket address.
    pub(crate) peer: Option<&'a str>,
    /// Whether it has proven to hold the key that it claims.
    pub(crate) proven: Option<bool>,
    /// The x-only public key (BIP 340) that it claims, as 64 hex digits.
    pub(crate) public_key: Option<&'a str>,
    /// New runs of the mint seen after the first.
    pub(crate) restarts: u64,
    /// How long the mint took over the newest question that it was asked in this session.
    pub(crate) round_trip_ms: Option<f64>,
}

/// One currency unit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Unit<'a> {
    pub(crate) unit: &'a str,
    /// Quotes by state.
    #[schema(schema_with = openapi::per_state)]
    pub(crate) quotes: PerState,
    /// Amounts by the state of their quotes.
    pub(crate) amounts: Amounts,
    /// When something was last issued in it, by the mint's clock.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) last_issued_at: Option<Timestamp>,
}

/// An amount: a decimal string in JSON, for it may pass 2^53.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Amount(#[serde(serialize_with = "as_decimal")] pub(crate) u64);

/// Amounts by the state of their quotes: decimal strings, for they may pass 2^53.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Amounts {
    /// What unpaid quotes ask.
    #[schema(value_type = String)]
    pub(crate) unpaid: Amount,
    /// What is paid and not yet issued.
    #[schema(value_type = String)]
    pub(crate) paid: Amount,
    /// What was issued.
    #[schema(value_type = String)]
    pub(crate) issued: Amount,
}

/// A wall-clock time: RFC 3339 in UTC with milliseconds, `null` beyond the year 9999.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timestamp(pub(crate) UnixMillis);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        format::rfc3339(self.0).serialize(serializer)
    }
}

impl From<PerState> for Amounts {
    fn from(amounts: PerState) -> Self {
        Self {
            unpaid: Amount(amounts.unpaid),
            paid: Amount(amounts.paid),
            issued: Amount(amounts.issued),
        }
    }
}

impl<'a> MintStats<'a> {
    /// The view as it is told at this freshness.
    pub(crate) fn new(view: &'a MintView, freshness: Freshness) -> Self {
        let latest = view.latest.as_ref();
        let snapshot: Option<&Snapshot> = latest.map(|latest| latest.snapshot.as_ref());
        let ehash = snapshot.map(|snapshot| snapshot.ehash);
        Self {
            status: freshness.status,
            stale_after_ms: snapshot.map(|snapshot| millis(stale_after(snapshot.interval))),
            quotes_redeemed: ehash.map(|ehash| ehash.quotes_redeemed),
            total_quotes_issued: ehash.map(|ehash| ehash.quotes_redeemed),
            total_ehash_issued: ehash.map(|ehash| Amount(ehash.amounts.issued)),
            quotes_by_state: ehash.map(|ehash| ehash.quotes),
            amounts: ehash.map(|ehash| ehash.amounts.into()),
            units_total: snapshot.map(|snapshot| snapshot.units_total),
            units: snapshot.map(|snapshot| snapshot.units.iter().map(Unit::from).collect()),
            run_id: snapshot.map(|snapshot| snapshot.run_id),
            sequence: snapshot.map(|snapshot| snapshot.sequence),
            reason: snapshot.map(|snapshot| snapshot.reason),
            interval_ms: snapshot.map(|snapshot| millis(snapshot.interval)),
            taken_at: snapshot.map(|snapshot| Timestamp(snapshot.taken_at)),
            received_at: latest.map(|latest| Timestamp(latest.at_wall)),
            clock_skew_ms: latest.map(|latest| latest.clock_skew_ms()),
            mint: Mint::new(view),
        }
    }
}

impl<'a> Mint<'a> {
    fn new(view: &'a MintView) -> Self {
        let peer = view.peer.as_deref();
        Self {
            connected: matches!(view.connection, Connection::Up { .. }),
            peer: peer.map(|peer| peer.address.as_str()),
            proven: peer.map(|peer| peer.proven),
            public_key: peer.and_then(|peer| peer.public_key.as_deref()),
            restarts: view.counters.restarts,
            round_trip_ms: view.round_trip.map(fine_millis),
        }
    }
}

impl<'a> From<&'a stats_push::UnitStats> for Unit<'a> {
    fn from(unit: &'a stats_push::UnitStats) -> Self {
        Self {
            unit: &unit.unit,
            quotes: unit.quotes,
            amounts: unit.amounts.into(),
            last_issued_at: unit.last_issued_at.map(Timestamp),
        }
    }
}

/// Reads the cache and keeps the newest text made of it.
#[derive(Debug)]
pub(crate) struct StatsJson {
    cache: SnapshotCache,
    /// Tells this process's revisions from those of the one before it, which counted from 0 too.
    run: RunId,
    newest: Mutex<Option<Arc<Rendered>>>,
    streams: Arc<AtomicU64>,
}

/// A stream that is open; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenStream(Arc<AtomicU64>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The JSON of one revision at one status.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) revision: Revision,
    pub(crate) status: Status,
    /// Weak, for the age in the body differs from one answer to the next.
    pub(crate) etag: HeaderValue,
    received: Option<Instant>,
    /// Everything after the age, then the two line ends of a stream event.
    tail: Bytes,
}

/// The JSON can't be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderError {
    #[error("the statistics can't be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the revision can't be written as an ETag: {0}")]
    ETag(#[from] axum::http::header::InvalidHeaderValue),
}

const EVENT_END: &[u8] = b"\n\n";

impl StatsJson {
    pub(crate) fn new(cache: SnapshotCache) -> Self {
        Self {
            cache,
            run: RunId::random(),
            newest: Mutex::default(),
            streams: Arc::default(),
        }
    }

    /// Counts a stream from now on.
    pub(crate) fn open_stream(&self) -> OpenStream {
        self.streams.fetch_add(1, Relaxed);
        OpenStream(Arc::clone(&self.streams))
    }

    pub(crate) fn streams(&self) -> u64 {
        self.streams.load(Relaxed)
    }

    pub(crate) fn cache(&self) -> &SnapshotCache {
        &self.cache
    }

    /// The JSON of what the cache holds now.
    pub(crate) fn render(&self) -> Result<Arc<Rendered>, RenderError> {
        // Read under the lock, so that what is kept never goes back.
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let view = self.cache.load();
        let freshness = view.freshness(Instant::now().into_std());
        if let Some(rendered) = newest.as_ref()
            && (rendered.revision, rendered.status) == (view.revision, freshness.status)
        {
            return Ok(Arc::clone(rendered));
        }
        let rendered = Arc::new(Rendered::new(&view, freshness, self.run)?);
        *newest = Some(Arc::clone(&rendered));
        Ok(rendered)
    }
}

impl Rendered {
    fn new(view: &MintView, freshness: Freshness, run: RunId) -> Result<Self, RenderError> {
        let (revision, status) = (view.revision, freshness.status);
        let mut json = serde_json::to_vec(&MintStats::new(view, freshness))?;
        json.extend_from_slice(EVENT_END);
        let mut tail = Bytes::from(json);
        // The opening brace comes with the age.
        let _ = tail.split_to(1);
        Ok(Self {
            revision,
            status,
            etag: HeaderValue::try_from(format!("W/\"{run}-{}-{status}\"", revision.0))?,
            received: view.latest.as_ref().map(|latest| latest.at.into()),
            tail,
        })
    }

    /// The age of the snapshot in milliseconds as JSON: a number or `null`.
    pub(crate) fn age_ms(&self) -> String {
        self.received
            .map_or_else(|| "null".to_owned(), |at| millis(at.elapsed()).to_string())
    }

    /// The body of an answer.
    pub(crate) fn body(&self) -> Bytes {
        let rest = self.tail.len().saturating_sub(EVENT_END.len());
        [self.opening().as_bytes(), &self.tail.slice(..rest)].concat().into()
    }

    /// A stream event in two parts, the second shared by all streams.
    pub(crate) fn event(&self) -> [Bytes; 2] {
        let head = format!("id: {}\ndata: {}", self.revision.0, self.opening());
        [head.into(), self.tail.clone()]
    }

    fn opening(&self) -> String {
        format!("{{\"age_ms\":{},", self.age_ms())
    }
}
