//! The program: what it says, where it serves, how it ends.

use std::time::Duration;

use system_tests::{Process, eventually, stats, truth};

const PATIENCE: Duration = Duration::from_secs(60);

const ANY_PORTS: [&str; 10] = [
    "--dashboard",
    "127.0.0.1:0",
    "--mint-http",
    "127.0.0.1:0",
    "--mint-dashboard",
    "127.0.0.1:0",
    "--mining",
    "127.0.0.1:0",
    "--mint-link",
    "127.0.0.1:0",
];

#[tokio::test(flavor = "multi_thread")]
async fn it_announces_its_addresses_and_stops_in_order_after_its_duration() {
    let dir = tempfile::tempdir().unwrap();
    let mut args = vec!["--data-dir", dir.path().to_str().unwrap(), "--duration", "4s"];
    args.extend(ANY_PORTS);
    let mut devnet = Process::start("devnet", &args);
    let [dashboard, mint_dashboard, ..] = devnet
        .announces([
            "dashboard",
            "mint-dashboard",
            "mint-http",
            "mining",
            "mint-link",
            "authority-key",
        ])
        .await;
    for page in [dashboard, mint_dashboard] {
        eventually("the page is live", PATIENCE, async || {
            stats(&page).await.filter(|stats| stats["status"] == "live")
        })
        .await;
    }
    assert_eq!(devnet.ended().await.code(), Some(0));
    let truth = truth(&dir.path().join("mint").join("mint.sqlite"));
    let redeemed = format!("redeemed {},", truth.redeemed);
    devnet
        .hears("the figures of the final push", |lines| {
            lines.last().filter(|line| line.contains(&redeemed)).cloned()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_stops_it_in_order() {
    let mut devnet = Process::start("devnet", &ANY_PORTS);
    devnet.announces(["dashboard"]).await;
    devnet.signal("INT").await;
    assert_eq!(devnet.ended().await.code(), Some(0));
}

#[test]
fn it_goes_on_and_stops_in_order_when_nobody_reads_what_it_prints() {
    let (reader, nobody_reads) = std::io::pipe().unwrap();
    drop(reader);
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_devnet"))
        .args(ANY_PORTS)
        .args(["--duration", "1s"])
        .stdout(nobody_reads.try_clone().unwrap())
        .stderr(nobody_reads)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_port_in_use_is_one_line_with_the_flag_that_chooses_another() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in [
        "--dashboard",
        "--mint-http",
        "--mint-dashboard",
        "--mining",
        "--mint-link",
    ] {
        let args = ANY_PORTS.chunks(2).filter(|pair| pair[0] != flag).flatten();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_devnet"))
            .args(args)
            .args([flag, &address])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        let last = said.lines().last().unwrap();
        let expected = format!("devnet: {flag} = \"{address}\": can't listen there: the port is in use");
        assert!(last.starts_with(&expected), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_flag_is_a_usage_error_and_help_is_none() {
    for (flag, code) in [
        ("--help", 0),
        ("--version", 0),
        ("--colour", 2),
        ("--duration=never", 2),
    ] {
        let mut devnet = Process::start("devnet", &[flag]);
        assert_eq!(devnet.ended().await.code(), Some(code), "{flag}");
    }
}
