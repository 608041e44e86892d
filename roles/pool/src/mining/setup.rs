//! SetupConnection and the negotiation of extensions, at the pool's end of a miner's connection.

use binary_sv2::{from_bytes, to_bytes};
use common_messages_sv2::{
    ERROR_CODE_SETUP_CONNECTION_PROTOCOL_VERSION_MISMATCH, ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_FEATURE_FLAGS,
    ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL, MESSAGE_TYPE_SETUP_CONNECTION_ERROR,
    MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, Protocol, SetupConnection, SetupConnectionErrorOwned,
    SetupConnectionSuccess,
};
use mint_link::{ExtensionMessage, VERSION};
use sv2_transport::Frame;

/// The miner wants a job of its own for each standard channel (SV2 specification, section 5.3.1).
const REQUIRES_STANDARD_JOBS: u32 = 1;
/// The miner wants to roll the version, which is always allowed here.
const REQUIRES_VERSION_ROLLING: u32 = 1 << 2;

/// What a miner has said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) standard_jobs: bool,
}

/// Why a miner's SetupConnection is refused: the code, and the flags that are not supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    flags: u32,
}

impl Setup {
    /// Judges the payload of a SetupConnection. Work selection (job declaration) is the one feature that is not
    /// supported.
    pub(crate) fn judge(mut payload: Vec<u8>) -> Result<Self, Refusal> {
        let refused = |code| Refusal { code, flags: 0 };
        // Of its fields only the protocol has a code of its own for a value that does not exist.
        let message: SetupConnection<'_> =
            from_bytes(&mut payload).map_err(|_| refused(ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL))?;
        if message.protocol != Protocol::MiningProtocol {
            return Err(refused(ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL));
        }
        if message.get_version(VERSION, VERSION).is_none() {
            return Err(refused(ERROR_CODE_SETUP_CONNECTION_PROTOCOL_VERSION_MISMATCH));
        }
        let unsupported = message.flags & !(REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING);
        if unsupported != 0 {
            return Err(Refusal {
                code: ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_FEATURE_FLAGS,
                flags: unsupported,
            });
        }
        Ok(Self {
            standard_jobs: message.flags & REQUIRES_STANDARD_JOBS != 0,
        })
    }
}

/// SetupConnection.Success: version 2, and nothing that a miner must not do.
pub(crate) fn success() -> Result<Frame, binary_sv2::Error> {
    let message = SetupConnectionSuccess {
        used_version: VERSION,
        flags: 0,
    };
    Ok(Frame::new(0, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, to_bytes(message)?))
}

/// SetupConnection.Error.
pub(crate) fn error(refusal: Refusal) -> Result<Frame, binary_sv2::Error> {
    let message = SetupConnectionErrorOwned {
        flags: refusal.flags,
        error_code: refusal.code.as_bytes().to_vec().try_into()?,
    };
    Ok(Frame::new(0, MESSAGE_TYPE_SETUP_CONNECTION_ERROR, to_bytes(message)?))
}

/// The answer to RequestExtensions, and whether the quotes' extension is on after it. Only that one is for miners.
/// `None` for a message that a miner does not send.
pub(crate) fn negotiate(message: ExtensionMessage, quotes: u16) -> Option<(ExtensionMessage, bool)> {
    let ExtensionMessage::Request { request_id, requested } = message else {
        return None;
    };
    let granted = requested.contains(&quotes);
    let answer = if granted {
        ExtensionMessage::Success {
            request_id,
            supported: vec![quotes],
        }
    } else {
        ExtensionMessage::Error {
            request_id,
            unsupported: requested,
            required: Vec::new(),
        }
    };
    Some((answer, granted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common_messages_sv2::SetupConnectionOwned;

    fn setup(protocol: Protocol, versions: (u16, u16), flags: u32) -> Vec<u8> {
        let text = || "x".to_owned().into_bytes().try_into().unwrap();
        to_bytes(SetupConnectionOwned {
            protocol,
            min_version: versions.0,
            max_version: versions.1,
            flags,
            endpoint_host: text(),
            endpoint_port: 1,
            vendor: text(),
            hardware_version: text(),
            firmware: text(),
            device_id: text(),
        })
        .unwrap()
    }

    #[test]
    fn miners_of_version_2_without_work_selection_may_come_in() {
        let judge = |protocol, versions, flags| Setup::judge(setup(protocol, versions, flags));
        let ok = |standard_jobs| Ok(Setup { standard_jobs });
        assert_eq!(judge(Protocol::MiningProtocol, (2, 2), 0), ok(false));
        assert_eq!(judge(Protocol::MiningProtocol, (1, 9), 0b101), ok(true));
        let refused = |code, flags| Err(Refusal { code, flags });
        assert_eq!(
            judge(Protocol::MiningProtocol, (2, 2), 0b1011),
            refused("unsupported-feature-flags", 0b1010)
        );
        assert_eq!(
            judge(Protocol::MiningProtocol, (3, 4), 0),
            refused("protocol-version-mismatch", 0)
        );
        assert_eq!(
            judge(Protocol::TemplateDistributionProtocol, (2, 2), 0),
            refused("unsupported-protocol", 0)
        );
        assert_eq!(Setup::judge(vec![0, 2]), refused("unsupported-protocol", 0));
        assert!(error(Refusal { code: "x", flags: 2 }).is_ok());
        assert!(success().is_ok());
    }

    #[test]
    fn only_the_extension_for_quotes_is_granted() {
        let ask = |requested: &[u16]| {
            let request = ExtensionMessage::Request {
                request_id: 7,
                requested: requested.to_vec(),
            };
            negotiate(request, 0x4D51).unwrap()
        };
        let success = ExtensionMessage::Success {
            request_id: 7,
            supported: vec![0x4D51],
        };
        assert_eq!(ask(&[2, 0x4D51]), (success.clone(), true));
        let error = ExtensionMessage::Error {
            request_id: 7,
            unsupported: vec![2],
            required: vec![],
        };
        assert_eq!(ask(&[2]), (error, false));
        assert_eq!(negotiate(success, 0x4D51), None);
    }
}
