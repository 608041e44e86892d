//! A template provider in a test's hands: real sockets, real Noise, the real protocol (SV2 specification, section 7), and
//! it says exactly what the test tells it to.
//!
//! ```no_run
//! # async fn test() {
//! use provider_test::{Provider, template, tip};
//!
//! let provider = Provider::listen().await;
//! // ... start what dials provider.address() and pins provider.authority() ...
//! let mut pool = provider.accept().await;
//! pool.template(template(1, true)).await;
//! pool.tip(tip(1, 0xAA)).await;
//! let block = pool.solution().await;
//! # }
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on says so and ends"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use binary_sv2::{Seq0255Owned, from_bytes, to_bytes};
use common_messages_sv2::{
    MESSAGE_TYPE_SETUP_CONNECTION, MESSAGE_TYPE_SETUP_CONNECTION_ERROR, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS,
    Protocol, SetupConnection, SetupConnectionError, SetupConnectionSuccess,
};
use futures::{SinkExt as _, StreamExt as _};
use sv2_transport::{AuthorityKeypair, AuthorityPublicKey, Frame, Secured, respond};
use template_distribution_sv2::{
    CoinbaseOutputConstraints, MESSAGE_TYPE_COINBASE_OUTPUT_CONSTRAINTS, MESSAGE_TYPE_NEW_TEMPLATE,
    MESSAGE_TYPE_SET_NEW_PREV_HASH, MESSAGE_TYPE_SUBMIT_SOLUTION, NewTemplateOwned, SetNewPrevHashOwned,
    SubmitSolution, SubmitSolutionOwned,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// A bound against hanging, far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(86_400);

/// Listens, with an authority key of its own.
#[derive(Debug)]
pub struct Provider {
    listener: TcpListener,
    address: SocketAddr,
    authority: AuthorityKeypair,
}

impl Provider {
    /// On a free port of this machine.
    pub async fn listen() -> Self {
        Self::listen_at(SocketAddr::from(([127, 0, 0, 1], 0)), AuthorityKeypair::generate()).await
    }

    /// At this address, with this key: a provider that was restarted.
    pub async fn listen_at(address: SocketAddr, authority: AuthorityKeypair) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        Self {
            listener,
            address,
            authority,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a client pins.
    pub fn authority(&self) -> AuthorityPublicKey {
        self.authority.public()
    }

    /// Its key, for a provider that takes its place.
    pub fn keys(&self) -> AuthorityKeypair {
        self.authority.clone()
    }

    /// The next connection, before a byte is said.
    pub async fn accept_tcp(&self) -> TcpStream {
        let (stream, _) = patiently("a connection", self.listener.accept()).await.unwrap();
        stream
    }

    /// The next connection, after the Noise handshake. `None` if the client broke it off.
    pub async fn accept_secured(&self) -> Option<Client> {
        let stream = self.accept_tcp().await;
        let secured = patiently("a handshake", respond(stream, &self.authority, DAY, Arc::default())).await;
        secured.ok().map(|secured| Client {
            secured,
            constraints: None,
        })
    }

    /// The next connection, set up: the client has told how much room it needs.
    pub async fn accept(&self) -> Client {
        let mut client = self.accept_secured().await.expect("the client broke off the handshake");
        client.expect_setup().await;
        client.send(setup_success()).await;
        client.expect_constraints().await;
        client
    }
}

/// A client that has connected.
pub struct Client {
    secured: Secured<TcpStream>,
    constraints: Option<CoinbaseOutputConstraints>,
}

impl Client {
    /// How much room in the coinbase transaction the client asked for.
    pub fn constraints(&self) -> CoinbaseOutputConstraints {
        self.constraints.expect("the client is set up")
    }

    /// Gives a template.
    pub async fn template(&mut self, template: NewTemplateOwned) {
        let payload = to_bytes(template).unwrap();
        self.send(Frame::new(0, MESSAGE_TYPE_NEW_TEMPLATE, payload)).await;
    }

    /// Moves the tip.
    pub async fn tip(&mut self, tip: SetNewPrevHashOwned) {
        let payload = to_bytes(tip).unwrap();
        self.send(Frame::new(0, MESSAGE_TYPE_SET_NEW_PREV_HASH, payload)).await;
    }

    /// Says anything.
    pub async fn send(&mut self, frame: Frame) {
        patiently("a write", self.secured.writer.send(frame)).await.unwrap();
    }

    /// The next block that the client sends.
    pub async fn solution(&mut self) -> SubmitSolutionOwned {
        let mut frame = self.frame().await.expect("the client closed the connection");
        assert_eq!(frame.msg_type, MESSAGE_TYPE_SUBMIT_SOLUTION, "{frame:?}");
        let solution: SubmitSolution<'_> = from_bytes(&mut frame.payload).unwrap();
        solution.into_owned()
    }

    /// The next frame, `None` once the client has closed the connection.
    pub async fn frame(&mut self) -> Option<Frame> {
        let frame = patiently("a frame", self.secured.reader.next()).await;
        frame.and_then(Result::ok)
    }

    /// Waits until the client has closed the connection, and reads over what it still says.
    pub async fn ended(&mut self) {
        while self.frame().await.is_some() {}
    }

    /// Reads SetupConnection, as a client of a template provider says it.
    pub async fn expect_setup(&mut self) {
        let mut frame = self.frame().await.expect("the client closed the connection");
        assert_eq!(
            (frame.extension_type, frame.msg_type),
            (0, MESSAGE_TYPE_SETUP_CONNECTION)
        );
        let setup: SetupConnection<'_> = from_bytes(&mut frame.payload).unwrap();
        assert_eq!(setup.protocol, Protocol::TemplateDistributionProtocol);
        assert_eq!((setup.min_version, setup.max_version, setup.flags), (2, 2, 0));
    }

    async fn expect_constraints(&mut self) {
        let mut frame = self.frame().await.expect("the client closed the connection");
        assert_eq!(frame.msg_type, MESSAGE_TYPE_COINBASE_OUTPUT_CONSTRAINTS);
        self.constraints = Some(from_bytes(&mut frame.payload).unwrap());
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// SetupConnection.Success.
pub fn setup_success() -> Frame {
    let message = SetupConnectionSuccess {
        used_version: 2,
        flags: 0,
    };
    Frame::new(0, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, to_bytes(message).unwrap())
}

/// SetupConnection.Error.
pub fn setup_error(code: &str) -> Frame {
    let message = SetupConnectionError {
        flags: 0,
        error_code: code.try_into().unwrap(),
    };
    Frame::new(0, MESSAGE_TYPE_SETUP_CONNECTION_ERROR, to_bytes(message).unwrap())
}

/// A template for an empty block at height 840,000, without outputs of its own.
pub fn template(template_id: u64, future_template: bool) -> NewTemplateOwned {
    NewTemplateOwned {
        template_id,
        future_template,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: vec![3, 0x40, 0xd1, 0x0c].try_into().unwrap(),
        coinbase_tx_input_sequence: 0xffff_fffe,
        coinbase_tx_value_remaining: 312_500_000,
        coinbase_tx_outputs_count: 0,
        coinbase_tx_outputs: Vec::new().try_into().unwrap(),
        coinbase_tx_locktime: 839_999,
        merkle_path: Seq0255Owned::new(Vec::new()).unwrap(),
    }
}

/// The block whose hash is `prev_hash` throughout becomes the tip, and the template current. A CPU finds no block on it.
pub fn tip(template_id: u64, prev_hash: u8) -> SetNewPrevHashOwned {
    SetNewPrevHashOwned {
        template_id,
        prev_hash: [prev_hash; 32].into(),
        header_timestamp: 1_700_000_000,
        n_bits: 0x1700_ffff,
        target: [0; 32].into(),
    }
}

async fn patiently<T>(what: &str, doing: impl Future<Output = T>) -> T {
    timeout(PATIENCE, doing)
        .await
        .unwrap_or_else(|_| panic!("no {what} after {PATIENCE:?}"))
}
