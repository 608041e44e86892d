//! How a session begins: handshake, setup, negotiation, and the opening of a channel, each with its deadline.

use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use mint_link::{ExtensionMessage, VERSION};
use sv2_transport::{FrameReader, FrameWriter, Secured, initiate};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::client::Client;
use super::error::{SessionError, Step, within};
use super::messages::{self, FromPool, Opened};

/// The number of the one request of each kind that a session makes.
const REQUEST_ID: u16 = 1;

/// A connection on which no channel is open yet.
pub(super) struct Link<S> {
    pub(super) reader: FrameReader<S>,
    pub(super) writer: FrameWriter<S>,
    /// The pool has granted the extension that tells of quotes.
    pub(super) tells_quotes: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Handshake and SetupConnection.
    pub(super) async fn set_up(client: &Client, stream: S, endpoint: &str) -> Result<Self, SessionError> {
        let step = client.config.step_timeout;
        let handshake = initiate(stream, client.authority, Arc::default());
        let Secured { reader, writer, .. } = within(Step::Handshake, step, handshake)
            .await?
            .map_err(|error| SessionError::handshake(error, client.authority))?;
        let mut link = Self {
            reader,
            writer,
            tells_quotes: false,
        };
        let exchange = async {
            link.writer
                .send(messages::setup_connection(endpoint, &client.config.worker)?)
                .await?;
            loop {
                match link.next(client).await? {
                    FromPool::SetupSuccess { version: VERSION } => return Ok(()),
                    FromPool::SetupSuccess { version } => return Err(SessionError::Version(version)),
                    FromPool::SetupError { code } => return Err(SessionError::SetupRefused(code)),
                    _ => {}
                }
            }
        };
        within(Step::Setup, step, exchange).await??;
        Ok(link)
    }

    /// Asks for the extension that tells of quotes. A pool that does not answer in time counts as one that has not got
    /// it, until it answers.
    pub(super) async fn negotiate(&mut self, client: &Client) -> Result<(), SessionError> {
        let request = ExtensionMessage::Request {
            request_id: REQUEST_ID,
            requested: vec![client.config.quotes_extension],
        };
        let request = request.to_frame()?;
        let exchange = async {
            self.writer.send(request).await?;
            loop {
                if let FromPool::Extensions(answer) = self.next(client).await? {
                    return Ok::<_, SessionError>(answer);
                }
            }
        };
        match timeout(client.config.negotiation_timeout, exchange).await {
            Ok(answer) => {
                self.tells_quotes = granted(client, &answer?)?;
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    pub(super) async fn open(&mut self, client: &Client) -> Result<Opened, SessionError> {
        let request_id = u32::from(REQUEST_ID);
        let exchange = async {
            let request = messages::open_channel(request_id, &client.identity, client.hashrate)?;
            self.writer.send(request).await?;
            loop {
                match self.next(client).await? {
                    FromPool::Opened(opened) if opened.request_id == request_id => return Ok(opened),
                    FromPool::OpenRefused { request_id: id, code } if id == request_id => {
                        return Err(SessionError::OpenRefused(code));
                    }
                    FromPool::Extensions(answer) => self.tells_quotes |= granted(client, &answer)?,
                    FromPool::Reconnect { host, port } => return Err(reconnect(&host, port)),
                    _ => {}
                }
            }
        };
        within(Step::Open, client.config.step_timeout, exchange).await?
    }

    /// The next message that can be read. One that can't be is the pool's mistake, and not worth the session.
    async fn next(&mut self, client: &Client) -> Result<FromPool, SessionError> {
        loop {
            let frame = self.reader.next().await.ok_or(SessionError::Closed)??;
            if let Some(message) = client.read(frame) {
                return Ok(message);
            }
        }
    }
}

/// Whether the answer grants the extension that tells of quotes.
pub(super) fn granted(client: &Client, answer: &ExtensionMessage) -> Result<bool, SessionError> {
    match answer {
        ExtensionMessage::Success { supported, .. } => Ok(supported.contains(&client.config.quotes_extension)),
        ExtensionMessage::Error { required, .. } => {
            let foreign: Vec<_> = required
                .iter()
                .copied()
                .filter(|id| *id != client.config.quotes_extension)
                .collect();
            if foreign.is_empty() {
                Ok(false)
            } else {
                Err(SessionError::Requires(foreign))
            }
        }
        ExtensionMessage::Request { .. } => Ok(false),
    }
}

pub(super) fn reconnect(host: &str, port: u16) -> SessionError {
    let elsewhere = (!host.is_empty() && port != 0).then(|| match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    });
    SessionError::Reconnect(elsewhere)
}
