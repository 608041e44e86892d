//! The payloads of the two messages of extension 0x4D53, as bytes in and bytes out.
//!
//! Whoever adopts this crate frames them with the SV2 library at hand: match on ([`EXTENSION_TYPE`], message type),
//! never on the type alone, and leave the channel bit clear. A reader decodes the fields it knows and ignores what
//! follows, so it reads newer senders too; nothing that it decodes is trusted beyond the bounds checked here.

use std::time::Duration;

use binary_sv2::{Deserialize, GetSize, Serialize, Str0255, from_bytes, to_bytes};

use crate::{EhashTotals, PerState, PushConfig, Reason, RunId, Snapshot, UnitStats, UnixMillis};

/// The mint statistics extension, in SV2's experimental range.
pub const EXTENSION_TYPE: u16 = 0x4D53;
/// Message type of `MintStatsRequest`, pool to mint.
pub const MINT_STATS_REQUEST: u8 = 0x83;
/// Message type of `MintStatsResponse`, mint to pool.
pub const MINT_STATS_RESPONSE: u8 = 0x84;

/// The largest payload that [`Snapshot::encode`] makes, in bytes: with SV2's 6-byte header a frame of 64 KiB.
pub const MAX_PAYLOAD: usize = 65_536 - 6;
/// The most units that one message lists, the bound of SV2's `SEQ0_255`.
pub const MAX_UNITS: usize = 255;
/// The longest unit name that travels, in bytes, the bound of SV2's `STR0_255`.
pub const MAX_UNIT_NAME: usize = 255;

/// Why a payload is not the message that its type says (P10: count it, drop it, go on).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The payload ends before its last field, or a field's own length points past the end.
    #[error("{message}: {length} bytes end before the message does")]
    Truncated {
        /// The message's name.
        message: &'static str,
        /// The payload's length in bytes.
        length: usize,
    },
    /// A request id of 0, which would mean "unsolicited".
    #[error("MintStatsRequest: request_id is 0, allowed are 1 to 4294967295")]
    ZeroRequestId,
    /// A reason that this version does not know.
    #[error("MintStatsResponse: reason is {0}, allowed are 0 to 4")]
    UnknownReason(u8),
    /// An interval outside its bounds (P10).
    #[error("MintStatsResponse: interval_ms is {0}, allowed are 100 to 3600000")]
    Interval(u32),
    /// A unit's name that is not UTF-8.
    #[error("MintStatsResponse: the name of unit {0} in the list is not UTF-8")]
    UnitName(usize),
}

/// Asks the mint for a fresh snapshot (P5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MintStatsRequest {
    /// From 1 and growing within a session; an answer closes it and all earlier ones.
    pub request_id: u32,
}

#[derive(Serialize, Deserialize)]
struct RequestFields {
    request_id: u32,
}

#[derive(Serialize, Deserialize)]
struct ResponseHead {
    request_id: u32,
    reason: u8,
    run_id: u64,
    sequence: u64,
    taken_at_ms: u64,
    interval_ms: u32,
    total_quotes_issued: u64,
    total_ehash_issued: u64,
    quotes_unpaid: u64,
    quotes_paid: u64,
    quotes_issued: u64,
    amount_unpaid: u64,
    amount_paid: u64,
    units_total: u16,
    units_listed: u8,
}

#[derive(Serialize, Deserialize)]
struct UnitFields<'decoder> {
    unit: Str0255<'decoder>,
    quotes_unpaid: u64,
    quotes_paid: u64,
    quotes_issued: u64,
    amount_unpaid: u64,
    amount_paid: u64,
    amount_issued: u64,
    last_issued_at_ms: u64,
}

impl MintStatsRequest {
    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        self.request_id.to_le_bytes().to_vec()
    }

    /// Reads a payload; ignores bytes after the fields known here.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut bytes = payload.to_vec();
        let RequestFields { request_id } = from_bytes(&mut bytes).map_err(|_| DecodeError::Truncated {
            message: "MintStatsRequest",
            length: payload.len(),
        })?;
        if request_id == 0 {
            return Err(DecodeError::ZeroRequestId);
        }
        Ok(Self { request_id })
    }
}

impl Snapshot {
    /// The payload of a `MintStatsResponse`, at most [`MAX_PAYLOAD`] bytes. It lists the newest units that fit, at most
    /// [`MAX_UNITS`], and leaves out one whose name is longer than [`MAX_UNIT_NAME`]; the totals and `units_total`
    /// cover them all.
    pub fn encode(&self) -> Vec<u8> {
        let (units, unit_bytes) = self.units_that_fit();
        let head = ResponseHead {
            request_id: self.request_id,
            reason: self.reason.code(),
            run_id: self.run_id.0,
            sequence: self.sequence,
            taken_at_ms: self.taken_at.0,
            interval_ms: u32::try_from(self.interval.as_millis()).unwrap_or(u32::MAX),
            total_quotes_issued: self.ehash.quotes_redeemed,
            total_ehash_issued: self.ehash.amounts.issued,
            quotes_unpaid: self.ehash.quotes.unpaid,
            quotes_paid: self.ehash.quotes.paid,
            quotes_issued: self.ehash.quotes.issued,
            amount_unpaid: self.ehash.amounts.unpaid,
            amount_paid: self.ehash.amounts.paid,
            units_total: self.units_total,
            units_listed: u8::try_from(units.len()).unwrap_or(u8::MAX),
        };
        let mut payload = Vec::with_capacity(HEAD_SIZE + unit_bytes);
        append(&mut payload, head);
        for fields in units {
            append(&mut payload, fields);
        }
        payload
    }

    /// Reads the payload of a `MintStatsResponse`; ignores bytes after the fields known here.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let truncated = || DecodeError::Truncated {
            message: "MintStatsResponse",
            length: payload.len(),
        };
        let mut bytes = payload.to_vec();
        let head: ResponseHead = from_bytes(&mut bytes).map_err(|_| truncated())?;
        let reason = Reason::from_code(head.reason).ok_or(DecodeError::UnknownReason(head.reason))?;
        let interval = Duration::from_millis(head.interval_ms.into());
        if !(PushConfig::MIN_INTERVAL..=PushConfig::MAX_INTERVAL).contains(&interval) {
            return Err(DecodeError::Interval(head.interval_ms));
        }
        let mut rest = bytes.get_mut(HEAD_SIZE..).ok_or_else(truncated)?;
        let mut units = Vec::with_capacity(head.units_listed.into());
        for index in 0..head.units_listed.into() {
            let size = unit_size(rest).ok_or_else(truncated)?;
            let (field_bytes, following) = rest.split_at_mut_checked(size).ok_or_else(truncated)?;
            rest = following;
            let fields: UnitFields = from_bytes(field_bytes).map_err(|_| truncated())?;
            units.push(fields.decoded().ok_or(DecodeError::UnitName(index))?);
        }
        Ok(Self {
            request_id: head.request_id,
            reason,
            run_id: RunId(head.run_id),
            sequence: head.sequence,
            taken_at: UnixMillis(head.taken_at_ms),
            interval,
            ehash: EhashTotals {
                quotes_redeemed: head.total_quotes_issued,
                quotes: PerState {
                    unpaid: head.quotes_unpaid,
                    paid: head.quotes_paid,
                    issued: head.quotes_issued,
                },
                amounts: PerState {
                    unpaid: head.amount_unpaid,
                    paid: head.amount_paid,
                    issued: head.total_ehash_issued,
                },
            },
            units_total: head.units_total,
            units: units.into(),
        })
    }

    /// The newest units that fit, the oldest of them first, and their size in bytes.
    fn units_that_fit(&self) -> (Vec<UnitFields<'_>>, usize) {
        let mut size = 0;
        let mut fitting: Vec<UnitFields<'_>> = self
            .units
            .iter()
            .rev()
            .filter_map(|unit| UnitFields::encoded(unit).ok())
            .take(MAX_UNITS)
            .take_while(|fields| {
                let with_this = size + fields.get_size();
                let fits = HEAD_SIZE + with_this <= MAX_PAYLOAD;
                if fits {
                    size = with_this;
                }
                fits
            })
            .collect();
        fitting.reverse();
        (fitting, size)
    }
}

/// The bytes of [`ResponseHead`]: the count of the listed units included, the units not.
const HEAD_SIZE: usize = 92;
/// The bytes of [`UnitFields`] after the name: seven U64.
const UNIT_NUMBERS_SIZE: usize = 7 * 8;

/// The size of the unit at the start of `bytes`, by its name's length.
fn unit_size(bytes: &[u8]) -> Option<usize> {
    bytes.first().map(|&name| 1 + usize::from(name) + UNIT_NUMBERS_SIZE)
}

fn append<T: Serialize + GetSize>(payload: &mut Vec<u8>, fields: T) {
    let bytes = to_bytes(fields);
    debug_assert!(
        bytes.is_ok(),
        "binary_sv2 fails only on a buffer that is too small, and sizes this one itself"
    );
    payload.extend(bytes.unwrap_or_default());
}

impl<'a> UnitFields<'a> {
    /// Fails for a name that does not travel.
    fn encoded(unit: &'a UnitStats) -> Result<Self, binary_sv2::Error> {
        Ok(Self {
            unit: Str0255::try_from(unit.unit.as_bytes())?,
            quotes_unpaid: unit.quotes.unpaid,
            quotes_paid: unit.quotes.paid,
            quotes_issued: unit.quotes.issued,
            amount_unpaid: unit.amounts.unpaid,
            amount_paid: unit.amounts.paid,
            amount_issued: unit.amounts.issued,
            last_issued_at_ms: unit.last_issued_at.map_or(0, |time| time.0),
        })
    }

    /// `None` for a name that is not UTF-8.
    fn decoded(&self) -> Option<UnitStats> {
        Some(UnitStats {
            unit: std::str::from_utf8(self.unit.as_bytes()).ok()?.into(),
            quotes: PerState {
                unpaid: self.quotes_unpaid,
                paid: self.quotes_paid,
                issued: self.quotes_issued,
            },
            amounts: PerState {
                unpaid: self.amount_unpaid,
                paid: self.amount_paid,
                issued: self.amount_issued,
            },
            last_issued_at: (self.last_issued_at_ms != 0).then_some(UnixMillis(self.last_issued_at_ms)),
        })
    }
}

#[cfg(test)]
mod tests;
