//! An encrypted Stratum V2 connection: Noise handshake, framing, authority keys, what it asks of TCP, and who gets one.
//!
//! Every SV2 connection of this project stands on it: between mint and pool, between pool and miner, and to a template
//! provider. [`initiate`] and [`respond`] make a [`Secured`] connection out of any `AsyncRead + AsyncWrite`; its two halves
//! are a stream and a sink of [`Frame`]s, independent of each other and cancel-safe. What the frames say is the business of
//! whoever opens the connection, and so are deadlines. Frames are bounded, 64 KiB, and so are connections: a listener has
//! [`Places`].

mod backoff;
mod codec;
mod frame;
mod handshake;
mod keys;
mod net;
mod places;
#[cfg(test)]
mod testkit;
mod traffic;

pub use backoff::Backoff;
pub use codec::{CodecError, FrameDecoder, FrameEncoder, FrameReader, FrameWriter};
pub use frame::{Frame, HEADER, MAX_FRAME, MAX_PAYLOAD};
pub use handshake::{HandshakeError, Secured, Transcript, initiate, initiate_unpinned, respond};
pub use keys::{AuthorityKeypair, AuthorityPublicKey, KeyError};
pub use net::{Connector, Tcp, tune};
pub use places::{Evicted, Place, Places, Stage};
pub use traffic::{Traffic, TrafficCounters};
