//! A pool that knows quotes and nothing else, as hashpool's: the test asks by it for one quote after the other.

use std::net::SocketAddr;

use sv2_transport::{AuthorityKeypair, Frame};
use tokio::net::TcpListener;

use crate::{
    bytes::{MINT_QUOTE_ERROR, MINT_QUOTE_RESPONSE, QuoteRequest, SETUP_CONNECTION, setup_error, setup_success},
    peer::Peer,
};

/// What it makes of a `RequestExtensions`, whose type is that of a SetupConnection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnQuestion {
    /// Takes it for a second setup and agrees.
    AnswersSuccess,
    /// Takes it for a second setup that makes no sense.
    AnswersError,
    /// Goes on.
    Ignores,
    /// Gives up.
    Closes,
}

/// The listener.
#[derive(Debug)]
pub struct LegacyPool {
    listener: TcpListener,
    authority: AuthorityKeypair,
    on_question: OnQuestion,
}

/// A session with a mint, after the setup. It reads only when it is asked to.
pub struct LegacySession {
    peer: Peer,
    on_question: OnQuestion,
    heard: Vec<Frame>,
    setup: Frame,
}

impl LegacyPool {
    /// On a free port of the loopback interface.
    pub async fn listen(on_question: OnQuestion) -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            authority: AuthorityKeypair::generate(),
            on_question,
        }
    }

    /// Where mints dial.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// What they pin.
    pub fn authority(&self) -> &AuthorityKeypair {
        &self.authority
    }

    /// The next session that a mint sets up.
    pub async fn session(&self) -> LegacySession {
        let mut peer = Peer::accept(&self.listener, &self.authority).await;
        let setup = peer.frame().await.expect("a SetupConnection");
        assert_eq!(setup.msg_type, SETUP_CONNECTION);
        peer.send(setup_success()).await;
        LegacySession {
            peer,
            on_question: self.on_question,
            heard: Vec::new(),
            setup,
        }
    }
}

impl LegacySession {
    /// Asks for a quote and gives back the answer; `None` if the session ends instead.
    pub async fn ask(&mut self, request: &QuoteRequest) -> Option<Frame> {
        self.peer.send(request.to_frame()).await;
        loop {
            let frame = self.next().await?;
            // Whatever else comes is ignored; the extension type of this is not looked at.
            if matches!(frame.msg_type, MINT_QUOTE_RESPONSE | MINT_QUOTE_ERROR) {
                return Some(frame);
            }
        }
    }

    /// Reads one frame and does what this pool does upon it. `None` when the session has ended, by either end.
    pub async fn next(&mut self) -> Option<Frame> {
        let frame = self.peer.frame().await?;
        self.heard.push(frame.clone());
        if frame.msg_type == SETUP_CONNECTION {
            match self.on_question {
                OnQuestion::AnswersSuccess => self.peer.send(setup_success()).await,
                OnQuestion::AnswersError => self.peer.send(setup_error("unsupported-protocol")).await,
                OnQuestion::Ignores => {}
                OnQuestion::Closes => return None,
            }
        }
        Some(frame)
    }

    /// The mint's SetupConnection.
    pub fn setup(&self) -> &Frame {
        &self.setup
    }

    /// All that the mint has sent after it, as far as it was read.
    pub fn heard(&self) -> &[Frame] {
        &self.heard
    }
}
