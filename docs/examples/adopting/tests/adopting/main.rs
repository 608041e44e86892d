//! A mint and a pool on the SV2 crates 5.x, each with the other end of this project (on 7.x) over a real socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod connection;

use std::sync::Arc;
use std::time::{Duration, Instant};

use adopting::{Heard, Message, MintStats, PoolStats};
use binary_sv2::{Deserialize, GetSize, Serialize, Str0255, U256};
use codec_sv2::StandardSv2Frame;
use mint_link::{
    Admission, HeaderHash, MintKey, MintLink, MintQuoteRequest, PoolLink, PoolLinkConfig, PoolTarget, QuoteAnswer,
};
use peer_test::{QuoteRequest, setup_connection, setup_success};
use stats_push::{EhashTotals, MintView, Peer, PushConfig, Reason, RunId, SnapshotCache, Status, Totals};
use sv2_transport::{AuthorityKeypair, Frame};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;

const LONG: Duration = Duration::from_secs(30);
const REQUEST: u8 = 0x80;
const RESPONSE: u8 = 0x81;

/// What the connections of both adopters carry, typed: they go on with their own messages as before.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct MintQuoteResponse<'decoder> {
    quote_id: Str0255<'decoder>,
    header_hash: U256<'decoder>,
}

fn totals(redeemed: u64) -> Arc<Totals> {
    let ehash = EhashTotals {
        quotes_redeemed: redeemed,
        ..EhashTotals::default()
    };
    Arc::new(Totals {
        version: redeemed,
        ehash,
        units: Arc::new([]),
    })
}

/// A message of peer-test's as a frame of 5.x.
fn frame<T: Serialize + GetSize>(of: &Frame) -> StandardSv2Frame<T> {
    let message = Message {
        extension: of.extension_type,
        message_type: of.msg_type,
        payload: &of.payload,
    };
    message.frame().unwrap()
}

async fn shows(cache: &SnapshotCache, what: impl Fn(&MintView) -> bool) {
    let mut changed = cache.changed();
    let shown = async {
        while !what(&cache.load()) {
            changed.changed().await.unwrap();
        }
    };
    timeout(LONG, shown).await.expect("the cache does not come to show it");
}

fn redeemed(view: &MintView) -> Option<(Reason, u64)> {
    let latest = view.latest.as_ref()?;
    Some((latest.snapshot.reason, latest.snapshot.ehash.quotes_redeemed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mint_on_5_x_is_live_on_our_pool_and_its_quotes_go_on() {
    let authority = AuthorityKeypair::generate();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_rule, admission) = watch::channel(Arc::new(Admission {
        mint_public_keys: Vec::new(),
        allow_legacy_mint: false,
    }));
    let (ready, mut sessions) = mpsc::channel(1);
    let (cache, stop) = (SnapshotCache::new(), CancellationToken::new());
    let config = PoolLinkConfig::new(authority.clone());
    let link = PoolLink::new(config, admission, cache.clone(), ready, Arc::default());
    let listening = tokio::spawn(Arc::new(link).listen(listener, stop.clone()));

    // The adopter's mint.
    let (ledger, published) = watch::channel(totals(1));
    let (stopping, mut told_to_stop) = mpsc::channel::<()>(1);
    let mint = tokio::spawn(async move {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut connection =
            Connection::<MintQuoteResponse<'static>>::dial(stream, authority.public().to_bytes()).await;
        connection.outgoing.send(frame(&setup_connection())).await.unwrap();
        let mut success = connection.incoming.recv().await.unwrap();
        assert_eq!(Message::of(&mut success).unwrap().message_type, 0x01);

        let mut stats = MintStats::new(
            published,
            RunId::random(),
            PushConfig::new(LONG, Duration::ZERO).unwrap(),
        );
        connection.outgoing.send(stats.question().unwrap()).await.unwrap();
        loop {
            tokio::select! {
                incoming = connection.incoming.recv() => {
                    let mut incoming = incoming.unwrap();
                    if stats.heard(&mut incoming) {
                        continue;
                    }
                    // As before: here, every share gets a quote.
                    let request = Message::of(&mut incoming).unwrap();
                    assert_eq!(request.message_type, REQUEST);
                    let hash: [u8; 32] = request.payload[13..45].try_into().unwrap();
                    let response = MintQuoteResponse {
                        quote_id: "7c9e6679-7425-40de-944b-e07fc1f90ae7".to_owned().try_into().unwrap(),
                        header_hash: hash.into(),
                    };
                    let response = StandardSv2Frame::from_message(response, RESPONSE, 0x0003, true).unwrap();
                    connection.outgoing.send(response).await.unwrap();
                }
                push = stats.next() => match push {
                    Some(push) => connection.outgoing.send(push).await.unwrap(),
                    None => return,
                },
                _ = told_to_stop.recv() => stats.finish(),
            }
        }
    });

    let mut session = timeout(LONG, sessions.recv()).await.unwrap().unwrap();
    shows(&cache, |view| redeemed(view) == Some((Reason::Initial, 1))).await;
    let request = MintQuoteRequest {
        amount: 1,
        unit: "HASH".to_owned(),
        header_hash: HeaderHash([7; 32]),
        description: None,
        locking_key: vec![2; 33],
    };
    session.requests.send(request).await.unwrap();
    let answer = timeout(LONG, session.answers.recv()).await.unwrap().unwrap();
    assert!(matches!(answer, QuoteAnswer::Created { header_hash, .. } if header_hash == HeaderHash([7; 32])));

    ledger.send_replace(totals(2));
    shows(&cache, |view| redeemed(view) == Some((Reason::Event, 2))).await;
    assert_eq!(cache.load().freshness(Instant::now()).status, Status::Live);
    stopping.send(()).await.unwrap();
    shows(&cache, |view| redeemed(view) == Some((Reason::Final, 2))).await;
    mint.await.unwrap();
    stop.cancel();
    listening.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_mint_is_live_on_a_pool_on_5_x_and_its_quotes_go_on() {
    let secret: [u8; 32] = rand::random();
    let authority = AuthorityKeypair::from_secret_bytes(&secret).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (calls, mut quotes) = mpsc::channel::<mint_link::QuoteCall>(1);
    let (ledger, published) = watch::channel(totals(1));
    let mut link = MintLink::new(MintKey::generate(), calls, published, RunId::random());
    link.push = PushConfig::new(LONG, Duration::ZERO).unwrap();
    let target = PoolTarget {
        address: listener.local_addr().unwrap().to_string().into(),
        authority: authority.public(),
    };
    let stop = CancellationToken::new();
    let (_status, running) = link.connect(target, stop.clone());
    let mint = tokio::spawn(running);
    tokio::spawn(async move {
        while let Some(call) = quotes.recv().await {
            call.answer.created("7c9e6679-7425-40de-944b-e07fc1f90ae7");
        }
    });

    // The adopter's pool.
    let (stream, peer) = listener.accept().await.unwrap();
    let public = authority.public().to_bytes();
    let mut connection = Connection::<MintQuoteResponse<'static>>::accept(stream, public, secret).await;
    let mut setup = connection.incoming.recv().await.unwrap();
    assert_eq!(Message::of(&mut setup).unwrap().message_type, 0x00);
    connection.outgoing.send(frame(&setup_success())).await.unwrap();
    let cache = SnapshotCache::new();
    let mut stats = PoolStats::new(
        &cache,
        Peer {
            address: peer.to_string(),
            public_key: None,
            proven: false,
        },
    );
    assert_eq!(cache.load().freshness(Instant::now()).status, Status::Unsupported);
    let (quoted, mut quote) = mpsc::channel(1);
    let outgoing = connection.outgoing.clone();
    let ask = stats.request().unwrap();
    let serving = tokio::spawn(async move {
        while let Some(mut incoming) = connection.incoming.recv().await {
            match stats.heard(&mut incoming) {
                Heard::NotOurs => {
                    let answer = Message::of(&mut incoming).unwrap();
                    quoted
                        .send((answer.message_type, answer.payload.to_vec()))
                        .await
                        .unwrap();
                }
                Heard::Taken => {}
                Heard::Answer(answer) => connection.outgoing.send(answer).await.unwrap(),
            }
        }
    });
    shows(&cache, |view| redeemed(view) == Some((Reason::Initial, 1))).await;
    ledger.send_replace(totals(2));
    shows(&cache, |view| redeemed(view) == Some((Reason::Event, 2))).await;
    outgoing.send(ask).await.unwrap();
    shows(&cache, |view| redeemed(view) == Some((Reason::Requested, 2))).await;

    let request = QuoteRequest {
        header_hash: [7; 32],
        amount: 1,
        locking_key: vec![2; 33],
    };
    outgoing.send(frame(&request.to_frame())).await.unwrap();
    let (message_type, payload) = timeout(LONG, quote.recv()).await.unwrap().unwrap();
    assert_eq!((message_type, &payload[37..]), (RESPONSE, &[7; 32][..]));

    stop.cancel();
    mint.await.unwrap();
    shows(&cache, |view| redeemed(view) == Some((Reason::Final, 2))).await;
    drop(outgoing);
    timeout(LONG, serving).await.unwrap().unwrap();
    assert_eq!(cache.load().freshness(Instant::now()).status, Status::Disconnected);
}
