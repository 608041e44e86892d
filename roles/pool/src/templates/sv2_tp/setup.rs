//! SetupConnection as a client of a template provider says it (SV2 specification, section 3.6), and what follows at once:
//! how much room the pool needs in the coinbase transaction. Without that a provider gives no template.

use binary_sv2::{from_bytes, to_bytes};
use common_messages_sv2::{
    MESSAGE_TYPE_SETUP_CONNECTION, MESSAGE_TYPE_SETUP_CONNECTION_ERROR, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS,
    Protocol, SetupConnection, SetupConnectionError, SetupConnectionSuccess,
};
use futures::{SinkExt as _, StreamExt as _};
use sv2_transport::{Frame, Secured};
use template_distribution_sv2::{CoinbaseOutputConstraints, MESSAGE_TYPE_COINBASE_OUTPUT_CONSTRAINTS};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::templates::client::SourceError;

/// The only version of SV2 that there is.
const VERSION: u16 = 2;

/// Introduces the pool to the provider at `address`.
pub(super) async fn set_up<S: AsyncRead + AsyncWrite>(
    secured: &mut Secured<S>,
    address: &str,
    constraints: CoinbaseOutputConstraints,
) -> Result<(), SourceError> {
    secured.writer.send(setup_connection(address)?).await?;
    let mut answer = secured.reader.next().await.ok_or(SourceError::Closed)??;
    match answer.msg_type {
        MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS => {
            let success: SetupConnectionSuccess = from_bytes(&mut answer.payload)?;
            if success.used_version != VERSION {
                return Err(SourceError::Version(success.used_version));
            }
        }
        MESSAGE_TYPE_SETUP_CONNECTION_ERROR => {
            let error: SetupConnectionError<'_> = from_bytes(&mut answer.payload)?;
            return Err(SourceError::Refused(error.error_code.as_utf8_or_hex()));
        }
        other => return Err(SourceError::NoAnswer(other)),
    }
    let constraints = to_bytes(constraints)?;
    let constraints = Frame::new(0, MESSAGE_TYPE_COINBASE_OUTPUT_CONSTRAINTS, constraints);
    Ok(secured.writer.send(constraints).await?)
}

fn setup_connection(address: &str) -> Result<Frame, binary_sv2::Error> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let message = SetupConnection {
        protocol: Protocol::TemplateDistributionProtocol,
        min_version: VERSION,
        max_version: VERSION,
        flags: 0,
        endpoint_host: host.try_into()?,
        endpoint_port: port.parse().unwrap_or(0),
        vendor: "ehash pool".try_into()?,
        hardware_version: "".try_into()?,
        firmware: env!("CARGO_PKG_VERSION").try_into()?,
        device_id: "".try_into()?,
    };
    Ok(Frame::new(0, MESSAGE_TYPE_SETUP_CONNECTION, to_bytes(message)?))
}
