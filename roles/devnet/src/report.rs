//! A line with live figures every few seconds, for whoever watches the terminal.

use std::{fmt, time::Duration};

use pool::{ShareIntake, outbox::Outbox};
use service::say;
use stats_push::{SnapshotCache, Status};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::Running;

const PERIOD: Duration = Duration::from_secs(3);

/// What a devnet has done so far.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Shares that the pool accepted since the start; what follows counts since the data directory was made.
    pub shares: u64,
    /// Quotes that the mint made for them.
    pub quotes: u64,
    /// Shares that wait for the mint's answer.
    pub waiting: u64,
    /// Quotes redeemed, as the mint pushed it; `None` before its first snapshot.
    pub redeemed: Option<u64>,
    /// Ehash issued, likewise.
    pub issued: Option<u64>,
    /// How fresh the pushed figures are.
    pub status: Status,
    /// The age of the pushed figures.
    pub age: Option<Duration>,
}

impl Figures {
    pub(crate) fn of(cache: &SnapshotCache, outbox: &Outbox, intake: &ShareIntake) -> Self {
        let view = cache.load();
        let freshness = view.freshness(Instant::now().into_std());
        let ehash = view.latest.as_ref().map(|latest| latest.snapshot.ehash);
        Self {
            shares: intake.counts().accepted,
            quotes: outbox.view().tally.acknowledged,
            waiting: outbox.view().tally.waiting,
            redeemed: ehash.map(|ehash| ehash.quotes_redeemed),
            issued: ehash.map(|ehash| ehash.amounts.issued),
            status: freshness.status,
            age: freshness.age,
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |figure: Option<u64>| figure.map_or_else(|| "–".to_owned(), |figure| figure.to_string());
        write!(
            f,
            "shares {} in this run; in all: quotes {}, redeemed {}, ehash issued {} ({}",
            self.shares,
            self.quotes,
            known(self.redeemed),
            known(self.issued),
            self.status
        )?;
        match self.age {
            Some(age) => write!(f, ", {:.1} s old)", age.as_secs_f64()),
            None => write!(f, ")"),
        }
    }
}

/// Prints [`Figures`] every few seconds, for ever.
pub async fn report(running: &Running) {
    let mut clock = interval(PERIOD);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        say(running.figures());
    }
}
