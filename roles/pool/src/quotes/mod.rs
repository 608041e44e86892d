//! From the outbox to the mint and back: asks the mint for a quote for each waiting share and records its answers.
//!
//! [`Pump::run`] is one task that lives as long as the pool, through any number of sessions with the mint. The newest
//! ready session replaces the older; what has no answer is then asked again, oldest first. Which share is sent when and
//! what an answer means is [`flight`]'s business; this module moves the data and waits.

mod flight;
mod redeemed;
mod session;
mod stats;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures::future::BoxFuture;
use mint_link::{HeaderHash as WireHash, MintQuoteRequest, QuoteAnswer, SessionInfo};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::flight::{Flight, Limits, Mode, Verdict};
use self::redeemed::Redeemed;
use self::session::{Incoming, Session};
use crate::amount::HeaderHash;
use crate::outbox::{Outbox, Settlement, StorageError, WaitingShare};

pub use self::stats::PumpCounts;
pub(crate) use self::stats::PumpStats;

/// After an error of the outbox's storage.
const STORAGE_RETRY: Duration = Duration::from_millis(200);

/// How long the last answers may take to reach the disk when the pool goes down. What does not is asked again.
pub(crate) const LAST_COMMIT: Duration = Duration::from_secs(2);

/// How the pump talks to the mint.
#[derive(Debug, Clone)]
pub(crate) struct PumpConfig {
    /// The unit of the quotes, as it travels.
    pub(crate) unit: String,
    /// Requests on the way to the mint at most.
    pub(crate) window: usize,
    /// How long an answer may take.
    pub(crate) answer_timeout: Duration,
}

type Settling = BoxFuture<'static, (Vec<(HeaderHash, Settlement)>, Result<usize, StorageError>)>;
type Reading = BoxFuture<'static, Result<(Vec<WaitingShare>, bool), StorageError>>;

/// The session that works, and what it says of its mint.
struct Current<S> {
    session: S,
    info: watch::Receiver<SessionInfo>,
}

/// The task between outbox and mint.
pub(crate) struct Pump<S> {
    outbox: Outbox,
    config: PumpConfig,
    stats: PumpStats,
    flight: Flight,
    session: Option<Current<S>>,
    /// Answers that are not on their way to the disk yet.
    answered: Vec<(HeaderHash, Settlement)>,
    settling: Option<Settling>,
    redeemed: Redeemed,
    reading: Option<Reading>,
    /// Shares whose answers reached the disk while a read was on its way, which may have seen them waiting.
    left_meanwhile: Vec<HeaderHash>,
    /// There may be shares in the outbox that were not read yet.
    unread: bool,
    /// `tally.requested` when that was last said.
    seen_requested: u64,
    /// Storage is left alone until then.
    retry_at: Option<Instant>,
}

impl<S: Session> Pump<S> {
    pub(crate) fn new(outbox: Outbox, config: PumpConfig, stats: PumpStats) -> Self {
        let flight = Flight::new(Limits {
            window: config.window,
            answer_timeout: config.answer_timeout,
        });
        Self {
            outbox,
            config,
            stats,
            flight,
            session: None,
            answered: Vec::new(),
            settling: None,
            redeemed: Redeemed::default(),
            reading: None,
            left_meanwhile: Vec::new(),
            unread: true,
            seen_requested: 0,
            retry_at: None,
        }
    }

    /// Serves the sessions that come until `stop`, then records the answers that are here already.
    pub(crate) async fn run(mut self, mut sessions: mpsc::Receiver<S>, stop: CancellationToken) {
        let mut outbox = self.outbox.watch();
        loop {
            self.start_storage();
            self.send_ready();
            let timer = self.flight.next_timer().filter(|_| self.session.is_some());
            let (sending, retrying) = (self.flight.has_next(), self.retry_at.is_some());
            tokio::select! {
                () = stop.cancelled() => break,
                Some(session) = sessions.recv() => self.adopt(session),
                event = link(&mut self.session, sending, self.redeemed.room()) => self.handle(event),
                () = self.redeemed.recorded() => {}
                settled = pending(&mut self.settling) => self.settled(settled),
                read = pending(&mut self.reading) => self.read(read),
                Ok(()) = outbox.changed() => {
                    let requested = outbox.borrow_and_update().tally.requested;
                    self.unread |= requested != self.seen_requested;
                    self.seen_requested = requested;
                }
                () = at(timer) => self.tick(),
                () = at(self.retry_at), if retrying => self.retry_at = None,
            }
        }
        self.finish().await;
    }

    /// Begins the commit and the read that are due.
    fn start_storage(&mut self) {
        if self.retry_at.is_some() {
            return;
        }
        if self.settling.is_none() && !self.answered.is_empty() {
            self.settling = Some(settle(self.outbox.clone(), std::mem::take(&mut self.answered)));
        }
        let (after, room) = self.flight.wants();
        if self.unread && self.reading.is_none() && room > 0 && self.session.is_some() {
            self.unread = false;
            let outbox = self.outbox.clone();
            let limit = u32::try_from(room).unwrap_or(u32::MAX).min(Outbox::MAX_PAGE);
            self.reading = Some(Box::pin(async move {
                let rows = outbox.waiting_after(after, limit).await?;
                let full = rows.len() >= limit as usize;
                Ok((rows, full))
            }));
        }
    }

    fn read(&mut self, read: Result<(Vec<WaitingShare>, bool), StorageError>) {
        match read {
            Ok((rows, full)) => {
                self.unread |= full;
                self.flight.took(rows);
            }
            Err(error) => {
                self.unread = true;
                self.storage_failed(&error);
            }
        }
        self.end_read();
    }

    /// No read is on its way any more.
    fn end_read(&mut self) {
        self.reading = None;
        let left = self.left_meanwhile.drain(..);
        left.for_each(|hash| self.flight.committed(&hash));
    }

    fn settled(&mut self, (answers, result): (Vec<(HeaderHash, Settlement)>, Result<usize, StorageError>)) {
        self.settling = None;
        match result {
            Ok(_) => {
                self.left_meanwhile.extend(answers.iter().map(|(hash, _)| *hash));
                if self.reading.is_none() {
                    self.end_read();
                }
            }
            Err(error) => {
                self.answered.extend(answers);
                self.storage_failed(&error);
            }
        }
    }

    /// The outbox counts and logs its errors itself.
    fn storage_failed(&mut self, error: &StorageError) {
        debug!(%error, "trying again soon");
        self.retry_at = Some(Instant::now() + STORAGE_RETRY);
    }

    /// A session is ready: the older one, if there is one, ends.
    fn adopt(&mut self, session: S) {
        self.drop_session();
        let mut info = session.watch_info();
        let (mode, address) = {
            let info = info.borrow_and_update();
            (mode_of(&info), info.address)
        };
        info!(%address, ?mode, waiting = self.outbox.view().tally.waiting, "asking the mint for quotes");
        self.flight.begin(mode);
        // A read that began before knows the old cursor.
        self.end_read();
        self.unread = true;
        self.session = Some(Current { session, info });
    }

    /// Ends the session; the answers that it has brought count.
    fn drop_session(&mut self) {
        if let Some(mut current) = self.session.take() {
            while let Ok(answer) = current.session.incoming().answers.try_recv() {
                self.answer(answer);
            }
        }
    }

    fn handle(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Answer(answer) => self.answer(answer),
            LinkEvent::Issued(messages) => self.redeemed.record(&self.outbox, messages),
            // `send_ready` does it.
            LinkEvent::CanSend => {}
            LinkEvent::Changed(Mode::Correlated) => self.flight.upgrade(),
            // Nothing that is on is ever switched off.
            LinkEvent::Changed(Mode::OneAtATime) => {}
            LinkEvent::Ended => {
                self.drop_session();
                info!(
                    waiting = self.outbox.view().tally.waiting,
                    "the mint is gone; shares wait for it"
                );
            }
        }
    }

    fn answer(&mut self, answer: QuoteAnswer) {
        match self.flight.answered(answer, Instant::now()) {
            Verdict::Settle(hash, settlement) => self.answered.push((hash, settlement)),
            Verdict::Later => self.stats.busy(),
            Verdict::Unexpected => self.stats.unexpected(),
        }
    }

    fn tick(&mut self) {
        let silent = self.flight.tick(Instant::now());
        if silent == 0 {
            return;
        }
        self.stats.unanswered(silent);
        if self.flight.mode() == Mode::OneAtATime {
            // What it says from now on could mean this request or the next.
            warn!("the mint did not answer a request in time; the session is given up");
            self.drop_session();
        }
    }

    /// Hands over what the link takes without waiting.
    fn send_ready(&mut self) {
        let Some(Current { session, .. }) = &self.session else {
            return;
        };
        while self.flight.has_next()
            && let Ok(permit) = session.requests().try_reserve()
            && let Some(waiting) = self.flight.next(Instant::now())
        {
            permit.send(request(&waiting, &self.config.unit));
        }
    }

    /// Records what is known, within a deadline.
    async fn finish(mut self) {
        self.drop_session();
        let last = async {
            if let Some(settling) = self.settling.take() {
                let (answers, result) = settling.await;
                if result.is_err() {
                    self.answered.extend(answers);
                }
            }
            let answers = self.answered.into_iter().map(|(_, settlement)| settlement);
            self.outbox.settle(answers.collect()).await
        };
        match timeout(LAST_COMMIT, last).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => warn!(%error, "the last answers are not recorded; they will be asked for again"),
            Err(_) => warn!("recording the last answers took too long; they will be asked for again"),
        }
    }
}

/// What the link to the mint has for the pump.
enum LinkEvent {
    Answer(QuoteAnswer),
    Issued(Vec<Vec<WireHash>>),
    CanSend,
    Changed(Mode),
    Ended,
}

/// The next event of the session, with at most `issued_room` messages about issued quotes; none, ever, without one. Cancel-safe.
async fn link<S: Session>(current: &mut Option<Current<S>>, sending: bool, issued_room: usize) -> LinkEvent {
    let Some(Current { session, info }) = current else {
        return std::future::pending().await;
    };
    let requests = session.requests().clone();
    let Incoming { answers, issued } = session.incoming();
    let mut messages = Vec::new();
    tokio::select! {
        answer = answers.recv() => answer.map_or(LinkEvent::Ended, LinkEvent::Answer),
        count = issued.recv_many(&mut messages, issued_room), if issued_room > 0 => match count {
            0 => LinkEvent::Ended,
            _ => LinkEvent::Issued(messages),
        },
        permit = requests.reserve(), if sending => match permit {
            Ok(_) => LinkEvent::CanSend,
            Err(_) => LinkEvent::Ended,
        },
        Ok(()) = info.changed() => LinkEvent::Changed(mode_of(&info.borrow_and_update())),
    }
}

fn mode_of(info: &SessionInfo) -> Mode {
    if info.extensions.quotes {
        Mode::Correlated
    } else {
        Mode::OneAtATime
    }
}

fn request(waiting: &WaitingShare, unit: &str) -> MintQuoteRequest {
    MintQuoteRequest {
        amount: waiting.share.amount,
        unit: unit.to_owned(),
        header_hash: WireHash(waiting.share.header_hash),
        description: None,
        locking_key: waiting.share.locking_key.to_vec(),
    }
}

fn settle(outbox: Outbox, answers: Vec<(HeaderHash, Settlement)>) -> Settling {
    Box::pin(async move {
        let settlements = answers.iter().map(|(_, settlement)| settlement.clone()).collect();
        let result = outbox.settle(settlements).await;
        (answers, result)
    })
}

async fn pending<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
