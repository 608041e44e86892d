//! Shares a second through the outbox: taken in by callers that each wait for their commit, then answered in groups of
//! 512 as the pump does it. `cargo bench -p pool --bench outbox`.

#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a bench that can't go on says so and ends"
)]

use std::time::{Duration, Instant};

use pool::outbox::{AcceptedShare, Answer, Outbox, OutboxConfig, Settlement, ShareId};
use tokio::task::JoinSet;

const SHARES: u32 = 40_000;
const ANSWERS: u32 = 512;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    println!(
        "{:>8} {:>12} {:>10} {:>12}",
        "callers", "shares/s in", "commits", "answers/s"
    );
    for callers in [1, 8, 64, 512] {
        runtime.block_on(round(callers));
    }
}

async fn round(callers: u32) {
    // Not in /tmp, which may be memory: this is about fsync.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let outbox = Outbox::open(dir.path().join("outbox.sqlite"), &OutboxConfig::default()).expect("an outbox");
    let shares = if callers == 1 { SHARES / 40 } else { SHARES };
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let outbox = outbox.clone();
        tasks.spawn(async move {
            for n in (caller..shares).step_by(callers as usize) {
                outbox.enqueue(share(n)).await.expect("taken");
            }
        });
    }
    tasks.join_all().await;
    let taken = began.elapsed();
    let commits = outbox.view().commits;

    let began = Instant::now();
    let mut after = ShareId::default();
    loop {
        let waiting = outbox.waiting_after(after, ANSWERS).await.expect("read");
        let Some(last) = waiting.last() else { break };
        after = last.id;
        let answers = waiting.iter().map(|row| Settlement {
            id: row.id,
            answer: Answer::Acknowledged {
                quote_id: Some("01920ba7-e6ab-7fe1-a75d-ff66fac0c235".to_owned()),
            },
        });
        outbox.settle(answers.collect()).await.expect("recorded");
    }
    let answered = began.elapsed();
    outbox.close().await;
    let rate = |time: Duration| f64::from(shares) / time.as_secs_f64();
    println!(
        "{callers:>8} {:>12.0} {commits:>10} {:>12.0}",
        rate(taken),
        rate(answered)
    );
}

/// Hashes that are spread as hashes are.
fn share(n: u32) -> AcceptedShare {
    let mut header_hash = [0; 32];
    let mut word = u64::from(n) + 1;
    for chunk in header_hash.chunks_exact_mut(8) {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        chunk.copy_from_slice(&word.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    }
    AcceptedShare {
        header_hash,
        amount: 1,
        locking_key: [2; 33],
    }
}
