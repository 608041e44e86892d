//! What the pool tells of itself: to its dashboard, and to `/metrics` beyond what the dashboard knows.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dashboard::prometheus_client::collector::Collector;
use dashboard::prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use dashboard::prometheus_client::metrics::MetricType;
use dashboard::prometheus_client::metrics::counter::ConstCounter;
use dashboard::{
    ChannelKind, MinerView, MiningAddress, PoolSource, PoolView, QuoteCounts, QuotePage, QuoteQuery, QuoteRef,
    QuotesUnavailable, Readiness, RefreshToken, ShareCounts, TemplateView,
};
use futures::future::BoxFuture;
use mint_link::{Refresher, RefusalCode};
use stats_push::{RefreshError, Refreshed, UnixMillis};
use sv2_transport::AuthorityPublicKey;
use tokio::time::Instant;

use crate::intake::ShareIntake;
use crate::mining::{Counter, Kind, Miner, Miners, MiningMetrics};
use crate::outbox::{Outbox, Tally};
use crate::quotes::PumpStats;
use crate::templates::Templates;

/// Reads the parts of a running pool.
#[derive(Clone)]
pub(crate) struct Status {
    /// When the pool started.
    pub(crate) started_at: UnixMillis,
    pub(crate) outbox: Outbox,
    pub(crate) intake: ShareIntake,
    pub(crate) pump: PumpStats,
    /// Where the mint dials in.
    pub(crate) link_address: SocketAddr,
    /// Whether the listener for the mint serves.
    pub(crate) link_up: Arc<AtomicBool>,
    pub(crate) templates: Templates,
    pub(crate) mining: MiningStatus,
    /// The unit of the quotes, as wallets know it.
    pub(crate) unit: String,
    pub(crate) refresher: Refresher,
    pub(crate) refresh_token: Option<RefreshToken>,
}

/// Reads the mining server of a running pool.
#[derive(Clone)]
pub(crate) struct MiningStatus {
    pub(crate) address: SocketAddr,
    pub(crate) authority: AuthorityPublicKey,
    pub(crate) miners: Miners,
    pub(crate) metrics: Arc<MiningMetrics>,
    /// Whether the listener for miners serves.
    pub(crate) up: Arc<AtomicBool>,
}

impl PoolSource for Status {
    fn pool(&self) -> PoolView {
        let shares = self.intake.counts();
        let miners = self.mining.miners.view(PoolView::MAX_LISTED, Instant::now());
        let channels_refused = self.mining.metrics.channel_refusals();
        PoolView {
            started_at: Some(self.started_at),
            miners: Some(miners.connections),
            channels: Some(miners.channels),
            hashrate: miners.hashrate,
            shares: ShareCounts {
                accepted: Some(shares.accepted),
                rejected: Some(self.mining.metrics.refusals().values().sum()),
                without_key: Some(shares.without_key),
            },
            channels_refused: Some(
                channels_refused
                    .into_iter()
                    .map(|(code, count)| (Cow::Borrowed(code), count))
                    .collect(),
            ),
            quotes: quote_counts(
                &self.outbox.view().tally,
                self.outbox.full().is_some(),
                UnixMillis::now(),
            ),
            template: Some(self.template()),
            mining: Some(MiningAddress {
                address: self.mining.address.to_string(),
                authority_key: self.mining.authority.to_string(),
            }),
            mint_link: Some(self.link_address.to_string()),
            channels_list: miners.listed.into_iter().map(miner_view).collect(),
        }
    }

    fn quotes(&self, query: QuoteQuery) -> BoxFuture<'_, Result<QuotePage, QuotesUnavailable>> {
        Box::pin(async move {
            let limit = u32::try_from(query.limit).unwrap_or(u32::MAX);
            let rows = self
                .outbox
                .quotes_of(*query.key.as_bytes(), query.after, limit)
                .await
                .map_err(|error| QuotesUnavailable(Box::new(error)))?;
            // Fewer than asked for: the last page, unless the outbox's own limit cut it.
            let full = rows.len() >= query.limit.min(Outbox::MAX_PAGE as usize);
            let next = rows.last().filter(|_| full).map(|row| row.cursor);
            let unit: Cow<'static, str> = Cow::Owned(self.unit.clone());
            let quotes = rows.into_iter().map(|row| QuoteRef {
                quote_id: row.quote_id,
                amount: row.amount,
                unit: unit.clone(),
            });
            Ok(QuotePage {
                quotes: quotes.collect(),
                next,
            })
        })
    }

    fn ready(&self) -> Readiness {
        let link = self.link_up.load(Ordering::Relaxed).then_some(());
        Readiness::new()
            .check("outbox", takes_shares(&self.outbox))
            .check(
                "mint_link",
                link.ok_or_else(|| "the listener for the mint is closed".to_owned()),
            )
            .check(
                "mining",
                self.mining
                    .up
                    .load(Ordering::Relaxed)
                    .then_some(())
                    .ok_or_else(|| "the listener for miners is closed".to_owned()),
            )
            .check("template", self.templates.status().current())
    }

    fn refresh(&self, within: Duration) -> BoxFuture<'_, Result<Refreshed, RefreshError>> {
        Box::pin(self.refresher.refresh(within))
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }
}

impl Status {
    fn template(&self) -> TemplateView {
        let status = self.templates.status();
        TemplateView {
            source: status.source.as_str().to_owned(),
            connected: status.connected,
            age: status.age,
            blocks_submitted: status.solutions.submitted,
        }
    }
}

impl Status {
    fn encode_mining(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let metrics = &self.mining.metrics;
        let traffic = metrics.traffic();
        let counters = Counter::ALL
            .into_iter()
            .map(|(counter, name, help)| (name, help, metrics.read(counter)))
            .chain([
                ("mining_frames_read", "Frames read from miners", traffic.frames_read),
                (
                    "mining_frames_written",
                    "Frames written to miners",
                    traffic.frames_written,
                ),
                (
                    "mining_bytes_read",
                    "Encrypted bytes read from miners",
                    traffic.bytes_read,
                ),
                (
                    "mining_bytes_written",
                    "Encrypted bytes written to miners",
                    traffic.bytes_written,
                ),
            ]);
        for (name, help, value) in counters {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)?;
        }
        let families = [
            (
                "mining_shares_refused",
                "Shares refused, by the code that the miner was told",
                "code",
                metrics.refusals(),
            ),
            (
                "mining_channels_refused",
                "Mining channels not opened, by the code that the miner was told",
                "code",
                metrics.channel_refusals(),
            ),
            (
                "mining_ended",
                "Connections of miners that ended, by reason",
                "reason",
                metrics.endings(),
            ),
        ];
        for (name, help, label, counts) in families {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (value, count) in counts {
                ConstCounter::new(count).encode(family.encode_family(&[(label, value)])?)?;
            }
        }
        Ok(())
    }
}

/// Whether a share that is right could be taken in now, or why it could not.
fn takes_shares(outbox: &Outbox) -> Result<(), String> {
    if !outbox.is_serving() {
        return Err("the outbox can't be written".to_owned());
    }
    match outbox.full() {
        Some(waiting) => Err(format!(
            "the outbox is full: {waiting} shares wait for the mint, and new ones are refused"
        )),
        None => Ok(()),
    }
}

fn miner_view(miner: Miner) -> MinerView {
    MinerView {
        id: miner.id.into(),
        identity: miner.identity,
        kind: match miner.kind {
            Kind::Standard => ChannelKind::Standard,
            Kind::Extended => ChannelKind::Extended,
        },
        hashrate: miner.hashrate,
        accepted: miner.accepted,
        rejected: miner.rejected,
        quotes: miner.quotes,
        last_share: miner.last_share,
        connected: miner.connected,
        earns: miner.earns,
    }
}

fn quote_counts(tally: &Tally, full: bool, now: UnixMillis) -> QuoteCounts {
    // All of them from the start: a series that begins at its first refusal would hide it from `increase`.
    let mut refused: BTreeMap<_, _> = FINAL_REFUSALS.map(|code| (Cow::Borrowed(code.as_str()), 0)).into();
    for (code, count) in &tally.refused {
        *refused.entry(Cow::Borrowed(reason(*code))).or_default() += count;
    }
    QuoteCounts {
        requested: Some(tally.requested),
        waiting: Some(tally.waiting),
        full: Some(full),
        oldest_waiting: tally
            .oldest_waiting_ms
            .map(|since| Duration::from_millis(now.0.saturating_sub(since))),
        acknowledged: Some(tally.acknowledged),
        refused: Some(refused),
    }
}

/// Why a quote request may be refused for good.
const FINAL_REFUSALS: [RefusalCode; 4] = [
    RefusalCode::Other,
    RefusalCode::Conflict,
    RefusalCode::LockingKey,
    RefusalCode::Amount,
];

fn reason(code: u32) -> &'static str {
    FINAL_REFUSALS
        .into_iter()
        .find(|known| known.code() == code)
        .unwrap_or(RefusalCode::Other)
        .as_str()
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status").finish_non_exhaustive()
    }
}

impl Collector for Status {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (outbox, pump, shares, templates) = (
            self.outbox.view(),
            self.pump.counts(),
            self.intake.counts(),
            self.templates.status(),
        );
        let counters = [
            (
                "outbox_commits",
                "Transactions of the outbox, each one fsync",
                outbox.commits,
            ),
            (
                "outbox_errors",
                "Accesses to the outbox's file that failed",
                outbox.storage_errors,
            ),
            (
                "pool_quotes_without_id",
                "Acknowledged by a legacy mint that did not tell the quote's id",
                outbox.tally.acknowledged_without_id,
            ),
            (
                "pool_quotes_redeemed",
                "Acknowledged quotes that the mint has told to be redeemed; what it told while it was not heard is missing",
                outbox.tally.redeemed,
            ),
            (
                "pool_quotes_busy",
                "Quote requests that the mint was too busy for; they were sent again",
                pump.busy,
            ),
            (
                "pool_quotes_unanswered",
                "Quote requests without an answer in time; they were sent again",
                pump.unanswered,
            ),
            (
                "pool_answers_unexpected",
                "Answers of the mint that belong to no request on the way",
                pump.unexpected,
            ),
            (
                "pool_shares_below_minimum",
                "Accepted shares below the minimum difficulty, which earn nothing",
                shares.below_minimum,
            ),
            (
                "pool_shares_without_key",
                "Accepted shares without a locking key, which earn nothing",
                shares.without_key,
            ),
            ("pool_templates", "Templates that the source gave", templates.templates),
            ("pool_tips", "Times that the chain moved on", templates.tips),
            (
                "pool_template_source_reconnects",
                "Times that the source of templates came back",
                templates.reconnects,
            ),
            (
                "pool_blocks_refused",
                "Blocks found too late, or not taken by the embedded chain",
                templates.solutions.refused,
            ),
            (
                "pool_blocks_lost",
                "Blocks lost because the source of templates took none",
                templates.solutions.lost,
            ),
        ];
        for (name, help, value) in counters {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)?;
        }
        self.encode_mining(&mut encoder)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::{AcceptedShare, Answer, OutboxConfig, Settlement, ShareId};

    #[tokio::test]
    async fn a_pool_whose_outbox_is_full_or_closed_is_not_ready_and_says_why() {
        let dir = tempfile::TempDir::new().unwrap();
        let config = OutboxConfig {
            max_waiting: 1,
            ..OutboxConfig::default()
        };
        let outbox = Outbox::open(dir.path().join("outbox.sqlite"), &config).unwrap();
        assert_eq!(takes_shares(&outbox), Ok(()));
        let share = AcceptedShare {
            header_hash: [7; 32],
            amount: 1,
            locking_key: [2; 33],
        };
        outbox.enqueue(share).await.unwrap();
        assert_eq!(
            takes_shares(&outbox).unwrap_err(),
            "the outbox is full: 1 shares wait for the mint, and new ones are refused"
        );
        let id = outbox.waiting_after(ShareId::default(), 1).await.unwrap()[0].id;
        let answer = Answer::Acknowledged { quote_id: None };
        outbox.settle(vec![Settlement { id, answer }]).await.unwrap();
        assert_eq!(takes_shares(&outbox), Ok(()));
        outbox.close().await;
        assert_eq!(takes_shares(&outbox).unwrap_err(), "the outbox can't be written");
    }

    #[test]
    fn refusals_are_told_by_reason_and_waiting_by_age() {
        let tally = Tally {
            requested: 10,
            waiting: 1,
            oldest_waiting_ms: Some(1_000),
            acknowledged: 3,
            refused: [(0, 1), (1, 2), (2, 3), (4, 1)].into(),
            ..Tally::default()
        };
        let counts = quote_counts(&tally, true, UnixMillis(3_500));
        assert_eq!(counts.full, Some(true));
        assert_eq!(counts.oldest_waiting, Some(Duration::from_millis(2_500)));
        assert_eq!(counts.refused_total(), Some(7));
        let refused = counts.refused.unwrap();
        assert_eq!(refused.get("other"), Some(&3));
        assert_eq!(refused.get("conflict"), Some(&3));
        assert_eq!(refused.get("amount"), Some(&1));
        assert_eq!(refused.get("locking_key"), Some(&0), "told before there is one");
    }
}
