//! How a quote request reaches the mint's batcher, and how the answer finds its way back.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{
    messages::{HeaderHash, MintQuoteRequest, QuoteAnswer, RefusalCode},
    metrics::LinkMetrics,
};

/// A quote request that a pool sent. Answer it when the quote is committed; dropping it unanswered tells the pool to ask
/// again, if the pool understands that.
#[derive(Debug)]
pub struct QuoteCall {
    /// The pool's address, as configured.
    pub pool: Arc<str>,
    /// What it asks for. The fields are decoded, not judged.
    pub request: MintQuoteRequest,
    /// Takes the answer.
    pub answer: AnswerHandle,
}

/// Where one answer goes. It has a place reserved: answering never waits and never fails, also when the session has
/// ended, in which case the pool asks again.
#[derive(Debug)]
pub struct AnswerHandle {
    slot: Option<mpsc::OwnedPermit<QuoteAnswer>>,
    header_hash: HeaderHash,
    metrics: Arc<LinkMetrics>,
}

impl AnswerHandle {
    pub(crate) fn new(
        slot: mpsc::OwnedPermit<QuoteAnswer>,
        header_hash: HeaderHash,
        metrics: Arc<LinkMetrics>,
    ) -> Self {
        Self {
            slot: Some(slot),
            header_hash,
            metrics,
        }
    }

    /// The quote is committed, and paid.
    pub fn created(self, quote_id: impl Into<String>) {
        let header_hash = self.header_hash;
        self.answer(QuoteAnswer::Created {
            header_hash,
            quote_id: quote_id.into(),
        });
    }

    /// There will be no quote; with [`RefusalCode::Busy`] not now. An older pool, which knows neither hash nor code, is
    /// told the message alone, and nothing if the mint is busy.
    pub fn refused(self, code: RefusalCode, message: impl Into<String>) {
        let header_hash = Some(self.header_hash);
        self.answer(QuoteAnswer::Refused {
            header_hash,
            code,
            message: message.into(),
        });
    }

    fn answer(mut self, answer: QuoteAnswer) {
        if let Some(slot) = self.slot.take() {
            slot.send(answer);
        }
    }
}

impl Drop for AnswerHandle {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.metrics.unanswered();
            slot.send(QuoteAnswer::Refused {
                header_hash: Some(self.header_hash),
                code: RefusalCode::Busy,
                message: "not answered".to_owned(),
            });
        }
    }
}
