//! One session of a pool with a mint: setup, the gate, then reading and writing side by side.
//!
//! What a connection must have shown to get there is here, step by step; a peer that fails at one, or takes too long over
//! it, has cost nobody anything. The halves of a working session are [`Reader`] and [`Writer`].

use std::{collections::VecDeque, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use futures::{SinkExt, StreamExt};
use stats_push::{CacheSession, RunId, Snapshot};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Admission, PoolLink,
    admission::changed,
    gate::{Gate, Verdict},
    handle::{MintSession, SessionInfo},
    reader::Reader,
    seat::Ticket,
    writer::Writer,
};
use crate::{
    error::{LinkError, Step, within},
    extensions::ExtensionMessage,
    messages::Kind,
    metrics::Dropped,
    setup::{self, DeviceInfo},
};
use sv2_transport::{Frame, FrameReader, FrameWriter, Place, Secured, Stage, respond};

/// Replies of the reader that wait for the writer; more to a mint that does not read are dropped.
const REPLY_PLACES: usize = 8;
/// Messages about issued quotes that wait for the role, of up to 255 hashes each.
const ISSUED_PLACES: usize = 64;

/// A refused mint is let go no sooner than this after it came. Older ones dial again at once, for ever: each round costs
/// a handshake.
const REFUSED_AFTER: Duration = Duration::from_secs(1);

/// Where another mint works, a newcomer is to say by its first snapshot which run it is: for how long that is waited for,
/// and how many frames may come before it.
pub(crate) const FIRST_SNAPSHOT: Duration = Duration::from_secs(2);
const EARLY_FRAMES: usize = 8;

/// Serves the connection of one peer, which holds `place`, from the handshake to its end.
pub(crate) async fn run<S>(
    link: &PoolLink,
    place: &Place,
    stream: S,
    address: SocketAddr,
    stop: &CancellationToken,
) -> LinkError
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => Err(LinkError::Stopped),
        evicted = place.evicted() => Err(evicted.into()),
        ended = serve(link, place, stream, address) => ended,
    };
    match ended {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

/// Ends with an error only: even a good session ends for some reason.
async fn serve<S>(link: &PoolLink, place: &Place, stream: S, address: SocketAddr) -> Result<Infallible, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let came = Instant::now();
    let config = &link.config;
    let peer = address.to_string();
    let handshake = respond(
        stream,
        &config.authority,
        config.cert_validity,
        Arc::clone(&link.metrics.traffic),
    );
    let authority = config.authority.public();
    let mut secured = within(Step::Handshake, config.timers.handshake, handshake)
        .await?
        .map_err(|error| LinkError::handshake(error, authority))?;
    place.reached(Stage::Shaken)?;
    let device = within(Step::Setup, config.timers.setup, set_up(link, &mut secured, &peer)).await??;
    place.reached(Stage::SetUp)?;
    let gate = Gate::new(config.extensions, secured.transcript, &config.timers, Instant::now());
    let mut waiting = Waiting {
        link,
        peer: &peer,
        reader: secured.reader,
        writer: secured.writer,
        gate,
        admission: link.admission.clone(),
        early: VecDeque::new(),
    };
    let entered = match waiting.pass().await {
        Ok(()) => {
            place.reached(Stage::Admitted)?;
            waiting.enter(address, device).await
        }
        Err(error) => Err(error),
    };
    match entered {
        Ok(seated) => waiting.work(seated).await,
        Err(error) => {
            if error.is_refusal() {
                sleep_until(came + REFUSED_AFTER).await;
            }
            Err(error)
        }
    }
}

/// Takes SetupConnection and answers it.
async fn set_up<S>(link: &PoolLink, secured: &mut Secured<S>, peer: &str) -> Result<DeviceInfo, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut gone = LinkError::ClosedAfterHandshake(link.config.authority.public());
    loop {
        let frame = secured.reader.next().await.ok_or(gone)??;
        gone = LinkError::ClosedDuring(Step::Setup);
        if Kind::of(&frame, &link.config.extensions) != Kind::SetupConnection {
            link.metrics
                .dropped(Dropped::Unexpected, peer, &format_args!("{frame:?}"));
            continue;
        }
        let flags = setup::flags_of(&frame.payload);
        let judged = setup::judge_setup(frame.payload);
        let answer = match judged {
            Ok(_) => setup::setup_success(),
            Err(code) => setup::setup_error(code, flags),
        };
        let answer = answer.map_err(|_| LinkError::SetupUnacceptable("no answer"))?;
        secured.writer.send(answer).await?;
        return judged.map_err(LinkError::SetupUnacceptable);
    }
}

/// A session before the gate. It only negotiates: nothing of it counts or shows.
struct Waiting<'a, S> {
    link: &'a PoolLink,
    peer: &'a str,
    reader: FrameReader<S>,
    writer: FrameWriter<S>,
    gate: Gate,
    admission: watch::Receiver<Arc<Admission>>,
    /// Frames that were read ahead to learn which run of a mint this is, for the working session to take.
    early: VecDeque<Frame>,
}

/// What a session has that works. Dropping it says that the session has ended.
pub(crate) struct Seated<'a> {
    link: &'a PoolLink,
    pub(crate) ticket: Ticket,
    pub(crate) info: watch::Sender<SessionInfo>,
    pub(crate) cache: CacheSession,
}

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        self.link.seat().leave(&self.ticket);
    }
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Waiting<'a, S> {
    /// Returns when the session may work.
    async fn pass(&mut self) -> Result<(), LinkError> {
        loop {
            let admission = Arc::clone(&self.admission.borrow_and_update());
            let until = match self.gate.verdict(&admission, Instant::now()) {
                Verdict::Ready => return Ok(()),
                Verdict::Refuse(error) => return Err(error),
                Verdict::Wait(until) => until,
            };
            tokio::select! {
                frame = self.reader.next() => {
                    let frame = frame.ok_or(LinkError::ClosedDuring(Step::Negotiation))??;
                    self.take(frame).await?;
                }
                () = sleep_until(until) => {}
                () = changed(&mut self.admission) => {}
            }
        }
    }

    /// Takes the seat of the session that works, if there is one.
    async fn enter(&mut self, address: SocketAddr, device: DeviceInfo) -> Result<Seated<'a>, LinkError> {
        let run = self.run_id().await?;
        let info = watch::Sender::new(SessionInfo::new(address, device, &self.gate));
        let (ticket, cache) = self.link.take_over(&info.borrow(), run)?;
        self.link.metrics.ready();
        Ok(Seated {
            link: self.link,
            ticket,
            info,
            cache,
        })
    }

    /// Which run of a mint this is, if that matters and the mint tells it in time.
    async fn run_id(&mut self) -> Result<Option<RunId>, LinkError> {
        let until = Instant::now() + FIRST_SNAPSHOT;
        while self.gate.extensions().stats && self.link.seat().is_contested() && self.early.len() < EARLY_FRAMES {
            let frame = tokio::select! {
                frame = self.reader.next() => frame.ok_or(LinkError::Closed)??,
                () = sleep_until(until) => break,
            };
            let told = match Kind::of(&frame, &self.link.config.extensions) {
                Kind::StatsResponse => Snapshot::decode(&frame.payload).ok(),
                _ => None,
            };
            self.early.push_back(frame);
            if let Some(snapshot) = told {
                return Ok(Some(snapshot.run_id));
            }
        }
        Ok(None)
    }

    /// The session works, until it ends for the reason returned.
    async fn work(self, seated: Seated<'a>) -> Result<Infallible, LinkError> {
        let link = self.link;
        let replaced = seated.ticket.replaced.clone();
        let info = seated.info.subscribe();
        let (requests, requested) = mpsc::channel(link.config.queue);
        let (answering, answers) = mpsc::channel(link.config.queue);
        let (replies, replying) = mpsc::channel(REPLY_PLACES);
        let (issuing, issued) = mpsc::channel(ISSUED_PLACES);
        let (session, handed) = MintSession::new(requests, answers, issued, info.clone());
        link.offer(&seated.ticket, session.stats_requester());
        let writer = Writer {
            sink: self.writer,
            requests: requested,
            replies: replying,
            inquiry: handed.inquiry,
            asked: 0,
            ids: link.config.extensions,
            info,
            answering: answering.clone(),
            metrics: &link.metrics,
            peer: self.peer,
            deadline: link.config.timers.write,
        };
        let mut reader = Reader {
            link,
            peer: self.peer,
            seated,
            requester: handed.requester,
            run: None,
            early: self.early,
            frames: self.reader,
            heard: Instant::now(),
            beats: false,
            interval: None,
            gate: self.gate,
            admission: self.admission,
            answering,
            issuing,
            replies,
        };
        let handing = async {
            match link.sessions.send(session).await {
                Ok(()) => std::future::pending().await,
                Err(_) => LinkError::Unserved,
            }
        };
        Err(tokio::select! {
            () = replaced.cancelled() => LinkError::Replaced,
            () = handed.dropped.cancelled() => LinkError::Unserved,
            error = handing => error,
            error = reader.run() => error,
            error = writer.run() => error,
        })
    }

    async fn take(&mut self, frame: Frame) -> Result<(), LinkError> {
        // As it is now: it may have changed since the wait began.
        let admission = Arc::clone(&self.admission.borrow());
        let metrics = &self.link.metrics;
        match Kind::of(&frame, &self.link.config.extensions) {
            Kind::Negotiation => match ExtensionMessage::decode(frame.msg_type, frame.payload) {
                Ok(message) => {
                    let reply = self.gate.on_message(message, &admission, Instant::now());
                    if let Some(Ok(reply)) = reply.map(|reply| reply.to_frame()) {
                        within(Step::Write, self.link.config.timers.write, self.writer.send(reply)).await??;
                    }
                }
                Err(error) => metrics.dropped(Dropped::Unexpected, self.peer, &error),
            },
            Kind::Proof => {
                if !self.gate.on_proof(frame.payload, &admission)? {
                    metrics.dropped(Dropped::Unexpected, self.peer, &"a proof that was not asked for");
                }
            }
            _ => metrics.dropped(Dropped::Unexpected, self.peer, &format_args!("{frame:?}")),
        }
        Ok(())
    }
}
