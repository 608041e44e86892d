//! Miners and units in their tables.

use dashboard::Limits;

use super::*;
use crate::support::Role;

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
            "{} === '{hostile}|–|3,000|3|30|none yet|60 s|extended|nothing: no key'",
            cells(0)
        ))
        .await
        .unwrap();
    let aged = format!(
        "/^02ab…cd.rig1\\|1.23 TH\\/s\\|1,000\\|1\\|10\\|[5-9] s\\|6[0-4] s\\|extended\\|ehash$/.test({})",
        cells(2)
    );
    browser.until(&aged).await.unwrap();
    assert_eq!(browser.text("miners").await.unwrap(), "3");
    picture(&browser, "pool-miners").await;
    nothing_overflows(&browser).await;

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
    let names = format!(
        "{}…{},hash_<script>alert(1)</script>,hash_02ab_912345",
        "x".repeat(24),
        "x".repeat(20)
    );
    assert_eq!(browser.eval(rows).await.unwrap(), names);
    let whole = "document.querySelector('#units tbody th').title";
    assert_eq!(browser.eval(whole).await.unwrap(), "x".repeat(255));
    session.apply(snapshot(2, units(1_000_000)), Instant::now());
    browser
        .until("document.querySelectorAll('#units tbody tr')[1].cells[1].textContent === '1,000,000'")
        .await
        .unwrap();
    assert_eq!(browser.eval(rows).await.unwrap(), names);
    nothing_overflows(&browser).await;
    browser.open(&format!("{}/mint", server.base)).await.unwrap();
    // The chart's newest value is the page's own, although the server's history may not have it yet.
    let legend = "document.querySelector('[data-chart=states] li b')?.textContent";
    let redeemed = "document.getElementById('quotes-redeemed').textContent";
    browser.until(&format!("{legend} === {redeemed}")).await.unwrap();
    picture(&browser, "mint-odd").await;
    assert_eq!(browser.console().await.unwrap(), Vec::<String>::new());
}

/// The names in a table's rows that can be seen, from top to bottom.
fn seen(table: &str) -> String {
    format!(
        "[...document.querySelectorAll('#{table} tbody tr')].filter((row) => row.offsetParent !== null)\
         .map((row) => row.cells[0].textContent).join()"
    )
}

async fn click(browser: &Browser, element: &str) {
    browser.eval(&format!("{element}.click()")).await.unwrap();
}

#[tokio::test]
async fn miners_are_sorted_by_a_click_and_filtered_by_a_text() {
    let server = Server::pool().await;
    let rig = |id, name: &str, seconds: Option<u64>| miner(id, name, seconds.map(Duration::from_secs));
    let miners = vec![
        rig(1, "rig10", Some(400)),
        rig(2, "Rig9", Some(7)),
        rig(3, "kitchen", None),
        rig(4, "rig2", Some(90)),
    ];
    *server.role.pool.lock().unwrap() = pool_of(miners.clone(), true);
    let browser = Browser::start().await.unwrap();
    browser.emulate(1280, 800, Scheme::Light).await.unwrap();
    browser.open(&server.base).await.unwrap();
    let head = |index: usize| format!("document.querySelectorAll('#miners-table .sort')[{index}]");
    browser.until(&format!("{} !== undefined", head(5))).await.unwrap();
    let order = async |wanted: &str| {
        let seen = seen("miners-table");
        browser.until(&format!("{seen} === '{wanted}'")).await.unwrap();
    };
    order("rig2,kitchen,Rig9,rig10").await;
    click(&browser, &head(0)).await;
    order("kitchen,rig2,Rig9,rig10").await;
    let sorted = "document.querySelector('#miners-table th').ariaSort";
    assert_eq!(browser.eval(sorted).await.unwrap(), "ascending");
    click(&browser, &head(5)).await;
    order("rig10,rig2,Rig9,kitchen").await;
    assert_eq!(browser.eval(sorted).await.unwrap(), serde_json::Value::Null);
    click(&browser, &head(5)).await;
    order("Rig9,rig2,rig10,kitchen").await;
    let quiet = "[...document.querySelectorAll('#miners-table [data-quiet=true]')].map((row) => row.cells[0].textContent).join()";
    assert_eq!(browser.eval(quiet).await.unwrap(), "rig10");

    // The order holds while miners come and go, and so does the filter.
    let mut more = miners;
    more.push(rig(5, "rig3", Some(30)));
    more.retain(|miner| miner.id != 4);
    *server.role.pool.lock().unwrap() = pool_of(more, true);
    order("Rig9,rig3,rig10,kitchen").await;
    let field = "document.querySelector('.tools input')";
    let typed = format!("({field}.value = ' RIG ', {field}.dispatchEvent(new Event('input')))");
    browser.eval(&typed).await.unwrap();
    order("Rig9,rig3,rig10").await;
    let found = "document.querySelector('#miners-table ~ .found').textContent";
    assert_eq!(browser.eval(found).await.unwrap(), "3 of 4");
    nothing_to_complain_of(&browser, &server).await;
}

#[tokio::test]
async fn of_250_units_the_newest_are_seen_first_and_all_on_demand() {
    let server = Server::start("mint", Role::default(), Limits::default()).await;
    let session = server.connect();
    let units = |issued: u64| (0..250).map(move |epoch| unit(&format!("hash_{}", 912_000 + epoch), issued + epoch));
    session.apply(snapshot(1, units(1000)), Instant::now());
    let browser = Browser::start().await.unwrap();
    browser.emulate(1280, 800, Scheme::Light).await.unwrap();
    browser.open(&server.base).await.unwrap();
    let count = format!("{}.split(',').length", seen("units"));
    let more = "document.querySelector('#units ~ .more')";
    browser
        .until(&format!("{more}?.textContent === 'Show all 250' && {count} === 25"))
        .await
        .unwrap();
    let first = "document.querySelector('#units tbody tr').cells[0].textContent";
    assert_eq!(browser.eval(first).await.unwrap(), "hash_912249");
    click(&browser, more).await;
    browser.until(&format!("{count} === 250")).await.unwrap();
    session.apply(snapshot(2, units(5000)), Instant::now());
    let last = "[...document.querySelectorAll('#units tbody tr')].at(-1).cells[1].textContent";
    browser.until(&format!("{last} === '5,000'")).await.unwrap();
    picture(&browser, "mint-units").await;
    nothing_overflows(&browser).await;
    nothing_to_complain_of(&browser, &server).await;
}
