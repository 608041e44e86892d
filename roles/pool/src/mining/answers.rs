//! Shares on their way to the outbox and the answers to them, in the order in which the shares came.
//!
//! Many shares of one connection are with the outbox at the same time, so that one of its commits serves them all. What
//! is done is told in batches: one SubmitShares.Success for all shares of a channel up to the next refusal.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use mining_sv2::SubmitSharesSuccess;
use tokio::time::Instant;

use super::channels::{Answer, Channels, Taken};
use super::messages::ToMiner;
use crate::intake::{Earned, ShareIntake};
use crate::outbox::EnqueueError;

/// Shares of one connection that may be under way; while there are as many, the miner is not read.
pub(crate) const MAX_PENDING: usize = 1024;
/// Answers that are told in one write.
const BATCH: usize = 1024;

/// A share that is done with.
pub(crate) enum Done {
    Refused(Answer),
    Judged(Box<Taken>, Result<Earned, EnqueueError>),
}

/// The shares of one connection that are not answered yet.
#[derive(Default)]
pub(crate) struct Answers {
    pending: FuturesOrdered<BoxFuture<'static, Done>>,
}

impl Answers {
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// A share that is refused already; it waits for its turn.
    pub(crate) fn refuse(&mut self, answer: Answer) {
        self.pending
            .push_back(std::future::ready(Done::Refused(answer)).boxed());
    }

    /// A share that is to be stored.
    pub(crate) fn store(&mut self, taken: Box<Taken>, intake: &ShareIntake) {
        let intake = intake.clone();
        let storing = async move {
            let stored = intake.accept(taken.share.hash, taken.locking_key).await;
            Done::Judged(taken, stored)
        };
        self.pending.push_back(storing.boxed());
    }

    /// The shares that are done with, at least one: waits for it, and while there are none for ever. Cancel-safe.
    pub(crate) async fn ready(&mut self) -> Vec<Done> {
        let Some(first) = self.pending.next().await else {
            return std::future::pending().await;
        };
        let mut done = vec![first];
        while done.len() < BATCH
            && let Some(Some(next)) = self.pending.next().now_or_never()
        {
            done.push(next);
        }
        done
    }
}

/// Accepted shares of one channel that are not told yet.
#[derive(Default)]
struct Batch {
    last_sequence_number: u32,
    count: u32,
    difficulty: f64,
}

/// Settles what is done with, tells of it, and lets vardiff look at the channels.
pub(crate) fn tell(done: Vec<Done>, channels: &mut Channels, now: Instant, out: &mut Vec<ToMiner>) {
    let mut batches: BTreeMap<u32, Batch> = BTreeMap::new();
    for share in done {
        let answer = match share {
            Done::Refused(answer) => answer,
            Done::Judged(taken, stored) => channels.settle(*taken, stored, now),
        };
        let channel_id = answer.channel_id;
        match answer.verdict {
            Ok(difficulty) => {
                let batch = batches.entry(channel_id).or_default();
                batch.last_sequence_number = answer.sequence_number;
                batch.count += 1;
                batch.difficulty += difficulty;
            }
            Err(code) => {
                if let Some(batch) = batches.remove(&channel_id) {
                    success(channel_id, &batch, channels, out);
                }
                out.push(ToMiner::Refused {
                    channel_id,
                    sequence_number: answer.sequence_number,
                    code,
                });
            }
        }
    }
    for (channel_id, batch) in batches {
        success(channel_id, &batch, channels, out);
        channels.retarget_one(channel_id, now, out);
    }
}

fn success(channel_id: u32, batch: &Batch, channels: &mut Channels, out: &mut Vec<ToMiner>) {
    out.push(ToMiner::Accepted(SubmitSharesSuccess {
        channel_id,
        last_sequence_number: batch.last_sequence_number,
        new_submits_accepted_count: batch.count,
        new_shares_sum: channels.told(channel_id, batch.difficulty),
    }));
}
