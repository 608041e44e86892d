//! The pages in a real Chromium: what they show, how they keep up, and how they look.

use std::{
    env, fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use browser_test::{Browser, Scheme};
use dashboard::{ChannelKind, MinerView, PoolView, TemplateView};
use stats_push::{CacheSession, SnapshotCache};

use crate::support::{Server, snapshot, tell, unit};

mod charts;
mod live;
mod looks;
mod tables;

pub(crate) use looks::links;

/// Phone, tablet, desk, and the narrowest that counts.
const WIDTHS: [u32; 5] = [320, 390, 840, 970, 1280];

/// Says that `issued` quotes are issued, by a mint that pushes every 100 ms: stale after 2 s.
fn tell_often(session: &CacheSession, issued: u64) {
    let mut snapshot = snapshot(issued, [unit("hash", issued)]);
    snapshot.interval = Duration::from_millis(100);
    session.apply(snapshot, Instant::now());
}

/// Takes pictures for people to look at, if `SCREENSHOTS` names a folder: light and dark, phone and wide.
async fn picture(browser: &Browser, name: &str) {
    let Some(folder) = env::var_os("SCREENSHOTS").map(PathBuf::from) else {
        return;
    };
    fs::create_dir_all(&folder).unwrap();
    for (scheme, shade) in [(Scheme::Dark, "dark"), (Scheme::Light, "light")] {
        for width in [390, 1280] {
            browser.emulate(width, 800, scheme).await.unwrap();
            settled(browser).await;
            let file = folder.join(format!("{name}-{shade}-{width}.png"));
            browser.screenshot(&file).await.unwrap();
        }
    }
}

/// Waits until the charts fit their places, in the colours that hold.
async fn settled(browser: &Browser) {
    let fits = "[...document.querySelectorAll('.plot')].every((plot) => plot.clientWidth === 0 || \
                plot.querySelector('.uplot')?.clientWidth === plot.clientWidth)";
    browser.until(fits).await.unwrap();
    let painted = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))";
    browser.eval_async(painted).await.unwrap();
}

/// At no width is the page wider than the tab.
async fn nothing_overflows(browser: &Browser) {
    for width in WIDTHS {
        browser.emulate(width, 844, Scheme::Light).await.unwrap();
        settled(browser).await;
        let overflow = "document.documentElement.scrollWidth - window.innerWidth";
        let overflow = browser.eval(overflow).await.unwrap().as_i64().unwrap();
        assert!(overflow <= 0, "at {width}: {overflow}");
    }
}

/// The console got nothing, and nobody else was asked for anything.
async fn nothing_to_complain_of(browser: &Browser, server: &Server) {
    assert_eq!(browser.console().await.unwrap(), Vec::<String>::new());
    let foreign = |url: &String| !url.starts_with(&server.base) && !url.starts_with("data:");
    let requests = browser.requests().await.unwrap();
    assert!(!requests.iter().any(foreign), "{requests:?}");
}

/// The page's numbers are those of the JSON.
async fn agrees(browser: &Browser, cache: &SnapshotCache) {
    let ehash = cache.load().latest.as_ref().unwrap().snapshot.ehash;
    for (id, number) in [
        ("quotes-redeemed", ehash.quotes_redeemed),
        ("quotes-issued", ehash.quotes.issued),
        ("quotes-paid", ehash.quotes.paid),
        ("ehash-issued", ehash.amounts.issued),
        ("ehash-waiting", ehash.amounts.paid),
    ] {
        assert_eq!(
            browser.text(id).await.unwrap().replace(',', ""),
            number.to_string(),
            "{id}"
        );
    }
}

fn miner(id: u64, identity: &str, last_share: Option<Duration>) -> MinerView {
    MinerView {
        id,
        identity: identity.to_owned(),
        kind: ChannelKind::Extended,
        hashrate: last_share.map(|_| 1.234e12),
        accepted: 1_000 * id,
        rejected: id,
        quotes: 10 * id,
        last_share,
        connected: Duration::from_secs(60),
        earns: id != 3,
    }
}

/// A pool of these miners whose source of templates is there or away.
fn pool_of(miners: Vec<MinerView>, source_is_there: bool) -> PoolView {
    PoolView {
        miners: Some(miners.len() as u64),
        channels: Some(miners.len() as u64),
        template: Some(TemplateView {
            source: "sv2-tp".to_owned(),
            connected: source_is_there,
            age: Some(Duration::from_secs(30)),
            blocks_submitted: 0,
        }),
        channels_list: miners,
        ..PoolView::default()
    }
}
