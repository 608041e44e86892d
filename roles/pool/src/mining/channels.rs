//! The channels of one connection: what a miner says and what the pool answers, without I/O and without a clock.
//!
//! A session feeds it the miner's messages, the work, the time and what became of stored shares; what is to be said goes
//! into a list of [`ToMiner`], in order. So any sequence of messages can be tried on it in a test.
//!
//! Channels of a miner that does not require standard jobs belong to one group channel, and a job for all of them is one
//! message. `channels_sv2`'s `GroupChannel` is not used for that: it keeps jobs per connection, which here are the same for
//! the whole pool ([`super::jobs`]).

#[cfg(test)]
mod tests;
mod work;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use mining_sv2::{
    ERROR_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED as CAPACITY_EXHAUSTED,
    ERROR_CODE_OPEN_MINING_CHANNEL_EXTENDED_CHANNELS_NOT_SUPPORTED_FOR_STANDARD_JOBS as NO_EXTENDED,
    ERROR_CODE_OPEN_MINING_CHANNEL_INVALID_USER_IDENTITY as INVALID_IDENTITY,
    ERROR_CODE_SUBMIT_SHARES_DUPLICATE_SHARE as DUPLICATE_SHARE,
    ERROR_CODE_SUBMIT_SHARES_INVALID_CHANNEL_ID as SUBMIT_INVALID_CHANNEL,
    ERROR_CODE_UPDATE_CHANNEL_INVALID_CHANNEL_ID as UPDATE_INVALID_CHANNEL, OpenExtendedMiningChannelOwned,
    OpenExtendedMiningChannelSuccessOwned, OpenStandardMiningChannelOwned, OpenStandardMiningChannelSuccessOwned,
    UpdateChannelOwned,
};
use tokio::time::Instant;
use tracing::info;

use super::channel::{Asked, Channel};
use super::difficulty::hashes;
use super::floor::Floor;
use super::identity::{Identity, shortened};
use super::jobs::Jobs;
use super::messages::{ToMiner, target_of, wire_target};
use super::metrics::Counter;
use super::miners::{Entry, Kind};
use super::share::{Share, Unfit, ValidShare};
use crate::intake::Earned;
use crate::outbox::EnqueueError;

/// The outbox holds as many shares as it may; the miner may send this one again.
pub(crate) const CODE_OUTBOX_FULL: &str = "outbox-full";
/// The outbox can't write, or the pool stops; the miner may send this one again.
pub(crate) const CODE_NOT_STORED: &str = "not-stored";
/// More shares for one tip than can be told apart from repeated ones: the channel closes.
const REASON_EXHAUSTED: &str = "too-many-shares";
/// The miner's id of its group; those of all channels of the pool follow.
pub(super) const GROUP: u32 = 1;

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
    /// The miner's, for the log.
    address: SocketAddr,
    /// The miner wants a job of its own for each channel.
    standard_jobs: bool,
    open: BTreeMap<u32, Channel>,
    jobs: Option<Arc<Jobs>>,
    /// The future job that every channel has been told of.
    announced: Option<u32>,
    key_changes: Vec<KeyChange>,
}

/// A channel of a miner with a locking key was opened or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyChange {
    Opened([u8; 33], u32),
    Closed([u8; 33], u32),
}

impl Channels {
    /// None yet, for a connection that was set up with REQUIRES_STANDARD_JOBS or without.
    pub(crate) fn new(floor: Arc<Floor>, address: SocketAddr, standard_jobs: bool) -> Self {
        Self {
            floor,
            address,
            standard_jobs,
            open: BTreeMap::new(),
            jobs: None,
            announced: None,
            key_changes: Vec::new(),
        }
    }

    /// What has changed since the last call, in order.
    pub(crate) fn key_changes(&mut self) -> Vec<KeyChange> {
        std::mem::take(&mut self.key_changes)
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
            let prefix = self.floor.allocate_standard()?;
            let entry = self.entry(&asked, Kind::Standard, now);
            let id = entry.channel_id();
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
            let (prefix, rollable) = self.floor.allocate_extended(message.min_extranonce_size.into())?;
            let entry = self.entry(&asked, Kind::Extended, now);
            let id = entry.channel_id();
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
                work::refresh(channel, self.jobs.as_deref());
            }
            Err(code) => out.push(ToMiner::UpdateError { channel_id, code }),
        }
    }

    /// CloseChannel, for a channel or for the group and with it for all. Whether there was one.
    pub(crate) fn close(&mut self, channel_id: u32) -> bool {
        if channel_id == GROUP && !self.standard_jobs {
            let all: Vec<u32> = self.open.keys().copied().collect();
            return all.into_iter().filter(|id| self.remove(*id)).count() > 0;
        }
        self.remove(channel_id)
    }

    fn remove(&mut self, channel_id: u32) -> bool {
        let removed = self.open.remove(&channel_id);
        if let Some(key) = removed.as_ref().and_then(|channel| channel.key) {
            self.key_changes.push(KeyChange::Closed(key, channel_id));
        }
        removed.is_some()
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
                self.remove(channel_id);
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
    pub(crate) fn settle(&mut self, taken: Taken, stored: Result<Earned, EnqueueError>, now: Instant) -> Answer {
        let Taken {
            channel_id,
            sequence_number,
            share,
            ..
        } = taken;
        // A share that was stored before all the same is one that earns: others are not stored.
        let earned_quote = !matches!(stored, Ok(Earned::BelowMinimum | Earned::NoKey));
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
            (None, Some(channel)) => channel.entry.accepted(hashes(&share.target), earned_quote, now),
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

    /// What a miner asks for, if it may have it.
    fn asked(
        &self,
        user_identity: String,
        nominal_hashrate: f32,
        max_target: bitcoin::Target,
    ) -> Result<Asked, &'static str> {
        let identity = Identity::of(&user_identity).map_err(|error| {
            // A miner's software asks again and again, and anybody can: it must not fill the log.
            if self.floor.metrics.may_log("identity") {
                info!(address = %self.address, identity = shortened(&user_identity), "refused a channel: {error}");
            }
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
            place: self.floor.place()?,
        })
    }

    fn entry(&self, asked: &Asked, kind: Kind, now: Instant) -> Entry {
        let earns = asked.key.is_some() || self.floor.has_default_key;
        self.floor
            .miners
            .open(shortened(&asked.user_identity), kind, earns, now)
    }

    fn not_opened(&self, request_id: u32, code: &'static str, out: &mut Vec<ToMiner>) {
        self.floor.metrics.channel_refused(code);
        out.push(ToMiner::OpenError { request_id, code });
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

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
