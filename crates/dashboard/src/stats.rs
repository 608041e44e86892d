//! The mint's statistics as JSON, the one place that knows their form.
//!
//! The text is made once per revision and status, and shared by every request and every stream; only `age_ms`, which
//! never stands still, is put in front of it each time.

use std::sync::{Arc, Mutex, PoisonError};

use axum::http::HeaderValue;
use bytes::Bytes;
use serde::{Serialize, Serializer};
use stats_push::{
    Connection, Freshness, MintView, PerState, Reason, Revision, RunId, Snapshot, SnapshotCache, Status, UnixMillis,
    stale_after,
};
use tokio::time::Instant;

use crate::{
    format,
    source::{as_decimal, millis},
};

/// All that `/api/v1/mint/stats` tells, without the age. What is not known is `null`.
#[derive(Debug, Serialize)]
pub(crate) struct MintStats<'a> {
    pub(crate) status: Status,
    pub(crate) stale_after_ms: Option<u64>,
    pub(crate) quotes_redeemed: Option<u64>,
    total_quotes_issued: Option<u64>,
    pub(crate) total_ehash_issued: Option<Amount>,
    pub(crate) quotes_by_state: Option<PerState>,
    pub(crate) amounts: Option<Amounts>,
    pub(crate) units_total: Option<u16>,
    pub(crate) units: Option<Vec<Unit<'a>>>,
    pub(crate) run_id: Option<RunId>,
    pub(crate) sequence: Option<u64>,
    pub(crate) reason: Option<Reason>,
    pub(crate) interval_ms: Option<u64>,
    pub(crate) taken_at: Option<Timestamp>,
    pub(crate) received_at: Option<Timestamp>,
    pub(crate) clock_skew_ms: Option<i64>,
    pub(crate) mint: Mint<'a>,
}

/// The mint at the other end of the link.
#[derive(Debug, Serialize)]
pub(crate) struct Mint<'a> {
    pub(crate) connected: bool,
    pub(crate) peer: Option<&'a str>,
    pub(crate) proven: Option<bool>,
    pub(crate) public_key: Option<&'a str>,
    pub(crate) restarts: u64,
}

/// One currency unit.
#[derive(Debug, Serialize)]
pub(crate) struct Unit<'a> {
    pub(crate) unit: &'a str,
    pub(crate) quotes: PerState,
    pub(crate) amounts: Amounts,
    pub(crate) last_issued_at: Option<Timestamp>,
}

/// An amount: a decimal string in JSON, for it may pass 2^53.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Amount(#[serde(serialize_with = "as_decimal")] pub(crate) u64);

/// Amounts by the state of their quotes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Amounts {
    pub(crate) unpaid: Amount,
    pub(crate) paid: Amount,
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
        }
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
