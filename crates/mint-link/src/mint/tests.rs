//! The mint's end against a pool that the test plays, over an in-memory pipe and in paused time.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use futures::StreamExt;
use stats_push::{MINT_STATS_REQUEST, MINT_STATS_RESPONSE, MintStatsRequest, Reason, Snapshot};
use sv2_transport::{AuthorityKeypair, Frame};
use tokio::{io::DuplexStream, task::JoinHandle, time::Instant};

use super::*;
use crate::{
    FailureReason, HeaderHash, MINT_PROOF, MINT_QUOTE_ERROR, MINT_QUOTE_REQUEST, MINT_QUOTE_RESPONSE,
    MINT_QUOTES_ISSUED, MintProof, MintQuotesIssued, QuoteAnswer, RefusalCode,
    extensions::{ExtensionMessage, Extensions},
    setup,
    testkit::{RawPeer, granted, negotiation, quote_request, settle, totals},
};

mod heartbeats;
mod histories;
mod issued;
mod lives;
mod negotiation;
mod pushes;
mod quotes;

const SECOND: Duration = Duration::from_secs(1);
/// Long after the end of any test.
const NEVER: Duration = Duration::from_secs(1_000_000);

/// Hands the far end of each dial to the test, or fails it.
struct Pipes {
    dials: mpsc::UnboundedSender<(Instant, DuplexStream)>,
    down: Arc<AtomicBool>,
    size: usize,
}

impl Connector for Pipes {
    type Stream = DuplexStream;

    async fn connect(&self, address: &str) -> io::Result<(DuplexStream, std::net::SocketAddr)> {
        let (near, far) = tokio::io::duplex(self.size);
        self.dials.send((Instant::now(), far)).unwrap();
        if self.down.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok((near, address.parse().unwrap()))
    }
}

/// A mint that dials one pool, which the test plays.
struct Fixture {
    authority: AuthorityKeypair,
    key: MintKey,
    dials: mpsc::UnboundedReceiver<(Instant, DuplexStream)>,
    down: Arc<AtomicBool>,
    quotes: mpsc::Receiver<QuoteCall>,
    totals: watch::Sender<Arc<Totals>>,
    status: watch::Receiver<LinkStatus>,
    issued: broadcast::Sender<Arc<[HeaderHash]>>,
    metrics: Arc<LinkMetrics>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Fixture {
    /// Without heartbeats: these pools say nothing that the test does not tell them to.
    fn start() -> Self {
        Self::with(1 << 20, |_| {})
    }

    fn with(pipe: usize, alter: impl FnOnce(&mut MintLink)) -> Self {
        let (authority, key) = (AuthorityKeypair::generate(), MintKey::generate());
        let (calls, quotes) = mpsc::channel(16);
        let (totals, published) = watch::channel(totals(1));
        let mut link = MintLink::new(key.clone(), calls, published, RunId(7));
        link.timers.heartbeat = NEVER;
        alter(&mut link);
        let (dialled, dials) = mpsc::unbounded_channel();
        let down = Arc::new(AtomicBool::new(false));
        let pipes = Pipes {
            dials: dialled,
            down: Arc::clone(&down),
            size: pipe,
        };
        let target = PoolTarget {
            address: "127.0.0.1:34260".into(),
            authority: authority.public(),
        };
        let stop = CancellationToken::new();
        let (status, running) = link.connect_by(pipes, target, stop.clone());
        Self {
            authority,
            key,
            dials,
            down,
            quotes,
            totals,
            status,
            issued: link.issued,
            metrics: link.metrics,
            stop,
            task: tokio::spawn(running),
        }
    }

    /// The far end of the next dial, after the handshake.
    async fn accept(&mut self) -> RawPeer {
        let (_, stream) = self.dials.recv().await.unwrap();
        RawPeer::as_pool(stream, &self.authority).await
    }

    /// The same, after SetupConnection.
    async fn set_up(&mut self) -> RawPeer {
        let mut pool = self.accept().await;
        let setup = pool.frame().await;
        assert_eq!((setup.extension_type, setup.channel_msg, setup.msg_type), (0, false, 0));
        pool.send(setup::setup_success().unwrap()).await;
        pool
    }

    /// The same, after RequestExtensions.
    async fn asked(&mut self) -> RawPeer {
        let mut pool = self.set_up().await;
        let requested = vec![0x4D53, 0x4D50, 0x4D51];
        let request = ExtensionMessage::Request {
            request_id: 1,
            requested,
        };
        assert_eq!(pool.frame().await, negotiation(request));
        pool
    }

    /// The same, after a Success for all and what the mint sends upon it.
    async fn on(&mut self) -> RawPeer {
        let mut pool = self.asked().await;
        pool.send(granted(&[0x4D53, 0x4D50, 0x4D51])).await;
        assert_eq!(pool.frame().await.msg_type, MINT_PROOF);
        assert_eq!(snapshot(&pool.frame().await).reason, Reason::Initial);
        pool
    }

    async fn negotiated(&mut self, wanted: Negotiated) {
        let seen = self
            .status
            .wait_for(|status| matches!(status.state, LinkState::Connected { negotiated, .. } if negotiated == wanted));
        tokio::time::timeout(60 * SECOND, seen).await.unwrap().unwrap();
    }

    async fn quote_is_served(&mut self, pool: &mut RawPeer) {
        pool.send(quote_request(9).to_frame().unwrap()).await;
        let call = self.quotes.recv().await.unwrap();
        assert_eq!(call.request, quote_request(9));
        assert_eq!(&*call.pool, "127.0.0.1:34260");
        call.answer.created("a quote");
        assert_eq!(pool.frame().await, created(9).to_frame(true).unwrap());
    }
}

fn created(tag: u8) -> QuoteAnswer {
    QuoteAnswer::Created {
        header_hash: HeaderHash([tag; 32]),
        quote_id: "a quote".to_owned(),
    }
}

fn snapshot(frame: &Frame) -> Snapshot {
    assert_eq!(
        (frame.extension_type, frame.channel_msg, frame.msg_type),
        (0x4D53, false, MINT_STATS_RESPONSE)
    );
    Snapshot::decode(&frame.payload).unwrap()
}

fn stats_request(request_id: u32) -> Frame {
    Frame::new(0x4D53, MINT_STATS_REQUEST, MintStatsRequest { request_id }.encode())
}
