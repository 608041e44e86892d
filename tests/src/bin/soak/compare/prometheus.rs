//! Prometheus as a child: Debian's package of that name, if it is installed.

use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};

use anyhow::Context as _;
use tokio::process::{Child, Command};

/// Whether the program can be found.
pub(super) async fn is_there() -> bool {
    let version = Command::new("prometheus")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await;
    version.is_ok_and(|status| status.success())
}

/// Scrapes the mint's metrics this often. Killed when dropped.
pub(super) fn start(dir: &Path, mint: SocketAddr, listen: SocketAddr, scrape: Duration) -> anyhow::Result<Child> {
    // What it has scraped of a mint that was stopped it would answer with for five minutes.
    let storage = dir.join("prometheus");
    if storage.exists() {
        std::fs::remove_dir_all(&storage)?;
    }
    let config = dir.join("prometheus.yml");
    let text = format!(
        "global:\n  scrape_interval: {0}s\n  scrape_timeout: {0}s\nscrape_configs:\n- job_name: mint\n  static_configs:\n  - targets: ['{mint}']\n",
        scrape.as_secs()
    );
    std::fs::write(&config, text)?;
    let log = std::fs::File::create(dir.join("prometheus.log"))?;
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", storage.display()))
        .arg(format!("--web.listen-address={listen}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("prometheus can't be started")?;
    Ok(child)
}
