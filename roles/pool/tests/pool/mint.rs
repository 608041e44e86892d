//! A mint as the pool sees it: the real end of the link, before a batcher that the test scripts.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use mint_link::{HeaderHash, LinkStatus, MintKey, MintLink, MintPublicKey, PoolTarget, QuoteCall};
use stats_push::{EhashTotals, RunId, Totals};
use sv2_transport::AuthorityPublicKey;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Quotes by hash, as a mint's database keeps them.
pub(crate) type Quotes = Arc<Mutex<HashMap<[u8; 32], String>>>;

/// A mint that has dialled a pool.
pub(crate) struct Mint {
    pub(crate) quotes: Quotes,
    pub(crate) totals: watch::Sender<Arc<Totals>>,
    pub(crate) issued: broadcast::Sender<Arc<[HeaderHash]>>,
    pub(crate) status: watch::Receiver<LinkStatus>,
    stop: CancellationToken,
    link: JoinHandle<()>,
}

/// Who the mint is, so that it can come back.
pub(crate) struct Identity {
    key: MintKey,
    quotes: Quotes,
}

impl Identity {
    pub(crate) fn new() -> Self {
        Self {
            key: MintKey::generate(),
            quotes: Quotes::default(),
        }
    }

    pub(crate) fn public_key(&self) -> MintPublicKey {
        self.key.public()
    }

    /// Dials the pool, and answers each request with the quote that its hash has.
    pub(crate) fn dial(&self, pool: SocketAddr, authority: AuthorityPublicKey) -> Mint {
        let (calls_tx, calls) = mpsc::channel(64);
        let (totals, totals_rx) = watch::channel(Arc::new(issued(0)));
        let stop = CancellationToken::new();
        let target = PoolTarget {
            address: pool.to_string().into(),
            authority,
        };
        let link = MintLink::new(self.key.clone(), calls_tx, totals_rx, RunId::random());
        let issued = link.issued.clone();
        let (status, link) = link.connect(target, stop.clone());
        tokio::spawn(batcher(calls, Arc::clone(&self.quotes)));
        Mint {
            quotes: Arc::clone(&self.quotes),
            totals,
            issued,
            status,
            stop,
            link: tokio::spawn(link),
        }
    }
}

impl Mint {
    /// Waits until the link is set up.
    pub(crate) async fn connected(&mut self) {
        self.status.wait_for(LinkStatus::is_connected).await.unwrap();
    }

    /// Stops in order.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.link.await.unwrap();
    }
}

/// Totals of this many redeemed quotes.
pub(crate) fn issued(quotes: u64) -> Totals {
    Totals {
        version: quotes,
        ehash: EhashTotals {
            quotes_redeemed: quotes,
            ..EhashTotals::default()
        },
        units: Arc::default(),
    }
}

async fn batcher(mut calls: mpsc::Receiver<QuoteCall>, quotes: Quotes) {
    while let Some(call) = calls.recv().await {
        let hash = call.request.header_hash.0;
        let id = {
            let mut quotes = quotes.lock().unwrap();
            let next = format!("quote-{}", quotes.len());
            quotes.entry(hash).or_insert(next).clone()
        };
        call.answer.created(id);
    }
}
