//! The pool's end against mints that the test plays, over an in-memory pipe and in paused time.

use futures::StreamExt;
use stats_push::{
    Connection, EhashTotals, MINT_STATS_REQUEST, MINT_STATS_RESPONSE, MintStatsRequest, Reason, RefreshError,
    Refreshed, RunId, Snapshot, Status, UnixMillis,
};
use sv2_transport::Frame;
use tokio::{io::DuplexStream, task::JoinHandle, time::Instant};

use super::*;
use crate::{
    FailureReason, HeaderHash, MintKey, MintProof, MintPublicKey, MintQuotesIssued, QuoteAnswer, RefusalCode,
    extensions::{ExtensionMessage, Extensions},
    setup::{self, DeviceInfo},
    testkit::{RawPeer, granted, negotiation, quote_request, settle},
};

mod admission;
mod histories;
mod inquiries;
mod seats;
mod sessions;
mod silence;
mod strangers;

const SECOND: Duration = Duration::from_secs(1);
const ALL: [u16; 3] = [0x4D53, 0x4D50, 0x4D51];

/// A pool whose mints the test plays.
struct Fixture {
    link: Arc<PoolLink>,
    rule: watch::Sender<Arc<Admission>>,
    cache: SnapshotCache,
    sessions: mpsc::Receiver<MintSession>,
    stop: CancellationToken,
}

/// A connection to it.
struct Dialled {
    mint: RawPeer,
    ended: JoinHandle<LinkError>,
}

impl Fixture {
    /// Whose mints may be silent: they say nothing that the test does not tell them to.
    fn new(rule: Admission) -> Self {
        Self::with_silence(rule, 1_000_000 * SECOND)
    }

    fn with_silence(rule: Admission, silence: Duration) -> Self {
        let (rule, admission) = watch::channel(Arc::new(rule));
        let (ready, sessions) = mpsc::channel(4);
        let cache = SnapshotCache::new();
        let mut config = PoolLinkConfig {
            queue: 4,
            ..PoolLinkConfig::new(AuthorityKeypair::generate())
        };
        config.timers.silence = silence;
        let link = PoolLink::new(config, admission, cache.clone(), ready, Arc::default());
        Self {
            link: Arc::new(link),
            rule,
            cache,
            sessions,
            stop: CancellationToken::new(),
        }
    }

    fn connect(&self, pipe: usize) -> (DuplexStream, JoinHandle<LinkError>) {
        let (near, far) = tokio::io::duplex(pipe);
        let (link, stop) = (Arc::clone(&self.link), self.stop.clone());
        let address = "192.0.2.1:5000".parse().unwrap();
        (near, tokio::spawn(async move { link.serve(far, address, &stop).await }))
    }

    async fn shake_hands(&self, pipe: usize) -> Dialled {
        let (near, ended) = self.connect(pipe);
        let mint = RawPeer::as_mint(near, self.link.config.authority.public()).await;
        Dialled { mint, ended }
    }

    /// A mint after SetupConnection.
    async fn set_up(&self) -> Dialled {
        let mut dialled = self.shake_hands(1 << 20).await;
        dialled
            .mint
            .send(setup::setup_connection(&DeviceInfo::default(), "pool:1").unwrap())
            .await;
        assert_eq!(dialled.mint.frame().await, setup::setup_success().unwrap());
        dialled
    }

    /// A mint that is granted what it asks for.
    async fn granted(&self, extensions: &[u16]) -> Dialled {
        let mut dialled = self.set_up().await;
        dialled.ask(extensions).await;
        assert_eq!(dialled.mint.frame().await, granted(extensions));
        dialled
    }

    /// A mint that has proven `key`, and its session.
    async fn proven(&mut self, key: &MintKey) -> (Dialled, MintSession) {
        let mut dialled = self.granted(&ALL).await;
        dialled.prove(key).await;
        let session = self.sessions.recv().await.unwrap();
        (dialled, session)
    }

    fn status(&self) -> Status {
        self.cache.load().freshness(Instant::now().into_std()).status
    }

    /// Whether anything of a session has come to count or show.
    fn nothing_shows(&mut self) -> bool {
        let view = self.cache.load();
        view.connection == Connection::Never
            && view.latest.is_none()
            && view.peer.is_none()
            && self.sessions.try_recv().is_err()
    }
}

impl Dialled {
    async fn ask(&mut self, extensions: &[u16]) {
        let requested = extensions.to_vec();
        self.mint
            .send(negotiation(ExtensionMessage::Request {
                request_id: 1,
                requested,
            }))
            .await;
    }

    async fn prove(&mut self, key: &MintKey) {
        let proof = MintProof::new(key, &self.mint.transcript);
        self.mint.send(proof.to_frame(&ExtensionIds::default())).await;
    }

    /// Why the pool ended it, and when.
    async fn ended(mut self) -> (LinkError, Duration) {
        let start = Instant::now();
        self.mint.end().await;
        (self.ended.await.unwrap(), start.elapsed())
    }
}

fn only(key: MintPublicKey) -> Admission {
    Admission {
        mint_public_keys: vec![key],
        allow_legacy_mint: false,
    }
}

fn legacy_too(key: MintPublicKey) -> Admission {
    Admission {
        allow_legacy_mint: true,
        ..only(key)
    }
}

fn snapshot(sequence: u64) -> Frame {
    snapshot_of(RunId(1), sequence)
}

fn snapshot_of(run_id: RunId, sequence: u64) -> Frame {
    snapshot_with(run_id, sequence, SECOND)
}

fn snapshot_with(run_id: RunId, sequence: u64, interval: Duration) -> Frame {
    let snapshot = Snapshot {
        request_id: 0,
        reason: Reason::Event,
        run_id,
        sequence,
        taken_at: UnixMillis::now(),
        interval,
        ehash: EhashTotals {
            quotes_redeemed: sequence,
            ..EhashTotals::default()
        },
        units_total: 0,
        units: Arc::new([]),
    };
    Frame::new(0x4D53, MINT_STATS_RESPONSE, snapshot.encode())
}

fn created(tag: u8) -> QuoteAnswer {
    QuoteAnswer::Created {
        header_hash: HeaderHash([tag; 32]),
        quote_id: "a quote".to_owned(),
    }
}
