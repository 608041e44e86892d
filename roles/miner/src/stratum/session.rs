//! One session with a pool: its [opening](super::opening), and then reading and writing side by side.
//!
//! Everything is one task that waits for whatever comes first, and nothing in it waits for the pool alone: what is to be
//! written gathers in a bounded buffer, and while that is full no more shares are taken.

use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use mining_sv2::SubmitSharesStandard;
use sv2_transport::{CodecError, Frame, FrameReader, FrameWriter};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::channel::{Change, Channel};
use super::client::{Client, Ends};
use super::error::{SessionError, Step};
use super::messages::{self, FromPool, Opened};
use super::opening::{Link, granted, reconnect};
use super::status::Stage;
use crate::hashing::Share;

/// Bytes that wait to be written, beyond which no more shares are taken.
const WRITE_AHEAD: usize = 16 * 1024;

/// Shares without an answer, beyond which no more are sent. Pools answer several at a time.
const MAX_UNANSWERED: u64 = 4096;

/// How often a job gets a new time.
const ROLL: Duration = Duration::from_secs(1);

/// How long a pool may take to read the end of a session.
const GOODBYE: Duration = Duration::from_secs(1);

/// How a session ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) error: SessionError,
    /// How long it worked; `None` if no channel was opened.
    pub(super) worked: Option<Duration>,
    /// The pool closed the connection when it was asked for extensions: it may be one that can't bear the question.
    pub(super) over_the_question: bool,
}

impl From<SessionError> for Ended {
    fn from(error: SessionError) -> Self {
        Self {
            error,
            worked: None,
            over_the_question: false,
        }
    }
}

/// Runs a session over a connection to `endpoint`, to its end. `ask` says whether to negotiate extensions.
pub(super) async fn run<S>(
    client: &Client,
    ends: &mut Ends,
    stream: S,
    endpoint: &str,
    ask: bool,
    stop: &CancellationToken,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut over_the_question = false;
    let opening = async {
        let mut link = Link::set_up(client, stream, endpoint).await?;
        if ask {
            over_the_question = true;
            link.negotiate(client).await?;
            over_the_question = false;
        }
        let opened = link.open(client).await?;
        Ok::<_, SessionError>((link, opened))
    };
    let begun = tokio::select! {
        biased;
        () = stop.cancelled() => return SessionError::Stopped.into(),
        never = ends.drop_shares() => match never {},
        begun = opening => begun,
    };
    let (link, opened) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            let gone = matches!(error, SessionError::Closed | SessionError::Codec(CodecError::Io(_)));
            return Ended {
                over_the_question: over_the_question && gone,
                ..error.into()
            };
        }
    };
    let started = Instant::now();
    let mut session = Session::begin(client, ends, link, opened);
    let error = session.work(stop).await;
    session.end(&error).await;
    Ended {
        error,
        worked: Some(started.elapsed()),
        over_the_question: false,
    }
}

/// An open channel at work.
struct Session<'a, S> {
    client: &'a Client,
    ends: &'a mut Ends,
    reader: FrameReader<S>,
    writer: FrameWriter<S>,
    channel: Channel,
    /// The id of a quote for which the wallet had no room.
    held_quote: Option<String>,
    /// When what waits to be written must have left.
    write_until: Option<Instant>,
    silent_at: Instant,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Session<'a, S> {
    fn begin(client: &'a Client, ends: &'a mut Ends, link: Link<S>, opened: Opened) -> Self {
        let channel = Channel::new(opened, ends.next_number, rand::random());
        tracing::info!(channel = channel.id(), tells_quotes = link.tells_quotes, "mining");
        ends.status.send_modify(|status| {
            status.stage = Stage::Open;
            status.opened += 1;
            status.tells_quotes = link.tells_quotes;
            status.last_error = None;
        });
        Self {
            silent_at: Instant::now() + client.config.silence_timeout,
            client,
            ends,
            reader: link.reader,
            writer: link.writer,
            channel,
            held_quote: None,
            write_until: None,
        }
    }

    /// Works until something ends it, and says what.
    async fn work(&mut self, stop: &CancellationToken) -> SessionError {
        let mut roll = interval(ROLL);
        roll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let quotes = self.ends.quotes.clone();
        loop {
            let write_until = self.write_until.unwrap_or_else(Instant::now);
            let has_room = self.writer.write_buffer().len() < WRITE_AHEAD && self.channel.unanswered() < MAX_UNANSWERED;
            let again_at = self.channel.again_at().filter(|_| has_room).map(Instant::from_std);
            let step = tokio::select! {
                biased;
                () = stop.cancelled() => Err(SessionError::Stopped),
                () = sleep_until(write_until), if self.write_until.is_some() => Err(SessionError::Deadline {
                    step: Step::Write,
                    after: self.client.config.step_timeout,
                }),
                flushed = self.writer.flush(), if self.write_until.is_some() => {
                    self.write_until = None;
                    flushed.map_err(SessionError::from)
                }
                // Until the wallet has room again, the pool's messages wait where they are.
                permit = quotes.reserve(), if self.held_quote.is_some() => {
                    if let (Ok(permit), Some(quote)) = (permit, self.held_quote.take()) {
                        permit.send(quote);
                    }
                    Ok(())
                }
                frame = self.reader.next(), if self.held_quote.is_none() => self.on_frame(frame),
                () = sleep_until(again_at.unwrap_or_else(Instant::now)), if again_at.is_some() => self.send_again().await,
                share = self.ends.shares.recv(), if has_room && !self.ends.search_over => self.on_share(share).await,
                _ = roll.tick() => {
                    self.publish();
                    Ok(())
                }
                () = sleep_until(self.silent_at) => Err(SessionError::Silent(self.client.config.silence_timeout)),
            };
            if let Err(error) = step {
                return error;
            }
        }
    }

    fn on_frame(&mut self, frame: Option<Result<Frame, CodecError>>) -> Result<(), SessionError> {
        let frame = frame.ok_or(SessionError::Closed)??;
        let now = Instant::now();
        self.silent_at = now + self.client.config.silence_timeout;
        match self.client.read(frame) {
            Some(FromPool::ToChannel { id, message }) => {
                let change = self.channel.apply(id, message, now.into_std());
                self.on_change(change)
            }
            Some(FromPool::Group { group, channels }) => {
                self.channel.regroup(group, &channels);
                Ok(())
            }
            Some(FromPool::Quote(quote)) => {
                // A closed channel means that the wallet has stopped: then the pool will tell again.
                if let Err(TrySendError::Full(quote)) = self.ends.quotes.try_send(quote.quote_id) {
                    self.held_quote = Some(quote);
                }
                Ok(())
            }
            Some(FromPool::Extensions(answer)) => {
                let granted = granted(self.client, &answer)?;
                self.ends.status.send_if_modified(|status| {
                    let news = granted && !status.tells_quotes;
                    status.tells_quotes |= granted;
                    news
                });
                Ok(())
            }
            Some(FromPool::Reconnect { host, port }) => Err(reconnect(&host, port)),
            _ => Ok(()),
        }
    }

    fn on_change(&mut self, change: Change) -> Result<(), SessionError> {
        match change {
            Change::Nothing => {}
            Change::Work => self.publish(),
            Change::Accepted(count) => self
                .ends
                .count(self.channel.unanswered(), |shares| shares.accepted += count),
            Change::Refused(code) => {
                if let Some(count) = self.ends.refusals.note(&code, Instant::now().into_std()) {
                    tracing::warn!(code, count, "the pool refused shares; told once a minute and code");
                }
                self.ends
                    .count(self.channel.unanswered(), |shares| shares.rejected += 1);
                self.ends
                    .status
                    .send_modify(|status| status.last_refusal = Some(code.into()));
            }
            Change::Closed(reason) => return Err(SessionError::ChannelClosed(reason)),
        }
        Ok(())
    }

    /// Sends a share. `None` means that the search is over.
    async fn on_share(&mut self, share: Option<Share>) -> Result<(), SessionError> {
        let Some(share) = share else {
            self.ends.search_is_over();
            return Ok(());
        };
        let Some(submission) = self.channel.submit(&share) else {
            self.ends
                .count(self.channel.unanswered(), |shares| shares.outdated += 1);
            return Ok(());
        };
        self.send(submission).await
    }

    /// Sends a share that the pool could not store, once more.
    async fn send_again(&mut self) -> Result<(), SessionError> {
        match self.channel.submit_again(Instant::now().into_std()) {
            Some(submission) => self.send(submission).await,
            None => Ok(()),
        }
    }

    async fn send(&mut self, submission: SubmitSharesStandard) -> Result<(), SessionError> {
        // There is room in the buffer, so this does not wait.
        self.writer.feed(messages::submit(submission)?).await?;
        self.write_until
            .get_or_insert_with(|| Instant::now() + self.client.config.step_timeout);
        self.ends
            .count(self.channel.unanswered(), |shares| shares.submitted += 1);
        Ok(())
    }

    /// Hands the newest job to the search, if it is another one.
    fn publish(&mut self) {
        let job = self.channel.job(Instant::now().into_std());
        self.ends.jobs.send_if_modified(|searched| {
            let same = match (searched.as_ref(), job.as_ref()) {
                (Some(searched), Some(job)) => Arc::ptr_eq(searched, job),
                (None, None) => true,
                _ => false,
            };
            if !same {
                *searched = job;
            }
            !same
        });
    }

    /// Leaves nothing of the session behind, and says goodbye where that makes sense.
    async fn end(mut self, error: &SessionError) {
        self.ends.jobs.send_replace(None);
        self.ends.next_number = self.channel.next_number();
        self.ends.count(0, |_| {});
        self.ends.status.send_modify(|status| status.tells_quotes = false);
        if matches!(error, SessionError::Stopped) {
            let goodbye = async {
                if let Ok(frame) = messages::close_channel(self.channel.id()) {
                    self.writer.send(frame).await?;
                }
                self.writer.close().await
            };
            // A pool that does not read it finds the connection closed.
            let _ = timeout(GOODBYE, goodbye).await;
        }
    }
}
