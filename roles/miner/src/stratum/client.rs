//! Dialling the pool, for ever, and what all sessions with it share.

use std::convert::Infallible;
use std::sync::Arc;

use sv2_transport::{AuthorityPublicKey, Backoff, Connector, Frame};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::error::{SessionError, Step, within};
use super::messages::FromPool;
use super::refusals::Refusals;
use super::session::{self, Ended};
use super::status::{PoolStatus, ShareCounts, Stage};
use crate::config::PoolSection;
use crate::hashing::{Job, Share};

/// Who this miner is, and which pool it mines for.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// Address and deadlines.
    pub(crate) config: PoolSection,
    /// The key that the pool must hold.
    pub(crate) authority: AuthorityPublicKey,
    /// The locking key, and a worker's name if there is one.
    pub(crate) identity: String,
    /// Hashes a second, for the pool to choose the first target by.
    pub(crate) hashrate: f32,
}

/// Where the rest of the miner is reached.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(super) jobs: watch::Sender<Option<Arc<Job>>>,
    pub(super) shares: mpsc::Receiver<Share>,
    pub(super) quotes: mpsc::Sender<String>,
    pub(super) status: watch::Sender<PoolStatus>,
    /// The next number of a job.
    pub(super) next_number: u64,
    pub(super) search_over: bool,
    pub(super) refusals: Refusals,
}

impl Client {
    /// What a frame says; `None`, and a line in the log, if it can't be read.
    pub(super) fn read(&self, frame: Frame) -> Option<FromPool> {
        let (extension, msg_type) = (frame.extension_type, frame.msg_type);
        FromPool::read(frame, self.config.quotes_extension)
            .inspect_err(|error| tracing::debug!(extension, msg_type, %error, "a message of the pool can't be read"))
            .ok()
    }
}

impl Ends {
    /// `jobs` is what the search follows, `shares` what it finds, `quotes` takes the ids of quotes to mint.
    pub(crate) fn new(
        jobs: watch::Sender<Option<Arc<Job>>>,
        shares: mpsc::Receiver<Share>,
        quotes: mpsc::Sender<String>,
    ) -> Self {
        Self {
            jobs,
            shares,
            quotes,
            status: watch::Sender::default(),
            next_number: 0,
            search_over: false,
            refusals: Refusals::default(),
        }
    }

    /// Follows the connection.
    pub(crate) fn status(&self) -> watch::Receiver<PoolStatus> {
        self.status.subscribe()
    }

    pub(super) fn count(&self, unanswered: u64, how: impl FnOnce(&mut ShareCounts)) {
        self.status
            .send_modify(|status| status.count(unanswered, Instant::now(), how));
    }

    pub(super) fn search_is_over(&mut self) {
        self.search_over = true;
        self.status.send_modify(|status| status.search_over = true);
    }

    /// Drops shares that were found for a session that is over. For ever: to be awaited beside something else.
    pub(super) async fn drop_shares(&mut self) -> Infallible {
        while !self.search_over {
            match self.shares.recv().await {
                Some(_) => self.count(0, |shares| shares.outdated += 1),
                None => self.search_is_over(),
            }
        }
        std::future::pending().await
    }
}

/// Mines for the pool until `stop`. Whatever ends a session, the next one is tried after 100 ms to 10 s.
pub(crate) async fn run(client: Client, mut ends: Ends, connector: impl Connector, stop: CancellationToken) {
    let mut backoff = Backoff::new();
    let mut ask = true;
    // Where the pool has asked to be dialled, for one dial.
    let mut elsewhere = None;
    while !stop.is_cancelled() {
        let endpoint = elsewhere.take().unwrap_or_else(|| client.config.address.clone());
        let ended = attempt(&client, &mut ends, &connector, &endpoint, ask, &stop).await;
        if matches!(ended.error, SessionError::Stopped) {
            break;
        }
        // After a close that may have been about the question, one session without it.
        ask = !ended.over_the_question;
        let wait = backoff.after(ended.worked);
        tracing::warn!(
            pool = endpoint,
            retry_ms = wait.as_millis(),
            "not mining: {}",
            ended.error
        );
        ends.status.send_modify(|status| {
            status.stage = Stage::Dialling;
            status.last_error = Some(ended.error.to_string().into());
        });
        if let SessionError::Reconnect(address) = ended.error {
            elsewhere = address;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(wait) => {}
            never = ends.drop_shares() => match never {},
        }
    }
    ends.status.send_modify(|status| status.stage = Stage::Stopped);
}

async fn attempt(
    client: &Client,
    ends: &mut Ends,
    connector: &impl Connector,
    endpoint: &str,
    ask: bool,
    stop: &CancellationToken,
) -> Ended {
    let connecting = within(Step::Connect, client.config.step_timeout, connector.connect(endpoint));
    let connected = tokio::select! {
        biased;
        () = stop.cancelled() => return SessionError::Stopped.into(),
        never = ends.drop_shares() => match never {},
        connected = connecting => connected,
    };
    match connected {
        Ok(Ok((stream, _))) => session::run(client, ends, stream, endpoint, ask, stop).await,
        Ok(Err(source)) => {
            let address = endpoint.to_owned();
            SessionError::Connect { address, source }.into()
        }
        Err(error) => error.into(),
    }
}
