//! The blocks of the current tip, found by miners, on their way to the source. No sockets in here.
//!
//! Nothing in the protocol says that a block has arrived, but a new tip does. Until then each block is sent once in every
//! session: sent twice it does no harm, lost it does.

use std::collections::VecDeque;

use template_distribution_sv2::SubmitSolutionOwned;

use super::board::Board;

/// Blocks kept for the current tip; the oldest is forgotten first, since a chain takes one a tip.
const KEPT: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Blocks(VecDeque<Block>);

#[derive(Debug)]
struct Block {
    /// With the pool's own template id.
    solution: SubmitSolutionOwned,
    sent: Sent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Never,
    Before,
    InThisSession,
}

impl Blocks {
    /// One more to send.
    pub(super) fn add(&mut self, solution: SubmitSolutionOwned) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Block {
            solution,
            sent: Sent::Never,
        });
    }

    /// The connection is another one: what was sent may not have arrived.
    pub(super) fn reconnected(&mut self) {
        for block in &mut self.0 {
            if block.sent == Sent::InThisSession {
                block.sent = Sent::Before;
            }
        }
    }

    /// Forgets the blocks that the chain has moved on from, and says how many of them were never sent.
    pub(super) fn forget_stale(&mut self, board: &Board) -> usize {
        let mut never_sent = 0;
        self.0.retain(|block| {
            let keep = board.resolve(block.solution.clone()).is_ok();
            never_sent += usize::from(!keep && block.sent == Sent::Never);
            keep
        });
        never_sent
    }

    /// The next to send in this session.
    pub(super) fn next(&self) -> Option<&SubmitSolutionOwned> {
        let due = self.0.iter().find(|block| block.sent != Sent::InThisSession);
        due.map(|block| &block.solution)
    }

    /// What [`next`](Self::next) gave is sent. Says whether for the first time.
    pub(super) fn sent(&mut self) -> bool {
        let due = self.0.iter_mut().find(|block| block.sent != Sent::InThisSession);
        due.is_some_and(|block| std::mem::replace(&mut block.sent, Sent::InThisSession) == Sent::Never)
    }
}

#[cfg(test)]
mod tests;
