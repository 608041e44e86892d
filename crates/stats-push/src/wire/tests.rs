//! The payloads byte for byte, the bounds of what fits, and that no byte string does harm.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The vectors that `docs/PROTOCOL.md` shows.
fn vectors() -> Vec<Value> {
    serde_json::from_str(include_str!("../../../../docs/vectors.json")).unwrap()
}

/// Extension type without the channel bit, message type and payload of a vector's frame.
fn frame(vector: &Value) -> (u16, u8, Vec<u8>) {
    let frame = bytes(vector["frame"].as_str().unwrap());
    let extension = u16::from_le_bytes([frame[0], frame[1]]) & 0x7fff;
    assert_eq!(frame.len() - 6, usize::from(u16::from_le_bytes([frame[3], frame[4]])));
    (extension, frame[2], frame[6..].to_vec())
}

/// The payload of the vector with this name.
fn payload(name: &str) -> Vec<u8> {
    let vector = vectors().into_iter().find(|vector| vector["name"] == name).unwrap();
    frame(&vector).2
}

/// The vector that [`response`] spells out.
fn requested() -> Vec<u8> {
    payload("stats-requested")
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// The fields as the vectors name them, U64 as decimal text.
fn fields_of(snapshot: &Snapshot) -> Value {
    let text = |number: u64| number.to_string();
    let units = snapshot.units.iter().map(|unit| {
        json!({
            "unit": &*unit.unit,
            "quotes_unpaid": text(unit.quotes.unpaid),
            "quotes_paid": text(unit.quotes.paid),
            "quotes_issued": text(unit.quotes.issued),
            "amount_unpaid": text(unit.amounts.unpaid),
            "amount_paid": text(unit.amounts.paid),
            "amount_issued": text(unit.amounts.issued),
            "last_issued_at_ms": text(unit.last_issued_at.map_or(0, |time| time.0)),
        })
    });
    let units: Vec<_> = units.collect();
    json!({
        "request_id": snapshot.request_id,
        "reason": snapshot.reason.code(),
        "run_id": text(snapshot.run_id.0),
        "sequence": text(snapshot.sequence),
        "taken_at_ms": text(snapshot.taken_at.0),
        "interval_ms": snapshot.interval.as_millis() as u64,
        "total_quotes_issued": text(snapshot.ehash.quotes_redeemed),
        "total_ehash_issued": text(snapshot.ehash.amounts.issued),
        "quotes_unpaid": text(snapshot.ehash.quotes.unpaid),
        "quotes_paid": text(snapshot.ehash.quotes.paid),
        "quotes_issued": text(snapshot.ehash.quotes.issued),
        "amount_unpaid": text(snapshot.ehash.amounts.unpaid),
        "amount_paid": text(snapshot.ehash.amounts.paid),
        "units_total": snapshot.units_total,
        "units": units,
    })
}

/// The name that the vectors have for an error.
fn name_of(error: &DecodeError) -> &'static str {
    match error {
        DecodeError::Truncated { .. } => "truncated",
        DecodeError::ZeroRequestId => "zero_request_id",
        DecodeError::UnknownReason(_) => "unknown_reason",
        DecodeError::Interval(_) => "interval",
        DecodeError::UnitName(_) => "not_utf8",
    }
}

fn response() -> Snapshot {
    let hash = UnitStats {
        unit: "hash".into(),
        quotes: PerState {
            unpaid: 1,
            paid: 3,
            issued: 41,
        },
        amounts: PerState {
            unpaid: 8,
            paid: 96,
            issued: 1344,
        },
        last_issued_at: Some(UnixMillis(1_763_999_999_000)),
    };
    let sat = UnitStats {
        unit: "sat".into(),
        quotes: PerState {
            issued: 1,
            ..PerState::default()
        },
        amounts: PerState {
            issued: 9,
            ..PerState::default()
        },
        last_issued_at: None,
    };
    Snapshot {
        request_id: 7,
        reason: Reason::Requested,
        run_id: RunId(0x0123_4567_89ab_cdef),
        sequence: 123,
        taken_at: UnixMillis(1_764_000_000_123),
        interval: Duration::from_secs(5),
        ehash: EhashTotals {
            quotes_redeemed: 42,
            quotes: hash.quotes,
            amounts: hash.amounts,
        },
        units_total: 2,
        units: [hash, sat].into(),
    }
}

/// A snapshot that lists these names, each with its index as a number.
fn listing(names: impl IntoIterator<Item = String>) -> Snapshot {
    let units: Arc<[UnitStats]> = names
        .into_iter()
        .enumerate()
        .map(|(index, name)| UnitStats {
            unit: name.into(),
            quotes: PerState {
                issued: index as u64,
                ..PerState::default()
            },
            amounts: PerState::default(),
            last_issued_at: None,
        })
        .collect();
    Snapshot {
        units_total: units.len() as u16,
        units,
        ..response()
    }
}

#[test]
fn the_response_vector_reads_and_writes() {
    assert_eq!(response().encode(), requested());
    assert_eq!(Snapshot::decode(&requested()).unwrap(), response());
}

#[test]
fn every_vector_of_statistics_reads_as_it_says_and_writes_as_it_is() {
    let mut seen = [0, 0];
    for vector in vectors() {
        let (extension, msg_type, payload) = frame(&vector);
        let read = match (extension, msg_type) {
            (EXTENSION_TYPE, MINT_STATS_REQUEST) => MintStatsRequest::decode(&payload)
                .map(|request| (json!({ "request_id": request.request_id }), request.encode())),
            (EXTENSION_TYPE, MINT_STATS_RESPONSE) => {
                Snapshot::decode(&payload).map(|snapshot| (fields_of(&snapshot), snapshot.encode()))
            }
            _ => continue,
        };
        let name = &vector["name"];
        match read {
            Ok((fields, written)) => {
                let appended = bytes(vector["appended"].as_str().unwrap_or_default());
                assert_eq!(fields, vector["fields"], "{name}");
                assert_eq!([written, appended].concat(), payload, "{name}");
            }
            Err(error) => assert_eq!(vector["error"], name_of(&error), "{name}"),
        }
        seen[usize::from(msg_type - MINT_STATS_REQUEST)] += 1;
    }
    assert!(seen[0] >= 4 && seen[1] >= 12, "{seen:?}");
}

#[test]
fn the_request_vector_reads_and_writes() {
    let request = MintStatsRequest {
        request_id: 0x0403_0201,
    };
    assert_eq!(request.encode(), [1, 2, 3, 4]);
    assert_eq!(MintStatsRequest::decode(&[1, 2, 3, 4]).unwrap(), request);
    assert_eq!(
        MintStatsRequest::decode(&[1, 2, 3, 4, 5]).unwrap(),
        request,
        "a newer sender appends"
    );
    assert_eq!(MintStatsRequest::decode(&[0, 0, 0, 0]), Err(DecodeError::ZeroRequestId));
    for length in 0..4 {
        let message = "MintStatsRequest";
        assert_eq!(
            MintStatsRequest::decode(&[1; 4][..length]),
            Err(DecodeError::Truncated { message, length })
        );
    }
}

#[test]
fn a_newer_sender_appends_fields() {
    let mut payload = requested();
    payload.extend([0xff; 40]);
    assert_eq!(Snapshot::decode(&payload).unwrap(), response());
}

#[test]
fn p10_every_truncation_is_refused() {
    let payload = requested();
    for length in 0..payload.len() {
        let message = "MintStatsResponse";
        assert_eq!(
            Snapshot::decode(&payload[..length]),
            Err(DecodeError::Truncated { message, length })
        );
    }
}

#[test]
fn p10_an_interval_out_of_bounds_is_malformed() {
    for (interval_ms, allowed) in [
        (0, false),
        (99, false),
        (100, true),
        (3_600_000, true),
        (3_600_001, false),
    ] {
        let mut payload = requested();
        payload[29..33].copy_from_slice(&u32::to_le_bytes(interval_ms));
        let decoded = Snapshot::decode(&payload).map(|snapshot| snapshot.interval);
        let expected = Duration::from_millis(interval_ms.into());
        assert_eq!(
            decoded,
            if allowed {
                Ok(expected)
            } else {
                Err(DecodeError::Interval(interval_ms))
            }
        );
    }
}

#[test]
fn p10_an_unknown_reason_is_malformed() {
    let mut payload = requested();
    payload[4] = 5;
    assert_eq!(Snapshot::decode(&payload), Err(DecodeError::UnknownReason(5)));
}

#[test]
fn p10_a_unit_name_that_is_not_utf8_is_malformed() {
    let mut payload = requested();
    let sat = payload.len() - 56 - 3;
    payload[sat] = 0xff;
    assert_eq!(Snapshot::decode(&payload), Err(DecodeError::UnitName(1)));
}

#[test]
fn one_unit_fits_into_a_small_message() {
    let payload = listing(["hash".to_owned()]).encode();
    assert_eq!(payload.len(), 153, "with header and both MACs 191 bytes on the wire");
}

#[test]
fn the_newest_255_units_are_listed_and_the_total_tells_of_all() {
    let snapshot = listing((0..300).map(|epoch| format!("hash_{epoch}")));
    let decoded = Snapshot::decode(&snapshot.encode()).unwrap();
    assert_eq!(decoded.units_total, 300);
    assert_eq!(decoded.units[..], snapshot.units[45..]);
    assert_eq!(decoded.ehash, snapshot.ehash);
}

#[test]
fn long_names_bound_the_list_by_size() {
    let snapshot = listing((0..255).map(|epoch| format!("hash_{epoch:0250}")));
    let payload = snapshot.encode();
    let listed = (MAX_PAYLOAD - 92) / (1 + 255 + 56);
    assert!(listed < 255);
    assert_eq!(payload.len(), 92 + listed * 312);
    assert_eq!(
        Snapshot::decode(&payload).unwrap().units[..],
        snapshot.units[255 - listed..]
    );
}

#[test]
fn a_list_that_fits_to_the_last_byte_is_whole() {
    // 209 units of 312 bytes and one of 230 fill the message: 92 + 65208 + 230 = 65530.
    let mut names: Vec<_> = (0..209).map(|epoch| format!("{epoch:0255}")).collect();
    names.push(format!("{:0173}", 209));
    let payload = listing(names.clone()).encode();
    assert_eq!(payload.len(), MAX_PAYLOAD);
    assert_eq!(Snapshot::decode(&payload).unwrap().units.len(), 210);

    names[209].push('x');
    let payload = listing(names).encode();
    assert_eq!(Snapshot::decode(&payload).unwrap().units.len(), 209);
}

#[test]
fn a_name_too_long_to_travel_is_left_out() {
    let snapshot = listing(["hash".to_owned(), "x".repeat(256), "y".repeat(255)]);
    let decoded = Snapshot::decode(&snapshot.encode()).unwrap();
    assert_eq!(decoded.units_total, 3);
    assert_eq!(
        decoded.units.iter().map(|unit| unit.unit.len()).collect::<Vec<_>>(),
        [4, 255]
    );
}

fn per_state() -> impl Strategy<Value = PerState> {
    any::<[u64; 3]>().prop_map(|[unpaid, paid, issued]| PerState { unpaid, paid, issued })
}

prop_compose! {
    fn unit()(
        name in ".{0,40}",
        quotes in per_state(),
        amounts in per_state(),
        last_issued_at in prop::option::of(1u64..),
    ) -> UnitStats {
        UnitStats { unit: name.into(), quotes, amounts, last_issued_at: last_issued_at.map(UnixMillis) }
    }
}

prop_compose! {
    fn snapshot()(
        request_id in any::<u32>(),
        reason in prop::sample::select(Reason::ALL.to_vec()),
        numbers in any::<[u64; 4]>(),
        interval_ms in 100u64..=3_600_000,
        quotes in per_state(),
        amounts in per_state(),
        units_total in any::<u16>(),
        units in prop::collection::vec(unit(), 0..20),
    ) -> Snapshot {
        let [run_id, sequence, taken_at, quotes_redeemed] = numbers;
        Snapshot {
            request_id,
            reason,
            run_id: RunId(run_id),
            sequence,
            taken_at: UnixMillis(taken_at),
            interval: Duration::from_millis(interval_ms),
            ehash: EhashTotals { quotes_redeemed, quotes, amounts },
            units_total,
            units: units.into(),
        }
    }
}

proptest! {
    #[test]
    fn p1_what_is_written_is_read(snapshot in snapshot()) {
        prop_assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot));
    }

    #[test]
    fn p10_no_bytes_do_harm(payload in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(snapshot) = Snapshot::decode(&payload) {
            prop_assert!(snapshot.units.len() <= MAX_UNITS);
        }
        let _ = MintStatsRequest::decode(&payload);
    }

    #[test]
    fn p10_a_damaged_message_is_read_or_refused(at in 0usize..213, value in any::<u8>()) {
        let mut payload = requested();
        payload[at] = value;
        if let Ok(snapshot) = Snapshot::decode(&payload) {
            prop_assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot));
        }
    }
}
