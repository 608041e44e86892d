//! The program: its exit codes, and a pool that is killed while it works.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use pool::outbox::{AcceptedShare, Outbox, OutboxConfig};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::mint::Identity;

const PROGRAM: &str = env!("CARGO_BIN_EXE_pool");

pub(crate) fn write_config(dir: &Path, more: &str) -> String {
    let file = dir.join("pool.toml");
    let data_dir = dir.join("data");
    let text = format!(
        "data_dir = {data_dir:?}\n{more}\n[mining]\nlisten = \"127.0.0.1:0\"\n[dashboard]\nlisten = \"127.0.0.1:0\"\n"
    );
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

pub(crate) fn run(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().unwrap()
}

/// Starts it and waits until it serves; gives the address of its dashboard.
pub(crate) async fn serve(config: &str) -> (Child, String) {
    let mut child = tokio::process::Command::new(PROGRAM)
        .args(["--config", config, "--log", "warn"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap().expect("it serves");
        if let Some(address) = line.strip_prefix("dashboard=") {
            return (child, address.to_owned());
        }
    }
}

/// Sends a signal by its name.
pub(crate) fn send(child: &Child, signal: &str) {
    let id = child.id().unwrap().to_string();
    let status = Command::new("kill").args(["-s", signal, &id]).status();
    assert!(status.unwrap().success());
}

pub(crate) async fn terminate(mut child: Child) -> ExitStatus {
    send(&child, "TERM");
    tokio::time::timeout(Duration::from_secs(30), child.wait())
        .await
        .unwrap()
        .unwrap()
}

#[test]
fn bad_configurations_are_one_line_and_exit_code_2() {
    let dir = TempDir::new().unwrap();
    for (text, says) in [
        ("[mint_link]\nlisten = \"0.0.0.0:0\"", "mint_link.mint_public_keys = []"),
        (
            "[outbox]\nmax_waiting = 0",
            "outbox.max_waiting = 0: expected 1 to 100000000",
        ),
        ("[quotes]\ndificulty = 3", "quotes.dificulty: unknown key"),
    ] {
        let config = write_config(dir.path(), text);
        let output = run(&["--config", &config]);
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(
            line.lines().count() == 1 && line.contains(&config) && line.contains(says),
            "{line}"
        );
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = write_config(
        dir.path(),
        &format!("[mint_link]\nlisten = \"{}\"", taken.local_addr().unwrap()),
    );
    let output = run(&["--config", &config]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("the port is in use"));
}

#[tokio::test]
async fn it_shows_its_key_serves_and_stops_in_order() {
    let dir = TempDir::new().unwrap();
    let config = write_config(dir.path(), "[mint_link]\nlisten = \"127.0.0.1:0\"");
    let key = || String::from_utf8(run(&["--config", &config, "--print-authority-key"]).stdout).unwrap();
    assert!(key().trim().parse::<sv2_transport::AuthorityPublicKey>().is_ok());
    assert_eq!(key(), key());
    let (child, dashboard) = serve(&config).await;
    let ready = reqwest::get(format!("http://{dashboard}/readyz")).await.unwrap();
    assert_eq!(ready.status().as_u16(), 200);
    assert_eq!(terminate(child).await.code(), Some(0));
}

pub(crate) fn share(n: u32) -> AcceptedShare {
    let mut header_hash = [9; 32];
    header_hash[..4].copy_from_slice(&n.to_le_bytes());
    AcceptedShare {
        header_hash,
        amount: 1,
        locking_key: [2; 33],
    }
}

#[tokio::test]
async fn a_pool_that_is_killed_again_and_again_asks_for_every_share_and_keeps_every_quote() {
    const ROUNDS: u32 = 4;
    const SHARES: u32 = 60;
    let dir = TempDir::new().unwrap();
    let identity = Identity::new();
    // The mint must find the pool again.
    let link: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let more = format!(
        "[mint_link]\nlisten = \"{link}\"\nmint_public_keys = [\"{}\"]",
        identity.public_key()
    );
    let config = write_config(dir.path(), &more);
    let authority = String::from_utf8(run(&["--config", &config, "--print-authority-key"]).stdout).unwrap();
    let mint = identity.dial(link, authority.trim().parse().unwrap());
    let feeder = Outbox::open(dir.path().join("data/outbox.sqlite"), &OutboxConfig::default()).unwrap();

    let mut view = feeder.watch();
    let (mut child, _) = serve(&config).await;
    for round in 0..ROUNDS {
        for n in 0..SHARES {
            feeder.enqueue(share(round * SHARES + n)).await.unwrap();
        }
        // In the middle of the work: some of this round are answered, the others are anywhere on the way.
        let some = u64::from(round * SHARES + SHARES / 4);
        view.wait_for(|view| view.tally.acknowledged >= some).await.unwrap();
        child.kill().await.unwrap();
        (child, _) = serve(&config).await;
    }
    let all = u64::from(ROUNDS * SHARES);
    view.wait_for(|view| view.tally.acknowledged == all).await.unwrap();
    assert_eq!(terminate(child).await.code(), Some(0));

    let tally = feeder.view().tally.clone();
    assert_eq!((tally.requested, tally.waiting, tally.refused.len()), (all, 0, 0));
    let mut kept: Vec<String> = Vec::new();
    let mut cursor = 0;
    loop {
        let page = feeder.quotes_after(cursor, 100).await.unwrap();
        let Some(last) = page.last() else { break };
        cursor = last.cursor;
        kept.extend(page.into_iter().map(|quote| quote.quote_id));
    }
    kept.sort();
    let mut made: Vec<String> = mint.quotes.lock().unwrap().values().cloned().collect();
    made.sort();
    assert_eq!(kept, made);
    assert_eq!(made.len() as u64, all);
}
