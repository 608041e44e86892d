//! The links to the pools, on a thread of their own with a runtime of its own: CDK's SQLite store blocks the threads
//! that it runs on, and neither a push nor the heartbeat of a connection is to wait for an fsync.

use std::{convert::Infallible, sync::Arc, thread, time::Duration};

use mint_ledger::Ledger;
use mint_link::{
    DeviceInfo, HeaderHash, LinkMetrics, LinkStatus, MintKey, MintLink, MintTimers, PoolTarget, QuoteAnswer, QuoteCall,
};
use service::vital;
use stats_push::RunId;
use tokio::sync::{broadcast, broadcast::error::RecvError, mpsc, oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{StartError, config::MintConfig, quotes::QuoteDesk};

/// Requests between the links and the desk. The desk has the queue; this is only the way there.
const INBOX: usize = 64;
/// On stop, what is asked already may still be answered for this long, and the last push written for as long again.
const DRAIN: Duration = Duration::from_millis(700);
const FINAL_PUSH: Duration = Duration::from_millis(700);
const LINGER: Duration = Duration::from_millis(300);

/// The state of every link, the configured order kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkStates(Arc<[watch::Receiver<LinkStatus>]>);

impl LinkStates {
    pub(crate) fn read(&self) -> Vec<LinkStatus> {
        self.0.iter().map(|link| link.borrow().clone()).collect()
    }

    /// Waits until the link to every pool works.
    pub(crate) async fn all_connected(&self) {
        for link in &*self.0 {
            // A link that is gone will never work; the mint is stopping then.
            if link.clone().wait_for(LinkStatus::is_connected).await.is_err() {
                return;
            }
        }
    }
}

/// The thread with the links.
pub(crate) struct Links {
    pub(crate) states: LinkStates,
    pub(crate) metrics: Arc<LinkMetrics>,
    ended: oneshot::Receiver<()>,
}

impl Links {
    /// Starts dialling every configured pool. `stop` lets each link answer what it was asked, push once more (P6) and
    /// close. If one of them crashes `mint` is cancelled: its pool would wait in vain, and nobody would see it.
    pub(crate) fn start(
        config: &MintConfig,
        key: MintKey,
        desk: QuoteDesk,
        ledger: &Ledger,
        run_id: RunId,
        stop: &CancellationToken,
        mint: CancellationToken,
    ) -> Result<Self, StartError> {
        let (sender, inbox) = mpsc::channel(INBOX);
        let step = config.link.step_timeout;
        let link = MintLink {
            device: DeviceInfo {
                device_id: config.link.device_id.clone(),
                ..DeviceInfo::default()
            },
            push: config.push,
            extensions: config.link.extensions,
            timers: MintTimers {
                connect: step,
                handshake: step,
                setup: step,
                drain: DRAIN,
                final_push: FINAL_PUSH,
                linger: LINGER,
                ..MintTimers::default()
            },
            ..MintLink::new(key, sender, ledger.subscribe(), run_id)
        };
        let metrics = Arc::clone(&link.metrics);
        let (states, running): (Vec<_>, Vec<_>) = config
            .pools
            .iter()
            .map(|pool| {
                let target = PoolTarget {
                    address: pool.address.as_str().into(),
                    authority: pool.authority_key,
                };
                link.connect(target, stop.clone())
            })
            .unzip();
        let told = tell_issued(ledger.issuances(), link.issued.clone(), Arc::clone(&metrics));
        drop(link);
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(StartError::Thread)?;
        let thread = thread::Builder::new().name("links".to_owned()).spawn(move || {
            runtime.block_on(async {
                let links = TaskTracker::new();
                for link in running {
                    links.spawn(vital(mint.clone(), link));
                }
                links.close();
                tokio::select! {
                    ((), ()) = async { tokio::join!(links.wait(), vital(mint, forward(inbox, &desk))) } => {}
                    never = told => match never {},
                }
            });
            // Nobody waits any more if the mint was given up meanwhile.
            let _ = end.send(());
        });
        thread.map_err(StartError::Thread)?;
        Ok(Self {
            states: LinkStates(states.into()),
            metrics,
            ended,
        })
    }

    /// Waits for the end of the thread.
    pub(crate) async fn ended(self) {
        // An error means that the thread panicked, which it has said itself.
        let _ = self.ended.await;
    }
}

/// Carries what the ledger says of issued quotes to the links, for as long as there are any. A share's quote asks for the
/// share's hash; other quotes are no pool's business.
async fn tell_issued(
    mut issuances: broadcast::Receiver<Arc<[Arc<str>]>>,
    links: broadcast::Sender<Arc<[HeaderHash]>>,
    metrics: Arc<LinkMetrics>,
) -> Infallible {
    loop {
        match issuances.recv().await {
            Ok(requests) => {
                let hashes: Arc<[_]> = requests.iter().filter_map(|request| request.parse().ok()).collect();
                if !hashes.is_empty() {
                    // An error means that no pool is there to hear it.
                    let _ = links.send(hashes);
                }
            }
            Err(RecvError::Lagged(missed)) => metrics.issued_missed(missed),
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Carries requests to the desk until the last link has gone. Waits there if the desk is full: then the links read no
/// more.
async fn forward(mut inbox: mpsc::Receiver<QuoteCall>, desk: &QuoteDesk) {
    while let Some(QuoteCall { request, answer, .. }) = inbox.recv().await {
        let answer = move |said| match said {
            QuoteAnswer::Created { quote_id, .. } => answer.created(quote_id),
            QuoteAnswer::Refused { code, message, .. } => answer.refused(code, message),
        };
        desk.hand_in(request, answer).await;
    }
}
