//! Shares: as they come, as they are judged, and what makes two of them the same.

use bitcoin::Target;
use channels_sv2::server::share_accounting::ShareValidationError;
use mining_sv2::{ERROR_CODE_SUBMIT_SHARES_INVALID_JOB_ID, SubmitSharesExtendedOwned, SubmitSharesStandard};
use template_distribution_sv2::SubmitSolutionOwned;

use super::channel::unexpected;
use crate::amount::HeaderHash;

/// A share as it came.
#[derive(Debug, Clone)]
pub(crate) enum Share {
    Standard(SubmitSharesStandard),
    Extended(SubmitSharesExtendedOwned),
}

/// What makes two submissions the same share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShareKey {
    pub(super) job_id: u32,
    pub(super) nonce: u32,
    pub(super) ntime: u32,
    pub(super) version: u32,
    extranonce: Vec<u8>,
}

/// A share that is right: it may be stored, and be acknowledged then.
#[derive(Debug, Clone)]
pub(crate) struct ValidShare {
    pub(crate) key: ShareKey,
    pub(crate) hash: HeaderHash,
    /// The target that it was judged by.
    pub(crate) target: Target,
    /// A block, unless it was handed over before.
    pub(crate) solution: Option<SubmitSolutionOwned>,
    /// It came before, and may have been stored although that failed.
    pub(crate) maybe_stored: bool,
}

/// Why a share is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// To be told with this code.
    Refused(&'static str),
    /// The channel has had more shares for one tip than it can tell apart from repeated ones: it must close.
    Exhausted,
}

impl Share {
    pub(crate) fn channel_id(&self) -> u32 {
        match self {
            Self::Standard(share) => share.channel_id,
            Self::Extended(share) => share.channel_id,
        }
    }

    pub(crate) fn sequence_number(&self) -> u32 {
        match self {
            Self::Standard(share) => share.sequence_number,
            Self::Extended(share) => share.sequence_number,
        }
    }

    pub(super) fn key(&self) -> ShareKey {
        match self {
            Self::Standard(share) => ShareKey {
                job_id: share.job_id,
                nonce: share.nonce,
                ntime: share.ntime,
                version: share.version,
                extranonce: Vec::new(),
            },
            Self::Extended(share) => ShareKey {
                job_id: share.job_id,
                nonce: share.nonce,
                ntime: share.ntime,
                version: share.version,
                extranonce: share.extranonce.to_owned_bytes(),
            },
        }
    }
}

impl From<ShareValidationError> for Unfit {
    fn from(error: ShareValidationError) -> Self {
        use ShareValidationError as Error;
        match error {
            Error::Invalid(code)
            | Error::Stale(code)
            | Error::InvalidJobId(code)
            | Error::DoesNotMeetTarget(code)
            | Error::VersionRollingNotAllowed(code)
            | Error::DuplicateShare(code)
            | Error::BadExtranonceSize(code) => Self::Refused(code),
            Error::NoChainTip => Self::Refused(ERROR_CODE_SUBMIT_SHARES_INVALID_JOB_ID),
            Error::InvalidCoinbase => Self::Refused(unexpected("a share", &error)),
            Error::SeenSharesBudgetExhausted => Self::Exhausted,
        }
    }
}
