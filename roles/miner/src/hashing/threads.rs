//! The threads that search, and how they are fed, paced and stopped.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::config::HashingConfig;
use super::job::{Job, Share};
use super::pace::Pace;
use super::search::{Search, Slice};

/// A rest is cut into pieces of this length, so that a stop is heard.
const NAP: Duration = Duration::from_millis(10);

/// How many hashes were tried so far, by all threads. Clones count the same.
#[derive(Debug, Clone, Default)]
pub struct Hashes(Arc<AtomicU64>);

impl Hashes {
    /// The number now.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, tried: u32) {
        self.0.fetch_add(u64::from(tried), Ordering::Relaxed);
    }
}

/// Threads that search the newest job.
///
/// They end when the token is cancelled or when the other end of either channel is gone; dropping this does not stop
/// them.
#[derive(Debug)]
pub struct Hasher {
    threads: Vec<JoinHandle<()>>,
    hashes: Hashes,
}

impl Hasher {
    /// Starts the threads. They wait while there is no job, or when every nonce and time of the job is used up; they
    /// wait as well when `shares` is full, so a slow reader slows the search and loses nothing.
    ///
    /// To be called within a tokio runtime.
    ///
    /// # Errors
    /// The operating system gives no more threads. Those that were started end by the token.
    pub fn start(
        config: &HashingConfig,
        jobs: &watch::Receiver<Option<Arc<Job>>>,
        shares: &mpsc::Sender<Share>,
        stop: &CancellationToken,
    ) -> io::Result<Self> {
        let hashes = Hashes::default();
        let mut threads = Vec::with_capacity(config.threads);
        for index in 0..config.threads {
            let mut jobs = jobs.clone();
            jobs.mark_changed();
            let worker = Worker {
                index,
                count: config.threads,
                pace: Pace::new(config.max_hashrate_of_one(), Instant::now()),
                jobs,
                shares: shares.clone(),
                stop: stop.clone(),
                hashes: hashes.clone(),
                runtime: Handle::current(),
            };
            threads.push(
                thread::Builder::new()
                    .name(format!("hashing-{index}"))
                    .spawn(|| worker.run())?,
            );
        }
        Ok(Self { threads, hashes })
    }

    /// Counts the hashes tried, also after the threads have ended.
    #[must_use]
    pub fn counter(&self) -> Hashes {
        self.hashes.clone()
    }

    /// Waits until all threads have ended.
    pub async fn join(self) {
        let join_all = move || {
            self.threads
                .into_iter()
                .filter_map(|thread| thread.join().err())
                .count()
        };
        match tokio::task::spawn_blocking(join_all).await {
            Ok(0) => {}
            Ok(panicked) => tracing::error!(panicked, "hashing threads ended by a panic"),
            Err(error) => tracing::error!(%error, "hashing threads could not be waited for"),
        }
    }
}

struct Worker {
    index: usize,
    count: usize,
    pace: Pace,
    jobs: watch::Receiver<Option<Arc<Job>>>,
    shares: mpsc::Sender<Share>,
    stop: CancellationToken,
    hashes: Hashes,
    /// Lends its way to block on a channel; nothing here needs its timers.
    runtime: Handle,
}

impl Worker {
    fn run(mut self) {
        while let Some(job) = self.next_job() {
            if let Some(job) = job {
                self.search(&job);
            }
        }
    }

    /// Waits for a job other than the last one. `None` when it is time to end.
    fn next_job(&mut self) -> Option<Option<Arc<Job>>> {
        let Self {
            jobs,
            shares,
            stop,
            runtime,
            ..
        } = self;
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = stop.cancelled() => None,
                () = shares.closed() => None,
                changed = jobs.changed() => changed.ok().map(|()| jobs.borrow_and_update().clone()),
            }
        })
    }

    /// Goes through this thread's part of the job until there is a reason to look up.
    fn search(&mut self, job: &Job) {
        let search = Search::new(job);
        let mut slice = Slice::new(job, self.index, self.count);
        let chunk = self.pace.chunk();
        while !self.is_disturbed() {
            let Some((time, nonces)) = slice.next(chunk) else {
                return;
            };
            let tried = nonces.end() - nonces.start() + 1;
            search.run(time, nonces, |share| self.deliver(share));
            self.hashes.add(tried);
            let rest = self.pace.rest(tried, Instant::now());
            self.sleep(rest);
        }
    }

    /// Whether there is a new job or none at all, or nobody to search for.
    fn is_disturbed(&self) -> bool {
        self.stop.is_cancelled() || self.shares.is_closed() || self.jobs.has_changed().unwrap_or(true)
    }

    /// Whether to go on; waits while the channel is full.
    fn deliver(&self, share: Share) -> bool {
        match self.shares.try_send(share) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(share)) => self.runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => false,
                    sent = self.shares.send(share) => sent.is_ok(),
                }
            }),
        }
    }

    fn sleep(&self, rest: Duration) {
        let until = Instant::now() + rest;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.is_disturbed() {
                return;
            }
            thread::sleep(left.min(NAP));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use bitcoin::hashes::Hash;
    use bitcoin::{Target, Work};

    use super::*;
    use crate::hashing::rate;

    /// No share ever.
    const NONE: u64 = u64::MAX;

    /// A share among this many hashes on average.
    fn job(id: u64, hashes: u64) -> Option<Arc<Job>> {
        let header = rate::header(1_700_000_000);
        let mut work = [0; 32];
        work[24..].copy_from_slice(&hashes.to_be_bytes());
        let target = match hashes {
            NONE => Target::ZERO,
            _ => Work::from_be_bytes(work).to_target(),
        };
        Some(Arc::new(Job {
            id,
            header,
            last_time: header.time + 10,
            target,
        }))
    }

    struct Rig {
        jobs: watch::Sender<Option<Arc<Job>>>,
        shares: mpsc::Receiver<Share>,
        stop: CancellationToken,
        hasher: Hasher,
    }

    fn rig(config: HashingConfig, first: Option<Arc<Job>>) -> Rig {
        let (jobs, receiver) = watch::channel(first);
        let (sender, shares) = mpsc::channel(4);
        let stop = CancellationToken::new();
        let hasher = Hasher::start(&config, &receiver, &sender, &stop).unwrap();
        Rig {
            jobs,
            shares,
            stop,
            hasher,
        }
    }

    const TWO: HashingConfig = HashingConfig {
        threads: 2,
        max_hashrate: 0,
    };

    #[tokio::test]
    async fn shares_meet_the_target_and_are_all_different() {
        let job = job(3, 50);
        let mut rig = rig(TWO, job.clone());
        let job = job.unwrap();
        let mut seen = HashSet::new();
        for _ in 0..200 {
            let share = rig.shares.recv().await.unwrap();
            assert_eq!(share.job, 3);
            assert_eq!(share.header.block_hash().to_byte_array(), share.header_hash);
            assert!(job.target.is_met_by(share.header.block_hash()));
            assert!(share.leading_zero_bits >= 5);
            assert_eq!(share.work, job.target.to_work());
            assert!(seen.insert(share.header_hash));
        }
        assert!(rig.hasher.counter().total() > 0);
        rig.stop.cancel();
        rig.hasher.join().await;
    }

    #[tokio::test]
    async fn a_new_job_replaces_the_old_one_at_once() {
        let mut rig = rig(TWO, job(1, NONE));
        rig.jobs.send_replace(job(2, 50));
        assert_eq!(rig.shares.recv().await.unwrap().job, 2);
        rig.jobs.send_replace(job(3, 50));
        // At most what was under way and in the channel is still of the old one.
        let mut late = 0;
        while rig.shares.recv().await.unwrap().job != 3 {
            late += 1;
        }
        assert!(late <= 4 + 2 * 1024 / 50 * 4, "{late}");
        rig.stop.cancel();
        rig.hasher.join().await;
    }

    #[tokio::test]
    async fn without_a_job_the_threads_wait_and_a_job_wakes_them() {
        let mut rig = rig(TWO, None);
        rig.jobs.send_replace(job(1, 1));
        assert_eq!(rig.shares.recv().await.unwrap().job, 1);
        rig.stop.cancel();
        rig.hasher.join().await;
    }

    #[tokio::test]
    async fn a_stop_ends_the_search_whatever_it_waits_for() {
        let endless = rig(TWO, job(1, NONE));
        let idle = rig(TWO, None);
        let crowded = rig(TWO, job(1, 1)); // nobody reads, so the channel is full
        let slow = rig(
            HashingConfig {
                threads: 1,
                max_hashrate: 1,
            },
            job(1, NONE),
        );
        for rig in [endless, idle, crowded, slow] {
            rig.stop.cancel();
            rig.hasher.join().await;
        }
    }

    #[tokio::test]
    async fn it_ends_by_itself_when_nobody_feeds_it_or_listens() {
        let unfed = rig(TWO, job(1, NONE));
        drop(unfed.jobs);
        unfed.hasher.join().await;

        let unheard = rig(TWO, job(1, NONE));
        drop(unheard.shares);
        unheard.hasher.join().await;
    }

    #[tokio::test]
    async fn a_limit_holds_the_hashrate_down() {
        let started = Instant::now();
        let mut rig = rig(
            HashingConfig {
                threads: 1,
                max_hashrate: 1000,
            },
            job(1, 1),
        );
        for _ in 0..100 {
            rig.shares.recv().await.unwrap();
        }
        // 100 shares of one hash each, of which a chunk, the channel and the catch-up come for free.
        assert!(
            started.elapsed() >= Duration::from_millis(60),
            "{:?}",
            started.elapsed()
        );
        rig.stop.cancel();
        rig.hasher.join().await;
    }
}
