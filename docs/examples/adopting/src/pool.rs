//! The pool's end.

use std::time::Instant;

use binary_sv2::{GetSize, Serialize, from_bytes, to_bytes};
use codec_sv2::StandardSv2Frame;
use stats_push::{
    CacheSession, EXTENSION_TYPE, MINT_STATS_REQUEST, MINT_STATS_RESPONSE, MintStatsRequest, Peer, Snapshot,
    SnapshotCache,
};

use crate::frames::Message;
use crate::negotiation::{ERROR, Extensions, NEGOTIATION, REQUEST, Refused, SUCCESS};

/// What a pool keeps beside its connection with a mint, from its `SetupConnection.Success` on. Dropping it tells the page
/// that the mint is gone.
#[derive(Debug)]
pub struct PoolStats {
    session: CacheSession,
    asked: u32,
}

/// What became of a frame.
#[derive(Debug)]
pub enum Heard<T> {
    /// It is none of the statistics: go on as before.
    NotOurs,
    /// Dealt with.
    Taken,
    /// Dealt with; this is to be sent back.
    Answer(StandardSv2Frame<T>),
}

impl PoolStats {
    /// For a session that begins now. The page reads `cache`, whichever sessions come and go.
    #[must_use]
    pub fn new(cache: &SnapshotCache, peer: Peer) -> Self {
        Self {
            session: cache.open_session(peer),
            asked: 0,
        }
    }

    /// Shows it a frame that the mint has sent.
    pub fn heard<T: Serialize + GetSize>(&mut self, frame: &mut StandardSv2Frame<T>) -> Heard<T> {
        let Some(message) = Message::of(frame) else {
            return Heard::NotOurs;
        };
        match (message.extension, message.message_type) {
            (NEGOTIATION, REQUEST) => self.answer(message.payload).map_or(Heard::Taken, Heard::Answer),
            (EXTENSION_TYPE, MINT_STATS_RESPONSE) => {
                // The mint may send garbage; that is no reason to end a connection that quotes flow over (P10).
                match Snapshot::decode(message.payload) {
                    Ok(snapshot) => {
                        self.session.apply(snapshot, Instant::now());
                    }
                    Err(_) => self.session.malformed(),
                }
                Heard::Taken
            }
            (NEGOTIATION | EXTENSION_TYPE, _) => Heard::Taken,
            _ => Heard::NotOurs,
        }
    }

    /// Asks the mint for a snapshot now.
    #[must_use]
    pub fn request<T: Serialize + GetSize>(&mut self) -> Option<StandardSv2Frame<T>> {
        self.asked = self.asked.checked_add(1)?;
        let request = MintStatsRequest { request_id: self.asked };
        let message = Message {
            extension: EXTENSION_TYPE,
            message_type: MINT_STATS_REQUEST,
            payload: &request.encode(),
        };
        message.frame()
    }

    fn answer<T: Serialize + GetSize>(&self, question: &[u8]) -> Option<StandardSv2Frame<T>> {
        let mut question = question.to_vec();
        let Ok(question) = from_bytes::<Extensions<'_>>(&mut question) else {
            self.session.malformed();
            return None;
        };
        let request_id = question.request_id;
        let requested = question.extensions.into_inner();
        let (message_type, payload) = if requested.contains(&EXTENSION_TYPE) {
            self.session.negotiated();
            let extensions = vec![EXTENSION_TYPE].into();
            (SUCCESS, to_bytes(Extensions { request_id, extensions }))
        } else {
            let refused = Refused {
                request_id,
                unsupported: requested.into(),
                required: Vec::new().into(),
            };
            (ERROR, to_bytes(refused))
        };
        let message = Message {
            extension: NEGOTIATION,
            message_type,
            payload: &payload.ok()?,
        };
        message.frame()
    }
}
