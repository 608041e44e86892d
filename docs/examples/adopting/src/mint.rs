//! The mint's end.

use std::future;
use std::sync::Arc;

use binary_sv2::{GetSize, Serialize, from_bytes, to_bytes};
use codec_sv2::StandardSv2Frame;
use stats_push::{
    EXTENSION_TYPE, MINT_STATS_REQUEST, MINT_STATS_RESPONSE, MintStatsRequest, Publisher, PublisherHandle, PushConfig,
    RunId, Totals,
};
use tokio::sync::watch;

use crate::frames::Message;
use crate::negotiation::{Extensions, NEGOTIATION, REQUEST, SUCCESS};

/// The mint asks once in a session.
const REQUEST_ID: u16 = 1;

/// What a mint keeps beside its connection with a pool, from the pool's `SetupConnection.Success` on.
///
/// Whoever reads the connection shows it each frame first ([`heard`](Self::heard)); whoever writes it sends
/// [`question`](Self::question) at once, and from then on selects over [`next`](Self::next) and what it wrote before.
#[derive(Debug)]
pub struct MintStats {
    publisher: Publisher,
    handle: PublisherHandle,
    agreed: bool,
}

impl MintStats {
    /// For a session that begins now. `totals` is what the mint publishes after each commit; `run_id` is drawn once,
    /// when the mint starts.
    #[must_use]
    pub fn new(totals: watch::Receiver<Arc<Totals>>, run_id: RunId, config: PushConfig) -> Self {
        let (publisher, handle) = Publisher::new(totals, run_id, config);
        Self {
            publisher,
            handle,
            agreed: false,
        }
    }

    /// Asks the pool for the extension. A pool that does not know it does not answer, or closes the connection: then ask
    /// nothing in the next one (docs/PROTOCOL.md, section 3.2).
    #[must_use]
    pub fn question<T: Serialize + GetSize>(&self) -> Option<StandardSv2Frame<T>> {
        let question = Extensions {
            request_id: REQUEST_ID,
            extensions: vec![EXTENSION_TYPE].into(),
        };
        let message = Message {
            extension: NEGOTIATION,
            message_type: REQUEST,
            payload: &to_bytes(question).ok()?,
        };
        message.frame()
    }

    /// Whether the frame is of the statistics or of their negotiation, and with that dealt with.
    pub fn heard<T: Serialize + GetSize>(&mut self, frame: &mut StandardSv2Frame<T>) -> bool {
        let Some(message) = Message::of(frame) else {
            return false;
        };
        match (message.extension, message.message_type) {
            (NEGOTIATION, SUCCESS) => {
                if let Ok(answer) = from_bytes::<Extensions<'_>>(&mut message.payload.to_vec()) {
                    let on = answer.extensions.into_inner();
                    self.agreed |= answer.request_id == REQUEST_ID && on.contains(&EXTENSION_TYPE);
                }
                true
            }
            // The pool knows the negotiation, but not this extension.
            (NEGOTIATION, _) => true,
            (EXTENSION_TYPE, MINT_STATS_REQUEST) => {
                // One that is malformed, or whose number does not grow, is dropped (P10). Count it where you count.
                if let Ok(request) = MintStatsRequest::decode(message.payload) {
                    self.handle.request(request);
                }
                true
            }
            (EXTENSION_TYPE, _) => true,
            _ => false,
        }
    }

    /// The next snapshot, when one is due; it is taken now, so write it now. Never while the pool has not agreed; `None`
    /// after the last one of a mint that stops. Cancel-safe.
    pub async fn next<T: Serialize + GetSize>(&mut self) -> Option<StandardSv2Frame<T>> {
        if !self.agreed {
            return future::pending().await;
        }
        let snapshot = self.publisher.next().await?;
        let message = Message {
            extension: EXTENSION_TYPE,
            message_type: MINT_STATS_RESPONSE,
            payload: &snapshot.encode(),
        };
        message.frame()
    }

    /// The mint stops: one more snapshot, then `None`.
    pub fn finish(&self) {
        self.handle.finish();
    }
}
