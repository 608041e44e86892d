//! Miners in a test's hands. A [`Rig`] mines on one standard channel and remembers what the pool has acknowledged; a
//! [`MiningConnection`] is what it stands on, frame by frame. Every step may find the connection lost, since these tests
//! kill pools.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use binary_sv2::{Encodable, GetSize, from_bytes, to_bytes};
use bitcoin::{
    BlockHash, CompactTarget, Target, TxMerkleNode,
    block::{Header, Version},
    hashes::Hash as _,
};
use common_messages_sv2::{
    MESSAGE_TYPE_SETUP_CONNECTION, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, Protocol, SetupConnectionOwned,
};
use futures::{SinkExt as _, StreamExt as _};
use mining_sv2::{
    MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH, MESSAGE_TYPE_NEW_MINING_JOB, MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL,
    MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS, MESSAGE_TYPE_SET_TARGET, MESSAGE_TYPE_SUBMIT_SHARES_ERROR,
    MESSAGE_TYPE_SUBMIT_SHARES_STANDARD, MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS, NewMiningJob, NewMiningJobOwned,
    OpenStandardMiningChannelOwned, OpenStandardMiningChannelSuccess, SetNewPrevHash, SetNewPrevHashOwned, SetTarget,
    SubmitSharesError, SubmitSharesStandard, SubmitSharesSuccess,
};
use mint_link::{ExtensionMessage, MINT_QUOTE_NOTIFICATION, MintQuoteNotification};
use sv2_transport::{AuthorityPublicKey, Frame, FrameReader, FrameWriter, Secured, initiate};
use tokio::{net::TcpStream, time::timeout};

/// Longer than a pool that lives takes for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// SetupConnection: wants standard jobs.
const REQUIRES_STANDARD_JOBS: u32 = 1;
/// The extension of ehash quotes.
const QUOTES_EXTENSION: u16 = 0x4D51;

/// The connection ended.
#[derive(Debug)]
pub struct Lost;

/// What a rig hears that is not work.
#[derive(Debug)]
pub enum Heard {
    /// These shares are acknowledged, by the hashes of their headers in internal byte order.
    Accepted(Vec<[u8; 32]>),
    /// A share is refused, with this code.
    Refused(String),
    /// A quote for a share of this rig's key.
    Quote(MintQuoteNotification),
}

/// A connection to a pool's mining port.
pub struct MiningConnection {
    reader: FrameReader<TcpStream>,
    writer: FrameWriter<TcpStream>,
}

impl MiningConnection {
    /// Dials, sets the connection up for standard jobs, and negotiates quotes.
    pub async fn open(pool: SocketAddr, authority: AuthorityPublicKey) -> Result<Self, Lost> {
        let stream = TcpStream::connect(pool).await.map_err(|_| Lost)?;
        stream.set_nodelay(true).map_err(|_| Lost)?;
        let secured = initiate(stream, authority, Arc::default()).await;
        let Secured { reader, writer, .. } = secured.map_err(|_| Lost)?;
        let mut connection = Self { reader, writer };
        let text = |text: &str| text.as_bytes().to_vec().try_into().unwrap();
        let setup = SetupConnectionOwned {
            protocol: Protocol::MiningProtocol,
            min_version: 2,
            max_version: 2,
            flags: REQUIRES_STANDARD_JOBS,
            endpoint_host: text("localhost"),
            endpoint_port: pool.port(),
            vendor: text("rig"),
            hardware_version: text(""),
            firmware: text(""),
            device_id: text(""),
        };
        connection.feed(MESSAGE_TYPE_SETUP_CONNECTION, setup).await?;
        connection.flush().await?;
        let answer = connection.next().await?;
        assert_eq!(answer.msg_type, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, "{answer:?}");
        let ask = ExtensionMessage::Request {
            request_id: 1,
            requested: vec![QUOTES_EXTENSION],
        };
        connection
            .writer
            .send(ask.to_frame().unwrap())
            .await
            .map_err(|_| Lost)?;
        let answer = connection.next().await?;
        let answer = ExtensionMessage::decode(answer.msg_type, answer.payload).unwrap();
        assert!(matches!(answer, ExtensionMessage::Success { .. }), "{answer:?}");
        Ok(connection)
    }

    /// Asks for a standard channel, in the next write.
    pub async fn ask_for_channel(&mut self, request_id: u32, identity: &str) -> Result<(), Lost> {
        let open = OpenStandardMiningChannelOwned {
            request_id,
            user_identity: identity.as_bytes().to_vec().try_into().unwrap(),
            nominal_hash_rate: 0.0,
            max_target: [0xFF; 32].into(),
        };
        self.feed(MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL, open).await
    }

    /// Adds a message to the next write.
    pub async fn feed<M: Encodable + GetSize>(&mut self, msg_type: u8, message: M) -> Result<(), Lost> {
        let frame = Frame::new(0, msg_type, to_bytes(message).unwrap());
        self.writer.feed(frame).await.map_err(|_| Lost)
    }

    /// Writes what was fed.
    pub async fn flush(&mut self) -> Result<(), Lost> {
        self.writer.flush().await.map_err(|_| Lost)
    }

    /// The next frame. Cancel-safe.
    pub async fn next(&mut self) -> Result<Frame, Lost> {
        match timeout(PATIENCE, self.reader.next()).await {
            Ok(Some(Ok(frame))) => Ok(frame),
            Ok(_) => Err(Lost),
            Err(_) => panic!("the pool says nothing for {PATIENCE:?}"),
        }
    }
}

/// A connected rig with an open channel and work.
pub struct Rig {
    connection: MiningConnection,
    channel_id: u32,
    target: Target,
    jobs: HashMap<u32, NewMiningJobOwned>,
    tip: Option<SetNewPrevHashOwned>,
    job: Option<Header>,
    job_id: u32,
    sequence: u32,
    /// Submitted and not answered, by sequence number.
    pending: BTreeMap<u32, [u8; 32]>,
}

impl Rig {
    /// Connects, opens a channel and waits for work.
    pub async fn connect(pool: SocketAddr, authority: AuthorityPublicKey, identity: &str) -> Result<Self, Lost> {
        let mut rig = Self {
            connection: MiningConnection::open(pool, authority).await?,
            channel_id: 0,
            target: Target::ZERO,
            jobs: HashMap::new(),
            tip: None,
            job: None,
            job_id: 0,
            sequence: 0,
            pending: BTreeMap::new(),
        };
        rig.open(identity).await?;
        Ok(rig)
    }

    async fn open(&mut self, identity: &str) -> Result<(), Lost> {
        self.connection.ask_for_channel(1, identity).await?;
        self.connection.flush().await?;
        let mut answer = self.connection.next().await?;
        assert_eq!(
            answer.msg_type, MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS,
            "{answer:?}"
        );
        let opened: OpenStandardMiningChannelSuccess<'_> = from_bytes(&mut answer.payload).unwrap();
        self.channel_id = opened.channel_id;
        self.target = Target::from_le_bytes(opened.target.to_array());
        while self.job.is_none() {
            let frame = self.connection.next().await?;
            self.mind(frame);
        }
        Ok(())
    }

    /// Finds the next share of the newest job, which takes 2^bits hashes for a target of so many zero bits. `None` when
    /// the job is used up.
    pub fn solve(&mut self) -> Option<(SubmitSharesStandard, [u8; 32])> {
        let header = self.job.as_mut()?;
        loop {
            let (hash, nonce) = (header.block_hash(), header.nonce);
            header.nonce = nonce.checked_add(1)?;
            if self.target.is_met_by(hash) {
                self.sequence += 1;
                let share = SubmitSharesStandard {
                    channel_id: self.channel_id,
                    sequence_number: self.sequence,
                    job_id: self.job_id,
                    nonce,
                    ntime: header.time,
                    version: header.version.to_consensus().cast_unsigned(),
                };
                return Some((share, hash.to_byte_array()));
            }
        }
    }

    /// Hands `shares` in, in one write.
    pub async fn submit(&mut self, shares: Vec<(SubmitSharesStandard, [u8; 32])>) -> Result<(), Lost> {
        for (share, hash) in shares {
            self.pending.insert(share.sequence_number, hash);
            self.connection.feed(MESSAGE_TYPE_SUBMIT_SHARES_STANDARD, share).await?;
        }
        self.connection.flush().await
    }

    /// Shares that were handed in and have no answer yet.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Waits for the next thing that is not work. Cancel-safe.
    pub async fn hear(&mut self) -> Result<Heard, Lost> {
        loop {
            let frame = self.connection.next().await?;
            if let Some(heard) = self.mind(frame) {
                return Ok(heard);
            }
        }
    }

    fn mind(&mut self, frame: Frame) -> Option<Heard> {
        let mut payload = frame.payload;
        match (frame.extension_type, frame.msg_type) {
            (0, MESSAGE_TYPE_NEW_MINING_JOB) => {
                let job: NewMiningJob<'_> = from_bytes(&mut payload).unwrap();
                let (job, now) = (job.clone().into_owned(), !job.is_future());
                let id = job.job_id;
                self.jobs.insert(id, job);
                if now {
                    self.switch_to(id);
                }
            }
            (0, MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH) => {
                let tip: SetNewPrevHash<'_> = from_bytes(&mut payload).unwrap();
                let tip = tip.into_owned();
                let id = tip.job_id;
                self.tip = Some(tip);
                self.switch_to(id);
                self.jobs.retain(|job, _| *job >= id);
            }
            (0, MESSAGE_TYPE_SET_TARGET) => {
                let message: SetTarget<'_> = from_bytes(&mut payload).unwrap();
                self.target = Target::from_le_bytes(message.maximum_target.to_array());
            }
            (0, MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS) => {
                let success: SubmitSharesSuccess = from_bytes(&mut payload).unwrap();
                let later = self.pending.split_off(&(success.last_sequence_number + 1));
                let accepted: Vec<_> = std::mem::replace(&mut self.pending, later).into_values().collect();
                assert_eq!(accepted.len(), success.new_submits_accepted_count as usize);
                return Some(Heard::Accepted(accepted));
            }
            (0, MESSAGE_TYPE_SUBMIT_SHARES_ERROR) => {
                let error: SubmitSharesError<'_> = from_bytes(&mut payload).unwrap();
                self.pending.remove(&error.sequence_number);
                return Some(Heard::Refused(error.error_code.as_utf8_or_hex()));
            }
            (QUOTES_EXTENSION, MINT_QUOTE_NOTIFICATION) => {
                return Some(Heard::Quote(MintQuoteNotification::decode(payload).unwrap()));
            }
            _ => {}
        }
        None
    }

    fn switch_to(&mut self, job_id: u32) {
        let (job, tip) = (
            &self.jobs[&job_id],
            self.tip.as_ref().expect("a tip before a job for it"),
        );
        self.job_id = job_id;
        self.job = Some(Header {
            version: Version::from_consensus(job.version.cast_signed()),
            prev_blockhash: BlockHash::from_byte_array(tip.prev_hash.to_array()),
            merkle_root: TxMerkleNode::from_byte_array(job.merkle_root.to_array()),
            time: tip.min_ntime,
            bits: CompactTarget::from_consensus(tip.nbits),
            nonce: 0,
        });
    }
}
