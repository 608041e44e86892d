//! A session with a source once it is set up: templates in, blocks out.

use std::time::Duration;

use template_distribution_sv2::SubmitSolutionOwned;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::blocks::Blocks;
use super::board::Board;
use super::client::{Peer, Said, SourceError};

/// How long a stop may wait for blocks that are on their way out.
const LAST_BLOCKS: Duration = Duration::from_millis(500);

pub(super) struct Session<'a, P> {
    pub(super) peer: &'a mut P,
    pub(super) board: &'a mut Board,
    pub(super) solutions: &'a mut mpsc::Receiver<SubmitSolutionOwned>,
    pub(super) blocks: &'a mut Blocks,
    pub(super) silence_timeout: Option<Duration>,
}

impl<P: Peer> Session<'_, P> {
    /// Serves until the session's end, and says why it ended.
    pub(super) async fn serve(mut self, stop: &CancellationToken) -> SourceError {
        match self.run(stop).await {
            Ok(()) => {
                self.last_blocks().await;
                SourceError::Stopped
            }
            Err(error) => error,
        }
    }

    async fn run(&mut self, stop: &CancellationToken) -> Result<(), SourceError> {
        let mut heard = Instant::now();
        loop {
            let synced = self.board.is_synced();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                said = self.peer.next() => {
                    heard = Instant::now();
                    self.hear(said?)?;
                    if self.board.is_synced() && !synced {
                        self.send_blocks().await?;
                    }
                }
                // Before the source has told its tip nobody knows what is stale.
                Some(solution) = self.solutions.recv(), if synced => self.submit(solution).await?,
                after = silence(heard, self.silence_timeout) => return Err(SourceError::Silent(after)),
            }
        }
    }

    fn hear(&mut self, said: Said) -> Result<(), SourceError> {
        match said {
            Said::Template(template) => self.board.template(template)?,
            Said::Tip(tip) => {
                self.board.tip(tip)?;
                self.forget_stale();
            }
            Said::Other => {}
        }
        Ok(())
    }

    /// Sends a block, and keeps it until the tip moves on.
    async fn submit(&mut self, solution: SubmitSolutionOwned) -> Result<(), SourceError> {
        self.blocks.add(solution);
        self.forget_stale();
        self.send_blocks().await
    }

    /// Sends what this session has not sent yet; after a reconnect that is everything which builds on the tip.
    async fn send_blocks(&mut self) -> Result<(), SourceError> {
        while let Some(solution) = self.blocks.next().cloned() {
            let template_id = solution.template_id;
            if let Ok(resolved) = self.board.resolve(solution) {
                self.peer.submit(resolved).await?;
            }
            let first = self.blocks.sent();
            if first {
                self.board.shared().submitted_solution();
            }
            info!(template_id, again = !first, "a block goes to the source of templates");
        }
        Ok(())
    }

    fn forget_stale(&mut self) {
        for _ in 0..self.blocks.forget_stale(self.board) {
            self.board.shared().refused_solution();
            warn!("a block comes too late: the chain has moved on");
        }
    }

    /// On a stop: what miners have found and the source has not got.
    async fn last_blocks(&mut self) {
        let sending = async {
            while self.board.is_synced()
                && let Ok(solution) = self.solutions.try_recv()
            {
                self.submit(solution).await?;
            }
            Ok::<_, SourceError>(())
        };
        match timeout(LAST_BLOCKS, sending).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!("blocks may be lost at the stop: {error}"),
            Err(_) => warn!("blocks may be lost at the stop: the source does not take them"),
        }
    }
}

/// Waits until a source that was `heard` has been silent for too long, and says how long that is.
async fn silence(heard: Instant, allowed: Option<Duration>) -> Duration {
    match allowed {
        Some(allowed) => {
            sleep_until(heard + allowed).await;
            allowed
        }
        None => std::future::pending().await,
    }
}
