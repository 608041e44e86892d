//! How the pages look and read: for everybody, in each state, without a jump.

use dashboard::{History, Limits, LinkStage, LinkView, MiningAddress, QuoteCounts, ShareCounts};
use stats_push::UnixMillis;

use super::*;
use crate::support::{Role, Setup, history_file};

/// A pool at work.
fn busy() -> PoolView {
    let rigs = [
        (1, "0284ac…91f3.rig1", Some(3)),
        (2, "02beef…0042", Some(300)),
        (3, "kitchen", None),
    ];
    let miners = rigs.map(|(id, name, seconds)| miner(id, name, seconds.map(Duration::from_secs)));
    PoolView {
        hashrate: Some(2.468e12),
        shares: ShareCounts {
            accepted: Some(6000),
            rejected: Some(6),
            without_key: Some(12),
        },
        quotes: QuoteCounts {
            requested: Some(7210),
            waiting: Some(2),
            oldest_waiting: Some(Duration::from_millis(900)),
            acknowledged: Some(7201),
            refused: Some([("amount".into(), 5), ("locking key".into(), 2)].into()),
            full: Some(false),
        },
        mining: Some(MiningAddress {
            address: "203.0.113.7:34254".to_owned(),
            authority_key: "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72".to_owned(),
        }),
        mint_link: Some("0.0.0.0:34260".to_owned()),
        ..pool_of(miners.to_vec(), true)
    }
}

/// A pool that has just been installed.
fn new_pool() -> PoolView {
    PoolView {
        quotes: QuoteCounts {
            requested: Some(0),
            waiting: Some(0),
            acknowledged: Some(0),
            refused: Some([].into()),
            ..QuoteCounts::default()
        },
        channels_list: Vec::new(),
        miners: Some(0),
        channels: Some(0),
        hashrate: None,
        ..busy()
    }
}

pub(crate) fn links() -> Vec<LinkView> {
    let link = |pool: &str, state, since, last_error: Option<&str>| LinkView {
        pool: pool.to_owned(),
        state,
        since,
        extensions: if since.is_some() {
            vec!["statistics", "proof", "quotes"]
        } else {
            Vec::new()
        },
        sessions: 3,
        failures_in_a_row: 12,
        last_error: last_error.map(str::to_owned),
    };
    let refused = "can't connect: Connection refused (os error 111)";
    vec![
        link(
            "pool.example:34260",
            LinkStage::Connected,
            Some(UnixMillis(1_795_336_800_000)),
            None,
        ),
        link("other.example:34260", LinkStage::Waiting, None, Some(refused)),
    ]
}

/// Nothing that axe-core knows of, in either colours, on a phone and at a desk.
async fn for_everybody(browser: &Browser, page: &str) {
    for scheme in [Scheme::Light, Scheme::Dark] {
        for width in [390, 1280] {
            browser.emulate(width, 844, scheme).await.unwrap();
            settled(browser).await;
            let found = browser.axe().await.unwrap();
            assert!(found.is_empty(), "{page}, {scheme:?}, {width}: {found:#?}");
        }
    }
}

/// A dashboard with an hour and more of history.
async fn with_history(host: &str) -> Server {
    let (_folder, file) = history_file(7200);
    let history = History::open(file);
    let role = Role {
        links: links().into(),
        pool: busy().into(),
        ..Role::default()
    };
    Setup {
        host,
        history,
        role,
        ..Setup::default()
    }
    .start()
    .await
}

#[tokio::test]
async fn the_pool_page_is_for_everybody_in_every_state() {
    let server = with_history("pool").await;
    let now = |view| *server.role.pool.lock().unwrap() = view;
    now(new_pool());
    let browser = Browser::start().await.unwrap();
    browser.open(&server.base).await.unwrap();
    browser.until_text("miners", "0").await.unwrap();
    for_everybody(&browser, "new").await;
    picture(&browser, "pool-new").await;

    let session = server.connect();
    tell(&session, 7260);
    now(busy());
    browser.until_text("miners", "3").await.unwrap();
    browser.until_text("quotes-redeemed", "7,260").await.unwrap();
    browser.until("document.getElementById('start').hidden").await.unwrap();
    for_everybody(&browser, "live").await;
    nothing_overflows(&browser).await;
    picture(&browser, "pool").await;

    let full = QuoteCounts {
        full: Some(true),
        ..busy().quotes
    };
    now(PoolView { quotes: full, ..busy() });
    browser
        .until("document.querySelector('[data-note-for=quotes-waiting]').textContent.endsWith('shares are refused')")
        .await
        .unwrap();

    tell_often(&session, 7261);
    browser.until_text("status", "stale").await.unwrap();
    for_everybody(&browser, "stale").await;
    drop(session);
    browser.until_text("status", "disconnected").await.unwrap();
    for_everybody(&browser, "disconnected").await;
    nothing_to_complain_of(&browser, &server).await;
}

#[tokio::test]
async fn the_mint_pages_are_for_everybody_in_every_state() {
    let server = with_history("mint").await;
    let browser = Browser::start().await.unwrap();
    browser.open(&server.base).await.unwrap();
    browser.until_text("status", "starting").await.unwrap();
    for_everybody(&browser, "starting").await;
    picture(&browser, "mint-starting").await;
    let session = server.connect();
    session.apply(
        snapshot(9, [unit("hash_912344", 5000), unit("hash", 2260)]),
        Instant::now(),
    );
    browser.until_text("status", "live").await.unwrap();
    let states = "[...document.querySelectorAll('#links tbody tr')].map((row) => row.cells[1].textContent).join()";
    assert_eq!(browser.eval(states).await.unwrap(), "connected,waiting");
    for_everybody(&browser, "live").await;
    nothing_overflows(&browser).await;
    picture(&browser, "mint").await;
    drop(session);
    browser.until_text("status", "stopped").await.unwrap();
    picture(&browser, "mint-stopped").await;
    server.role.links.lock().unwrap().clear();
    browser
        .until("!document.getElementById('links-empty').hidden")
        .await
        .unwrap();
    for_everybody(&browser, "without a pool").await;
    nothing_to_complain_of(&browser, &server).await;
    browser
        .eval("document.querySelector('main').append(document.createElement('img'))")
        .await
        .unwrap();
    let found = browser.axe().await.unwrap();
    assert!(
        found.len() == 1 && found[0].starts_with("image-alt: "),
        "what is wrong is found: {found:?}"
    );

    let pool = with_history("pool").await;
    let session = pool.connect();
    session.apply(
        snapshot(9, [unit("hash_912344", 5000), unit("hash", 2260)]),
        Instant::now(),
    );
    browser.open(&format!("{}/mint", pool.base)).await.unwrap();
    browser.until_text("quotes-redeemed", "7,260").await.unwrap();
    for_everybody(&browser, "the mint's page on a pool").await;
    nothing_overflows(&browser).await;
    picture(&browser, "mint-on-pool").await;
}

#[tokio::test]
async fn nothing_jumps_while_numbers_grow() {
    let server = with_history("pool").await;
    let session = server.connect();
    tell(&session, 1000);
    let browser = Browser::start().await.unwrap();
    browser.emulate(1280, 800, Scheme::Light).await.unwrap();
    browser.open(&server.base).await.unwrap();
    browser.until_text("miners", "3").await.unwrap();
    browser.until_text("quotes-redeemed", "1,000").await.unwrap();
    settled(&browser).await;
    let watch = "(window.shifts = [], new PerformanceObserver((list) => window.shifts.push(...list.getEntries()\
                 .map(({ value, sources }) => `${value} ${sources.map(({ node }) => node?.parentElement?.outerHTML)}`)))\
                 .observe({ type: 'layout-shift' }))";
    browser.eval(watch).await.unwrap();
    for issued in [1001, 1234, 4321, 8888, 9111, 9999] {
        tell(&session, issued);
        let mut view = busy();
        view.shares.accepted = Some(issued);
        view.channels_list[0].accepted = issued / 2;
        view.channels_list[0].last_share = Some(Duration::from_secs(issued % 100));
        view.quotes.requested = Some(issued + 10);
        *server.role.pool.lock().unwrap() = view;
        let text = format!("{},{:03}", issued / 1000, issued % 1000);
        browser.until_text("quotes-redeemed", &text).await.unwrap();
        browser.until_text("shares-accepted", &text).await.unwrap();
    }
    settled(&browser).await;
    assert_eq!(browser.eval("window.shifts").await.unwrap(), serde_json::json!([]));
}

#[tokio::test]
async fn the_readers_choice_of_colours_outlives_the_page() {
    let server = Server::start("mint", Role::default(), Limits::default()).await;
    let browser = Browser::start().await.unwrap();
    browser.emulate(1280, 800, Scheme::Dark).await.unwrap();
    browser.open(&server.base).await.unwrap();
    let background = "getComputedStyle(document.documentElement).backgroundColor";
    let (dark, light) = ("rgb(13, 18, 17)", "rgb(244, 246, 245)");
    let press = "document.getElementById('theme').click()";
    browser
        .until("document.getElementById('theme').title === 'Colours: as the system has them'")
        .await
        .unwrap();
    assert_eq!(browser.eval(background).await.unwrap(), dark);
    browser.eval(press).await.unwrap();
    assert_eq!(browser.eval(background).await.unwrap(), light);
    assert_eq!(browser.text("theme-text").await.unwrap(), "Colours: light");
    browser.open(&server.base).await.unwrap();
    assert_eq!(browser.eval(background).await.unwrap(), light);
    browser
        .until("document.getElementById('theme').title === 'Colours: light'")
        .await
        .unwrap();
    browser.emulate(1280, 800, Scheme::Light).await.unwrap();
    browser.eval(press).await.unwrap();
    assert_eq!(browser.eval(background).await.unwrap(), dark);
    browser.eval(press).await.unwrap();
    assert_eq!(browser.eval(background).await.unwrap(), light, "the system's again");
}
