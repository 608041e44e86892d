//! Killed at any moment: nothing is lost, nothing is doubled, and what is shown is true (P11).

use rusqlite::{Connection, OpenFlags};

use system_tests::{PATIENCE, Pair, eventually, new_share, truth};

/// How often mint or pool is killed.
const KILLS: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn p11_after_twenty_kills_each_share_is_exactly_one_quote_and_the_page_is_right() {
    let mut pair = Pair::start().await;
    let outbox = pair.outbox();
    let mut shares = 0_u64;
    pair.until_status("live").await;
    for _ in 0..KILLS {
        // A random moment: 1 to 64 more shares are on the pool's disk, and of all there are the mint has made quotes but
        // for 0 to 63. So a kill may hit the start, the dial, the sending, the batch or the answer.
        for _ in 0..1 + rand::random::<u8>() % 64 {
            outbox.enqueue(new_share()).await.unwrap();
            shares += 1;
        }
        let enough = shares.saturating_sub((rand::random::<u8>() % 64).into());
        eventually("the mint has made enough quotes", PATIENCE, async || {
            (truth(&pair.mint_database()).quotes[1] >= enough).then_some(())
        })
        .await;
        match rand::random::<u8>() % 3 {
            0 => {
                pair.kill_mint().await;
                pair.start_mint();
            }
            1 => {
                pair.kill_pool().await;
                pair.start_pool();
            }
            _ => {
                pair.kill_pool().await;
                pair.kill_mint().await;
                pair.start_mint();
                pair.start_pool();
            }
        }
    }
    pair.until_answered(shares).await;
    let truth = pair.until_shown_is_true().await;
    assert_eq!(truth.quotes, [0, shares, 0]);
    assert_eq!(truth.amounts, [0, shares * 32, 0]);
    let distinct: u64 = Connection::open_with_flags(pair.mint_database(), OpenFlags::SQLITE_OPEN_READ_ONLY)
        .unwrap()
        .query_row("SELECT COUNT(DISTINCT request) FROM mint_quote", [], |row| row.get(0))
        .unwrap();
    assert_eq!(distinct, shares, "each quote is for a hash of its own");
}
