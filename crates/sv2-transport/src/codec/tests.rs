use bytes::BufMut;
use futures::{FutureExt, SinkExt, StreamExt, poll};
use proptest::prelude::*;

use super::*;
use crate::{Secured, TrafficCounters, initiate, respond, testkit::pair};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// An encoder and the decoder that reads it, without a connection between them.
fn coders() -> (FrameEncoder, FrameDecoder) {
    let (mint, pool) = block_on(pair(1024));
    let parts = (mint.writer.into_parts(), pool.reader.into_parts());
    (parts.0.codec, parts.1.codec)
}

fn encrypt(encoder: &mut FrameEncoder, frames: &[Frame]) -> BytesMut {
    let mut bytes = BytesMut::new();
    for frame in frames {
        encoder.encode(frame.clone(), &mut bytes).unwrap();
    }
    bytes
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let sizes = prop_oneof![
        8 => 0..300_usize,
        1 => 65_500..=MAX_PAYLOAD,
    ];
    (0..0x8000_u16, any::<bool>(), any::<u8>(), sizes, any::<u8>()).prop_map(|(extension, channel, t, size, fill)| {
        Frame {
            channel_msg: channel,
            ..Frame::new(extension, t, vec![fill; size])
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_survive_any_chunking(
        frames in prop::collection::vec(any_frame(), 1..6),
        chunks in prop::collection::vec(prop_oneof![1..40_usize, 1..70_000_usize], 1..60),
    ) {
        let (mut encoder, mut decoder) = coders();
        let mut stream = encrypt(&mut encoder, &frames);
        let (mut source, mut read) = (BytesMut::new(), Vec::new());
        let mut chunks = chunks.into_iter().cycle();
        while !stream.is_empty() {
            let size = chunks.next().unwrap().min(stream.len());
            source.put(stream.split_to(size));
            while let Some(frame) = decoder.decode(&mut source).unwrap() {
                read.push(frame);
            }
        }
        prop_assert_eq!(read, frames);
        prop_assert!(source.is_empty());
    }

    #[test]
    fn p10_garbage_ends_the_stream_without_a_panic_and_within_bounded_memory(
        before in prop::collection::vec(any_frame(), 0..3),
        garbage in prop::collection::vec(any::<u8>(), 22..4_000),
    ) {
        let (mut encoder, mut decoder) = coders();
        let mut source = encrypt(&mut encoder, &before);
        source.extend_from_slice(&garbage);
        for frame in before {
            prop_assert_eq!(decoder.decode(&mut source).unwrap(), Some(frame));
        }
        prop_assert!(matches!(decoder.decode(&mut source), Err(CodecError::Undecryptable)));
        // And it stays ended.
        prop_assert!(decoder.decode(&mut source).is_err());
        prop_assert!(source.capacity() < 1 << 20);
    }

    #[test]
    fn a_flipped_bit_is_found(frame in any_frame(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let (mut encoder, mut decoder) = coders();
        let mut source = encrypt(&mut encoder, std::slice::from_ref(&frame));
        let at = at.index(source.len());
        source[at] ^= 1_u8 << bit;
        prop_assert!(matches!(decoder.decode(&mut source), Err(CodecError::Undecryptable)));
    }
}

/// The ciphertext of a frame with a payload of this size, also of one that `FrameEncoder` refuses.
fn encrypt_any_size(encoder: &mut FrameEncoder, payload: usize) -> BytesMut {
    struct Huge(usize);
    impl framing_sv2::framing::EncodableFrame for Huge {
        fn encoded_length(&self) -> usize {
            self.0 + 6
        }

        fn encode_into(self, target: &mut [u8]) -> Result<(), framing_sv2::Error> {
            let [l0, l1, l2, _] = u32::try_from(self.0).unwrap().to_le_bytes();
            target[..6].copy_from_slice(&[0, 0, 1, l0, l1, l2]);
            Ok(())
        }
    }
    let bytes = encoder
        .noise
        .encode_transport(Huge(payload), &mut encoder.state)
        .unwrap();
    BytesMut::from(bytes.as_slice())
}

#[test]
fn p10_a_frame_above_64_kib_ends_the_session_and_one_of_64_kib_does_not() {
    for payload in [65_518, 65_519, 65_520, MAX_PAYLOAD] {
        let (mut encoder, mut decoder) = coders();
        let mut source = encrypt_any_size(&mut encoder, payload);
        assert_eq!(decoder.decode(&mut source).unwrap().unwrap().payload.len(), payload);
    }
    for payload in [
        MAX_PAYLOAD + 1,
        65_536,
        131_000,
        131_038,
        131_039,
        200_000,
        (1 << 24) - 1,
    ] {
        let (mut encoder, mut decoder) = coders();
        let mut stream = encrypt_any_size(&mut encoder, payload);
        // Found with what the first 64 KiB and a header hold, whatever was announced.
        let mut source = stream.split_to(22 + 65_535 + 22);
        assert!(
            matches!(decoder.decode(&mut source), Err(CodecError::TooLarge)),
            "{payload}"
        );
    }
    let (mut encoder, _) = coders();
    let too_large = encoder.encode(Frame::new(0, 1, vec![0; MAX_PAYLOAD + 1]), &mut BytesMut::new());
    assert!(matches!(too_large, Err(CodecError::TooLarge)));
}

#[test]
fn a_frame_is_bound_to_its_place_in_the_stream() {
    let (mut encoder, mut decoder) = coders();
    let mut first = encrypt(&mut encoder, &[Frame::new(0, 1, vec![])]);
    let mut again = first.clone();
    assert!(decoder.decode(&mut first).unwrap().is_some());
    assert!(matches!(decoder.decode(&mut again), Err(CodecError::Undecryptable)));
}

#[tokio::test]
async fn reading_is_cancel_safe_and_independent_of_writing() {
    let (mut mint, mut pool) = pair(64).await;
    let frame = Frame::new(0x4D53, 0x84, vec![7; 10_000]);
    let sending = mint.writer.send(frame.clone()).fuse();
    tokio::pin!(sending);
    // Each attempt to read is dropped after one poll; the bytes that it took are not lost.
    let read = loop {
        let _ = poll!(&mut sending);
        tokio::task::yield_now().await;
        let next = pool.reader.next();
        tokio::pin!(next);
        if let std::task::Poll::Ready(frame) = poll!(&mut next) {
            break frame;
        }
    };
    assert_eq!(read.unwrap().unwrap(), frame);
    // The other direction works while this one is idle.
    let Secured { reader, .. } = &mut mint;
    pool.writer.send(Frame::new(0, 1, vec![])).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap().msg_type, 1);
}

#[tokio::test]
async fn bytes_and_frames_are_counted() {
    let authority = crate::AuthorityKeypair::generate();
    let traffic = Arc::new(Traffic::default());
    let (dialling, listening) = tokio::io::duplex(1024);
    let day = std::time::Duration::from_secs(86_400);
    let (dialling, listening) = tokio::join!(
        initiate(dialling, authority.public(), Arc::default()),
        respond(listening, &authority, day, Arc::clone(&traffic))
    );
    let (mut dialling, mut listening) = (dialling.unwrap(), listening.unwrap());
    dialling.writer.send(Frame::new(0, 1, vec![0; 10])).await.unwrap();
    listening.reader.next().await.unwrap().unwrap();
    listening.writer.send(Frame::new(0, 1, vec![])).await.unwrap();
    // Header and payload each carry a MAC of 16 bytes.
    let expected = TrafficCounters {
        frames_read: 1,
        bytes_read: 6 + 16 + 10 + 16,
        frames_written: 1,
        bytes_written: 6 + 16,
    };
    assert_eq!(traffic.read(), expected);
}
