//! The messages of the mining protocol that a miner with a standard channel reads and writes (SV2 specification,
//! sections 3.6 and 5.3).

use binary_sv2::{Str0255, U256, from_bytes, to_bytes};
use bitcoin::Target;
use common_messages_sv2::{
    MESSAGE_TYPE_RECONNECT, MESSAGE_TYPE_SETUP_CONNECTION, MESSAGE_TYPE_SETUP_CONNECTION_ERROR,
    MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, Protocol, Reconnect, SetupConnection, SetupConnectionError,
    SetupConnectionSuccess,
};
use mining_sv2::{
    CloseChannel, MESSAGE_TYPE_CLOSE_CHANNEL, MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH, MESSAGE_TYPE_NEW_MINING_JOB,
    MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR, MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL,
    MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS, MESSAGE_TYPE_SET_GROUP_CHANNEL, MESSAGE_TYPE_SET_TARGET,
    MESSAGE_TYPE_SUBMIT_SHARES_ERROR, MESSAGE_TYPE_SUBMIT_SHARES_STANDARD, MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS,
    NewMiningJob, OpenMiningChannelError, OpenStandardMiningChannel, OpenStandardMiningChannelSuccess, SetGroupChannel,
    SetNewPrevHash, SetTarget, SubmitSharesError, SubmitSharesStandard, SubmitSharesSuccess,
};
use mint_link::{ExtensionMessage, MINT_QUOTE_NOTIFICATION, Malformed, MintQuoteNotification, VERSION};
use sv2_transport::Frame;

/// Flag of SetupConnection: jobs must be standard ones (SV2 specification, section 5.3.1).
const REQUIRES_STANDARD_JOBS: u32 = 1;

/// What a pool says.
#[derive(Debug, PartialEq)]
pub(super) enum FromPool {
    SetupSuccess {
        version: u16,
    },
    SetupError {
        code: String,
    },
    Extensions(ExtensionMessage),
    Reconnect {
        host: String,
        port: u16,
    },
    Opened(Opened),
    OpenRefused {
        request_id: u32,
        code: String,
    },
    Group {
        group: u32,
        channels: Vec<u32>,
    },
    ToChannel {
        id: u32,
        message: ToChannel,
    },
    Quote(MintQuoteNotification),
    /// Nothing that a miner with one standard channel needs to know.
    Other,
}

/// OpenStandardMiningChannel.Success.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Opened {
    pub(super) request_id: u32,
    pub(super) channel: u32,
    pub(super) group: u32,
    pub(super) target: Target,
}

/// What is addressed to a channel, or to the group that it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ToChannel {
    Job(NewJob),
    PrevHash(PrevHash),
    Target(Target),
    Closed { reason: String },
    Accepted { count: u32 },
    Refused { sequence_number: u32, code: String },
}

/// NewMiningJob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NewJob {
    pub(super) id: u32,
    /// `None` for a future job, which a later [`PrevHash`] makes current.
    pub(super) min_ntime: Option<u32>,
    pub(super) version: u32,
    /// In internal byte order, as in a header.
    pub(super) merkle_root: [u8; 32],
}

/// SetNewPrevHash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PrevHash {
    /// The future job that becomes current.
    pub(super) job: u32,
    /// In internal byte order, as in a header.
    pub(super) hash: [u8; 32],
    pub(super) min_ntime: u32,
    pub(super) bits: u32,
}

impl FromPool {
    /// Reads a frame. `quotes` is the number of the extension that tells of quotes; hashpool tells of them without one.
    pub(super) fn read(frame: Frame, quotes: u16) -> Result<Self, Malformed> {
        let Frame {
            extension_type,
            msg_type,
            payload,
            ..
        } = frame;
        match (extension_type, msg_type) {
            (ExtensionMessage::EXTENSION_TYPE, 0..=2) => {
                Ok(Self::Extensions(ExtensionMessage::decode(msg_type, payload)?))
            }
            (extension, MINT_QUOTE_NOTIFICATION) if extension == quotes || extension == 0 => {
                Ok(Self::Quote(MintQuoteNotification::decode(payload)?))
            }
            (0, _) => Self::read_core(msg_type, payload),
            _ => Ok(Self::Other),
        }
    }

    fn read_core(msg_type: u8, mut payload: Vec<u8>) -> Result<Self, Malformed> {
        let payload = &mut payload[..];
        Ok(match msg_type {
            MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS => Self::SetupSuccess {
                version: from_bytes::<SetupConnectionSuccess>(payload)?.used_version,
            },
            MESSAGE_TYPE_SETUP_CONNECTION_ERROR => Self::SetupError {
                code: text(&from_bytes::<SetupConnectionError<'_>>(payload)?.error_code),
            },
            MESSAGE_TYPE_RECONNECT => {
                let message: Reconnect<'_> = from_bytes(payload)?;
                Self::Reconnect {
                    host: text(&message.new_host),
                    port: message.new_port,
                }
            }
            MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS => {
                let message: OpenStandardMiningChannelSuccess<'_> = from_bytes(payload)?;
                Self::Opened(Opened {
                    request_id: message.request_id,
                    channel: message.channel_id,
                    group: message.group_channel_id,
                    target: target(&message.target),
                })
            }
            MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR => {
                let message: OpenMiningChannelError<'_> = from_bytes(payload)?;
                Self::OpenRefused {
                    request_id: message.request_id,
                    code: text(&message.error_code),
                }
            }
            MESSAGE_TYPE_SET_GROUP_CHANNEL => {
                let message: SetGroupChannel<'_> = from_bytes(payload)?;
                Self::Group {
                    group: message.group_channel_id,
                    channels: message.channel_ids.into_inner(),
                }
            }
            _ => return ToChannel::read(msg_type, payload),
        })
    }
}

impl ToChannel {
    fn read(msg_type: u8, payload: &mut [u8]) -> Result<FromPool, Malformed> {
        let (id, message) = match msg_type {
            MESSAGE_TYPE_NEW_MINING_JOB => {
                let message: NewMiningJob<'_> = from_bytes(payload)?;
                let job = NewJob {
                    id: message.job_id,
                    min_ntime: message.min_ntime.into_inner(),
                    version: message.version,
                    merkle_root: *message.merkle_root.as_array(),
                };
                (message.channel_id, Self::Job(job))
            }
            MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH => {
                let message: SetNewPrevHash<'_> = from_bytes(payload)?;
                let prev_hash = PrevHash {
                    job: message.job_id,
                    hash: *message.prev_hash.as_array(),
                    min_ntime: message.min_ntime,
                    bits: message.nbits,
                };
                (message.channel_id, Self::PrevHash(prev_hash))
            }
            MESSAGE_TYPE_SET_TARGET => {
                let message: SetTarget<'_> = from_bytes(payload)?;
                (message.channel_id, Self::Target(target(&message.maximum_target)))
            }
            MESSAGE_TYPE_CLOSE_CHANNEL => {
                let message: CloseChannel<'_> = from_bytes(payload)?;
                let reason = text(&message.reason_code);
                (message.channel_id, Self::Closed { reason })
            }
            MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS => {
                let message: SubmitSharesSuccess = from_bytes(payload)?;
                let count = message.new_submits_accepted_count;
                (message.channel_id, Self::Accepted { count })
            }
            MESSAGE_TYPE_SUBMIT_SHARES_ERROR => {
                let message: SubmitSharesError<'_> = from_bytes(payload)?;
                let refused = Self::Refused {
                    sequence_number: message.sequence_number,
                    code: text(&message.error_code),
                };
                (message.channel_id, refused)
            }
            // SetExtranoncePrefix among them: the pool makes the merkle roots, and those of later jobs carry the new one.
            _ => return Ok(FromPool::Other),
        };
        Ok(FromPool::ToChannel { id, message })
    }
}

/// SetupConnection to the pool that was dialled at `endpoint`; `device` names this miner among others.
pub(super) fn setup_connection(endpoint: &str, device: &str) -> Result<Frame, Malformed> {
    let (host, port) = endpoint.rsplit_once(':').unwrap_or((endpoint, ""));
    let message = SetupConnection {
        protocol: Protocol::MiningProtocol,
        min_version: VERSION,
        max_version: VERSION,
        flags: REQUIRES_STANDARD_JOBS,
        endpoint_host: field(host)?,
        endpoint_port: port.parse().unwrap_or(0),
        vendor: field("ehash miner")?,
        hardware_version: field("CPU")?,
        firmware: field(env!("CARGO_PKG_VERSION"))?,
        device_id: field(device)?,
    };
    Ok(Frame::new(0, MESSAGE_TYPE_SETUP_CONNECTION, to_bytes(message)?))
}

/// OpenStandardMiningChannel for a miner that takes any target.
pub(super) fn open_channel(request_id: u32, identity: &str, hashrate: f32) -> Result<Frame, Malformed> {
    let message = OpenStandardMiningChannel {
        request_id,
        user_identity: field(identity)?,
        nominal_hash_rate: hashrate,
        max_target: U256::from(&[0xff; 32]),
    };
    Ok(Frame::new(
        0,
        MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL,
        to_bytes(message)?,
    ))
}

/// SubmitSharesStandard.
pub(super) fn submit(share: SubmitSharesStandard) -> Result<Frame, Malformed> {
    Ok(channel_frame(MESSAGE_TYPE_SUBMIT_SHARES_STANDARD, to_bytes(share)?))
}

/// CloseChannel, when this miner stops.
pub(super) fn close_channel(channel_id: u32) -> Result<Frame, Malformed> {
    let message = CloseChannel {
        channel_id,
        reason_code: field("stopped")?,
    };
    Ok(channel_frame(MESSAGE_TYPE_CLOSE_CHANNEL, to_bytes(message)?))
}

fn channel_frame(msg_type: u8, payload: Vec<u8>) -> Frame {
    Frame {
        channel_msg: true,
        ..Frame::new(0, msg_type, payload)
    }
}

fn field(text: &str) -> Result<Str0255<'_>, Malformed> {
    Ok(text.as_bytes().try_into()?)
}

/// Codes and reasons end up in a log: one line, and never an error of their own.
fn text(field: &Str0255<'_>) -> String {
    String::from_utf8_lossy(field.as_bytes())
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Targets travel in little-endian.
fn target(bytes: &U256<'_>) -> Target {
    Target::from_le_bytes(*bytes.as_array())
}
