//! The SV2 template provider, `sv2-tp` or any other, over Noise (SV2 specification, section 7).

mod setup;

use std::sync::Arc;
use std::time::Duration;

use binary_sv2::{from_bytes, to_bytes};
use futures::{SinkExt as _, StreamExt as _};
use sv2_transport::{Connector, Frame, Secured, Tcp, initiate, initiate_unpinned};
use template_distribution_sv2::{
    CoinbaseOutputConstraints, MESSAGE_TYPE_NEW_TEMPLATE, MESSAGE_TYPE_SET_NEW_PREV_HASH, MESSAGE_TYPE_SUBMIT_SOLUTION,
    NewTemplate, SetNewPrevHash, SubmitSolutionOwned,
};
use tracing::debug;

use super::client::{Dial, Peer, Said, SourceError, within};
use super::config::Sv2TpSection;

/// Dials a provider.
pub(super) struct Provider {
    config: Sv2TpSection,
    constraints: CoinbaseOutputConstraints,
}

impl Provider {
    pub(super) fn new(config: Sv2TpSection, constraints: CoinbaseOutputConstraints) -> Self {
        Self { config, constraints }
    }
}

impl Dial for Provider {
    type Peer = Connection;

    fn target(&self) -> String {
        self.config.address.clone()
    }

    fn silence_timeout(&self) -> Option<Duration> {
        Some(self.config.silence_timeout)
    }

    async fn dial(&self) -> Result<Connection, SourceError> {
        let (address, step) = (self.config.address.as_str(), self.config.step_timeout);
        let connecting = within("connecting", step, Tcp.connect(address)).await?;
        let (stream, peer) = connecting.map_err(SourceError::Connect)?;
        let mut secured = match self.config.authority_key {
            Some(key) => within("the handshake", step, initiate(stream, key, Arc::default())).await??,
            // What a name leads to is known only now.
            None if peer.ip().is_loopback() => {
                within("the handshake", step, initiate_unpinned(stream, Arc::default())).await??
            }
            None => return Err(SourceError::Unpinned(peer)),
        };
        let setting_up = setup::set_up(&mut secured, address, self.constraints);
        within("the setup", step, setting_up).await??;
        Ok(Connection { secured, step })
    }
}

/// A connection that is set up.
pub(super) struct Connection {
    secured: Secured<<Tcp as Connector>::Stream>,
    step: Duration,
}

impl Peer for Connection {
    async fn next(&mut self) -> Result<Said, SourceError> {
        let mut frame = self.secured.reader.next().await.ok_or(SourceError::Closed)??;
        match (frame.extension_type, frame.msg_type) {
            (0, MESSAGE_TYPE_NEW_TEMPLATE) => {
                let template: NewTemplate<'_> = from_bytes(&mut frame.payload)?;
                Ok(Said::Template(template.into_owned()))
            }
            (0, MESSAGE_TYPE_SET_NEW_PREV_HASH) => {
                let tip: SetNewPrevHash<'_> = from_bytes(&mut frame.payload)?;
                Ok(Said::Tip(tip.into_owned()))
            }
            // What an extension adds is to be discarded by who does not know it (section 3.4).
            _ => {
                debug!(?frame, "a message that the pool has no use for");
                Ok(Said::Other)
            }
        }
    }

    async fn submit(&mut self, solution: SubmitSolutionOwned) -> Result<(), SourceError> {
        let frame = Frame::new(0, MESSAGE_TYPE_SUBMIT_SOLUTION, to_bytes(solution)?);
        let sending = self.secured.writer.send(frame);
        Ok(within("sending a block", self.step, sending).await??)
    }

    /// Blocks are flushed when they are submitted: there is nothing to wait for.
    async fn close(self) {}
}
