//! What the pump needs of a session with the mint. Its one use beside [`MintSession`] is the tests' far end.

use mint_link::{HeaderHash, MintQuoteRequest, MintSession, QuoteAnswer, SessionInfo};
use tokio::sync::{mpsc, watch};

/// A session with the mint; dropping it ends it.
pub(crate) trait Session: Send + 'static {
    /// Takes quote requests; closed when the session has ended.
    fn requests(&self) -> &mpsc::Sender<MintQuoteRequest>;

    /// What the mint says; both end when the session has ended.
    fn incoming(&mut self) -> Incoming<'_>;

    /// Who the mint is and what it can do; it may learn.
    fn watch_info(&self) -> watch::Receiver<SessionInfo>;
}

/// What comes from the mint.
pub(crate) struct Incoming<'a> {
    /// Answers to requests.
    pub(crate) answers: &'a mut mpsc::Receiver<QuoteAnswer>,
    /// The hashes of quotes that were issued whole.
    pub(crate) issued: &'a mut mpsc::Receiver<Vec<HeaderHash>>,
}

impl Session for MintSession {
    fn requests(&self) -> &mpsc::Sender<MintQuoteRequest> {
        &self.requests
    }

    fn incoming(&mut self) -> Incoming<'_> {
        Incoming {
            answers: &mut self.answers,
            issued: &mut self.issued,
        }
    }

    fn watch_info(&self) -> watch::Receiver<SessionInfo> {
        self.watch_info()
    }
}
