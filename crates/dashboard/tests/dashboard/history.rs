//! What was: told with its gaps and its own times, also after a restart.

use dashboard::History;
use serde_json::{Value, json};
use stats_push::UnixMillis;

use crate::support::{PATIENCE, Server, Setup, history_file, tell};

const PATH: &str = "/api/v1/mint/stats/history";

fn now() -> u64 {
    UnixMillis::now().0 / 1000
}

#[tokio::test]
async fn what_a_file_holds_is_told_under_its_own_times_and_its_gap_is_a_gap() {
    let (_folder, file) = history_file(7200);
    let before = now();
    let server = Setup {
        history: History::open(file),
        ..Setup::default()
    }
    .start()
    .await;
    let told = server.json(&format!("{PATH}?from=-7200")).await;
    assert_eq!(told["step"], 60);
    let from = told["from"].as_u64().unwrap();
    assert!((before - 7200 - 60..=now() - 7200).contains(&from), "{from}");
    for column in [
        "redeemed",
        "unpaid",
        "paid",
        "issued",
        "age_ms",
        "requested",
        "hashrate",
    ] {
        assert_eq!(told[column].as_array().unwrap().len(), 121, "{column}");
    }
    let redeemed: Vec<Option<u64>> = serde_json::from_value(told["redeemed"].clone()).unwrap();
    // A quote a second: a slot's total is that of its end.
    let begun = before - 7200;
    for (slot, redeemed) in redeemed.iter().enumerate().skip(1).take(118) {
        let at = from + slot as u64 * 60;
        let in_gap = (before - 3600..before - 3000).contains(&at);
        match redeemed {
            None => assert!((before - 3600 - 60..before - 3000 + 60).contains(&at), "{slot}"),
            Some(_) if in_gap => panic!("{slot}: {redeemed:?} in the gap"),
            Some(redeemed) => assert!((at + 60 - begun).abs_diff(*redeemed) <= 2, "{slot}: {redeemed}"),
        }
    }
    assert!(redeemed.iter().filter(|slot| slot.is_none()).count() >= 9);
    let rates = told["rates"].as_array().unwrap();
    let per_minute: Vec<Option<f64>> = rates.iter().map(|rate| rate["per_minute"].as_f64()).collect();
    assert!((per_minute[0].unwrap() - 60.0).abs() < 3.0, "{per_minute:?}");
    assert_eq!(per_minute[2], None, "two hours are less than a tenth of a day");
}

#[tokio::test]
async fn nothing_that_was_restored_is_passed_off_as_new() {
    let (_folder, file) = history_file(7200);
    let server = Setup {
        history: History::open(file),
        ..Setup::default()
    }
    .start()
    .await;
    assert_eq!(server.json("/api/v1/mint/stats").await["quotes_redeemed"], Value::Null);
    let page = server.text("/").await;
    assert!(
        page.contains(r#"data-field="quotes_redeemed" data-as="count">–<"#),
        "{page}"
    );
    assert!(page.contains("each minute of the last hour: 60 at most"), "{page}");
}

#[tokio::test]
async fn figures_are_recorded_while_the_mint_tells_and_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(dashboard::HISTORY_FILE);
    let start = || Setup {
        history: History::open(file.clone()),
        ..Setup::default()
    };
    let server = start().start().await;
    let session = server.connect();
    tell(&session, 42);
    let recorded = |told: &Value| told["redeemed"].as_array().unwrap().contains(&json!(42));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !recorded(&server.json(PATH).await) {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    server.end().await;
    let server = start().start().await;
    let told = server.json(PATH).await;
    assert!(recorded(&told), "{told}");
    assert!(
        told["redeemed"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|slot| !slot.is_null())
            .count()
            <= 3
    );
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_in_one_line() {
    let server = Server::pool().await;
    for query in [
        "from=x",
        "to=-1",
        "to=1.5",
        "step=7",
        "step=0",
        "from=20&to=10",
        "from=1&from=2",
        "from=99999999999999999999",
    ] {
        let answer = server.get(&format!("{PATH}?{query}")).await;
        assert_eq!(answer.status(), 400, "{query}");
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert!(!answer["error"].as_str().unwrap().contains('\n'), "{query}");
    }
    for query in [
        "",
        "step=3600",
        "from=0",
        "to=0&from=0",
        "from=-9223372036854775808",
        "from=1&to=18446744073709551615",
    ] {
        let answer = server.get(&format!("{PATH}?{query}")).await;
        assert_eq!(answer.status(), 200, "{query}");
        assert!(answer.bytes().await.unwrap().len() < 200_000, "{query}");
    }
    let mint = Setup {
        host: "mint",
        ..Setup::default()
    }
    .start()
    .await;
    let told = mint.json(PATH).await;
    assert_eq!((&told["requested"], &told["hashrate"]), (&Value::Null, &Value::Null));
}
