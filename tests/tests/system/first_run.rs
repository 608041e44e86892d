//! What a newcomer sees: devnet starts, its page fills itself, and what it shows is true.

use std::time::Duration;

use browser_test::Browser;
use system_tests::{Truth, eventually, stats, truth};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);

fn any_port() -> std::net::SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

pub(crate) fn config() -> devnet::DevnetConfig {
    devnet::DevnetConfig {
        listen: devnet::Listen {
            dashboard: any_port(),
            mint_http: any_port(),
            mint_dashboard: any_port(),
            mining: any_port(),
            mint_link: any_port(),
        },
        ..devnet::DevnetConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p11_quotes_redeemed_grows_without_a_reload_and_at_rest_equals_the_mints_file() {
    let stop = CancellationToken::new();
    let devnet = devnet::start(config(), stop.clone()).await.unwrap();
    let [(_, dashboard), ..] = devnet.addresses();
    let dashboard = dashboard.to_string();

    let browser = Browser::start().await.unwrap();
    browser.open(&format!("http://{dashboard}/")).await.unwrap();
    let number = "Number(document.getElementById('quotes-redeemed').textContent.replace(/\\D/g, ''))";
    browser.until(&format!("{number} >= 3")).await.unwrap();
    let earlier = browser.eval(number).await.unwrap();
    browser.until(&format!("{number} > {earlier}")).await.unwrap();
    assert_eq!(
        browser.console().await.unwrap(),
        Vec::<String>::new(),
        "no complaint in the console"
    );

    devnet.stop_hashing().await;
    let truth = eventually("all quotes are redeemed and shown", PATIENCE, async || {
        let truth = truth(devnet.mint_database());
        let waiting = devnet.wallet().borrow().waiting + devnet.figures().waiting;
        let stats = stats(&dashboard).await?;
        (waiting == 0 && truth.quotes[1] == 0 && Truth::shown(&stats)? == truth).then_some(truth)
    })
    .await;
    assert!(truth.redeemed >= 3, "{truth:?}");
    assert_eq!(truth.quotes, [0, 0, truth.redeemed]);
    assert_eq!(devnet.wallet().borrow().redeemed_quotes, truth.redeemed);
    let redeemed = format!("ehash_pool_quotes_redeemed_total {}", truth.redeemed);
    eventually(
        "the pool has heard of each and lists none any more",
        PATIENCE,
        async || {
            let metrics = reqwest::get(format!("http://{dashboard}/metrics")).await.ok()?;
            let metrics = metrics.text().await.ok()?;
            metrics.lines().any(|line| line == redeemed).then_some(())
        },
    )
    .await;
    browser
        .until(&format!("{number} === {}", truth.redeemed))
        .await
        .unwrap();

    devnet.stop().await;
}
