//! The load: shares go into the pool's outbox, come back as quotes, and wallets mint them over HTTP.
//!
//! Shares are fed so that a few seconds' worth of quotes is always ready; wallets then take one quote each at random
//! moments (a Poisson process), so that no issuance is in step with a push or a sample. A moment at which all wallets are
//! busy is not made up for by a burst later than [`BEHIND`].

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context as _;
use bitcoin::secp256k1::rand::rngs::OsRng;
use cdk_common::nuts::SecretKey;
use pool::outbox::{AcceptedShare, AcknowledgedQuote, EnqueueError, Outbox, OutboxConfig};
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::wallet::{Minted, Wallet};

/// Wallets at work at the same time.
const WALLETS: usize = 16;
/// What each share earns: one piece of ecash.
const AMOUNT: u64 = 32;
/// Seconds of load that wait as quotes.
const AHEAD: f64 = 3.0;
/// Quotes that are ready at least, and the pace at which they are made where no pace is asked for.
const AT_LEAST: f64 = 100.0;
const UNPACED: f64 = 2000.0;
/// How far the pace may be behind before it gives up on catching up.
const BEHIND: Duration = Duration::from_millis(500);
/// How long what is under way may take to come to an end, after faults, too.
const LAST: Duration = Duration::from_secs(60);

/// What was issued so far.
#[derive(Debug, Default)]
pub(crate) struct Issued {
    /// Answered by the mint with signatures that are good.
    pub(crate) confirmed: AtomicU64,
    /// Issued, as the mint says, by a request whose answer was lost.
    pub(crate) unanswered: AtomicU64,
    /// Refused, or signed wrongly: never right.
    pub(crate) failed: AtomicU64,
    /// Tries that got no answer.
    pub(crate) retries: AtomicU64,
}

impl Issued {
    /// All of it.
    pub(crate) fn count(&self) -> u64 {
        self.confirmed.load(Relaxed) + self.unanswered.load(Relaxed)
    }
}

/// A load at work.
pub(crate) struct Load {
    outbox: Outbox,
    issued: Arc<Issued>,
    /// Issuances a second; `None` as many as can be.
    rate: watch::Sender<Option<f64>>,
    /// The first complaint of a wallet.
    complaint: watch::Receiver<Option<String>>,
    stop: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Load {
    /// Starts, with the wallets at rest.
    pub(crate) async fn start(outbox: &Path, mint: std::net::SocketAddr) -> anyhow::Result<Self> {
        let key = SecretKey::from(bitcoin::secp256k1::SecretKey::new(&mut OsRng));
        let locking_key = key.public_key().to_bytes();
        let wallet = Arc::new(Wallet::open(mint, key).await?);
        let outbox = Outbox::open(outbox, &OutboxConfig::default()).context("the pool's outbox")?;
        let (rate, rates) = watch::channel(Some(0.0));
        let (complain, complaint) = watch::channel(None);
        let (ready, quotes) = mpsc::channel(20_000);
        let issued = Arc::<Issued>::default();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(feed(
            outbox.clone(),
            locking_key,
            rates.clone(),
            Arc::clone(&issued),
            stop.clone(),
        ));
        tasks.spawn(collect(outbox.clone(), locking_key, ready, stop.clone()));
        let (due, dues) = mpsc::channel(WALLETS);
        tasks.spawn(pace(quotes, due, rates, stop.clone()));
        let dues = Arc::new(Mutex::new(dues));
        for _ in 0..WALLETS {
            let (wallet, dues, issued, complain) = (
                Arc::clone(&wallet),
                Arc::clone(&dues),
                Arc::clone(&issued),
                complain.clone(),
            );
            tasks.spawn(async move {
                loop {
                    let quote = dues.lock().await.recv().await;
                    match quote {
                        Some(quote) => issue(&wallet, &quote, &issued, &complain).await,
                        None => return Ok(()),
                    }
                }
            });
        }
        Ok(Self {
            outbox,
            issued,
            rate,
            complaint,
            stop,
            tasks,
        })
    }

    pub(crate) fn issued(&self) -> &Arc<Issued> {
        &self.issued
    }

    /// From now on so many a second; `None` for as many as can be.
    pub(crate) fn set_rate(&self, rate: Option<f64>) {
        self.rate.send_replace(rate);
    }

    /// What the first wallet had to complain about.
    pub(crate) fn complaint(&self) -> Option<String> {
        self.complaint.borrow().clone()
    }

    /// # Errors
    /// If a part of the load has ended by itself.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.tasks.try_join_next() {
            Some(ended) => ended?.and_then(|()| anyhow::bail!("a part of the load has ended")),
            None => Ok(()),
        }
    }

    /// Stops feeding, and returns when every share has its answer and every wallet is done.
    pub(crate) async fn finish(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        let end = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended??;
            }
            let mut view = self.outbox.watch();
            view.wait_for(|view| view.tally.waiting == 0).await?;
            anyhow::Ok(())
        };
        timeout(LAST, end)
            .await
            .with_context(|| format!("the load did not come to rest in {LAST:?}"))??;
        self.outbox.close().await;
        Ok(())
    }
}

/// Puts shares into the outbox, as many as keep [`AHEAD`] seconds of quotes ready.
async fn feed(
    outbox: Outbox,
    locking_key: [u8; 33],
    rate: watch::Receiver<Option<f64>>,
    issued: Arc<Issued>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    const TICK: Duration = Duration::from_millis(50);
    let (mut fed, mut due) = (0_u64, 0.0);
    while !stop.is_cancelled() {
        let rate = rate.borrow().unwrap_or(UNPACED);
        let ahead = fed.saturating_sub(issued.count() + issued.failed.load(Relaxed)) as f64;
        let room = (rate * AHEAD).max(AT_LEAST) - ahead;
        // A little faster than quotes are taken, until enough are ready.
        due = (due + (rate * 1.2).max(AT_LEAST) * TICK.as_secs_f64())
            .min(room)
            .max(0.0);
        let now = due as u64;
        due -= now as f64;
        fed += now;
        let share = || AcceptedShare {
            header_hash: rand::random(),
            amount: AMOUNT,
            locking_key,
        };
        let shares = (0..now).map(|_| outbox.enqueue(share()));
        for outcome in futures::future::join_all(shares).await {
            match outcome {
                // A pool that is stopped in the middle of a transaction holds the file's lock.
                Ok(()) | Err(EnqueueError::Storage(_)) => {}
                Err(error) => return Err(error).context("a share for the outbox"),
            }
        }
        tokio::select! {
            () = sleep(TICK) => {}
            () = stop.cancelled() => {}
        }
    }
    Ok(())
}

/// Reads the quotes that come back, in their order.
async fn collect(
    outbox: Outbox,
    locking_key: [u8; 33],
    ready: mpsc::Sender<AcknowledgedQuote>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut cursor = 0;
    let mut view = outbox.watch();
    loop {
        let quotes = outbox
            .quotes_after(cursor, Outbox::MAX_PAGE)
            .await
            .context("quotes from the outbox")?;
        let news = !quotes.is_empty();
        for quote in quotes {
            cursor = quote.cursor;
            // Others are of an earlier load on the same files.
            if quote.locking_key == locking_key {
                tokio::select! {
                    sent = ready.send(quote) => sent.context("nobody takes quotes")?,
                    () = stop.cancelled() => return Ok(()),
                }
            }
        }
        if !news {
            tokio::select! {
                changed = view.changed() => changed.context("the outbox is closed")?,
                () = stop.cancelled() => return Ok(()),
            }
        }
    }
}

/// Hands quotes to the wallets at random moments, so many a second.
async fn pace(
    mut quotes: mpsc::Receiver<AcknowledgedQuote>,
    due: mpsc::Sender<AcknowledgedQuote>,
    mut rates: watch::Receiver<Option<f64>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut next = Instant::now();
    loop {
        let rate = *rates.borrow_and_update();
        if let Some(rate) = rate {
            let now = Instant::now();
            if now.saturating_duration_since(next) > BEHIND {
                next = now;
            }
            if rate > 0.0 {
                // The gaps between events of a Poisson process.
                next += Duration::from_secs_f64((-(1.0 - rand::random::<f64>()).ln() / rate).min(60.0));
            }
            let wait = async {
                match rate > 0.0 {
                    true => sleep_until(next).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                _ = rates.changed() => { next = Instant::now(); continue }
                () = stop.cancelled() => return Ok(()),
            }
        }
        let quote = tokio::select! {
            quote = quotes.recv() => quote.context("no quotes any more")?,
            () = stop.cancelled() => return Ok(()),
        };
        tokio::select! {
            sent = due.send(quote) => sent.context("no wallets any more")?,
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Mints one quote, however often it must be tried: the mint may be away.
async fn issue(wallet: &Wallet, quote: &AcknowledgedQuote, issued: &Issued, complain: &watch::Sender<Option<String>>) {
    let complaint = |error: String| {
        issued.failed.fetch_add(1, Relaxed);
        complain.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                *first = Some(error);
            }
            is_first
        });
    };
    let request = match wallet.request(&quote.quote_id, quote.amount) {
        Ok(request) => request,
        Err(error) => return complaint(format!("{error:#}")),
    };
    let tried = AtomicBool::new(false);
    loop {
        match wallet.mint(&request, tried.load(Relaxed)).await {
            Ok(Minted::Confirmed) => issued.confirmed.fetch_add(1, Relaxed),
            Ok(Minted::Before) => issued.unanswered.fetch_add(1, Relaxed),
            Ok(Minted::Unanswered) => {
                issued.retries.fetch_add(1, Relaxed);
                tried.store(true, Relaxed);
                sleep(Duration::from_millis(200)).await;
                continue;
            }
            Err(error) => return complaint(format!("quote {}: {error:#}", quote.quote_id)),
        };
        return;
    }
}
