//! A snapshot: everything the mint counts, at one moment, whole (P1). What one `MintStatsResponse` carries.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Serialize, Serializer};

use crate::{EhashTotals, Totals, UnitStats, UnixMillis};

/// Identifies one run of a mint. Random, and only ever compared for equality (P8).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunId(pub u64);

impl RunId {
    /// A fresh one for this run of the mint.
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({self})")
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a snapshot was pushed. Where several reasons meet, the strongest names the push (P7): the order of this enum,
/// from weak to strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// The interval came round (P3).
    Periodic,
    /// Something changed (P4).
    Event,
    /// The first of a session (P2).
    Initial,
    /// The pool asked (P5).
    Requested,
    /// The mint stops in order (P6).
    Final,
}

impl Reason {
    /// Every reason, in the order of their codes on the wire.
    pub const ALL: [Self; 5] = [Self::Initial, Self::Periodic, Self::Event, Self::Requested, Self::Final];

    /// The code on the wire: 0 initial, 1 periodic, 2 event, 3 requested, 4 final.
    pub const fn code(self) -> u8 {
        match self {
            Self::Initial => 0,
            Self::Periodic => 1,
            Self::Event => 2,
            Self::Requested => 3,
            Self::Final => 4,
        }
    }

    /// The reason with this code, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// The name in JSON and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Periodic => "periodic",
            Self::Event => "event",
            Self::Requested => "requested",
            Self::Final => "final",
        }
    }
}

/// The mint's totals at one moment, with what a reader needs to order and to date them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The request that this answers, with all earlier ones; 0 for an unsolicited snapshot (P5).
    pub request_id: u32,
    /// Why it was pushed.
    pub reason: Reason,
    /// The run of the mint that took it.
    pub run_id: RunId,
    /// The ledger's version: grows with every change within a run (P8).
    pub sequence: u64,
    /// When the mint took it, by the mint's wall clock.
    pub taken_at: UnixMillis,
    /// The period at which this mint pushes, 100 ms to 1 h: what freshness is judged against (P9).
    pub interval: Duration,
    /// Totals over all ehash units.
    pub ehash: EhashTotals,
    /// How many units the mint has; may be more than are listed. Saturates at 65,535.
    pub units_total: u16,
    /// The units listed. A mint's own snapshot lists all of them, the oldest first; on the wire the newest that fit.
    pub units: Arc<[UnitStats]>,
}

impl Snapshot {
    /// Whether this is the answer to a request.
    pub fn is_answer(&self) -> bool {
        self.request_id != 0
    }

    pub(crate) fn of(totals: &Totals, run_id: RunId, interval: Duration, request_id: u32, reason: Reason) -> Self {
        Self {
            request_id,
            reason,
            run_id,
            sequence: totals.version,
            taken_at: UnixMillis::now(),
            interval,
            ehash: totals.ehash,
            units_total: u16::try_from(totals.units.len()).unwrap_or(u16::MAX),
            units: Arc::clone(&totals.units),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p7_the_strongest_reason_is_final_then_requested_initial_event_periodic() {
        let mut reasons = Reason::ALL;
        reasons.sort_by(|a, b| b.cmp(a));
        assert_eq!(
            reasons.map(Reason::as_str),
            ["final", "requested", "initial", "event", "periodic"]
        );
    }

    #[test]
    fn reasons_round_trip_their_codes_and_names() {
        for (code, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(reason.code()), code);
            assert_eq!(Reason::from_code(reason.code()), Some(reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
        assert_eq!(Reason::from_code(5), None);
    }

    #[test]
    fn run_ids_differ_and_print_as_sixteen_hex_digits() {
        assert_ne!(RunId::random(), RunId::random());
        assert_eq!(RunId(0xab).to_string(), "00000000000000ab");
        assert_eq!(format!("{:?}", RunId(0xab)), "RunId(00000000000000ab)");
        assert_eq!(serde_json::to_value(RunId(0xab)).unwrap(), "00000000000000ab");
    }
}
