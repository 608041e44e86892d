//! The pages in a real Chromium. `SCREENSHOTS=FOLDER` keeps pictures of every state.

use std::{
    env,
    path::PathBuf,
    time::{Duration, Instant},
};

use browser_test::{Browser, Scheme};
use dashboard::{ChannelKind, MinerView, PoolView, TemplateView};
use stats_push::{CacheSession, SnapshotCache};

use crate::support::{Server, snapshot, tell, unit};

/// Says that `issued` quotes are issued, by a mint that pushes every 100 ms: stale after 2 s.
fn tell_often(session: &CacheSession, issued: u64) {
    let mut snapshot = snapshot(issued, [unit("hash", issued)]);
    snapshot.interval = Duration::from_millis(100);
    session.apply(snapshot, Instant::now());
}

async fn picture(browser: &Browser, name: &str) {
    let Some(folder) = env::var_os("SCREENSHOTS") else {
        return;
    };
    for (scheme, shade) in [(Scheme::Dark, "dark"), (Scheme::Light, "light")] {
        for width in [390, 1280] {
            browser.emulate(width, 800, scheme).await.unwrap();
            let file = PathBuf::from(&folder).join(format!("{name}-{shade}-{width}.png"));
            browser.screenshot(&file).await.unwrap();
        }
    }
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

#[tokio::test]
async fn the_page_follows_the_mint_without_a_reload() {
    let server = Server::pool().await;
    let browser = Browser::start().await.unwrap();
    browser.emulate(1280, 800, Scheme::Light).await.unwrap();
    browser.open(&server.base).await.unwrap();
    browser.until_text("quotes-redeemed", "–").await.unwrap();
    browser.until_text("status", "no mint yet").await.unwrap();
    browser.eval("window.notReloaded = true").await.unwrap();
    picture(&browser, "pool-never").await;

    let session = server.connect();
    tell(&session, 1_234_567);
    browser.until_text("quotes-redeemed", "1,234,567").await.unwrap();
    browser.until_text("status", "live").await.unwrap();
    agrees(&browser, &server.cache).await;
    picture(&browser, "pool-live").await;
    tell(&session, 1_234_568);
    browser.until_text("quotes-redeemed", "1,234,568").await.unwrap();

    tell_often(&session, 1_234_569);
    browser.until_text("status", "stale").await.unwrap();
    browser.until_text("age", "3 s").await.unwrap();
    browser.until_text("quotes-redeemed", "1,234,569").await.unwrap();
    picture(&browser, "pool-stale").await;
    drop(session);
    browser.until_text("status", "disconnected").await.unwrap();
    browser.until_text("quotes-redeemed", "1,234,569").await.unwrap();
    picture(&browser, "pool-disconnected").await;

    let _legacy = server.connect();
    browser.until_text("status", "unsupported").await.unwrap();
    assert_eq!(browser.eval("window.notReloaded").await.unwrap(), true);
    assert_eq!(browser.console().await.unwrap(), Vec::<String>::new());
    let foreign = |url: &String| !url.starts_with(&server.base) && !url.starts_with("data:");
    let requests = browser.requests().await.unwrap();
    assert!(!requests.iter().any(foreign), "{requests:?}");

    server.stop.cancel();
    browser.until_text("status", "no answer").await.unwrap();
    browser.until_text("quotes-redeemed", "1,234,569").await.unwrap();
    picture(&browser, "pool-offline").await;
    let server = server.restart().await;
    browser.until_text("status", "no mint yet").await.unwrap();
    let session = server.connect();
    tell(&session, 7);
    browser.until_text("quotes-redeemed", "7").await.unwrap();
    browser.until_text("status", "live").await.unwrap();
    assert_eq!(browser.eval("window.notReloaded").await.unwrap(), true);
}

#[tokio::test]
async fn the_mint_page_lists_units_and_nothing_overflows_on_a_phone() {
    let server = Server::pool().await;
    let session = server.connect();
    let units = |issued| {
        [
            unit("hash_02ab_912345", 7),
            unit("hash_<script>alert(1)</script>", issued),
            unit(&"x".repeat(255), u64::MAX / 32),
        ]
    };
    session.apply(snapshot(1, units(8)), Instant::now());
    let browser = Browser::start().await.unwrap();
    browser.emulate(390, 844, Scheme::Light).await.unwrap();
    browser.open(&format!("{}/mint", server.base)).await.unwrap();
    let rows = "[...document.querySelectorAll('#units tbody tr')].map((tr) => tr.cells[0].textContent).join()";
    let names = format!("{},hash_<script>alert(1)</script>,hash_02ab_912345", "x".repeat(255));
    assert_eq!(browser.eval(rows).await.unwrap(), names);
    session.apply(snapshot(2, units(1_000_000)), Instant::now());
    browser
        .until("document.querySelectorAll('#units tbody tr')[1].cells[1].textContent === '1,000,000'")
        .await
        .unwrap();
    assert_eq!(browser.eval(rows).await.unwrap(), names);
    for (path, width) in [
        ("/mint", 390),
        ("/", 390),
        ("/mint", 320),
        ("/", 320),
        ("/mint", 840),
        ("/", 1280),
    ] {
        browser.emulate(width, 844, Scheme::Light).await.unwrap();
        browser.open(&format!("{}{path}", server.base)).await.unwrap();
        let overflow = browser
            .eval("document.documentElement.scrollWidth - window.innerWidth")
            .await
            .unwrap();
        assert!(overflow.as_i64().unwrap() <= 0, "{path} at {width}: {overflow}");
    }
    browser.open(&format!("{}/mint", server.base)).await.unwrap();
    picture(&browser, "mint-odd").await;
    assert_eq!(browser.console().await.unwrap(), Vec::<String>::new());
}

fn miner(id: u64, identity: &str, last_share: Option<Duration>) -> MinerView {
    MinerView {
        id,
        identity: identity.to_owned(),
        kind: ChannelKind::Extended,
        hashrate: last_share.map(|_| 1.234e12),
        accepted: 1_000 * id,
        rejected: id,
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

#[tokio::test]
async fn miners_come_and_go_by_themselves_and_their_last_shares_age() {
    let server = Server::pool().await;
    let now = |view| *server.role.pool.lock().unwrap() = view;
    now(pool_of(Vec::new(), true));
    let browser = Browser::start().await.unwrap();
    browser.emulate(1280, 800, Scheme::Light).await.unwrap();
    browser.open(&server.base).await.unwrap();
    browser.eval("window.notReloaded = true").await.unwrap();
    let empty = "!document.getElementById('miners-empty').hidden && document.getElementById('miners-table').hidden";
    assert_eq!(browser.eval(empty).await.unwrap(), true);

    // A name that is as long as one can be, and one that means harm.
    let long = "x".repeat(255);
    let hostile = "<img src=x onerror=alert(1)>";
    let there = |id, name: &str| miner(id, name, Some(Duration::from_secs(5)));
    now(pool_of(
        vec![there(2, &long), miner(3, hostile, None), there(1, "02ab…cd.rig1")],
        true,
    ));
    let cells = |row: usize| {
        format!(
            "[...document.querySelectorAll('#miners-table tbody tr')[{row}]?.cells ?? []]\
             .map((cell) => cell.textContent).join('|')"
        )
    };
    browser
        .until(&format!(
            "{} === '{hostile}|–|3,000|3|none yet|60 s|extended|nothing: no key'",
            cells(0)
        ))
        .await
        .unwrap();
    let aged = format!(
        "/^02ab…cd.rig1\\|1.23 TH\\/s\\|1,000\\|1\\|[5-9] s\\|6[0-4] s\\|extended\\|ehash$/.test({})",
        cells(2)
    );
    browser.until(&aged).await.unwrap();
    assert_eq!(browser.text("miners").await.unwrap(), "3");
    picture(&browser, "pool-miners").await;
    for width in [1280, 840, 390, 320] {
        browser.emulate(width, 844, Scheme::Light).await.unwrap();
        let overflow = "document.documentElement.scrollWidth - window.innerWidth";
        assert!(
            browser.eval(overflow).await.unwrap().as_i64().unwrap() <= 0,
            "at {width}"
        );
    }

    now(pool_of(vec![there(1, "02ab…cd.rig1")], false));
    browser
        .until("document.querySelectorAll('#miners-table tbody tr').length === 1")
        .await
        .unwrap();
    browser
        .until_text("template-state", "away, its last template serves")
        .await
        .unwrap();
    assert_eq!(
        browser
            .eval("document.getElementById('templates').dataset.away")
            .await
            .unwrap(),
        "true"
    );
    assert_eq!(browser.text("miners").await.unwrap(), "1");
    assert_eq!(browser.console().await.unwrap(), Vec::<String>::new());

    // Nobody tells anything any more: a dead pool's miners don't look as if they had just been heard of.
    server.stop.cancel();
    browser.until_text("status", "no answer").await.unwrap();
    browser
        .until(&format!("/\\|1[2-9] s\\|/.test({})", cells(0)))
        .await
        .unwrap();
    assert_eq!(browser.eval("window.notReloaded").await.unwrap(), true);
}

#[tokio::test]
async fn without_scripts_the_numbers_are_in_the_page() {
    let server = Server::pool().await;
    let session = server.connect();
    tell(&session, 4242);
    let browser = Browser::start().await.unwrap();
    browser.scripts(false).await.unwrap();
    browser.open(&server.base).await.unwrap();
    assert_eq!(browser.text("quotes-redeemed").await.unwrap(), "4,242");
    assert_eq!(browser.text("status").await.unwrap(), "live");
}
