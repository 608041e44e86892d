//! `/metrics` as a scraper reads it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use dashboard::{PoolView, QuoteCounts, TemplateView};

use crate::support::{Server, snapshot, tell, unit};

/// The series of a page, each of which must belong to a family with HELP and TYPE.
fn series(page: &str) -> BTreeMap<String, f64> {
    assert!(page.ends_with("# EOF\n"), "{page}");
    let mut families = BTreeMap::new();
    let mut series = BTreeMap::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (family, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty() && family.starts_with("ehash_"), "{line}");
            assert!(families.insert(family, None).is_none(), "{family} twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (family, kind) = rest.split_once(' ').unwrap();
            assert_eq!(families.insert(family, Some(kind)), Some(None), "{line}");
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (family, unit) = rest.split_once(' ').unwrap();
            assert!(family.ends_with(&format!("_{unit}")), "{line}");
        } else if line != "# EOF" {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let metric = name.split('{').next().unwrap();
            let family = metric
                .strip_suffix("_total")
                .filter(|family| families.contains_key(family));
            match family {
                Some(family) => assert_eq!(families[family], Some("counter"), "{line}"),
                None => assert_eq!(families[metric], Some("gauge"), "{line}"),
            }
            assert!(
                series.insert(name.to_owned(), value.parse().unwrap()).is_none(),
                "{name} twice"
            );
        }
    }
    series
}

#[tokio::test]
async fn what_is_known_is_told_and_what_is_not_is_absent() {
    let server = Server::pool().await;
    let before = series(&server.open_metrics().await);
    assert_eq!(before[r#"ehash_mint_stats_status{status="never"}"#], 1.0);
    assert_eq!(before["ehash_mint_connected"], 0.0);
    for absent in [
        "ehash_mint_quotes_redeemed",
        "ehash_mint_stats_age_seconds",
        "ehash_pool_miners",
        "ehash_pool_hashrate",
        "ehash_pool_template_age_seconds",
        "ehash_pool_quotes_waiting",
    ] {
        assert!(!before.contains_key(absent), "{absent}");
    }

    let session = server.connect();
    tell(&session, 42);
    *server.role.pool.lock().unwrap() = PoolView {
        miners: Some(2),
        hashrate: Some(1.5e12),
        template: Some(TemplateView {
            source: "sv2-tp".to_owned(),
            connected: false,
            age: Some(Duration::from_secs(12)),
            blocks_submitted: 1,
        }),
        quotes: QuoteCounts {
            waiting: Some(0),
            ..QuoteCounts::default()
        },
        ..PoolView::default()
    };
    let after = series(&server.open_metrics().await);
    for (name, value) in [
        (r#"ehash_mint_stats_status{status="live"}"#, 1.0),
        (r#"ehash_mint_stats_status{status="never"}"#, 0.0),
        ("ehash_mint_connected", 1.0),
        ("ehash_mint_quotes_redeemed", 42.0),
        (r#"ehash_mint_quotes{state="paid"}"#, 3.0),
        (r#"ehash_mint_amount{state="issued"}"#, 1344.0),
        (r#"ehash_mint_unit_amount{unit="hash",state="paid"}"#, 96.0),
        (
            r#"ehash_mint_unit_last_issued_timestamp_seconds{unit="hash"}"#,
            1_795_336_800.123,
        ),
        (r#"ehash_mint_snapshots_received_total{reason="event"}"#, 1.0),
        ("ehash_mint_sessions_total", 1.0),
        ("ehash_mint_stats_interval_seconds", 5.0),
        ("ehash_pool_miners", 2.0),
        ("ehash_pool_hashrate", 1.5e12),
        (r#"ehash_pool_template_source_connected{source="sv2-tp"}"#, 0.0),
        ("ehash_pool_template_age_seconds", 12.0),
        ("ehash_pool_blocks_submitted_total", 1.0),
        ("ehash_pool_quotes_waiting", 0.0),
        ("ehash_pool_quotes_oldest_waiting_seconds", 0.0),
    ] {
        assert_eq!(after[name], value, "{name}");
    }
    assert!(after.contains_key("ehash_mint_stats_age_seconds") && after.contains_key("ehash_mint_clock_skew_seconds"));
}

#[tokio::test]
async fn who_does_not_ask_for_open_metrics_gets_prometheus_text_with_the_same_series() {
    let server = Server::pool().await;
    let session = server.connect();
    tell(&session, 42);
    let answer = server.get("/metrics").await;
    let headers = answer.headers();
    assert_eq!(headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(headers["vary"], "accept");
    let text = answer.text().await.unwrap();
    assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
    for line in [
        "# TYPE ehash_mint_sessions_total counter",
        "# TYPE ehash_mint_stats_age_seconds gauge",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let names = |text: &str| -> Vec<String> {
        let series = text.lines().filter(|line| !line.starts_with('#'));
        series.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    assert_eq!(names(&text), names(&server.open_metrics().await));
}

#[tokio::test]
async fn many_units_do_not_become_many_series() {
    let server = Server::pool().await;
    let session = server.connect();
    let units = (0..200).map(|epoch| unit(&format!("hash_{epoch}"), 1));
    session.apply(snapshot(1, units), Instant::now());
    let series = series(&server.open_metrics().await);
    assert_eq!(series["ehash_mint_units"], 200.0);
    assert_eq!(series["ehash_mint_quotes_redeemed"], 200.0);
    let of_units = series
        .keys()
        .filter(|name| name.starts_with("ehash_mint_unit_quotes"))
        .count();
    assert_eq!(of_units, 16 * 3);
    assert!(
        series.contains_key(r#"ehash_mint_unit_quotes{unit="hash_199",state="issued"}"#),
        "the newest"
    );
}
