//! A miner as the pool sees it: a real client on a socket that says what the test tells it to, and hashes by hand.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use binary_sv2::{Encodable, GetSize, from_bytes, to_bytes};
use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, CompactTarget, Target, TxMerkleNode, block};
use channels_sv2::merkle_root::merkle_root_from_path;
use common_messages_sv2::{Protocol, SetupConnectionOwned};
use futures::{SinkExt as _, StreamExt as _};
use mining_sv2::*;
use sv2_transport::{AuthorityPublicKey, Frame, FrameReader, FrameWriter, Secured, initiate};
use tokio::net::TcpStream;

/// Longer than anything takes that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const STANDARD_JOBS: u32 = 1;

/// A job as far as hashing needs it.
#[derive(Clone)]
pub(crate) enum Work {
    Standard(NewMiningJobOwned),
    Extended(NewExtendedMiningJobOwned),
}

pub(crate) struct Client {
    reader: FrameReader<TcpStream>,
    writer: FrameWriter<TcpStream>,
    pub(crate) jobs: HashMap<u32, Work>,
    pub(crate) tip: Option<SetNewPrevHashOwned>,
    /// The job that is to be mined.
    pub(crate) job_id: u32,
    pub(crate) channel_id: u32,
    pub(crate) target: Target,
    prefix: Vec<u8>,
    rollable: usize,
    nonce: u32,
    sequence: u32,
}

/// A solved share.
#[derive(Clone)]
pub(crate) struct Solved {
    pub(crate) share: SubmitSharesExtendedOwned,
    /// In internal byte order.
    pub(crate) hash: [u8; 32],
    standard: bool,
}

impl Client {
    /// Dials and sets the connection up with these flags.
    pub(crate) async fn connect(pool: SocketAddr, authority: AuthorityPublicKey, flags: u32) -> Self {
        let mut client = Self::handshake(pool, authority).await;
        let text = |text: &str| text.as_bytes().to_vec().try_into().unwrap();
        client
            .send(
                0x00,
                SetupConnectionOwned {
                    protocol: Protocol::MiningProtocol,
                    min_version: 2,
                    max_version: 2,
                    flags,
                    endpoint_host: text("localhost"),
                    endpoint_port: pool.port(),
                    vendor: text("test"),
                    hardware_version: text(""),
                    firmware: text(""),
                    device_id: text(""),
                },
            )
            .await;
        client
    }

    /// Dials, and says nothing after the handshake.
    pub(crate) async fn handshake(pool: SocketAddr, authority: AuthorityPublicKey) -> Self {
        let stream = TcpStream::connect(pool).await.unwrap();
        let Secured { reader, writer, .. } = initiate(stream, authority, Default::default()).await.unwrap();
        Self {
            reader,
            writer,
            jobs: HashMap::new(),
            tip: None,
            job_id: 0,
            channel_id: 0,
            target: Target::ZERO,
            prefix: Vec::new(),
            rollable: 0,
            nonce: 0,
            sequence: 0,
        }
    }

    pub(crate) async fn send<M: Encodable + GetSize>(&mut self, msg_type: u8, message: M) {
        self.raw(Frame::new(0, msg_type, to_bytes(message).unwrap())).await;
    }

    pub(crate) async fn raw(&mut self, frame: Frame) {
        self.writer.send(frame).await.unwrap();
    }

    /// The next frame; `None` when the pool has closed the connection.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let next = tokio::time::timeout(PATIENCE, self.reader.next())
            .await
            .expect("the pool says something");
        next.and_then(Result::ok)
    }

    /// Reads on, minding jobs, until a message of this type comes; gives its payload.
    pub(crate) async fn hear(&mut self, msg_type: u8) -> Vec<u8> {
        loop {
            let frame = self.next().await.expect("the connection stays");
            let (kind, payload) = (frame.msg_type, frame.payload.clone());
            self.mind(frame);
            if kind == msg_type {
                return payload;
            }
        }
    }

    fn mind(&mut self, frame: Frame) {
        let mut payload = frame.payload;
        match frame.msg_type {
            MESSAGE_TYPE_NEW_MINING_JOB => {
                let job = from_bytes::<NewMiningJob<'_>>(&mut payload).unwrap().into_owned();
                let (id, now) = (job.job_id, !job.is_future());
                let before = self.jobs.insert(id, Work::Standard(job.clone()));
                let again = matches!(before, Some(Work::Standard(before)) if before.channel_id == job.channel_id);
                assert!(!again, "a channel is told of a job once");
                self.switch(id, now);
            }
            MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB => {
                let job = from_bytes::<NewExtendedMiningJob<'_>>(&mut payload)
                    .unwrap()
                    .into_owned();
                let (id, now) = (job.job_id, !job.is_future());
                self.jobs.insert(id, Work::Extended(job));
                self.switch(id, now);
            }
            MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH => {
                let tip = from_bytes::<SetNewPrevHash<'_>>(&mut payload).unwrap().into_owned();
                assert!(self.jobs.contains_key(&tip.job_id), "the job was told before its tip");
                self.job_id = tip.job_id;
                self.tip = Some(tip);
            }
            MESSAGE_TYPE_SET_TARGET => {
                let message = from_bytes::<SetTarget<'_>>(&mut payload).unwrap().into_owned();
                self.target = Target::from_le_bytes(message.maximum_target.to_array());
            }
            _ => {}
        }
    }

    fn switch(&mut self, id: u32, now: bool) {
        if now {
            assert!(self.tip.is_some(), "a job for a tip that nobody has told");
            self.job_id = id;
        }
    }

    /// Opens a standard channel and waits for its first work.
    pub(crate) async fn open_standard(&mut self, identity: &str) -> OpenStandardMiningChannelSuccessOwned {
        self.ask_standard(identity, 0.0).await;
        let mut payload = self.hear(MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS).await;
        let opened = from_bytes::<OpenStandardMiningChannelSuccess<'_>>(&mut payload)
            .unwrap()
            .into_owned();
        assert_eq!(opened.request_id, 7);
        self.opened(
            opened.channel_id,
            &opened.target.to_array(),
            opened.extranonce_prefix.to_owned_bytes(),
            0,
        );
        self.hear(MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH).await;
        opened
    }

    pub(crate) async fn ask_standard(&mut self, identity: &str, nominal_hash_rate: f32) {
        let open = OpenStandardMiningChannelOwned {
            request_id: 7,
            user_identity: identity.as_bytes().to_vec().try_into().unwrap(),
            nominal_hash_rate,
            max_target: [0xFF; 32].into(),
        };
        self.send(MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL, open).await;
    }

    /// Opens an extended channel and waits for its first work.
    pub(crate) async fn open_extended(&mut self, identity: &str) -> OpenExtendedMiningChannelSuccessOwned {
        let open = OpenExtendedMiningChannelOwned {
            request_id: 7,
            user_identity: identity.as_bytes().to_vec().try_into().unwrap(),
            nominal_hash_rate: 0.0,
            max_target: [0xFF; 32].into(),
            min_extranonce_size: 8,
        };
        self.send(MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL, open).await;
        let mut payload = self.hear(MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS).await;
        let opened = from_bytes::<OpenExtendedMiningChannelSuccess<'_>>(&mut payload)
            .unwrap()
            .into_owned();
        let rollable = opened.extranonce_size.into();
        self.opened(
            opened.channel_id,
            &opened.target.to_array(),
            opened.extranonce_prefix.to_owned_bytes(),
            rollable,
        );
        self.hear(MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH).await;
        opened
    }

    fn opened(&mut self, channel_id: u32, target: &[u8; 32], prefix: Vec<u8>, rollable: usize) {
        self.channel_id = channel_id;
        self.target = Target::from_le_bytes(*target);
        self.prefix = prefix;
        self.rollable = rollable;
    }

    /// A share for the job at hand that meets the target, and no share before it.
    pub(crate) fn solve(&mut self) -> Solved {
        let tip = self.tip.as_ref().unwrap();
        let extranonce = vec![0x11; self.rollable];
        let (version, root, standard) = match &self.jobs[&self.job_id] {
            Work::Standard(job) => (job.version, job.merkle_root.to_array(), true),
            Work::Extended(job) => {
                let root = merkle_root_from_path(
                    job.coinbase_tx_prefix.as_bytes(),
                    job.coinbase_tx_suffix.as_bytes(),
                    &[&*self.prefix, &extranonce].concat(),
                    job.merkle_path.as_slice(),
                );
                (job.version, root.unwrap(), self.rollable == 0)
            }
        };
        let mut header = block::Header {
            version: block::Version::from_consensus(version as i32),
            prev_blockhash: BlockHash::from_byte_array(tip.prev_hash.to_array()),
            merkle_root: TxMerkleNode::from_byte_array(root),
            time: tip.min_ntime,
            bits: CompactTarget::from_consensus(tip.nbits),
            nonce: self.nonce,
        };
        while !self.target.is_met_by(header.block_hash()) {
            header.nonce += 1;
        }
        self.nonce = header.nonce + 1;
        self.sequence += 1;
        Solved {
            share: SubmitSharesExtendedOwned {
                channel_id: self.channel_id,
                sequence_number: self.sequence,
                job_id: self.job_id,
                nonce: header.nonce,
                ntime: header.time,
                version,
                extranonce: extranonce.try_into().unwrap(),
            },
            hash: header.block_hash().to_byte_array(),
            standard,
        }
    }

    pub(crate) async fn submit(&mut self, solved: &Solved) {
        let share = solved.share.clone();
        if solved.standard {
            let share = SubmitSharesStandard {
                channel_id: share.channel_id,
                sequence_number: share.sequence_number,
                job_id: share.job_id,
                nonce: share.nonce,
                ntime: share.ntime,
                version: share.version,
            };
            self.send(MESSAGE_TYPE_SUBMIT_SHARES_STANDARD, share).await;
        } else {
            self.send(MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, share).await;
        }
    }

    /// Waits until this share is acknowledged.
    pub(crate) async fn accepted(&mut self, solved: &Solved) -> SubmitSharesSuccess {
        let mut payload = self.hear(MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS).await;
        let success: SubmitSharesSuccess = from_bytes(&mut payload).unwrap();
        assert_eq!(success.channel_id, solved.share.channel_id);
        assert_eq!(success.last_sequence_number, solved.share.sequence_number);
        success
    }

    /// Waits for the next answer to a share; gives its type.
    pub(crate) async fn hear_either(&mut self) -> u8 {
        loop {
            let frame = self.next().await.expect("the connection stays");
            let kind = frame.msg_type;
            self.mind(frame);
            if [MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS, MESSAGE_TYPE_SUBMIT_SHARES_ERROR].contains(&kind) {
                return kind;
            }
        }
    }

    /// Waits until a share is refused; gives its number and the code.
    pub(crate) async fn refused(&mut self) -> (u32, String) {
        let mut payload = self.hear(MESSAGE_TYPE_SUBMIT_SHARES_ERROR).await;
        let error = from_bytes::<SubmitSharesError<'_>>(&mut payload).unwrap().into_owned();
        (error.sequence_number, error.error_code.as_utf8_or_hex())
    }
}
