//! The one writer of a pool's session: replies, statistics requests, then quote requests in batches.

use std::time::Duration;

use futures::SinkExt;
use stats_push::{Inquiry, MINT_STATS_REQUEST, MintStatsRequest};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, watch},
};

use super::SessionInfo;
use crate::{
    error::{LinkError, Step, within},
    extensions::ExtensionIds,
    messages::{MintQuoteRequest, QuoteAnswer, RefusalCode},
    metrics::{Dropped, LinkMetrics},
};
use sv2_transport::{CodecError, Frame, FrameWriter};

/// How many requests go out in one write, so that replies need not wait long.
const BATCH: usize = 64;

pub(crate) struct Writer<'a, S> {
    pub(crate) sink: FrameWriter<S>,
    pub(crate) requests: mpsc::Receiver<MintQuoteRequest>,
    pub(crate) replies: mpsc::Receiver<Frame>,
    /// The questions for statistics, and the id of the newest that was written.
    pub(crate) inquiry: watch::Receiver<Inquiry>,
    pub(crate) asked: u32,
    pub(crate) ids: ExtensionIds,
    pub(crate) info: watch::Receiver<SessionInfo>,
    /// To refuse what can't even be written.
    pub(crate) answering: mpsc::Sender<QuoteAnswer>,
    pub(crate) metrics: &'a LinkMetrics,
    pub(crate) peer: &'a str,
    pub(crate) deadline: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Writer<'_, S> {
    /// Writes until the connection fails or the role lets go.
    pub(crate) async fn run(mut self) -> LinkError {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let frames = tokio::select! {
                biased;
                Some(reply) = self.replies.recv() => vec![reply],
                Ok(()) = self.inquiry.changed() => self.stats_request().into_iter().collect(),
                count = self.requests.recv_many(&mut batch, BATCH) => match count {
                    0 => return LinkError::Unserved,
                    _ => batch.drain(..).filter_map(|request| self.frame_of(&request)).collect(),
                },
            };
            if let Err(error) = self.write(frames).await {
                return error;
            }
        }
    }

    async fn write(&mut self, frames: Vec<Frame>) -> Result<(), LinkError> {
        let writing = async {
            for frame in frames {
                self.sink.feed(frame).await?;
            }
            self.sink.flush().await
        };
        let written: Result<(), CodecError> = within(Step::Write, self.deadline, writing).await?;
        Ok(written?)
    }

    /// The newest question, if it was not written yet: it stands for those before it.
    fn stats_request(&mut self) -> Option<Frame> {
        let request_id = self.inquiry.borrow_and_update().asked();
        let wanted = request_id > self.asked && self.info.borrow().extensions.stats;
        self.asked = request_id;
        let payload = MintStatsRequest { request_id }.encode();
        wanted.then(|| {
            self.metrics.stats_request();
            Frame::new(self.ids.stats, MINT_STATS_REQUEST, payload)
        })
    }

    /// A request whose fields don't fit the message would never be answered: it is refused here.
    fn frame_of(&self, request: &MintQuoteRequest) -> Option<Frame> {
        request
            .to_frame()
            .inspect_err(|error| {
                self.metrics.dropped(Dropped::MalformedQuote, self.peer, error);
                // A full queue means that the role takes no answers now; it asks again after a reconnect.
                let _ = self.answering.try_send(QuoteAnswer::Refused {
                    header_hash: Some(request.header_hash),
                    code: RefusalCode::Other,
                    message: error.to_string(),
                });
            })
            .ok()
    }
}
