//! The pool's end of the link against a mint that says anything.

use std::{sync::Arc, time::Duration};

use binary_sv2::to_bytes;
use common_messages_sv2::{MESSAGE_TYPE_SETUP_CONNECTION, Protocol, SetupConnection};
use futures::{SinkExt, StreamExt};
use mint_link::{
    Admission, ExtensionIds, ExtensionMessage, FailureReason, HeaderHash, LinkError, MintKey, MintProof,
    MintQuoteRequest, MintQuotesIssued, MintSession, PoolLink, PoolLinkConfig, QuoteAnswer, Step, VERSION,
};
use stats_push::{
    Connection, EhashTotals, MINT_STATS_RESPONSE, Reason, RunId, Snapshot, SnapshotCache, Status, UnixMillis,
};
use sv2_transport::{Frame, FrameReader, FrameWriter, Secured, Transcript, initiate};
use tokio::{
    io::{AsyncWriteExt, DuplexStream},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    end::{AUTHORITY, MINT, Manner, PIPE, STRANGER, Speech, babble, ended, in_paused_time, settle},
    script::{Move, Moves},
};

/// The hash of the answer that must arrive whatever was said before it.
const LAST_HASH: HeaderHash = HeaderHash([0xCD; 32]);

/// One session of a pool with a mint that does what `input` says, from the handshake to its end. The moves of its own: 1 ask
/// for the extensions that the argument's bits name, 2 prove the key that the pool lists, 3 prove another, 4 push a
/// snapshot, 5 answer a quote, 6 the pool asks for a quote, 7 it asks for statistics, 8 its list of mints changes, 9 tell of
/// redeemed quotes.
///
/// # Panics
/// The pool breaks a promise: it panics or hangs, shows anything of a mint that it must not let in, ends a session for no
/// good reason, or hears no answers any more after what was said.
pub fn pool_end(input: &[u8]) {
    let (manner, rest) = Manner::of(input);
    in_paused_time(async {
        let (mut pool, mut stream) = Pool::start(manner);
        match manner.speech() {
            Speech::Script => return play(manner, pool, stream, rest).await,
            Speech::Handshake => {
                let _ = stream.write_all(rest).await;
                let _ = stream.shutdown().await;
            }
            Speech::Ciphertext => babble(&mut Mint::meet(stream).await.writer, rest).await,
        }
        ended(&mut pool.session).await;
        pool.shows_nothing();
    });
}

/// A pool, and what its session touches.
struct Pool {
    session: JoinHandle<LinkError>,
    rule: watch::Sender<Arc<Admission>>,
    cache: SnapshotCache,
    handed: mpsc::Receiver<MintSession>,
    working: Option<MintSession>,
    /// The answers that came.
    answered: Vec<HeaderHash>,
}

impl Pool {
    /// With the mint's end of the connection. Which mints are let in the manner tells: with the first bit only one that is
    /// listed, with the second a legacy one, too.
    fn start(manner: Manner) -> (Self, DuplexStream) {
        let (near, far) = tokio::io::duplex(PIPE);
        let (rule, admission) = watch::channel(Arc::new(rule(manner.rest() & 1 == 1, manner.rest() & 2 == 2)));
        let (ready, handed) = mpsc::channel(1);
        let cache = SnapshotCache::new();
        let config = PoolLinkConfig::new(AUTHORITY.clone());
        let link = PoolLink::new(config, admission, cache.clone(), ready, Arc::default());
        let address = ([192, 0, 2, 1], 34260).into();
        let session = tokio::spawn(async move { link.serve(near, address, &CancellationToken::new()).await });
        let pool = Self {
            session,
            rule,
            cache,
            handed,
            working: None,
            answered: Vec::new(),
        };
        (pool, far)
    }

    /// The part of the pool's role: it takes what there is.
    fn take(&mut self) {
        if let Ok(session) = self.handed.try_recv() {
            let (info, rule) = (session.info(), self.rule.borrow());
            let listed = info.public_key.is_some_and(|key| rule.mint_public_keys.contains(&key));
            let anybody = rule.mint_public_keys.is_empty() && !info.legacy;
            assert!(
                listed || anybody || rule.allow_legacy_mint,
                "{info:?} was let in by {rule:?}"
            );
            self.working = Some(session);
        }
        if let Some(session) = &mut self.working {
            let answers = std::iter::from_fn(|| session.answers.try_recv().ok());
            self.answered.extend(answers.filter_map(|answer| answer.header_hash()));
            while session.issued.try_recv().is_ok() {}
        }
    }

    /// Nothing of a session that may not work counts or shows.
    fn shows_nothing(&mut self) {
        let view = self.cache.load();
        assert_eq!((view.connection, &view.peer), (Connection::Never, &None));
        assert!(view.latest.is_none() && self.handed.try_recv().is_err());
    }
}

fn rule(listed: bool, allow_legacy_mint: bool) -> Admission {
    Admission {
        mint_public_keys: listed.then(|| MINT.public()).into_iter().collect(),
        allow_legacy_mint,
    }
}

/// The mint, which reads everything at once.
struct Mint {
    writer: FrameWriter<DuplexStream>,
    hearing: JoinHandle<()>,
    transcript: Transcript,
    /// It has proven the key that the pool lists.
    proven: bool,
}

impl Mint {
    async fn meet(stream: DuplexStream) -> Self {
        let secured = initiate(stream, AUTHORITY.public(), Arc::default()).await;
        let Secured {
            reader,
            writer,
            transcript,
        } = secured.expect("the pool shakes hands");
        Self {
            writer,
            hearing: tokio::spawn(hear(reader)),
            transcript,
            proven: false,
        }
    }

    async fn say(&mut self, frame: Frame) {
        // The pool may have ended the session.
        let _ = self.writer.send(frame).await;
    }

    async fn prove(&mut self, key: &MintKey) {
        let proof = MintProof::new(key, &self.transcript);
        self.say(proof.to_frame(&ExtensionIds::default())).await;
    }

    async fn make(&mut self, pool: &mut Pool, step: Move) {
        match step {
            Move::Say(frame) => self.say(frame).await,
            Move::Wait(time) => sleep(time).await,
            Move::Own(1, bits) => self.say(ask_for(bits)).await,
            Move::Own(2, _) => {
                self.proven = true;
                self.prove(&MINT).await;
            }
            Move::Own(3, _) => self.prove(&STRANGER).await,
            Move::Own(4, sequence) => self.say(snapshot(sequence)).await,
            Move::Own(5, tag) => self.say(created(HeaderHash([tag; 32]))).await,
            Move::Own(6, tag) => pool.request(tag),
            Move::Own(7, _) => {
                pool.working.as_ref().map(MintSession::request_stats);
            }
            Move::Own(8, bits) => {
                pool.rule.send_replace(Arc::new(rule(bits & 1 == 1, bits & 2 == 2)));
            }
            Move::Own(9, count) => {
                let header_hashes = vec![HeaderHash([count; 32]); count.into()];
                let issued = MintQuotesIssued { header_hashes };
                self.say(issued.to_frame(&ExtensionIds::default()).unwrap()).await;
            }
            Move::Own(..) => {}
        }
        settle().await;
        pool.take();
    }
}

impl Pool {
    /// Asks for a quote, also for one whose request does not fit its message.
    fn request(&self, tag: u8) {
        let request = MintQuoteRequest {
            amount: tag.into(),
            unit: "HASH".to_owned(),
            header_hash: HeaderHash([tag; 32]),
            description: None,
            locking_key: vec![tag; 2 * usize::from(tag)],
        };
        if let Some(session) = &self.working {
            // The session may have ended.
            let _ = session.requests.try_send(request);
        }
    }
}

/// The pool says nothing but its setup, answers, requests: they are looked at where both ends are tested together.
async fn hear(mut reader: FrameReader<DuplexStream>) {
    while let Some(Ok(_)) = reader.next().await {}
}

fn setup_connection() -> Frame {
    let text = |text: &'static str| text.try_into().unwrap();
    let message = SetupConnection {
        protocol: Protocol::MiningProtocol,
        min_version: VERSION,
        max_version: VERSION,
        flags: 0,
        endpoint_host: text("pool.example"),
        endpoint_port: 34260,
        vendor: text("HashPool Mint"),
        hardware_version: text(""),
        firmware: text(""),
        device_id: text("mint-01"),
    };
    Frame::new(0, MESSAGE_TYPE_SETUP_CONNECTION, to_bytes(message).unwrap())
}

fn ask_for(bits: u8) -> Frame {
    let ExtensionIds { stats, proof, quotes } = ExtensionIds::default();
    let requested = [stats, proof, quotes].into_iter().enumerate();
    let request = ExtensionMessage::Request {
        request_id: bits.into(),
        requested: requested
            .filter(|(bit, _)| bits >> bit & 1 == 1)
            .map(|(_, id)| id)
            .collect(),
    };
    request.to_frame().unwrap()
}

fn created(header_hash: HeaderHash) -> Frame {
    let answer = QuoteAnswer::Created {
        header_hash,
        quote_id: "01a2027e-a6b6-7fe1-a757-ff6fa6c0c235".to_owned(),
    };
    answer.to_frame(true).unwrap()
}

fn snapshot(sequence: u8) -> Frame {
    let snapshot = Snapshot {
        request_id: 0,
        reason: Reason::Event,
        run_id: RunId((sequence >> 6).into()),
        sequence: (sequence & 63).into(),
        taken_at: UnixMillis(u64::MAX),
        interval: Duration::from_secs(1),
        ehash: EhashTotals::default(),
        units_total: 0,
        units: Arc::new([]),
    };
    Frame::new(ExtensionIds::default().stats, MINT_STATS_RESPONSE, snapshot.encode())
}

async fn play(manner: Manner, mut pool: Pool, stream: DuplexStream, script: &[u8]) {
    let mut mint = Mint::meet(stream).await;
    // Whether there ever was a rule that lets in more than the mint that is listed.
    let mut open = !demands_a_proof(&pool.rule.borrow());
    if manner.sets_up() {
        mint.say(setup_connection()).await;
        settle().await;
    }
    for step in Moves::new(script) {
        mint.make(&mut pool, step).await;
        open |= !demands_a_proof(&pool.rule.borrow());
        if !open && !mint.proven {
            pool.shows_nothing();
        }
    }
    if pool.working.is_some() && !pool.session.is_finished() {
        answers_go_on(&mut mint, &mut pool).await;
    }
    let broken_off = pool.session.is_finished();
    let _ = mint.writer.close().await;
    let error = ended(pool.session).await;
    mint.hearing.await.expect("hearing can't fail");
    if broken_off {
        let good = [
            FailureReason::Deadline(Step::Handshake),
            FailureReason::Deadline(Step::Setup),
            FailureReason::Deadline(Step::Proof),
            FailureReason::Deadline(Step::Write),
            FailureReason::Setup,
            FailureReason::LegacyRefused,
            FailureReason::BadProof,
            FailureReason::NotListed,
            FailureReason::Silent,
        ];
        assert!(
            good.contains(&error.reason()),
            "P10: the pool ended the session: {error}"
        );
    }
    let came_to_work = pool.working.is_some() || pool.handed.try_recv().is_ok();
    let status = pool.cache.load().freshness(Instant::now().into_std()).status;
    let expected = if came_to_work {
        Status::Disconnected
    } else {
        Status::Never
    };
    assert_eq!(status, expected);
}

/// P10: whatever was said, an answer reaches the role.
async fn answers_go_on(mint: &mut Mint, pool: &mut Pool) {
    mint.say(created(LAST_HASH)).await;
    settle().await;
    pool.take();
    assert!(pool.answered.contains(&LAST_HASH), "P10: answers do not go on");
}

/// Whether this rule lets in nobody but the mint that is listed.
fn demands_a_proof(rule: &Admission) -> bool {
    !rule.mint_public_keys.is_empty() && !rule.allow_legacy_mint
}
