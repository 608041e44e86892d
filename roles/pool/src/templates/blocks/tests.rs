use std::sync::Arc;

use binary_sv2::B064KOwned;
use provider_test::{template, tip};

use super::*;
use crate::templates::config::Source;
use crate::templates::status::Shared;

/// A board with a tip, whose current template has id 1.
fn board() -> Board {
    let mut board = Board::new(Arc::new(Shared::new(Source::Sv2Tp)));
    board.connected();
    board.template(template(70, true)).unwrap();
    board.tip(tip(70, 1)).unwrap();
    board
}

fn block(header_nonce: u32) -> SubmitSolutionOwned {
    SubmitSolutionOwned {
        template_id: 1,
        version: 0,
        header_timestamp: 0,
        header_nonce,
        coinbase_tx: B064KOwned::try_from(vec![7]).unwrap(),
    }
}

/// Sends all that is due: the nonces, and whether each went for the first time.
fn send_all(blocks: &mut Blocks) -> Vec<(u32, bool)> {
    let mut sent = Vec::new();
    while let Some(nonce) = blocks.next().map(|block| block.header_nonce) {
        sent.push((nonce, blocks.sent()));
    }
    sent
}

#[tokio::test]
async fn a_block_is_sent_once_in_every_session_until_the_tip_moves_on() {
    let mut board = board();
    let mut blocks = Blocks::default();
    blocks.add(block(1));
    assert_eq!(send_all(&mut blocks), [(1, true)]);
    assert_eq!(send_all(&mut blocks), []);
    blocks.add(block(2));
    assert_eq!(send_all(&mut blocks), [(2, true)]);

    board.connected();
    blocks.reconnected();
    blocks.add(block(3));
    assert_eq!(blocks.forget_stale(&board), 0, "no new tip");
    assert_eq!(send_all(&mut blocks), [(1, false), (2, false), (3, true)]);

    blocks.add(block(4));
    board.template(template(71, true)).unwrap();
    board.tip(tip(71, 2)).unwrap();
    assert_eq!(blocks.forget_stale(&board), 1, "only the last was never sent");
    assert_eq!(send_all(&mut blocks), []);
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let mut blocks = Blocks::default();
    for nonce in 0..100 {
        blocks.add(block(nonce));
    }
    let sent = send_all(&mut blocks);
    assert_eq!(sent.len(), KEPT);
    assert_eq!(sent.last(), Some(&(99, true)));
}
