//! One mining channel: what its shares are judged by, and how hard they should be.
//!
//! The channel of `channels_sv2` keeps the jobs and judges shares. Around it stands what that leaves to the pool: the
//! target that holds for each job, vardiff, shares that were right and could not be stored, and the miner's key.

use std::collections::VecDeque;

use binary_sv2::B032Owned;
use bitcoin::Target;
use channels_sv2::extranonce_manager::AllocatedExtranoncePrefix;
use channels_sv2::server::error::{ExtendedChannelError, StandardChannelError};
use channels_sv2::server::extended::ExtendedChannel;
use channels_sv2::server::jobs::extended::ExtendedJob;
use channels_sv2::server::share_accounting::{ShareValidationError, ShareValidationResult};
use channels_sv2::server::standard::StandardChannel;
use channels_sv2::target::hash_rate_to_target;
use mining_sv2::{
    ERROR_CODE_SUBMIT_SHARES_INVALID_JOB_ID, ERROR_CODE_SUBMIT_SHARES_INVALID_SHARE,
    ERROR_CODE_SUBMIT_SHARES_STALE_SHARE, NewMiningJobOwned,
};
use template_distribution_sv2::{SetNewPrevHashOwned, SubmitSolutionOwned};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::error;

use super::difficulty::{Bounds, hashes};
use super::miners::{Entry, Kind};
use super::share::{Share, ShareKey, Unfit, ValidShare};
use super::vardiff::Vardiff;

/// Jobs for the same tip whose late shares still count. Each costs a few KiB a channel; templates come seconds apart.
const PAST_JOBS: usize = 3;
/// A refreshed job passes through the past jobs (see [`Channel::refresh`]) and must push none of them out.
const PAST_JOBS_KEPT: usize = PAST_JOBS + 1;
/// Jobs of earlier tips whose shares are called stale; `channels_sv2` remembers those of one tip. Older are unknown.
const OVER: usize = 64;
/// Shares that were right and could not be stored, remembered so that they may come again.
const UNSTORED: usize = 32;
/// `channels_sv2` can say when to acknowledge; here the outbox does.
const BATCH: usize = 1;

/// What all channels of a pool have in common.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) pool_tag: String,
    pub(crate) shares_per_minute: f32,
    pub(crate) bounds: Bounds,
    /// For miners that do not say how fast they are.
    pub(crate) start: Target,
}

/// What a miner asks for when it opens a channel.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) user_identity: String,
    pub(crate) nominal_hashrate: f32,
    pub(crate) max_target: Target,
    pub(crate) key: Option<[u8; 33]>,
    pub(crate) place: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Server {
    Standard(Box<StandardChannel>),
    Extended(Box<ExtendedChannel>),
}

/// Does the same with either kind of channel, whose methods have the same names.
macro_rules! either {
    ($server:expr, $channel:ident => $does:expr) => {
        match $server {
            Server::Standard($channel) => $does,
            Server::Extended($channel) => $does,
        }
    };
}

#[derive(Debug)]
pub(crate) struct Channel {
    server: Server,
    pub(crate) key: Option<[u8; 33]>,
    pub(crate) entry: Entry,
    max_target: Target,
    /// The target of each job that can still have shares, the newest last.
    targets: VecDeque<(u32, Target)>,
    /// Ids of the jobs of earlier tips, the newest last.
    over: VecDeque<u32>,
    vardiff: Vardiff,
    unstored: VecDeque<ValidShare>,
    /// Whether the miner has said or shown that it is mining.
    mining: bool,
    /// Difficulty that was accepted and is not told yet, below 1.
    untold: f64,
    _place: OwnedSemaphorePermit,
}

impl Channel {
    pub(crate) fn standard(
        id: u32,
        asked: Asked,
        prefix: AllocatedExtranoncePrefix,
        rules: &Rules,
        entry: Entry,
        now: Instant,
    ) -> Result<Self, &'static str> {
        let channel = StandardChannel::new_for_pool(
            id,
            asked.user_identity,
            prefix,
            asked.max_target,
            asked.nominal_hashrate,
            BATCH,
            rules.shares_per_minute,
            rules.pool_tag.clone(),
            Some(PAST_JOBS_KEPT),
        )
        .map_err(|error| match error {
            StandardChannelError::OpenChannelInvalidNominalHashrate(code)
            | StandardChannelError::OpenChannelInvalidMaxTarget(code) => code,
            other => unexpected("opening a standard channel", &other),
        })?;
        let server = Server::Standard(Box::new(channel));
        Ok(Self::new(server, asked.key, asked.place, entry, rules, now))
    }

    pub(crate) fn extended(
        id: u32,
        asked: Asked,
        (prefix, rollable): (AllocatedExtranoncePrefix, u16),
        rules: &Rules,
        entry: Entry,
        now: Instant,
    ) -> Result<Self, &'static str> {
        let channel = ExtendedChannel::new_for_pool(
            id,
            asked.user_identity,
            prefix,
            asked.max_target,
            asked.nominal_hashrate,
            true,
            rollable,
            BATCH,
            rules.shares_per_minute,
            rules.pool_tag.clone(),
            Some(PAST_JOBS_KEPT),
        )
        .map_err(|error| match error {
            ExtendedChannelError::OpenChannelInvalidNominalHashrate(code)
            | ExtendedChannelError::OpenChannelInvalidMaxTarget(code)
            | ExtendedChannelError::RequestedMinExtranonceSizeTooLarge(code) => code,
            other => unexpected("opening an extended channel", &other),
        })?;
        let server = Server::Extended(Box::new(channel));
        Ok(Self::new(server, asked.key, asked.place, entry, rules, now))
    }

    fn new(
        server: Server,
        key: Option<[u8; 33]>,
        place: OwnedSemaphorePermit,
        entry: Entry,
        rules: &Rules,
        now: Instant,
    ) -> Self {
        let mut channel = Self {
            max_target: either!(&server, channel => *channel.get_requested_max_target()),
            mining: either!(&server, channel => channel.get_nominal_hashrate() > 0.0),
            server,
            key,
            entry,
            targets: VecDeque::new(),
            over: VecDeque::new(),
            vardiff: Vardiff::new(rules.shares_per_minute, now),
            unstored: VecDeque::new(),
            untold: 0.0,
            _place: place,
        };
        let wanted = if channel.mining { channel.target() } else { rules.start };
        channel.aim(wanted, rules, now);
        channel
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.server {
            Server::Standard(_) => Kind::Standard,
            Server::Extended(_) => Kind::Extended,
        }
    }

    /// The target of the jobs to come.
    pub(crate) fn target(&self) -> Target {
        either!(&self.server, channel => *channel.get_target())
    }

    pub(crate) fn extranonce_prefix(&self) -> Result<B032Owned, &'static str> {
        let prefix = either!(&self.server, channel => channel.get_extranonce_prefix().to_vec());
        prefix
            .try_into()
            .map_err(|error| unexpected("an extranonce prefix", &error))
    }

    /// Whether shares are to be expected: the miner has named a hashrate, or sent a share.
    pub(crate) fn is_mining(&self) -> bool {
        self.mining
    }

    /// Takes a job that is announced, for this tip or, as a future job, for the next.
    pub(crate) fn install(&mut self, job: ExtendedJob) -> bool {
        let (id, future) = (job.get_job_id(), job.is_future());
        let installed = either!(&mut self.server, channel => channel.on_group_channel_job(job).map_err(|error| {
            unexpected("a job", &error)
        }));
        if installed.is_ok() && !future {
            self.targets.retain(|(job_id, _)| *job_id != id);
            self.targets.push_back((id, self.target()));
            if self.targets.len() > PAST_JOBS_KEPT + 1 {
                self.targets.pop_front();
            }
        }
        installed.is_ok()
    }

    /// Moves on to a tip, which makes the future job of the tip's template current.
    pub(crate) fn set_tip(&mut self, tip: &SetNewPrevHashOwned, job_id: u32) -> bool {
        let moved = either!(&mut self.server, channel => channel.on_set_new_prev_hash(tip.clone()).map_err(|error| {
            unexpected("a tip", &error)
        }));
        if moved.is_ok() {
            self.unstored.clear();
            self.over.extend(self.targets.drain(..).map(|(id, _)| id));
            self.over.drain(..self.over.len().saturating_sub(OVER));
            self.targets.push_back((job_id, self.target()));
        }
        moved.is_ok()
    }

    /// The job as a standard channel's own message, after it was installed.
    pub(crate) fn standard_job(&self, job_id: u32) -> Option<NewMiningJobOwned> {
        let Server::Standard(channel) = &self.server else {
            return None;
        };
        let active = channel.get_active_job().filter(|job| job.get_job_id() == job_id);
        let job = active.or_else(|| channel.get_future_job(job_id))?;
        Some(job.get_job_message().clone())
    }

    /// What the miner says of itself by UpdateChannel. The target may be another one then.
    pub(crate) fn update(
        &mut self,
        nominal_hashrate: f32,
        max_target: Target,
        rules: &Rules,
        now: Instant,
    ) -> Result<(), &'static str> {
        match &mut self.server {
            Server::Standard(channel) => {
                channel
                    .update_channel(nominal_hashrate, Some(max_target))
                    .map_err(|error| match error {
                        StandardChannelError::UpdateChannelInvalidNominalHashrate(code)
                        | StandardChannelError::UpdateChannelInvalidMaxTarget(code) => code,
                        other => unexpected("updating a standard channel", &other),
                    })?;
            }
            Server::Extended(channel) => {
                channel
                    .update_channel(nominal_hashrate, Some(max_target))
                    .map_err(|error| match error {
                        ExtendedChannelError::UpdateChannelInvalidNominalHashrate(code)
                        | ExtendedChannelError::UpdateChannelInvalidMaxTarget(code) => code,
                        other => unexpected("updating an extended channel", &other),
                    })?;
            }
        }
        self.max_target = max_target;
        self.mining = nominal_hashrate > 0.0;
        let wanted = if self.mining { self.target() } else { rules.start };
        self.aim(wanted, rules, now);
        Ok(())
    }

    /// Vardiff: the new target, if the shares ask for one.
    pub(crate) fn retarget(&mut self, rules: &Rules, now: Instant) -> Option<Target> {
        let before = self.target();
        let per_second = f64::from(rules.shares_per_minute) / 60.0;
        let estimate = self.vardiff.judge(hashes(&before) * per_second, now)?;
        // Neither a number nor an estimate beyond all numbers comes out of finite work in measured time.
        let wanted = hash_rate_to_target(estimate, rules.shares_per_minute.into()).unwrap_or(before);
        self.aim(wanted, rules, now);
        (self.target() != before).then(|| self.target())
    }

    /// Sets the target of the jobs to come as near to `wanted` as is allowed, and begins to count anew.
    fn aim(&mut self, wanted: Target, rules: &Rules, now: Instant) {
        let target = rules.bounds.clamp(wanted, self.max_target);
        // The bounds are not zero, and a requested maximum of zero was refused.
        if either!(&mut self.server, channel => channel.set_target(target).is_ok()) {
            self.vardiff.restart(now);
        }
    }

    /// The job that is mined now, again, after the target has become easier: a job keeps the target that it was
    /// announced with (SV2 specification, SetTarget), but miners exist that follow a new target at once, and their
    /// shares are right. One that has become harder holds from the next job on.
    pub(crate) fn refresh(&mut self, job: ExtendedJob) {
        let id = job.get_job_id();
        let easier = self
            .targets
            .iter()
            .any(|(job_id, target)| *job_id == id && *target < self.target());
        if easier {
            self.install(job);
        }
    }

    /// Judges a share.
    pub(crate) fn judge(&mut self, share: Share) -> Result<ValidShare, Unfit> {
        let key = share.key();
        let (version, ntime, nonce) = (key.version, key.ntime, key.nonce);
        let target = self
            .targets
            .iter()
            .find_map(|(id, target)| (*id == key.job_id).then_some(*target));
        let judged = match (&mut self.server, share) {
            (Server::Standard(channel), Share::Standard(share)) => channel.validate_share(share),
            (Server::Extended(channel), Share::Extended(share)) => channel.validate_share(share),
            (Server::Standard(_), Share::Extended(_)) | (Server::Extended(_), Share::Standard(_)) => {
                return Err(Unfit::Refused(ERROR_CODE_SUBMIT_SHARES_INVALID_SHARE));
            }
        };
        let (hash, solution) = match judged {
            Ok(ShareValidationResult::Valid(hash)) => (hash, None),
            Ok(ShareValidationResult::BlockFound(hash, template_id, coinbase)) => {
                let solution = template_id
                    .zip(coinbase.try_into().ok())
                    .map(|(template_id, coinbase_tx)| SubmitSolutionOwned {
                        template_id,
                        version,
                        header_timestamp: ntime,
                        header_nonce: nonce,
                        coinbase_tx,
                    });
                (hash, solution)
            }
            Err(ShareValidationError::DuplicateShare(code)) => {
                return self.unstored(&key).ok_or(Unfit::Refused(code));
            }
            Err(ShareValidationError::InvalidJobId(_)) if self.over.contains(&key.job_id) => {
                return Err(Unfit::Refused(ERROR_CODE_SUBMIT_SHARES_STALE_SHARE));
            }
            Err(error) => return Err(error.into()),
        };
        // Every job that `channels_sv2` knows was installed here.
        let target = target.ok_or(Unfit::Refused(ERROR_CODE_SUBMIT_SHARES_INVALID_JOB_ID))?;
        self.mining = true;
        self.vardiff.share(hashes(&target));
        Ok(ValidShare {
            key,
            hash: *hash.as_ref(),
            target,
            solution,
            maybe_stored: false,
        })
    }

    /// A share that was right and could not be stored: it is remembered, so that it may come again.
    pub(crate) fn not_stored(&mut self, mut share: ValidShare, maybe_stored: bool) {
        share.solution = None;
        share.maybe_stored |= maybe_stored;
        if self.unstored.len() == UNSTORED {
            self.unstored.pop_front();
        }
        self.unstored.push_back(share);
    }

    fn unstored(&mut self, key: &ShareKey) -> Option<ValidShare> {
        let index = self.unstored.iter().position(|share| share.key == *key)?;
        self.unstored.remove(index)
    }

    /// What the next SubmitShares.Success tells as the sum of difficulty, after these shares.
    pub(crate) fn told(&mut self, difficulty: f64) -> u64 {
        self.untold += difficulty;
        let whole = self.untold.floor();
        self.untold -= whole;
        // Saturates; the sum of a batch is far below 2^64.
        whole as u64
    }
}

/// For what our own templates and settings make impossible: it is logged, and refused with a code of ours.
pub(super) fn unexpected(what: &str, error: &dyn std::fmt::Debug) -> &'static str {
    error!(?error, "{what} failed in a way that it can't");
    "internal-error"
}
