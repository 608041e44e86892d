//! The embedded source: a synthetic chain, so that nobody needs a node to begin with.
//!
//! It behaves as a node does at its best: a future template ahead of each new tip, now and then a newer template for the
//! same tip, and a tip that moves on when somebody finds a block, which may be the pool's own miners.

mod chain;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use template_distribution_sv2::SubmitSolutionOwned;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::chain::Chain;
use super::board::{Board, Violation};
use super::config::EmbeddedSection;

/// How long ahead of the tip its template is told, at most.
const LEAD: Duration = Duration::from_secs(1);

/// The chain and its timetable; there is work as soon as it is made.
pub(super) struct Embedded {
    board: Board,
    chain: Chain,
    timetable: Timetable,
}

impl Embedded {
    pub(super) fn new(config: &EmbeddedSection, mut board: Board) -> Self {
        board.connected();
        let mut source = Self {
            board,
            chain: Chain::new(config.n_bits, StdRng::from_os_rng(), unix_seconds()),
            timetable: Timetable::new(config, Instant::now()),
        };
        let begun = source.move_on(None);
        source.note(begun);
        source
    }

    /// Runs until `stop`.
    pub(super) async fn run(mut self, solutions: mpsc::Receiver<SubmitSolutionOwned>, stop: CancellationToken) {
        let ended = self.serve(solutions, stop).await;
        self.note(ended);
    }

    /// The chain keeps to the protocol, or this is a defect that readers must see.
    fn note(&self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.board.shared().away(violation.to_string());
            error!(%violation, "the embedded chain has stopped");
        }
    }

    async fn serve(
        &mut self,
        mut solutions: mpsc::Receiver<SubmitSolutionOwned>,
        stop: CancellationToken,
    ) -> Result<(), Violation> {
        loop {
            let (at, step) = self.timetable.next();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(solution) = solutions.recv() => self.solution(solution)?,
                () = sleep_until(at) => match step {
                    Due::Template => {
                        self.board.template(self.chain.template()?)?;
                        self.timetable.template(at);
                    }
                    Due::Future => {
                        self.board.template(self.chain.future()?)?;
                        self.timetable.future();
                    }
                    Due::Block => self.move_on(None)?,
                },
            }
        }
    }

    /// The tip moves on, by the miners' own block or by somebody else's.
    fn move_on(&mut self, found: Option<bitcoin::BlockHash>) -> Result<(), Violation> {
        if !self.chain.has_future() {
            self.board.template(self.chain.future()?)?;
        }
        if let Some(tip) = self.chain.extend(found, unix_seconds()) {
            self.board.tip(tip)?;
        }
        self.timetable.block(Instant::now());
        Ok(())
    }

    fn solution(&mut self, solution: SubmitSolutionOwned) -> Result<(), Violation> {
        let template_id = solution.template_id;
        let judged = match self.board.resolve(solution) {
            Ok(solution) => self
                .chain
                .judge(&solution, unix_seconds())
                .map_err(|unfit| unfit.to_string()),
            Err(stale) => Err(stale.to_string()),
        };
        match judged {
            Ok(hash) => {
                self.board.shared().submitted_solution();
                info!(template_id, height = self.chain.height(), %hash, "a block for the embedded chain");
                self.move_on(Some(hash))
            }
            Err(reason) => {
                self.board.shared().refused_solution();
                warn!(template_id, "a block that the embedded chain does not take: {reason}");
                Ok(())
            }
        }
    }
}

/// What comes next, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Template,
    Future,
    Block,
}

struct Timetable {
    block_interval: Duration,
    template_interval: Duration,
    lead: Duration,
    block: Instant,
    template: Instant,
    has_future: bool,
}

impl Timetable {
    fn new(config: &EmbeddedSection, now: Instant) -> Self {
        let mut timetable = Self {
            block_interval: config.block_interval,
            template_interval: config.template_interval,
            lead: LEAD.min(config.block_interval / 10),
            block: now,
            template: now,
            has_future: false,
        };
        timetable.block(now);
        timetable
    }

    /// A new tip, at `now`.
    fn block(&mut self, now: Instant) {
        self.block = now + self.block_interval;
        self.template = now + self.template_interval;
        self.has_future = false;
    }

    /// A new template for the same tip, due `at`.
    fn template(&mut self, at: Instant) {
        self.template = at + self.template_interval;
    }

    fn future(&mut self) {
        self.has_future = true;
    }

    fn next(&self) -> (Instant, Due) {
        let future = self.block - self.lead;
        if self.template < future {
            (self.template, Due::Template)
        } else if self.has_future {
            (self.block, Due::Block)
        } else {
            (future, Due::Future)
        }
    }
}

fn unix_seconds() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
