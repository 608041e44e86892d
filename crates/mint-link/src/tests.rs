//! Both ends together, over an in-memory pipe with paused time.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use stats_push::{PushConfig, Reason, RunId, SnapshotCache, Status};
use sv2_transport::AuthorityKeypair;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{testkit::*, *};

mod histories;

/// A mint and a pool, and the session between them.
struct Both {
    quotes: mpsc::Receiver<QuoteCall>,
    totals: watch::Sender<Arc<stats_push::Totals>>,
    cache: SnapshotCache,
    sessions: mpsc::Receiver<MintSession>,
    stop: CancellationToken,
    mint: JoinHandle<LinkError>,
    pool: JoinHandle<LinkError>,
    _rule: watch::Sender<Arc<Admission>>,
}

impl Both {
    fn start(pipe: usize, push: PushConfig) -> Self {
        let (key, authority) = (MintKey::generate(), AuthorityKeypair::generate());
        let (calls, quotes) = mpsc::channel(2048);
        let (totals, published) = watch::channel(totals(1));
        let mut mint = MintLink::new(key.clone(), calls, published, RunId(7));
        mint.push = push;
        let target = PoolTarget {
            address: "pool:1".into(),
            authority: authority.public(),
        };
        let rule = Admission {
            mint_public_keys: vec![key.public()],
            allow_legacy_mint: false,
        };
        let (rule, admission) = watch::channel(Arc::new(rule));
        let (ready, sessions) = mpsc::channel(1);
        let cache = SnapshotCache::new();
        let pool = PoolLink::new(
            PoolLinkConfig::new(authority),
            admission,
            cache.clone(),
            ready,
            Arc::default(),
        );
        let (near, far) = tokio::io::duplex(pipe);
        let stop = CancellationToken::new();
        let mint_stop = stop.clone();
        Self {
            quotes,
            totals,
            cache,
            sessions,
            stop,
            mint: tokio::spawn(async move { mint.serve(near, &target, &mint_stop).await }),
            pool: tokio::spawn(async move {
                pool.serve(far, "192.0.2.1:1".parse().unwrap(), &CancellationToken::new())
                    .await
            }),
            _rule: rule,
        }
    }

    fn sequence(&self) -> Option<u64> {
        self.cache.load().latest.as_ref().map(|latest| latest.snapshot.sequence)
    }
}

fn fast() -> PushConfig {
    PushConfig::new(Duration::from_secs(1), Duration::ZERO).unwrap()
}

#[tokio::test(start_paused = true)]
async fn p2_p4_p6_p9_from_the_first_snapshot_to_the_end_without_a_moment_lost() {
    let mut both = Both::start(1 << 16, fast());
    let start = Instant::now();
    let _session = both.sessions.recv().await.unwrap();
    settle().await;
    assert_eq!(both.sequence(), Some(1));
    both.totals.send(totals(2)).unwrap();
    settle().await;
    assert_eq!(both.sequence(), Some(2));
    assert_eq!(start, Instant::now());
    let status = |both: &Both| both.cache.load().freshness(Instant::now().into_std()).status;
    tokio::time::advance(Duration::from_millis(2900)).await;
    assert_eq!(status(&both), Status::Live);
    both.totals.send(totals(3)).unwrap();
    both.stop.cancel();
    assert!(matches!(both.mint.await.unwrap(), LinkError::Stopped));
    assert!(matches!(both.pool.await.unwrap(), LinkError::Closed));
    let view = both.cache.load();
    let last = &view.latest.as_ref().unwrap().snapshot;
    assert_eq!((last.reason, last.sequence), (Reason::Final, 3));
    assert_eq!(view.freshness(Instant::now().into_std()).status, Status::Disconnected);
}

/// What happens to a session.
#[derive(Clone, Debug)]
enum Event {
    Ask(u8),
    Answer,
    Refuse,
    LetGo,
    Issue,
    RequestStats,
    Wait(u16),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (1..40_u8).prop_map(Event::Ask),
        4 => Just(Event::Answer),
        1 => Just(Event::Refuse),
        1 => Just(Event::LetGo),
        4 => Just(Event::Issue),
        1 => Just(Event::RequestStats),
        2 => (0..3_000_u16).prop_map(Event::Wait),
    ];
    prop::collection::vec(event, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever happens, every request is answered exactly once and to itself, and the pool ends with the mint's totals.
    #[test]
    fn p1_p8_p11_every_request_is_answered_once_and_the_last_totals_arrive(events in events(), pipe in 200..5_000_usize) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(play(events, pipe));
    }
}

async fn play(events: Vec<Event>, pipe: usize) {
    let mut both = Both::start(pipe, fast());
    let mut session = both.sessions.recv().await.unwrap();
    let (mut version, mut asked, mut answered) = (1, 0_u32, 0_u32);
    let mut open = std::collections::VecDeque::new();
    for event in events {
        match event {
            Event::Ask(count) => {
                for _ in 0..count {
                    asked += 1;
                    let mut request = quote_request(0);
                    request.header_hash.0[..4].copy_from_slice(&asked.to_le_bytes());
                    session.requests.send(request).await.unwrap();
                }
            }
            Event::Answer => open
                .drain(..)
                .for_each(|call: QuoteCall| call.answer.created("a quote")),
            Event::Refuse => {
                if let Some(call) = open.pop_front() {
                    call.answer.refused(RefusalCode::Amount, "no");
                }
            }
            Event::LetGo => drop(open.pop_front()),
            Event::Issue => {
                version += 1;
                both.totals.send(totals(version)).unwrap();
            }
            Event::RequestStats => assert!(session.request_stats().is_some()),
            Event::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms.into())).await,
        }
        settle().await;
        while let Ok(call) = both.quotes.try_recv() {
            open.push_back(call);
        }
        while let Ok(answer) = session.answers.try_recv() {
            note(&answer, &mut answered);
        }
    }
    while answered < asked {
        tokio::select! {
            biased;
            Some(answer) = session.answers.recv() => note(&answer, &mut answered),
            Some(call) = both.quotes.recv() => open.push_back(call),
            () = tokio::time::sleep(Duration::from_millis(1)) => {
                open.drain(..).for_each(|call| call.answer.created("a quote"));
            }
        }
    }
    both.stop.cancel();
    assert!(matches!(both.mint.await.unwrap(), LinkError::Stopped));
    assert!(matches!(both.pool.await.unwrap(), LinkError::Closed));
    assert!(session.answers.recv().await.is_none());
    assert_eq!(both.cache.load().latest.as_ref().unwrap().snapshot.sequence, version);
    assert_eq!(both.cache.load().counters.outdated, 0);
}

/// Answers come in the order of the requests here, since the batcher of this test keeps it.
fn note(answer: &QuoteAnswer, answered: &mut u32) {
    *answered += 1;
    let HeaderHash(hash) = answer.header_hash().unwrap();
    assert_eq!(hash[..4], answered.to_le_bytes());
}
