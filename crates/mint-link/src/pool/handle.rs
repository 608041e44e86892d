//! What the pool's role holds of a working session.

use std::net::SocketAddr;

use stats_push::Inquiry;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::gate::Gate;
use crate::{
    extensions::Extensions,
    keys::MintPublicKey,
    messages::{HeaderHash, MintQuoteRequest, QuoteAnswer},
    setup::DeviceInfo,
};

/// Who the mint of a session is, and what it can do. May change while the session works: a legacy mint can negotiate late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// Where it connected from.
    pub address: SocketAddr,
    /// How it introduced itself: claims, for display.
    pub device: DeviceInfo,
    /// The key that it has proven to hold; `None` if it has proven nothing.
    pub public_key: Option<MintPublicKey>,
    /// What is on. Without `quotes`, only one request may be outstanding: a refusal does not tell which it means.
    pub extensions: Extensions,
    /// Whether it has negotiated nothing at all.
    pub legacy: bool,
}

impl SessionInfo {
    pub(crate) fn new(address: SocketAddr, device: DeviceInfo, gate: &Gate) -> Self {
        let mut info = Self {
            address,
            device,
            public_key: None,
            extensions: Extensions::default(),
            legacy: true,
        };
        info.update(gate);
        info
    }

    /// Tells whether anything is new.
    pub(crate) fn update(&mut self, gate: &Gate) -> bool {
        let before = (self.public_key, self.extensions, self.legacy);
        self.public_key = gate.proven();
        self.extensions = gate.extensions();
        self.legacy = !gate.negotiates();
        before != (self.public_key, self.extensions, self.legacy)
    }

    /// Whether the mint has proven who it is.
    pub fn is_proven(&self) -> bool {
        self.public_key.is_some()
    }
}

/// A working session with a mint, in the hands of the pool's role. Dropping it closes the connection.
#[derive(Debug)]
pub struct MintSession {
    /// Takes quote requests. Bounded: waits while the mint does not read. Closed when the session has ended.
    pub requests: mpsc::Sender<MintQuoteRequest>,
    /// The mint's answers, in the order of their coming; `None` when the session has ended. Bounded: what is not taken
    /// slows the mint down, and its statistics with it.
    pub answers: mpsc::Receiver<QuoteAnswer>,
    /// The hashes of quotes that have been issued whole (0x86), a message at a time; `None` when the session has ended.
    /// Bounded: what is not taken in time is dropped and counted, and delays nothing.
    pub issued: mpsc::Receiver<Vec<HeaderHash>>,
    info: watch::Receiver<SessionInfo>,
    stats: StatsRequester,
    _open: DropGuard,
}

/// The session's own end of a [`MintSession`].
pub(crate) struct Handed {
    /// To ask for statistics.
    pub(crate) requester: StatsRequester,
    /// What was asked.
    pub(crate) inquiry: watch::Receiver<Inquiry>,
    /// The role has let go.
    pub(crate) dropped: CancellationToken,
}

impl MintSession {
    pub(crate) fn new(
        requests: mpsc::Sender<MintQuoteRequest>,
        answers: mpsc::Receiver<QuoteAnswer>,
        issued: mpsc::Receiver<Vec<HeaderHash>>,
        info: watch::Receiver<SessionInfo>,
    ) -> (Self, Handed) {
        let (inquiry, asked) = watch::channel(Inquiry::new(Instant::now().into_std()));
        let requester = StatsRequester {
            inquiry,
            info: info.clone(),
        };
        let dropped = CancellationToken::new();
        let session = Self {
            requests,
            answers,
            issued,
            stats: requester.clone(),
            info,
            _open: dropped.clone().drop_guard(),
        };
        let handed = Handed {
            requester,
            inquiry: asked,
            dropped,
        };
        (session, handed)
    }

    /// Who the mint is and what it can do, now.
    pub fn info(&self) -> SessionInfo {
        self.info.borrow().clone()
    }

    /// The same, to wait for changes on.
    pub fn watch_info(&self) -> watch::Receiver<SessionInfo> {
        self.info.clone()
    }

    /// Asks the mint for a snapshot now (P5); see [`StatsRequester::request`].
    pub fn request_stats(&self) -> Option<u32> {
        self.stats.request()
    }

    /// To ask for snapshots elsewhere. It may outlive the session, and then asks nobody.
    pub fn stats_requester(&self) -> StatsRequester {
        self.stats.clone()
    }
}

/// Asks the mint of one session for snapshots. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StatsRequester {
    inquiry: watch::Sender<Inquiry>,
    info: watch::Receiver<SessionInfo>,
}

impl StatsRequester {
    /// Asks for a snapshot (P5) and returns the request's id: an answer with this `request_id` or a higher one closes it.
    /// Requests that could not be written yet become one. `None` if the session has ended or has no statistics.
    pub fn request(&self) -> Option<u32> {
        if self.has_ended() || !self.info.borrow().extensions.stats {
            return None;
        }
        let mut id = None;
        self.inquiry.send_if_modified(|inquiry| {
            let request = inquiry.ask(Instant::now().into_std());
            id = request.map(|request| request.request_id);
            id.is_some()
        });
        id
    }

    pub(super) fn has_ended(&self) -> bool {
        // The other end of the information is the session's.
        self.info.has_changed().is_err()
    }

    /// Waits until the request with this id is answered. `false`: the session has ended instead.
    pub(super) async fn answered(&self, request_id: u32) -> bool {
        let mut inquiry = self.inquiry.subscribe();
        let mut info = self.info.clone();
        let ended = async { while info.changed().await.is_ok() {} };
        tokio::select! {
            answered = inquiry.wait_for(|inquiry| inquiry.answered() >= request_id) => answered.is_ok(),
            () = ended => false,
        }
    }

    /// Works on the session's questions. `work` tells whether those who wait for an answer are to look.
    pub(super) fn with(&self, work: impl FnOnce(&mut Inquiry) -> bool) {
        self.inquiry.send_if_modified(work);
    }

    pub(super) fn due_at(&self) -> Instant {
        self.inquiry.borrow().due_at().into()
    }
}
