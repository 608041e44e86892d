//! A TCP proxy that behaves as a network may: it passes on, delays, trickles, stalls, swallows and cuts.
//!
//! Whatever it does to the bytes, it keeps the connections of both ends open, so no end's TCP can see that the other is
//! out of reach: what is found behind it is found by the protocol. To cut is the one exception, and what a reset looks like.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until},
};

/// What is read at once, and how many such pieces may be on their way in one direction: then the sender has to wait.
const PIECE: usize = 16 * 1024;
const PIECES: usize = 64;

/// What happens to the bytes of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// They pass.
    Clear,
    /// They pass so much later, in order.
    Delayed(Duration),
    /// They pass one by one, with so much time between two of them.
    Trickling(Duration),
    /// They are not read: they pile up in the sender's buffers.
    Stalled,
    /// They are read and vanish, with them what was on its way. Not even the end of the stream passes.
    Swallowing,
}

/// The weather in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// From the one who dialled to the target.
    pub there: Weather,
    /// From the target to the one who dialled.
    pub back: Weather,
}

impl From<Weather> for Line {
    fn from(weather: Weather) -> Self {
        Self {
            there: weather,
            back: weather,
        }
    }
}

/// A running proxy. Dropping it closes all connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepted: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Of connections to come.
    line: Line,
    refusing: bool,
    /// Of the connections that are open; `None` cuts.
    open: Vec<watch::Sender<Option<Line>>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    /// On a free port of the loopback interface, in clear weather.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            line: Weather::Clear.into(),
            refusing: false,
            open: Vec::new(),
        };
        let shared = Arc::new(Shared {
            target,
            state: Mutex::new(state),
        });
        let (count, accepted) = watch::channel(0);
        let task = tokio::spawn(listen(listener, Arc::clone(&shared), count));
        Self {
            address,
            shared,
            accepted,
            task,
        }
    }

    /// Where to dial instead of the target.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For the connections that are open and those to come.
    pub fn set(&self, line: impl Into<Line>) {
        let line = line.into();
        self.shared.lock().line = line;
        self.set_open(line);
    }

    /// For the connections that are open now. With [`Weather::Swallowing`] they are half-open, and whoever dials again
    /// gets through.
    pub fn set_open(&self, line: impl Into<Line>) {
        self.tell(Some(line.into()));
    }

    /// Resets the connections that are open now.
    pub fn cut(&self) {
        self.tell(None);
    }

    /// Whether connections to come are reset at once.
    pub fn refuse(&self, refuse: bool) {
        self.shared.lock().refusing = refuse;
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        let mut state = self.shared.lock();
        state.open.retain(|line| !line.is_closed());
        state.open.len()
    }

    /// How many connections have come so far; to wait for more of them.
    pub fn accepted(&self) -> watch::Receiver<usize> {
        self.accepted.clone()
    }

    fn tell(&self, line: Option<Line>) {
        for connection in &self.shared.lock().open {
            connection.send_replace(line);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>, count: watch::Sender<usize>) {
    let mut connections = JoinSet::new();
    loop {
        let near = tokio::select! {
            Ok((near, _)) = listener.accept() => near,
            Some(_) = connections.join_next() => continue,
            else => continue,
        };
        let line = {
            let mut state = shared.lock();
            state.open.retain(|line| !line.is_closed());
            let (sender, line) = watch::channel(Some(state.line).filter(|_| !state.refusing));
            state.open.push(sender);
            line
        };
        count.send_modify(|count| *count += 1);
        connections.spawn(connection(near, shared.target, line));
    }
}

async fn connection(mut near: TcpStream, target: SocketAddr, mut line: watch::Receiver<Option<Line>>) {
    let refused = line.borrow().is_none();
    if refused {
        return reset(&near);
    }
    let Ok(mut far) = TcpStream::connect(target).await else {
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (there, back) = (line.clone(), line.clone());
    let cut = {
        let (near_reads, near_writes) = near.split();
        let (far_reads, far_writes) = far.split();
        let carrying = async {
            tokio::join!(
                carry(near_reads, far_writes, there, |line| line.there),
                carry(far_reads, near_writes, back, |line| line.back),
            )
        };
        tokio::select! {
            biased;
            cut = line.wait_for(Option::is_none) => cut.is_ok(),
            ((), ()) = carrying => false,
        }
    };
    if cut {
        reset(&near);
        reset(&far);
    }
}

/// Has the peer see a reset when the stream is dropped.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// Carries one direction until it ends. An empty piece is the end of the stream.
async fn carry(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut line: watch::Receiver<Option<Line>>,
    way: fn(&Line) -> Weather,
) {
    let mut buffer = vec![0; PIECE];
    let mut pieces: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut open = true;
    loop {
        let Some(weather) = line.borrow_and_update().as_ref().map(way) else {
            return;
        };
        if weather == Weather::Swallowing {
            pieces.clear();
        }
        let flows = weather != Weather::Stalled;
        let room = if matches!(weather, Weather::Trickling(_)) {
            1
        } else {
            PIECE
        };
        let due = pieces.front().map(|(due, _)| *due).filter(|_| flows);
        tokio::select! {
            changed = line.changed() => if changed.is_err() {
                return;
            },
            read = from.read(&mut buffer[..room]), if open && flows && pieces.len() < PIECES => {
                let length = read.unwrap_or(0);
                open = length > 0;
                let last = pieces.back().map(|(due, _)| *due);
                let due = weather.due(Instant::now(), last);
                pieces.extend(due.map(|due| (due, buffer[..length].to_vec())));
            }
            () = at(due) => match pieces.pop_front() {
                Some((_, piece)) if !piece.is_empty() => if to.write_all(&piece).await.is_err() {
                    return;
                },
                _ => {
                    let _ = to.shutdown().await;
                    return;
                }
            },
        }
    }
}

impl Weather {
    /// When a piece that came now goes on, behind the last one; `None` for never.
    fn due(self, now: Instant, last: Option<Instant>) -> Option<Instant> {
        let last = last.unwrap_or(now);
        match self {
            Self::Clear | Self::Stalled => Some(now.max(last)),
            Self::Delayed(delay) => Some((now + delay).max(last)),
            Self::Trickling(gap) => Some(now.max(last) + gap),
            Self::Swallowing => None,
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
