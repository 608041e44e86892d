//! What a newcomer sees: devnet starts, its page fills itself, and what it shows is true.

use std::time::Duration;

use browser_test::Browser;
use system_tests::{Process, Truth, eventually, stats, truth};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);

fn any_port() -> std::net::SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn config() -> devnet::DevnetConfig {
    devnet::DevnetConfig {
        listen: devnet::Listen {
            dashboard: any_port(),
            mint_http: any_port(),
            mint_dashboard: any_port(),
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
    browser
        .until(&format!("{number} === {}", truth.redeemed))
        .await
        .unwrap();

    devnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn devnet_as_a_program_announces_its_addresses_and_stops_after_its_duration() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let ports = ["--dashboard", "--mint-http", "--mint-dashboard", "--mint-link"].map(|flag| [flag, "127.0.0.1:0"]);
    let mut args = vec!["--data-dir", data, "--duration", "4s"];
    args.extend(ports.iter().flatten());
    let mut devnet = Process::start("devnet", &args);
    let names = ["dashboard", "mint-http", "mint-dashboard", "mint-link"];
    let [dashboard, ..] = devnet.announces(names).await;
    eventually("the page is live", PATIENCE, async || {
        stats(&dashboard).await.filter(|stats| stats["status"] == "live")
    })
    .await;
    assert_eq!(devnet.ended().await.code(), Some(0));
    let truth = truth(&dir.path().join("mint").join("mint.sqlite"));
    let last = devnet.lines().last().cloned().unwrap();
    assert!(
        last.contains(&format!("redeemed {},", truth.redeemed)),
        "{last:?} is the final push's: {truth:?}"
    );
}
