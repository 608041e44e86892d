//! The reading half of a working session: what the mint says, to whom it goes, and when its silence is the end.

use std::{collections::VecDeque, fmt::Display, sync::Arc, time::Duration};

use futures::StreamExt;
use stats_push::{RunId, Snapshot};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, watch},
    time::Instant,
};

use super::{Admission, PoolLink, admission::changed, gate::Gate, handle::StatsRequester, session::Seated};
use crate::{
    error::{LinkError, Malformed},
    extensions::ExtensionMessage,
    issued::MintQuotesIssued,
    messages::{HeaderHash, Kind, QuoteAnswer},
    metrics::Dropped,
    timing::at,
};
use sv2_transport::{Frame, FrameReader};

/// How late the periodic push of a mint without heartbeats may be.
const PUSH_LATE: Duration = Duration::from_secs(4);

/// The reading half of a working session.
pub(crate) struct Reader<'a, S> {
    pub(crate) link: &'a PoolLink,
    pub(crate) peer: &'a str,
    pub(crate) seated: Seated<'a>,
    pub(crate) requester: StatsRequester,
    /// The run of the mint that its newest snapshot tells.
    pub(crate) run: Option<RunId>,
    pub(crate) early: VecDeque<Frame>,
    pub(crate) frames: FrameReader<S>,
    /// When the mint was last listened to.
    pub(crate) heard: Instant,
    /// It has repeated its RequestExtensions: those are its heartbeats.
    pub(crate) beats: bool,
    /// The period of its pushes, once it has told it.
    pub(crate) interval: Option<Duration>,
    pub(crate) gate: Gate,
    pub(crate) admission: watch::Receiver<Arc<Admission>>,
    pub(crate) answering: mpsc::Sender<QuoteAnswer>,
    pub(crate) issuing: mpsc::Sender<Vec<HeaderHash>>,
    pub(crate) replies: mpsc::Sender<Frame>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Reader<'_, S> {
    /// Reads until the session ends, for the reason returned.
    pub(crate) async fn run(&mut self) -> LinkError {
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
                    self.seated.cache.malformed();
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
            self.link.seat().is_of(&self.seated.ticket, snapshot.run_id);
        }
        let now = Instant::now().into_std();
        let (interval, request_id) = (snapshot.interval, snapshot.request_id);
        let became = self.seated.cache.apply(snapshot, now);
        self.requester.with(|inquiry| {
            let took = inquiry.heard(request_id, interval, became, now);
            if let Some(took) = took {
                self.link.metrics.round_trip(took);
                self.seated.cache.answered(took);
            }
            took.is_some()
        });
    }

    async fn answer(&mut self, decoded: Result<QuoteAnswer, Malformed>) -> Result<(), LinkError> {
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
        let had_stats = self.seated.info.borrow().extensions.stats;
        self.tell();
        if !had_stats && self.gate.extensions().stats {
            self.seated.cache.negotiated();
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
            let reopened = self.link.reopen(&self.seated.ticket, &self.seated.info.borrow());
            self.seated.cache = reopened.ok_or(LinkError::Replaced)?;
        } else {
            self.dropped(Dropped::Unexpected, &"a proof that was not asked for");
        }
        Ok(())
    }

    fn tell(&self) {
        self.seated.info.send_if_modified(|info| info.update(&self.gate));
    }

    fn dropped(&self, what: Dropped, why: &dyn Display) {
        self.link.metrics.dropped(what, self.peer, why);
    }
}
