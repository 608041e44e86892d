//! Work for the channels of a connection: who is told of which job, tip and target, and when.
//!
//! A job goes to the channels' own books in the same step in which its announcement is written, so that a share is judged
//! by what its miner was told.

use std::sync::Arc;

use channels_sv2::server::jobs::extended::ExtendedJob;
use mining_sv2::{NewExtendedMiningJobOwned, SetNewPrevHashOwned};
use tokio::time::Instant;

use super::{Channels, GROUP, KeyChange};
use crate::mining::channel::{Channel, Rules};
use crate::mining::jobs::Jobs;
use crate::mining::messages::ToMiner;
use crate::mining::metrics::Counter;
use crate::mining::miners::Kind;

impl Channels {
    /// New work.
    pub(crate) fn work(&mut self, jobs: Arc<Jobs>, out: &mut Vec<ToMiner>) {
        let before = self.jobs.replace(Arc::clone(&jobs));
        if self.open.is_empty() {
            self.announced = None;
            return;
        }
        if before.as_ref().is_none_or(|before| !before.same_tip(&jobs)) {
            if self.announced != Some(jobs.current.id()) {
                self.announce(|_| jobs.current.future(), out);
            }
            self.announced = None;
            self.move_on(&jobs, out);
        } else if before.is_some_and(|before| before.current.id() != jobs.current.id()) {
            self.announce(|jobs| jobs.current.for_tip(&jobs.tip), out);
        }
        if let Some(future) = &jobs.future
            && self.announced != Some(future.id())
        {
            self.announce(|_| future.future(), out);
            self.announced = Some(future.id());
        }
    }

    /// Vardiff for each channel.
    pub(crate) fn retarget(&mut self, now: Instant, out: &mut Vec<ToMiner>) {
        for (id, channel) in &mut self.open {
            retarget(*id, channel, &self.floor.rules, self.jobs.as_deref(), now, out);
        }
    }

    /// Vardiff for one channel, after shares.
    pub(crate) fn retarget_one(&mut self, channel_id: u32, now: Instant, out: &mut Vec<ToMiner>) {
        if let Some(channel) = self.open.get_mut(&channel_id) {
            retarget(channel_id, channel, &self.floor.rules, self.jobs.as_deref(), now, out);
        }
    }

    /// A channel that was opened gets the work of the moment, however late it comes.
    pub(super) fn join(&mut self, id: u32, mut channel: Channel, out: &mut Vec<ToMiner>) {
        self.floor.metrics.count(Counter::ChannelsOpened);
        if let Some(jobs) = self.jobs.clone() {
            install(id, &mut channel, jobs.current.future(), out);
            if channel.set_tip(&jobs.tip, jobs.current.id()) {
                out.push(prev_hash(id, &jobs));
            }
            match &jobs.future {
                // Those before it know the future job, and must not be told of it twice.
                Some(future) if self.standard_jobs => {
                    install(id, &mut channel, future.future(), out);
                    self.announced = Some(future.id());
                }
                // The group will be told again, so that the newcomer learns it as a member.
                _ => self.announced = None,
            }
        }
        if let Some(key) = channel.key {
            self.key_changes.push(KeyChange::Opened(key, id));
        }
        self.open.insert(id, channel);
    }

    /// Gives a job to every channel, and tells of it.
    fn announce(&mut self, job: impl Fn(&Jobs) -> ExtendedJob, out: &mut Vec<ToMiner>) {
        let Some(jobs) = &self.jobs else { return };
        let job = job(jobs);
        if !self.standard_jobs {
            out.push(extended_job(GROUP, &job));
        }
        for (id, channel) in &mut self.open {
            if self.standard_jobs {
                install(*id, channel, job.clone(), out);
            } else {
                channel.install(job.clone());
            }
        }
    }

    /// Moves every channel to the tip of `jobs`, and tells of it.
    fn move_on(&mut self, jobs: &Jobs, out: &mut Vec<ToMiner>) {
        if !self.standard_jobs {
            out.push(prev_hash(GROUP, jobs));
        }
        for (id, channel) in &mut self.open {
            if channel.set_tip(&jobs.tip, jobs.current.id()) && self.standard_jobs {
                out.push(prev_hash(*id, jobs));
            }
        }
    }
}

/// Gives a job to one channel, and tells of it on that channel.
fn install(id: u32, channel: &mut Channel, job: ExtendedJob, out: &mut Vec<ToMiner>) {
    let (job_id, told) = (job.get_job_id(), extended_job(id, &job));
    if channel.install(job) {
        out.push(match channel.kind() {
            Kind::Extended => told,
            Kind::Standard => match channel.standard_job(job_id) {
                Some(job) => ToMiner::Job(job),
                None => return,
            },
        });
    }
}

fn retarget(
    channel_id: u32,
    channel: &mut Channel,
    rules: &Rules,
    jobs: Option<&Jobs>,
    now: Instant,
    out: &mut Vec<ToMiner>,
) {
    if let Some(target) = channel.retarget(rules, now) {
        out.push(ToMiner::SetTarget { channel_id, target });
        refresh(channel, jobs);
    }
}

pub(super) fn refresh(channel: &mut Channel, jobs: Option<&Jobs>) {
    if let Some(jobs) = jobs {
        channel.refresh(jobs.current.for_tip(&jobs.tip));
    }
}

fn extended_job(channel_id: u32, job: &ExtendedJob) -> ToMiner {
    ToMiner::ExtendedJob(NewExtendedMiningJobOwned {
        channel_id,
        ..job.get_job_message().clone()
    })
}

fn prev_hash(channel_id: u32, jobs: &Jobs) -> ToMiner {
    ToMiner::PrevHash(SetNewPrevHashOwned {
        channel_id,
        job_id: jobs.current.id(),
        prev_hash: jobs.tip.prev_hash.clone(),
        min_ntime: jobs.tip.header_timestamp,
        nbits: jobs.tip.n_bits,
    })
}
