//! Killed at any moment: nothing is lost, nothing is doubled, and what is shown is true (P11).

use rusqlite::{Connection, OpenFlags};

use crate::pair::{Pair, new_share};

/// How often mint or pool is killed.
const KILLS: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn p11_after_twenty_kills_each_share_is_exactly_one_quote_and_the_page_is_right() {
    let mut pair = Pair::start().await;
    let outbox = pair.outbox();
    let mut shares = 0_u64;
    for _ in 0..KILLS {
        // A random moment: after 1 to 64 more shares are on the pool's disk, whatever became of them.
        for _ in 0..1 + rand::random::<u8>() % 64 {
            outbox.enqueue(new_share()).await.unwrap();
            shares += 1;
        }
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
    pair.until_nothing_waits().await;
    let truth = pair.until_shown_is_true().await;
    assert_eq!(truth.quotes, [0, shares, 0]);
    assert_eq!(truth.amounts, [0, shares * 32, 0]);
    let distinct: u64 = Connection::open_with_flags(pair.mint_database(), OpenFlags::SQLITE_OPEN_READ_ONLY)
        .unwrap()
        .query_row("SELECT COUNT(DISTINCT request) FROM mint_quote", [], |row| row.get(0))
        .unwrap();
    assert_eq!(distinct, shares, "each quote is for a hash of its own");
}
