//! What the tests of this crate share: connected ends over an in-memory pipe, and a peer that speaks frame by frame.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{sync::Arc, time::Duration};

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};

use crate::{extensions::ExtensionMessage, *};
use stats_push::{EhashTotals, Totals};
use sv2_transport::{
    AuthorityKeypair, AuthorityPublicKey, Frame, FrameReader, FrameWriter, Secured, Transcript, initiate, respond,
};

/// One end of a link in a test's hands.
pub(crate) struct RawPeer<S = DuplexStream> {
    pub(crate) reader: FrameReader<S>,
    pub(crate) writer: FrameWriter<S>,
    pub(crate) transcript: Transcript,
}

impl<S: AsyncRead + AsyncWrite + Unpin> RawPeer<S> {
    pub(crate) fn of(secured: Secured<S>) -> Self {
        let Secured {
            reader,
            writer,
            transcript,
        } = secured;
        Self {
            reader,
            writer,
            transcript,
        }
    }

    pub(crate) async fn as_pool(stream: S, authority: &AuthorityKeypair) -> Self {
        let day = Duration::from_secs(86_400);
        Self::of(respond(stream, authority, day, Arc::default()).await.unwrap())
    }

    pub(crate) async fn as_mint(stream: S, authority: AuthorityPublicKey) -> Self {
        Self::of(initiate(stream, authority, Arc::default()).await.unwrap())
    }

    pub(crate) async fn send(&mut self, frame: Frame) {
        self.writer.send(frame).await.unwrap();
    }

    /// The next frame; panics if the connection ends instead.
    pub(crate) async fn frame(&mut self) -> Frame {
        self.reader.next().await.expect("the connection ended").unwrap()
    }

    /// Waits for the end of the connection, reading over what still comes.
    pub(crate) async fn end(&mut self) {
        while let Some(Ok(_)) = self.reader.next().await {}
    }
}

/// The vectors that `docs/PROTOCOL.md` shows.
pub(crate) fn vectors() -> Vec<serde_json::Value> {
    serde_json::from_str(include_str!("../../../docs/vectors.json")).unwrap()
}

/// The frame of a vector.
pub(crate) fn frame_of(vector: &serde_json::Value) -> Frame {
    Frame::from_bytes(&hex::decode(vector["frame"].as_str().unwrap()).unwrap()).unwrap()
}

/// The frame of the vector with this name.
pub(crate) fn vector(name: &str) -> Frame {
    let vectors = vectors();
    let vector = vectors.iter().find(|vector| vector["name"] == name);
    frame_of(vector.unwrap_or_else(|| panic!("docs/vectors.json has no {name}")))
}

/// A frame of extension 0x0001.
pub(crate) fn negotiation(message: ExtensionMessage) -> Frame {
    message.to_frame().unwrap()
}

/// RequestExtensions.Success for the first request.
pub(crate) fn granted(supported: &[u16]) -> Frame {
    let supported = supported.to_vec();
    negotiation(ExtensionMessage::Success {
        request_id: 1,
        supported,
    })
}

/// A request for the share whose hash is `tag` throughout.
pub(crate) fn quote_request(tag: u8) -> MintQuoteRequest {
    MintQuoteRequest {
        amount: 8,
        unit: "HASH".to_owned(),
        header_hash: HeaderHash([tag; 32]),
        description: None,
        locking_key: vec![2; 33],
    }
}

/// A mint's totals with this version.
pub(crate) fn totals(version: u64) -> Arc<Totals> {
    Arc::new(Totals {
        version,
        ehash: EhashTotals::default(),
        units: Arc::new([]),
    })
}

/// Lets all that can happen without the passing of time happen.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
