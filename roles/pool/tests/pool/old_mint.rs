//! A mint that knows quotes and no extension, as hashpool's, before the whole pool.

use std::time::Duration;

use mint_link::MintKey;
use peer_test::{LegacyMint, Manners, Seen};
use pool::{Earned, PoolConfig, Running, start};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const KEY: [u8; 33] = [2; 33];
const SHARES: u8 = 20;

/// A pool with [`SHARES`] shares that wait, and an old mint that dials it. Whether it may is `allowed`.
async fn begin(dir: &TempDir, allowed: bool, manners: Manners) -> (Running, LegacyMint) {
    let mut config = PoolConfig {
        data_dir: dir.path().join("pool"),
        ..PoolConfig::default()
    };
    config.mint_link.listen = "127.0.0.1:0".parse().unwrap();
    config.mining.listen = "127.0.0.1:0".parse().unwrap();
    config.mint_link.mint_public_keys = vec![MintKey::generate().public()];
    config.mint_link.allow_legacy_mint = allowed;
    config.mint_link.negotiation_timeout = Duration::from_millis(200);
    config.dashboard.listen = "127.0.0.1:0".parse().unwrap();
    let pool = start(config, CancellationToken::new()).await.unwrap();
    for n in 0..SHARES {
        let mut hash = [n; 32];
        // 16 leading zero bits: worth 1.
        hash[29..].copy_from_slice(&[0x80, 0, 0]);
        let earned = pool.intake().accept(hash, Some(KEY)).await.unwrap();
        assert_eq!(earned, Earned::Quote { amount: 1 });
    }
    let mint = LegacyMint::start(pool.mint_link_address(), pool.authority_public_key(), manners);
    (pool, mint)
}

async fn get(pool: &Running, path: &str) -> String {
    let url = format!("http://{}{path}", pool.dashboard_address());
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

/// What an old mint may be sent: requests for quotes.
fn only_requests(seen: &Seen) {
    for frame in &seen.frames {
        let kind = (frame.extension_type, frame.channel_msg, frame.msg_type);
        assert_eq!(kind, (0x0003, true, 0x80), "{frame:?}");
    }
}

#[tokio::test]
async fn an_old_mint_gets_one_request_at_a_time_and_what_it_has_already_counts_as_acknowledged() {
    let dir = TempDir::new().unwrap();
    let manners = Manners {
        slow: Duration::from_millis(5),
        breaks: 2,
    };
    let (pool, mut mint) = begin(&dir, true, manners).await;
    let mut view = pool.outbox().watch();
    view.wait_for(|view| view.tally.acknowledged == u64::from(SHARES))
        .await
        .unwrap();

    let seen = mint.sees(|seen| seen.quotes.len() == usize::from(SHARES)).await;
    only_requests(&seen);
    assert_eq!(seen.most_outstanding, 1);
    // Twice the answer was lost: the share was asked for again, and has a quote whose id nobody tells.
    assert_eq!((seen.sessions, seen.duplicates), (3, 2));
    let tally = pool.outbox().view().tally.clone();
    assert_eq!(
        (tally.waiting, tally.refused.len(), tally.acknowledged_without_id),
        (0, 0, 2)
    );
    let quotes = get(&pool, &format!("/api/v1/quotes?key={}", "02".repeat(33))).await;
    assert_eq!(
        quotes.matches("00000000-0000-4000-8000-").count(),
        usize::from(SHARES) - 2
    );
    pool.stop().await;
}

#[tokio::test]
async fn p9_with_an_old_mint_the_page_says_unsupported_and_why() {
    let dir = TempDir::new().unwrap();
    let (pool, mut mint) = begin(&dir, true, Manners::default()).await;
    mint.sees(|seen| seen.quotes.len() == usize::from(SHARES)).await;
    let stats: serde_json::Value = serde_json::from_str(&get(&pool, "/api/v1/mint/stats").await).unwrap();
    assert_eq!(stats["status"], "unsupported");
    assert_eq!(stats["mint"]["connected"], true);
    assert_eq!(stats["mint"]["proven"], false);
    // What is not known is no number.
    assert!(
        stats["quotes_redeemed"].is_null() && stats["total_ehash_issued"].is_null(),
        "{stats}"
    );
    for path in ["/", "/mint"] {
        let page = get(&pool, path).await;
        assert!(page.contains(r#"data-status="unsupported""#), "{page}");
        assert!(
            page.contains("does not offer the statistics extension (0x4D53)"),
            "{page}"
        );
    }
    only_requests(&mint.sees(|_| true).await);
    pool.stop().await;
}

#[tokio::test]
async fn an_old_mint_that_is_not_allowed_hears_of_no_share_and_the_page_knows_of_no_mint() {
    let dir = TempDir::new().unwrap();
    let (pool, mut mint) = begin(&dir, false, Manners::default()).await;
    // Refused, and there again.
    let seen = mint.sees(|seen| seen.sessions == 2).await;
    assert!(seen.frames.is_empty(), "{:?}", seen.frames);
    assert_eq!(pool.outbox().view().tally.waiting, u64::from(SHARES));
    assert!(get(&pool, "/api/v1/mint/stats").await.contains(r#""status":"never""#));
    let metrics = get(&pool, "/metrics").await;
    assert!(
        metrics.contains(r#"ehash_link_ended_total{reason="legacy_refused"} 1"#),
        "{metrics}"
    );
    pool.stop().await;
}
