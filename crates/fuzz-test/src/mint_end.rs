//! The mint's end of the link against a pool that says anything.

use std::{sync::Arc, time::Duration};

use binary_sv2::to_bytes;
use common_messages_sv2::{
    MESSAGE_TYPE_SETUP_CONNECTION, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, SetupConnectionSuccess,
};
use futures::{SinkExt, StreamExt};
use mint_link::{
    ExtensionMessage, FailureReason, HeaderHash, LinkError, MINT_PROOF, MINT_QUOTE_ERROR, MINT_QUOTE_RESPONSE,
    MINT_QUOTES_ISSUED, MintLink, MintProof, MintQuoteRequest, MintQuotesIssued, PoolTarget, QUOTE_EXTENSION,
    QuoteAnswer, QuoteCall, RefusalCode, VERSION,
};
use stats_push::{MINT_STATS_REQUEST, MINT_STATS_RESPONSE, MintStatsRequest, Reason, RunId, Snapshot, Totals};
use sv2_transport::{Frame, FrameReader, FrameWriter, Secured, Transcript, respond};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::{broadcast, mpsc, watch},
    task::JoinHandle,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    end::{AUTHORITY, MINT, Manner, PIPE, Speech, babble, ended, in_paused_time, settle},
    script::{Move, Moves},
};

/// The numbers of the extensions: statistics, proof, quotes.
const EXTENSIONS: [u16; 3] = [0x4D53, 0x4D50, 0x4D51];
/// The hash of the request that must be served whatever was said before it.
const LAST_HASH: HeaderHash = HeaderHash([0xAB; 32]);

/// One session of a mint with a pool that does what `input` says, from the handshake to its end. The moves of its own: 1 the
/// ledger changes, 2 wallets mint, 3 grant the extensions that the argument's bits name, 4 ask for statistics, 5 the mint
/// stops, 6 answer a heartbeat. With the first bit of its manner the mint has no heartbeats.
///
/// # Panics
/// The mint breaks a promise: it panics or hangs, says what it was not asked for or what is malformed, leaves a quote
/// request unanswered, or serves no quotes any more after what was said.
pub fn mint_end(input: &[u8]) {
    let (manner, rest) = Manner::of(input);
    in_paused_time(async {
        match manner.speech() {
            Speech::Script => play(manner, rest).await,
            Speech::Handshake => shake_hands_with(manner, rest).await,
            Speech::Ciphertext => {
                let (mint, stream) = Mint::start(manner);
                let mut pool = Pool::meet(stream).await;
                babble(&mut pool.writer, rest).await;
                ended(mint.session).await;
            }
        }
    });
}

/// A mint, and what its session touches.
struct Mint {
    session: JoinHandle<LinkError>,
    totals: watch::Sender<Arc<Totals>>,
    issued: broadcast::Sender<Arc<[HeaderHash]>>,
    /// The requests that have come to be answered.
    called: mpsc::UnboundedReceiver<Called>,
    stop: CancellationToken,
}

impl Mint {
    /// With the pool's end of the connection.
    fn start(manner: Manner) -> (Self, DuplexStream) {
        let (near, far) = tokio::io::duplex(PIPE);
        let (calls, quotes) = mpsc::channel(16);
        let (totals, published) = watch::channel(Arc::default());
        let mut link = MintLink::new(MINT.clone(), calls, published, RunId(7));
        if manner.rest() & 1 == 1 {
            link.timers.heartbeat = 2 * Moves::LONGEST;
        }
        let target = PoolTarget {
            address: "pool.example:34260".into(),
            authority: AUTHORITY.public(),
        };
        let (telling, called) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let issued = link.issued.clone();
        tokio::spawn(answer(quotes, telling));
        let stopping = stop.clone();
        let session = tokio::spawn(async move { link.serve(near, &target, &stopping).await });
        let mint = Self {
            session,
            totals,
            issued,
            called,
            stop,
        };
        (mint, far)
    }

    /// The requests that have come since this was called last.
    fn calls(&mut self) -> Vec<Called> {
        std::iter::from_fn(|| self.called.try_recv().ok()).collect()
    }
}

/// A request that has come to be answered.
struct Called {
    hash: HeaderHash,
    /// Whether any pool gets an answer: without the extension there is none that says "not now".
    told: bool,
}

/// The mint's batcher: what becomes of a request its amount tells.
async fn answer(mut quotes: mpsc::Receiver<QuoteCall>, called: mpsc::UnboundedSender<Called>) {
    while let Some(QuoteCall { request, answer, .. }) = quotes.recv().await {
        let _ = called.send(Called {
            hash: request.header_hash,
            told: request.amount % 4 < 2,
        });
        match request.amount % 4 {
            0 => answer.created("01a2027e-a6b6-7fe1-a757-ff6fa6c0c235"),
            1 => answer.refused(RefusalCode::LockingKey, "Duplicate entry"),
            2 => answer.refused(RefusalCode::Busy, ""),
            _ => drop(answer),
        }
    }
}

/// The pool, which reads everything at once.
struct Pool {
    writer: FrameWriter<DuplexStream>,
    hearing: JoinHandle<Vec<Frame>>,
    transcript: Transcript,
    /// What it has granted, honestly or not.
    granted: Vec<u16>,
    /// The id of its last honest request for statistics.
    asked: u32,
}

impl Pool {
    async fn meet(stream: DuplexStream) -> Self {
        let hour = Duration::from_secs(3600);
        let secured = respond(stream, &AUTHORITY, hour, Arc::default()).await;
        let Secured {
            reader,
            writer,
            transcript,
        } = secured.expect("the mint shakes hands");
        Self {
            writer,
            hearing: tokio::spawn(hear(reader)),
            transcript,
            granted: Vec::new(),
            asked: 0,
        }
    }

    async fn say(&mut self, frame: Frame) {
        if frame.extension_type == ExtensionMessage::EXTENSION_TYPE
            && let Ok(ExtensionMessage::Success { supported, .. }) =
                ExtensionMessage::decode(frame.msg_type, frame.payload.clone())
        {
            self.granted.extend(supported);
        }
        // The mint may have ended the session.
        let _ = self.writer.send(frame).await;
    }

    async fn make(&mut self, mint: &Mint, step: Move) {
        match step {
            Move::Say(frame) => self.say(frame).await,
            Move::Wait(time) => sleep(time).await,
            Move::Own(1, _) => mint.totals.send_modify(|totals| {
                let version = totals.version + 1;
                *totals = Arc::new(Totals::new(version, []));
            }),
            Move::Own(2, count) => {
                let hashes = vec![HeaderHash([count; 32]); usize::from(count) * 3];
                // Nobody may listen.
                let _ = mint.issued.send(hashes.into());
            }
            Move::Own(3, bits) => self.say(answer_to(1, bits)).await,
            Move::Own(4, step) => {
                self.asked = self.asked.saturating_add(step.into());
                let request = MintStatsRequest { request_id: self.asked };
                self.say(Frame::new(EXTENSIONS[0], MINT_STATS_REQUEST, request.encode()))
                    .await;
            }
            Move::Own(5, _) => mint.stop.cancel(),
            Move::Own(6, beat) => self.say(answer_to(3 + u16::from(beat), 7)).await,
            Move::Own(..) => {}
        }
        settle().await;
    }
}

async fn hear(mut reader: FrameReader<DuplexStream>) -> Vec<Frame> {
    let mut heard = Vec::new();
    while let Some(Ok(frame)) = reader.next().await {
        heard.push(frame);
    }
    heard
}

fn setup_success() -> Frame {
    let message = SetupConnectionSuccess {
        used_version: VERSION,
        flags: 0,
    };
    Frame::new(0, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, to_bytes(message).unwrap())
}

/// The extensions that these bits name are on.
fn answer_to(request_id: u16, bits: u8) -> Frame {
    let named = EXTENSIONS
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 == 1);
    let success = ExtensionMessage::Success {
        request_id,
        supported: named.map(|(_, id)| id).collect(),
    };
    success.to_frame().unwrap()
}

async fn play(manner: Manner, script: &[u8]) {
    let (mut mint, stream) = Mint::start(manner);
    let mut pool = Pool::meet(stream).await;
    if manner.sets_up() {
        pool.say(setup_success()).await;
        settle().await;
    }
    for step in Moves::new(script) {
        pool.make(&mint, step).await;
    }
    let mut calls = mint.calls();
    // A pool that answers no heartbeat is given up.
    let goes_on = manner.sets_up() && !mint.stop.is_cancelled() && !mint.session.is_finished();
    if goes_on {
        calls.extend(quotes_go_on(&mut pool, &mut mint).await);
    }
    let _ = pool.writer.close().await;
    let error = ended(mint.session).await;
    let heard = pool.hearing.await.expect("hearing can't fail");
    judge(&heard, &pool.granted, &pool.transcript);
    if !goes_on && manner.sets_up() {
        let good = [FailureReason::Silent, FailureReason::Stopped];
        assert!(
            good.contains(&error.reason()),
            "P10: the mint ended the session: {error}"
        );
    }
    if error.reason() == FailureReason::Stopped {
        let last = heard.iter().rev().find_map(snapshot);
        assert!(
            last.is_none_or(|last| last.reason == Reason::Final),
            "P6: no final push"
        );
    } else if goes_on {
        let answers = heard.iter().filter(|frame| is_answer(frame)).count();
        let told = calls.iter().filter(|call| call.told).count();
        assert!(
            (told..=calls.len()).contains(&answers),
            "{answers} answers to {} requests",
            calls.len()
        );
    }
}

/// P10: whatever was said, the session serves the next quote. Returns the requests that have come.
async fn quotes_go_on(pool: &mut Pool, mint: &mut Mint) -> Vec<Called> {
    let request = MintQuoteRequest {
        amount: 0,
        unit: "HASH".to_owned(),
        header_hash: LAST_HASH,
        description: None,
        locking_key: vec![2; 33],
    };
    pool.say(request.to_frame().unwrap()).await;
    settle().await;
    let calls = mint.calls();
    let served = calls.last().is_some_and(|call| call.hash == LAST_HASH);
    assert!(served && !mint.session.is_finished(), "P10: quotes do not go on");
    calls
}

fn snapshot(frame: &Frame) -> Option<Snapshot> {
    ((frame.extension_type, frame.msg_type) == (EXTENSIONS[0], MINT_STATS_RESPONSE))
        .then(|| Snapshot::decode(&frame.payload).expect("a snapshot that reads"))
}

fn is_answer(frame: &Frame) -> bool {
    frame.extension_type == QUOTE_EXTENSION && matches!(frame.msg_type, MINT_QUOTE_RESPONSE | MINT_QUOTE_ERROR)
}

/// What the mint has said must be in order: its setup first, of extensions only what was granted, all of it well-formed.
fn judge(heard: &[Frame], granted: &[u16], transcript: &Transcript) {
    let first = heard.first().map(|frame| (frame.extension_type, frame.msg_type));
    assert_eq!(first, Some((0, MESSAGE_TYPE_SETUP_CONNECTION)));
    let mut sequence = 0;
    let mut is_final = false;
    for frame in heard.iter().skip(1) {
        let extension = frame.extension_type;
        assert!(
            !EXTENSIONS.contains(&extension) || granted.contains(&extension),
            "{frame:?} was not granted"
        );
        match (extension, frame.msg_type) {
            (ExtensionMessage::EXTENSION_TYPE, msg_type) => {
                let asked = ExtensionMessage::decode(msg_type, frame.payload.clone());
                assert!(matches!(asked, Ok(ExtensionMessage::Request { .. })), "{asked:?}");
            }
            (0x4D50, MINT_PROOF) => {
                let proof = MintProof::decode(frame.payload.clone()).expect("a proof that reads");
                assert_eq!(proof.verify(transcript), Ok(MINT.public()));
            }
            (0x4D53, MINT_STATS_RESPONSE) => {
                let next = snapshot(frame).expect("it is one");
                assert!(!is_final, "P6: nothing after the final push");
                assert!(next.sequence >= sequence, "P8: a sequence that falls");
                (sequence, is_final) = (next.sequence, next.reason == Reason::Final);
            }
            (0x4D51, MINT_QUOTES_ISSUED) => {
                MintQuotesIssued::decode(frame.payload.clone()).expect("a note that reads");
            }
            (QUOTE_EXTENSION, MINT_QUOTE_RESPONSE) => {
                QuoteAnswer::decode_response(frame.payload.clone()).expect("an answer that reads");
            }
            (QUOTE_EXTENSION, MINT_QUOTE_ERROR) => {
                QuoteAnswer::decode_error(frame.payload.clone(), true).expect("a refusal that reads");
            }
            _ => panic!("the mint says {frame:?}"),
        }
    }
}

/// Raw bytes where the pool's half of the handshake should be.
async fn shake_hands_with(manner: Manner, bytes: &[u8]) {
    let (mint, mut stream) = Mint::start(manner);
    let mut first = [0; 64];
    stream.read_exact(&mut first).await.expect("the mint speaks first");
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let error = ended(mint.session).await;
    assert_ne!(error.reason(), FailureReason::Closed, "a session without a handshake");
}
