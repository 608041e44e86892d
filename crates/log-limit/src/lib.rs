//! What may happen at any rate is told in the log at most once a minute, with how often it has happened meanwhile.
//!
//! Strangers, full disks and peers that go astray must not fill the log, nor hide in it what else goes wrong: each cause
//! has a [`LogLimit`] of its own. Counters and metrics count all of it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// When one cause is worth a line in the log. Takes its time from tokio's clock.
#[derive(Debug, Default)]
pub struct LogLimit {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    untold: u64,
}

impl LogLimit {
    /// Between two lines.
    pub const EVERY: Duration = Duration::from_secs(60);

    /// It has happened. `Some`: it is to be told now, for so many times since the last line, this one included. `None`: a
    /// line was written less than a minute ago.
    pub fn note(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.untold = state.untold.saturating_add(1);
        if state.told.is_some_and(|told| now.duration_since(told) < Self::EVERY) {
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_told_at_once_and_then_once_a_minute_with_how_often_it_was() {
        let limit = LogLimit::default();
        assert_eq!(limit.note(), Some(1));
        for _ in 0..1000 {
            assert_eq!(limit.note(), None);
        }
        tokio::time::advance(LogLimit::EVERY - Duration::from_millis(1)).await;
        assert_eq!(limit.note(), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(limit.note(), Some(1002));
        assert_eq!(limit.note(), None);
    }
}
