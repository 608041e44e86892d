//! One push: a change of the ledger's totals on its way to the pool, over a pipe in memory with real Noise.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::SinkExt as _;
use mint_link::{Admission, MintKey, MintLink, MintSession, PoolLink, PoolLinkConfig, PoolTarget, QuoteCall};
use stats_push::{
    EXTENSION_TYPE, MINT_STATS_RESPONSE, PerState, Publisher, PublisherHandle, PushConfig, Revision, RunId,
    SnapshotCache, Totals, UnitStats, UnixMillis,
};
use sv2_transport::{AuthorityKeypair, Frame, FrameWriter, Secured, initiate, respond};
use tokio::{
    io::{AsyncReadExt as _, DuplexStream, ReadHalf},
    runtime::Runtime,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use super::{Operation, runtime};

/// Far above the largest frame.
const PIPE: usize = 1 << 18;

/// From the change of the totals until it lies in the pool's cache, with the sessions of both ends in between.
pub struct Push {
    runtime: Runtime,
    ledger: Ledger,
    cache: SnapshotCache,
    changed: watch::Receiver<Revision>,
    /// The session ends without it.
    _session: MintSession,
    _calls: mpsc::Receiver<QuoteCall>,
    _admission: watch::Sender<Arc<Admission>>,
}

impl Push {
    /// Of totals over this many units.
    pub fn new(units: u64) -> Self {
        let runtime = runtime();
        let ledger = Ledger::new(units);
        let (key, authority) = (MintKey::generate(), AuthorityKeypair::generate());
        let (quotes, calls) = mpsc::channel(1);
        let mint = MintLink {
            push: at_once(),
            ..MintLink::new(key.clone(), quotes, ledger.0.subscribe(), RunId::random())
        };
        let target = PoolTarget {
            address: "pool".into(),
            authority: authority.public(),
        };
        let rule = Admission {
            mint_public_keys: vec![key.public()],
            allow_legacy_mint: false,
        };
        let (admission, admitted) = watch::channel(Arc::new(rule));
        let (ready, mut sessions) = mpsc::channel(1);
        let cache = SnapshotCache::new();
        let config = PoolLinkConfig::new(authority);
        let pool = PoolLink::new(config, admitted, cache.clone(), ready, Arc::default());

        let (near, far) = tokio::io::duplex(PIPE);
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        runtime.spawn(async move { mint.serve(near, &target, &CancellationToken::new()).await });
        runtime.spawn(async move { pool.serve(far, address, &CancellationToken::new()).await });
        let session = runtime.block_on(sessions.recv()).unwrap();
        let changed = cache.changed();
        let mut push = Self {
            runtime,
            ledger,
            cache,
            changed,
            _session: session,
            _calls: calls,
            _admission: admission,
        };
        push.once();
        push
    }
}

impl Operation for Push {
    fn once(&mut self) {
        let version = self.ledger.change();
        let shown = |cache: &SnapshotCache| cache.load().latest.as_ref().map(|latest| latest.snapshot.sequence);
        self.runtime.block_on(async {
            while shown(&self.cache) != Some(version) {
                self.changed.changed().await.unwrap();
            }
        });
    }
}

/// The mint's half of it: from the change of the totals until its encrypted frame is written.
pub struct WrittenPush {
    runtime: Runtime,
    ledger: Ledger,
    publisher: Publisher,
    writer: FrameWriter<DuplexStream>,
    far: ReadHalf<DuplexStream>,
    received: Vec<u8>,
    _handle: PublisherHandle,
    _far_writer: FrameWriter<DuplexStream>,
}

impl WrittenPush {
    /// Of totals over this many units.
    pub fn new(units: u64) -> Self {
        let runtime = runtime();
        let ledger = Ledger::new(units);
        let authority = AuthorityKeypair::generate();
        let (near, far) = tokio::io::duplex(PIPE);
        let (near, far) = runtime.block_on(async {
            let hour = Duration::from_secs(3600);
            let far = respond(far, &authority, hour, Arc::default());
            tokio::join!(initiate(near, authority.public(), Arc::default()), far)
        });
        let (publisher, handle) = Publisher::new(ledger.0.subscribe(), RunId::random(), at_once());
        let Secured { writer, .. } = near.unwrap();
        let Secured {
            reader,
            writer: far_writer,
            ..
        } = far.unwrap();
        let mut push = Self {
            runtime,
            ledger,
            publisher,
            writer,
            far: reader.into_inner(),
            received: Vec::with_capacity(PIPE),
            _handle: handle,
            _far_writer: far_writer,
        };
        push.once();
        push
    }

    /// The bytes that the last push took on the wire.
    pub fn size(&self) -> usize {
        self.received.len()
    }
}

impl Operation for WrittenPush {
    fn once(&mut self) {
        let version = self.ledger.change();
        self.received.clear();
        self.runtime.block_on(async {
            let snapshot = self.publisher.next().await.unwrap();
            assert_eq!(snapshot.sequence, version);
            let frame = Frame::new(EXTENSION_TYPE, MINT_STATS_RESPONSE, snapshot.encode());
            self.writer.send(frame).await.unwrap();
            self.far.read_buf(&mut self.received).await.unwrap();
        });
    }
}

/// What the mint's ledger publishes.
struct Ledger(watch::Sender<Arc<Totals>>);

impl Ledger {
    fn new(units: u64) -> Self {
        let count = |n| PerState {
            unpaid: 0,
            paid: n,
            issued: n * 1_000_003,
        };
        let units = (0..units).map(|epoch| {
            let unit = UnitStats {
                unit: match epoch {
                    0 => "hash".into(),
                    _ => format!("hash_02ab34cd_{}", 900_000 + epoch).into(),
                },
                quotes: count(epoch + 1),
                amounts: count((epoch + 1) << 16),
                last_issued_at: Some(UnixMillis::now()),
            };
            let redeemed = unit.quotes.issued;
            (unit, redeemed)
        });
        Self(watch::Sender::new(Arc::new(Totals::new(1, units))))
    }

    /// Publishes a new version, and tells its number.
    fn change(&self) -> u64 {
        let mut totals = Totals::clone(&self.0.borrow());
        totals.version += 1;
        let version = totals.version;
        self.0.send_replace(Arc::new(totals));
        version
    }
}

/// Every change is pushed, and nothing else is.
fn at_once() -> PushConfig {
    PushConfig::new(PushConfig::MAX_INTERVAL, Duration::ZERO).unwrap()
}
