//! Any sequence of messages, work, time and trouble with the outbox, against a miner that believes what it is told.

mod model;

use std::collections::HashSet;
use std::time::Duration;

use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash as _;
use bitcoin::{CompactTarget, Target, Transaction};
use channels_sv2::merkle_root::merkle_root_from_path_;
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::mining::share::Share;
use crate::mining::testkit::{Chain, floor, header};
use model::{Miner, World};

/// What can happen. Indexes choose among what there is.
#[derive(Debug, Clone)]
enum Op {
    Open {
        miner: usize,
        extended: bool,
        nominal: u8,
        key: u8,
    },
    Update {
        miner: usize,
        channel: usize,
        nominal: u8,
        bits: u8,
    },
    Close {
        miner: usize,
        channel: usize,
    },
    Valid {
        miner: usize,
        channel: usize,
        outcome: Outcome,
    },
    Again {
        miner: usize,
        share: usize,
        outcome: Outcome,
    },
    Old {
        miner: usize,
        channel: usize,
        job: usize,
    },
    Wrong {
        miner: usize,
        channel: usize,
        how: u8,
    },
    Leave {
        miner: usize,
    },
    Newer,
    Future,
    Advance {
        surprising: bool,
    },
    Work {
        miner: usize,
    },
    Time {
        millis: u16,
    },
}

/// What the outbox makes of a share.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Stored,
    Full,
    Failed,
}

fn op() -> impl Strategy<Value = Op> {
    let miner = 0..3usize;
    let channel = 0..4usize;
    let outcome = prop_oneof![6 => Just(Outcome::Stored), 1 => Just(Outcome::Full), 1 => Just(Outcome::Failed)];
    prop_oneof![
        3 => (miner.clone(), any::<bool>(), 0..4u8, 0..3u8).prop_map(|(miner, extended, nominal, key)| Op::Open { miner, extended, nominal, key }),
        2 => (miner.clone(), channel.clone(), 0..4u8, 0..12u8).prop_map(|(miner, channel, nominal, bits)| Op::Update { miner, channel, nominal, bits }),
        1 => (miner.clone(), channel.clone()).prop_map(|(miner, channel)| Op::Close { miner, channel }),
        12 => (miner.clone(), channel.clone(), outcome.clone()).prop_map(|(miner, channel, outcome)| Op::Valid { miner, channel, outcome }),
        4 => (miner.clone(), 0..20usize, outcome).prop_map(|(miner, share, outcome)| Op::Again { miner, share, outcome }),
        2 => (miner.clone(), channel.clone(), 0..9usize).prop_map(|(miner, channel, job)| Op::Old { miner, channel, job }),
        2 => (miner.clone(), channel, 0..8u8).prop_map(|(miner, channel, how)| Op::Wrong { miner, channel, how }),
        1 => miner.clone().prop_map(|miner| Op::Leave { miner }),
        2 => Just(Op::Newer),
        2 => Just(Op::Future),
        2 => any::<bool>().prop_map(|surprising| Op::Advance { surprising }),
        4 => miner.prop_map(|miner| Op::Work { miner }),
        3 => any::<u16>().prop_map(|millis| Op::Time { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// [`World`] asserts, whatever happens: a share that meets the target that its miner was told for the job is taken;
    /// nothing else is; none is taken twice unless the pool said that it could not be stored; ids are not used again;
    /// no two channels hash the same; a job is known before its tip; and other miners notice nothing.
    #[test]
    fn whatever_miners_say_shares_are_judged_by_what_they_were_told(ops in prop::collection::vec(op(), 1..120)) {
        let mut world = World::new();
        for op in ops {
            world.step(op);
        }
    }
}

#[test]
fn a_block_goes_back_with_the_coinbase_that_its_header_commits_to() {
    // Two hashes a block.
    const EASY: u32 = 0x207F_FFFF;
    let floor = floor(0, 8, 60_000.0, 10);
    let mut chain = Chain::new(&floor, EASY);
    for standard_jobs in [true, false] {
        let mut miner = Miner::new(&floor, standard_jobs);
        let jobs = chain.jobs();
        miner.tell(|channels, out| channels.work(jobs, out));
        for extended in [false, true] {
            if extended && standard_jobs {
                continue;
            }
            miner.open(extended, "alice", 0.0, Instant::now());
            let id = *miner.told.keys().last().unwrap();
            let mut solved = miner.solve(id, 4096).unwrap();
            while !Target::from_compact(CompactTarget::from_consensus(EASY)).is_met_by(solved.header.block_hash()) {
                solved = miner.solve(id, 4096).unwrap();
            }
            let Submitted::Store(taken) = miner.submit(&solved) else {
                panic!("a block is a share");
            };
            let solution = taken.share.solution.unwrap();
            let coinbase: Transaction = deserialize(solution.coinbase_tx.as_bytes()).unwrap();
            let path = [[solution.template_id as u8; 32]];
            let root = merkle_root_from_path_(coinbase.compute_txid().to_byte_array(), &path);
            let rebuilt = header(
                solution.version,
                solved.header.prev_blockhash.to_byte_array(),
                root,
                solution.header_timestamp,
                EASY,
                solution.header_nonce,
            );
            assert_eq!(rebuilt.block_hash().to_byte_array(), taken.share.hash);
            assert!(!coinbase.input[0].witness.is_empty());
        }
    }
}

#[test]
fn a_target_that_becomes_easier_holds_for_the_job_at_hand_and_one_that_becomes_harder_does_not() {
    let floor = floor(2, 12, 60.0, 10);
    let mut chain = Chain::new(&floor, 0x1B00_FFFF);
    let mut miner = Miner::new(&floor, true);
    let jobs = chain.jobs();
    miner.tell(|channels, out| channels.work(jobs, out));
    let mut now = Instant::now();
    // 2^10 hashes a second, one share a second.
    miner.open(false, "alice", 1024.0, now);
    let id = *miner.told.keys().last().unwrap();
    let start = miner.told[&id].target;
    assert!(crate::mining::difficulty::hashes(&start) > 1000.0);
    // None comes: easier.
    for _ in 0..4 {
        now += Duration::from_secs(5);
        miner.tell(|channels, out| channels.retarget(now, out));
    }
    let easier = miner.told[&id].target;
    assert!(easier > start);
    let solved = miner.solve_between(id, start, easier);
    assert!(matches!(miner.submit(&solved), Submitted::Store(_)));
    // Many come at once: harder, and the job at hand stays.
    let mut shares = Vec::new();
    while miner.told[&id].target == easier {
        let solved = miner.solve_between(id, start, easier);
        assert!(matches!(miner.submit(&solved), Submitted::Store(_)));
        miner.tell(|channels, out| channels.retarget_one(id, now + Duration::from_millis(100), out));
        shares.push(solved);
    }
    assert!(shares.len() < 20);
    let harder = miner.told[&id].target;
    let solved = miner.solve_between(id, harder, easier);
    assert!(matches!(miner.submit(&solved), Submitted::Store(_)));
    chain.newer();
    let jobs = chain.jobs();
    miner.tell(|channels, out| channels.work(jobs, out));
    let solved = miner.solve_between(id, harder, easier);
    let Submitted::Answer(answer) = miner.submit(&solved) else {
        panic!("the new job has the new target");
    };
    assert_eq!(answer.verdict, Err("difficulty-too-low"));
}

#[test]
fn a_channel_with_too_many_shares_for_one_tip_closes_and_the_others_stay() {
    // 4,096 shares are what channels_sv2 tells apart at such a rate.
    let floor = floor(0, 0, 0.1, 10);
    let mut chain = Chain::new(&floor, 0x1B00_FFFF);
    let mut miner = Miner::new(&floor, true);
    let jobs = chain.jobs();
    miner.tell(|channels, out| channels.work(jobs, out));
    miner.open(false, "alice", 1.0, Instant::now());
    miner.open(false, "bob", 1.0, Instant::now());
    let ids: Vec<u32> = miner.told.keys().copied().collect();
    let mut taken = 0;
    let answer = loop {
        let solved = miner.solve(ids[0], 1).unwrap();
        match miner.submit(&solved) {
            Submitted::Store(_) => taken += 1,
            Submitted::Answer(answer) => break answer,
        }
    };
    assert_eq!((taken, answer.verdict), (4096, Err("invalid-channel-id")));
    assert_eq!(miner.told.keys().copied().collect::<Vec<_>>(), [ids[1]]);
    let solved = miner.solve(ids[1], 1).unwrap();
    assert!(matches!(miner.submit(&solved), Submitted::Store(_)));
}

#[test]
fn difficulty_below_one_adds_up() {
    let floor = floor(30, 30, 60.0, 10);
    let mut miner = Miner::new(&floor, true);
    miner.open(false, "alice", 1.0, Instant::now());
    let id = *miner.told.keys().last().unwrap();
    let told: Vec<u64> = (0..8).map(|_| miner.channels.told(id, 0.25)).collect();
    assert_eq!(told, [0, 0, 0, 1, 0, 0, 0, 1]);
    assert_eq!(miner.channels.told(99, 2.5), 2);
}

#[test]
fn keys_are_told_as_channels_come_and_go() {
    const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    let floor = floor(2, 8, 60.0, 10);
    let mut miner = Miner::new(&floor, false);
    for identity in [KEY, "alice", &format!("{KEY}.b")] {
        miner.open(true, identity, 1.0, Instant::now());
    }
    let key = Identity::of(KEY).unwrap().key().unwrap();
    assert_eq!(
        miner.channels.key_changes(),
        [KeyChange::Opened(key, 2), KeyChange::Opened(key, 4)]
    );
    assert!(miner.channels.close(GROUP));
    assert_eq!(
        miner.channels.key_changes(),
        [KeyChange::Closed(key, 2), KeyChange::Closed(key, 4)]
    );
    assert!(!miner.channels.close(GROUP) && !miner.channels.close(2));
    let mut seen = HashSet::new();
    miner.open(true, KEY, 1.0, Instant::now());
    assert!(miner.told.keys().all(|id| seen.insert(*id)) && seen.contains(&5));
    // What is none of the kinds of shares that a channel takes is refused, too.
    let share = Share::Standard(mining_sv2::SubmitSharesStandard {
        channel_id: 5,
        sequence_number: 1,
        job_id: 1,
        nonce: 0,
        ntime: 0,
        version: 0,
    });
    let Submitted::Answer(answer) = miner.channels.submit(share, &mut Vec::new()) else {
        panic!("an extended channel takes extended shares");
    };
    assert_eq!(answer.verdict, Err("invalid-share"));
}
