//! Everything else over HTTP: pages, headers, health, the pool's own figures, quotes of a key, odd input.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    time::Duration,
};

use dashboard::{
    ChannelKind, Limits, LinkStage, MinerView, MiningAddress, PoolView, QuoteCounts, QuotePage, QuoteRef, ShareCounts,
    TemplateView,
};
use reqwest::Method;
use serde_json::json;
use stats_push::UnixMillis;

use crate::support::{Role, Server, Setup, snapshot, tell, unit};

const KEY: &str = "02abababababababababababababababababababababababababababababababab";

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let server = Server::pool().await;
    let paths = [
        "/",
        "/mint",
        "/static/app.js",
        "/api/v1/mint/stats",
        "/metrics",
        "/nowhere",
        "/api/nowhere",
        "/api/v1/quotes",
    ];
    for path in paths {
        let answer = server.get(path).await;
        let headers = answer.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        assert!(headers.contains_key("cache-control"), "{path}");
    }
}

#[tokio::test]
async fn http_1_1_names_exactly_one_host_and_http_1_0_need_not() {
    let server = Server::pool().await;
    for (request, status) in [
        (
            "GET /healthz HTTP/1.1\r\nHost: pool\r\nConnection: close\r\n\r\n",
            "200",
        ),
        ("GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", "400"),
        ("GET /nowhere HTTP/1.1\r\nConnection: close\r\n\r\n", "400"),
        (
            "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
            "400",
        ),
        ("GET /healthz HTTP/1.0\r\n\r\n", "200"),
    ] {
        let answer = server.raw(request).await;
        let line = answer.lines().next().unwrap();
        assert_eq!(line.split(' ').nth(1), Some(status), "{request:?}: {answer}");
    }
}

#[tokio::test]
async fn a_header_that_is_too_large_is_refused_before_it_takes_much_memory() {
    let server = Server::pool().await;
    let with_header = |kib: usize| {
        let value = "x".repeat(kib * 1024);
        format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX: {value}\r\nConnection: close\r\n\r\n")
    };
    let large = server.raw(&with_header(48)).await;
    assert!(large.starts_with("HTTP/1.1 200 "), "{large}");
    assert!(!server.is_served(&with_header(128)).await);
}

#[tokio::test]
async fn pages_hold_the_numbers_without_a_script_and_nothing_inline() {
    let server = Server::pool().await;
    *server.role.pool.lock().unwrap() = pool_view();
    let session = server.connect();
    tell(&session, 1_234_567);
    for path in ["/", "/mint"] {
        let page = server.text(path).await;
        assert!(
            page.contains(r#"id="quotes-redeemed" data-field="quotes_redeemed" data-as="count">1,234,567<"#),
            "{page}"
        );
        assert!(page.contains(r#"id="status">live<"#), "{page}");
        assert!(
            page.contains("The mint is connected and tells its totals as they change."),
            "{page}"
        );
        for inline in [
            "<style",
            " style=",
            " onclick=",
            "javascript:",
            "<script>",
            "http://",
            "https://",
        ] {
            assert!(!page.contains(inline), "{inline} in {page}");
        }
    }
    let page = server.text("/").await;
    assert!(
        page.contains(r#"id="quotes-requested" data-field="quotes.requested" data-as="count">1,000<"#),
        "{page}"
    );
    assert!(page.contains("amount: 2, locking key: 1"), "{page}");
    for text in [
        "the oldest for 3 s",
        "on 4 channels",
        "3 earn nothing: no key",
        ">2.50 MH/s<",
        ">embedded<",
        r#"data-as="age" data-age-ms="12000">12 s<"#,
        r#"<tr role="row" data-key="9" data-earns="true" data-quiet="false"><th scope="row" role="rowheader" title="02abab…abab.rig1">02abab…abab.rig1</th>"#,
        r#"<td role="cell" data-label="Last share"><span data-age-ms="412">&#60;1 s</span></td>"#,
        "The 1 channels with the newest shares, of 4",
        ">127.0.0.1:34254<",
        ">9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72<",
    ] {
        assert!(page.contains(text), "{text} in {page}");
    }
}

#[tokio::test]
async fn unknown_is_a_dash_with_its_reason_never_zero() {
    let server = Server::pool().await;
    let page = server.text("/").await;
    assert!(
        page.contains(r#"id="quotes-redeemed" data-field="quotes_redeemed" data-as="count">–<"#),
        "{page}"
    );
    assert!(
        page.contains(r#"id="miners" data-field="miners" data-as="count">–<"#),
        "{page}"
    );
    assert!(page.contains(">no mint has connected yet<"), "{page}");
    assert!(page.contains(">this pool does not count it yet<"), "{page}");
    assert!(page.contains(r#"data-status="never""#) && page.contains("No mint has connected since this pool started."));
}

#[tokio::test]
async fn a_hostile_unit_name_stays_text() {
    let server = Server::pool().await;
    let session = server.connect();
    let name = r#"hash_<script>alert("1")</script>"#;
    session.apply(snapshot(1, [unit(name, 1)]), std::time::Instant::now());
    let page = server.text("/mint").await;
    assert!(
        !page.contains("<script>") && page.contains("hash_&#60;script&#62;alert"),
        "{page}"
    );
    assert_eq!(server.json("/api/v1/mint/stats").await["units"][0]["unit"], name);
    assert!(
        server
            .text("/metrics")
            .await
            .contains(r#"unit="hash_<script>alert(\"1\")</script>""#)
    );
}

#[tokio::test]
async fn the_mints_own_dashboard_has_the_mint_page_at_its_root() {
    let server = Server::start("mint", Role::default(), Limits::default()).await;
    let session = server.connect();
    tell(&session, 42);
    let root = server.text("/").await;
    for page in [&root, &server.text("/mint").await] {
        assert!(
            page.contains(r#"data-host="mint""#) && page.contains(r#"id="units""#),
            "{page}"
        );
        assert!(!page.contains("api/v1/pool"), "{page}");
    }
    for path in ["/api/v1/pool", "/api/v1/quotes"] {
        assert_eq!(server.get(path).await.status(), 404, "{path}");
    }
    assert_eq!(server.json("/readyz").await["mint"]["status"], "live");
}

#[tokio::test]
async fn assets_are_asked_for_again_by_etag() {
    let server = Server::pool().await;
    for (name, kind) in [
        ("app.css", "text/css; charset=utf-8"),
        ("app.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ] {
        let path = format!("/static/{name}");
        let asset = server.get(&path).await;
        assert_eq!(
            (
                asset.status().as_u16(),
                asset.headers()["content-type"].to_str().unwrap()
            ),
            (200, kind)
        );
        let request = reqwest::Client::new()
            .get(server.url(&path))
            .header("if-none-match", asset.headers()["etag"].clone());
        assert_eq!(request.send().await.unwrap().status(), 304);
    }
    for path in [
        "/static/../Cargo.toml",
        "/static/%2e%2e%2fCargo.toml",
        "/static/",
        "/static/nothing.js",
        "/static/%ff",
    ] {
        let status = server.get(path).await.status();
        assert!(status.is_client_error(), "{path}: {status}");
    }
}

#[tokio::test]
async fn the_pools_own_figures_are_told() {
    let server = Server::pool().await;
    *server.role.pool.lock().unwrap() = pool_view();
    assert_eq!(
        server.text("/api/v1/pool").await,
        r#"{"started_at":"2026-11-22T08:40:00.123Z","miners":3,"channels":4,"hashrate":2500000.0,"shares":{"accepted":1003,"rejected":0,"without_key":3},"channels_refused":{"invalid-user-identity":2},"quotes":{"requested":1000,"waiting":2,"full":false,"oldest_waiting_ms":3210,"acknowledged":995,"refused":{"amount":2,"locking key":1}},"template":{"source":"embedded","connected":true,"age_ms":12000,"blocks_submitted":2},"mining":{"address":"127.0.0.1:34254","authority_key":"9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72"},"mint_link":"127.0.0.1:34260","channels_list":[{"id":9,"identity":"02abab…abab.rig1","kind":"standard","hashrate":2500000.0,"accepted":1003,"rejected":0,"quotes":1000,"last_share_age_ms":412,"connected_for_ms":61000,"earns":true}]}"#
    );
}

pub(crate) fn pool_view() -> PoolView {
    PoolView {
        started_at: Some(UnixMillis(1_795_336_800_123)),
        channels_refused: Some(BTreeMap::from([("invalid-user-identity".into(), 2)])),
        miners: Some(3),
        channels: Some(4),
        shares: ShareCounts {
            accepted: Some(1003),
            rejected: Some(0),
            without_key: Some(3),
        },
        hashrate: Some(2.5e6),
        template: Some(TemplateView {
            source: "embedded".to_owned(),
            connected: true,
            age: Some(Duration::from_secs(12)),
            blocks_submitted: 2,
        }),
        mining: Some(MiningAddress {
            address: "127.0.0.1:34254".to_owned(),
            authority_key: "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72".to_owned(),
        }),
        mint_link: Some("127.0.0.1:34260".to_owned()),
        channels_list: vec![MinerView {
            id: 9,
            identity: "02abab…abab.rig1".to_owned(),
            kind: ChannelKind::Standard,
            hashrate: Some(2.5e6),
            accepted: 1003,
            rejected: 0,
            quotes: 1000,
            last_share: Some(Duration::from_millis(412)),
            connected: Duration::from_secs(61),
            earns: true,
        }],
        quotes: QuoteCounts {
            requested: Some(1000),
            waiting: Some(2),
            oldest_waiting: Some(Duration::from_millis(3210)),
            acknowledged: Some(995),
            refused: Some(BTreeMap::from([("amount".into(), 2), ("locking key".into(), 1)])),
            full: Some(false),
        },
    }
}

pub(crate) fn quote_page() -> QuotePage {
    QuotePage {
        quotes: vec![QuoteRef {
            quote_id: "0192".to_owned(),
            amount: 1 << 60,
            unit: "hash".into(),
        }],
        next: Some(77),
    }
}

#[tokio::test]
async fn quotes_of_a_key_are_listed_page_by_page() {
    let server = Server::pool().await;
    *server.role.quotes.lock().unwrap() = quote_page();
    let page = server.json(&format!("/api/v1/quotes?key={}", KEY.to_uppercase())).await;
    let quote = json!({"quote_id": "0192", "amount": "1152921504606846976", "unit": "hash"});
    assert_eq!(page, json!({"key": KEY, "quotes": [quote], "next": "77"}));
    server.get(&format!("/api/v1/quotes?key={KEY}&after=77")).await;
    let asked: Vec<_> = server
        .role
        .asked
        .lock()
        .unwrap()
        .iter()
        .map(|query| (query.after, query.limit))
        .collect();
    assert_eq!(asked, [(0, 1000), (77, 1000)]);
}

#[tokio::test]
async fn a_bad_key_is_refused_in_one_line() {
    let server = Server::pool().await;
    let long = "f".repeat(20_000);
    let queries = [
        "",
        "?",
        "?key",
        "?key=",
        "?key=zz",
        "?key=%ff%00",
        "?other=1",
        "?key=é",
        &format!("?key={long}"),
        &format!("?key={KEY}&key={KEY}"),
        &format!("?key={KEY}&after=-1"),
        &format!("?key={}", &KEY[2..]),
    ];
    for query in queries {
        let answer = server.get(&format!("/api/v1/quotes{query}")).await;
        assert_eq!(answer.status(), 400, "{query}");
        let json: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let line = json["error"].as_str().unwrap();
        assert!(!line.is_empty() && !line.contains('\n'), "{query}: {line}");
    }
    assert!(server.role.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn unreadable_quotes_are_503_and_the_reason_stays_inside() {
    let role = Role {
        broken: true,
        ..Role::default()
    };
    let server = Server::start("pool", role, Limits::default()).await;
    let answer = server.get(&format!("/api/v1/quotes?key={KEY}")).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(
        answer.text().await.unwrap(),
        r#"{"error":"the quotes can't be read right now"}"#
    );
}

#[tokio::test]
async fn health_and_readiness_tell_apart_serving_and_able() {
    let server = Server::pool().await;
    assert_eq!(server.text("/healthz").await, r#"{"status":"ok"}"#);
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status(), 200);
    assert_eq!(
        ready.text().await.unwrap(),
        r#"{"ready":true,"checks":{"listener":{"ok":true,"detail":null}},"mint":{"status":"never","connected":false,"age_ms":null}}"#
    );
    *server.role.trouble.lock().unwrap() = Some("no template yet".to_owned());
    let broken = server.get("/readyz").await;
    assert_eq!(broken.status(), 503);
    assert!(broken.text().await.unwrap().contains(r#""detail":"no template yet""#));
    assert_eq!(server.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn a_mint_is_ready_without_pools_and_says_how_many_are_connected() {
    let role = Role {
        links: crate::browser::links().into(),
        ..Role::default()
    };
    let server = Setup {
        host: "mint",
        role,
        ..Setup::default()
    }
    .start()
    .await;
    let all = server.role.links.lock().unwrap().clone();
    let connected = all.iter().filter(|link| link.state == LinkStage::Connected).count();
    assert!(0 < connected && connected < all.len());
    let ready = server.json("/readyz").await;
    assert_eq!(ready["pools"], json!({"configured": all.len(), "connected": connected}));
    server.role.links.lock().unwrap().clear();
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status(), 200);
    assert!(
        ready
            .text()
            .await
            .unwrap()
            .contains(r#""pools":{"configured":0,"connected":0}"#)
    );
}

#[tokio::test]
async fn what_is_not_there_or_not_readable_says_so() {
    let server = Server::pool().await;
    let lost = server.get("/api/v2/<script>").await;
    assert_eq!(
        (lost.status().as_u16(), lost.headers()["content-type"].to_str().unwrap()),
        (404, "application/json")
    );
    assert_eq!(
        lost.text().await.unwrap(),
        r#"{"error":"there is nothing at this path"}"#
    );
    let lost = server.get("/nowhere").await;
    assert_eq!(
        (lost.status().as_u16(), lost.text().await.unwrap().as_str()),
        (404, "there is nothing at this path\n")
    );
    let client = reqwest::Client::new();
    let post = client.post(server.url("/api/v1/pool")).send().await.unwrap();
    assert_eq!(
        (post.status().as_u16(), post.headers()["allow"].to_str().unwrap()),
        (405, "GET,HEAD")
    );
    assert!(post.text().await.unwrap().contains("use GET or HEAD"));
}

/// A page with all that it asks for, compressed, by its name.
async fn weights(server: &Server, page: &str) -> Vec<(String, usize)> {
    let client = reqwest::Client::new();
    let get = async |path: &str| {
        let request = client.get(server.url(path)).header("accept-encoding", "gzip");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-encoding"], "gzip", "{path}");
        answer.bytes().await.unwrap()
    };
    let html = get(page).await;
    let mut text = String::new();
    flate2::read::GzDecoder::new(&html[..])
        .read_to_string(&mut text)
        .unwrap();
    let mut weights = vec![(page.to_owned(), html.len())];
    let linked = text
        .split('"')
        .filter(|part| part.starts_with("static/") && !part.ends_with(".txt"));
    let scripts = [
        "charts", "colours", "feed", "format", "links", "miners", "rates", "table", "units", "view",
    ];
    let imported = scripts.map(|name| format!("static/{name}.js"));
    let names: BTreeSet<String> = linked.map(str::to_owned).chain(imported).collect();
    for name in names {
        let size = get(&format!("/{name}")).await.len();
        weights.push((name, size));
    }
    weights
}

#[tokio::test]
async fn a_page_and_all_that_it_needs_weigh_less_than_120_kilobytes() {
    let server = Server::pool().await;
    *server.role.pool.lock().unwrap() = pool_view();
    let weights = weights(&server, "/").await;
    let sum: usize = weights.iter().map(|(_, size)| size).sum();
    println!("{sum} bytes: {weights:?}");
    assert!(weights.len() > 12 && sum < 120_000, "{sum}: {weights:?}");
}

#[tokio::test]
async fn under_a_base_path_everything_is_there_and_without_it_too() {
    let server = Setup {
        base_path: "/ehash/pool",
        ..Setup::default()
    }
    .start()
    .await;
    for path in [
        "/",
        "/mint",
        "/static/app.css",
        "/api/v1/mint/stats",
        "/api/v1/mint/stats/history?step=60",
        "/metrics",
    ] {
        for base in ["", "/ehash/pool"] {
            assert_eq!(server.get(&format!("{base}{path}")).await.status(), 200, "{base}{path}");
        }
    }
    let bare = server
        .raw("GET /ehash/pool?x=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        .await;
    assert!(bare.starts_with("HTTP/1.1 308 "), "{bare}");
    assert!(bare.contains("\r\nlocation: /ehash/pool/?x=1\r\n"), "{bare}");
    for lost in ["/ehash", "/ehash/", "/ehash/pools", "/ehash/pool//"] {
        assert_eq!(server.get(lost).await.status(), 404, "{lost}");
    }
}

#[tokio::test]
async fn head_works_wherever_get_does() {
    let server = Server::pool().await;
    let client = reqwest::Client::new();
    let paths = [
        "/",
        "/mint",
        "/api/v1/mint/stats",
        "/api/v1/mint/stats/stream",
        "/api/v1/pool",
        "/metrics",
        "/healthz",
        "/readyz",
        "/static/app.css",
    ];
    for path in paths {
        let head = client.request(Method::HEAD, server.url(path)).send().await.unwrap();
        assert_eq!(head.status(), 200, "{path}");
        assert_eq!(head.bytes().await.unwrap().len(), 0, "{path}");
    }
}
