use super::*;
use crate::{extensions::ExtensionIds, testkit::vector};

const REQUEST: &str = "quote-request";
const RESPONSE: &str = "quote-response";
const ERROR: &str = "quote-error-legacy";
const ERROR_CORRELATED: &str = "quote-error";

fn counting() -> HeaderHash {
    HeaderHash(std::array::from_fn(|i| i as u8))
}

fn request() -> MintQuoteRequest {
    let key = "03387b8527d7528f2e2f76899f41a0c6a87c87be83d3ff57c2dbec1a176b805c70";
    MintQuoteRequest {
        amount: 8,
        unit: "HASH".to_owned(),
        header_hash: counting(),
        description: None,
        locking_key: hex::decode(key).unwrap(),
    }
}

fn refused(header_hash: Option<HeaderHash>, code: RefusalCode) -> QuoteAnswer {
    QuoteAnswer::Refused {
        header_hash,
        code,
        message: "Duplicate entry".to_owned(),
    }
}

#[test]
fn vector_of_a_quote_request() {
    assert_eq!(request().to_frame().unwrap(), vector(REQUEST));
    assert_eq!(MintQuoteRequest::decode(vector(REQUEST).payload).unwrap(), request());
}

#[test]
fn vector_of_a_quote_response() {
    let created = QuoteAnswer::Created {
        header_hash: counting(),
        quote_id: "01a2027e-a6b6-7fe1-a757-ff6fa6c0c235".to_owned(),
    };
    for correlated in [false, true] {
        assert_eq!(created.to_frame(correlated).unwrap(), vector(RESPONSE));
    }
    assert_eq!(QuoteAnswer::decode_response(vector(RESPONSE).payload).unwrap(), created);
}

#[test]
fn vector_of_a_quote_error_of_older_peers() {
    // They know one code and no hash: both are left out, whatever the reason.
    let answer = refused(Some(counting()), RefusalCode::Amount);
    assert_eq!(answer.to_frame(false).unwrap(), vector(ERROR));
    let read = refused(None, RefusalCode::Other);
    assert_eq!(QuoteAnswer::decode_error(vector(ERROR).payload, false).unwrap(), read);
    // Sent before the mint heard that the extension is on.
    assert_eq!(QuoteAnswer::decode_error(vector(ERROR).payload, true).unwrap(), read);
}

#[test]
fn vector_of_a_quote_error_with_its_hash() {
    let answer = refused(Some(counting()), RefusalCode::Conflict);
    assert_eq!(answer.to_frame(true).unwrap(), vector(ERROR_CORRELATED));
    assert_eq!(
        QuoteAnswer::decode_error(vector(ERROR_CORRELATED).payload, true).unwrap(),
        answer
    );
    let uncorrelated = QuoteAnswer::decode_error(vector(ERROR_CORRELATED).payload, false).unwrap();
    assert_eq!(uncorrelated.header_hash(), None);
    assert!(refused(None, RefusalCode::Other).to_frame(true).is_err());
}

#[test]
fn every_message_cut_short_is_malformed_and_a_longer_one_is_read() {
    for end in 0..vector(REQUEST).payload.len() {
        assert!(
            MintQuoteRequest::decode(vector(REQUEST).payload[..end].to_vec()).is_err(),
            "{end}"
        );
    }
    for end in 0..vector(RESPONSE).payload.len() {
        assert!(
            QuoteAnswer::decode_response(vector(RESPONSE).payload[..end].to_vec()).is_err(),
            "{end}"
        );
    }
    for end in 0..vector(ERROR).payload.len() {
        assert!(
            QuoteAnswer::decode_error(vector(ERROR).payload[..end].to_vec(), true).is_err(),
            "{end}"
        );
    }
    let longer = [vector(REQUEST).payload, vec![1, 2, 3]].concat();
    assert_eq!(MintQuoteRequest::decode(longer).unwrap(), request());
}

#[test]
fn what_does_not_fit_a_field_is_refused_or_cut() {
    let long = "é".repeat(128);
    assert!(
        MintQuoteRequest {
            unit: long.clone(),
            ..request()
        }
        .to_frame()
        .is_err()
    );
    assert!(
        MintQuoteRequest {
            locking_key: vec![0; 256],
            ..request()
        }
        .to_frame()
        .is_err()
    );
    let described = MintQuoteRequest {
        description: Some("why".to_owned()),
        ..request()
    };
    assert_eq!(
        MintQuoteRequest::decode(described.to_frame().unwrap().payload).unwrap(),
        described
    );
    let answer = QuoteAnswer::Refused {
        header_hash: Some(counting()),
        code: RefusalCode::Busy,
        message: long,
    };
    let read = QuoteAnswer::decode_error(answer.to_frame(true).unwrap().payload, true).unwrap();
    assert_eq!(
        read,
        QuoteAnswer::Refused {
            header_hash: Some(counting()),
            code: RefusalCode::Busy,
            message: "é".repeat(127),
        }
    );
    let mut not_text = vector(REQUEST).payload;
    not_text[9] = 0xff;
    assert_eq!(MintQuoteRequest::decode(not_text), Err(Malformed::Text));
}

#[test]
fn codes_round_trip_and_unknown_ones_are_other() {
    use RefusalCode::*;
    for (code, refusal) in (1..).zip([Other, Conflict, LockingKey, Amount, Busy]) {
        assert_eq!((refusal.code(), RefusalCode::from_code(code)), (code, refusal));
    }
    assert_eq!(RefusalCode::from_code(0), Other);
    assert_eq!(RefusalCode::from_code(6), Other);
}

#[test]
fn a_message_is_known_by_extension_and_type_together() {
    let ids = ExtensionIds::default();
    let kind = |extension, msg_type| Kind::of(&Frame::new(extension, msg_type, vec![]), &ids);
    assert_eq!(
        [0, 1, 2].map(|t| kind(0, t)),
        [
            Kind::SetupConnection,
            Kind::SetupConnectionSuccess,
            Kind::SetupConnectionError
        ]
    );
    assert_eq!(
        [0, 1, 2, 3].map(|t| kind(1, t)),
        [Kind::Negotiation, Kind::Negotiation, Kind::Negotiation, Kind::Unknown]
    );
    // Older peers: any extension type, but none of those that have other messages.
    for extension in [0, 2, QUOTE_EXTENSION, ids.quotes, 0x7fff] {
        assert_eq!(
            [0x80, 0x81, 0x82].map(|t| kind(extension, t)),
            [Kind::QuoteRequest, Kind::QuoteResponse, Kind::QuoteError]
        );
        assert_eq!([0x83, 0x84, 0x85].map(|t| kind(extension, t)), [Kind::Unknown; 3]);
    }
    for extension in [1, ids.stats, ids.proof] {
        assert_eq!([0x80, 0x81, 0x82].map(|t| kind(extension, t)), [Kind::Unknown; 3]);
    }
    assert_eq!(kind(ids.stats, 0x83), Kind::StatsRequest);
    assert_eq!(kind(ids.stats, 0x84), Kind::StatsResponse);
    assert_eq!(kind(ids.stats, 0x85), Kind::Unknown);
    assert_eq!(kind(ids.proof, 0x85), Kind::Proof);
    assert_eq!(kind(ids.proof, 0x84), Kind::Unknown);
    assert_eq!(kind(0x4D00, 0), Kind::Unknown);
    assert_eq!(kind(ids.quotes, 0x86), Kind::QuotesIssued);
    for extension in [0, 1, QUOTE_EXTENSION, ids.stats, ids.proof] {
        assert_eq!(kind(extension, 0x86), Kind::Unknown);
    }
}

#[test]
fn quote_ids_and_locking_keys_stay_out_of_debug_output() {
    let created = QuoteAnswer::decode_response(vector(RESPONSE).payload).unwrap();
    assert!(!format!("{created:?}").contains("01a2027e"));
    assert!(!format!("{:?}", request()).contains("387b85"));
}
