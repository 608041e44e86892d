//! The soak instrument, from outside: what it finds right and wrong, its JSON, and its end. Only correctness is judged here;
//! how fast things are depends on what else the machine does.

use std::{path::Path, process::ExitStatus};

use serde_json::Value;
use system_tests::Process;
use tempfile::tempdir;

/// Runs it; its exit status, what it printed, and its JSON.
async fn soak(args: &[&str]) -> (ExitStatus, String, Value) {
    let dir = tempdir().unwrap();
    let (json, data) = (dir.path().join("soak.json"), dir.path().join("data"));
    let mut process = start(args, &json, &data);
    let status = process.ended().await;
    let printed = process.finished().await.join("\n");
    let report = std::fs::read(&json).map_or(Value::Null, |text| serde_json::from_slice(&text).unwrap());
    (status, printed, report)
}

fn start(args: &[&str], json: &Path, data: &Path) -> Process {
    let fixed = ["--json", json.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
    Process::start("soak", &[args, &fixed].concat())
}

#[tokio::test]
async fn with_wallets_and_faults_every_figure_shown_is_right() {
    let args = [
        "--duration",
        "20s",
        "--rate",
        "15",
        "--faults",
        "10s",
        "--min-gap-ms",
        "20",
    ];
    let (status, printed, report) = soak(&args).await;
    assert!(status.success(), "{printed}");
    assert_eq!(report["final_equal"], true, "{report:#}");
    assert_eq!(report["wrong"], 0, "{report:#}");
    assert!(report["issued"].as_u64().unwrap() > 0, "{report:#}");
    assert!(report["audits"]["made"].as_u64().unwrap() > 0, "{report:#}");
    assert_eq!(report["faults"]["cut"], 1, "{report:#}");
    for figures in ["staleness_ms", "age_ms"] {
        for place in ["cache", "http", "sse"] {
            let figures = &report[figures][place];
            let [mean, p50, p99, p999, max] =
                ["mean", "p50", "p99", "p999", "max"].map(|name| figures[name].as_f64().unwrap());
            assert!(p50 <= p99 && p99 <= p999 && p999 <= max && mean <= max, "{figures}");
        }
    }
    for key in ["pushes", "bytes", "cpu_s", "rss_kib", "open_files"] {
        assert!(!report[key].is_null(), "{key}: {report:#}");
    }
    for side in ["mint", "pool"] {
        assert!(report["cpu_s"][side].as_f64().unwrap() > 0.0, "{report:#}");
        assert!(report["rss_kib"][side]["end"].as_u64().unwrap() > 0, "{report:#}");
        assert!(report["open_files"][side]["end"].as_u64().unwrap() > 0, "{report:#}");
    }
    assert!(report["pushes"]["event"].as_u64().unwrap() > 0, "{report:#}");
}

#[tokio::test]
async fn a_synthetic_ledger_is_shown_right_by_all_pools_and_a_broken_bound_ends_with_1() {
    let args = [
        "--duration",
        "3s",
        "--synthetic",
        "--rate",
        "5000",
        "--units",
        "3",
        "--pools",
        "3",
        "--max-p99",
        "0ms",
    ];
    let (status, printed, report) = soak(&args).await;
    assert_eq!(status.code(), Some(1), "{printed}");
    assert!(printed.contains("at most 0 ms are good"), "{printed}");
    assert_eq!(report["pools"], 3, "{report:#}");
    assert_eq!(report["broken_bounds"].as_array().unwrap().len(), 1, "{report:#}");
    assert_eq!(report["final_equal"], true, "{report:#}");
    assert_eq!(report["wrong"], 0, "{report:#}");
}

/// A soak of an hour that has begun to measure, and its processes.
async fn underway(json: &Path, data: &Path) -> (Process, Vec<u32>) {
    let mut process = start(&["--duration", "1h", "--synthetic", "--rate", "100"], json, data);
    process
        .hears("progress", |lines| {
            lines.iter().any(|line| line.contains(" of 3600 s")).then_some(())
        })
        .await;
    let children = children_of(process.id());
    assert_eq!(children.len(), 2, "a ledger and a pool");
    (process, children)
}

#[tokio::test]
async fn ctrl_c_ends_it_in_order_with_what_was_measured_and_without_a_process_left() {
    let dir = tempdir().unwrap();
    let (json, data) = (dir.path().join("soak.json"), dir.path().join("data"));
    let (mut process, children) = underway(&json, &data).await;
    process.signal("INT").await;
    let status = process.ended().await;
    let printed = process.finished().await.join("\n");
    assert!(status.success(), "{printed}");
    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["interrupted"], true, "{report:#}");
    assert!(!children.iter().any(|child| runs(*child)), "a process is left");
}

#[tokio::test]
async fn killed_it_leaves_no_process_behind() {
    let dir = tempdir().unwrap();
    let (json, data) = (dir.path().join("soak.json"), dir.path().join("data"));
    let (process, children) = underway(&json, &data).await;
    process.kill().await;
    system_tests::eventually("the children are gone", system_tests::PATIENCE, async || {
        (!children.iter().any(|child| runs(*child))).then_some(())
    })
    .await;
}

fn children_of(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes
        .filter(|id| stat(*id).is_some_and(|(_, of)| of == parent))
        .collect()
}

/// Neither gone nor waiting to be told so.
fn runs(process: u32) -> bool {
    stat(process).is_some_and(|(state, _)| state != "Z")
}

/// State and parent.
fn stat(process: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}
