//! How the source of templates is doing: written by its task, read by whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::config::Source;
use super::work::Work;

/// A source that has been away for this long counts as gone: what is mined by then is likely to be orphaned.
const GONE: Duration = Duration::from_secs(60);

/// The source of templates at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateStatus {
    /// Which source it is.
    pub source: Source,
    /// Whether it is there.
    pub connected: bool,
    /// For how long it has been there or not.
    pub connected_or_away: Duration,
    /// Why it is away, in one line.
    pub problem: Option<String>,
    /// How long ago the current template came; `None` before the first.
    pub age: Option<Duration>,
    /// Connections that came to work, the first one not counted.
    pub reconnects: u64,
    /// Templates that the source has given.
    pub templates: u64,
    /// Blocks that the chain has moved on by.
    pub tips: u64,
    /// What became of the blocks that miners found.
    pub solutions: SolutionCounts,
}

/// Blocks that miners found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SolutionCounts {
    /// Handed to the source; the embedded chain has accepted them too.
    pub submitted: u64,
    /// Not handed over, since the chain had moved on, or not accepted by the embedded chain.
    pub refused: u64,
    /// Lost because too many waited.
    pub lost: u64,
}

impl TemplateStatus {
    /// Whether miners have something to mine that is worth it: there is a template, and its source is there or has been
    /// away for less than a minute.
    ///
    /// # Errors
    /// What is missing, in one line.
    pub fn current(&self) -> Result<(), String> {
        let problem = self.problem.as_deref().unwrap_or("not connected");
        match self.age {
            None if self.connected => Err("no template yet".to_owned()),
            None => Err(format!("no template yet: {problem}")),
            Some(_) if self.connected || self.connected_or_away < GONE => Ok(()),
            Some(age) => Err(format!("the template is {} s old: {problem}", age.as_secs())),
        }
    }
}

/// What a source's task and the readers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) work: watch::Sender<Option<Arc<Work>>>,
    source: Source,
    link: Mutex<Link>,
    sessions: AtomicU64,
    templates: AtomicU64,
    tips: AtomicU64,
    submitted: AtomicU64,
    refused: AtomicU64,
    lost: AtomicU64,
}

#[derive(Debug)]
struct Link {
    connected: bool,
    since: Instant,
    problem: Option<String>,
}

impl Shared {
    pub(super) fn new(source: Source) -> Self {
        Self {
            work: watch::Sender::new(None),
            source,
            link: Mutex::new(Link {
                connected: false,
                since: Instant::now(),
                problem: None,
            }),
            sessions: AtomicU64::new(0),
            templates: AtomicU64::new(0),
            tips: AtomicU64::new(0),
            submitted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// The source is there.
    pub(super) fn connected(&self) {
        self.sessions.fetch_add(1, Relaxed);
        *self.link() = Link {
            connected: true,
            since: Instant::now(),
            problem: None,
        };
    }

    /// The source is away, and why. Counts from the moment at which it went.
    pub(super) fn away(&self, problem: String) {
        let mut link = self.link();
        if link.connected {
            link.connected = false;
            link.since = Instant::now();
        }
        link.problem = Some(problem);
    }

    pub(super) fn gave_template(&self) {
        self.templates.fetch_add(1, Relaxed);
    }

    pub(super) fn moved_on(&self) {
        self.tips.fetch_add(1, Relaxed);
    }

    pub(super) fn submitted_solution(&self) {
        self.submitted.fetch_add(1, Relaxed);
    }

    pub(super) fn refused_solution(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(super) fn lost_solution(&self) {
        self.lost.fetch_add(1, Relaxed);
    }

    pub(super) fn status(&self) -> TemplateStatus {
        let link = self.link();
        TemplateStatus {
            source: self.source,
            connected: link.connected,
            connected_or_away: link.since.elapsed(),
            problem: link.problem.clone(),
            age: self.work.borrow().as_ref().map(|work| work.since.elapsed()),
            reconnects: self.sessions.load(Relaxed).saturating_sub(1),
            templates: self.templates.load(Relaxed),
            tips: self.tips.load(Relaxed),
            solutions: SolutionCounts {
                submitted: self.submitted.load(Relaxed),
                refused: self.refused.load(Relaxed),
                lost: self.lost.load(Relaxed),
            },
        }
    }

    /// Nothing that holds this can panic half-way, so what a poisoned one holds is whole.
    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
