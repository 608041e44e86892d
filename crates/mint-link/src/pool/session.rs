//! One session of a pool with a mint: setup, the gate, then reading and writing side by side.

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
    gate::{Gate, Verdict},
    handle::{MintSession, SessionInfo, StatsRequester},
    seat::Ticket,
    writer::Writer,
};
use crate::{
    error::{LinkError, Step, within},
    extensions::ExtensionMessage,
    issued::MintQuotesIssued,
    messages::{HeaderHash, Kind, QuoteAnswer},
    metrics::Dropped,
    setup::{self, DeviceInfo},
    timing::at,
};
use sv2_transport::{Frame, FrameReader, FrameWriter, Secured, respond};

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

/// How late the periodic push of a mint without heartbeats may be.
const PUSH_LATE: Duration = Duration::from_secs(4);

/// Serves the connection of one peer from the handshake to its end.
pub(crate) async fn run<S>(link: &PoolLink, stream: S, address: SocketAddr, stop: &CancellationToken) -> LinkError
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => Err(LinkError::Stopped),
        ended = serve(link, stream, address) => ended,
    };
    match ended {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

/// Ends with an error only: even a good session ends for some reason.
async fn serve<S>(link: &PoolLink, stream: S, address: SocketAddr) -> Result<Infallible, LinkError>
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
    let device = within(Step::Setup, config.timers.setup, set_up(link, &mut secured, &peer)).await??;
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
        Ok(()) => waiting.enter(address, device).await,
        Err(error) => Err(error),
    };
    match entered {
        Ok(place) => waiting.work(place).await,
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
struct Place<'a> {
    link: &'a PoolLink,
    ticket: Ticket,
    info: watch::Sender<SessionInfo>,
    cache: CacheSession,
}

impl Drop for Place<'_> {
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

    /// Takes the place of the session that works, if there is one.
    async fn enter(&mut self, address: SocketAddr, device: DeviceInfo) -> Result<Place<'a>, LinkError> {
        let run = self.run_id().await?;
        let info = watch::Sender::new(SessionInfo::new(address, device, &self.gate));
        let (ticket, cache) = self.link.take_over(&info.borrow(), run)?;
        self.link.metrics.ready();
        Ok(Place {
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
    async fn work(self, place: Place<'a>) -> Result<Infallible, LinkError> {
        let link = self.link;
        let replaced = place.ticket.replaced.clone();
        let info = place.info.subscribe();
        let (requests, requested) = mpsc::channel(link.config.queue);
        let (answering, answers) = mpsc::channel(link.config.queue);
        let (replies, replying) = mpsc::channel(REPLY_PLACES);
        let (issuing, issued) = mpsc::channel(ISSUED_PLACES);
        let (session, handed) = MintSession::new(requests, answers, issued, info.clone());
        link.offer(&place.ticket, session.stats_requester());
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
            place,
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

/// Waits for a change of the rule; without anybody left to change it, for ever.
async fn changed(admission: &mut watch::Receiver<Arc<Admission>>) {
    if admission.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The reading half of a working session.
struct Reader<'a, S> {
    link: &'a PoolLink,
    peer: &'a str,
    place: Place<'a>,
    requester: StatsRequester,
    /// The run of the mint that its newest snapshot tells.
    run: Option<RunId>,
    early: VecDeque<Frame>,
    frames: FrameReader<S>,
    /// When the mint was last listened to.
    heard: Instant,
    /// It has repeated its RequestExtensions: those are its heartbeats.
    beats: bool,
    /// The period of its pushes, once it has told it.
    interval: Option<Duration>,
    gate: Gate,
    admission: watch::Receiver<Arc<Admission>>,
    answering: mpsc::Sender<QuoteAnswer>,
    issuing: mpsc::Sender<Vec<HeaderHash>>,
    replies: mpsc::Sender<Frame>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Reader<'_, S> {
    async fn run(&mut self) -> LinkError {
        while let Some(frame) = self.early.pop_front() {
            if let Err(error) = self.take(frame).await {
                return error;
            }
        }
        loop {
            let patience = self.patience();
            let lost = patience.map(|patience| self.heard + patience);
            // By itself the pool asks where the first snapshot does not come, or the newest has turned stale.
            let stats = self.gate.extensions().stats;
            let ask = stats.then(|| self.requester.due_at());
            let taken = tokio::select! {
                biased;
                () = changed(&mut self.admission) => {
                    let admission = Arc::clone(&self.admission.borrow_and_update());
                    self.gate.admitted(&admission)
                }
                frame = self.frames.next() => {
                    let taken = match frame {
                        None => Err(LinkError::Closed),
                        Some(Err(error)) => Err(error.into()),
                        Some(Ok(frame)) => self.take(frame).await,
                    };
                    self.heard = Instant::now();
                    taken
                }
                () = at(ask) => {
                    self.requester.request();
                    Ok(())
                }
                () = at(lost) => Err(LinkError::Silent { after: patience.unwrap_or_default() }),
            };
            if let Err(error) = taken {
                return error;
            }
        }
    }

    async fn take(&mut self, frame: Frame) -> Result<(), LinkError> {
        match Kind::of(&frame, &self.link.config.extensions) {
            Kind::QuoteResponse => return self.answer(QuoteAnswer::decode_response(frame.payload)).await,
            Kind::QuoteError => {
                let correlated = self.gate.extensions().quotes;
                return self.answer(QuoteAnswer::decode_error(frame.payload, correlated)).await;
            }
            Kind::QuotesIssued if self.gate.extensions().quotes => match MintQuotesIssued::decode(frame.payload) {
                Ok(issued) => self.issued(issued),
                Err(error) => self.dropped(Dropped::MalformedQuote, &error),
            },
            Kind::StatsResponse if self.gate.extensions().stats => match Snapshot::decode(&frame.payload) {
                Ok(snapshot) => self.apply(snapshot),
                Err(error) => {
                    self.place.cache.malformed();
                    self.dropped(Dropped::MalformedStats, &error);
                }
            },
            Kind::Negotiation => match ExtensionMessage::decode(frame.msg_type, frame.payload) {
                Ok(message) => self.negotiate(message),
                Err(error) => self.dropped(Dropped::Unexpected, &error),
            },
            Kind::Proof => return self.prove(frame.payload),
            _ => self.dropped(Dropped::Unexpected, &format_args!("{frame:?}")),
        }
        Ok(())
    }

    /// How long the mint may say nothing. `None`: one that neither beats nor pushes may have nothing to say for hours.
    fn patience(&self) -> Option<Duration> {
        let silence = self.link.config.timers.silence;
        match self.interval {
            Some(interval) if !self.beats => Some(silence.max(interval + PUSH_LATE)),
            _ => (self.beats || self.gate.extensions().stats).then_some(silence),
        }
    }

    fn apply(&mut self, snapshot: Snapshot) {
        self.interval = Some(snapshot.interval);
        if self.run != Some(snapshot.run_id) {
            self.run = Some(snapshot.run_id);
            self.link.seat().is_of(&self.place.ticket, snapshot.run_id);
        }
        let now = Instant::now().into_std();
        let (interval, request_id) = (snapshot.interval, snapshot.request_id);
        let became = self.place.cache.apply(snapshot, now);
        self.requester.with(|inquiry| {
            let took = inquiry.heard(request_id, interval, became, now);
            if let Some(took) = took {
                self.link.metrics.round_trip(took);
                self.place.cache.answered(took);
            }
            took.is_some()
        });
    }

    async fn answer(&mut self, decoded: Result<QuoteAnswer, crate::Malformed>) -> Result<(), LinkError> {
        match decoded {
            Ok(answer) => self.answering.send(answer).await.map_err(|_| LinkError::Unserved),
            Err(error) => {
                self.dropped(Dropped::MalformedQuote, &error);
                Ok(())
            }
        }
    }

    /// Hands issued quotes to the role, if it has room for them.
    fn issued(&self, issued: MintQuotesIssued) {
        let untaken = self.issuing.try_send(issued.header_hashes).is_err();
        self.link.metrics.issued_missed(u64::from(untaken));
    }

    /// A legacy mint that negotiates after all, or one that asks again.
    fn negotiate(&mut self, message: ExtensionMessage) {
        let admission = Arc::clone(&self.admission.borrow());
        let negotiated = self.gate.negotiates();
        let reply = self.gate.on_message(message, &admission, Instant::now());
        let Some(Ok(reply)) = reply.map(|reply| reply.to_frame()) else {
            return self.dropped(Dropped::Unexpected, &"an answer of negotiation");
        };
        if self.replies.try_send(reply).is_err() {
            self.dropped(
                Dropped::Unexpected,
                &"negotiation by a mint that does not read the answers",
            );
        }
        self.beats |= negotiated;
        let had_stats = self.place.info.borrow().extensions.stats;
        self.tell();
        if !had_stats && self.gate.extensions().stats {
            self.place.cache.negotiated();
            let now = Instant::now().into_std();
            self.requester.with(|inquiry| {
                inquiry.negotiated(now);
                false
            });
        }
    }

    fn prove(&mut self, payload: Vec<u8>) -> Result<(), LinkError> {
        let admission = Arc::clone(&self.admission.borrow());
        if self.gate.on_proof(payload, &admission)? {
            self.tell();
            // Now that it is known who this is.
            let reopened = self.link.reopen(&self.place.ticket, &self.place.info.borrow());
            self.place.cache = reopened.ok_or(LinkError::Replaced)?;
        } else {
            self.dropped(Dropped::Unexpected, &"a proof that was not asked for");
        }
        Ok(())
    }

    fn tell(&self) {
        self.place.info.send_if_modified(|info| info.update(&self.gate));
    }

    fn dropped(&self, what: Dropped, why: &dyn std::fmt::Display) {
        self.link.metrics.dropped(what, self.peer, why);
    }
}
