//! One session of a pool with a mint: setup, the gate, then reading and writing side by side.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use futures::{SinkExt, StreamExt};
use stats_push::{CacheSession, Snapshot};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Admission, PoolLink,
    gate::{Gate, Verdict},
    handle::{MintSession, SessionInfo},
    writer::Writer,
};
use crate::{
    error::{LinkError, Step, within},
    extensions::ExtensionMessage,
    issued::MintQuotesIssued,
    messages::{HeaderHash, Kind, QuoteAnswer},
    metrics::Dropped,
    setup::{self, DeviceInfo},
};
use sv2_transport::{Frame, FrameReader, FrameWriter, Secured, respond};

/// Replies of the reader that wait for the writer; more to a mint that does not read are dropped.
const REPLY_PLACES: usize = 8;
/// Messages about issued quotes that wait for the role, of up to 255 hashes each.
const ISSUED_PLACES: usize = 64;

/// A refused mint is let go no sooner than this after it came. Older ones dial again at once, for ever: each round costs
/// a handshake.
const REFUSED_AFTER: Duration = Duration::from_secs(1);

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
    };
    if let Err(error) = waiting.pass().await {
        if error.is_refusal() {
            sleep_until(came + REFUSED_AFTER).await;
        }
        return Err(error);
    }
    waiting.work(address, device).await
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
}

impl<S: AsyncRead + AsyncWrite + Unpin> Waiting<'_, S> {
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

    /// The session works, until it ends for the reason returned.
    async fn work(self, address: SocketAddr, device: DeviceInfo) -> Result<Infallible, LinkError> {
        let link = self.link;
        link.metrics.ready();
        let info = watch::Sender::new(SessionInfo::new(address, device, &self.gate));
        let (newest, cache) = link.take_over(&info.borrow());
        let (requests, requested) = mpsc::channel(link.config.queue);
        let (answering, answers) = mpsc::channel(link.config.queue);
        let (replies, replying) = mpsc::channel(REPLY_PLACES);
        let (issuing, issued) = mpsc::channel(ISSUED_PLACES);
        let (session, handed) = MintSession::new(requests, answers, issued, info.subscribe());
        let writer = Writer {
            sink: self.writer,
            requests: requested,
            replies: replying,
            stats: handed.stats,
            ids: link.config.extensions,
            info: info.subscribe(),
            answering: answering.clone(),
            metrics: &link.metrics,
            peer: self.peer,
            deadline: link.config.timers.write,
        };
        let mut reader = Reader {
            link,
            peer: self.peer,
            newest: newest.clone(),
            cache,
            frames: self.reader,
            gate: self.gate,
            admission: self.admission,
            answering,
            issuing,
            replies,
            info,
        };
        let handing = async {
            match link.sessions.send(session).await {
                Ok(()) => std::future::pending().await,
                Err(_) => LinkError::Unserved,
            }
        };
        Err(tokio::select! {
            () = newest.cancelled() => LinkError::Replaced,
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
    /// Tells this session from newer ones.
    newest: CancellationToken,
    frames: FrameReader<S>,
    gate: Gate,
    admission: watch::Receiver<Arc<Admission>>,
    cache: CacheSession,
    answering: mpsc::Sender<QuoteAnswer>,
    issuing: mpsc::Sender<Vec<HeaderHash>>,
    replies: mpsc::Sender<Frame>,
    info: watch::Sender<SessionInfo>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Reader<'_, S> {
    async fn run(&mut self) -> LinkError {
        loop {
            let taken = tokio::select! {
                () = changed(&mut self.admission) => {
                    let admission = Arc::clone(&self.admission.borrow_and_update());
                    self.gate.admitted(&admission)
                }
                frame = self.frames.next() => match frame {
                    None => Err(LinkError::Closed),
                    Some(Err(error)) => Err(error.into()),
                    Some(Ok(frame)) => self.take(frame).await,
                },
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
                Ok(snapshot) => {
                    self.cache.apply(snapshot, Instant::now().into_std());
                }
                Err(error) => {
                    self.cache.malformed();
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
        let had_stats = self.info.borrow().extensions.stats;
        self.tell();
        if !had_stats && self.gate.extensions().stats {
            self.cache.negotiated();
        }
    }

    fn prove(&mut self, payload: Vec<u8>) -> Result<(), LinkError> {
        let admission = Arc::clone(&self.admission.borrow());
        if self.gate.on_proof(payload, &admission)? {
            self.tell();
            // Now that it is known who this is.
            let reopened = self.link.reopen(&self.newest, &self.info.borrow());
            self.cache = reopened.ok_or(LinkError::Replaced)?;
        } else {
            self.dropped(Dropped::Unexpected, &"a proof that was not asked for");
        }
        Ok(())
    }

    fn tell(&self) {
        self.info.send_modify(|info| info.update(&self.gate));
    }

    fn dropped(&self, what: Dropped, why: &dyn std::fmt::Display) {
        self.link.metrics.dropped(what, self.peer, why);
    }
}
