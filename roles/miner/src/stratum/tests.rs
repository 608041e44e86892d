//! The client against a pool on a real socket that misbehaves in every way that a real one can.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::Hash;
use mining_sv2::{MESSAGE_TYPE_CLOSE_CHANNEL, MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL};
use sv2_transport::{Frame, Tcp};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::PoolSection;
use crate::hashing::{Job, Share};

mod pool;

use pool::{Pool, QUOTES, soon};

/// The rest of the miner, played by the test.
struct Rig {
    jobs: watch::Receiver<Option<Arc<Job>>>,
    found: Option<mpsc::Sender<Share>>,
    quotes: mpsc::Receiver<String>,
    status: watch::Receiver<PoolStatus>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

/// Deadlines that a test can wait for, and a pool on a busy machine can meet.
fn section(pool: &Pool) -> PoolSection {
    PoolSection {
        address: pool.address().to_string(),
        step_timeout: Duration::from_secs(20),
        negotiation_timeout: Duration::from_secs(20),
        ..PoolSection::default()
    }
}

impl Rig {
    fn start(pool: &Pool) -> Self {
        Self::with(pool, section(pool))
    }

    fn with(pool: &Pool, config: PoolSection) -> Self {
        let client = Client {
            authority: pool.authority.public(),
            identity: "02ab.rig".to_owned(),
            hashrate: 1234.0,
            config,
        };
        let (jobs, searched) = watch::channel(None);
        let (found, shares) = mpsc::channel(8);
        let (told, quotes) = mpsc::channel(2);
        let ends = Ends::new(jobs, shares, told);
        let (status, stop) = (ends.status(), CancellationToken::new());
        Self {
            jobs: searched,
            found: Some(found),
            quotes,
            status,
            running: tokio::spawn(run(client, ends, Tcp, stop.clone())),
            stop,
        }
    }

    /// The next job.
    async fn job(&mut self) -> Arc<Job> {
        let job = soon(self.jobs.wait_for(Option::is_some)).await.unwrap().clone();
        job.unwrap()
    }

    async fn find(&self, job: &Job) {
        let share = Share {
            job: job.id,
            header: job.header,
            header_hash: job.header.block_hash().to_byte_array(),
            leading_zero_bits: 0,
            work: job.target.to_work(),
        };
        soon(self.found.as_ref().unwrap().send(share)).await.unwrap();
    }

    async fn until(&mut self, what: impl FnMut(&PoolStatus) -> bool) -> PoolStatus {
        soon(self.status.wait_for(what)).await.unwrap().clone()
    }

    /// Waits until a session, or an attempt, has ended like this.
    async fn fails(&mut self, why: &str) {
        self.until(|status| status.last_error.as_ref().is_some_and(|error| error.contains(why)))
            .await;
        assert_eq!(*self.jobs.borrow(), None);
    }

    async fn stop(self) {
        self.stop.cancel();
        soon(self.running).await.unwrap();
        assert_eq!(self.status.borrow().stage, Stage::Stopped);
    }
}

#[tokio::test]
async fn work_comes_shares_go_and_quotes_are_heard_of() {
    let pool = Pool::start().await;
    let mut rig = Rig::start(&pool);
    let mut miner = pool.miner().await;
    miner.set_up().await;
    miner.negotiate(&[QUOTES]).await;
    assert_eq!(miner.open().await, ("02ab.rig".to_owned(), 1234.0));
    miner.gives_work(1).await;
    let job = rig.job().await;
    assert_eq!(job.header.prev_blockhash.to_byte_array(), [1; 32]);
    for _ in 0..3 {
        rig.find(&job).await;
    }
    for sequence in 0..3 {
        let share = miner.share().await;
        assert_eq!((share.channel_id, share.job_id), (pool::CHANNEL, 1));
        assert_eq!((share.sequence_number, share.nonce), (sequence, job.header.nonce));
    }
    miner.accepts(1, 2).await;
    miner.refuses(2, "difficulty-too-low").await;
    miner.tells_of("q1", QUOTES).await;
    miner.tells_of("q2", 0).await;
    assert_eq!(soon(rig.quotes.recv()).await.unwrap(), "q1");
    assert_eq!(soon(rig.quotes.recv()).await.unwrap(), "q2");
    let status = rig.until(|status| status.shares.unanswered == 0).await;
    let counts = (status.shares.submitted, status.shares.accepted, status.shares.rejected);
    assert_eq!(counts, (3, 2, 1));
    assert_eq!(status.last_refusal.as_deref(), Some("difficulty-too-low"));
    assert!(status.tells_quotes && status.stage == Stage::Open && !status.is_settled());
    rig.found = None;
    rig.until(PoolStatus::is_settled).await;
    rig.stop().await;
    miner.hears(MESSAGE_TYPE_CLOSE_CHANNEL).await;
    assert!(miner.is_gone().await);
}

#[tokio::test]
async fn a_share_that_the_pool_could_not_store_is_handed_in_again() {
    let pool = Pool::start().await;
    let mut rig = Rig::start(&pool);
    let mut miner = pool.mining().await;
    miner.gives_work(1).await;
    let job = rig.job().await;
    rig.find(&job).await;
    let first = miner.share().await;
    miner.refuses(first.sequence_number, "outbox-full").await;
    let second = miner.share().await;
    assert_eq!((second.sequence_number, second.nonce), (1, first.nonce));
    miner.accepts(1, 1).await;
    let status = rig.until(|status| status.shares.accepted == 1).await;
    assert_eq!((status.shares.submitted, status.shares.rejected), (2, 1));
    rig.stop().await;
}

#[tokio::test]
async fn a_share_of_a_session_that_is_over_is_not_handed_in_to_the_next() {
    let pool = Pool::start().await;
    let mut rig = Rig::start(&pool);
    let mut miner = pool.mining().await;
    miner.gives_work(1).await;
    let old = rig.job().await;
    drop(miner);
    rig.fails("connection").await;
    let mut miner = pool.mining().await;
    miner.gives_work(1).await;
    let new = rig.job().await;
    assert_ne!(old.id, new.id);
    assert_ne!(old.header.nonce, new.header.nonce);
    rig.find(&old).await;
    rig.find(&new).await;
    assert_eq!(miner.share().await.nonce, new.header.nonce);
    let status = rig.until(|status| status.shares.submitted == 1).await;
    assert_eq!((status.shares.outdated, status.opened), (1, 2));
    rig.stop().await;
}

#[tokio::test]
async fn shares_found_without_a_pool_are_dropped_and_hold_nobody_up() {
    let pool = Pool::start().await;
    let mut rig = Rig::start(&pool);
    let mut miner = pool.mining().await;
    miner.gives_work(1).await;
    let job = rig.job().await;
    let silent = miner;
    drop(silent);
    rig.fails("connection").await;
    // The next connection says nothing.
    let _silent = pool.connection().await;
    for _ in 0..50 {
        rig.find(&job).await;
    }
    rig.found = None;
    let status = rig.until(PoolStatus::is_settled).await;
    assert_eq!(status.shares.outdated, 50);
    rig.stop().await;
}

#[tokio::test]
async fn a_pool_that_is_silent_at_any_step_is_dialled_anew() {
    let pool = Pool::start().await;
    let mut config = section(&pool);
    config.step_timeout = Duration::from_millis(300);
    let mut rig = Rig::with(&pool, config);
    let _at_the_handshake = pool.connection().await;
    rig.fails("the handshake took longer than 300ms").await;
    let mut at_the_setup = pool.miner().await;
    at_the_setup.hears(0).await;
    rig.fails("the setup took longer than").await;
    let mut at_the_opening = pool.miner().await;
    at_the_opening.set_up().await;
    at_the_opening.negotiate(&[QUOTES]).await;
    at_the_opening.hears(MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL).await;
    rig.fails("opening a channel took longer than").await;
    assert!(at_the_opening.is_gone().await);
    rig.stop().await;
}

#[tokio::test]
async fn a_pool_that_falls_silent_is_dialled_anew() {
    let pool = Pool::start().await;
    let mut config = section(&pool);
    config.silence_timeout = Duration::from_millis(300);
    let mut rig = Rig::with(&pool, config);
    let mut miner = pool.mining().await;
    rig.fails("said nothing for 300ms").await;
    assert!(miner.is_gone().await);
    rig.stop().await;
}

#[tokio::test]
async fn a_pool_with_another_key_gets_nothing() {
    let (pool, other) = (Pool::start().await, Pool::start().await);
    let mut config = section(&pool);
    config.address = other.address().to_string();
    let mut rig = Rig::with(&pool, config);
    assert!(other.miner().await.is_gone().await);
    let pinned = pool.authority.public();
    rig.fails(&format!("does not hold the pinned authority key {pinned}: compare"))
        .await;
    rig.stop().await;
}

#[tokio::test]
async fn refusals_tell_why_and_are_tried_again() {
    let pool = Pool::start().await;
    let mut rig = Rig::start(&pool);
    pool.miner().await.refuses_setup("unsupported-feature-flags").await;
    rig.fails("refused the setup: unsupported-feature-flags").await;
    let mut miner = pool.miner().await;
    miner.set_up().await;
    miner.negotiate(&[QUOTES]).await;
    miner.refuses_channel("invalid-user-identity").await;
    rig.fails("opens no channel: invalid-user-identity").await;
    let mut miner = pool.mining().await;
    rig.until(|status| status.stage == Stage::Open).await;
    miner.closes_channel("share budget exhausted").await;
    rig.fails("closed the channel: share budget exhausted").await;
    pool.mining().await;
    rig.stop().await;
}

#[tokio::test]
async fn what_can_not_be_read_is_no_reason_to_stop_mining() {
    let pool = Pool::start().await;
    let mut rig = Rig::start(&pool);
    let mut miner = pool.mining().await;
    for msg_type in 0..=255 {
        miner.says(Frame::new(0, msg_type, vec![0xff; 3])).await;
        miner.says(Frame::new(1, msg_type, vec![0xff; 3])).await;
        miner.says(Frame::new(0x1234, msg_type, vec![])).await;
    }
    miner.gives_work(3).await;
    let job = rig.job().await;
    rig.find(&job).await;
    miner.share().await;
    assert_eq!(rig.status.borrow().opened, 1);
    rig.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_frames_end_the_session_and_not_the_miner() {
    let pool = Pool::start().await;
    let mut rig = Rig::start(&pool);
    let mut garbage = pool.connection().await;
    let noise: Vec<u8> = (0..4096).map(|_| rand::random()).collect();
    tokio::io::AsyncWriteExt::write_all(&mut garbage, &noise).await.unwrap();
    rig.until(|status| status.last_error.is_some()).await;
    pool.mining().await;
    rig.until(|status| status.opened == 1).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_pool_that_can_not_bear_the_question_is_asked_nothing_the_next_time() {
    let pool = Pool::start().await;
    let mut rig = Rig::start(&pool);
    let mut miner = pool.miner().await;
    miner.set_up().await;
    miner.is_asked().await;
    drop(miner);
    let mut miner = pool.miner().await;
    miner.set_up().await;
    miner.open().await;
    rig.until(|status| status.stage == Stage::Open && !status.tells_quotes)
        .await;
    drop(miner);
    // But then it is: it may be another one.
    let _miner = pool.mining().await;
    rig.until(|status| status.tells_quotes).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_pool_without_extensions_is_mined_for_all_the_same() {
    let pool = Pool::start().await;
    let mut config = section(&pool);
    config.negotiation_timeout = Duration::from_millis(200);
    let mut rig = Rig::with(&pool, config);
    // It says no.
    let mut miner = pool.miner().await;
    miner.set_up().await;
    miner.negotiate(&[]).await;
    miner.open().await;
    rig.until(|status| status.opened == 1 && !status.tells_quotes).await;
    drop(miner);
    // It says nothing, and then yes after all.
    let mut miner = pool.miner().await;
    miner.set_up().await;
    let request_id = miner.is_asked().await;
    miner.open().await;
    rig.until(|status| status.opened == 2 && !status.tells_quotes).await;
    miner.grants(request_id, &[QUOTES]).await;
    rig.until(|status| status.tells_quotes).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_pool_may_send_its_miners_elsewhere_and_they_come_back() {
    let (pool, mut other) = (Pool::start().await, Pool::start().await);
    other.authority = pool.authority.clone();
    let mut rig = Rig::start(&pool);
    let mut miner = pool.mining().await;
    miner.sends_away(other.address()).await;
    let elsewhere = other.mining().await;
    rig.until(|status| status.opened == 2).await;
    drop(elsewhere);
    pool.mining().await;
    rig.until(|status| status.opened == 3).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_full_wallet_holds_back_the_pool_and_no_share() {
    let pool = Pool::start().await;
    let mut rig = Rig::start(&pool);
    let mut miner = pool.mining().await;
    miner.gives_work(1).await;
    let job = rig.job().await;
    for number in 0..20 {
        miner.tells_of(&number.to_string(), QUOTES).await;
    }
    for _ in 0..30 {
        rig.find(&job).await;
        miner.share().await;
    }
    for number in 0..20 {
        assert_eq!(soon(rig.quotes.recv()).await.unwrap(), number.to_string());
    }
    miner.accepts(29, 30).await;
    rig.until(|status| status.shares.accepted == 30).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_pool_that_does_not_read_is_left_in_time() {
    let pool = Pool::start().await;
    let mut config = section(&pool);
    config.step_timeout = Duration::from_millis(500);
    let mut rig = Rig::with(&pool, config);
    let mut miner = pool.mining().await;
    miner.gives_work(1).await;
    let job = rig.job().await;
    // Answers keep it sending; what was sent is never read.
    let found = rig.found.take().unwrap();
    let flood = tokio::spawn(async move {
        let share = Share {
            job: job.id,
            header: job.header,
            header_hash: [0; 32],
            leading_zero_bits: 0,
            work: job.target.to_work(),
        };
        while found.send(share).await.is_ok() {}
    });
    let answers = tokio::spawn(async move {
        loop {
            miner.accepts(0, 1000).await;
            tokio::task::yield_now().await;
        }
    });
    rig.fails("a write took longer than 500ms").await;
    flood.abort();
    answers.abort();
    rig.stop().await;
}
