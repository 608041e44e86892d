//! The channels of one connection: what a miner says and what the pool answers, without I/O and without a clock.
//!
//! A session feeds it the miner's messages, the work, the time and what became of stored shares; what is to be said goes
//! into a list of [`ToMiner`], in order. So any sequence of messages can be tried on it in a test.
//!
//! Channels of a miner that does not require standard jobs belong to one group channel, and a job for all of them is one
//! message. `channels_sv2`'s `GroupChannel` is not used for that: it keeps jobs per connection, which here are the same for
//! the whole pool ([`super::jobs`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use channels_sv2::extranonce_manager::{AllocatedExtranoncePrefix, ExtranonceAllocator, ExtranonceAllocatorError};
use channels_sv2::server::jobs::extended::ExtendedJob;
use mining_sv2::{
    ERROR_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED as CAPACITY_EXHAUSTED,
    ERROR_CODE_OPEN_MINING_CHANNEL_EXTENDED_CHANNELS_NOT_SUPPORTED_FOR_STANDARD_JOBS as NO_EXTENDED,
    ERROR_CODE_OPEN_MINING_CHANNEL_INVALID_USER_IDENTITY as INVALID_IDENTITY,
    ERROR_CODE_OPEN_MINING_CHANNEL_MIN_EXTRANONCE_SIZE_TOO_LARGE as EXTRANONCE_TOO_LARGE,
    ERROR_CODE_SUBMIT_SHARES_DUPLICATE_SHARE as DUPLICATE_SHARE,
    ERROR_CODE_SUBMIT_SHARES_INVALID_CHANNEL_ID as SUBMIT_INVALID_CHANNEL,
    ERROR_CODE_UPDATE_CHANNEL_INVALID_CHANNEL_ID as UPDATE_INVALID_CHANNEL, NewExtendedMiningJobOwned,
    OpenExtendedMiningChannelOwned, OpenExtendedMiningChannelSuccessOwned, OpenStandardMiningChannelOwned,
    OpenStandardMiningChannelSuccessOwned, SetNewPrevHashOwned, UpdateChannelOwned,
};
use tokio::time::Instant;
use tracing::info;

use super::channel::{Asked, Channel, Rules, Share, Unfit, ValidShare};
use super::difficulty::hashes;
use super::identity::{Identity, shortened};
use super::jobs::Jobs;
use super::messages::{ToMiner, target_of, wire_target};
use super::metrics::{Counter, MiningMetrics};
use super::miners::{Entry, Kind, Miners};
use crate::outbox::EnqueueError;

/// The outbox holds as many shares as it may; the miner may send this one again.
pub(crate) const CODE_OUTBOX_FULL: &str = "outbox-full";
/// The outbox can't write, or the pool stops; the miner may send this one again.
pub(crate) const CODE_NOT_STORED: &str = "not-stored";
/// More shares for one tip than can be told apart from repeated ones: the channel closes.
const REASON_EXHAUSTED: &str = "too-many-shares";
/// The miner's id of its group; those of its channels follow.
const GROUP: u32 = 1;

/// What the connections of a pool share.
#[derive(Debug)]
pub(crate) struct Floor {
    pub(crate) rules: Rules,
    pub(crate) extranonces: Mutex<ExtranonceAllocator>,
    pub(crate) max_channels: usize,
    /// Whether the pool has a key for miners that bring none.
    pub(crate) has_default_key: bool,
    pub(crate) miners: Miners,
    pub(crate) metrics: Arc<MiningMetrics>,
}

impl Floor {
    fn allocate(
        &self,
        allocate: impl FnOnce(&mut ExtranonceAllocator) -> Result<AllocatedExtranoncePrefix, ExtranonceAllocatorError>,
    ) -> Result<(AllocatedExtranoncePrefix, u16), &'static str> {
        let mut extranonces = self.extranonces.lock().unwrap_or_else(PoisonError::into_inner);
        let rollable = extranonces.rollable_extranonce_size().into();
        match allocate(&mut extranonces) {
            Ok(prefix) => Ok((prefix, rollable)),
            Err(ExtranonceAllocatorError::InvalidRollableSize) => Err(EXTRANONCE_TOO_LARGE),
            Err(_) => Err(CAPACITY_EXHAUSTED),
        }
    }
}

/// A share that is to be stored, and then [settled](Channels::settle).
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) channel_id: u32,
    pub(crate) sequence_number: u32,
    pub(crate) locking_key: Option<[u8; 33]>,
    pub(crate) share: ValidShare,
}

/// A share with this number on this channel is answered so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Answer {
    pub(crate) channel_id: u32,
    pub(crate) sequence_number: u32,
    /// Its difficulty, or the code to refuse it with.
    pub(crate) verdict: Result<f64, &'static str>,
}

/// What becomes of a share that came in.
#[derive(Debug)]
pub(crate) enum Submitted {
    /// It is right, and not answered before it is stored.
    Store(Box<Taken>),
    /// It is refused.
    Answer(Answer),
}

/// The channels of one connection.
#[derive(Debug)]
pub(crate) struct Channels {
    floor: Arc<Floor>,
    /// The miner wants a job of its own for each channel.
    standard_jobs: bool,
    last_id: u32,
    open: BTreeMap<u32, Channel>,
    jobs: Option<Arc<Jobs>>,
    /// The future job that every channel has been told of.
    announced: Option<u32>,
}

impl Channels {
    /// None yet, for a connection that was set up with REQUIRES_STANDARD_JOBS or without.
    pub(crate) fn new(floor: Arc<Floor>, standard_jobs: bool) -> Self {
        Self {
            floor,
            standard_jobs,
            last_id: GROUP,
            open: BTreeMap::new(),
            jobs: None,
            announced: None,
        }
    }

    /// Whether shares are to be expected on any of them.
    pub(crate) fn are_mining(&self) -> bool {
        self.open.values().any(Channel::is_mining)
    }

    /// OpenStandardMiningChannel.
    pub(crate) fn open_standard(
        &mut self,
        message: &OpenStandardMiningChannelOwned,
        now: Instant,
        out: &mut Vec<ToMiner>,
    ) {
        let request_id = message.request_id;
        let identity = text(message.user_identity.as_bytes());
        let opened = self.asked(identity, message.nominal_hash_rate, target_of(&message.max_target));
        let opened = opened.and_then(|asked| {
            let (prefix, _) = self.floor.allocate(ExtranonceAllocator::allocate_standard)?;
            let entry = self.entry(&asked, Kind::Standard, now);
            let id = self.next_id()?;
            let channel = Channel::standard(id, asked, prefix, &self.floor.rules, entry, now)?;
            Ok((id, channel.extranonce_prefix()?, channel))
        });
        match opened {
            Ok((channel_id, extranonce_prefix, channel)) => {
                out.push(ToMiner::StandardOpened(OpenStandardMiningChannelSuccessOwned {
                    request_id,
                    channel_id,
                    target: wire_target(channel.target()),
                    extranonce_prefix,
                    group_channel_id: GROUP,
                }));
                self.join(channel_id, channel, out);
            }
            Err(code) => self.not_opened(request_id, code, out),
        }
    }

    /// OpenExtendedMiningChannel.
    pub(crate) fn open_extended(
        &mut self,
        message: &OpenExtendedMiningChannelOwned,
        now: Instant,
        out: &mut Vec<ToMiner>,
    ) {
        let request_id = message.request_id;
        let identity = text(message.user_identity.as_bytes());
        let opened = self.asked(identity, message.nominal_hash_rate, target_of(&message.max_target));
        let opened = opened.and_then(|asked| {
            if self.standard_jobs {
                return Err(NO_EXTENDED);
            }
            let least = message.min_extranonce_size.into();
            let (prefix, rollable) = self
                .floor
                .allocate(|extranonces| extranonces.allocate_extended(least))?;
            let entry = self.entry(&asked, Kind::Extended, now);
            let id = self.next_id()?;
            let channel = Channel::extended(id, asked, (prefix, rollable), &self.floor.rules, entry, now)?;
            Ok((id, channel.extranonce_prefix()?, channel, rollable))
        });
        match opened {
            Ok((channel_id, extranonce_prefix, channel, extranonce_size)) => {
                out.push(ToMiner::ExtendedOpened(OpenExtendedMiningChannelSuccessOwned {
                    request_id,
                    channel_id,
                    target: wire_target(channel.target()),
                    extranonce_size,
                    extranonce_prefix,
                    group_channel_id: GROUP,
                }));
                self.join(channel_id, channel, out);
            }
            Err(code) => self.not_opened(request_id, code, out),
        }
    }

    /// UpdateChannel.
    pub(crate) fn update(&mut self, message: &UpdateChannelOwned, now: Instant, out: &mut Vec<ToMiner>) {
        let channel_id = message.channel_id;
        let (hashrate, max_target) = (message.nominal_hash_rate, target_of(&message.maximum_target));
        let updated = match self.open.get_mut(&channel_id) {
            Some(channel) => channel
                .update(hashrate, max_target, &self.floor.rules, now)
                .map(|()| channel),
            None => Err(UPDATE_INVALID_CHANNEL),
        };
        match updated {
            Ok(channel) => {
                out.push(ToMiner::SetTarget {
                    channel_id,
                    target: channel.target(),
                });
                refresh(channel, self.jobs.as_deref());
            }
            Err(code) => out.push(ToMiner::UpdateError { channel_id, code }),
        }
    }

    /// CloseChannel, for a channel or for the group and with it for all. Whether there was one.
    pub(crate) fn close(&mut self, channel_id: u32) -> bool {
        if channel_id == GROUP && !self.standard_jobs {
            let any = !self.open.is_empty();
            self.open.clear();
            return any;
        }
        self.open.remove(&channel_id).is_some()
    }

    /// SubmitSharesStandard and SubmitSharesExtended.
    pub(crate) fn submit(&mut self, share: Share, out: &mut Vec<ToMiner>) -> Submitted {
        let (channel_id, sequence_number) = (share.channel_id(), share.sequence_number());
        let Some(channel) = self.open.get_mut(&channel_id) else {
            return self.refused(channel_id, sequence_number, SUBMIT_INVALID_CHANNEL);
        };
        match channel.judge(share) {
            Ok(share) => Submitted::Store(Box::new(Taken {
                channel_id,
                sequence_number,
                locking_key: channel.key,
                share,
            })),
            Err(Unfit::Refused(code)) => {
                channel.entry.rejected();
                self.refused(channel_id, sequence_number, code)
            }
            Err(Unfit::Exhausted) => {
                self.open.remove(&channel_id);
                self.floor.metrics.count(Counter::ChannelsExhausted);
                out.push(ToMiner::Close {
                    channel_id,
                    reason: REASON_EXHAUSTED,
                });
                self.refused(channel_id, sequence_number, SUBMIT_INVALID_CHANNEL)
            }
        }
    }

    /// A share has been stored, or not. A refusal leaves no trace that would make it a duplicate when it comes again.
    pub(crate) fn settle<T>(&mut self, taken: Taken, stored: Result<T, EnqueueError>, now: Instant) -> Answer {
        let Taken {
            channel_id,
            sequence_number,
            share,
            ..
        } = taken;
        let code = match stored {
            Ok(_) => None,
            // It failed before and is there all the same: it was this very share, for its extranonce is this channel's.
            Err(EnqueueError::Duplicate) if share.maybe_stored => None,
            Err(EnqueueError::Duplicate) => Some(DUPLICATE_SHARE),
            Err(EnqueueError::Full { .. }) => Some(CODE_OUTBOX_FULL),
            Err(EnqueueError::Storage(_) | EnqueueError::Closed | EnqueueError::Amount(_)) => Some(CODE_NOT_STORED),
        };
        let difficulty = share.target.difficulty_float();
        // A channel that has been closed meanwhile gets its answers all the same; its shares were stored.
        let channel = self.open.get_mut(&channel_id);
        match (code, channel) {
            (None, Some(channel)) => channel.entry.accepted(hashes(&share.target), now),
            (Some(code), Some(channel)) => {
                channel.entry.rejected();
                if code != DUPLICATE_SHARE {
                    channel.not_stored(share, code == CODE_NOT_STORED);
                }
            }
            (_, None) => {}
        }
        if let Some(code) = code {
            self.floor.metrics.refused(code);
        }
        Answer {
            channel_id,
            sequence_number,
            verdict: code.map_or(Ok(difficulty), Err),
        }
    }

    /// What SubmitShares.Success tells as the sum of difficulty of these shares: whole units, the rest is kept for the
    /// next. A channel that is closed has no next.
    pub(crate) fn told(&mut self, channel_id: u32, difficulty: f64) -> u64 {
        match self.open.get_mut(&channel_id) {
            Some(channel) => channel.told(difficulty),
            None => difficulty as u64,
        }
    }

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

    /// What a miner asks for, if it may have it.
    fn asked(
        &self,
        user_identity: String,
        nominal_hashrate: f32,
        max_target: bitcoin::Target,
    ) -> Result<Asked, &'static str> {
        let identity = Identity::of(&user_identity).map_err(|error| {
            info!(identity = shortened(&user_identity), "refused a channel: {error}");
            INVALID_IDENTITY
        })?;
        if self.open.len() >= self.floor.max_channels {
            return Err(CAPACITY_EXHAUSTED);
        }
        Ok(Asked {
            user_identity,
            nominal_hashrate,
            max_target,
            key: identity.key(),
        })
    }

    fn entry(&self, asked: &Asked, kind: Kind, now: Instant) -> Entry {
        let earns = asked.key.is_some() || self.floor.has_default_key;
        self.floor
            .miners
            .open(shortened(&asked.user_identity), kind, earns, now)
    }

    /// Ids are never used again on a connection.
    fn next_id(&mut self) -> Result<u32, &'static str> {
        self.last_id = self.last_id.checked_add(1).ok_or(CAPACITY_EXHAUSTED)?;
        Ok(self.last_id)
    }

    fn not_opened(&self, request_id: u32, code: &'static str, out: &mut Vec<ToMiner>) {
        self.floor.metrics.count(Counter::ChannelsRefused);
        out.push(ToMiner::OpenError { request_id, code });
    }

    /// A channel that was opened gets the work of the moment, however late it comes.
    fn join(&mut self, id: u32, mut channel: Channel, out: &mut Vec<ToMiner>) {
        self.floor.metrics.count(Counter::ChannelsOpened);
        if let Some(jobs) = self.jobs.clone() {
            install(id, &mut channel, jobs.current.future(), out);
            if channel.set_tip(&jobs.tip, jobs.current.id()) {
                out.push(prev_hash(id, &jobs));
            }
            match &jobs.future {
                Some(future) if self.standard_jobs => install(id, &mut channel, future.future(), out),
                // The group will be told again, so that the newcomer learns it as a member.
                _ => self.announced = None,
            }
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

    fn refused(&self, channel_id: u32, sequence_number: u32, code: &'static str) -> Submitted {
        self.floor.metrics.refused(code);
        Submitted::Answer(Answer {
            channel_id,
            sequence_number,
            verdict: Err(code),
        })
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

fn refresh(channel: &mut Channel, jobs: Option<&Jobs>) {
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

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
