//! The one writer of a mint's session: quote answers first, snapshots between them, nothing queued twice (P7), and which
//! quotes have been issued when there is nothing else to say.
//!
//! Answers go out in batches of at most [`FAIR_SHARE`]; after each batch a snapshot that is due is taken and written. It
//! is taken only when all before it has left, so it is as new as it can be.

use futures::{FutureExt, SinkExt};
use stats_push::{MINT_STATS_RESPONSE, Publisher, PublisherHandle, Snapshot};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{MintTimers, SessionSide};
use crate::{
    error::{LinkError, Step, within},
    extensions::Extensions,
    issued::{Issuances, MintQuotesIssued},
    messages::{QuoteAnswer, RefusalCode},
    metrics::{Dropped, LinkMetrics},
};
use sv2_transport::{CodecError, Frame, FrameWriter};

/// How many quote answers a snapshot that is due may have to wait for (P7).
pub(crate) const FAIR_SHARE: usize = 64;

/// What the reading half asks of the writer.
pub(crate) enum Control {
    /// Write this.
    Send(Frame),
    /// Extensions are on.
    TurnOn(Box<TurnOn>),
}

/// What comes with these extensions: `proof` goes out at once, the publisher's first snapshot right behind it.
pub(crate) struct TurnOn {
    pub(crate) extensions: Extensions,
    pub(crate) proof: Option<Frame>,
    pub(crate) publisher: Option<(Publisher, PublisherHandle)>,
    pub(crate) issuances: Option<Issuances>,
}

pub(crate) struct Writer<'a, S> {
    sink: FrameWriter<S>,
    control: mpsc::Receiver<Control>,
    answers: mpsc::Receiver<QuoteAnswer>,
    publisher: Option<(Publisher, PublisherHandle)>,
    issuances: Option<Issuances>,
    /// Refusals tell their hash (0x4D51).
    correlated: bool,
    side: SessionSide<'a>,
    timers: &'a MintTimers,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Writer<'a, S> {
    pub(crate) fn new(
        sink: FrameWriter<S>,
        control: mpsc::Receiver<Control>,
        answers: mpsc::Receiver<QuoteAnswer>,
        side: SessionSide<'a>,
        timers: &'a MintTimers,
    ) -> Self {
        Self {
            sink,
            control,
            answers,
            publisher: None,
            issuances: None,
            correlated: false,
            side,
            timers,
        }
    }

    /// Writes until the connection fails or `stop`; then what the batcher still owes, the final push (P6), and the end of
    /// the stream, each with a deadline.
    pub(crate) async fn run(mut self, stop: &CancellationToken) -> LinkError {
        let (pool, timers) = (self.side.pool, self.timers);
        let working = async {
            self.work(stop).await?;
            self.drain().await
        };
        let overdue = async {
            stop.cancelled().await;
            sleep(timers.drain).await;
        };
        tokio::select! {
            worked = working => if let Err(error) = worked {
                return error;
            },
            () = overdue => tracing::warn!(pool, "stopped with quotes unanswered: the pool will ask again"),
        }
        if timeout(timers.final_push, self.finish()).await.is_err() {
            tracing::warn!(pool, "no final push: the pool did not read it in time");
        }
        LinkError::Stopped
    }

    async fn work(&mut self, stop: &CancellationToken) -> Result<(), LinkError> {
        let mut first = None;
        while !stop.is_cancelled() {
            while let Ok(control) = self.control.try_recv() {
                self.apply(control).await?;
            }
            let answered = self.answer(first.take()).await?;
            if self.push_if_due().await? || answered {
                continue;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                Some(control) = self.control.recv() => self.apply(control).await?,
                Some(answer) = self.answers.recv() => first = Some(answer),
                snapshot = next_snapshot(&mut self.publisher) => self.push(snapshot).await?,
                issued = next_issued(&mut self.issuances, self.side.metrics) => self.tell_issued(&issued).await?,
            }
        }
        Ok(())
    }

    /// Writes what answers there are, `first` before all others, at most [`FAIR_SHARE`]. Tells whether there were any.
    async fn answer(&mut self, first: Option<QuoteAnswer>) -> Result<bool, LinkError> {
        let Some(mut answer) = first.or_else(|| self.answers.try_recv().ok()) else {
            return Ok(false);
        };
        let deadline = self.timers.write;
        let batch = async {
            for count in 1.. {
                if let Some(frame) = self.frame_of(&answer) {
                    self.sink.feed(frame).await?;
                }
                if count == FAIR_SHARE {
                    break;
                }
                match self.answers.try_recv() {
                    Ok(next) => answer = next,
                    Err(_) => break,
                }
            }
            self.sink.flush().await
        };
        within(Step::Write, deadline, batch).await??;
        Ok(true)
    }

    /// `None` for what this pool could only misunderstand.
    fn frame_of(&self, answer: &QuoteAnswer) -> Option<Frame> {
        let busy = matches!(
            answer,
            QuoteAnswer::Refused {
                code: RefusalCode::Busy,
                ..
            }
        );
        if busy && !self.correlated {
            // An older pool would take it for final.
            return None;
        }
        answer
            .to_frame(self.correlated)
            .inspect_err(|error| {
                self.side
                    .metrics
                    .dropped(Dropped::MalformedQuote, self.side.pool, error);
            })
            .ok()
    }

    async fn push_if_due(&mut self) -> Result<bool, LinkError> {
        let due = self
            .publisher
            .as_mut()
            .and_then(|(publisher, _)| publisher.next().now_or_never());
        match due {
            Some(snapshot) => {
                self.push(snapshot).await?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    async fn push(&mut self, snapshot: Option<Snapshot>) -> Result<(), LinkError> {
        match snapshot {
            Some(snapshot) => {
                let payload = snapshot.encode();
                let frame = Frame::new(self.side.extensions.stats, MINT_STATS_RESPONSE, payload);
                self.send(frame).await
            }
            None => {
                self.publisher = None;
                Ok(())
            }
        }
    }

    /// One frame at a time, so that an answer that comes meanwhile waits for no more than that.
    async fn tell_issued(&mut self, issued: &MintQuotesIssued) -> Result<(), LinkError> {
        match issued.to_frame(self.side.extensions) {
            Ok(frame) => self.send(frame).await,
            Err(error) => {
                self.side
                    .metrics
                    .dropped(Dropped::MalformedQuote, self.side.pool, &error);
                Ok(())
            }
        }
    }

    async fn apply(&mut self, control: Control) -> Result<(), LinkError> {
        match control {
            Control::Send(frame) => self.send(frame).await,
            Control::TurnOn(on) => {
                let TurnOn {
                    extensions,
                    proof,
                    publisher,
                    issuances,
                } = *on;
                self.correlated = extensions.quotes;
                self.publisher = publisher;
                self.issuances = issuances;
                match proof {
                    Some(proof) => self.send(proof).await,
                    None => Ok(()),
                }
            }
        }
    }

    async fn send(&mut self, frame: Frame) -> Result<(), LinkError> {
        within(Step::Write, self.timers.write, self.sink.send(frame)).await??;
        Ok(())
    }

    /// Waits for the answers that the batcher still owes and writes them, so that what it has committed is told.
    async fn drain(&mut self) -> Result<(), LinkError> {
        while let Some(answer) = self.answers.recv().await {
            self.answer(Some(answer)).await?;
        }
        Ok(())
    }

    async fn finish(&mut self) {
        let closing = async {
            if let Some((publisher, handle)) = &mut self.publisher {
                handle.finish();
                while let Some(snapshot) = publisher.next().await {
                    let payload = snapshot.encode();
                    let frame = Frame::new(self.side.extensions.stats, MINT_STATS_RESPONSE, payload);
                    self.sink.send(frame).await?;
                }
            }
            self.sink.close().await
        };
        let closed: Result<(), CodecError> = closing.await;
        if let Err(error) = closed {
            tracing::debug!(pool = self.side.pool, "closing: {error}");
        }
    }
}

/// The next snapshot of the publisher, if there is one.
async fn next_snapshot(publisher: &mut Option<(Publisher, PublisherHandle)>) -> Option<Snapshot> {
    match publisher {
        Some((publisher, _)) => publisher.next().await,
        None => std::future::pending().await,
    }
}

/// The next issued quotes, if the pool is to hear of them.
async fn next_issued(issuances: &mut Option<Issuances>, metrics: &LinkMetrics) -> MintQuotesIssued {
    match issuances {
        Some(issuances) => issuances.next(metrics).await,
        None => std::future::pending().await,
    }
}
