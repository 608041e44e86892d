//! The arithmetic: what one quote adds to the figures of its unit, and how the figures of all units become [`Totals`].
//!
//! Sums are kept in 128 bits, so that they stay exact and can be taken back whatever the amounts are; they saturate at
//! `u64::MAX` only where they are published.

use std::{ops::AddAssign, sync::Arc};

use cdk_common::mint::MintQuote;
use serde::{Deserialize, Serialize};
use stats_push::{PerState, Totals, UnitStats, UnixMillis};

/// CDK notes an issuance by the second of its update, the ledger to the millisecond of its commit, which comes after it:
/// by no more than a busy disk takes.
const LONGEST_COMMIT_MS: u64 = 10_000;

/// The three amounts of a quote that decide what it counts for, as the database stores them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QuoteAmounts {
    /// What the quote asks; 0 if it names no amount.
    pub(crate) asked: u64,
    /// What was paid on it.
    pub(crate) paid: u64,
    /// What was issued for it.
    pub(crate) issued: u64,
}

impl QuoteAmounts {
    /// The amounts of a quote as it was read from, or written to, the database.
    pub(crate) fn of(quote: &MintQuote) -> Self {
        Self {
            paid: quote.amount_paid().value(),
            issued: quote.amount_issued().value(),
            ..Self::of_new(quote)
        }
    }

    /// The amounts of a quote that is just being added: CDK stores a new quote with nothing paid or issued, whatever
    /// the value in memory says, and an amount beyond 63 bits as none.
    pub(crate) fn of_new(quote: &MintQuote) -> Self {
        let asked = quote.amount.clone().and_then(|amount| amount.to_i64());
        Self {
            asked: asked.and_then(|amount| u64::try_from(amount).ok()).unwrap_or(0),
            paid: 0,
            issued: 0,
        }
    }
}

/// Amounts by quote state, exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sums {
    pub(crate) unpaid: u128,
    pub(crate) paid: u128,
    pub(crate) issued: u128,
}

/// What quotes count for: one quote's share, or the sum over a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Quotes by state.
    pub(crate) quotes: PerState,
    /// Quotes of which anything was issued.
    pub(crate) redeemed: u64,
    /// Amounts by state.
    pub(crate) amounts: Sums,
}

impl From<QuoteAmounts> for Figures {
    /// States as CDK derives them: nothing paid and nothing issued is UNPAID, more paid than issued PAID, else ISSUED.
    fn from(quote: QuoteAmounts) -> Self {
        let mut figures = Self::default();
        if quote.paid == 0 && quote.issued == 0 {
            figures.quotes.unpaid = 1;
            figures.amounts.unpaid = quote.asked.into();
        } else if quote.paid > quote.issued {
            figures.quotes.paid = 1;
            figures.amounts.paid = (quote.paid - quote.issued).into();
        } else {
            figures.quotes.issued = 1;
        }
        figures.redeemed = u64::from(quote.issued > 0);
        figures.amounts.issued = quote.issued.into();
        figures
    }
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.quotes = self.quotes.saturating_add(other.quotes);
        self.redeemed = self.redeemed.saturating_add(other.redeemed);
        self.amounts.unpaid = self.amounts.unpaid.saturating_add(other.amounts.unpaid);
        self.amounts.paid = self.amounts.paid.saturating_add(other.amounts.paid);
        self.amounts.issued = self.amounts.issued.saturating_add(other.amounts.issued);
    }
}

impl Figures {
    /// Takes one quote's share back out. `None` if it was never in: the database was changed behind the ledger's back.
    fn checked_sub(self, share: Self) -> Option<Self> {
        Some(Self {
            quotes: PerState {
                unpaid: self.quotes.unpaid.checked_sub(share.quotes.unpaid)?,
                paid: self.quotes.paid.checked_sub(share.quotes.paid)?,
                issued: self.quotes.issued.checked_sub(share.quotes.issued)?,
            },
            redeemed: self.redeemed.checked_sub(share.redeemed)?,
            amounts: Sums {
                unpaid: self.amounts.unpaid.checked_sub(share.amounts.unpaid)?,
                paid: self.amounts.paid.checked_sub(share.amounts.paid)?,
                issued: self.amounts.issued.checked_sub(share.amounts.issued)?,
            },
        })
    }

    /// Every figure with its name, for an audit to compare.
    pub(crate) fn named(&self) -> [(&'static str, u128); 7] {
        [
            ("unpaid quotes", self.quotes.unpaid.into()),
            ("paid quotes", self.quotes.paid.into()),
            ("issued quotes", self.quotes.issued.into()),
            ("redeemed quotes", self.redeemed.into()),
            ("unpaid amount", self.amounts.unpaid),
            ("paid amount", self.amounts.paid),
            ("issued amount", self.amounts.issued),
        ]
    }
}

/// The figures of one currency unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnitTally {
    pub(crate) unit: Arc<str>,
    pub(crate) figures: Figures,
    pub(crate) last_issued_at: Option<UnixMillis>,
}

/// What a transaction did to one quote: its amounts when the transaction began, and now.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) unit: Arc<str>,
    /// What the quote asks to be paid, by which its maker knows it.
    pub(crate) request: Arc<str>,
    /// `None`: the quote did not exist.
    pub(crate) before: Option<QuoteAmounts>,
    pub(crate) after: Option<QuoteAmounts>,
}

impl Change {
    /// Whether this is the change by which the quote came to be issued whole.
    pub(crate) fn issues_whole(&self) -> bool {
        let issued = |amounts: Option<QuoteAmounts>| amounts.is_some_and(|held| Figures::from(held).quotes.issued == 1);
        issued(self.after) && !issued(self.before)
    }
}

/// The figures of every unit, the oldest first, at one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) version: u64,
    pub(crate) units: Vec<UnitTally>,
}

impl Tally {
    /// Counts the changes in and returns the positions of the units that they touched, in order. The version is the
    /// caller's to raise.
    pub(crate) fn apply(&mut self, changes: &[Change], now: UnixMillis) -> Vec<usize> {
        let mut touched = Vec::new();
        for change in changes.iter().filter(|change| change.before != change.after) {
            let position = self.position(&change.unit);
            if let Some(unit) = self.units.get_mut(position) {
                unit.apply(change, now);
            }
            touched.push(position);
        }
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    /// Where a unit stands; a new one goes to the end. Searched from the end, where the current mining epoch is.
    fn position(&mut self, unit: &Arc<str>) -> usize {
        self.units
            .iter()
            .rposition(|known| known.unit == *unit)
            .unwrap_or_else(|| {
                self.units.push(UnitTally {
                    unit: Arc::clone(unit),
                    figures: Figures::default(),
                    last_issued_at: None,
                });
                self.units.len() - 1
            })
    }

    /// Keeps the milliseconds of an issuance that `older` knows where this tally, counted by SQL, has the second only.
    pub(crate) fn refine_times(&mut self, older: &Self) {
        for unit in &mut self.units {
            let known = older.units.iter().rfind(|known| known.unit == unit.unit);
            let known = known.and_then(|known| known.last_issued_at);
            if let (Some(coarse), Some(fine)) = (unit.last_issued_at, known)
                && fine
                    .0
                    .checked_sub(coarse.0)
                    .is_some_and(|later| later < LONGEST_COMMIT_MS)
            {
                unit.last_issued_at = Some(fine);
            }
        }
    }

    /// The published form. Costs one pass over the units, none over quotes.
    pub(crate) fn totals(&self) -> Totals {
        Totals::new(
            self.version,
            self.units.iter().map(|unit| (unit.stats(), unit.figures.redeemed)),
        )
    }
}

impl UnitTally {
    fn apply(&mut self, change: &Change, now: UnixMillis) {
        if let Some(before) = change.before {
            match self.figures.checked_sub(before.into()) {
                Some(rest) => self.figures = rest,
                None => tracing::error!(
                    unit = %self.unit,
                    "the database was changed beside the ledger: its totals are off until a rebase"
                ),
            }
        }
        if let Some(after) = change.after {
            self.figures += after.into();
        }
        let issued = |amounts: Option<QuoteAmounts>| amounts.map_or(0, |amounts| amounts.issued);
        if issued(change.after) > issued(change.before) {
            self.last_issued_at = self.last_issued_at.max(Some(now));
        }
    }

    fn stats(&self) -> UnitStats {
        let saturated = |sum: u128| u64::try_from(sum).unwrap_or(u64::MAX);
        UnitStats {
            unit: Arc::clone(&self.unit),
            quotes: self.figures.quotes,
            amounts: PerState {
                unpaid: saturated(self.figures.amounts.unpaid),
                paid: saturated(self.figures.amounts.paid),
                issued: saturated(self.figures.amounts.issued),
            },
            last_issued_at: self.last_issued_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(asked: u64, paid: u64, issued: u64) -> QuoteAmounts {
        QuoteAmounts { asked, paid, issued }
    }

    fn change(unit: &str, before: Option<QuoteAmounts>, after: QuoteAmounts) -> Change {
        Change {
            unit: unit.into(),
            request: "a request".into(),
            before,
            after: Some(after),
        }
    }

    #[test]
    fn a_quote_counts_in_exactly_one_state() {
        for (quote, quotes, sums, redeemed) in [
            (amounts(8, 0, 0), [1, 0, 0], [8, 0, 0], 0),
            (amounts(8, 8, 0), [0, 1, 0], [0, 8, 0], 0),
            (amounts(8, 8, 3), [0, 1, 0], [0, 5, 3], 1),
            (amounts(8, 8, 8), [0, 0, 1], [0, 0, 8], 1),
            (amounts(8, 2, 8), [0, 0, 1], [0, 0, 8], 1),
        ] {
            let figures = Figures::from(quote);
            let states = figures.quotes;
            assert_eq!([states.unpaid, states.paid, states.issued], quotes, "{quote:?}");
            let by_state = figures.amounts;
            assert_eq!([by_state.unpaid, by_state.paid, by_state.issued], sums, "{quote:?}");
            assert_eq!(figures.redeemed, redeemed, "{quote:?}");
        }
    }

    #[test]
    fn a_quote_comes_to_be_issued_whole_once() {
        let (paid, part, whole) = (amounts(8, 8, 0), amounts(8, 8, 3), amounts(8, 8, 8));
        assert!(change("hash", Some(paid), whole).issues_whole());
        assert!(change("hash", Some(part), whole).issues_whole());
        assert!(!change("hash", Some(paid), part).issues_whole());
        assert!(!change("hash", None, paid).issues_whole());
        assert!(!change("hash", Some(whole), whole).issues_whole());
    }

    #[test]
    fn sums_saturate_only_where_they_are_published() {
        let mut tally = Tally::default();
        let huge = amounts(0, 1 << 62, 1 << 62);
        for _ in 0..5 {
            tally.apply(&[change("hash", None, huge)], UnixMillis(1));
        }
        assert_eq!(tally.totals().ehash.amounts.issued, u64::MAX);
        // One of five goes: 4 * 2^62 = 2^64 still saturates, and one more leaves 3 * 2^62 exactly.
        for _ in 0..2 {
            let gone = Change {
                unit: "hash".into(),
                request: "a request".into(),
                before: Some(huge),
                after: None,
            };
            tally.apply(&[gone], UnixMillis(1));
        }
        assert_eq!(tally.totals().ehash.amounts.issued, 3 << 62);
    }

    #[test]
    fn units_keep_the_order_in_which_they_came_and_their_time_of_issue() {
        let mut tally = Tally::default();
        let changes = [
            change("sat", None, amounts(1, 0, 0)),
            change("hash", None, amounts(2, 2, 2)),
        ];
        assert_eq!(tally.apply(&changes, UnixMillis(5_000)), vec![0, 1]);
        let paid = change("sat", Some(amounts(1, 0, 0)), amounts(1, 1, 0));
        assert_eq!(tally.apply(&[paid], UnixMillis(6_000)), vec![0]);
        let units: Vec<_> = tally
            .units
            .iter()
            .map(|unit| (&*unit.unit, unit.last_issued_at))
            .collect();
        assert_eq!(units, [("sat", None), ("hash", Some(UnixMillis(5_000)))]);
    }

    #[test]
    fn what_did_not_change_touches_nothing() {
        let mut tally = Tally::default();
        let same = change("hash", Some(amounts(1, 1, 0)), amounts(1, 1, 0));
        assert!(tally.apply(&[same], UnixMillis(1)).is_empty());
        assert!(tally.units.is_empty());
    }

    #[test]
    fn a_clock_that_goes_back_does_not_take_the_time_of_issue_back() {
        let mut tally = Tally::default();
        tally.apply(&[change("hash", None, amounts(1, 1, 1))], UnixMillis(9));
        tally.apply(&[change("hash", None, amounts(1, 1, 1))], UnixMillis(4));
        assert_eq!(tally.units[0].last_issued_at, Some(UnixMillis(9)));
    }

    #[test]
    fn a_recount_keeps_the_milliseconds_it_cannot_see() {
        let mut fine = Tally::default();
        fine.apply(&[change("hash", None, amounts(1, 1, 1))], UnixMillis(7_123));
        let mut coarse = fine.clone();
        coarse.units[0].last_issued_at = Some(UnixMillis(7_000));
        coarse.refine_times(&fine);
        assert_eq!(coarse.units[0].last_issued_at, Some(UnixMillis(7_123)));
        // The commit came after the turn of the second.
        coarse.units[0].last_issued_at = Some(UnixMillis(6_000));
        coarse.refine_times(&fine);
        assert_eq!(coarse.units[0].last_issued_at, Some(UnixMillis(7_123)));
        coarse.units[0].last_issued_at = Some(UnixMillis(8_000));
        coarse.refine_times(&fine);
        assert_eq!(coarse.units[0].last_issued_at, Some(UnixMillis(8_000)));
    }
}
