//! One session of a mint with a pool: setup, then reading and writing side by side until either ends.
//!
//! Both halves run in one task and neither waits for the other: a pool that does not read stalls the writer until its
//! deadline, and meanwhile the reader goes on. What the reader hands to the mint's batcher is bounded by places reserved
//! for the answers.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use futures::{SinkExt, StreamExt};
use stats_push::{MintStatsRequest, Publisher, PublisherHandle};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    MintLink, PoolTarget, SessionSide,
    heartbeat::Heartbeat,
    negotiation::{LegacyReason, Negotiated, Negotiation, Next},
    quotes::{AnswerHandle, QuoteCall},
    status::StatusCell,
    writer::{Control, TurnOn, Writer},
};
use crate::{
    error::{LinkError, Step, within},
    extensions::{ExtensionMessage, Extensions},
    issued::Issuances,
    messages::{Kind, MintQuoteRequest, QuoteAnswer},
    metrics::Dropped,
    proof::MintProof,
    setup,
    timing::at,
};
use sv2_transport::{Backoff, CodecError, Frame, FrameReader, Secured, Transcript, initiate};

/// How a session ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) error: LinkError,
    /// How long it worked; `None` if it never came to that.
    pub(crate) worked: Option<Duration>,
    /// The pool went away soon after it was asked for extensions, without turning any on: it may be one that can't bear
    /// the question.
    pub(crate) over_the_question: bool,
}

impl Ended {
    pub(super) fn early(error: LinkError) -> Self {
        Self {
            error,
            worked: None,
            over_the_question: false,
        }
    }
}

/// Orders to the writer that wait at most: those of the negotiation are three, the others are heartbeats, of which one that
/// finds no place is as good as unanswered.
const CONTROL_PLACES: usize = 8;

/// A pool that closes this soon after the mint's proof, and has said nothing since, most likely refused it.
const VERDICT: Duration = Duration::from_secs(5);

/// Runs a session over `stream` from the handshake to its end. `ask` says whether to negotiate extensions.
pub(crate) async fn run<S>(
    link: &MintLink,
    target: &PoolTarget,
    stream: S,
    peer: Option<SocketAddr>,
    ask: bool,
    status: &StatusCell,
    stop: &CancellationToken,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let set_up = tokio::select! {
        biased;
        () = stop.cancelled() => Err(LinkError::Stopped),
        set_up = set_up(link, target, stream) => set_up,
    };
    let secured = match set_up {
        Ok(secured) => secured,
        Err(error) => return Ended::early(error),
    };
    let started = Instant::now();
    link.metrics.ready();
    let (negotiation, request) = Negotiation::new(link.extensions, ask);
    status.connected(peer, negotiation.state());
    let (error, negotiated) = work(link, target, secured, negotiation, request, status, stop).await;
    let worked = started.elapsed();
    let in_vain = !matches!(
        negotiated,
        Negotiated::On(_) | Negotiated::Legacy(LegacyReason::NotAsked)
    );
    Ended {
        over_the_question: error.is_gone() && in_vain && worked < Backoff::STABLE,
        error,
        worked: Some(worked),
    }
}

/// Handshake and SetupConnection.
async fn set_up<S>(link: &MintLink, target: &PoolTarget, stream: S) -> Result<Secured<S>, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let timers = &link.timers;
    let handshake = initiate(stream, target.authority, Arc::clone(&link.metrics.traffic));
    let mut secured = within(Step::Handshake, timers.handshake, handshake)
        .await?
        .map_err(|error| LinkError::handshake(error, target.authority))?;
    let exchange = async {
        let request = setup::setup_connection(&link.device, &target.address)
            .map_err(|error| LinkError::SetupRefused(error.to_string()))?;
        secured.writer.send(request).await?;
        loop {
            let frame = secured
                .reader
                .next()
                .await
                .ok_or(LinkError::ClosedDuring(Step::Setup))??;
            match Kind::of(&frame, &link.extensions) {
                Kind::SetupConnectionSuccess => return setup::accept_success(frame.payload),
                Kind::SetupConnectionError => return Err(setup::refusal(frame.payload)),
                _ => link
                    .metrics
                    .dropped(Dropped::Unexpected, &target.address, &format_args!("{frame:?}")),
            }
        }
    };
    within(Step::Setup, timers.setup, exchange).await??;
    Ok(secured)
}

/// The working session: returns why it ended, and what was negotiated by then.
async fn work<S>(
    link: &MintLink,
    target: &PoolTarget,
    secured: Secured<S>,
    negotiation: Negotiation,
    request: Option<ExtensionMessage>,
    status: &StatusCell,
    stop: &CancellationToken,
) -> (LinkError, Negotiated)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (control, orders) = mpsc::channel(CONTROL_PLACES);
    let (calls, answers) = mpsc::channel(link.max_outstanding.max(1));
    let side = SessionSide {
        pool: &target.address,
        metrics: &link.metrics,
        extensions: &link.extensions,
    };
    let mut reader = Reader {
        link,
        side,
        frames: secured.reader,
        transcript: secured.transcript,
        negotiation,
        ask_until: Instant::now() + link.timers.negotiation,
        heartbeat: Heartbeat::new(link.timers.heartbeat, link.timers.silence, Instant::now()),
        calls: Some(calls),
        control,
        publisher: None,
        proof_sent: None,
        pool: Arc::clone(&target.address),
        status,
    };
    if let Some(request) = request {
        reader.ask(&request);
    }
    let writer = Writer::new(secured.writer, orders, answers, side, &link.timers);
    let error = {
        let mut reading = pin!(reader.run(stop));
        let mut writing = pin!(writer.run(stop));
        tokio::select! {
            biased;
            error = &mut writing => {
                if matches!(error, LinkError::Stopped) {
                    // The end of the stream is on its way. Closing now, with something unread, would reset the connection
                    // and could cost the pool the final push: read on until it closes.
                    let _ = timeout(link.timers.linger, &mut reading).await;
                }
                error
            }
            error = &mut reading => error,
        }
    };
    let error = match reader.proof_unanswered() {
        true if error.is_gone() => LinkError::ClosedAfterProof(link.key.public()),
        _ => error,
    };
    (error, reader.negotiation.state())
}

/// The reading half.
struct Reader<'a, S> {
    link: &'a MintLink,
    side: SessionSide<'a>,
    frames: FrameReader<S>,
    transcript: Transcript,
    negotiation: Negotiation,
    ask_until: Instant,
    heartbeat: Heartbeat,
    /// Makes places for answers; `None` once the mint stops: what still comes is read and left unanswered.
    calls: Option<mpsc::Sender<QuoteAnswer>>,
    control: mpsc::Sender<Control>,
    publisher: Option<PublisherHandle>,
    /// When the mint proved itself, until the pool says anything.
    proof_sent: Option<Instant>,
    pool: Arc<str>,
    status: &'a StatusCell,
}

impl<S: AsyncRead> Reader<'_, S>
where
    FrameReader<S>: futures::Stream<Item = Result<Frame, CodecError>> + Unpin,
{
    async fn run(&mut self, stop: &CancellationToken) -> LinkError {
        loop {
            let asking = self.negotiation.is_pending();
            let until = self.ask_until;
            let (beat, lost) = (self.heartbeat.due(), self.heartbeat.deadline());
            let frame = tokio::select! {
                biased;
                () = stop.cancelled(), if self.calls.is_some() => {
                    self.calls = None;
                    continue;
                }
                () = sleep_until(until), if asking => {
                    self.negotiation.on_deadline();
                    self.status.negotiated(self.negotiation.state());
                    continue;
                }
                () = at(beat) => {
                    self.beat();
                    continue;
                }
                // What has come already is looked at before anybody is called silent.
                frame = self.frames.next() => frame,
                () = at(lost) => return LinkError::Silent { after: self.heartbeat.patience() },
            };
            let came = Instant::now();
            let taken = match frame {
                None => Err(LinkError::Closed),
                Some(Err(error)) => Err(error.into()),
                Some(Ok(frame)) => self.take(frame, stop).await,
            };
            self.heartbeat.excuse(came.elapsed());
            if let Err(error) = taken {
                return error;
            }
        }
    }

    /// Whether the pool has been silent since it got the proof, a short while ago.
    fn proof_unanswered(&self) -> bool {
        self.proof_sent.is_some_and(|sent| sent.elapsed() < VERDICT)
    }

    async fn take(&mut self, frame: Frame, stop: &CancellationToken) -> Result<(), LinkError> {
        self.proof_sent = None;
        match Kind::of(&frame, self.side.extensions) {
            Kind::QuoteRequest => match MintQuoteRequest::decode(frame.payload) {
                Ok(request) => return self.call(request, stop).await,
                Err(error) => self.dropped(Dropped::MalformedQuote, &error),
            },
            Kind::StatsRequest => self.take_stats_request(&frame.payload),
            Kind::Negotiation => match ExtensionMessage::decode(frame.msg_type, frame.payload) {
                Ok(message) => self.negotiate(message),
                Err(error) => self.dropped(Dropped::Unexpected, &error),
            },
            Kind::SetupConnectionSuccess | Kind::SetupConnectionError => {
                self.negotiation.on_setup_answer();
                self.status.negotiated(self.negotiation.state());
            }
            _ => self.dropped(Dropped::Unexpected, &format_args!("{frame:?}")),
        }
        Ok(())
    }

    /// Hands a request to the mint's batcher, as soon as there is a place for its answer.
    async fn call(&mut self, request: MintQuoteRequest, stop: &CancellationToken) -> Result<(), LinkError> {
        let Some(calls) = self.calls.clone() else {
            return Ok(());
        };
        let reserving = stop.run_until_cancelled(calls.reserve_owned());
        let Some(slot) = self.beating(reserving).await else {
            return Ok(());
        };
        let slot = slot.map_err(|_| LinkError::Unserved)?;
        let answer = AnswerHandle::new(slot, request.header_hash, Arc::clone(&self.link.metrics));
        let call = QuoteCall {
            pool: Arc::clone(&self.pool),
            request,
            answer,
        };
        let sending = stop.run_until_cancelled(self.link.quotes.send(call));
        match self.beating(sending).await {
            Some(Err(_)) => Err(LinkError::Unserved),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Waits for what this mint has to do itself; meanwhile the pool hears that the mint is there.
    async fn beating<T>(&mut self, business: impl Future<Output = T>) -> T {
        let mut business = pin!(business);
        loop {
            tokio::select! {
                biased;
                done = &mut business => return done,
                () = at(self.heartbeat.due()) => self.beat(),
            }
        }
    }

    fn beat(&mut self) {
        let question = self.heartbeat.beat(Instant::now());
        match question.to_frame() {
            // No place means that the writer waits for the pool, which is then to be found silent.
            Ok(frame) => drop(self.control.try_send(Control::Send(frame))),
            Err(error) => self.dropped(Dropped::Unexpected, &format_args!("{error:?}")),
        }
    }

    fn take_stats_request(&self, payload: &[u8]) {
        let Some(publisher) = &self.publisher else {
            return self.dropped(Dropped::Unexpected, &"MintStatsRequest without the extension");
        };
        match MintStatsRequest::decode(payload) {
            Ok(request) if publisher.request(request) => self.side.metrics.stats_request(),
            Ok(_) => self.dropped(Dropped::Unexpected, &"MintStatsRequest with an id that does not grow"),
            Err(error) => self.dropped(Dropped::MalformedStats, &error),
        }
    }

    fn negotiate(&mut self, message: ExtensionMessage) {
        let answered = message.answers();
        let took = answered.and_then(|request_id| self.heartbeat.answered(request_id, Instant::now()));
        if let Some(took) = took {
            self.side.metrics.round_trip(took);
        }
        match self.negotiation.on_message(message) {
            Next::Nothing => {}
            Next::Ask(request) => self.ask(&request),
            Next::TurnOn(extensions) => self.turn_on(extensions),
        }
        self.status.negotiated(self.negotiation.state());
    }

    fn turn_on(&mut self, extensions: Extensions) {
        let proof = extensions
            .proof
            .then(|| MintProof::new(&self.link.key, &self.transcript).to_frame(self.side.extensions));
        let publisher = extensions
            .stats
            .then(|| Publisher::new(self.link.totals.clone(), self.link.run_id, self.link.push));
        self.proof_sent = proof.as_ref().map(|_| Instant::now());
        self.publisher = publisher.as_ref().map(|(_, handle)| handle.clone());
        self.heartbeat
            .start(self.side.extensions.list(extensions), Instant::now());
        let issuances = extensions.quotes.then(|| Issuances::new(self.link.issued.subscribe()));
        self.order(Control::TurnOn(Box::new(TurnOn {
            extensions,
            proof,
            publisher,
            issuances,
        })));
    }

    fn ask(&self, request: &ExtensionMessage) {
        match request.to_frame() {
            Ok(frame) => self.order(Control::Send(frame)),
            Err(error) => self.dropped(Dropped::Unexpected, &format_args!("{error:?}")),
        }
    }

    fn order(&self, order: Control) {
        // Two requests and one TurnOn in a whole session, before the first heartbeat: there is always a place.
        if self.control.try_send(order).is_err() {
            self.dropped(Dropped::Unexpected, &"an order to the writer");
        }
    }

    fn dropped(&self, what: Dropped, why: &dyn std::fmt::Display) {
        self.side.metrics.dropped(what, self.side.pool, why);
    }
}
