use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const ID: u32 = 7;
const GROUP: u32 = 3;

fn target(front: u8) -> Target {
    let mut bytes = [0xff; 32];
    bytes[0] = front;
    Target::from_be_bytes(bytes)
}

fn opened() -> Opened {
    Opened {
        request_id: 1,
        channel: ID,
        group: GROUP,
        target: target(1),
    }
}

fn job(id: u32, min_ntime: Option<u32>) -> ToChannel {
    ToChannel::Job(NewJob {
        id,
        min_ntime,
        version: 0x2000_0000 + id,
        merkle_root: [u8::try_from(id).unwrap(); 32],
    })
}

fn prev_hash(job: u32, hash: u8, min_ntime: u32) -> ToChannel {
    ToChannel::PrevHash(PrevHash {
        job,
        hash: [hash; 32],
        min_ntime,
        bits: 0x1d00_ffff,
    })
}

/// A share of this job, with the nonce and time that were searched first.
fn share(job: &Job) -> Share {
    Share {
        job: job.id,
        header: job.header,
        header_hash: [0; 32],
        leading_zero_bits: 0,
        work: job.target.to_work(),
    }
}

#[test]
fn a_future_job_begins_with_its_prev_hash() {
    let (mut channel, now) = (Channel::new(opened(), 40, 5), Instant::now());
    assert_eq!(channel.apply(ID, job(1, None), now), Change::Nothing);
    assert_eq!(channel.apply(ID, job(2, None), now), Change::Nothing);
    assert_eq!(channel.job(now), None);
    assert_eq!(channel.apply(ID, prev_hash(2, 9, 1000), now), Change::Work);
    let work = channel.job(now).unwrap();
    assert_eq!((work.id, work.target, work.last_time), (40, target(1), 1000));
    assert_eq!(work.header.version, Version::from_consensus(0x2000_0002));
    assert_eq!(work.header.prev_blockhash.to_byte_array(), [9; 32]);
    assert_eq!(work.header.merkle_root.to_byte_array(), [2; 32]);
    assert_eq!((work.header.time, work.header.bits.to_consensus()), (1000, 0x1d00_ffff));

    let submission = channel.submit(&share(&work)).unwrap();
    assert_eq!((submission.channel_id, submission.job_id), (ID, 2));
    assert_eq!((submission.nonce, submission.ntime), (work.header.nonce, 1000));
    assert_eq!((submission.version, submission.sequence_number), (0x2000_0002, 0));
    assert_eq!(channel.submit(&share(&work)).unwrap().sequence_number, 1);
    // The other one was for this tip too, or for none.
    assert_eq!(channel.apply(ID, prev_hash(1, 8, 1001), now), Change::Work);
    assert_eq!(channel.job(now), None);
}

#[test]
fn a_new_tip_leaves_no_share_of_the_old_one() {
    let (mut channel, now) = (Channel::new(opened(), 0, 5), Instant::now());
    channel.apply(ID, job(1, None), now);
    channel.apply(ID, prev_hash(1, 9, 1000), now);
    let first = channel.job(now).unwrap();
    channel.apply(ID, job(2, Some(1000)), now);
    let second = channel.job(now).unwrap();
    assert_eq!(channel.submit(&share(&first)).unwrap().job_id, 1);
    assert_eq!(channel.submit(&share(&second)).unwrap().job_id, 2);
    // The pool uses a number again.
    channel.apply(ID, job(1, None), now);
    channel.apply(ID, prev_hash(1, 8, 1000), now);
    assert!(channel.submit(&share(&first)).is_none());
    assert!(channel.submit(&share(&second)).is_none());
    let third = channel.job(now).unwrap();
    assert_eq!(channel.submit(&share(&third)).unwrap().job_id, 1);
    assert_eq!(channel.next_number(), 3);
}

#[test]
fn a_target_is_for_jobs_to_come_and_for_future_ones_that_are_here() {
    let (mut channel, now) = (Channel::new(opened(), 0, 5), Instant::now());
    channel.apply(ID, job(1, None), now);
    channel.apply(ID, job(2, None), now);
    channel.apply(ID, prev_hash(1, 9, 1000), now);
    channel.apply(ID, job(3, None), now);
    channel.apply(ID, ToChannel::Target(target(2)), now);
    let later = now + Duration::from_secs(1);
    assert_eq!(channel.job(later).unwrap().target, target(1));
    channel.apply(ID, prev_hash(3, 8, 1000), later);
    assert_eq!(channel.job(later).unwrap().target, target(2));
    channel.apply(GROUP, ToChannel::Target(target(3)), now);
    channel.apply(ID, job(4, Some(1000)), later);
    assert_eq!(channel.job(later).unwrap().target, target(3));
}

#[test]
fn time_goes_on_with_the_clock_and_no_further_than_pools_accept() {
    let (mut channel, start) = (Channel::new(opened(), 0, 5), Instant::now());
    channel.apply(ID, job(1, None), start);
    channel.apply(ID, prev_hash(1, 9, 1000), start);
    let at = |seconds| start + Duration::from_millis(seconds);
    let first = channel.job(at(0)).unwrap();
    assert!(Arc::ptr_eq(&first, &channel.job(at(999)).unwrap()));
    let second = channel.job(at(1000)).unwrap();
    assert_eq!(
        (second.header.time, second.last_time, second.id),
        (1001, 1001, first.id)
    );
    assert_ne!(second.header.nonce, first.header.nonce);
    // The tip said again is the same tip.
    channel.apply(ID, job(1, None), at(5000));
    channel.apply(ID, prev_hash(1, 9, 1000), at(5000));
    assert_eq!(channel.job(at(6000)).unwrap().header.time, 1006);
    assert_eq!(channel.job(at(9_000_000)).unwrap().header.time, 1000 + MAX_ROLL);
    // A job may begin later than its tip, and then has its own two hours.
    channel.apply(ID, job(2, Some(5000)), at(7000));
    assert_eq!(channel.job(at(8000)).unwrap().header.time, 5000);
    assert_eq!(channel.job(at(90_000_000)).unwrap().header.time, 5000 + MAX_ROLL);
}

#[test]
fn the_same_work_under_another_number_is_not_searched_twice() {
    let (mut channel, now) = (Channel::new(opened(), 0, 5), Instant::now());
    channel.apply(ID, job(1, None), now);
    channel.apply(ID, prev_hash(1, 9, 1000), now);
    let first = channel.job(now).unwrap();
    channel.apply(ID, ToChannel::Target(target(2)), now);
    let ToChannel::Job(again) = job(1, Some(1000)) else {
        unreachable!()
    };
    channel.apply(ID, ToChannel::Job(NewJob { id: 99, ..again }), now);
    assert!(Arc::ptr_eq(&first, &channel.job(now).unwrap()));
    assert_eq!(channel.submit(&share(&first)).unwrap().job_id, 1);
    let next = channel.job(now + Duration::from_secs(1)).unwrap();
    assert_eq!((next.header.time, next.target), (1001, target(2)));
    assert_eq!(channel.submit(&share(&next)).unwrap().job_id, 99);
}

#[test]
fn only_what_is_addressed_to_the_channel_or_its_group_counts() {
    let (mut channel, now) = (Channel::new(opened(), 0, 5), Instant::now());
    channel.apply(ID, job(1, None), now);
    assert_eq!(channel.apply(ID + 1, prev_hash(1, 9, 1000), now), Change::Nothing);
    assert_eq!(channel.apply(GROUP, prev_hash(1, 9, 1000), now), Change::Work);
    let closed = ToChannel::Closed { reason: "x".to_owned() };
    assert_eq!(channel.apply(ID + 1, closed.clone(), now), Change::Nothing);
    channel.regroup(50, &[ID + 1]);
    assert_eq!(channel.apply(50, closed.clone(), now), Change::Nothing);
    channel.regroup(50, &[1, ID]);
    assert_eq!(channel.apply(GROUP, closed.clone(), now), Change::Nothing);
    assert_eq!(channel.apply(50, closed, now), Change::Closed("x".to_owned()));
}

#[test]
fn answers_are_counted_as_far_as_they_were_asked_for() {
    let (mut channel, now) = (Channel::new(opened(), 0, 5), Instant::now());
    channel.apply(ID, job(1, None), now);
    channel.apply(ID, prev_hash(1, 9, 1000), now);
    let work = channel.job(now).unwrap();
    let refused = ToChannel::Refused {
        sequence_number: 0,
        code: "stale-share".to_owned(),
    };
    assert_eq!(channel.apply(ID, refused.clone(), now), Change::Nothing);
    for _ in 0..3 {
        channel.submit(&share(&work)).unwrap();
    }
    assert_eq!(channel.unanswered(), 3);
    assert_eq!(
        channel.apply(ID, refused, now),
        Change::Refused("stale-share".to_owned())
    );
    let accepted = ToChannel::Accepted { count: u32::MAX };
    assert_eq!(channel.apply(ID, accepted, now), Change::Accepted(2));
    assert_eq!(channel.unanswered(), 0);
}

#[test]
fn a_share_that_the_pool_could_not_store_is_sent_again_under_a_new_number_while_the_tip_stays() {
    let (mut channel, now) = (Channel::new(opened(), 0, 5), Instant::now());
    channel.apply(ID, job(1, None), now);
    channel.apply(ID, prev_hash(1, 9, 1000), now);
    let work = channel.job(now).unwrap();
    let first = channel.submit(&share(&work)).unwrap();
    let full = |sequence_number| ToChannel::Refused {
        sequence_number,
        code: "outbox-full".to_owned(),
    };
    channel.apply(ID, full(0), now);
    let at = channel.again_at().unwrap();
    assert!(channel.submit_again(now).is_none());
    let second = channel.submit_again(at).unwrap();
    assert_eq!((second.sequence_number, channel.unanswered()), (1, 1));
    assert_eq!(
        (second.job_id, second.nonce, second.ntime),
        (first.job_id, first.nonce, first.ntime)
    );
    channel.apply(ID, full(1), at);
    assert!(channel.again_at().unwrap() > at);
    channel.apply(ID, job(2, None), at);
    channel.apply(ID, prev_hash(2, 8, 1000), at);
    assert_eq!(channel.again_at(), None);
}

#[derive(Clone, Debug)]
enum Act {
    Say(u32, ToChannel),
    Pass(u64),
    Submit(usize),
    Again,
}

fn act() -> impl Strategy<Value = Act> {
    let addressed = prop_oneof![4 => Just(ID), 1 => Just(GROUP), 1 => Just(ID + 1)];
    let said = prop_oneof![
        (0..6_u32, prop::option::of(990..1010_u32)).prop_map(|(id, ntime)| job(id, ntime)),
        (0..6_u32, 0..3_u8, 990..1010_u32).prop_map(|(job, hash, ntime)| prev_hash(job, hash, ntime)),
        any::<u8>().prop_map(|front| ToChannel::Target(target(front))),
        any::<u32>().prop_map(|count| ToChannel::Accepted { count }),
        (0..20_u32, prop::sample::select(vec!["stale-share", "outbox-full"])).prop_map(|(sequence_number, code)| {
            ToChannel::Refused {
                sequence_number,
                code: code.to_owned(),
            }
        }),
    ];
    prop_oneof![
        4 => (addressed, said).prop_map(|(addressed, said)| Act::Say(addressed, said)),
        2 => (0..20_000_u64).prop_map(Act::Pass),
        2 => any::<usize>().prop_map(Act::Submit),
        1 => Just(Act::Again),
    ]
}

proptest! {
    /// Whatever a pool says in whatever order: what is searched is the pool's, within its times and not twice, and what
    /// is sent is a job of the present tip.
    #[test]
    fn any_sequence_of_messages_keeps_the_channel_sane(acts in prop::collection::vec(act(), 1..80)) {
        let start = Instant::now();
        let mut now = start;
        let mut channel = Channel::new(opened(), 100, 5);
        let mut tip: Option<(PrevHash, Instant)> = None;
        let (mut of_tip, mut begun) = (HashSet::new(), HashSet::new());
        let (mut searched, mut jobs): (Vec<Arc<Job>>, Vec<Arc<Job>>) = (Vec::new(), Vec::new());
        let (mut submitted, mut answered) = (0_u64, 0_u64);
        for act in acts {
            match act {
                Act::Pass(ms) => now += Duration::from_millis(ms),
                Act::Again => {
                    if let Some(sent) = channel.submit_again(now) {
                        submitted += 1;
                        prop_assert!(of_tip.contains(&sent.job_id));
                    }
                }
                Act::Submit(_) if jobs.is_empty() => {}
                Act::Submit(index) => {
                    let work = &jobs[index % jobs.len()];
                    if let Some(sent) = channel.submit(&share(work)) {
                        submitted += 1;
                        prop_assert!(of_tip.contains(&sent.job_id));
                        let (tip, _) = tip.unwrap();
                        prop_assert_eq!(work.header.prev_blockhash.to_byte_array(), tip.hash);
                        prop_assert_eq!(sent.version.cast_signed(), work.header.version.to_consensus());
                    }
                }
                Act::Say(addressed, said) => {
                    let ours = addressed == ID || addressed == GROUP;
                    match &said {
                        ToChannel::PrevHash(new) if ours => {
                            let same = tip.filter(|(old, _)| PrevHash { job: new.job, ..*old } == *new);
                            if same.is_none() {
                                of_tip.clear();
                                jobs.clear();
                            }
                            of_tip.insert(new.job);
                            tip = Some((*new, same.map_or(now, |(_, since)| since)));
                        }
                        ToChannel::Job(job) if ours => {
                            begun.insert(job.merkle_root);
                            if tip.is_some() && job.min_ntime.is_some() {
                                of_tip.insert(job.id);
                            }
                        }
                        _ => {}
                    }
                    match channel.apply(addressed, said, now) {
                        Change::Accepted(count) => answered += count,
                        Change::Refused(_) => answered += 1,
                        Change::Work => prop_assert!(ours),
                        Change::Nothing | Change::Closed(_) => {}
                    }
                }
            }
            prop_assert_eq!(channel.unanswered(), submitted - answered);
            let Some(work) = channel.job(now) else { continue };
            let (tip, since) = tip.unwrap();
            let elapsed = u32::try_from((now - since).as_secs()).unwrap();
            prop_assert_eq!(work.header.prev_blockhash.to_byte_array(), tip.hash);
            prop_assert!(begun.contains(&work.header.merkle_root.to_byte_array()));
            prop_assert_eq!(work.last_time, work.header.time);
            // Up to 1010 is a job's own beginning.
            prop_assert!(work.header.time <= (tip.min_ntime + elapsed).max(1010));
            if searched.last().is_none_or(|last| !Arc::ptr_eq(last, &work)) {
                prop_assert!(searched.iter().all(|other| other.header != work.header), "searched twice");
                searched.push(Arc::clone(&work));
            }
            if jobs.last().is_none_or(|last| !Arc::ptr_eq(last, &work)) {
                jobs.push(work);
            }
        }
    }
}
