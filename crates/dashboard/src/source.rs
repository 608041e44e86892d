//! What a role tells the dashboard of itself: the traits it implements and the views they return.
//!
//! The mint's statistics come from a [`SnapshotCache`](stats_push::SnapshotCache); this is the rest. A figure that a
//! role does not count yet is `None`: `null` in JSON, `–` on a page, absent from the metrics. Never 0.

mod quotes;

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use futures::future::BoxFuture;
use serde::{Serialize, Serializer};
use stats_push::{RefreshError, Refreshed, UnixMillis};
use utoipa::ToSchema;

pub use self::quotes::{InvalidLockingKey, LockingKey, QuotePage, QuoteQuery, QuoteRef, QuotesUnavailable};
use crate::{refresh::RefreshToken, stats::Timestamp};

/// The pool behind a pool's dashboard.
pub trait PoolSource: Send + Sync + 'static {
    /// The pool's own figures, now. Called for each request: it must not block.
    fn pool(&self) -> PoolView;

    /// One page of the quotes of a locking key, in the order of [`QuoteQuery::after`].
    fn quotes(&self, query: QuoteQuery) -> BoxFuture<'_, Result<QuotePage, QuotesUnavailable>>;

    /// Whether the pool can serve miners.
    fn ready(&self) -> Readiness;

    /// Asks the mint for a snapshot, which is in the cache when this returns. It may take `within`.
    fn refresh(&self, within: Duration) -> BoxFuture<'_, Result<Refreshed, RefreshError>>;

    /// What must be shown from elsewhere to have the mint asked; `None`: only this machine may.
    fn refresh_token(&self) -> Option<&RefreshToken>;
}

/// The mint behind a mint's dashboard.
pub trait MintSource: Send + Sync + 'static {
    /// Whether the mint can serve wallets and pools.
    fn ready(&self) -> Readiness;

    /// The mint's side of its links to pools, now. Called for each request: it must not block.
    fn links(&self) -> LinksView;
}

/// A mint's side of its links, as `/api/v1/links` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LinksView {
    /// When the mint pushes its statistics.
    pub push: PushView,
    /// A link for each configured pool, in the order of the configuration.
    pub links: Vec<LinkView>,
}

/// The settings of the push that are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PushView {
    /// A push at least this often. In JSON milliseconds.
    #[serde(rename = "interval_ms", serialize_with = "as_whole_millis")]
    #[schema(value_type = u64)]
    pub interval: Duration,
    /// Two pushes that changes cause are at least so far apart. In JSON milliseconds.
    #[serde(rename = "min_gap_ms", serialize_with = "as_whole_millis")]
    #[schema(value_type = u64)]
    pub min_gap: Duration,
}

/// The link to one pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LinkView {
    /// The pool's address, as configured.
    pub pool: String,
    /// What goes on.
    pub state: LinkStage,
    /// Since when the link works, while it does.
    #[serde(serialize_with = "as_timestamp")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<UnixMillis>,
    /// The extensions that are on, while the link works; none of a legacy pool.
    pub extensions: Vec<&'static str>,
    /// Sessions set up since the mint started.
    pub sessions: u64,
    /// Dials and sessions that have failed since the last session was set up.
    pub failures_in_a_row: u64,
    /// Why the last dial or session ended, in one line that says nothing secret; kept while the next one works.
    pub last_error: Option<String>,
}

/// What goes on with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkStage {
    /// The pool is being dialled, or both shake hands.
    Dialling,
    /// Between two dials.
    Waiting,
    /// The link works.
    Connected,
    /// The mint is stopping.
    Stopped,
}

impl LinkStage {
    /// Every stage.
    pub const ALL: [Self; 4] = [Self::Dialling, Self::Waiting, Self::Connected, Self::Stopped];

    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dialling => "dialling",
            Self::Waiting => "waiting",
            Self::Connected => "connected",
            Self::Stopped => "stopped",
        }
    }
}

/// A pool's own side of things, as `/api/v1/pool` tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct PoolView {
    /// When the pool started, by its own clock. Its shares, the channels refused and the blocks count from then on; its
    /// quotes are all that its outbox has ever had.
    #[serde(serialize_with = "as_timestamp")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<UnixMillis>,
    /// Connections of miners that are set up. A proxy is one, however many machines are behind it.
    pub miners: Option<u64>,
    /// Mining channels open.
    pub channels: Option<u64>,
    /// Work of all channels together in hashes per second, estimated from the shares accepted.
    pub hashrate: Option<f64>,
    /// Shares judged since the pool started.
    pub shares: ShareCounts,
    /// Channels that were not opened since the pool started, by the code that the miner was told. Few distinct codes.
    #[schema(value_type = Option<BTreeMap<String, u64>>)]
    pub channels_refused: Option<BTreeMap<Cow<'static, str>, u64>>,
    /// Mint quotes, over the life of the pool's outbox: also those of earlier runs.
    pub quotes: QuoteCounts,
    /// Where work comes from.
    pub template: Option<TemplateView>,
    /// Where miners connect.
    pub mining: Option<MiningAddress>,
    /// Where mints dial in: a listener's address.
    pub mint_link: Option<String>,
    /// The open channels in any order. A pool that has more than [`Self::MAX_LISTED`] lists those with the newest
    /// shares.
    pub channels_list: Vec<MinerView>,
}

impl PoolView {
    /// The most channels that are listed.
    pub const MAX_LISTED: usize = 500;
}

/// Shares judged since the pool started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ShareCounts {
    /// Accepted.
    pub accepted: Option<u64>,
    /// Rejected, for whatever reason.
    pub rejected: Option<u64>,
    /// Accepted of miners without a locking key: they earn nothing.
    pub without_key: Option<u64>,
}

/// An open mining channel: a row of the table of miners.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct MinerView {
    /// Names the channel and no other while the pool runs, also to its miner: it is SV2's `channel_id`. Newer channels
    /// have higher numbers.
    pub id: u64,
    /// What the miner calls itself, as shortened for public pages.
    pub identity: String,
    /// The kind of channel.
    pub kind: ChannelKind,
    /// Work in hashes per second, estimated from the shares accepted; `None` until there are enough of them.
    pub hashrate: Option<f64>,
    /// Shares accepted.
    pub accepted: u64,
    /// Shares rejected, for whatever reason.
    pub rejected: u64,
    /// Quotes that its shares have earned.
    pub quotes: u64,
    /// Time since the last share accepted; `None` before the first. In JSON milliseconds.
    #[serde(rename = "last_share_age_ms", serialize_with = "as_millis")]
    #[schema(value_type = Option<u64>)]
    pub last_share: Option<Duration>,
    /// Time since the channel was opened. In JSON milliseconds.
    #[serde(rename = "connected_for_ms", serialize_with = "as_whole_millis")]
    #[schema(value_type = u64)]
    pub connected: Duration,
    /// Whether its shares earn quotes: it has a locking key of its own, or the pool has one for all.
    pub earns: bool,
}

/// How a channel's miner rolls its work (SV2 mining protocol, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    /// One machine that rolls the header alone.
    Standard,
    /// A proxy or a machine that rolls the extranonce too.
    Extended,
}

impl ChannelKind {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Extended => "extended",
        }
    }
}

/// Where a pool's work comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TemplateView {
    /// The kind of source: `embedded`, `sv2-tp`, `bitcoin-core`.
    pub source: String,
    /// Whether the source answers. While it does not, miners work on the last template.
    pub connected: bool,
    /// Time since the current template came; `None` before the first. In JSON milliseconds.
    #[serde(rename = "age_ms", serialize_with = "as_millis")]
    #[schema(value_type = Option<u64>)]
    pub age: Option<Duration>,
    /// Blocks found and handed to the source since the pool started.
    pub blocks_submitted: u64,
}

/// What a miner has to be told to find the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MiningAddress {
    /// The listener's address, such as `203.0.113.7:34254`.
    pub address: String,
    /// The public key that proves the pool to its miners, in the form of SV2 (base58check).
    pub authority_key: String,
}

/// What the pool has asked of its mint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct QuoteCounts {
    /// Quotes that shares have earned: everything that ever entered the outbox.
    pub requested: Option<u64>,
    /// Of these, still without an answer.
    pub waiting: Option<u64>,
    /// As many wait as the outbox may hold: shares are refused until the mint answers.
    pub full: Option<bool>,
    /// How long the oldest of these has waited; `None` also if none waits. In JSON milliseconds.
    #[serde(rename = "oldest_waiting_ms", serialize_with = "as_millis")]
    #[schema(value_type = Option<u64>)]
    pub oldest_waiting: Option<Duration>,
    /// Answered with a quote.
    pub acknowledged: Option<u64>,
    /// Answered with a refusal, by its reason. Few distinct reasons: each is a label in the metrics.
    #[schema(value_type = Option<BTreeMap<String, u64>>)]
    pub refused: Option<BTreeMap<Cow<'static, str>, u64>>,
}

impl QuoteCounts {
    /// Refusals of all reasons together.
    pub fn refused_total(&self) -> Option<u64> {
        let refused = self.refused.as_ref()?;
        Some(refused.values().fold(0, |sum: u64, count| sum.saturating_add(*count)))
    }
}

/// Whether a role can do its work, as `/readyz` tells it: every check must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Readiness {
    checks: BTreeMap<&'static str, Check>,
}

/// One of the things that must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Check {
    ok: bool,
    /// What is wrong, if it does not hold.
    detail: Option<String>,
}

impl Readiness {
    /// Nothing to check: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check: what is checked, and if it fails what is wrong, in one line that says nothing secret.
    #[must_use]
    pub fn check(mut self, name: &'static str, result: Result<(), String>) -> Self {
        let check = Check {
            ok: result.is_ok(),
            detail: result.err(),
        };
        self.checks.insert(name, check);
        self
    }

    /// Whether every check holds.
    pub fn is_ready(&self) -> bool {
        self.checks.values().all(|check| check.ok)
    }
}

fn as_millis<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(millis).serialize(serializer)
}

fn as_whole_millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(millis(*duration))
}

fn as_timestamp<S: Serializer>(at: &Option<UnixMillis>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(Timestamp).serialize(serializer)
}

pub(crate) fn as_decimal<S: Serializer>(amount: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(amount)
}

/// Whole milliseconds, saturating.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_counted_is_null_not_zero() {
        let json = serde_json::to_value(PoolView::default()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "started_at": null, "miners": null, "channels": null, "hashrate": null,
                "shares": {"accepted": null, "rejected": null, "without_key": null}, "channels_refused": null,
                "quotes": {"requested": null, "waiting": null, "full": null, "oldest_waiting_ms": null, "acknowledged": null,
                    "refused": null},
                "template": null, "mining": null, "mint_link": null, "channels_list": [],
            })
        );
        assert_eq!(QuoteCounts::default().refused_total(), None);
    }

    #[test]
    fn a_miner_is_told_in_hashes_per_second_and_milliseconds() {
        let miner = MinerView {
            id: 7,
            identity: "02abab…abab.rig1".to_owned(),
            kind: ChannelKind::Extended,
            hashrate: Some(1.5e12),
            accepted: 3,
            rejected: 1,
            quotes: 2,
            last_share: None,
            connected: Duration::from_micros(1_999_999),
            earns: true,
        };
        assert_eq!(
            serde_json::to_value(&miner).unwrap(),
            serde_json::json!({
                "id": 7, "identity": "02abab…abab.rig1", "kind": "extended", "hashrate": 1.5e12, "accepted": 3,
                "rejected": 1, "quotes": 2, "last_share_age_ms": null, "connected_for_ms": 1999, "earns": true,
            })
        );
        for kind in [ChannelKind::Standard, ChannelKind::Extended] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        for stage in LinkStage::ALL {
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.as_str());
        }
    }

    #[test]
    fn ready_means_every_check_holds() {
        let ready = Readiness::new().check("listener", Ok(()));
        assert!(ready.is_ready());
        let broken = ready.check("template", Err("none yet".to_owned()));
        assert!(!broken.is_ready());
        assert_eq!(
            serde_json::to_string(&broken).unwrap(),
            r#"{"listener":{"ok":true,"detail":null},"template":{"ok":false,"detail":"none yet"}}"#
        );
    }
}
