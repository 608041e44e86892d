//! SetupConnection (SV2 specification, section 3.6) as both ends of the mint link use it: protocol 0, version 2, no flags.

use binary_sv2::{Str0255, from_bytes, to_bytes};
use common_messages_sv2::{
    ERROR_CODE_SETUP_CONNECTION_PROTOCOL_VERSION_MISMATCH, ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_FEATURE_FLAGS,
    ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL, MESSAGE_TYPE_SETUP_CONNECTION,
    MESSAGE_TYPE_SETUP_CONNECTION_ERROR, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, Protocol, SetupConnection,
    SetupConnectionError, SetupConnectionSuccess,
};

use crate::{
    error::{LinkError, Malformed},
    messages::cut,
};
use sv2_transport::Frame;

/// The only version of SV2 that there is.
pub const VERSION: u16 = 2;

/// How a mint introduces itself. Each text travels cut to 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Who made it.
    pub vendor: String,
    /// Which version of it.
    pub firmware: String,
    /// Which one of several.
    pub device_id: String,
}

impl Default for DeviceInfo {
    fn default() -> Self {
        Self {
            vendor: "ehash mint".to_owned(),
            firmware: env!("CARGO_PKG_VERSION").to_owned(),
            device_id: "mint-01".to_owned(),
        }
    }
}

fn field(text: &str) -> Result<Str0255<'_>, Malformed> {
    Ok(cut(text).as_bytes().try_into()?)
}

/// The mint's first message. `endpoint` is the pool's address as it was dialled.
pub(crate) fn setup_connection(device: &DeviceInfo, endpoint: &str) -> Result<Frame, Malformed> {
    let (host, port) = endpoint.rsplit_once(':').unwrap_or((endpoint, ""));
    let message = SetupConnection {
        protocol: Protocol::MiningProtocol,
        min_version: VERSION,
        max_version: VERSION,
        flags: 0,
        endpoint_host: field(host)?,
        endpoint_port: port.parse().unwrap_or(0),
        vendor: field(&device.vendor)?,
        hardware_version: field("")?,
        firmware: field(&device.firmware)?,
        device_id: field(&device.device_id)?,
    };
    Ok(Frame::new(0, MESSAGE_TYPE_SETUP_CONNECTION, to_bytes(message)?))
}

/// What the pool makes of a SetupConnection: the mint's introduction, or the error code to refuse it with.
pub(crate) fn judge_setup(mut payload: Vec<u8>) -> Result<DeviceInfo, &'static str> {
    // The only way to be malformed that has a code of its own is a protocol that does not exist.
    let message: SetupConnection<'_> =
        from_bytes(&mut payload).map_err(|_| ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL)?;
    if message.protocol != Protocol::MiningProtocol {
        return Err(ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL);
    }
    if message.get_version(VERSION, VERSION).is_none() {
        return Err(ERROR_CODE_SETUP_CONNECTION_PROTOCOL_VERSION_MISMATCH);
    }
    if message.flags != 0 {
        return Err(ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_FEATURE_FLAGS);
    }
    let text = |field: &Str0255<'_>| String::from_utf8_lossy(field.as_bytes()).into_owned();
    Ok(DeviceInfo {
        vendor: text(&message.vendor),
        firmware: text(&message.firmware),
        device_id: text(&message.device_id),
    })
}

/// The flags of a SetupConnection, to be named in a refusal.
pub(crate) fn flags_of(payload: &[u8]) -> u32 {
    // After the protocol (1 byte) and two versions (2 bytes each).
    payload
        .get(5..)
        .and_then(|rest| rest.first_chunk::<4>())
        .map_or(0, |flags| u32::from_le_bytes(*flags))
}

/// The pool's answer to a mint that may go on.
pub(crate) fn setup_success() -> Result<Frame, Malformed> {
    let message = SetupConnectionSuccess {
        used_version: VERSION,
        flags: 0,
    };
    Ok(Frame::new(0, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, to_bytes(message)?))
}

/// The pool's answer to one that may not. `flags` are those that it does not support.
pub(crate) fn setup_error(code: &str, flags: u32) -> Result<Frame, Malformed> {
    let message = SetupConnectionError {
        flags,
        error_code: field(code)?,
    };
    Ok(Frame::new(0, MESSAGE_TYPE_SETUP_CONNECTION_ERROR, to_bytes(message)?))
}

/// What the mint makes of a SetupConnection.Success.
pub(crate) fn accept_success(mut payload: Vec<u8>) -> Result<(), LinkError> {
    let message: SetupConnectionSuccess =
        from_bytes(&mut payload).map_err(|_| LinkError::SetupRefused("an answer cut short".to_owned()))?;
    match message.used_version {
        VERSION => Ok(()),
        other => Err(LinkError::Version(other)),
    }
}

/// What the mint makes of a SetupConnection.Error. Its code is a text of the pool's, for a line of the log.
pub(crate) fn refusal(mut payload: Vec<u8>) -> LinkError {
    let code = from_bytes::<SetupConnectionError<'_>>(&mut payload)
        .map(|message| {
            String::from_utf8_lossy(message.error_code.as_bytes())
                .escape_debug()
                .to_string()
        })
        .unwrap_or_else(|_| "no reason given".to_owned());
    LinkError::SetupRefused(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> DeviceInfo {
        DeviceInfo {
            vendor: "HashPool Mint".to_owned(),
            firmware: String::new(),
            device_id: "mint-01".to_owned(),
        }
    }

    /// A SetupConnection with its fixed fields replaced.
    fn altered(protocol: u8, min: u16, max: u16, flags: u32) -> Vec<u8> {
        let mut payload = setup_connection(&device(), "pool.example:34260").unwrap().payload;
        payload[0] = protocol;
        payload[1..3].copy_from_slice(&min.to_le_bytes());
        payload[3..5].copy_from_slice(&max.to_le_bytes());
        payload[5..9].copy_from_slice(&flags.to_le_bytes());
        payload
    }

    #[test]
    fn a_setup_is_judged_by_protocol_version_and_flags() {
        assert_eq!(judge_setup(altered(0, 2, 2, 0)), Ok(device()));
        assert_eq!(judge_setup(altered(0, 1, 3, 0)), Ok(device()));
        for protocol in [1, 2, 3] {
            assert_eq!(judge_setup(altered(protocol, 2, 2, 0)), Err("unsupported-protocol"));
        }
        assert_eq!(judge_setup(altered(0, 3, 4, 0)), Err("protocol-version-mismatch"));
        assert_eq!(judge_setup(altered(0, 0, 1, 0)), Err("protocol-version-mismatch"));
        assert_eq!(judge_setup(altered(0, 2, 2, 4)), Err("unsupported-feature-flags"));
        assert_eq!(flags_of(&altered(0, 2, 2, 4)), 4);
        assert_eq!(flags_of(&[0; 3]), 0);
        assert!(judge_setup(vec![0; 8]).is_err());
    }

    #[test]
    fn answers_are_understood() {
        assert!(accept_success(setup_success().unwrap().payload).is_ok());
        assert!(matches!(
            accept_success(vec![3, 0, 0, 0, 0, 0]),
            Err(LinkError::Version(3))
        ));
        assert!(matches!(accept_success(vec![2]), Err(LinkError::SetupRefused(_))));
        let error = setup_error("unsupported-protocol", 0).unwrap();
        assert!(matches!(refusal(error.payload), LinkError::SetupRefused(code) if code == "unsupported-protocol"));
        assert!(matches!(refusal(vec![]), LinkError::SetupRefused(_)));
        let two_lines = refusal(setup_error("no\n2026 INFO all is well\u{1b}[2K", 0).unwrap().payload).to_string();
        assert!(!two_lines.chars().any(char::is_control), "{two_lines}");
    }
}
