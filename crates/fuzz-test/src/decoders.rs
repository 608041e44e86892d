//! Every decoder of what a peer sends: no bytes make it panic, and what it reads is written as bytes that read the same.

use std::fmt::Debug;

use binary_sv2::{from_bytes, to_bytes};
use common_messages_sv2::{Reconnect, SetupConnection, SetupConnectionError, SetupConnectionSuccess};
use mining_sv2::{
    CloseChannel, NewMiningJob, OpenExtendedMiningChannel, OpenMiningChannelError, OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess, SetCustomMiningJob, SetGroupChannel, SetTarget, SubmitSharesError,
    SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess, UpdateChannel,
};
use mint_link::{
    ExtensionIds, ExtensionMessage, MintProof, MintQuoteNotification, MintQuoteRequest, MintQuotesIssued, QuoteAnswer,
};
use stats_push::{MintStatsRequest, Snapshot};
use sv2_transport::{Frame, MAX_PAYLOAD, Transcript};
use template_distribution_sv2::NewTemplate;

type Decoder = fn(&[u8]);

/// A decoder of `binary_sv2`: the message that it reads is written as bytes that read as what is written the same.
macro_rules! sv2 {
    ($message:ty) => {
        |payload: &[u8]| {
            let mut bytes = payload.to_vec();
            let Ok(message) = from_bytes::<$message>(&mut bytes) else {
                return;
            };
            let shown = format!("{message:?}");
            let written = to_bytes(message).expect("what was read can be written");
            let mut bytes = written.clone();
            let again = from_bytes::<$message>(&mut bytes).expect("what was written can be read");
            assert_eq!(to_bytes(again).expect("and written again"), written, "{shown}");
        }
    };
}

/// The place of a decoder is what selects it in seeds: new ones go to the end.
const DECODERS: &[Decoder] = &[
    // On the link between mint and pool, and to miners.
    |payload| reads_back(payload, MintStatsRequest::decode, |request| request.encode()),
    |payload| reads_back(payload, Snapshot::decode, Snapshot::encode),
    |payload| {
        reads_back(payload, owned(MintQuoteRequest::decode), |request| {
            payload_of(request.to_frame())
        })
    },
    |payload| {
        reads_back(payload, owned(QuoteAnswer::decode_response), |answer| {
            payload_of(answer.to_frame(true))
        })
    },
    |payload| {
        reads_again(
            payload,
            |payload| QuoteAnswer::decode_error(payload.to_vec(), false),
            |answer| payload_of(answer.to_frame(false)),
        )
    },
    correlated_error,
    |payload| reads_back(payload, negotiation(0), |message| payload_of(message.to_frame())),
    |payload| reads_back(payload, negotiation(1), |message| payload_of(message.to_frame())),
    |payload| reads_back(payload, negotiation(2), |message| payload_of(message.to_frame())),
    proof,
    |payload| {
        reads_back(payload, owned(MintQuotesIssued::decode), |issued| {
            payload_of(issued.to_frame(&ExtensionIds::default()))
        })
    },
    |payload| {
        reads_back(payload, owned(MintQuoteNotification::decode), |note| {
            payload_of(note.to_frame(0))
        })
    },
    frame,
    // Of the SV2 crates, where the project calls them on what comes from a peer.
    sv2!(SetupConnection<'_>),
    sv2!(SetupConnectionSuccess),
    sv2!(SetupConnectionError<'_>),
    sv2!(OpenStandardMiningChannel<'_>),
    sv2!(OpenExtendedMiningChannel<'_>),
    sv2!(UpdateChannel<'_>),
    sv2!(CloseChannel<'_>),
    sv2!(SubmitSharesStandard),
    sv2!(SubmitSharesExtended<'_>),
    sv2!(SetCustomMiningJob<'_>),
    sv2!(Reconnect<'_>),
    sv2!(OpenStandardMiningChannelSuccess<'_>),
    sv2!(OpenMiningChannelError<'_>),
    sv2!(SetGroupChannel<'_>),
    sv2!(NewMiningJob<'_>),
    sv2!(mining_sv2::SetNewPrevHash<'_>),
    sv2!(SetTarget<'_>),
    sv2!(SubmitSharesSuccess),
    sv2!(SubmitSharesError<'_>),
    sv2!(NewTemplate<'_>),
    sv2!(template_distribution_sv2::SetNewPrevHash<'_>),
];

/// Decodes a payload; the first byte of `input` selects by which decoder.
///
/// # Panics
/// A decoder does, or what it has read does not survive being written.
pub fn decoders(input: &[u8]) {
    let Some((&which, payload)) = input.split_first() else {
        return;
    };
    // A connection carries no more.
    let payload = payload.get(..MAX_PAYLOAD).unwrap_or(payload);
    if let Some(decoder) = DECODERS.get(usize::from(which) % DECODERS.len()) {
        decoder(payload);
    }
}

/// What is read must be written as the bytes that were read, and read as the same. Bytes that follow are ignored.
fn reads_back<T: PartialEq + Debug, E>(
    payload: &[u8],
    read: impl Fn(&[u8]) -> Result<T, E>,
    write: impl Fn(&T) -> Vec<u8>,
) {
    let Ok(message) = read(payload) else { return };
    let written = write(&message);
    assert!(
        payload.starts_with(&written),
        "{message:?}: {payload:02x?} was written as {written:02x?}"
    );
    reads_again(payload, read, write);
}

/// The same for a message that can be spelt in several ways: what is written reads as what was written.
fn reads_again<T: PartialEq + Debug, E>(
    payload: &[u8],
    read: impl Fn(&[u8]) -> Result<T, E>,
    write: impl Fn(&T) -> Vec<u8>,
) {
    let Ok(message) = read(payload) else { return };
    let written = write(&message);
    let again = read(&written).ok();
    assert_eq!(
        again.as_ref().map(&write),
        Some(written),
        "{message:?} was read again as {again:?}"
    );
}

fn owned<T, E>(decode: impl Fn(Vec<u8>) -> Result<T, E>) -> impl Fn(&[u8]) -> Result<T, E> {
    move |payload| decode(payload.to_vec())
}

fn negotiation(msg_type: u8) -> impl Fn(&[u8]) -> Result<ExtensionMessage, mint_link::Malformed> {
    move |payload| ExtensionMessage::decode(msg_type, payload.to_vec())
}

fn payload_of(frame: Result<Frame, mint_link::Malformed>) -> Vec<u8> {
    frame.expect("what was read can be written").payload
}

/// A refusal that tells its hash, or one of before its mint had heard that it must.
fn correlated_error(payload: &[u8]) {
    let read = |payload: &[u8]| QuoteAnswer::decode_error(payload.to_vec(), true);
    reads_again(payload, read, |answer| {
        payload_of(answer.to_frame(answer.header_hash().is_some()))
    });
}

/// A proof, which proves nothing here.
fn proof(payload: &[u8]) {
    reads_back(payload, owned(MintProof::decode), |proof| {
        proof.to_frame(&ExtensionIds::default()).payload
    });
    if let Ok(proof) = MintProof::decode(payload.to_vec()) {
        let verified = proof.verify(&Transcript::new(payload, payload));
        assert!(verified.is_err(), "a signature of itself: {verified:?}");
    }
}

/// A whole frame.
fn frame(bytes: &[u8]) {
    if let Some(frame) = Frame::from_bytes(bytes) {
        assert_eq!(frame.to_bytes().as_deref(), Some(bytes), "{frame:?}");
    }
}
