//! Every vector of the page, read and written by this crate: `docs/vectors.json` says what comes out.

use serde_json::{Value, json};
use sv2_transport::{Frame, Transcript};

use crate::{
    error::LinkError,
    setup,
    testkit::{frame_of, vectors},
    *,
};

/// What a frame is read as: the message's name, its fields as the vectors name them, and the frame that is written of
/// them again. An error has the vectors' name.
type Read = Result<(&'static str, Value, Frame), &'static str>;

fn name_of(malformed: &Malformed) -> &'static str {
    match malformed {
        Malformed::Text => "not_utf8",
        Malformed::Fields(_) => "truncated",
        other => panic!("{other}"),
    }
}

fn read(frame: Frame, legacy: bool) -> Read {
    let (channel_msg, extension) = (frame.channel_msg, frame.extension_type);
    let read = match (extension, frame.msg_type) {
        (0, 0x00..=0x02) => Ok(setting_up(frame)),
        (1, msg_type) => ExtensionMessage::decode(msg_type, frame.payload).map(|message| negotiation(&message)),
        (3, 0x80) => MintQuoteRequest::decode(frame.payload).map(|request| quote_request(&request)),
        (3, 0x81) => QuoteAnswer::decode_response(frame.payload).map(|answer| quote_answer(&answer, legacy)),
        (3, 0x82) => QuoteAnswer::decode_error(frame.payload, !legacy).map(|answer| quote_answer(&answer, legacy)),
        (0 | 0x4D51, 0xC0) => MintQuoteNotification::decode(frame.payload).map(|notification| {
            let fields = json!({
                "channel_id": notification.channel_id,
                "quote_id": notification.quote_id,
                "amount": notification.amount.to_string(),
            });
            let frame = notification.to_frame(extension).unwrap();
            ("MintQuoteNotification", fields, frame)
        }),
        (0x4D51, 0x86) => MintQuotesIssued::decode(frame.payload).map(|issued| {
            let hashes: Vec<_> = issued.header_hashes.iter().map(HeaderHash::to_string).collect();
            let frame = issued.to_frame(&ExtensionIds::default()).unwrap();
            ("MintQuotesIssued", json!({ "header_hashes": hashes }), frame)
        }),
        (0x4D50, 0x85) => return mint_proof(frame.payload),
        _ => return Err("ignored"),
    };
    let read = read.map_err(|error| name_of(&error))?;
    assert_eq!(read.2.channel_msg, channel_msg);
    Ok(read)
}

/// SetupConnection and its answers: what this crate does not look at is what it writes itself.
fn setting_up(frame: Frame) -> (&'static str, Value, Frame) {
    match frame.msg_type {
        0x00 => {
            let device = setup::judge_setup(frame.payload).unwrap();
            let fields = json!({
                "protocol": 0,
                "min_version": VERSION,
                "max_version": VERSION,
                "flags": 0,
                "endpoint_host": "pool.example",
                "endpoint_port": 34260,
                "vendor": device.vendor,
                "hardware_version": "",
                "firmware": device.firmware,
                "device_id": device.device_id,
            });
            let written = setup::setup_connection(&device, "pool.example:34260");
            ("SetupConnection", fields, written.unwrap())
        }
        0x01 => {
            setup::accept_success(frame.payload).unwrap();
            let fields = json!({ "used_version": VERSION, "flags": 0 });
            ("SetupConnection.Success", fields, setup::setup_success().unwrap())
        }
        _ => {
            let LinkError::SetupRefused(code) = setup::refusal(frame.payload) else {
                panic!("no refusal")
            };
            let written = setup::setup_error(&code, 0).unwrap();
            (
                "SetupConnection.Error",
                json!({ "flags": 0, "error_code": code }),
                written,
            )
        }
    }
}

fn negotiation(message: &ExtensionMessage) -> (&'static str, Value, Frame) {
    let (name, fields) = match message {
        ExtensionMessage::Request { request_id, requested } => (
            "RequestExtensions",
            json!({ "request_id": request_id, "requested_extensions": requested }),
        ),
        ExtensionMessage::Success { request_id, supported } => (
            "RequestExtensions.Success",
            json!({ "request_id": request_id, "supported_extensions": supported }),
        ),
        ExtensionMessage::Error {
            request_id,
            unsupported,
            required,
        } => (
            "RequestExtensions.Error",
            json!({ "request_id": request_id, "unsupported_extensions": unsupported, "required_extensions": required }),
        ),
    };
    (name, fields, message.to_frame().unwrap())
}

fn quote_request(request: &MintQuoteRequest) -> (&'static str, Value, Frame) {
    let fields = json!({
        "amount": request.amount.to_string(),
        "unit": request.unit,
        "header_hash": request.header_hash.to_string(),
        "description": request.description,
        "locking_key": hex::encode(&request.locking_key),
    });
    ("MintQuoteRequest", fields, request.to_frame().unwrap())
}

fn quote_answer(answer: &QuoteAnswer, legacy: bool) -> (&'static str, Value, Frame) {
    match answer {
        QuoteAnswer::Created { header_hash, quote_id } => {
            let fields = json!({ "quote_id": quote_id, "header_hash": header_hash.to_string() });
            ("MintQuoteResponse", fields, answer.to_frame(!legacy).unwrap())
        }
        QuoteAnswer::Refused {
            header_hash,
            code,
            message,
        } => {
            let mut fields = json!({ "error_code": code.code(), "error_message": message });
            if !legacy {
                fields["header_hash"] = json!(header_hash.map(|hash| hash.to_string()));
            }
            // One without its hash is only ever written to a legacy peer.
            let frame = answer.to_frame(!legacy && header_hash.is_some()).unwrap();
            ("MintQuoteError", fields, frame)
        }
    }
}

fn mint_proof(payload: Vec<u8>) -> Read {
    let proof = MintProof::decode(payload).map_err(|error| match error {
        ProofError::Truncated => "truncated",
        other => panic!("{other}"),
    })?;
    let fields = json!({ "public_key": hex::encode(proof.public_key), "signature": hex::encode(proof.signature) });
    Ok(("MintProof", fields, proof.to_frame(&ExtensionIds::default())))
}

#[test]
fn every_vector_reads_as_it_says_and_writes_as_it_is() {
    let mut seen = 0;
    for vector in vectors() {
        let (name, frame) = (&vector["name"], frame_of(&vector));
        if frame.extension_type == stats_push::EXTENSION_TYPE {
            // That crate's own tests read them.
            continue;
        }
        seen += 1;
        let legacy = vector["legacy"] == true;
        match read(frame.clone(), legacy) {
            Ok((message, fields, mut written)) => {
                assert_eq!(vector["message"], message, "{name}");
                assert_eq!(vector["fields"], fields, "{name}");
                let appended = vector["appended"].as_str().unwrap_or_default();
                written.payload.extend(hex::decode(appended).unwrap());
                assert_eq!(written.to_bytes(), frame.to_bytes(), "{name}");
            }
            Err(error) => assert_eq!(vector["error"], error, "{name}"),
        }
    }
    assert!(seen >= 20, "{seen}");
}

#[test]
fn every_vector_of_a_proof_holds_or_fails_as_it_says() {
    let mut seen = [0, 0];
    for vector in vectors() {
        let Some(handshake) = vector.get("proof") else { continue };
        let message = |end: &str| hex::decode(handshake[end].as_str().unwrap()).unwrap();
        let transcript = Transcript::new(&message("first"), &message("second"));
        let proof = MintProof::decode(frame_of(&vector).payload).unwrap();
        let holds = proof.verify(&transcript).is_ok();
        assert_eq!(handshake["holds"], holds, "{}", vector["name"]);
        seen[usize::from(holds)] += 1;
    }
    assert!(seen[0] >= 3 && seen[1] >= 1, "{seen:?}");
}

#[test]
fn the_page_shows_every_vector() {
    let page = include_str!("../../../docs/PROTOCOL.md");
    for vector in vectors() {
        for part in ["name", "frame", "about"] {
            assert!(
                page.contains(vector[part].as_str().unwrap()),
                "{} of {}",
                part,
                vector["name"]
            );
        }
    }
}
