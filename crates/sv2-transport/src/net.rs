//! Sockets: how a peer is dialled, and what both ends ask of TCP.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

/// A peer that acknowledges nothing for this long is gone.
const USER_TIMEOUT: Duration = Duration::from_secs(10);
/// When an idle connection is probed, and how often from then on: a vanished peer is found within [`USER_TIMEOUT`].
const KEEPALIVE_IDLE: Duration = Duration::from_secs(4);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(2);
/// How much the kernel holds that is not sent yet. What waits is better taken later than sent old.
const NOT_SENT: u32 = 32 * 1024;
/// How long one of several addresses may take before the next is tried.
const PER_ADDRESS: Duration = Duration::from_secs(3);

/// What both ends ask of TCP: no delay, keepalive, a bound on unacknowledged and on unsent data. Where the system lacks
/// one of them a connection works without; write deadlines hold everywhere.
///
/// # Errors
/// The socket does not take an option.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_EVERY);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        socket.set_tcp_notsent_lowat(NOT_SENT)?;
    }
    Ok(())
}

/// Makes connections to an address: TCP, or whatever a test puts in its place.
pub trait Connector: Send + Sync {
    /// The connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send;

    /// Looks the name up and connects. Callers set the deadline.
    fn connect(&self, address: &str) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

/// TCP, with the name looked up at every dial: the peer may have moved.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Connector for Tcp {
    type Stream = TcpStream;

    async fn connect(&self, address: &str) -> io::Result<(TcpStream, SocketAddr)> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in tokio::net::lookup_host(address).await? {
            let connected = timeout(PER_ADDRESS, TcpStream::connect(address)).await;
            match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    tune(&stream)?;
                    return Ok((stream, address));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
