//! How fast quotes are redeemed: a rate over three windows, and a bar for each minute of the last hour.

use std::{fmt::Write as _, time::Duration};

use super::Cell;
use crate::{
    History,
    format::{self, grouped},
    history::{
        json::{self, RateJson},
        rings::{Grid, UnixSeconds},
        unix_seconds,
    },
};

/// Minutes in the picture.
const MINUTES: u64 = 60;

/// What stands beside the number of redeemed quotes.
pub(super) struct Rates {
    pub(super) windows: [Window; 3],
    pub(super) bars: Bars,
}

/// The rate over one window.
pub(super) struct Window {
    pub(super) label: &'static str,
    pub(super) cell: Cell,
    /// How much of the window is known, unless it is nearly all of it.
    pub(super) so_far: String,
}

/// The last hour by the minute, as the `d` of an SVG path in a box of 600 by 100.
#[derive(Debug, PartialEq)]
pub(super) struct Bars {
    pub(super) path: String,
    pub(super) note: String,
}

impl Rates {
    pub(super) fn new(history: &History) -> Self {
        let now = unix_seconds();
        let [five_minutes, hour, day] = json::rates(history, now);
        let window = |label, id, field, rate: RateJson| Window {
            label,
            cell: Cell::new(id, field, "rate", rate.per_minute.and_then(format::rate)),
            so_far: so_far(&rate),
        };
        Self {
            windows: [
                window("5 min", "rate-5m", "rates.0.per_minute", five_minutes),
                window("1 h", "rate-1h", "rates.1.per_minute", hour),
                window("24 h", "rate-24h", "rates.2.per_minute", day),
            ],
            bars: minutes(history, now).map_or_else(|| Bars::new(&[]), |grid| Bars::of(&grid)),
        }
    }
}

fn so_far(rate: &RateJson) -> String {
    match rate.over_s {
        Some(over) if over * 10 < rate.window_s * 9 => format!("{} known", format::age(Duration::from_secs(over))),
        Some(_) => String::new(),
        None => "not known now".to_owned(),
    }
}

/// The minutes that are complete, and the one before them.
fn minutes(history: &History, now: UnixSeconds) -> Option<Grid> {
    let last = (now - now % 60).saturating_sub(60);
    history.grid(last.saturating_sub(MINUTES * 60), last, Some(60), now)
}

impl Bars {
    fn of(grid: &Grid) -> Self {
        let redeemed: Vec<Option<u64>> = grid
            .figures
            .iter()
            .map(|figures| Some(figures.as_ref()?.mint?.redeemed))
            .collect();
        let each: Vec<Option<u64>> = redeemed
            .windows(2)
            .map(|pair| match pair {
                [Some(before), Some(after)] => after.checked_sub(*before),
                _ => None,
            })
            .collect();
        Self::new(&each)
    }

    /// A bar for each minute that is known; one without a quote can still be seen.
    fn new(each: &[Option<u64>]) -> Self {
        let Some(highest) = each.iter().flatten().max() else {
            return Self {
                path: String::new(),
                note: "each minute of the last hour: not known yet".to_owned(),
            };
        };
        let mut path = String::new();
        for (minute, count) in each.iter().enumerate() {
            let Some(count) = count else { continue };
            let share = *count as f64 / (*highest).max(1) as f64;
            let height = 2.0 + share * 98.0;
            // Writing to a String does not fail.
            let _ = write!(path, "M{} 100v-{height:.1}h8v{height:.1}z", minute * 10 + 1);
        }
        Self {
            path,
            note: format!("each minute of the last hour: {} at most", grouped(*highest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_without_quotes_is_a_stub_and_an_unknown_one_a_gap() {
        let bars = Bars::new(&[Some(0), None, Some(50), Some(100)]);
        assert_eq!(
            bars.path,
            "M1 100v-2.0h8v2.0zM21 100v-51.0h8v51.0zM31 100v-100.0h8v100.0z"
        );
        assert_eq!(bars.note, "each minute of the last hour: 100 at most");
        assert_eq!(Bars::new(&[None, None]), Bars::new(&[]));
        assert_eq!(Bars::new(&[Some(0)]).path, "M1 100v-2.0h8v2.0z");
    }

    #[test]
    fn a_window_that_is_known_in_part_says_so() {
        let rate = |over_s| RateJson {
            window_s: 3600,
            per_minute: Some(1.0),
            over_s,
        };
        assert_eq!(so_far(&rate(Some(730))), "12 min known");
        assert_eq!(so_far(&rate(Some(3300))), "");
        assert_eq!(so_far(&rate(None)), "not known now");
    }
}
