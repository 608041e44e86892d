//! The parts of a mint, put together and taken apart in order.

use std::{fs::File, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use cdk::Mint;
use dashboard::{HISTORY_FILE, History};
use mint_ledger::Ledger;
use mint_link::{LinkCollector, LinkStatus, MintPublicKey};
use service::bind;
use stats_push::{CacheSession, Peer, Publisher, PublisherHandle, RunId, SnapshotCache, Totals};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    DATABASE, StartError,
    cashu::{self, Cashu},
    config::MintConfig,
    keys::{self, Keys},
    links::{LinkStates, Links},
    quotes::{QuoteBatcher, QuoteDesk},
    status::Status,
};

/// How long each part may take to end, of the five seconds that a stop may take: wallets first, whose answers in flight
/// get two seconds, then the links with what they were asked and the last push, and the rest at once.
const API_END: Duration = Duration::from_millis(2200);
const LINKS_END: Duration = Duration::from_millis(1800);
const REST_END: Duration = Duration::from_millis(300);

/// A mint at work.
#[derive(Debug)]
pub struct Running {
    http: SocketAddr,
    dashboard: SocketAddr,
    public_key: MintPublicKey,
    desk: QuoteDesk,
    ledger: Ledger,
    mint: Arc<Mint>,
    links: LinkStates,
    cache: SnapshotCache,
    stop: CancellationToken,
    end: JoinHandle<()>,
}

impl Running {
    /// Where wallets are served.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Where the mint's own page is served.
    pub fn dashboard_address(&self) -> SocketAddr {
        self.dashboard
    }

    /// What pools pin.
    pub fn public_key(&self) -> MintPublicKey {
        self.public_key
    }

    /// Makes quotes, as the links do.
    pub fn desk(&self) -> &QuoteDesk {
        &self.desk
    }

    /// The totals: now, after every change, and audited.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// CDK's mint, for who shares the process with it.
    pub fn cashu(&self) -> &Arc<Mint> {
        &self.mint
    }

    /// The link to each pool, in the configured order.
    pub fn links(&self) -> Vec<LinkStatus> {
        self.links.read()
    }

    /// Waits until the link to every pool works.
    pub async fn linked(&self) {
        self.links.all_connected().await;
    }

    /// What the mint's own page shows.
    pub fn cache(&self) -> &SnapshotCache {
        &self.cache
    }

    /// Waits until the mint has been told to stop and has: at most 5 s after. It stops of itself if a part that it can't do
    /// without has crashed.
    pub async fn ended(self) {
        if let Err(error) = self.end.await {
            tracing::warn!(%error, "the mint did not end in order");
        }
    }

    /// Stops this mint alone and waits for its end.
    pub async fn stop(self) {
        self.stop.cancel();
        self.ended().await;
    }
}

/// Starts a mint; it runs until `stop`, with or without the [`Running`].
///
/// # Errors
/// [`StartError`]; then nothing runs.
pub async fn start(config: MintConfig, stop: CancellationToken) -> Result<Running, StartError> {
    config.check()?;
    let (api_limits, page_limits) = (config.http.limits()?, config.dashboard.limits()?);
    let lock = keys::lock(&config)?;
    let keys = Keys::open(&config)?;
    let api_listener = bind("http.listen", config.http.listen).await?;
    let page_listener = bind("dashboard.listen", config.dashboard.listen).await?;
    let (http, dashboard) = (address(&config, &api_listener)?, address(&config, &page_listener)?);
    let public_key = keys.link.public();

    let Cashu { mint, ledger } = cashu::open(&config, &config.data_dir.join(DATABASE), &keys.seed).await?;
    let router = cashu::api(Arc::clone(&mint)).await?;
    let (batcher, desk) = QuoteBatcher::new(mint.localstore(), &config.quotes.units, config.quotes.batching());
    let (stop, stop_links) = (stop.child_token(), CancellationToken::new());
    let run_id = RunId::random();
    let links = Links::start(
        &config,
        keys.link,
        desk.clone(),
        &ledger,
        run_id,
        &stop_links,
        stop.clone(),
    )?;
    let states = links.states.clone();
    let cache = SnapshotCache::new();
    let status = Status {
        quotes: desk.shared_counters(),
        links: states.clone(),
        push: config.push,
    };
    let history = History::open(config.data_dir.join(HISTORY_FILE));
    let link_metrics = LinkCollector(Arc::clone(&links.metrics));
    let own_page = OwnPage::new(&config, ledger.subscribe(), run_id, public_key, &cache);
    let parts = Parts {
        _lock: lock,
        mint: Arc::clone(&mint),
        batcher,
        links,
        stop_links,
        own_page,
        history: history.clone(),
    };
    let page = config
        .dashboard
        .base_path
        .mount(page(status, link_metrics, cache.clone(), history));
    let api = dashboard::serve_within(api_listener, router, api_limits, stop.clone());
    let page = dashboard::serve_within(page_listener, page, page_limits, stop.clone());
    let end = tokio::spawn(parts.run(tokio::spawn(api), tokio::spawn(page), stop.clone()));
    tracing::info!(%http, %dashboard, %public_key, pools = config.pools.len(), "the mint serves");
    Ok(Running {
        http,
        dashboard,
        public_key,
        desk,
        ledger,
        mint,
        links: states,
        cache,
        stop,
        end,
    })
}

fn page(status: Status, link: LinkCollector, cache: SnapshotCache, history: History) -> Router {
    let mut metrics = dashboard::registry();
    metrics.register_collector(Box::new(status.clone()));
    metrics.register_collector(Box::new(link));
    dashboard::mint_router(cache, Arc::new(status), history, metrics)
}

fn address(config: &MintConfig, listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::DataDir {
        path: config.data_dir.clone(),
        source,
    })
}

/// What runs until the stop.
struct Parts {
    _lock: File,
    mint: Arc<Mint>,
    batcher: QuoteBatcher,
    links: Links,
    stop_links: CancellationToken,
    own_page: OwnPage,
    history: History,
}

impl Parts {
    /// Starts the tasks; after the stop ends them in the order of the data: wallets first, so that nothing is issued any
    /// more, then the links, whose last push has it all, then the batcher, which has answered what came over them.
    async fn run(self, api: JoinHandle<()>, page: JoinHandle<()>, stop: CancellationToken) {
        let Self {
            _lock,
            mint,
            batcher,
            links,
            stop_links,
            own_page,
            history,
        } = self;
        let stop_batcher = CancellationToken::new();
        let batcher = tokio::spawn({
            let (until, mint_lives_on_it) = (stop_batcher.clone(), stop.clone().drop_guard());
            async move {
                batcher.run(until).await;
                drop(mint_lives_on_it);
            }
        });
        let finish = own_page.handle.clone();
        let history = tokio::spawn(history.record(own_page.cache.clone(), None, stop.clone()));
        let own_page = tokio::spawn(own_page.run(stop.clone()));

        stop.cancelled().await;
        let data = async {
            ended("Cashu API", API_END, api).await;
            stop_links.cancel();
            finish.finish();
            if timeout(LINKS_END, links.ended()).await.is_err() {
                tracing::warn!("links: not ended in {LINKS_END:?}, left behind");
            }
            stop_batcher.cancel();
            ended("quote batcher", REST_END, batcher).await;
        };
        tokio::join!(
            data,
            ended("dashboard", API_END + LINKS_END, page),
            ended("history", API_END + LINKS_END, history)
        );
        ended("own page", REST_END, own_page).await;
        match timeout(REST_END, mint.stop()).await {
            Ok(Ok(())) => tracing::info!("the mint has stopped"),
            Ok(Err(error)) => tracing::warn!(%error, "CDK did not stop in order"),
            Err(_) => tracing::warn!("CDK: not stopped in {REST_END:?}, left behind"),
        }
    }
}

/// Waits for a part's end, and says so if it had to be cut short.
async fn ended(name: &str, deadline: Duration, mut task: JoinHandle<()>) {
    match timeout(deadline, &mut task).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "{name}: ended out of order"),
        Err(_) => {
            tracing::warn!("{name}: not ended in {deadline:?}, cut off");
            task.abort();
        }
    }
}

/// The mint's own page is a pool of its own mint: a publisher feeds its cache, without a wire between.
struct OwnPage {
    publisher: Publisher,
    handle: PublisherHandle,
    session: CacheSession,
    cache: SnapshotCache,
}

impl OwnPage {
    fn new(
        config: &MintConfig,
        totals: watch::Receiver<Arc<Totals>>,
        run_id: RunId,
        public_key: MintPublicKey,
        cache: &SnapshotCache,
    ) -> Self {
        let (publisher, handle) = Publisher::new(totals, run_id, config.push);
        let session = cache.open_negotiated_session(Peer {
            address: "this mint".into(),
            public_key: Some(public_key.to_string()),
            proven: true,
        });
        Self {
            publisher,
            handle,
            session,
            cache: cache.clone(),
        }
    }

    async fn run(mut self, stop: CancellationToken) {
        let feed = async {
            while let Some(snapshot) = self.publisher.next().await {
                self.session.apply(snapshot, Instant::now().into_std());
            }
        };
        tokio::join!(feed, self.cache.run(stop));
    }
}
