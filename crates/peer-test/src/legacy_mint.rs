//! A mint that knows quotes and nothing else, as hashpool's: a task that dials, serves, and dials again.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use sv2_transport::{AuthorityPublicKey, Frame, initiate};
use tokio::{
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    bytes::{MINT_QUOTE_REQUEST, QuoteRequest, quote_error, quote_response, setup_connection, setup_success},
    peer::Peer,
};

/// After a dial or a setup that failed. After a session that was ready it dials again at once.
const REDIAL: Duration = Duration::from_secs(5);
const SETUP: Duration = Duration::from_secs(10);

/// How it serves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manners {
    /// How long it takes over an answer, while it goes on reading.
    pub slow: Duration,
    /// It makes this many quotes first, and each time its connection breaks before it has answered.
    pub breaks: usize,
}

/// What has happened.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Handshakes done.
    pub handshakes: usize,
    /// Sessions set up.
    pub sessions: usize,
    /// All that pools have sent, but for the answers to SetupConnection.
    pub frames: Vec<Frame>,
    /// The most requests that were unanswered at one time.
    pub most_outstanding: usize,
    /// The quotes made, by hash.
    pub quotes: HashMap<[u8; 32], String>,
    /// How often a share came again that has a quote.
    pub duplicates: usize,
}

/// The running mint. Dropping it ends it.
#[derive(Debug)]
pub struct LegacyMint {
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

impl LegacyMint {
    /// Dials this pool for ever.
    pub fn start(pool: SocketAddr, authority: AuthorityPublicKey, manners: Manners) -> Self {
        let (seen, reader) = watch::channel(Seen::default());
        let mut mint = Working {
            seen,
            breaks: manners.breaks,
            slow: manners.slow,
        };
        let task = tokio::spawn(async move {
            loop {
                match mint.set_up(pool, authority).await {
                    Some(peer) => mint.serve(peer).await,
                    None => sleep(REDIAL).await,
                }
            }
        });
        Self { seen: reader, task }
    }

    /// Waits until `what` holds of what has happened.
    pub async fn sees(&mut self, what: impl FnMut(&Seen) -> bool) -> Seen {
        self.seen.wait_for(what).await.expect("the task runs for ever").clone()
    }
}

impl Drop for LegacyMint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Working {
    seen: watch::Sender<Seen>,
    breaks: usize,
    slow: Duration,
}

impl Working {
    async fn set_up(&mut self, pool: SocketAddr, authority: AuthorityPublicKey) -> Option<Peer> {
        let stream = TcpStream::connect(pool).await.ok()?;
        let mut peer = Peer::of(initiate(stream, authority, Arc::default()).await.ok()?);
        self.seen.send_modify(|seen| seen.handshakes += 1);
        peer.send(setup_connection()).await;
        let answer = timeout(SETUP, peer.frame()).await.ok()??;
        if answer != setup_success() {
            return None;
        }
        self.seen.send_modify(|seen| seen.sessions += 1);
        Some(peer)
    }

    /// Until the connection ends.
    async fn serve(&mut self, mut peer: Peer) {
        let mut waiting = VecDeque::new();
        loop {
            let taking_its_time = async {
                if waiting.is_empty() {
                    std::future::pending().await
                } else {
                    sleep(self.slow).await;
                }
            };
            tokio::select! {
                biased;
                frame = peer.frame() => match frame {
                    Some(frame) => waiting.extend(self.take(frame, waiting.len())),
                    None => return,
                },
                () = taking_its_time => match waiting.pop_front().and_then(|request| self.answer(&request)) {
                    Some(answer) => peer.send(answer).await,
                    None => return,
                },
            }
        }
    }

    /// Notes a frame. By its type alone it is known as a request; what is cut short, or has no key, gets no answer.
    fn take(&self, frame: Frame, outstanding: usize) -> Option<QuoteRequest> {
        let request = (frame.msg_type == MINT_QUOTE_REQUEST)
            .then(|| QuoteRequest::decode(&frame.payload))
            .flatten()
            .filter(|request| matches!(request.locking_key.as_slice(), [2 | 3, rest @ ..] if rest.len() == 32));
        self.seen.send_modify(|seen| {
            seen.frames.push(frame);
            let outstanding = outstanding + usize::from(request.is_some());
            seen.most_outstanding = seen.most_outstanding.max(outstanding);
        });
        request
    }

    /// The quote is made before it is told of. `None` breaks the connection in between.
    fn answer(&mut self, request: &QuoteRequest) -> Option<Frame> {
        let hash = request.header_hash;
        let number = self.seen.borrow().quotes.len();
        if self.seen.borrow().quotes.contains_key(&hash) {
            self.seen.send_modify(|seen| seen.duplicates += 1);
            return Some(quote_error("Duplicate entry"));
        }
        let id = format!("00000000-0000-4000-8000-{number:012}");
        self.seen.send_modify(|seen| {
            seen.quotes.insert(hash, id.clone());
        });
        if self.breaks > 0 {
            self.breaks -= 1;
            return None;
        }
        Some(quote_response(&id, &hash))
    }
}
