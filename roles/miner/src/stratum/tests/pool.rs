//! A pool as the tests want it, on a real socket: it says what a real one would not.

use std::net::SocketAddr;
use std::time::Duration;

use binary_sv2::{U256, from_bytes, to_bytes};
use common_messages_sv2::{Protocol, Reconnect, SetupConnection, SetupConnectionError, SetupConnectionSuccess};
use futures::{SinkExt, StreamExt};
use mining_sv2::*;
use mint_link::{ExtensionMessage, MintQuoteNotification};
use sv2_transport::{AuthorityKeypair, Frame, Secured, respond};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// A bound against hanging.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) const CHANNEL: u32 = 7;
pub(super) const QUOTES: u16 = 0x4D51;

/// Waits for what has to come.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it comes")
}

pub(super) struct Pool {
    listener: TcpListener,
    pub(super) authority: AuthorityKeypair,
}

impl Pool {
    pub(super) async fn start() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            authority: AuthorityKeypair::generate(),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next connection, before it says anything.
    pub(super) async fn connection(&self) -> TcpStream {
        soon(self.listener.accept()).await.unwrap().0
    }

    /// The next connection, encrypted.
    pub(super) async fn miner(&self) -> Miner {
        let stream = self.connection().await;
        let validity = Duration::from_secs(3600);
        let secured = soon(respond(stream, &self.authority, validity, Default::default()));
        Miner(secured.await.unwrap())
    }

    /// The next connection, with a channel open that tells of quotes.
    pub(super) async fn mining(&self) -> Miner {
        let mut miner = self.miner().await;
        miner.set_up().await;
        miner.negotiate(&[QUOTES]).await;
        miner.open().await;
        miner
    }
}

/// The miner at the other end.
pub(super) struct Miner(Secured<TcpStream>);

impl Miner {
    pub(super) async fn hears(&mut self, msg_type: u8) -> Vec<u8> {
        let frame = soon(self.0.reader.next()).await.expect("not closed").unwrap();
        assert_eq!(frame.msg_type, msg_type, "{frame:?}");
        frame.payload
    }

    /// The miner has closed the connection.
    pub(super) async fn is_gone(&mut self) -> bool {
        !matches!(soon(self.0.reader.next()).await, Some(Ok(_)))
    }

    pub(super) async fn says(&mut self, frame: Frame) {
        soon(self.0.writer.send(frame)).await.unwrap();
    }

    async fn says_core(&mut self, msg_type: u8, payload: Vec<u8>) {
        self.says(Frame::new(0, msg_type, payload)).await;
    }

    pub(super) async fn set_up(&mut self) {
        let mut payload = self.hears(0).await;
        let setup: SetupConnection<'_> = from_bytes(&mut payload).unwrap();
        assert_eq!(setup.protocol, Protocol::MiningProtocol);
        assert!(setup.requires_standard_job());
        let success = SetupConnectionSuccess {
            used_version: 2,
            flags: 0,
        };
        self.says_core(1, to_bytes(success).unwrap()).await;
    }

    pub(super) async fn refuses_setup(&mut self, code: &str) {
        self.hears(0).await;
        let error = SetupConnectionError {
            flags: 0,
            error_code: code.as_bytes().try_into().unwrap(),
        };
        self.says_core(2, to_bytes(error).unwrap()).await;
    }

    /// Hears RequestExtensions and leaves it unanswered.
    pub(super) async fn is_asked(&mut self) -> u16 {
        let payload = self.hears(0).await;
        match ExtensionMessage::decode(0, payload).unwrap() {
            ExtensionMessage::Request { request_id, requested } => {
                assert_eq!(requested, [QUOTES]);
                request_id
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn grants(&mut self, request_id: u16, supported: &[u16]) {
        let answer = ExtensionMessage::Success {
            request_id,
            supported: supported.to_vec(),
        };
        self.says(answer.to_frame().unwrap()).await;
    }

    pub(super) async fn negotiate(&mut self, supported: &[u16]) {
        let request_id = self.is_asked().await;
        if supported.is_empty() {
            let answer = ExtensionMessage::Error {
                request_id,
                unsupported: vec![QUOTES],
                required: vec![],
            };
            self.says(answer.to_frame().unwrap()).await;
        } else {
            self.grants(request_id, supported).await;
        }
    }

    /// Opens the channel, and returns the miner's identity and hashrate.
    pub(super) async fn open(&mut self) -> (String, f32) {
        let mut payload = self.hears(MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL).await;
        let request: OpenStandardMiningChannel<'_> = from_bytes(&mut payload).unwrap();
        let success = OpenStandardMiningChannelSuccess {
            request_id: request.request_id,
            channel_id: CHANNEL,
            target: U256::from(&[0xff; 32]),
            extranonce_prefix: [1, 2].as_slice().try_into().unwrap(),
            group_channel_id: 1,
        };
        let identity = String::from_utf8(request.user_identity.as_bytes().to_vec()).unwrap();
        let hashrate = request.nominal_hash_rate;
        self.says_core(
            MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS,
            to_bytes(success).unwrap(),
        )
        .await;
        (identity, hashrate)
    }

    pub(super) async fn refuses_channel(&mut self, code: &str) {
        let mut payload = self.hears(MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL).await;
        let request: OpenStandardMiningChannel<'_> = from_bytes(&mut payload).unwrap();
        let error = OpenMiningChannelError {
            request_id: request.request_id,
            error_code: code.as_bytes().try_into().unwrap(),
        };
        self.says_core(MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR, to_bytes(error).unwrap())
            .await;
    }

    /// A future job, and the tip that makes it current.
    pub(super) async fn gives_work(&mut self, job_id: u32) {
        let job = NewMiningJob {
            channel_id: CHANNEL,
            job_id,
            min_ntime: binary_sv2::Sv2Option::new(None),
            version: 0x2000_0000,
            merkle_root: U256::from(&[9; 32]),
        };
        self.says_core(MESSAGE_TYPE_NEW_MINING_JOB, to_bytes(job).unwrap())
            .await;
        let hash = [u8::try_from(job_id).unwrap(); 32];
        let tip = SetNewPrevHash {
            channel_id: CHANNEL,
            job_id,
            prev_hash: U256::from(&hash),
            min_ntime: 1_700_000_000,
            nbits: 0x1d00_ffff,
        };
        self.says_core(MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH, to_bytes(tip).unwrap())
            .await;
    }

    /// The next share.
    pub(super) async fn share(&mut self) -> SubmitSharesStandard {
        from_bytes(&mut self.hears(MESSAGE_TYPE_SUBMIT_SHARES_STANDARD).await).unwrap()
    }

    pub(super) async fn accepts(&mut self, last_sequence_number: u32, count: u32) {
        let success = SubmitSharesSuccess {
            channel_id: CHANNEL,
            last_sequence_number,
            new_submits_accepted_count: count,
            new_shares_sum: u64::from(count),
        };
        self.says_core(MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS, to_bytes(success).unwrap())
            .await;
    }

    pub(super) async fn refuses(&mut self, sequence_number: u32, code: &str) {
        let error = SubmitSharesError {
            channel_id: CHANNEL,
            sequence_number,
            error_code: code.as_bytes().try_into().unwrap(),
        };
        self.says_core(MESSAGE_TYPE_SUBMIT_SHARES_ERROR, to_bytes(error).unwrap())
            .await;
    }

    pub(super) async fn tells_of(&mut self, quote: &str, extension: u16) {
        let notification = MintQuoteNotification {
            channel_id: CHANNEL,
            quote_id: quote.to_owned(),
            amount: 8,
        };
        self.says(notification.to_frame(extension).unwrap()).await;
    }

    pub(super) async fn closes_channel(&mut self, reason: &str) {
        let close = CloseChannel {
            channel_id: CHANNEL,
            reason_code: reason.as_bytes().try_into().unwrap(),
        };
        self.says_core(MESSAGE_TYPE_CLOSE_CHANNEL, to_bytes(close).unwrap())
            .await;
    }

    pub(super) async fn sends_away(&mut self, to: SocketAddr) {
        let host = to.ip().to_string();
        let reconnect = Reconnect {
            new_host: host.as_bytes().try_into().unwrap(),
            new_port: to.port(),
        };
        self.says_core(4, to_bytes(reconnect).unwrap()).await;
    }
}
