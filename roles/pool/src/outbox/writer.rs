//! The thread that writes: everything that waits when it looks goes into one transaction, and so one fsync.
//!
//! While a commit is on its way to the disk, the next callers queue up; the slower the disk, the larger the groups.
//! An error rolls the group back, is told to each of its callers, and the next group starts on a fresh connection.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use log_limit::LogLimit;
use tokio::sync::{OwnedSemaphorePermit, broadcast, oneshot, watch};
use tracing::{error, info, warn};

use super::Clock;
use super::store::{Added, OpenError, Retention, Store};
use crate::amount::HeaderHash;

use super::types::{AcceptedShare, Acknowledgements, EnqueueError, Settlement, StorageError, Tally, View};

/// How often the file is asked whether another process has written to it.
const FILE_POLL: Duration = Duration::from_millis(50);
/// Commands in one transaction at most.
const MAX_GROUP: usize = 1024;
/// How often an idle outbox looks for rows to prune, and one that could not write tries again.
const IDLE_PRUNE: Duration = Duration::from_secs(1);
/// Rows pruned in one transaction at most; more than one group settles, so that pruning keeps up.
const PRUNE_ROWS: u64 = 2048;

/// Where a command that changes shares tells how many.
pub(super) type CountReply = oneshot::Sender<Result<usize, StorageError>>;

/// What the handles ask for. The permit travels along and bounds the queue.
pub(super) enum Command {
    Enqueue {
        share: AcceptedShare,
        reply: oneshot::Sender<Result<(), EnqueueError>>,
        permit: OwnedSemaphorePermit,
    },
    Settle {
        settlements: Vec<Settlement>,
        reply: CountReply,
        permit: OwnedSemaphorePermit,
    },
    Redeem {
        header_hashes: Vec<HeaderHash>,
        reply: CountReply,
        permit: OwnedSemaphorePermit,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
    #[cfg(test)]
    Inspect(Box<dyn FnOnce(&Store) + Send>),
}

/// What a command came to, known before the commit and told after it.
enum Outcome {
    Added(Added),
    Changed(usize),
    Nothing,
}

pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) store: Option<Store>,
    pub(super) commands: Receiver<Command>,
    pub(super) view: watch::Sender<Arc<View>>,
    pub(super) news: broadcast::Sender<Arc<Acknowledgements>>,
    /// The `upto` that was told last.
    pub(super) told: u64,
    pub(super) max_waiting: u64,
    pub(super) retention: Retention,
    pub(super) clock: Clock,
    pub(super) seen_version: i64,
    pub(super) pruned_at: Instant,
    pub(super) failures: LogLimit,
    /// A failure was logged; that it is over must be too.
    pub(super) failure_told: bool,
    pub(super) room: Room,
}

/// Whether the log knows that the outbox is full.
#[derive(Debug)]
pub(super) struct Room {
    max_waiting: u64,
    told_full: bool,
}

/// What the log is to be told.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Full,
    Room,
}

impl Room {
    pub(super) fn new(max_waiting: u64) -> Self {
        Self {
            max_waiting,
            told_full: false,
        }
    }

    /// What a count of waiting shares is news of. An outbox with a slow mint is full and has room for one by turns,
    /// which must not be two lines for each share: room is told when it is a tenth.
    fn turn(&mut self, waiting: u64) -> Option<Turn> {
        let full = waiting >= self.max_waiting;
        let roomy = !full && waiting <= self.max_waiting - self.max_waiting / 10;
        if full && !self.told_full {
            self.told_full = true;
            Some(Turn::Full)
        } else if roomy && self.told_full {
            self.told_full = false;
            Some(Turn::Room)
        } else {
            None
        }
    }
}

impl Writer {
    /// Serves until every handle is gone or one has closed it.
    pub(super) fn run(mut self) {
        let mut group = Vec::with_capacity(MAX_GROUP);
        let mut closing = None;
        // A pool may start with an outbox that its last run has filled.
        let waiting = self.view.borrow().tally.waiting;
        self.tell_room(waiting);
        while closing.is_none() {
            match self.commands.recv_timeout(FILE_POLL) {
                Ok(command) => group.push(command),
                Err(RecvTimeoutError::Timeout) => {
                    self.idle();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while group.len() < MAX_GROUP
                && let Ok(command) = self.commands.try_recv()
            {
                group.push(command);
            }
            closing = self.serve(&mut group);
        }
        if let Some(store) = self.store.take()
            && let Err(error) = store.close()
        {
            warn!(%error, "the outbox did not close cleanly; its log is replayed at the next start");
        }
        // Whoever waits for the end finds it ended.
        drop(self);
        if let Some(reply) = closing {
            let _ = reply.send(());
        }
    }

    /// Nothing asked for: notice what another process has written, prune, and find out whether a disk has room again.
    fn idle(&mut self) {
        if let Err(error) = self.look_around() {
            self.failed(&error);
        }
    }

    fn look_around(&mut self) -> Result<(), StorageError> {
        let (retention, now_ms) = (self.retention, (self.clock)());
        let seen = self.seen_version;
        let due = self.pruned_at.elapsed() >= IDLE_PRUNE;
        let healthy = self.view.borrow().healthy;
        let store = self.store()?;
        let version = store.data_version()?;
        if version != seen {
            let tally = store.tally()?;
            self.seen_version = version;
            let settled_seq = tally.settled_seq;
            self.publish(tally, 0);
            self.tell(Acknowledgements {
                after: settled_seq,
                upto: settled_seq,
                quotes: Vec::new(),
            });
        }
        if due {
            self.pruned_at = Instant::now();
            let store = self.store()?;
            // A batch writes at least the counts: whoever reads only can't tell that there is no room.
            if !healthy || store.prunable(retention, now_ms)? {
                let mut batch = store.begin(now_ms)?;
                batch.prune(retention, PRUNE_ROWS)?;
                let (tally, news) = batch.commit()?;
                self.publish(tally, 1);
                self.tell(news);
            }
        }
        Ok(())
    }

    /// One group, one transaction; gives back who is waiting for the end, if the group held one.
    fn serve(&mut self, group: &mut Vec<Command>) -> Option<oneshot::Sender<()>> {
        let outcomes = self.commit(group);
        if let Err(error) = &outcomes {
            self.failed(error);
        }
        let mut outcomes = outcomes.map(Vec::into_iter);
        let mut closing = None;
        for command in group.drain(..) {
            let outcome = match &mut outcomes {
                Ok(outcomes) => Ok(outcomes.next().unwrap_or(Outcome::Nothing)),
                Err(error) => Err(error.clone()),
            };
            // A caller that no longer listens has given up waiting, not its share: nothing to do for it.
            match command {
                Command::Enqueue { reply, permit, .. } => {
                    let _ = reply.send(match outcome {
                        Ok(Outcome::Added(Added::Yes)) => Ok(()),
                        Ok(Outcome::Added(Added::Full)) => Err(EnqueueError::Full {
                            max_waiting: self.max_waiting,
                        }),
                        Ok(Outcome::Added(Added::Duplicate)) => Err(EnqueueError::Duplicate),
                        Ok(_) => Err(EnqueueError::Closed),
                        Err(error) => Err(error.into()),
                    });
                    drop(permit);
                }
                Command::Settle { reply, permit, .. } | Command::Redeem { reply, permit, .. } => {
                    let _ = reply.send(outcome.map(|outcome| match outcome {
                        Outcome::Changed(rows) => rows,
                        Outcome::Added(_) | Outcome::Nothing => 0,
                    }));
                    drop(permit);
                }
                Command::Close { reply } => closing = Some(reply),
                #[cfg(test)]
                Command::Inspect(look) => {
                    if let Some(store) = &self.store {
                        look(store);
                    }
                }
            }
        }
        closing
    }

    fn commit(&mut self, group: &[Command]) -> Result<Vec<Outcome>, StorageError> {
        let writes = group.iter().any(|command| {
            matches!(
                command,
                Command::Enqueue { .. } | Command::Settle { .. } | Command::Redeem { .. }
            )
        });
        if !writes {
            return Ok(Vec::new());
        }
        let (retention, max_waiting, now_ms) = (self.retention, self.max_waiting, (self.clock)());
        let mut outcomes = Vec::with_capacity(group.len());
        let mut batch = self.store()?.begin(now_ms)?;
        for command in group {
            outcomes.push(match command {
                Command::Enqueue { share, .. } => Outcome::Added(batch.add(share, max_waiting)?),
                Command::Settle { settlements, .. } => {
                    let mut settled = 0;
                    for settlement in settlements {
                        settled += usize::from(batch.settle(settlement)?);
                    }
                    Outcome::Changed(settled)
                }
                Command::Redeem { header_hashes, .. } => {
                    let mut redeemed = 0;
                    for header_hash in header_hashes {
                        redeemed += usize::from(batch.redeem(header_hash)?);
                    }
                    Outcome::Changed(redeemed)
                }
                Command::Close { .. } => Outcome::Nothing,
                #[cfg(test)]
                Command::Inspect(_) => Outcome::Nothing,
            });
        }
        batch.prune(retention, PRUNE_ROWS)?;
        let (tally, news) = batch.commit()?;
        self.publish(tally, 1);
        self.tell(news);
        Ok(outcomes)
    }

    /// The open connection, opened again after an error.
    fn store(&mut self) -> Result<&mut Store, StorageError> {
        let store = match self.store.take() {
            Some(store) => store,
            None => Store::open(&self.path).map_err(|error| match error {
                OpenError::Sqlite(error) => StorageError::from(error),
                other => StorageError::other(&other),
            })?,
        };
        Ok(self.store.insert(store))
    }

    /// Counts and logs an error; the connection that it came from is given up.
    fn failed(&mut self, error: &StorageError) {
        self.store = None;
        self.seen_version = -1;
        self.pruned_at = Instant::now();
        self.view.send_modify(|view| {
            let mut next = View::clone(view);
            next.storage_errors += 1;
            next.healthy = false;
            *view = Arc::new(next);
        });
        if let Some(times) = self.failures.note() {
            self.failure_told = true;
            error!(
                file = %self.path.display(), %error, times, "the outbox can't write; shares are refused until it can"
            );
        }
    }

    /// For whoever listens. What another process has acknowledged, or a commit that came back as an error, is not named:
    /// listeners see that they have missed it.
    fn tell(&mut self, news: Acknowledgements) {
        if news.upto != self.told {
            self.told = news.upto;
            // An error means that nobody listens.
            let _ = self.news.send(Arc::new(news));
        }
    }

    /// Logs once that new shares are refused, and once that they are taken again.
    fn tell_room(&mut self, waiting: u64) {
        let (file, max_waiting) = (self.path.display(), self.max_waiting);
        match self.room.turn(waiting) {
            Some(Turn::Full) => warn!(
                %file,
                "the outbox is full: {waiting} of {max_waiting} shares wait for the mint; new ones are refused"
            ),
            Some(Turn::Room) => info!(
                %file,
                "the outbox has room again: {waiting} of {max_waiting} shares wait for the mint; new ones are taken"
            ),
            None => {}
        }
    }

    /// Shows the counts after this many commits of our own: only a write tells that the file can be written.
    fn publish(&mut self, tally: Tally, commits: u64) {
        let written = commits > 0;
        if written && std::mem::take(&mut self.failure_told) {
            info!(file = %self.path.display(), "the outbox can be written again");
        }
        self.tell_room(tally.waiting);
        self.view.send_modify(|view| {
            *view = Arc::new(View {
                tally,
                commits: view.commits + commits,
                storage_errors: view.storage_errors,
                healthy: view.healthy || written,
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_outbox_is_told_once_and_once_that_it_has_room() {
        let mut room = Room::new(20);
        let turns = [0, 19, 20, 20, 19, 20, 19, 18, 17, 19, 20].map(|waiting| room.turn(waiting));
        let told: Vec<_> = turns
            .into_iter()
            .enumerate()
            .filter_map(|(n, turn)| Some((n, turn?)))
            .collect();
        assert_eq!(told, [(2, Turn::Full), (7, Turn::Room), (10, Turn::Full)]);
    }

    #[test]
    fn a_small_outbox_has_room_with_one_place() {
        let mut room = Room::new(1);
        assert_eq!(
            [0, 1, 0].map(|n| room.turn(n)),
            [None, Some(Turn::Full), Some(Turn::Room)]
        );
    }
}
