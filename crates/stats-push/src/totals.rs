//! What a mint has issued, counted: per quote state, per currency unit, and over all ehash units.
//!
//! The ledger publishes [`Totals`] after each committed change; everything downstream (schedule, snapshot, cache, page)
//! only copies these numbers. Sums saturate at `u64::MAX`: a total that is too large to tell is shown as that bound,
//! never wrapped.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// A point of wall-clock time in milliseconds since the Unix epoch. For display only: freshness is judged by the
/// reader's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// The wall clock's present reading; a clock set before 1970 reads as 0.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// `self - earlier` in milliseconds, negative if `self` is the earlier one; saturates at the bounds of `i64`.
    pub fn millis_since(self, earlier: Self) -> i64 {
        let difference = i128::from(self.0) - i128::from(earlier.0);
        difference.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }
}

impl From<SystemTime> for UnixMillis {
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

/// One number for each state of a mint quote (NUT-04): quote counts, or amounts in the unit's smallest denomination.
///
/// A quote counts in exactly one state. As an amount, `unpaid` is what unpaid quotes ask, `paid` what is paid and not
/// yet issued, `issued` what was issued, of partly issued quotes too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PerState {
    /// Of quotes in state UNPAID.
    pub unpaid: u64,
    /// Of quotes in state PAID.
    pub paid: u64,
    /// Of quotes in state ISSUED.
    pub issued: u64,
}

impl PerState {
    /// The sum state by state, saturating.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self {
            unpaid: self.unpaid.saturating_add(other.unpaid),
            paid: self.paid.saturating_add(other.paid),
            issued: self.issued.saturating_add(other.issued),
        }
    }
}

/// The quotes and amounts of one currency unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitStats {
    /// The unit's name as the mint spells it, `hash` or `hash_…` for ehash; at most 255 bytes travel.
    pub unit: Arc<str>,
    /// Quotes by state.
    pub quotes: PerState,
    /// Amounts by state, in the unit's smallest denomination.
    pub amounts: PerState,
    /// When something was last issued in this unit, `None` if never.
    pub last_issued_at: Option<UnixMillis>,
}

/// Totals over all units for which [`is_ehash_unit`] holds, also of those that a message has no room to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EhashTotals {
    /// Quotes of which anything was issued (`total_quotes_issued` on the wire): what an operator calls redeemed. A
    /// partly issued quote counts here and, by its state, in `quotes.paid`.
    pub quotes_redeemed: u64,
    /// Quotes by state.
    pub quotes: PerState,
    /// Amounts by state; `amounts.issued` is `total_ehash_issued` on the wire.
    pub amounts: PerState,
}

/// Whether a unit is ehash: named `hash`, or `hash_` followed by what tells the mining epochs apart.
///
/// ```
/// assert!(stats_push::is_ehash_unit("hash"));
/// assert!(stats_push::is_ehash_unit("hash_02ab_912345"));
/// assert!(!stats_push::is_ehash_unit("sat"));
/// ```
pub fn is_ehash_unit(unit: &str) -> bool {
    unit == "hash" || unit.starts_with("hash_")
}

/// All that a mint has counted at one version of its ledger: what the ledger publishes and a snapshot carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The ledger's version, one higher with every change: the `sequence` of a snapshot.
    pub version: u64,
    /// The sums over all ehash units.
    pub ehash: EhashTotals,
    /// Every unit, the oldest first.
    pub units: Arc<[UnitStats]>,
}

impl Totals {
    /// Totals at `version` over `units`, the oldest first, each with its number of redeemed quotes (see
    /// [`EhashTotals::quotes_redeemed`]). Computes the sums over the ehash units.
    pub fn new(version: u64, units: impl IntoIterator<Item = (UnitStats, u64)>) -> Self {
        let mut ehash = EhashTotals::default();
        let units = units
            .into_iter()
            .map(|(unit, redeemed)| {
                if is_ehash_unit(&unit.unit) {
                    ehash.quotes_redeemed = ehash.quotes_redeemed.saturating_add(redeemed);
                    ehash.quotes = ehash.quotes.saturating_add(unit.quotes);
                    ehash.amounts = ehash.amounts.saturating_add(unit.amounts);
                }
                unit
            })
            .collect();
        Self { version, ehash, units }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str, n: u64) -> UnitStats {
        let state = PerState {
            unpaid: n,
            paid: n + 1,
            issued: n + 2,
        };
        UnitStats {
            unit: name.into(),
            quotes: state,
            amounts: state,
            last_issued_at: None,
        }
    }

    #[test]
    fn sums_cover_the_ehash_units_only() {
        let totals = Totals::new(
            7,
            [
                (unit("hash", 10), 5),
                (unit("sat", 1000), 900),
                (unit("hash_a_1", 1), 2),
            ],
        );
        assert_eq!(totals.version, 7);
        assert_eq!(totals.units.len(), 3);
        assert_eq!(totals.ehash.quotes_redeemed, 7);
        let expected = PerState {
            unpaid: 11,
            paid: 13,
            issued: 15,
        };
        assert_eq!(totals.ehash.quotes, expected);
        assert_eq!(totals.ehash.amounts, expected);
    }

    #[test]
    fn sums_saturate() {
        let mut large = unit("hash", 0);
        large.amounts = PerState {
            unpaid: u64::MAX,
            paid: u64::MAX - 1,
            issued: 1,
        };
        let totals = Totals::new(1, [(large.clone(), u64::MAX), (large, 1)]);
        assert_eq!(
            totals.ehash.amounts,
            PerState {
                unpaid: u64::MAX,
                paid: u64::MAX,
                issued: 2
            }
        );
        assert_eq!(totals.ehash.quotes_redeemed, u64::MAX);
    }

    #[test]
    fn only_hash_and_its_epochs_are_ehash() {
        for (name, expected) in [
            ("hash", true),
            ("hash_", true),
            ("hashes", false),
            ("HASH", false),
            ("", false),
        ] {
            assert_eq!(is_ehash_unit(name), expected, "{name:?}");
        }
    }

    #[test]
    fn wall_clock_differences_have_a_sign_and_saturate() {
        assert_eq!(UnixMillis(5).millis_since(UnixMillis(2)), 3);
        assert_eq!(UnixMillis(2).millis_since(UnixMillis(5)), -3);
        assert_eq!(UnixMillis(u64::MAX).millis_since(UnixMillis(0)), i64::MAX);
        assert_eq!(UnixMillis(0).millis_since(UnixMillis(u64::MAX)), i64::MIN);
        assert_eq!(
            UnixMillis::from(UNIX_EPOCH + Duration::from_millis(1500)),
            UnixMillis(1500)
        );
        assert_eq!(UnixMillis::from(UNIX_EPOCH - Duration::from_secs(1)), UnixMillis(0));
        assert!(UnixMillis::now() > UnixMillis(1_700_000_000_000));
    }
}
