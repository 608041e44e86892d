//! A miner that believes what it is told, and the world of three of them on one pool.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::Hash as _;
use bitcoin::{Target, block};
use channels_sv2::merkle_root::merkle_root_from_path;
use mining_sv2::{
    CloseChannelOwned, NewExtendedMiningJobOwned, OpenExtendedMiningChannelOwned, OpenStandardMiningChannelOwned,
    SetNewPrevHashOwned, SubmitSharesExtendedOwned, SubmitSharesStandard, UpdateChannelOwned,
};
use tokio::time::Instant;

use super::{Op, Outcome};
use crate::intake::Earned;
use crate::mining::channels::{Answer, Channels, GROUP, Submitted, Taken};
use crate::mining::difficulty::target_of_bits;
use crate::mining::floor::Floor;
use crate::mining::messages::{FromMiner, ToMiner, target_of};
use crate::mining::share::Share;
use crate::mining::testkit::{Chain, floor, header};
use crate::outbox::EnqueueError;

const KEYS: [&str; 3] = [
    "alice.rig",
    "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798.x",
    "02f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9",
];
/// Hashes a second that a miner may name; at 6,000 shares a minute some of 0 to 11 bits.
const NOMINAL: [f32; 4] = [0.0, 50.0, 1_000.0, 200_000.0];
/// Tries for a share of the hardest target here, 10 bits, before it counts as not found.
const TRIES: u32 = 40_000;

/// What a miner knows of one of its channels.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) target: Target,
    prefix: Vec<u8>,
    rollable: usize,
    extended: bool,
    roots: BTreeMap<u32, Job>,
    tip: Option<SetNewPrevHashOwned>,
    current: Option<u32>,
    nonce: u32,
}

#[derive(Debug, Clone)]
struct Job {
    version: u32,
    work: Work,
    min_ntime: Option<u32>,
    /// The easiest target that held while it was the job to mine.
    target: Option<Target>,
    /// Its tip is over.
    stale: bool,
}

#[derive(Debug, Clone)]
enum Work {
    Root([u8; 32]),
    Coinbase(NewExtendedMiningJobOwned),
}

/// A share that was found.
#[derive(Debug, Clone)]
pub(super) struct Solved {
    pub(super) channel_id: u32,
    pub(super) job_id: u32,
    pub(super) header: block::Header,
    extranonce: Vec<u8>,
    extended: bool,
}

impl Solved {
    fn hash(&self) -> [u8; 32] {
        self.header.block_hash().to_byte_array()
    }

    fn share(&self, sequence_number: u32) -> Share {
        let version = self.header.version.to_consensus() as u32;
        let (channel_id, job_id, nonce, ntime) = (self.channel_id, self.job_id, self.header.nonce, self.header.time);
        if self.extended {
            Share::Extended(SubmitSharesExtendedOwned {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce: self.extranonce.clone().try_into().unwrap(),
            })
        } else {
            Share::Standard(SubmitSharesStandard {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            })
        }
    }
}

/// A miner on one connection.
pub(super) struct Miner {
    pub(super) channels: Channels,
    pub(super) told: BTreeMap<u32, Told>,
    standard_jobs: bool,
    sequence: u32,
    used_ids: HashSet<u32>,
    /// Shares whose hash met what was told, and whether the pool has them.
    found: Vec<(Solved, bool)>,
}

impl Miner {
    pub(super) fn new(floor: &Arc<Floor>, standard_jobs: bool) -> Self {
        Self {
            channels: Channels::new(Arc::clone(floor), SocketAddr::from(([127, 0, 0, 1], 1)), standard_jobs),
            told: BTreeMap::new(),
            standard_jobs,
            sequence: 0,
            used_ids: HashSet::new(),
            found: Vec::new(),
        }
    }

    /// Something happens at the pool; the miner hears what it says.
    pub(super) fn tell<T>(&mut self, happens: impl FnOnce(&mut Channels, &mut Vec<ToMiner>) -> T) -> T {
        let mut out = Vec::new();
        let result = happens(&mut self.channels, &mut out);
        for message in out {
            let frame = message.to_frame().expect("every message can be encoded");
            assert!(frame.payload.len() < 60_000);
            self.hear(message);
        }
        result
    }

    fn hear(&mut self, message: ToMiner) {
        match message {
            ToMiner::StandardOpened(m) => {
                let prefix = m.extranonce_prefix.to_owned_bytes();
                self.opened(m.channel_id, target_of(&m.target), prefix, 0, false);
            }
            ToMiner::ExtendedOpened(m) => {
                assert!(!self.standard_jobs);
                let prefix = m.extranonce_prefix.to_owned_bytes();
                self.opened(
                    m.channel_id,
                    target_of(&m.target),
                    prefix,
                    m.extranonce_size.into(),
                    true,
                );
            }
            ToMiner::Job(m) => {
                let min_ntime = m.min_ntime.as_ref().copied();
                let work = Work::Root(m.merkle_root.to_array());
                self.job(m.channel_id, m.job_id, m.version, work, min_ntime);
            }
            ToMiner::ExtendedJob(m) => {
                assert!(
                    !self.standard_jobs,
                    "a job of a group for a miner that requires its own"
                );
                let min_ntime = m.min_ntime.as_ref().copied();
                for id in self.addressed(m.channel_id) {
                    self.job(id, m.job_id, m.version, Work::Coinbase(m.clone()), min_ntime);
                }
            }
            ToMiner::PrevHash(m) => {
                for id in self.addressed(m.channel_id) {
                    self.tip(id, &m);
                }
            }
            ToMiner::SetTarget { channel_id, target } => {
                let told = self.told.get_mut(&channel_id).expect("a target for an open channel");
                told.target = target;
                if let Some(job) = told.current.and_then(|id| told.roots.get_mut(&id)) {
                    job.target = job.target.max(Some(target));
                }
            }
            ToMiner::Close { channel_id, .. } => {
                assert!(self.told.remove(&channel_id).is_some());
            }
            ToMiner::OpenError { .. } | ToMiner::UpdateError { .. } => {}
            ToMiner::Accepted(_) | ToMiner::Refused { .. } | ToMiner::CustomJobError { .. } => {
                unreachable!("the session says this")
            }
        }
    }

    fn addressed(&self, channel_id: u32) -> Vec<u32> {
        if channel_id == GROUP {
            assert!(!self.standard_jobs);
            return self.told.keys().copied().collect();
        }
        assert!(
            self.told.contains_key(&channel_id),
            "a message for a channel that is not open"
        );
        vec![channel_id]
    }

    fn opened(&mut self, id: u32, target: Target, prefix: Vec<u8>, rollable: usize, extended: bool) {
        assert!(self.used_ids.insert(id) && id != GROUP, "an id is not used again");
        let told = Told {
            target,
            prefix,
            rollable,
            extended,
            roots: BTreeMap::new(),
            tip: None,
            current: None,
            nonce: 0,
        };
        self.told.insert(id, told);
    }

    fn job(&mut self, channel_id: u32, job_id: u32, version: u32, work: Work, min_ntime: Option<u32>) {
        let told = self.told.get_mut(&channel_id).expect("a job for an open channel");
        let job = Job {
            version,
            work,
            min_ntime,
            target: min_ntime.map(|_| told.target),
            stale: false,
        };
        if min_ntime.is_some() {
            assert!(told.tip.is_some(), "a tip before a job for it");
            told.current = Some(job_id);
        } else {
            let known = told.roots.get(&job_id);
            let twice = self.standard_jobs && known.is_some();
            assert!(!twice, "a miner with jobs of its own is told of each once");
            assert!(
                known.is_none_or(|job| job.target.is_none() && !job.stale),
                "a future job that was mined"
            );
        }
        told.roots.insert(job_id, job);
    }

    fn tip(&mut self, channel_id: u32, tip: &SetNewPrevHashOwned) {
        let told = self.told.get_mut(&channel_id).expect("a tip for an open channel");
        let target = told.target;
        for (id, job) in &mut told.roots {
            if *id == tip.job_id {
                assert!(job.min_ntime.is_none(), "the tip's job was a future job");
                (job.min_ntime, job.target) = (Some(tip.min_ntime), Some(target));
            } else {
                job.stale = true;
            }
        }
        assert!(told.roots.contains_key(&tip.job_id), "a job before its tip");
        told.current = Some(tip.job_id);
        told.tip = Some(tip.clone());
    }

    pub(super) fn open(&mut self, extended: bool, identity: &str, nominal_hash_rate: f32, now: Instant) {
        let user_identity = identity.as_bytes().to_vec().try_into().unwrap();
        let (request_id, max_target) = (1, [0xFF; 32].into());
        self.tell(|channels, out| {
            if extended {
                let message = OpenExtendedMiningChannelOwned {
                    request_id,
                    user_identity,
                    nominal_hash_rate,
                    max_target,
                    min_extranonce_size: 4,
                };
                channels.open_extended(&message, now, out);
            } else {
                let message = OpenStandardMiningChannelOwned {
                    request_id,
                    user_identity,
                    nominal_hash_rate,
                    max_target,
                };
                channels.open_standard(&message, now, out);
            }
        });
    }

    /// The next share for the job at hand that meets the channel's target.
    pub(super) fn solve(&mut self, channel_id: u32, tries: u32) -> Option<Solved> {
        let target = self.told.get(&channel_id)?.target;
        let job = self.told.get(&channel_id)?.current?;
        self.search(channel_id, job, tries, |hash| hash <= target)
    }

    /// A share above `hard` that meets `easy`.
    pub(super) fn solve_between(&mut self, channel_id: u32, hard: Target, easy: Target) -> Solved {
        let job = self.told[&channel_id].current.unwrap();
        self.search(channel_id, job, 1 << 20, |hash| hash > hard && hash <= easy)
            .unwrap()
    }

    fn search(&mut self, channel_id: u32, job_id: u32, tries: u32, fits: impl Fn(Target) -> bool) -> Option<Solved> {
        let told = self.told.get_mut(&channel_id)?;
        let (tip, job) = (told.tip.clone()?, told.roots.get(&job_id)?);
        let extranonce = vec![0x55; told.rollable];
        let root = match &job.work {
            Work::Root(root) => *root,
            Work::Coinbase(job) => merkle_root_from_path(
                job.coinbase_tx_prefix.as_bytes(),
                job.coinbase_tx_suffix.as_bytes(),
                &[&*told.prefix, &extranonce].concat(),
                job.merkle_path.as_slice(),
            )
            .unwrap(),
        };
        let time = job.min_ntime.unwrap_or(tip.min_ntime);
        for _ in 0..tries {
            told.nonce += 1;
            let header = header(job.version, tip.prev_hash.to_array(), root, time, tip.nbits, told.nonce);
            if fits(Target::from_le_bytes(header.block_hash().to_byte_array())) {
                return Some(Solved {
                    channel_id,
                    job_id,
                    header,
                    extranonce,
                    extended: told.extended,
                });
            }
        }
        None
    }

    pub(super) fn submit(&mut self, solved: &Solved) -> Submitted {
        self.sequence += 1;
        let share = solved.share(self.sequence);
        self.tell(|channels, out| channels.submit(share, out))
    }
}

/// Three miners, the second of which requires standard jobs.
pub(super) struct World {
    floor: Arc<Floor>,
    chain: Chain,
    miners: Vec<Miner>,
    now: Instant,
    /// Every hash that the pool said was stored.
    stored: HashMap<[u8; 32], u32>,
}

impl World {
    pub(super) fn new() -> Self {
        let floor = floor(0, 10, 6_000.0, 8);
        Self {
            chain: Chain::new(&floor, 0x1B00_FFFF),
            miners: [false, true, false].map(|standard| Miner::new(&floor, standard)).into(),
            floor,
            now: Instant::now(),
            stored: HashMap::new(),
        }
    }

    pub(super) fn step(&mut self, op: Op) {
        let now = self.now;
        match op {
            Op::Open {
                miner,
                extended,
                nominal,
                key,
            } => {
                let identity = KEYS[usize::from(key)];
                self.miners[miner].open(extended, identity, NOMINAL[usize::from(nominal)], now);
                self.prefixes_differ();
            }
            Op::Update {
                miner,
                channel,
                nominal,
                bits,
            } => {
                let channel_id = self.channel(miner, channel).unwrap_or(u32::MAX);
                let message = UpdateChannelOwned {
                    channel_id,
                    nominal_hash_rate: NOMINAL[usize::from(nominal)],
                    maximum_target: target_of_bits(bits.into()).to_le_bytes().into(),
                };
                let max = target_of_bits(bits.into());
                self.miners[miner].tell(|channels, out| channels.update(&message, now, out));
                if let Some(told) = self.miners[miner].told.get(&channel_id) {
                    assert!(told.target <= max, "a target beyond what the miner can do");
                }
            }
            Op::Close { miner, channel } => self.close(miner, channel),
            Op::Valid {
                miner,
                channel,
                outcome,
            } => self.valid(miner, channel, outcome),
            Op::Again { miner, share, outcome } => self.again(miner, share, outcome),
            Op::Old { miner, channel, job } => self.old(miner, channel, job),
            Op::Wrong { miner, channel, how } => self.wrong(miner, channel, how),
            Op::Leave { miner } => {
                let standard_jobs = self.miners[miner].standard_jobs;
                self.miners[miner] = Miner::new(&self.floor, standard_jobs);
            }
            Op::Newer => self.chain.newer(),
            Op::Future => self.chain.future(),
            Op::Advance { surprising } => self.chain.advance(surprising),
            Op::Work { miner } => {
                let jobs = self.chain.jobs();
                let current = jobs.current.id();
                let miner = &mut self.miners[miner];
                miner.tell(|channels, out| channels.work(jobs, out));
                assert!(
                    miner.told.values().all(|told| told.current == Some(current)),
                    "all mine what is current"
                );
            }
            Op::Time { millis } => {
                self.now += Duration::from_millis(millis.into());
                let now = self.now;
                for miner in &mut self.miners {
                    miner.tell(|channels, out| channels.retarget(now, out));
                }
            }
        }
        let open: usize = self.miners.iter().map(|miner| miner.told.len()).sum();
        assert_eq!(
            self.floor.miners.view(0, self.now).channels,
            open as u64,
            "the page lists what is open"
        );
    }

    fn channel(&self, miner: usize, channel: usize) -> Option<u32> {
        self.miners[miner].told.keys().nth(channel).copied()
    }

    fn prefixes_differ(&self) {
        let all: Vec<&Told> = self.miners.iter().flat_map(|miner| miner.told.values()).collect();
        for (n, a) in all.iter().enumerate() {
            for b in &all[n + 1..] {
                let shorter = a.prefix.len().min(b.prefix.len());
                assert_ne!(a.prefix[..shorter], b.prefix[..shorter], "two channels hash the same");
            }
        }
    }

    fn close(&mut self, miner: usize, channel: usize) {
        let channel_id = self.channel(miner, channel).unwrap_or(u32::MAX);
        let message = FromMiner::Close(CloseChannelOwned {
            channel_id,
            reason_code: Vec::new().try_into().unwrap(),
        });
        let FromMiner::Close(message) = message else { return };
        let miner = &mut self.miners[miner];
        let was_open = miner.told.remove(&channel_id).is_some();
        assert_eq!(miner.channels.close(message.channel_id), was_open);
    }

    fn valid(&mut self, miner: usize, channel: usize, outcome: Outcome) {
        let Some(id) = self.channel(miner, channel) else { return };
        let Some(solved) = self.miners[miner].solve(id, TRIES) else {
            return;
        };
        let Submitted::Store(taken) = self.miners[miner].submit(&solved) else {
            panic!("a share that meets what was told is refused");
        };
        self.settle(miner, solved, *taken, outcome);
    }

    fn settle(&mut self, miner: usize, solved: Solved, taken: Taken, outcome: Outcome) {
        assert_eq!(taken.share.hash, solved.hash());
        assert!(!self.stored.contains_key(&solved.hash()), "a share is stored once");
        let again = taken.share.maybe_stored;
        let stored = match outcome {
            // It failed before, and was in the outbox all the same.
            Outcome::Stored if again => Err(EnqueueError::Duplicate),
            Outcome::Stored => Ok(Earned::Quote { amount: 1 }),
            Outcome::Full => Err(EnqueueError::Full { max_waiting: 1 }),
            Outcome::Failed => Err(EnqueueError::Closed),
        };
        let miner = &mut self.miners[miner];
        let answer: Answer = miner.channels.settle(taken, stored, self.now);
        let is_stored = matches!(outcome, Outcome::Stored);
        assert_eq!(answer.verdict.is_ok(), is_stored);
        if is_stored {
            self.stored.insert(solved.hash(), solved.channel_id);
        }
        let now = self.now;
        miner.tell(|channels, out| channels.retarget_one(solved.channel_id, now, out));
        miner.found.push((solved, is_stored));
    }

    /// A share that was sent before: taken if it could not be stored then and is not too old, never otherwise.
    fn again(&mut self, miner: usize, share: usize, outcome: Outcome) {
        let index = share.checked_rem(self.miners[miner].found.len());
        let Some(index) = index else { return };
        let (solved, stored) = self.miners[miner].found[index].clone();
        let told = self.miners[miner].told.get(&solved.channel_id);
        let live = told.is_some_and(|told| told.roots.get(&solved.job_id).is_some_and(|job| !job.stale));
        match self.miners[miner].submit(&solved) {
            Submitted::Store(taken) => {
                assert!(live && !stored, "a share is taken twice");
                self.miners[miner].found.remove(index);
                self.settle(miner, solved, *taken, outcome);
            }
            Submitted::Answer(answer) => {
                let code = answer.verdict.unwrap_err();
                if !self.miners[miner].told.contains_key(&solved.channel_id) {
                    assert_eq!(code, "invalid-channel-id");
                } else if live && stored {
                    assert!(["duplicate-share", "invalid-job-id"].contains(&code), "{code}");
                } else if !live {
                    assert!(["stale-share", "invalid-job-id"].contains(&code), "{code}");
                } else {
                    // Jobs are remembered for a while only, and of the shares that could not be stored the last 32.
                    let unstored = self.miners[miner].found.iter().filter(|(_, stored)| !stored).count();
                    assert!(
                        code == "invalid-job-id" || unstored > 32,
                        "a share that was not stored may not come again"
                    );
                }
            }
        }
    }

    /// A share for any job that was ever told.
    fn old(&mut self, miner: usize, channel: usize, job: usize) {
        let Some(id) = self.channel(miner, channel) else { return };
        let jobs = &self.miners[miner].told[&id].roots;
        let Some(job_id) = jobs.keys().nth(job).copied() else {
            return;
        };
        let (stale, target, future) = {
            let job = &jobs[&job_id];
            (job.stale, job.target, job.min_ntime.is_none())
        };
        let any = target.unwrap_or(target_of_bits(0));
        let Some(solved) = self.miners[miner].search(id, job_id, TRIES, |hash| hash <= any) else {
            return;
        };
        match self.miners[miner].submit(&solved) {
            Submitted::Store(taken) => {
                assert!(!stale && !future, "a share for a tip that is over or not yet there");
                self.settle(miner, solved, *taken, Outcome::Stored);
            }
            Submitted::Answer(answer) => {
                let code = answer.verdict.unwrap_err();
                // Only the last few jobs of a tip, and of the one before, are remembered.
                let expected = if stale {
                    ["stale-share", "invalid-job-id"]
                } else {
                    ["invalid-job-id"; 2]
                };
                assert!(expected.contains(&code), "{code} for stale {stale}");
                let current = self.miners[miner].told[&id].current;
                assert_ne!(current, Some(job_id), "a share for the current job is refused");
            }
        }
    }

    /// What no miner should send.
    fn wrong(&mut self, miner: usize, channel: usize, how: u8) {
        let Some(id) = self.channel(miner, channel) else { return };
        let Some(mut solved) = self.miners[miner].solve(id, TRIES) else {
            return;
        };
        let target = self.miners[miner].told[&id].roots[&solved.job_id].target.unwrap();
        match how {
            0 => solved.channel_id = u32::MAX,
            1 => solved.job_id = 77_777,
            2 => solved.header.time -= 1,
            3 => solved.header.time += 7_201,
            4 => solved.header.version = block::Version::from_consensus(1),
            5 => solved.extended = !solved.extended,
            6 => solved.extranonce.push(1),
            _ => match self.miners[miner].search(id, solved.job_id, 64, |hash| hash > target) {
                Some(low) => solved = low,
                None => return,
            },
        }
        // Only extended shares have an extranonce to be wrong.
        if how == 6 && !solved.extended {
            return;
        }
        let Submitted::Answer(answer) = self.miners[miner].submit(&solved) else {
            panic!("a wrong share is taken: {how}");
        };
        assert!(answer.verdict.is_err());
    }
}
