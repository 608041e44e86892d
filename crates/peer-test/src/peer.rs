//! One end of an encrypted connection that says what the test tells it to.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::{SinkExt, StreamExt};
use sv2_transport::{
    AuthorityKeypair, AuthorityPublicKey, Frame, FrameReader, FrameWriter, Secured, Transcript, initiate, respond,
};
use tokio::net::{TcpListener, TcpStream};

use crate::bytes::{SETUP_CONNECTION, setup_connection, setup_success};

/// An end of the link after the handshake.
pub struct Peer {
    reader: FrameReader<TcpStream>,
    writer: FrameWriter<TcpStream>,
    /// Of this connection.
    pub transcript: Transcript,
}

impl Peer {
    /// A mint's end: dials a pool and shakes hands.
    pub async fn dial(address: SocketAddr, authority: AuthorityPublicKey) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::of(initiate(stream, authority, Arc::default()).await.unwrap())
    }

    /// A mint's end after SetupConnection and its Success.
    pub async fn dial_and_set_up(address: SocketAddr, authority: AuthorityPublicKey) -> Self {
        let mut peer = Self::dial(address, authority).await;
        peer.send(setup_connection()).await;
        assert_eq!(peer.frame().await, Some(setup_success()));
        peer
    }

    /// A pool's end: the next connection, after the handshake.
    pub async fn accept(listener: &TcpListener, authority: &AuthorityKeypair) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        let day = Duration::from_secs(86_400);
        Self::of(respond(stream, authority, day, Arc::default()).await.unwrap())
    }

    /// A pool's end after SetupConnection and its Success.
    pub async fn accept_and_set_up(listener: &TcpListener, authority: &AuthorityKeypair) -> Self {
        let mut peer = Self::accept(listener, authority).await;
        let setup = peer.frame().await.expect("a SetupConnection");
        assert_eq!((setup.extension_type, setup.msg_type), (0, SETUP_CONNECTION));
        peer.send(setup_success()).await;
        peer
    }

    pub(crate) fn of(secured: Secured<TcpStream>) -> Self {
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

    /// Writes a frame, unless the other end has closed: then there is nobody to tell.
    pub async fn send(&mut self, frame: Frame) {
        let _ = self.writer.send(frame).await;
    }

    /// The next frame; `None` when the connection has ended, in whatever way.
    pub async fn frame(&mut self) -> Option<Frame> {
        self.reader.next().await?.ok()
    }

    /// Reads to the end of the connection and gives back what still came.
    pub async fn rest(&mut self) -> Vec<Frame> {
        let mut rest = Vec::new();
        while let Some(frame) = self.frame().await {
            rest.push(frame);
        }
        rest
    }
}
