//! Miners on the pool's listener: what they are told, what their shares earn, and what they can't do.

use std::time::Duration;

use binary_sv2::from_bytes;
use mining_sv2::*;
use mint_link::{ExtensionMessage, MINT_QUOTE_NOTIFICATION, MintQuoteNotification};
use pool::outbox::ShareId;
use pool::{PoolConfig, Running, start};
use rusqlite::Connection;
use sv2_transport::Frame;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::miner::{Client, STANDARD_JOBS, Work};
use crate::mint::Identity;

const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
const HOUR: Duration = Duration::from_secs(3600);

/// A pool whose shares take some 256 hashes, on a tip that stays.
fn config(dir: &TempDir) -> PoolConfig {
    let mut config = PoolConfig {
        data_dir: dir.path().join("pool"),
        ..PoolConfig::default()
    };
    let any = "127.0.0.1:0".parse().unwrap();
    config.mint_link.listen = any;
    config.dashboard.listen = any;
    config.mining.listen = any;
    config.mining.minimum_difficulty = 8;
    config.mining.start_difficulty = 8;
    // So that vardiff has nothing to say.
    config.mining.shares_per_minute = 60_000.0;
    config.quotes.minimum_difficulty = 8;
    config.templates.embedded.block_interval = HOUR;
    config.templates.embedded.template_interval = HOUR;
    config
}

async fn begin(config: PoolConfig) -> Running {
    start(config, CancellationToken::new()).await.unwrap()
}

async fn connect(pool: &Running, flags: u32) -> Client {
    Client::connect(pool.mining_address(), pool.authority_public_key(), flags).await
}

/// The hashes and keys in the outbox.
async fn stored(pool: &Running) -> Vec<([u8; 32], [u8; 33])> {
    let rows = pool.outbox().waiting_after(ShareId::default(), 1000).await.unwrap();
    rows.iter()
        .map(|row| (row.share.header_hash, row.share.locking_key))
        .collect()
}

fn key() -> [u8; 33] {
    let mut key = [0; 33];
    for (byte, digits) in key.iter_mut().zip(KEY.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
    }
    key
}

#[tokio::test]
async fn an_acknowledged_share_of_either_kind_of_channel_is_in_the_outbox_for_its_key() {
    let dir = TempDir::new().unwrap();
    let pool = begin(config(&dir)).await;
    let (mut hashes, mut stay) = (Vec::new(), Vec::new());
    for flags in [STANDARD_JOBS, 0] {
        let mut standard = connect(&pool, flags).await;
        standard.open_standard(&format!("{KEY}.rig{flags}")).await;
        assert!(matches!(standard.jobs[&standard.job_id], Work::Standard(_)));
        let share = standard.solve();
        standard.submit(&share).await;
        let success = standard.accepted(&share).await;
        assert_eq!(success.new_submits_accepted_count, 1);
        hashes.push(share.hash);
        stay.push(standard);
    }
    let mut extended = connect(&pool, 0).await;
    extended.open_extended(KEY).await;
    let share = extended.solve();
    extended.submit(&share).await;
    extended.accepted(&share).await;
    hashes.push(share.hash);
    let rows = stored(&pool).await;
    assert_eq!(rows, hashes.iter().map(|hash| (*hash, key())).collect::<Vec<_>>());

    let view = pool.miners().view(9, tokio::time::Instant::now());
    assert_eq!((view.connections, view.channels), (3, 3));
    assert_eq!(view.listed[0].identity, "0279be66…1798.rig1");
    assert!(view.listed.iter().all(|miner| miner.earns && miner.accepted == 1));
    assert_eq!(pool.intake().counts().accepted, 3);
    pool.stop().await;
}

#[tokio::test]
async fn page_and_miner_call_a_channel_by_one_number_and_refused_channels_are_told_by_code() {
    let dir = TempDir::new().unwrap();
    let pool = begin(config(&dir)).await;
    let (mut told, mut stay) = (Vec::new(), Vec::new());
    for flags in [STANDARD_JOBS, 0] {
        let mut miner = connect(&pool, flags).await;
        told.push(u64::from(miner.open_standard(KEY).await.channel_id));
        stay.push(miner);
    }
    stay[0].ask_standard(&format!("0x{KEY}"), 0.0).await;
    stay[0].hear(MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR).await;

    let url = format!("http://{}/api/v1/pool", pool.dashboard_address());
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
    let listed = shown["channels_list"].as_array().unwrap().iter();
    assert_eq!(listed.map(|row| row["id"].as_u64().unwrap()).collect::<Vec<_>>(), told);
    assert_eq!((&shown["miners"], &shown["channels"]), (&2.into(), &2.into()));
    assert_eq!(
        shown["channels_refused"],
        serde_json::json!({"invalid-user-identity": 1})
    );
    assert!(shown["started_at"].as_str().unwrap().ends_with('Z'), "{text}");
    pool.stop().await;
}

#[tokio::test]
async fn shares_that_are_wrong_are_refused_with_the_standard_codes_and_the_channel_goes_on() {
    let dir = TempDir::new().unwrap();
    let pool = begin(config(&dir)).await;
    let mut miner = connect(&pool, 0).await;
    miner.open_extended("alice.rig").await;
    let good = miner.solve();
    miner.submit(&good).await;
    miner.accepted(&good).await;
    miner.submit(&good).await;
    assert_eq!(miner.refused().await, (1, "duplicate-share".to_owned()));

    let wrong = |change: fn(&mut SubmitSharesExtendedOwned)| {
        let mut wrong = good.clone();
        change(&mut wrong.share);
        wrong
    };
    for (share, code) in [
        (wrong(|share| share.job_id = 999), "invalid-job-id"),
        (wrong(|share| share.channel_id = 999), "invalid-channel-id"),
        (wrong(|share| share.ntime -= 1), "invalid-share"),
        (wrong(|share| share.ntime += 7201), "invalid-share"),
        (wrong(|share| share.version ^= 1), "invalid-non-rollable-version-bit"),
        (
            wrong(|share| share.extranonce = vec![1].try_into().unwrap()),
            "bad-extranonce-size",
        ),
        (wrong(|share| share.nonce ^= 0x8000_0000), "difficulty-too-low"),
    ] {
        miner.submit(&share).await;
        assert_eq!(miner.refused().await.1, code);
    }
    let next = miner.solve();
    miner.submit(&next).await;
    miner.accepted(&next).await;
    // Without a key the shares earn nothing, which is counted and shown.
    assert_eq!(stored(&pool).await, []);
    assert_eq!(pool.intake().counts().without_key, 2);
    let view = pool.miners().view(9, tokio::time::Instant::now());
    assert!(!view.listed[0].earns);
    assert_eq!((view.listed[0].accepted, view.listed[0].rejected), (2, 7));
    pool.stop().await;
}

#[tokio::test]
async fn a_new_tip_is_told_and_shares_for_the_old_one_are_stale() {
    let dir = TempDir::new().unwrap();
    let mut config = config(&dir);
    config.templates.embedded.block_interval = Duration::from_millis(300);
    let pool = begin(config).await;
    for flags in [STANDARD_JOBS, 0] {
        let mut miner = connect(&pool, flags).await;
        miner.open_standard(KEY).await;
        let old = miner.solve();
        for _ in 0..3 {
            miner.hear(MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH).await;
            assert_ne!(miner.job_id, old.share.job_id);
            miner.submit(&old).await;
            assert_eq!(miner.refused().await.1, "stale-share");
        }
        loop {
            let new = miner.solve();
            miner.submit(&new).await;
            match miner.hear_either().await {
                MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS => break,
                // The tip has moved on in between, on a busy machine.
                _ => miner.hear(MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH).await,
            };
        }
    }
    pool.stop().await;
}

#[tokio::test]
async fn a_new_template_for_the_same_tip_is_mined_and_the_old_ones_shares_still_count() {
    let dir = TempDir::new().unwrap();
    let mut config = config(&dir);
    config.templates.embedded.template_interval = Duration::from_millis(300);
    let pool = begin(config).await;
    let mut miner = connect(&pool, 0).await;
    miner.open_extended(KEY).await;
    let (old, first) = (miner.solve(), miner.job_id);
    while miner.job_id == first {
        miner.hear(MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB).await;
    }
    miner.submit(&old).await;
    miner.accepted(&old).await;
    let new = miner.solve();
    miner.submit(&new).await;
    miner.accepted(&new).await;
    pool.stop().await;
}

#[tokio::test]
async fn an_identity_that_looks_like_a_key_and_is_none_gets_no_channel() {
    let dir = TempDir::new().unwrap();
    let pool = begin(config(&dir)).await;
    let mut miner = connect(&pool, STANDARD_JOBS).await;
    miner.ask_standard(&KEY[..65], 1.0).await;
    let mut payload = miner.hear(MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR).await;
    let error = from_bytes::<OpenMiningChannelError<'_>>(&mut payload).unwrap();
    assert_eq!(error.error_code.as_utf8_or_hex(), "invalid-user-identity");
    assert_eq!(error.request_id, 7);
    miner.open_standard(KEY).await;
    pool.stop().await;
}

#[tokio::test]
async fn garbage_and_silence_cost_a_place_for_a_while_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let mut config = config(&dir);
    config.mining.max_connections = 3;
    config.mining.step_timeout = Duration::from_millis(300);
    let pool = begin(config).await;
    let address = pool.mining_address();
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut garbage = TcpStream::connect(address).await.unwrap();
    garbage.write_all(&[0xAA; 500]).await.unwrap();
    let mut mute = Client::handshake(address, pool.authority_public_key()).await;
    let mut end = Vec::new();
    // The pool ends each by itself; how the connection is torn down is the system's business.
    let _ = silent.read_to_end(&mut end).await;
    let _ = garbage.read_to_end(&mut end).await;
    assert!(mute.next().await.is_none());

    let mut miner = connect(&pool, STANDARD_JOBS).await;
    miner.open_standard(KEY).await;
    // Unknown types and extensions, and messages that end in the middle, are dropped.
    for (extension, msg_type) in [(0, 0x77), (0x4D99, 0x1A), (1, 0x00), (0, 0x10), (0, 0x1B), (0, 0x16)] {
        miner.raw(Frame::new(extension, msg_type, vec![1, 2, 3])).await;
    }
    let share = miner.solve();
    miner.submit(&share).await;
    miner.accepted(&share).await;
    pool.stop().await;
}

#[tokio::test]
async fn silent_connections_keep_no_miner_out_and_push_none_out() {
    let dir = TempDir::new().unwrap();
    let mut config = config(&dir);
    config.mining.max_connections = 8;
    config.mining.step_timeout = Duration::from_secs(60);
    let pool = begin(config).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(pool.mining_address()).await.unwrap());
    }
    let mut miner = connect(&pool, STANDARD_JOBS).await;
    miner.open_standard(KEY).await;
    for _ in 0..50 {
        silent.push(TcpStream::connect(pool.mining_address()).await.unwrap());
    }
    let mut another = connect(&pool, STANDARD_JOBS).await;
    another.open_standard(KEY).await;
    let share = miner.solve();
    miner.submit(&share).await;
    miner.accepted(&share).await;
    pool.stop().await;
}

#[tokio::test]
async fn a_miner_that_falls_silent_is_gone_after_the_idle_time_and_one_without_machines_is_not() {
    let dir = TempDir::new().unwrap();
    let mut config = config(&dir);
    config.mining.idle_timeout = Duration::from_secs(1);
    let pool = begin(config).await;
    let mut waiting = connect(&pool, STANDARD_JOBS).await;
    waiting.open_standard("waiting").await;
    let mut stopped = connect(&pool, STANDARD_JOBS).await;
    stopped.open_standard("stopped").await;
    let share = stopped.solve();
    stopped.submit(&share).await;
    stopped.accepted(&share).await;
    while stopped.next().await.is_some() {}
    let view = pool.miners().view(9, tokio::time::Instant::now());
    assert_eq!(
        view.listed.iter().map(|miner| &*miner.identity).collect::<Vec<_>>(),
        ["waiting"]
    );
    assert_eq!(view.connections, 1);
    pool.stop().await;
}

#[tokio::test]
async fn a_miner_that_was_not_read_while_the_outbox_was_stuck_does_not_count_as_gone() {
    // More than the pool reads before the first of them is stored.
    const SHARES: u32 = 1200;
    let dir = TempDir::new().unwrap();
    let mut config = config(&dir);
    // Less than the outbox waits for its file.
    config.mining.idle_timeout = Duration::from_secs(1);
    let pool = begin(config).await;
    let mut miner = connect(&pool, STANDARD_JOBS).await;
    miner.open_standard(KEY).await;
    let shares: Vec<_> = (0..SHARES).map(|_| miner.solve()).collect();
    let blocker = Connection::open(dir.path().join("pool/outbox.sqlite")).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    for share in &shares {
        miner.submit(share).await;
    }
    let mut view = pool.outbox().watch();
    view.wait_for(|view| view.storage_errors > 0).await.unwrap();
    blocker.execute_batch("ROLLBACK").unwrap();
    let mut answered = 0;
    while answered < SHARES {
        let mut frame = miner.next().await.expect("every share is answered");
        answered += match frame.msg_type {
            MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS => {
                let success: SubmitSharesSuccess = from_bytes(&mut frame.payload).unwrap();
                success.new_submits_accepted_count
            }
            MESSAGE_TYPE_SUBMIT_SHARES_ERROR => 1,
            _ => 0,
        };
    }
    pool.stop().await;
}

#[tokio::test]
async fn a_miner_that_closes_its_channels_is_off_the_page_and_may_open_new_ones() {
    let dir = TempDir::new().unwrap();
    let mut config = config(&dir);
    config.mining.max_channels = 2;
    let pool = begin(config).await;
    let mut miner = connect(&pool, 0).await;
    let first = miner.open_extended("a").await;
    let second = miner.open_extended("b").await;
    assert_ne!(first.extranonce_prefix, second.extranonce_prefix);
    miner.ask_standard("c", 1.0).await;
    let mut payload = miner.hear(MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR).await;
    let error = from_bytes::<OpenMiningChannelError<'_>>(&mut payload).unwrap();
    assert_eq!(error.error_code.as_utf8_or_hex(), "channel-capacity-exhausted");
    let close = CloseChannelOwned {
        channel_id: first.channel_id,
        reason_code: b"bye".to_vec().try_into().unwrap(),
    };
    miner.send(MESSAGE_TYPE_CLOSE_CHANNEL, close).await;
    let third = miner.open_standard("c").await;
    assert!(third.channel_id > second.channel_id);
    let view = pool.miners().view(9, tokio::time::Instant::now());
    assert_eq!(
        view.listed.iter().map(|miner| &*miner.identity).collect::<Vec<_>>(),
        ["b", "c"]
    );
    pool.stop().await;
}

#[tokio::test]
async fn a_stop_answers_the_shares_that_were_taken() {
    let dir = TempDir::new().unwrap();
    let pool = begin(config(&dir)).await;
    let mut miner = connect(&pool, STANDARD_JOBS).await;
    miner.open_standard(KEY).await;
    let shares: Vec<_> = (0..50).map(|_| miner.solve()).collect();
    for share in &shares {
        miner.submit(share).await;
    }
    let mut view = pool.outbox().watch();
    view.wait_for(|view| view.tally.waiting > 0).await.unwrap();
    let outbox = dir.path().join("pool/outbox.sqlite");
    pool.stop().await;
    let mut acknowledged = 0;
    while let Some(frame) = miner.next().await {
        if frame.msg_type == MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS {
            let mut payload = frame.payload;
            acknowledged += u64::from(
                from_bytes::<SubmitSharesSuccess>(&mut payload)
                    .unwrap()
                    .new_submits_accepted_count,
            );
        }
    }
    let outbox = pool::outbox::Outbox::open(outbox, &Default::default()).unwrap();
    assert!(acknowledged > 0);
    assert_eq!(outbox.view().tally.waiting, acknowledged);
}

/// Asks for the extension of quotes, and for another one.
async fn negotiate(miner: &mut Client) {
    let request = ExtensionMessage::Request {
        request_id: 3,
        requested: vec![2, 0x4D51],
    };
    miner.raw(request.to_frame().unwrap()).await;
    let success = ExtensionMessage::Success {
        request_id: 3,
        supported: vec![0x4D51],
    };
    // The first message after the setup's answer.
    assert_eq!(miner.next().await.unwrap().msg_type, 0x01);
    let answer = miner.next().await.unwrap();
    assert_eq!(
        ExtensionMessage::decode(answer.msg_type, answer.payload).unwrap(),
        success
    );
}

/// Submits a share, and waits until it is acknowledged and its quote is told.
async fn earn(miner: &mut Client, extension: u16) -> MintQuoteNotification {
    let share = miner.solve();
    miner.submit(&share).await;
    let (mut acknowledged, mut told) = (false, None);
    while !acknowledged || told.is_none() {
        let frame = miner.next().await.unwrap();
        match frame.msg_type {
            MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS => acknowledged = true,
            MINT_QUOTE_NOTIFICATION => {
                assert_eq!((frame.extension_type, frame.channel_msg), (extension, true));
                told = Some(MintQuoteNotification::decode(frame.payload).unwrap());
            }
            other => panic!("unexpected message {other:#04x}"),
        }
    }
    told.unwrap()
}

/// The next notifications, so many of them.
async fn told(miner: &mut Client, count: usize) -> Vec<MintQuoteNotification> {
    let mut told = Vec::new();
    while told.len() < count {
        let payload = miner.hear(MINT_QUOTE_NOTIFICATION).await;
        told.push(MintQuoteNotification::decode(payload).unwrap());
    }
    told
}

#[tokio::test]
async fn a_miner_that_negotiated_is_told_of_its_quotes_once_and_again_when_it_comes_back() {
    let dir = TempDir::new().unwrap();
    let pool = begin(config(&dir)).await;
    let mint = Identity::new().dial(pool.mint_link_address(), pool.authority_public_key());
    let mut miner = connect(&pool, 0).await;
    negotiate(&mut miner).await;
    let first = miner.open_extended(KEY).await;
    let mut earned = vec![earn(&mut miner, 0x4D51).await];
    assert_eq!(earned[0].channel_id, first.channel_id);
    // A second channel of the key does not double what is told.
    let second = miner.open_extended(&format!("{KEY}.b")).await;
    earned.push(earn(&mut miner, 0x4D51).await);
    assert_eq!(earned[1].channel_id, first.channel_id);
    let close = CloseChannelOwned {
        channel_id: first.channel_id,
        reason_code: Vec::new().try_into().unwrap(),
    };
    miner.send(MESSAGE_TYPE_CLOSE_CHANNEL, close).await;
    earned.push(earn(&mut miner, 0x4D51).await);
    assert_eq!(earned[2].channel_id, second.channel_id);
    let ids = |told: &[MintQuoteNotification]| {
        let mut ids: Vec<String> = told.iter().map(|told| told.quote_id.clone()).collect();
        ids.sort();
        ids.dedup();
        ids
    };
    assert_eq!(ids(&earned).len(), 3);
    assert!(earned.iter().all(|told| told.amount > 0));

    let mut back = connect(&pool, STANDARD_JOBS).await;
    negotiate(&mut back).await;
    back.open_standard(KEY).await;
    assert_eq!(ids(&told(&mut back, 3).await), ids(&earned));
    // One that negotiates after it has opened its channel is told, too.
    let mut late = connect(&pool, STANDARD_JOBS).await;
    late.open_standard(KEY).await;
    let request = ExtensionMessage::Request {
        request_id: 3,
        requested: vec![0x4D51],
    };
    late.raw(request.to_frame().unwrap()).await;
    assert_eq!(ids(&told(&mut late, 3).await), ids(&earned));
    drop(mint);
    pool.stop().await;
}

#[tokio::test]
async fn miners_that_did_not_negotiate_are_told_only_where_the_pool_is_to_do_as_hashpool_does() {
    for hashpool in [false, true] {
        let dir = TempDir::new().unwrap();
        let mut config = config(&dir);
        config.mining.notify_hashpool_miners = hashpool;
        let pool = begin(config).await;
        let mint = Identity::new().dial(pool.mint_link_address(), pool.authority_public_key());
        let mut miner = connect(&pool, STANDARD_JOBS).await;
        miner.open_standard(KEY).await;
        if hashpool {
            earn(&mut miner, 0).await;
        } else {
            let share = miner.solve();
            miner.submit(&share).await;
            miner.accepted(&share).await;
            let mut view = pool.outbox().watch();
            view.wait_for(|view| view.tally.acknowledged == 1).await.unwrap();
            let share = miner.solve();
            miner.submit(&share).await;
            // Nothing in between.
            assert_eq!(miner.next().await.unwrap().msg_type, MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS);
        }
        drop(mint);
        pool.stop().await;
    }
}
