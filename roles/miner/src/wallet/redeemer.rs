//! The handle that takes quotes and the task that mints them, round after round.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::config::WalletConfig;
use super::error::WalletError;
use super::queue::{Queue, QuoteId};
use super::round::{Round, RoundError};
use super::shared::{Progress, Shared, shorten};
use super::store::Store;

/// A round that takes longer has lost its mint.
const ROUND_DEADLINE: Duration = Duration::from_secs(60);

/// How long a round may go on after the stop. What it leaves unfinished, the next run finishes.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Delays after trouble with the mint: doubled each time, with jitter.
const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// How long quotes that can't be minted yet are left alone, and how often unfinished operations are looked at.
const IDLE: Duration = Duration::from_secs(2);

/// Takes the ids of quotes that are locked to the wallet's key. Cheap to clone.
#[derive(Clone)]
pub struct Redeemer {
    shared: Arc<Shared>,
}

impl fmt::Debug for Redeemer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redeemer")
            .field("progress", &*self.shared.follow().borrow())
            .finish_non_exhaustive()
    }
}

/// Mints what the [`Redeemer`] takes. To be run once.
pub struct RedeemTask {
    shared: Arc<Shared>,
    batch_max: usize,
    gather: Duration,
    unsettled: bool,
    /// When unfinished operations are looked at again.
    recover_at: Instant,
    /// Quotes looked at since one was last settled.
    fruitless: usize,
    delays: ExponentialBackoff,
}

impl Redeemer {
    /// Opens the wallet, or makes one, with all the quotes that it still has to mint. No mint is needed for that.
    ///
    /// # Errors
    /// The directory can't be used, is in use, or belongs to another mint.
    pub async fn open(config: &WalletConfig) -> Result<(Self, RedeemTask), WalletError> {
        let store = Store::open(config).await?;
        let mut queue = Queue::default();
        // Those that are issued here, too: they were interrupted on the last step, and their ehash may not be here yet.
        for quote in store.quotes().await? {
            queue.push(quote.id.into());
        }
        let shared = Arc::new(Shared::new(store, queue));
        let task = RedeemTask {
            shared: Arc::clone(&shared),
            batch_max: config.batch_max,
            gather: config.gather,
            unsettled: true,
            recover_at: Instant::now(),
            fruitless: 0,
            delays: delays(),
        };
        Ok((Self { shared }, task))
    }

    /// The key that quotes for this wallet are to be locked to: 33 bytes, compressed (NUT-20).
    #[must_use]
    pub fn locking_key(&self) -> [u8; 33] {
        self.shared.store.locking_key().to_bytes()
    }

    /// Takes quotes to mint; they are on disk when this returns. One that is known already changes nothing, and
    /// neither does one that was minted before: it is remembered, or the mint will tell. Returns how many were new.
    ///
    /// # Errors
    /// An id that is none, too many waiting, or the wallet's database fails. Those before it are taken.
    pub async fn add<I>(&self, ids: I) -> Result<usize, WalletError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut new = 0;
        for id in ids {
            new += usize::from(self.shared.add(id.as_ref()).await?);
        }
        Ok(new)
    }

    /// Follows what becomes of the quotes.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.follow()
    }

    /// Brings back from the mint what the wallet held, if its database was lost, or found to be an older copy, and this has
    /// not been done since. The [`RedeemTask`] does so by itself; whoever does not run it has to before asking for the
    /// balance or sending.
    ///
    /// # Errors
    /// The mint can't be asked, or the wallet's database fails. The next call tries again.
    pub async fn restore(&self) -> Result<(), WalletError> {
        self.shared.store.restore().await
    }

    /// Unspent ehash in the wallet.
    ///
    /// # Errors
    /// The wallet's database fails.
    pub async fn balance(&self) -> Result<u64, WalletError> {
        self.shared.store.balance().await
    }
}

impl Redeemer {
    pub(super) fn store(&self) -> &Store {
        &self.shared.store
    }

    pub(super) fn wallet(&self) -> &cdk::wallet::Wallet {
        &self.shared.store.wallet
    }
}

impl RedeemTask {
    /// Mints until stopped. Trouble with the mint is waited out with growing delays and shows in the [`Progress`].
    pub async fn run(mut self, stop: CancellationToken) {
        while until(&stop, self.restore()).await.is_some() {
            let Some(ids) = until(&stop, self.next()).await else {
                break;
            };
            let shared = Arc::clone(&self.shared);
            let work = async { timeout(ROUND_DEADLINE, self.round(&ids)).await };
            let Some(outcome) = with_grace(&stop, work).await else {
                break;
            };
            let failed = !matches!(outcome, Ok(Ok(())));
            let idle = self.is_idle(shared.put_back(ids, failed));
            let pause = match outcome {
                Ok(Ok(())) => {
                    self.delays = delays();
                    shared.note(
                        self.unsettled
                            .then_some("a request that was interrupted is not settled yet"),
                    );
                    if !idle {
                        continue;
                    }
                    IDLE
                }
                Ok(Err(RoundError::Mint(error))) => self.trouble_with_mint(&error),
                Ok(Err(error)) => self.trouble(&error.to_string()),
                Err(_) => self.trouble_with_mint(&"it takes too long"),
            };
            let woken = async {
                tokio::select! {
                    () = sleep(pause) => {}
                    () = shared.arrival(), if !failed => {}
                }
            };
            if until(&stop, woken).await.is_none() {
                break;
            }
        }
    }

    /// Brings back what the database lacks, if that is due, however often the mint has to be asked. It has no deadline:
    /// the more there is, the longer it takes.
    async fn restore(&mut self) {
        let mut failed = false;
        while let Err(error) = self.shared.store.restore().await {
            let pause = match &error {
                WalletError::Restore { source, .. } => self.trouble_with_mint(source),
                other => self.trouble(&other.to_string()),
            };
            failed = true;
            sleep(pause).await;
        }
        if failed {
            self.delays = delays();
            self.shared.note(None);
        }
    }

    /// Waits for something to do: the quotes to look at, none if only unfinished operations are left.
    async fn next(&mut self) -> Vec<QuoteId> {
        if !self.unsettled {
            while self.shared.lock().in_line() == 0 {
                self.shared.arrival().await;
            }
            if self.shared.lock().in_line() < self.batch_max {
                sleep(self.gather).await;
            }
        }
        self.shared.lock().take(self.batch_max)
    }

    async fn round(&mut self, ids: &[QuoteId]) -> Result<(), RoundError> {
        if self.unsettled && Instant::now() >= self.recover_at {
            self.recover_at = Instant::now() + IDLE;
            Round::new(&self.shared, &mut self.unsettled).recover().await?;
        }
        let mut round = Round::new(&self.shared, &mut self.unsettled);
        if !ids.is_empty() {
            let limit = round.batch_limit().await?;
            for ids in ids.chunks(limit) {
                round.mint(ids).await?;
            }
        }
        Ok(())
    }

    /// Whether all that is left was looked at and can't be minted yet.
    fn is_idle(&mut self, (settled, left): (usize, usize)) -> bool {
        self.fruitless = if settled > 0 { 0 } else { self.fruitless + left };
        let in_line = self.shared.lock().in_line();
        let idle = if in_line == 0 {
            self.unsettled
        } else {
            self.fruitless >= in_line
        };
        if idle {
            self.fruitless = 0;
        }
        idle
    }

    /// As [`Self::trouble`], with the mint's address, which no error of CDK tells.
    fn trouble_with_mint(&mut self, error: &impl fmt::Display) -> Duration {
        let mint = self.shared.store.wallet.mint_url.clone();
        self.trouble(&format!("{mint}: {error}"))
    }

    /// Notes the trouble and says how long to wait.
    fn trouble(&mut self, error: &str) -> Duration {
        self.recover_at = Instant::now();
        let pause = self.delays.next().unwrap_or(LONGEST_DELAY);
        tracing::warn!(error = shorten(error), retry_ms = pause.as_millis(), "minting failed");
        self.shared.note(Some(error));
        pause
    }
}

fn delays() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(FIRST_DELAY)
        .with_max_delay(LONGEST_DELAY)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}

async fn until<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    stop.run_until_cancelled(work).await
}

/// As [`until`], but the work may go on for a moment.
async fn with_grace<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    tokio::pin!(work);
    match until(stop, &mut work).await {
        Some(done) => Some(done),
        None => timeout(STOP_GRACE, work).await.ok(),
    }
}
