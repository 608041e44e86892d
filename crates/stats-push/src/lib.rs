//! Live statistics of a Cashu mint, pushed to a mining pool over the Stratum V2 connection that the two share.
//!
//! A mint that issues "ehash" for a pool's shares tells the pool at any moment what it has issued: it pushes absolute
//! snapshots, every [interval](PushConfig::interval) and after each change, and the pool keeps the newest one where its
//! dashboard reads it without asking anybody. This crate is that, without a socket, a database or a page: a mint or a
//! pool adopts it by moving payload bytes. The promises P1 to P11 that it keeps are in `docs/PROTOCOL.md`.
//!
//! ```text
//! mint:  ledger ── watch<Arc<Totals>> ──▶ Publisher (one a session) ── Snapshot::encode ──▶ frame 0x84
//! pool:  frame 0x84 ── Snapshot::decode ──▶ CacheSession::apply ──▶ SnapshotCache ──▶ load(): page, JSON, metrics
//! ```
//!
//! - **Mint.** A ledger publishes [`Totals`] after each commit. Each session with a pool that negotiated the extension
//!   has a [`Publisher`]; its writer calls [`Publisher::next`] only when it can write, so nothing queues. Inside,
//!   [`Schedule`] decides when and why, with time as an argument.
//! - **Pool.** Each ready session with the mint is a [`CacheSession`]; what it [applies](CacheSession::apply) replaces,
//!   refreshes or is dropped. Where snapshots fail to come, [`Inquiry`] says when to ask for one. Readers [load](SnapshotCache::load) a [`MintView`] and judge its [`Freshness`].
//!
//! Both sides in one:
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! use stats_push::{
//!     MINT_STATS_RESPONSE, Peer, PerState, Publisher, PushConfig, RunId, Snapshot, SnapshotCache, Status, Totals, UnitStats,
//! };
//! use tokio::sync::watch;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The mint: its ledger holds the sender, and every session with a pool gets a publisher.
//! let ledger = watch::Sender::new(Arc::new(Totals::default()));
//! let (mut publisher, _handle) = Publisher::new(ledger.subscribe(), RunId::random(), PushConfig::default());
//!
//! // A wallet mints: one quote of 32 ehash is issued, and the ledger says so once that is committed.
//! let hash = UnitStats {
//!     unit: "hash".into(),
//!     quotes: PerState { unpaid: 0, paid: 0, issued: 1 },
//!     amounts: PerState { unpaid: 0, paid: 0, issued: 32 },
//!     last_issued_at: None,
//! };
//! ledger.send_replace(Arc::new(Totals::new(1, [(hash, 1)])));
//!
//! // The session's writer takes a snapshot when it can write one. These bytes are the payload of a frame.
//! let snapshot = publisher.next().await.ok_or("the mint has stopped")?;
//! let (message_type, payload) = (MINT_STATS_RESPONSE, snapshot.encode());
//!
//! // The pool: a mint has connected, negotiated the extension and proven who it is; a frame arrives.
//! let cache = SnapshotCache::new();
//! let session = cache.open_negotiated_session(Peer { address: "127.0.0.1:51234".into(), public_key: None, proven: false });
//! assert_eq!(message_type, 0x84);
//! session.apply(Snapshot::decode(&payload)?, Instant::now());
//!
//! // The dashboard reads, at any time and without asking anybody.
//! let view = cache.load();
//! let latest = view.latest.as_ref().ok_or("nothing received")?;
//! assert_eq!(latest.snapshot.ehash.quotes_redeemed, 1);
//! assert_eq!(latest.snapshot.ehash.amounts.issued, 32);
//! assert_eq!(view.freshness(Instant::now()).status, Status::Live);
//!
//! // The connection ends: the numbers stay, and the page says so.
//! drop(session);
//! assert_eq!(cache.load().freshness(Instant::now()).status, Status::Disconnected);
//! # Ok(())
//! # }
//! ```

mod cache;
mod config;
mod freshness;
mod inquiry;
mod publisher;
mod schedule;
mod snapshot;
mod totals;
mod wire;

pub use cache::{Applied, CacheSession, Connection, Counters, MintView, Peer, Received, Revision, SnapshotCache};
pub use config::{PushConfig, PushConfigError};
pub use freshness::{Freshness, Status, stale_after};
pub use inquiry::{Inquiry, RefreshError, Refreshed};
pub use publisher::{Publisher, PublisherHandle};
pub use schedule::{Schedule, Step};
pub use snapshot::{Reason, RunId, Snapshot};
pub use totals::{EhashTotals, PerState, Totals, UnitStats, UnixMillis, is_ehash_unit};
pub use wire::{
    DecodeError, EXTENSION_TYPE, MAX_PAYLOAD, MAX_UNIT_NAME, MAX_UNITS, MINT_STATS_REQUEST, MINT_STATS_RESPONSE,
    MintStatsRequest,
};
