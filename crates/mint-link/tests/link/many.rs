//! One mint and two hundred pools, fifty of which do not read.

use peer_test::Peer;
use stats_push::{PerState, UnitStats};
use tokio::{net::TcpSocket, time::timeout_at};

use super::*;

const HEALTHY: usize = 150;
const DEAF: usize = 50;
/// Changes of the ledger, with and without the deaf.
const CHANGES: u64 = 20;
/// How long a change may take to reach every healthy pool before the next one comes and makes it history.
const EACH: Duration = Duration::from_secs(2);

/// A pool that negotiates, and reads nothing from then on.
struct Deaf {
    listener: TcpListener,
    authority: AuthorityKeypair,
}

impl Deaf {
    fn listen() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // So little room that it is soon used up.
        socket.set_recv_buffer_size(4096).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self {
            listener: socket.listen(4).unwrap(),
            authority: AuthorityKeypair::generate(),
        }
    }

    fn target(&self) -> PoolTarget {
        PoolTarget {
            address: self.listener.local_addr().unwrap().to_string().into(),
            authority: self.authority.public(),
        }
    }

    async fn session(&self) -> Peer {
        let mut peer = Peer::accept_and_set_up(&self.listener, &self.authority).await;
        peer.frame().await.expect("RequestExtensions");
        peer.send(negotiation::success(1, &[0x4D53])).await;
        peer
    }

    /// Where the mint gives up a session it soon comes again, to be served as badly.
    async fn go_on(self) {
        let mut sessions = Vec::new();
        loop {
            sessions.push(self.session().await);
        }
    }
}

/// Totals whose message takes 4 KB.
fn long_totals(version: u64) -> Arc<Totals> {
    let unit = |number: u64| UnitStats {
        unit: format!("hash_{number}_{}", "x".repeat(240)).into(),
        quotes: PerState::default(),
        amounts: PerState::default(),
        last_issued_at: None,
    };
    Arc::new(Totals::new(version, (0..12).map(|number| (unit(number), version))))
}

fn pushes(pool: &Pool) -> u64 {
    let counters = pool.cache.load().counters;
    Reason::ALL.into_iter().map(|reason| counters.received(reason)).sum()
}

/// Lets the ledger change, and returns how many pushes each pool got. The next change comes when all have the one before
/// it, or when that takes too long.
async fn change(mint: &Mint, pools: &[Pool], versions: std::ops::Range<u64>) -> Vec<u64> {
    let before: Vec<_> = pools.iter().map(pushes).collect();
    for version in versions {
        mint.totals.send(long_totals(version)).unwrap();
        let next = Instant::now() + EACH;
        for pool in pools {
            let mut changed = pool.cache.changed();
            let reached = async {
                while pool.cache.load().latest.as_ref().unwrap().snapshot.sequence < version {
                    changed.changed().await.unwrap();
                }
            };
            // Who is late misses this one: that is counted.
            let _ = timeout_at(next, reached).await;
        }
    }
    pools
        .iter()
        .zip(before)
        .map(|(pool, before)| pushes(pool) - before)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_with_50_of_200_pools_not_reading_every_other_pool_gets_95_percent_of_its_pushes() {
    let mut mint = Mint::start();
    mint.link.push = PushConfig::new(Duration::from_secs(3600), Duration::ZERO).unwrap();
    mint.totals.send(long_totals(1)).unwrap();
    let mut pools = Vec::new();
    let mut sessions = Vec::new();
    for _ in 0..HEALTHY {
        pools.push(Pool::start(mint.rule()).await);
    }
    for pool in &pools {
        let _link = mint.connect(pool.target());
    }
    for pool in &mut pools {
        sessions.push(pool.session().await);
        pool.sees(|view| view.latest.is_some()).await;
    }
    let without = change(&mint, &pools, 2..2 + CHANGES).await;

    let mut unread = Vec::new();
    for _ in 0..DEAF {
        let deaf = Deaf::listen();
        let _link = mint.connect(deaf.target());
        unread.push(deaf.session().await);
        tokio::spawn(deaf.go_on());
    }
    let with = change(&mint, &pools, 2 + CHANGES..2 + 2 * CHANGES).await;

    for (with, without) in with.iter().zip(&without) {
        assert!(
            *without >= CHANGES / 2,
            "the mint was too slow to tell anything: {without}"
        );
        assert!(100 * with >= 95 * without, "{with} pushes, {without} without the deaf");
    }
    mint.stop.cancel();
    for mut peer in unread {
        let frames = timeout(LONG, peer.rest()).await.unwrap().len() as u64;
        assert!(
            (1..CHANGES).contains(&frames),
            "the deaf were sent {frames} frames: that is not deaf"
        );
    }
}
