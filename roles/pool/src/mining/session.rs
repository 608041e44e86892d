//! One connection of a miner, from the handshake to its end.
//!
//! One task reads, judges and writes. While it writes it does not read: a miner that does not take its answers is not
//! listened to, and after the deadline of a write it is dropped.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use common_messages_sv2::MESSAGE_TYPE_SETUP_CONNECTION;
use futures::{SinkExt, StreamExt};
use mining_sv2::ERROR_CODE_SET_CUSTOM_MINING_JOB_JD_NOT_SUPPORTED as NO_CUSTOM_JOBS;
use mint_link::ExtensionMessage;
use sv2_transport::{
    CodecError, Evicted, Frame, FrameReader, FrameWriter, HandshakeError, Place, Secured, Stage, respond,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::answers::{Answers, MAX_PENDING, tell};
use super::channels::{Channels, KeyChange, Submitted};
use super::messages::{FromMiner, ToMiner, Unreadable};
use super::metrics::Counter;
use super::notify::{News, Notifier};
use super::server::MiningServer;
use super::setup::{self, Setup};
use super::share::Share;

/// How long a certificate is valid; it is checked only while connecting.
const CERTIFICATE: Duration = Duration::from_secs(3600);
/// How often the channels are looked at that send no shares.
const TICK: Duration = Duration::from_secs(5);
/// How many times longer a connection may be silent from which no share is to be expected: without a channel, or with
/// channels whose miner says that nothing mines on them.
const PATIENCE: u32 = 10;
/// How long the end of a session may take: answers to shares that were taken before.
pub(super) const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("{step} not done within {after:?}")]
    Deadline { step: &'static str, after: Duration },
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("refused its setup: {0}")]
    Refused(&'static str),
    /// Before it said anything: most likely a miner that pins another authority key, which it finds out only by the
    /// handshake's answer, or one for which that came too late.
    #[error(
        "the miner closed the connection without a word after it was answered in the handshake: it was given another \
         authority key than this pool's (pool --print-authority-key), or gave up waiting for the answer"
    )]
    ClosedEarly,
    #[error("the miner closed the connection")]
    Closed,
    #[error("nothing came for {0:?}")]
    Idle(Duration),
    #[error(transparent)]
    Evicted(#[from] Evicted),
    #[error("the pool stops")]
    Stopped,
    #[error("a message that can't be encoded: {0:?}")]
    Unencodable(binary_sv2::Error),
}

impl Ended {
    /// The label in metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Deadline { .. } => "deadline",
            Self::Handshake(_) => "handshake",
            Self::ClosedEarly => "closed_early",
            Self::Codec(CodecError::Io(_)) => "connection",
            Self::Codec(_) => "codec",
            Self::Refused(_) => "setup",
            Self::Closed => "closed",
            Self::Idle(_) => "idle",
            Self::Evicted(_) => "evicted",
            Self::Stopped => "stopped",
            Self::Unencodable(_) => "internal",
        }
    }
}

/// Serves a connection that holds this place, whatever carries it.
pub(crate) async fn run<S>(
    server: &MiningServer,
    place: &Place,
    stream: S,
    address: SocketAddr,
    stop: &CancellationToken,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let opening = async {
        let secured = step(server, "the handshake", async {
            let traffic = server.floor.metrics.traffic.clone();
            Ok(respond(stream, &server.authority, CERTIFICATE, traffic).await?)
        });
        let secured = secured.await?;
        place.reached(Stage::Shaken)?;
        let session = open(server, secured, address).await?;
        place.reached(Stage::Admitted)?;
        Ok(session)
    };
    let opened = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Ended::Stopped),
        evicted = place.evicted() => Err(evicted.into()),
        opened = opening => opened,
    };
    match opened {
        Ok(mut session) => {
            let ended = match session.serve(stop).await {
                Ok(never) => match never {},
                Err(ended) => ended,
            };
            session.last_answers().await;
            ended
        }
        Err(ended) => ended,
    }
}

/// One step within the deadline of steps.
async fn step<T>(
    server: &MiningServer,
    step: &'static str,
    doing: impl Future<Output = Result<T, Ended>>,
) -> Result<T, Ended> {
    let after = server.step_timeout;
    timeout(after, doing)
        .await
        .unwrap_or(Err(Ended::Deadline { step, after }))
}

/// SetupConnection.
async fn open<S>(server: &MiningServer, secured: Secured<S>, address: SocketAddr) -> Result<Session<'_, S>, Ended>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Secured {
        mut reader, mut writer, ..
    } = secured;
    step(server, "the setup", async {
        let first = reader.next().await.ok_or(Ended::ClosedEarly)??;
        if (first.extension_type, first.msg_type) != (0, MESSAGE_TYPE_SETUP_CONNECTION) {
            return Err(Ended::Refused("another message came first"));
        }
        match Setup::judge(first.payload) {
            Ok(Setup { standard_jobs }) => {
                writer.send(setup::success().map_err(Ended::Unencodable)?).await?;
                Ok(standard_jobs)
            }
            Err(refusal) => {
                writer.send(setup::error(refusal).map_err(Ended::Unencodable)?).await?;
                Err(Ended::Refused(refusal.code))
            }
        }
    })
    .await
    .map(|standard_jobs| Session {
        server,
        address,
        reader,
        writer,
        channels: Channels::new(server.floor.clone(), address, standard_jobs),
        answers: Answers::default(),
        notifier: Notifier::new(server.notices.clone(), server.notify_hashpool_miners.then_some(0)),
        heard: Instant::now(),
        tick: Instant::now() + TICK,
        _connected: server.floor.miners.connect(),
    })
}

struct Session<'a, S> {
    server: &'a MiningServer,
    address: SocketAddr,
    reader: FrameReader<S>,
    writer: FrameWriter<S>,
    channels: Channels,
    answers: Answers,
    notifier: Notifier,
    /// When something came last.
    heard: Instant,
    /// When vardiff looks at all channels.
    tick: Instant,
    _connected: super::miners::Connected,
}

/// What happens next on a connection.
enum Event {
    Stop,
    Done(Vec<super::answers::Done>),
    Work,
    Tick,
    Silence,
    Frame(Option<Result<Frame, CodecError>>),
    Quotes(News),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    /// Serves until something ends it.
    async fn serve(&mut self, stop: &CancellationToken) -> Result<Infallible, Ended> {
        let mut jobs = self.server.jobs.clone();
        jobs.mark_changed();
        let mut out = Vec::new();
        loop {
            let reading = self.answers.len() < MAX_PENDING;
            if !reading {
                // Who is not listened to can't be blamed for its silence.
                self.heard = Instant::now();
            }
            let silent_until = self.silent_until();
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => Event::Stop,
                done = self.answers.ready() => Event::Done(done),
                Ok(()) = jobs.changed() => Event::Work,
                () = sleep_until(self.tick) => Event::Tick,
                // Neither a backlog of quotes nor a flood of shares keeps the other waiting.
                event = async {
                    tokio::select! {
                        frame = self.reader.next(), if reading => Event::Frame(frame),
                        news = self.notifier.next() => Event::Quotes(news),
                    }
                } => event,
                // Last: what has come is heard before, however late the pool gets to it.
                () = sleep_until(silent_until), if reading => Event::Silence,
            };
            let now = Instant::now();
            let mut replies = Vec::new();
            match event {
                Event::Stop => return Err(Ended::Stopped),
                Event::Done(done) => tell(done, &mut self.channels, now, &mut out),
                Event::Work => {
                    if let Some(jobs) = jobs.borrow_and_update().clone() {
                        self.channels.work(jobs, &mut out);
                    }
                }
                Event::Tick => {
                    self.tick = now + TICK;
                    self.channels.retarget(now, &mut out);
                }
                Event::Silence => return Err(Ended::Idle(now.duration_since(self.heard))),
                Event::Frame(frame) => {
                    self.heard = now;
                    let frame = frame.ok_or(Ended::Closed)??;
                    replies.extend(self.frame(frame, now, &mut out));
                }
                Event::Quotes(news) => {
                    replies = self.notifier.frames(news);
                    self.server
                        .floor
                        .metrics
                        .add(Counter::Notifications, replies.len() as u64);
                }
            }
            for change in self.channels.key_changes() {
                match change {
                    KeyChange::Opened(key, channel_id) => self.notifier.opened(key, channel_id),
                    KeyChange::Closed(key, channel_id) => self.notifier.closed(key, channel_id),
                }
            }
            replies.extend(out.drain(..).filter_map(|message: ToMiner| message.to_frame()));
            self.write(replies).await?;
        }
    }

    /// When the miner counts as gone if nothing comes until then. One that mines sends a share every ten seconds on
    /// average (`shares_per_minute`), and vardiff sees to it that this stays so: hardly one in a million honest pauses
    /// is as long as the default of three minutes. One that is not to send shares has no reason to say anything.
    fn silent_until(&self) -> Instant {
        let idle = self.server.idle_timeout;
        let patience = if self.channels.are_mining() { 1 } else { PATIENCE };
        self.heard + idle.saturating_mul(patience)
    }

    /// Handles a frame; gives back the reply that is not one of [`ToMiner`].
    fn frame(&mut self, frame: Frame, now: Instant, out: &mut Vec<ToMiner>) -> Option<Frame> {
        match frame.extension_type {
            0 => {
                match FromMiner::decode(frame.msg_type, frame.payload) {
                    Ok(message) => self.message(message, now, out),
                    Err(unreadable) => self.dropped(&unreadable),
                }
                None
            }
            ExtensionMessage::EXTENSION_TYPE => self.negotiate(frame),
            // SV2 specification, section 3.4: what is not negotiated is ignored.
            other => {
                debug!(address = %self.address, "a message of extension {other:#06x}");
                self.server.floor.metrics.count(Counter::Unknown);
                None
            }
        }
    }

    fn message(&mut self, message: FromMiner, now: Instant, out: &mut Vec<ToMiner>) {
        let share = match message {
            FromMiner::OpenStandard(message) => return self.channels.open_standard(&message, now, out),
            FromMiner::OpenExtended(message) => return self.channels.open_extended(&message, now, out),
            FromMiner::Update(message) => return self.channels.update(&message, now, out),
            FromMiner::Close(message) => {
                if !self.channels.close(message.channel_id) {
                    self.server.floor.metrics.count(Counter::Unknown);
                }
                return;
            }
            FromMiner::CustomJob(message) => {
                out.push(ToMiner::CustomJobError {
                    channel_id: message.channel_id,
                    request_id: message.request_id,
                    code: NO_CUSTOM_JOBS,
                });
                return;
            }
            FromMiner::SubmitStandard(share) => Share::Standard(share),
            FromMiner::SubmitExtended(share) => Share::Extended(share),
        };
        match self.channels.submit(share, out) {
            Submitted::Answer(answer) => self.answers.refuse(answer),
            Submitted::Store(mut taken) => {
                if let Some(solution) = taken.share.solution.take() {
                    // Before anything else: each moment in which others build on the old tip counts.
                    self.server.floor.metrics.count(Counter::Blocks);
                    self.server.templates.submit(solution);
                }
                self.answers.store(taken, &self.server.intake);
            }
        }
    }

    fn negotiate(&mut self, frame: Frame) -> Option<Frame> {
        let message = ExtensionMessage::decode(frame.msg_type, frame.payload)
            .inspect_err(|_| self.server.floor.metrics.count(Counter::Malformed))
            .ok()?;
        let quotes = self.server.quotes_extension;
        let Some((answer, granted)) = setup::negotiate(message, quotes) else {
            self.server.floor.metrics.count(Counter::Unknown);
            return None;
        };
        if granted {
            self.notifier.negotiated(quotes);
        }
        answer
            .to_frame()
            .inspect_err(|error| warn!(%error, "an answer to RequestExtensions can't be encoded"))
            .ok()
    }

    fn dropped(&self, unreadable: &Unreadable) {
        let metrics = &self.server.floor.metrics;
        metrics.count(match unreadable {
            Unreadable::Unknown(_) => Counter::Unknown,
            Unreadable::Malformed(..) => Counter::Malformed,
        });
        if metrics.may_log("dropped") {
            warn!(address = %self.address, "dropped a message of a miner: {unreadable}");
        }
    }

    async fn write(&mut self, frames: Vec<Frame>) -> Result<(), Ended> {
        if frames.is_empty() {
            return Ok(());
        }
        step(self.server, "a write", async {
            for frame in frames {
                self.writer.feed(frame).await?;
            }
            Ok(self.writer.flush().await?)
        })
        .await
    }

    /// Whatever ended the session: shares that were taken are stored, and answered if the miner still listens.
    async fn last_answers(&mut self) {
        let last = async {
            while self.answers.len() > 0 {
                let done = self.answers.ready().await;
                let mut out = Vec::new();
                tell(done, &mut self.channels, Instant::now(), &mut out);
                let frames = out.iter().filter_map(ToMiner::to_frame).collect();
                if let Err(error) = self.write(frames).await {
                    debug!(address = %self.address, "the last answers did not reach the miner: {error}");
                }
            }
        };
        if timeout(LAST_ANSWERS, last).await.is_err() {
            debug!(address = %self.address, "the outbox took too long for the last shares of a session");
        }
    }
}
