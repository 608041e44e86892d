//! Where requests are handed in, from any thread, and what is counted of them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use dashboard::prometheus_client::metrics::histogram::Histogram;
use mint_link::{MintQuoteRequest, QuoteAnswer, RefusalCode};
use tokio::sync::{mpsc, oneshot};

use super::order::Order;

/// Every reason for a refusal, in the order of their numbers on the wire.
pub(crate) const REFUSALS: [RefusalCode; 5] = [
    RefusalCode::Other,
    RefusalCode::Conflict,
    RefusalCode::LockingKey,
    RefusalCode::Amount,
    RefusalCode::Busy,
];

/// Hands quote requests to the batcher. Cheap to clone.
#[derive(Clone)]
pub struct QuoteDesk {
    jobs: mpsc::Sender<Job>,
    units: Arc<[String]>,
    counters: Arc<QuoteCounters>,
}

/// A checked request and who waits for its answer.
pub(super) struct Job {
    pub(super) order: Order,
    pub(super) answer: Box<dyn FnOnce(QuoteAnswer) + Send>,
}

impl QuoteDesk {
    pub(super) fn new(jobs: mpsc::Sender<Job>, units: &[String], counters: Arc<QuoteCounters>) -> Self {
        Self {
            jobs,
            units: units.into(),
            counters,
        }
    }

    /// Hands a request in, when there is room for it. `answer` is called exactly once unless the mint dies: right here
    /// if the request is refused as it is or the mint is stopping, else by the batcher after the commit, which it must
    /// not hold up.
    pub async fn hand_in(&self, request: MintQuoteRequest, answer: impl FnOnce(QuoteAnswer) + Send + 'static) {
        let header_hash = Some(request.header_hash);
        let (code, message) = match Order::check(request, &self.units) {
            Ok(order) => match self.jobs.reserve().await {
                Ok(place) => {
                    let answer = Box::new(answer);
                    return place.send(Job { order, answer });
                }
                Err(_) => (RefusalCode::Busy, "the mint is stopping".to_owned()),
            },
            Err(refusal) => refusal,
        };
        self.counters.count(Counted::Refused(code));
        answer(QuoteAnswer::Refused {
            header_hash,
            code,
            message,
        });
    }

    /// Hands a request in and waits for its answer: for whoever shares the process with the mint.
    pub async fn request(&self, request: MintQuoteRequest) -> QuoteAnswer {
        let header_hash = Some(request.header_hash);
        let (sender, receiver) = oneshot::channel();
        let answer = move |answer| {
            // Who asked may have gone away.
            let _ = sender.send(answer);
        };
        self.hand_in(request, answer).await;
        receiver.await.unwrap_or_else(|_| QuoteAnswer::Refused {
            header_hash,
            code: RefusalCode::Busy,
            message: "the mint has stopped".to_owned(),
        })
    }

    /// What was counted since the start.
    pub fn counters(&self) -> &QuoteCounters {
        &self.counters
    }

    pub(crate) fn shared_counters(&self) -> Arc<QuoteCounters> {
        Arc::clone(&self.counters)
    }
}

impl fmt::Debug for QuoteDesk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuoteDesk")
            .field("units", &self.units)
            .finish_non_exhaustive()
    }
}

/// One answer, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Created,
    Repeated,
    Refused(RefusalCode),
}

/// What the quote engine has counted since the start. All of it only grows, but for [`Self::healthy`].
#[derive(Debug, Default)]
pub struct QuoteCounters {
    created: AtomicU64,
    repeated: AtomicU64,
    refused: [AtomicU64; REFUSALS.len()],
    batches: AtomicU64,
    failed_batches: AtomicU64,
    batched_requests: AtomicU64,
    histograms: BatchHistograms,
    unhealthy: AtomicBool,
}

/// How large transactions are and how long they take.
#[derive(Debug)]
pub(crate) struct BatchHistograms {
    pub(crate) requests: Histogram,
    pub(crate) seconds: Histogram,
}

impl Default for BatchHistograms {
    fn default() -> Self {
        Self {
            requests: Histogram::new([1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1000.0]),
            seconds: Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0]),
        }
    }
}

impl QuoteCounters {
    /// Quotes made and paid.
    pub fn created(&self) -> u64 {
        self.created.load(Relaxed)
    }

    /// Requests answered with the quote that they already had.
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Relaxed)
    }

    /// Requests refused for this reason.
    pub fn refused(&self, code: RefusalCode) -> u64 {
        self.refusals(code).map_or(0, |count| count.load(Relaxed))
    }

    /// Transactions tried.
    pub fn batches(&self) -> u64 {
        self.batches.load(Relaxed)
    }

    /// Transactions that failed.
    pub fn failed_batches(&self) -> u64 {
        self.failed_batches.load(Relaxed)
    }

    /// Requests in all transactions tried.
    pub fn batched_requests(&self) -> u64 {
        self.batched_requests.load(Relaxed)
    }

    /// Of the transactions tried.
    pub(crate) fn histograms(&self) -> &BatchHistograms {
        &self.histograms
    }

    /// Whether the last transaction went well; true before the first.
    pub fn healthy(&self) -> bool {
        !self.unhealthy.load(Relaxed)
    }

    pub(super) fn count(&self, counted: Counted) {
        let counter = match counted {
            Counted::Created => Some(&self.created),
            Counted::Repeated => Some(&self.repeated),
            Counted::Refused(code) => self.refusals(code),
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn committed(&self, requests: usize, time: Duration, ok: bool) {
        self.batches.fetch_add(1, Relaxed);
        self.failed_batches.fetch_add(u64::from(!ok), Relaxed);
        self.batched_requests.fetch_add(requests as u64, Relaxed);
        self.histograms.requests.observe(requests as f64);
        self.histograms.seconds.observe(time.as_secs_f64());
        self.unhealthy.store(!ok, Relaxed);
    }

    fn refusals(&self, code: RefusalCode) -> Option<&AtomicU64> {
        let position = REFUSALS.iter().position(|known| *known == code)?;
        self.refused.get(position)
    }
}
