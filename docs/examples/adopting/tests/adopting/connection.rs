//! The connection that an adopter has already, as small as it can be: `codec_sv2` 5 over a socket, one channel of frames
//! in and one out.

use std::time::Duration;

use binary_sv2::{Deserialize, GetSize, Serialize};
use codec_sv2::{
    Error, HandshakeRole, NoiseEncoder, StandardEitherFrame, StandardNoiseDecoder, StandardSv2Frame, State,
};
use noise_sv2::{ELLSWIFT_ENCODING_SIZE, INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE, Initiator, Responder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
};

/// A connection whose messages are of type `T`. It ends when this is dropped.
pub(crate) struct Connection<T> {
    pub(crate) incoming: mpsc::Receiver<StandardSv2Frame<T>>,
    pub(crate) outgoing: mpsc::Sender<StandardSv2Frame<T>>,
}

impl<T: Serialize + GetSize + Deserialize<'static> + Send + 'static> Connection<T> {
    /// As a mint that pins this authority key.
    pub(crate) async fn dial(mut stream: TcpStream, authority: [u8; 32]) -> Self {
        let initiator = Initiator::from_raw_k(authority).unwrap();
        let mut state = State::initialized(HandshakeRole::Initiator(initiator));
        let first = state.step_0().unwrap().get_payload_when_handshaking();
        stream.write_all(&first).await.unwrap();
        let mut second = [0; INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE];
        stream.read_exact(&mut second).await.unwrap();
        let state = state.step_2(second).unwrap();
        Self::over(stream, state)
    }

    /// As a pool with this authority key.
    pub(crate) async fn accept(mut stream: TcpStream, public: [u8; 32], secret: [u8; 32]) -> Self {
        let responder = Responder::from_authority_kp(&public, &secret, Duration::from_secs(3600)).unwrap();
        let mut state = State::initialized(HandshakeRole::Responder(responder));
        let mut first = [0; ELLSWIFT_ENCODING_SIZE];
        stream.read_exact(&mut first).await.unwrap();
        let (second, state) = state.step_1(first).unwrap();
        stream.write_all(&second.get_payload_when_handshaking()).await.unwrap();
        Self::over(stream, state)
    }

    fn over(stream: TcpStream, state: State) -> Self {
        let (reader, writer) = stream.into_split();
        let (received, incoming) = mpsc::channel(16);
        let (outgoing, to_send) = mpsc::channel(16);
        // Each direction has its own counter in the state, so each half takes a copy.
        tokio::spawn(write(writer, state.clone(), to_send));
        tokio::spawn(read(reader, state, received));
        Self { incoming, outgoing }
    }
}

async fn read<T: Serialize + GetSize + Deserialize<'static>>(
    mut stream: OwnedReadHalf,
    mut state: State,
    received: mpsc::Sender<StandardSv2Frame<T>>,
) {
    let mut decoder = StandardNoiseDecoder::new();
    loop {
        match decoder.next_frame(&mut state) {
            Ok(StandardEitherFrame::Sv2(frame)) => {
                if received.send(frame).await.is_err() {
                    return;
                }
            }
            Err(Error::MissingBytes(_)) => {
                if stream.read_exact(decoder.writable()).await.is_err() {
                    return;
                }
            }
            Ok(StandardEitherFrame::HandShake(_)) | Err(_) => panic!("no frame of SV2"),
        }
    }
}

async fn write<T: Serialize + GetSize>(
    mut stream: OwnedWriteHalf,
    mut state: State,
    mut to_send: mpsc::Receiver<StandardSv2Frame<T>>,
) {
    let mut encoder = NoiseEncoder::new();
    while let Some(frame) = to_send.recv().await {
        let bytes = encoder.encode(frame.into(), &mut state).unwrap();
        if stream.write_all(bytes.as_ref()).await.is_err() {
            return;
        }
    }
}
