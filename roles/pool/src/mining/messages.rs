//! Messages of the Mining Protocol (SV2 specification, section 5) to and from frames.

use binary_sv2::{Encodable, GetSize, U256Owned, from_bytes, to_bytes};
use bitcoin::Target;
use mining_sv2::{
    CHANNEL_BIT_CLOSE_CHANNEL, CHANNEL_BIT_MINING_SET_NEW_PREV_HASH, CHANNEL_BIT_NEW_EXTENDED_MINING_JOB,
    CHANNEL_BIT_NEW_MINING_JOB, CHANNEL_BIT_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS,
    CHANNEL_BIT_OPEN_MINING_CHANNEL_ERROR, CHANNEL_BIT_OPEN_STANDARD_MINING_CHANNEL_SUCCESS,
    CHANNEL_BIT_SET_CUSTOM_MINING_JOB_ERROR, CHANNEL_BIT_SET_TARGET, CHANNEL_BIT_SUBMIT_SHARES_ERROR,
    CHANNEL_BIT_SUBMIT_SHARES_SUCCESS, CHANNEL_BIT_UPDATE_CHANNEL_ERROR, CloseChannel, CloseChannelOwned,
    MESSAGE_TYPE_CLOSE_CHANNEL, MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH, MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB,
    MESSAGE_TYPE_NEW_MINING_JOB, MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL,
    MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS, MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR,
    MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL, MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS,
    MESSAGE_TYPE_SET_CUSTOM_MINING_JOB, MESSAGE_TYPE_SET_CUSTOM_MINING_JOB_ERROR, MESSAGE_TYPE_SET_TARGET,
    MESSAGE_TYPE_SUBMIT_SHARES_ERROR, MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, MESSAGE_TYPE_SUBMIT_SHARES_STANDARD,
    MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS, MESSAGE_TYPE_UPDATE_CHANNEL, MESSAGE_TYPE_UPDATE_CHANNEL_ERROR,
    NewExtendedMiningJobOwned, NewMiningJobOwned, OpenExtendedMiningChannel, OpenExtendedMiningChannelOwned,
    OpenExtendedMiningChannelSuccessOwned, OpenMiningChannelErrorOwned, OpenStandardMiningChannel,
    OpenStandardMiningChannelOwned, OpenStandardMiningChannelSuccessOwned, SetCustomMiningJob,
    SetCustomMiningJobErrorOwned, SetCustomMiningJobOwned, SetNewPrevHashOwned, SetTargetOwned, SubmitSharesErrorOwned,
    SubmitSharesExtended, SubmitSharesExtendedOwned, SubmitSharesStandard, SubmitSharesSuccess, UpdateChannel,
    UpdateChannelErrorOwned, UpdateChannelOwned,
};
use sv2_transport::Frame;
use tracing::error;

/// What a miner may say once its connection is set up.
#[derive(Debug, Clone)]
pub(crate) enum FromMiner {
    OpenStandard(OpenStandardMiningChannelOwned),
    OpenExtended(OpenExtendedMiningChannelOwned),
    Update(UpdateChannelOwned),
    Close(CloseChannelOwned),
    SubmitStandard(SubmitSharesStandard),
    SubmitExtended(SubmitSharesExtendedOwned),
    CustomJob(SetCustomMiningJobOwned),
}

/// Why a frame is not one of them.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("message type {0:#04x}, which a miner does not send")]
    Unknown(u8),
    #[error("message type {0:#04x} cut short or with a field beyond its bounds: {1:?}")]
    Malformed(u8, binary_sv2::Error),
}

impl FromMiner {
    /// Reads the payload of a frame of extension 0. What follows the last field is ignored.
    pub(crate) fn decode(msg_type: u8, mut payload: Vec<u8>) -> Result<Self, Unreadable> {
        let payload = payload.as_mut_slice();
        let read = match msg_type {
            MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL => {
                from_bytes::<OpenStandardMiningChannel<'_>>(payload).map(|m| Self::OpenStandard(m.into_owned()))
            }
            MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL => {
                from_bytes::<OpenExtendedMiningChannel<'_>>(payload).map(|m| Self::OpenExtended(m.into_owned()))
            }
            MESSAGE_TYPE_UPDATE_CHANNEL => {
                from_bytes::<UpdateChannel<'_>>(payload).map(|m| Self::Update(m.into_owned()))
            }
            MESSAGE_TYPE_CLOSE_CHANNEL => from_bytes::<CloseChannel<'_>>(payload).map(|m| Self::Close(m.into_owned())),
            MESSAGE_TYPE_SUBMIT_SHARES_STANDARD => {
                from_bytes::<SubmitSharesStandard>(payload).map(Self::SubmitStandard)
            }
            MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED => {
                from_bytes::<SubmitSharesExtended<'_>>(payload).map(|m| Self::SubmitExtended(m.into_owned()))
            }
            MESSAGE_TYPE_SET_CUSTOM_MINING_JOB => {
                from_bytes::<SetCustomMiningJob<'_>>(payload).map(|m| Self::CustomJob(m.into_owned()))
            }
            unknown => return Err(Unreadable::Unknown(unknown)),
        };
        read.map_err(|error| Unreadable::Malformed(msg_type, error))
    }
}

/// What the pool says to a miner.
#[derive(Debug, Clone)]
pub(crate) enum ToMiner {
    StandardOpened(OpenStandardMiningChannelSuccessOwned),
    ExtendedOpened(OpenExtendedMiningChannelSuccessOwned),
    OpenError {
        request_id: u32,
        code: &'static str,
    },
    UpdateError {
        channel_id: u32,
        code: &'static str,
    },
    Close {
        channel_id: u32,
        reason: &'static str,
    },
    SetTarget {
        channel_id: u32,
        target: Target,
    },
    Job(NewMiningJobOwned),
    ExtendedJob(NewExtendedMiningJobOwned),
    PrevHash(SetNewPrevHashOwned),
    Accepted(SubmitSharesSuccess),
    Refused {
        channel_id: u32,
        sequence_number: u32,
        code: &'static str,
    },
    CustomJobError {
        channel_id: u32,
        request_id: u32,
        code: &'static str,
    },
}

impl ToMiner {
    /// The frame that carries it; `None`, logged, for one that can't be encoded, which none of ours can be.
    pub(crate) fn to_frame(&self) -> Option<Frame> {
        self.try_to_frame()
            .inspect_err(|error| error!(?error, message = ?self, "a message to a miner can't be encoded"))
            .ok()
    }

    fn try_to_frame(&self) -> Result<Frame, binary_sv2::Error> {
        match self.clone() {
            Self::StandardOpened(message) => encode(
                MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS,
                CHANNEL_BIT_OPEN_STANDARD_MINING_CHANNEL_SUCCESS,
                message,
            ),
            Self::ExtendedOpened(message) => encode(
                MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS,
                CHANNEL_BIT_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS,
                message,
            ),
            Self::OpenError { request_id, code } => encode(
                MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR,
                CHANNEL_BIT_OPEN_MINING_CHANNEL_ERROR,
                OpenMiningChannelErrorOwned {
                    request_id,
                    error_code: text(code)?,
                },
            ),
            Self::UpdateError { channel_id, code } => encode(
                MESSAGE_TYPE_UPDATE_CHANNEL_ERROR,
                CHANNEL_BIT_UPDATE_CHANNEL_ERROR,
                UpdateChannelErrorOwned {
                    channel_id,
                    error_code: text(code)?,
                },
            ),
            Self::Close { channel_id, reason } => encode(
                MESSAGE_TYPE_CLOSE_CHANNEL,
                CHANNEL_BIT_CLOSE_CHANNEL,
                CloseChannelOwned {
                    channel_id,
                    reason_code: text(reason)?,
                },
            ),
            Self::SetTarget { channel_id, target } => encode(
                MESSAGE_TYPE_SET_TARGET,
                CHANNEL_BIT_SET_TARGET,
                SetTargetOwned {
                    channel_id,
                    maximum_target: wire_target(target),
                },
            ),
            Self::Job(message) => encode(MESSAGE_TYPE_NEW_MINING_JOB, CHANNEL_BIT_NEW_MINING_JOB, message),
            Self::ExtendedJob(message) => encode(
                MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB,
                CHANNEL_BIT_NEW_EXTENDED_MINING_JOB,
                message,
            ),
            Self::PrevHash(message) => encode(
                MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH,
                CHANNEL_BIT_MINING_SET_NEW_PREV_HASH,
                message,
            ),
            Self::Accepted(message) => encode(
                MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS,
                CHANNEL_BIT_SUBMIT_SHARES_SUCCESS,
                message,
            ),
            Self::Refused {
                channel_id,
                sequence_number,
                code,
            } => encode(
                MESSAGE_TYPE_SUBMIT_SHARES_ERROR,
                CHANNEL_BIT_SUBMIT_SHARES_ERROR,
                SubmitSharesErrorOwned {
                    channel_id,
                    sequence_number,
                    error_code: text(code)?,
                },
            ),
            Self::CustomJobError {
                channel_id,
                request_id,
                code,
            } => encode(
                MESSAGE_TYPE_SET_CUSTOM_MINING_JOB_ERROR,
                CHANNEL_BIT_SET_CUSTOM_MINING_JOB_ERROR,
                SetCustomMiningJobErrorOwned {
                    channel_id,
                    request_id,
                    error_code: text(code)?,
                },
            ),
        }
    }
}

/// A target as it travels: 32 bytes, little-endian.
pub(crate) fn wire_target(target: Target) -> U256Owned {
    target.to_le_bytes().into()
}

/// The target that 32 bytes off the wire are.
pub(crate) fn target_of(wire: &U256Owned) -> Target {
    Target::from_le_bytes(wire.to_array())
}

fn text<T: TryFrom<Vec<u8>, Error = binary_sv2::Error>>(text: &str) -> Result<T, binary_sv2::Error> {
    text.as_bytes().to_vec().try_into()
}

fn encode<M: Encodable + GetSize>(msg_type: u8, channel_msg: bool, message: M) -> Result<Frame, binary_sv2::Error> {
    Ok(Frame {
        channel_msg,
        ..Frame::new(0, msg_type, to_bytes(message)?)
    })
}
