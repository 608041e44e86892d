//! Extension negotiation (SV2 extension 0x0001) and the three extensions that this link can negotiate by it.

use binary_sv2::{Seq064K, from_bytes, to_bytes};
use extensions_sv2::{
    EXTENSION_TYPE_EXTENSIONS_NEGOTIATION, MESSAGE_TYPE_REQUEST_EXTENSIONS, MESSAGE_TYPE_REQUEST_EXTENSIONS_ERROR,
    MESSAGE_TYPE_REQUEST_EXTENSIONS_SUCCESS, RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess,
};
use serde::Deserialize;

use sv2_transport::Frame;

use crate::error::Malformed;

/// The numbers of the extensions, configurable since SV2's experimental range belongs to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawIds")]
pub struct ExtensionIds {
    /// Mint statistics: 0x83 and 0x84.
    pub stats: u16,
    /// Mint proof: 0x85.
    pub proof: u16,
    /// Ehash quotes: 0x82 tells which quote it refuses, and why.
    pub quotes: u16,
}

/// [`ExtensionIds`] that can't be told apart or belong to somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtensionIdsError {
    /// Outside SV2's experimental range.
    #[error("extension number {0:#06x}: allowed are 0x4000 to 0x7fff")]
    Range(u16),
    /// One number for two extensions.
    #[error("extension number {0:#06x} stands for two extensions: expected a number of its own for each")]
    Repeated(u16),
}

impl Default for ExtensionIds {
    fn default() -> Self {
        Self {
            stats: stats_push::EXTENSION_TYPE,
            proof: 0x4D50,
            quotes: 0x4D51,
        }
    }
}

impl ExtensionIds {
    /// The numbers, if they differ and lie in SV2's experimental range, 0x4000 to 0x7fff.
    pub fn new(stats: u16, proof: u16, quotes: u16) -> Result<Self, ExtensionIdsError> {
        let ids = Self { stats, proof, quotes };
        if let Some(outside) = ids.all().into_iter().find(|id| !(0x4000..0x8000).contains(id)) {
            return Err(ExtensionIdsError::Range(outside));
        }
        if stats == proof || stats == quotes {
            return Err(ExtensionIdsError::Repeated(stats));
        }
        if proof == quotes {
            return Err(ExtensionIdsError::Repeated(proof));
        }
        Ok(ids)
    }

    pub(crate) fn all(&self) -> [u16; 3] {
        [self.stats, self.proof, self.quotes]
    }

    /// Those of ours that `list` names.
    pub(crate) fn among(&self, list: &[u16]) -> Extensions {
        Extensions {
            stats: list.contains(&self.stats),
            proof: list.contains(&self.proof),
            quotes: list.contains(&self.quotes),
        }
    }

    pub(crate) fn list(&self, extensions: Extensions) -> Vec<u16> {
        let Extensions { stats, proof, quotes } = extensions;
        [(self.stats, stats), (self.proof, proof), (self.quotes, quotes)]
            .into_iter()
            .filter_map(|(id, on)| on.then_some(id))
            .collect()
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawIds {
    stats: u16,
    proof: u16,
    quotes: u16,
}

impl Default for RawIds {
    fn default() -> Self {
        let ExtensionIds { stats, proof, quotes } = ExtensionIds::default();
        Self { stats, proof, quotes }
    }
}

impl TryFrom<RawIds> for ExtensionIds {
    type Error = ExtensionIdsError;

    fn try_from(raw: RawIds) -> Result<Self, ExtensionIdsError> {
        Self::new(raw.stats, raw.proof, raw.quotes)
    }
}

/// Which of the extensions are on in a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Extensions {
    /// The mint pushes its statistics (0x4D53).
    pub stats: bool,
    /// The mint proves who it is (0x4D50).
    pub proof: bool,
    /// Refusals of quotes tell which and why (0x4D51). Without it only one quote can be outstanding.
    pub quotes: bool,
}

impl Extensions {
    pub(crate) const ALL: Self = Self {
        stats: true,
        proof: true,
        quotes: true,
    };

    pub(crate) fn any(self) -> bool {
        self != Self::default()
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            stats: self.stats && other.stats,
            proof: self.proof && other.proof,
            quotes: self.quotes && other.quotes,
        }
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            stats: self.stats || other.stats,
            proof: self.proof || other.proof,
            quotes: self.quotes || other.quotes,
        }
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self {
            stats: self.stats && !other.stats,
            proof: self.proof && !other.proof,
            quotes: self.quotes && !other.quotes,
        }
    }
}

/// One of the three messages of extension 0x0001, by which mint and pool negotiate, and pool and miner too. Lists are of
/// extension numbers, up to 65,535 of them as far as a frame has room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtensionMessage {
    /// RequestExtensions, from the one who connected: may these be on?
    Request {
        /// The asker's own; the answer repeats it.
        request_id: u16,
        /// What is asked for.
        requested: Vec<u16>,
    },
    /// RequestExtensions.Success: these of the requested are on from here.
    Success {
        /// That of the request.
        request_id: u16,
        /// What is on.
        supported: Vec<u16>,
    },
    /// RequestExtensions.Error: nothing is on.
    Error {
        /// That of the request.
        request_id: u16,
        /// Those of the requested that are not supported.
        unsupported: Vec<u16>,
        /// What must be requested too.
        required: Vec<u16>,
    },
}

impl ExtensionMessage {
    /// The extension type of its frames, 0x0001.
    pub const EXTENSION_TYPE: u16 = EXTENSION_TYPE_EXTENSIONS_NEGOTIATION;

    /// The frame that carries it.
    ///
    /// # Errors
    /// [`Malformed`]: a list above 65,535.
    pub fn to_frame(&self) -> Result<Frame, Malformed> {
        let (msg_type, payload) = match self {
            Self::Request { request_id, requested } => {
                let message = RequestExtensions {
                    request_id: *request_id,
                    requested_extensions: Seq064K::new(requested.clone())?,
                };
                (MESSAGE_TYPE_REQUEST_EXTENSIONS, to_bytes(message)?)
            }
            Self::Success { request_id, supported } => {
                let message = RequestExtensionsSuccess {
                    request_id: *request_id,
                    supported_extensions: Seq064K::new(supported.clone())?,
                };
                (MESSAGE_TYPE_REQUEST_EXTENSIONS_SUCCESS, to_bytes(message)?)
            }
            Self::Error {
                request_id,
                unsupported,
                required,
            } => {
                let message = RequestExtensionsError {
                    request_id: *request_id,
                    unsupported_extensions: Seq064K::new(unsupported.clone())?,
                    required_extensions: Seq064K::new(required.clone())?,
                };
                (MESSAGE_TYPE_REQUEST_EXTENSIONS_ERROR, to_bytes(message)?)
            }
        };
        Ok(Frame::new(Self::EXTENSION_TYPE, msg_type, payload))
    }

    /// The request that this answers.
    pub(crate) fn answers(&self) -> Option<u16> {
        match self {
            Self::Request { .. } => None,
            Self::Success { request_id, .. } | Self::Error { request_id, .. } => Some(*request_id),
        }
    }

    /// Reads the payload of a frame of extension 0x0001.
    ///
    /// # Errors
    /// [`Malformed`]: cut short, or a type that the extension does not have.
    pub fn decode(msg_type: u8, mut payload: Vec<u8>) -> Result<Self, Malformed> {
        match msg_type {
            MESSAGE_TYPE_REQUEST_EXTENSIONS => {
                let message: RequestExtensions<'_> = from_bytes(&mut payload)?;
                Ok(Self::Request {
                    request_id: message.request_id,
                    requested: message.requested_extensions.into_inner(),
                })
            }
            MESSAGE_TYPE_REQUEST_EXTENSIONS_SUCCESS => {
                let message: RequestExtensionsSuccess<'_> = from_bytes(&mut payload)?;
                Ok(Self::Success {
                    request_id: message.request_id,
                    supported: message.supported_extensions.into_inner(),
                })
            }
            MESSAGE_TYPE_REQUEST_EXTENSIONS_ERROR => {
                let message: RequestExtensionsError<'_> = from_bytes(&mut payload)?;
                Ok(Self::Error {
                    request_id: message.request_id,
                    unsupported: message.unsupported_extensions.into_inner(),
                    required: message.required_extensions.into_inner(),
                })
            }
            _ => Err(Malformed::Type(msg_type)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ_and_are_experimental() {
        let ids = ExtensionIds::default();
        assert_eq!(ids.all(), [0x4D53, 0x4D50, 0x4D51]);
        assert_eq!(ExtensionIds::new(0x4D53, 0x4D50, 0x4D51), Ok(ids));
        assert!(ExtensionIds::new(0x4000, 0x7fff, 0x4D51).is_ok());
        assert_eq!(ExtensionIds::new(1, 0x4D50, 0x4D51), Err(ExtensionIdsError::Range(1)));
        assert_eq!(
            ExtensionIds::new(0x4001, 0x8000, 0x4D51),
            Err(ExtensionIdsError::Range(0x8000))
        );
        for (stats, proof, quotes) in [
            (0x4001, 0x4001, 0x4002),
            (0x4001, 0x4002, 0x4001),
            (0x4002, 0x4001, 0x4001),
        ] {
            assert_eq!(
                ExtensionIds::new(stats, proof, quotes),
                Err(ExtensionIdsError::Repeated(0x4001))
            );
        }
    }

    #[test]
    fn the_messages_of_negotiation_round_trip() {
        let messages = [
            ExtensionMessage::Request {
                request_id: 1,
                requested: vec![0x4D53, 2],
            },
            ExtensionMessage::Success {
                request_id: 2,
                supported: vec![],
            },
            ExtensionMessage::Error {
                request_id: 3,
                unsupported: vec![2],
                required: vec![0x4D50],
            },
        ];
        for message in messages {
            let frame = message.to_frame().unwrap();
            assert_eq!(frame.extension_type, ExtensionMessage::EXTENSION_TYPE);
            assert!(ExtensionMessage::decode(frame.msg_type, vec![0]).is_err());
            assert_eq!(
                ExtensionMessage::decode(frame.msg_type, frame.payload).unwrap(),
                message
            );
        }
        assert_eq!(ExtensionMessage::decode(3, vec![0; 9]), Err(Malformed::Type(3)));
    }

    #[test]
    fn sets_of_extensions() {
        let ids = ExtensionIds::default();
        let some = ids.among(&[2, 0x4D53, 0x4D51]);
        assert_eq!(
            some,
            Extensions {
                stats: true,
                proof: false,
                quotes: true
            }
        );
        assert_eq!(ids.list(some), [0x4D53, 0x4D51]);
        assert_eq!(Extensions::ALL.without(some), ids.among(&[0x4D50]));
        assert_eq!(some.and(ids.among(&[0x4D53])), ids.among(&[0x4D53]));
        assert_eq!(some.or(ids.among(&[0x4D50])), Extensions::ALL);
        assert!(some.any() && !Extensions::default().any());
    }
}
