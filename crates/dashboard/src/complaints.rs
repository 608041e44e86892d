//! What goes on failing is told in the log, at most once a minute.

use std::time::{Duration, Instant};

const GAP: Duration = Duration::from_secs(60);

/// One kind of complaint.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    last: Option<Instant>,
}

impl Complaints {
    /// Whether a line may be written now. If so, the next may in a minute.
    pub(crate) fn may_speak(&mut self) -> bool {
        let may = self.last.is_none_or(|last| last.elapsed() >= GAP);
        if may {
            self.last = Some(Instant::now());
        }
        may
    }
}
