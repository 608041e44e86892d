//! A standard channel as its miner sees it: the pool's messages in, the newest job out. No socket, and no clock: time is
//! an argument.
//!
//! Jobs are numbered here, on and on over all sessions, since a pool may use its own numbers anew: a share names the job
//! that it was found for, and one of a job that is over finds no match.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::pow::CompactTarget;
use bitcoin::{BlockHash, Target, TxMerkleNode};
use mining_sv2::SubmitSharesStandard;

use super::again::Again;
use super::messages::{NewJob, Opened, PrevHash, ToChannel};
use crate::hashing::{Job, Share};

/// Future jobs kept at most; the oldest go first. Pools keep as many.
const MAX_FUTURE: usize = 16;

/// Jobs of the present tip whose shares are still sent, at most.
const MAX_KNOWN: usize = 16;

/// How far a header's time may run ahead of its job's, in seconds: what pools accept, and nodes as the future.
const MAX_ROLL: u32 = 7200;

/// Spreads the first nonces of a session's jobs over all nonces.
const STRIDE: u32 = 0x9e37_79b9;

/// What a message has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that matters here.
    Nothing,
    /// What is to be searched.
    Work,
    /// So many shares were accepted.
    Accepted(u64),
    /// A share was refused with this code.
    Refused(String),
    /// The channel is closed, for this reason.
    Closed(String),
}

/// The state of an open channel.
#[derive(Debug)]
pub(super) struct Channel {
    id: u32,
    group: u32,
    /// Of jobs to come, the future ones that are here already included (SV2 specification, section 5.3.13).
    target: Target,
    tip: Option<Tip>,
    future: VecDeque<NewJob>,
    current: Option<Current>,
    /// The present tip's jobs, the newest last.
    known: VecDeque<Known>,
    published: Option<Arc<Job>>,
    next_number: u64,
    first_nonce: u32,
    next_sequence: u32,
    unanswered: u64,
    again: Again,
}

#[derive(Clone, Copy, Debug)]
struct Tip {
    prev_hash: PrevHash,
    since: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    number: u64,
    job: NewJob,
    min_ntime: u32,
    target: Target,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    number: u64,
    job_id: u32,
    version: u32,
}

impl Channel {
    /// A channel that the pool has just opened. Its jobs are numbered from `next_number`; `first_nonce` should be random,
    /// so that a miner that comes back does not find the very shares that it has handed in already.
    pub(super) fn new(opened: Opened, next_number: u64, first_nonce: u32) -> Self {
        Self {
            id: opened.channel,
            group: opened.group,
            target: opened.target,
            tip: None,
            future: VecDeque::new(),
            current: None,
            known: VecDeque::new(),
            published: None,
            next_number,
            first_nonce,
            next_sequence: 0,
            unanswered: 0,
            again: Again::default(),
        }
    }

    /// The pool's number of it.
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Where a later channel's numbers go on.
    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Shares sent and not answered.
    pub(super) fn unanswered(&self) -> u64 {
        self.unanswered
    }

    /// The pool has put these channels into a group.
    pub(super) fn regroup(&mut self, group: u32, channels: &[u32]) {
        if channels.contains(&self.id) {
            self.group = group;
        }
    }

    /// Takes what the pool has addressed to this number, of a channel or of a group.
    pub(super) fn apply(&mut self, addressed: u32, message: ToChannel, now: Instant) -> Change {
        if addressed != self.id && addressed != self.group {
            return Change::Nothing;
        }
        match message {
            ToChannel::Job(job) => self.on_job(job),
            ToChannel::PrevHash(prev_hash) => self.on_prev_hash(prev_hash, now),
            ToChannel::Target(target) => {
                self.target = target;
                Change::Nothing
            }
            ToChannel::Closed { reason } => Change::Closed(reason),
            ToChannel::Accepted { count } => {
                let count = u64::from(count).min(self.unanswered);
                self.unanswered -= count;
                if count > 0 {
                    self.again.accepted(now);
                }
                Change::Accepted(count)
            }
            ToChannel::Refused { .. } if self.unanswered == 0 => Change::Nothing,
            ToChannel::Refused { sequence_number, code } => {
                self.unanswered -= 1;
                self.again.refused(sequence_number, &code, now);
                Change::Refused(code)
            }
        }
    }

    fn on_job(&mut self, job: NewJob) -> Change {
        match (job.min_ntime, self.tip) {
            (Some(min_ntime), Some(_)) => {
                self.begin(job, min_ntime);
                Change::Work
            }
            _ => {
                self.future.retain(|other| other.id != job.id);
                if self.future.len() >= MAX_FUTURE {
                    self.future.pop_front();
                }
                self.future.push_back(job);
                Change::Nothing
            }
        }
    }

    fn on_prev_hash(&mut self, prev_hash: PrevHash, now: Instant) -> Change {
        let repeated = self.tip.filter(|tip| tip.is(&prev_hash));
        if repeated.is_none() {
            self.known.clear();
            self.again.forget();
        }
        // What is said twice does not turn the clock back.
        let since = repeated.map_or(now, |tip| tip.since);
        self.tip = Some(Tip { prev_hash, since });
        self.current = None;
        let job = self.future.iter().find(|job| job.id == prev_hash.job).copied();
        self.future.clear();
        if let Some(job) = job {
            self.begin(job, prev_hash.min_ntime);
        }
        Change::Work
    }

    fn begin(&mut self, job: NewJob, min_ntime: u32) {
        let number = self.next_number;
        self.next_number += 1;
        self.current = Some(Current {
            number,
            job,
            min_ntime,
            target: self.target,
        });
        if self.known.len() >= MAX_KNOWN {
            self.known.pop_front();
        }
        self.known.push_back(Known {
            number,
            job_id: job.id,
            version: job.version,
        });
    }

    /// What is to be searched now: the newest job with the time of now, so it is another one from second to second. The
    /// time stays within what SV2 allows: the tip's plus the time since it was told.
    pub(super) fn job(&mut self, now: Instant) -> Option<Arc<Job>> {
        let (tip, current) = (self.tip?, self.current?);
        let elapsed = u32::try_from(now.saturating_duration_since(tip.since).as_secs()).unwrap_or(u32::MAX);
        let header = Header {
            version: Version::from_consensus(current.job.version.cast_signed()),
            prev_blockhash: BlockHash::from_byte_array(tip.prev_hash.hash),
            merkle_root: TxMerkleNode::from_byte_array(current.job.merkle_root),
            time: (tip.prev_hash.min_ntime.saturating_add(elapsed))
                .clamp(current.min_ntime, current.min_ntime.saturating_add(MAX_ROLL)),
            bits: CompactTarget::from_consensus(tip.prev_hash.bits),
            nonce: 0,
        };
        // The same work under another number: whoever searched it again would find the same shares again.
        let searched = |job: &&Arc<Job>| Header { nonce: 0, ..job.header } == header;
        if let Some(job) = self.published.as_ref().filter(searched) {
            return Some(Arc::clone(job));
        }
        self.first_nonce = self.first_nonce.wrapping_add(STRIDE);
        let job = Arc::new(Job {
            id: current.number,
            header: Header {
                nonce: self.first_nonce,
                ..header
            },
            last_time: header.time,
            target: current.target,
        });
        Some(Arc::clone(self.published.insert(job)))
    }

    /// What is to be sent for a share. `None` if its job is over: the pool would refuse it.
    pub(super) fn submit(&mut self, share: &Share) -> Option<SubmitSharesStandard> {
        let known = self.known.iter().find(|known| known.number == share.job)?;
        let submission = SubmitSharesStandard {
            channel_id: self.id,
            sequence_number: 0,
            job_id: known.job_id,
            nonce: share.header.nonce,
            ntime: share.header.time,
            version: known.version,
        };
        Some(self.numbered(submission))
    }

    /// The oldest share that the pool could not store and that is to be sent again now, if there is one.
    pub(super) fn submit_again(&mut self, now: Instant) -> Option<SubmitSharesStandard> {
        let submission = self.again.due(now)?;
        Some(self.numbered(submission))
    }

    /// When the next share is to be sent again, if any is.
    pub(super) fn again_at(&self) -> Option<Instant> {
        self.again.at()
    }

    fn numbered(&mut self, mut submission: SubmitSharesStandard) -> SubmitSharesStandard {
        submission.sequence_number = self.next_sequence;
        self.next_sequence = self.next_sequence.wrapping_add(1);
        self.unanswered += 1;
        self.again.sent(&submission);
        submission
    }
}

impl Tip {
    /// The same tip, whichever job was to begin with it.
    fn is(&self, other: &PrevHash) -> bool {
        let one = PrevHash {
            job: other.job,
            ..self.prev_hash
        };
        one == *other
    }
}

#[cfg(test)]
mod tests;
