//! Tells the parent what the cache of this process shows, and from when on.
//!
//! The moment is the one that the link stamped when it had received the snapshot, a few microseconds before the cache has
//! it. Two snapshots before this task woke up once are told as one, the later: what is shown is then said to have been
//! old for longer than it was.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Args;
use mint_link::{Admission, LinkMetrics, PoolLink, PoolLinkConfig, StatsRequester};
use pool::PoolConfig;
use stats_push::{Received, SnapshotCache};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{clock, record::Record};

/// Tells of every change until the cache is gone.
pub(super) async fn watch(cache: SnapshotCache) {
    let mut changed = cache.changed();
    let mut told = None;
    loop {
        let latest = cache.load().latest.clone();
        if let Some(latest) = latest.filter(|latest| told != Some(latest.at)) {
            told = Some(latest.at);
            shows(&latest).tell();
        }
        if changed.changed().await.is_err() {
            return;
        }
    }
}

fn shows(latest: &Received) -> Record {
    let snapshot = &latest.snapshot;
    Record::Shows {
        at: clock::of(latest.at),
        taken: clock::of_wall(snapshot.taken_at),
        version: Some(snapshot.sequence),
        answers: snapshot.is_answer(),
        totals: snapshot.ehash,
    }
}

/// For a pool that asks.
#[derive(Debug, Args)]
pub(crate) struct AskerArgs {
    /// A pool's configuration, for its key and where it listens for the mint
    pub(crate) config: PathBuf,
    /// The time from one answer to the next, in milliseconds: `push.min_gap_ms` of the mint
    pub(crate) period_ms: u64,
}

/// Asks and asks. The request is there well before the mint's `min_gap` is over, so it is answered at its end and no
/// event is pushed beside it.
pub(super) async fn ask(args: AskerArgs, stop: CancellationToken) -> anyhow::Result<()> {
    let config: PoolConfig = service::load(&args.config)?;
    let authority = pool::authority(&config)?;
    let listener = TcpListener::bind(config.mint_link.listen)
        .await
        .context("mint_link.listen")?;
    let (_admission, admitted) = watch::channel(Arc::new(Admission::default()));
    let (sender, mut sessions) = mpsc::channel(1);
    let (cache, metrics) = (SnapshotCache::new(), Arc::<LinkMetrics>::default());
    let link = PoolLink::new(
        PoolLinkConfig::new(authority),
        admitted,
        cache.clone(),
        sender,
        Arc::clone(&metrics),
    );
    let link = tokio::spawn(Arc::new(link).listen(listener, stop.clone()));
    let observer = tokio::spawn(watch(cache.clone()));
    Record::Ready.tell();
    let period = Duration::from_millis(args.period_ms);
    let asking = async {
        // The session ends when it is dropped.
        let mut session = sessions.recv().await;
        while let Some(current) = &session {
            let requester = current.stats_requester();
            tokio::select! {
                () = ask_on(&requester, &cache, period) => {}
                next = sessions.recv() => session = next,
            }
        }
    };
    tokio::select! {
        () = asking => {}
        () = stop.cancelled() => {}
    }
    observer.abort();
    stop.cancel();
    link.await?;
    Ok(())
}

async fn ask_on(requester: &StatsRequester, cache: &SnapshotCache, period: Duration) {
    let mut changed = cache.changed();
    loop {
        requester.request();
        // The answer, which only the cache's end could keep from coming.
        let _ = changed.changed().await;
        sleep(period * 8 / 10).await;
        changed.mark_unchanged();
    }
}
