//! What the pump needs of a session with the mint. Its one use beside [`MintSession`] is the tests' far end.

use mint_link::{MintQuoteRequest, MintSession, QuoteAnswer, SessionInfo};
use tokio::sync::{mpsc, watch};

/// A session with the mint; dropping it ends it.
pub(crate) trait Session: Send + 'static {
    /// Takes quote requests; closed when the session has ended.
    fn requests(&self) -> &mpsc::Sender<MintQuoteRequest>;

    /// Gives the answers, then `None` when the session has ended.
    fn answers(&mut self) -> &mut mpsc::Receiver<QuoteAnswer>;

    /// Who the mint is and what it can do; it may learn.
    fn watch_info(&self) -> watch::Receiver<SessionInfo>;
}

impl Session for MintSession {
    fn requests(&self) -> &mpsc::Sender<MintQuoteRequest> {
        &self.requests
    }

    fn answers(&mut self) -> &mut mpsc::Receiver<QuoteAnswer> {
        &mut self.answers
    }

    fn watch_info(&self) -> watch::Receiver<SessionInfo> {
        self.watch_info()
    }
}
