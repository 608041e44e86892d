//! The quote engine: requests from all links go in one by one, and come out made, paid and durable in batches.
//!
//! CDK makes a quote and pays it in two transactions, each with its own fsync. Here one task drains what waits and puts
//! up to a hundred requests into one transaction, in which each quote is looked up, added and paid. So there is no
//! moment at which a quote is made but not paid, a request that is repeated finds the quote that it already has, and an
//! answer is given only for what is on disk.

mod batch;
mod desk;
mod order;

pub(crate) use desk::REFUSALS;
pub use desk::{QuoteCounters, QuoteDesk};
pub(crate) use order::MAX_AMOUNT;

use std::{sync::Arc, time::Duration};

use cdk_common::database::{DynMintDatabase, Error};
use log_limit::LogLimit;
use mint_link::{QuoteAnswer, RefusalCode};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::{
    batch::Outcome,
    desk::{Counted, Job},
    order::Order,
};

/// Orders that fail one after another, each by itself, before it is taken to be the database that is in trouble.
const DATABASE_TROUBLE: usize = 3;

/// How requests are batched.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    /// Requests in one transaction at most.
    pub max_batch: usize,
    /// How long the first request of a batch waits for company.
    pub linger: Duration,
    /// Requests that may wait; whoever hands in one more waits for a place.
    pub queue: usize,
}

/// Makes quotes of what the desk takes in. One task.
pub struct QuoteBatcher {
    store: DynMintDatabase,
    batching: Batching,
    jobs: mpsc::Receiver<Job>,
    counters: Arc<QuoteCounters>,
    complaints: Complaints,
}

impl QuoteBatcher {
    /// A batcher that writes to `store` quotes in the currency units `units` (in CDK's spelling, lower case), and the
    /// desk where requests are handed in.
    pub fn new(store: DynMintDatabase, units: &[String], batching: Batching) -> (Self, QuoteDesk) {
        let (sender, jobs) = mpsc::channel(batching.queue);
        let counters = Arc::new(QuoteCounters::default());
        let desk = QuoteDesk::new(sender, units, Arc::clone(&counters));
        let batcher = Self {
            store,
            batching,
            jobs,
            counters,
            complaints: Complaints::default(),
        };
        (batcher, desk)
    }

    /// Works until `stop`, then finishes what was taken in.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                () = stop.cancelled(), if !self.jobs.is_closed() => {
                    self.jobs.close();
                    continue;
                }
                job = self.jobs.recv() => job,
            };
            let Some(first) = first else { return };
            let batch = self.fill(first).await;
            self.settle(batch).await;
        }
    }

    /// What else waits, and what comes in the next few milliseconds.
    async fn fill(&mut self, first: Job) -> Vec<Job> {
        let enough = self.batching.max_batch;
        let until = Instant::now() + self.batching.linger;
        let mut batch = Vec::with_capacity(enough);
        batch.push(first);
        while batch.len() < enough {
            let room = enough - batch.len();
            tokio::select! {
                biased;
                more = self.jobs.recv_many(&mut batch, room) => if more == 0 { break },
                () = sleep_until(until) => break,
            }
        }
        batch
    }

    /// Commits a batch and answers.
    async fn settle(&mut self, batch: Vec<Job>) {
        let (orders, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|job| (job.order, job.answer)).unzip();
        let outcomes = match self.commit(&orders).await {
            Ok(outcomes) => {
                self.complaints.over();
                outcomes
            }
            Err(error) => {
                self.complaints.add(&error);
                if orders.len() == 1 {
                    vec![refusal(&error)]
                } else {
                    self.one_by_one(&orders).await
                }
            }
        };
        for ((order, answer), outcome) in orders.iter().zip(answers).zip(outcomes) {
            answer(self.said(order, outcome));
        }
    }

    /// After a batch that failed each request gets a transaction of its own: one that can't be stored does not take the
    /// others with it, and whatever the failed commit did after all is found and not done twice. A database that takes
    /// none, on a full disk, is not tried a hundred times.
    async fn one_by_one(&self, orders: &[Order]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(orders.len());
        let mut failures = 0;
        for order in orders {
            if failures == DATABASE_TROUBLE {
                outcomes.push(unavailable());
                continue;
            }
            match self.commit(std::slice::from_ref(order)).await {
                Ok(outcome) => {
                    failures = 0;
                    outcomes.extend(outcome);
                }
                Err(error) => {
                    failures += 1;
                    outcomes.push(refusal(&error));
                }
            }
        }
        outcomes
    }

    async fn commit(&self, orders: &[Order]) -> Result<Vec<Outcome>, Error> {
        let started = Instant::now();
        let result = batch::commit(&self.store, orders).await;
        self.counters.committed(orders.len(), started.elapsed(), result.is_ok());
        result
    }

    /// The outcome as an answer, and counted.
    fn said(&self, order: &Order, outcome: Outcome) -> QuoteAnswer {
        let header_hash = order.header_hash;
        match outcome {
            Outcome::Created(quote_id) => {
                self.counters.count(Counted::Created);
                QuoteAnswer::Created { header_hash, quote_id }
            }
            Outcome::Repeated(quote_id) => {
                self.counters.count(Counted::Repeated);
                QuoteAnswer::Created { header_hash, quote_id }
            }
            Outcome::Refused(code, message) => {
                self.counters.count(Counted::Refused(code));
                QuoteAnswer::Refused {
                    header_hash: Some(header_hash),
                    code,
                    message,
                }
            }
        }
    }
}

/// What a failed transaction means to who asked. Only what another try can't cure is final: a share must not be lost to
/// a full disk.
fn refusal(error: &Error) -> Outcome {
    match error {
        Error::Duplicate => Outcome::Refused(RefusalCode::Other, "Duplicate entry".to_owned()),
        Error::AmountOverflow | Error::AmountZero => Outcome::Refused(RefusalCode::Amount, error.to_string()),
        _ => unavailable(),
    }
}

fn unavailable() -> Outcome {
    Outcome::Refused(RefusalCode::Busy, "the mint's database is not available".to_owned())
}

/// Tells the log that quotes can't be stored, and that they can again: both at most once a minute.
#[derive(Default)]
struct Complaints {
    limit: LogLimit,
    /// A failure was told; that it is over must be too.
    open: bool,
}

impl Complaints {
    fn add(&mut self, error: &Error) {
        if let Some(batches) = self.limit.note() {
            self.open = true;
            tracing::error!(batches, "quotes can't be stored; pools are told to ask again: {error}");
        }
    }

    fn over(&mut self) {
        if std::mem::take(&mut self.open) {
            tracing::info!("quotes are stored again");
        }
    }
}

#[cfg(test)]
mod tests;
