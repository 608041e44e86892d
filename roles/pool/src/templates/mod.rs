//! Where the blocks come from that are mined: one interface, three sources.
//!
//! ```text
//! source ── NewTemplate, SetNewPrevHash ─▶ Board ── watch ─▶ Work ─▶ mining server
//!        ◀──────── SubmitSolution ─────────────── bounded queue ◀──┘
//! ```
//!
//! A source is the embedded chain, an SV2 template provider or Bitcoin Core; each speaks the Template Distribution
//! Protocol (SV2 specification, section 7). The `Board` checks what it says and turns it into [`Work`]: always whole,
//! always the newest. While a source is away its last work is served on.

#[cfg(feature = "bitcoin-core")]
mod bitcoin_core;
mod blocks;
mod board;
mod client;
mod config;
mod embedded;
mod session;
mod status;
mod sv2_tp;
mod work;

use std::sync::Arc;

use service::vital;
use template_distribution_sv2::{CoinbaseOutputConstraints, SubmitSolutionOwned};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

use self::board::Board;
use self::client::Client;
pub use self::config::{
    BitcoinCoreSection, EmbeddedSection, NetworkTarget, NetworkTargetError, Source, Sv2TpSection, TemplatesSection,
};
use self::embedded::Embedded;
use self::status::Shared;
pub use self::status::{SolutionCounts, TemplateStatus};
pub use self::work::Work;

/// Solutions on their way to the source, also while it is away. They are blocks: more than a few at once means that the
/// network's difficulty is a toy's.
const SOLUTIONS: usize = 64;

/// Why a source can't start.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// Bitcoin Core's interface, in a pool built without it. [`TemplatesSection::check`] says the same in more words.
    #[error("templates.source = \"bitcoin-core\": this pool is built without the feature bitcoin-core")]
    NotBuilt,
}

/// What is to be mined, and where a block goes that was found. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Templates {
    shared: Arc<Shared>,
    solutions: mpsc::Sender<SubmitSolutionOwned>,
}

impl Templates {
    /// The work of the moment, and the news of it; `None` before the first template. Only the newest is kept, so a reader
    /// may find several steps done at once.
    #[must_use]
    pub fn work(&self) -> watch::Receiver<Option<Arc<Work>>> {
        self.shared.work.subscribe()
    }

    /// Hands a block to the source; its `template_id` is that of the [`Work`]. Never waits. It is refused, counted and
    /// logged, if 64 others wait already or if the chain has moved on before the source can take it.
    pub fn submit(&self, solution: SubmitSolutionOwned) {
        if let Err(refused) = self.solutions.try_send(solution) {
            let template_id = match &refused {
                mpsc::error::TrySendError::Full(solution) | mpsc::error::TrySendError::Closed(solution) => {
                    solution.template_id
                }
            };
            self.shared.lost_solution();
            error!(
                template_id,
                "a block is lost: the source of templates takes no solution: {refused}"
            );
        }
    }

    /// How the source is doing.
    #[must_use]
    pub fn status(&self) -> TemplateStatus {
        self.shared.status()
    }
}

/// Starts the configured source; it runs until `stop`, and the task ends then. If it crashes `stop` is cancelled. `constraints` says how much room the pool
/// needs in the coinbase transaction; the embedded chain has room for any.
///
/// Returns at once. The embedded chain has work by then; from another process it comes later.
///
/// # Errors
/// [`TemplateError`].
pub fn start(
    config: &TemplatesSection,
    constraints: CoinbaseOutputConstraints,
    stop: CancellationToken,
) -> Result<(Templates, JoinHandle<()>), TemplateError> {
    let shared = Arc::new(Shared::new(config.source));
    let (solutions, inbox) = mpsc::channel(SOLUTIONS);
    let board = Board::new(Arc::clone(&shared));
    let task = match config.source {
        Source::Embedded => {
            let embedded = Embedded::new(&config.embedded, board);
            tokio::spawn(vital(stop.clone(), embedded.run(inbox, stop)))
        }
        Source::Sv2Tp => {
            let provider = sv2_tp::Provider::new(config.sv2_tp.clone(), constraints);
            tokio::spawn(vital(stop.clone(), Client::new(provider, board, inbox).run(stop)))
        }
        #[cfg(feature = "bitcoin-core")]
        Source::BitcoinCore => {
            let node = bitcoin_core::Node::new(config.bitcoin_core.clone(), constraints);
            tokio::spawn(vital(stop.clone(), Client::new(node, board, inbox).run(stop)))
        }
        #[cfg(not(feature = "bitcoin-core"))]
        Source::BitcoinCore => return Err(TemplateError::NotBuilt),
    };
    Ok((Templates { shared, solutions }, task))
}
