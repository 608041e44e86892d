//! A session with a provider once it is set up: templates in, blocks out.

use std::time::Duration;

use binary_sv2::{from_bytes, to_bytes};
use futures::{SinkExt as _, StreamExt as _};
use sv2_transport::{Frame, FrameReader, FrameWriter};
use template_distribution_sv2::{
    MESSAGE_TYPE_NEW_TEMPLATE, MESSAGE_TYPE_SET_NEW_PREV_HASH, MESSAGE_TYPE_SUBMIT_SOLUTION, NewTemplate,
    SetNewPrevHash, SubmitSolutionOwned,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::SessionError;
use super::blocks::Blocks;
use crate::templates::board::Board;

/// How long a stop may wait for blocks that are on their way out.
const LAST_BLOCKS: Duration = Duration::from_millis(500);

pub(super) struct Session<'a, S> {
    pub(super) reader: FrameReader<S>,
    pub(super) writer: FrameWriter<S>,
    pub(super) board: &'a mut Board,
    pub(super) solutions: &'a mut mpsc::Receiver<SubmitSolutionOwned>,
    pub(super) blocks: &'a mut Blocks,
    pub(super) step_timeout: Duration,
    pub(super) silence_timeout: Duration,
}

impl<S: AsyncRead + AsyncWrite> Session<'_, S> {
    /// Serves until the session's end, and says why it ended.
    pub(super) async fn serve(mut self, stop: &CancellationToken) -> SessionError {
        match self.run(stop).await {
            Ok(()) => {
                self.last_blocks().await;
                SessionError::Stopped
            }
            Err(error) => error,
        }
    }

    async fn run(&mut self, stop: &CancellationToken) -> Result<(), SessionError> {
        let mut silent = Instant::now() + self.silence_timeout;
        loop {
            let synced = self.board.is_synced();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                frame = self.reader.next() => {
                    silent = Instant::now() + self.silence_timeout;
                    self.read(frame.ok_or(SessionError::Closed)??)?;
                    if self.board.is_synced() && !synced {
                        self.send_blocks().await?;
                    }
                }
                // Before the provider has told its tip nobody knows what is stale.
                Some(solution) = self.solutions.recv(), if synced => self.submit(solution).await?,
                () = sleep_until(silent) => return Err(SessionError::Silent(self.silence_timeout)),
            }
        }
    }

    fn read(&mut self, mut frame: Frame) -> Result<(), SessionError> {
        match (frame.extension_type, frame.msg_type) {
            (0, MESSAGE_TYPE_NEW_TEMPLATE) => {
                let template: NewTemplate<'_> = from_bytes(&mut frame.payload)?;
                self.board.template(template.into_owned())?;
            }
            (0, MESSAGE_TYPE_SET_NEW_PREV_HASH) => {
                let tip: SetNewPrevHash<'_> = from_bytes(&mut frame.payload)?;
                self.board.tip(tip.into_owned())?;
                for _ in 0..self.blocks.forget_stale(self.board) {
                    self.refuse();
                }
            }
            // What an extension adds is to be discarded by who does not know it (section 3.4).
            _ => debug!(?frame, "a message that the pool has no use for"),
        }
        Ok(())
    }

    /// Sends a block, and keeps it until the tip moves on.
    async fn submit(&mut self, solution: SubmitSolutionOwned) -> Result<(), SessionError> {
        self.blocks.add(solution);
        for _ in 0..self.blocks.forget_stale(self.board) {
            self.refuse();
        }
        self.send_blocks().await
    }

    /// Sends what this session has not sent yet; after a reconnect that is everything which builds on the tip.
    async fn send_blocks(&mut self) -> Result<(), SessionError> {
        while let Some(solution) = self.blocks.next().cloned() {
            let template_id = solution.template_id;
            if let Ok(resolved) = self.board.resolve(solution) {
                self.send(resolved).await?;
            }
            let first = self.blocks.sent();
            if first {
                self.board.shared().submitted_solution();
            }
            info!(template_id, again = !first, "a block goes to the template provider");
        }
        Ok(())
    }

    fn refuse(&self) {
        self.board.shared().refused_solution();
        warn!("a block comes too late: the chain has moved on");
    }

    async fn send(&mut self, solution: SubmitSolutionOwned) -> Result<(), SessionError> {
        let frame = Frame::new(0, MESSAGE_TYPE_SUBMIT_SOLUTION, to_bytes(solution)?);
        let after = self.step_timeout;
        let sent = timeout(after, self.writer.send(frame)).await;
        let step = "sending a block";
        Ok(sent.map_err(|_| SessionError::Deadline { step, after })??)
    }

    /// On a stop: what miners have found and the provider has not.
    async fn last_blocks(&mut self) {
        let sending = async {
            while self.board.is_synced()
                && let Ok(solution) = self.solutions.try_recv()
            {
                self.submit(solution).await?;
            }
            Ok::<_, SessionError>(())
        };
        match timeout(LAST_BLOCKS, sending).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!("blocks may be lost at the stop: {error}"),
            Err(_) => warn!("blocks may be lost at the stop: the provider does not take them"),
        }
    }
}
