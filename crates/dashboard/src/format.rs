//! Numbers, ages and times as people read them. `assets/format.js` says the same in the browser: change both.

use std::time::Duration;

use stats_push::UnixMillis;
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use crate::source::millis;

/// What stands for something unknown.
pub(crate) const UNKNOWN: &str = "–";

const RFC_3339: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const READABLE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");

/// RFC 3339 in UTC with milliseconds; `None` beyond the year 9999.
pub(crate) fn rfc3339(at: UnixMillis) -> Option<String> {
    utc(at)?.format(RFC_3339).ok()
}

/// A time for somebody whose zone is not known.
pub(crate) fn readable(at: UnixMillis) -> Option<String> {
    utc(at)?.format(READABLE).ok()
}

fn utc(at: UnixMillis) -> Option<OffsetDateTime> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000).ok()?;
    (time.year() <= 9999).then_some(time)
}

/// Digits in groups of three: `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An age in its one or two largest units, cut off rather than rounded: an age is a lower bound.
pub(crate) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0 => "<1 s".to_owned(),
        1..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A configured length of time, exact: `250 ms`, `5 s`, `1.5 s`.
pub(crate) fn span(span: Duration) -> String {
    let ms = millis(span);
    match (ms / 1000, ms % 1000) {
        (0, ms) => format!("{ms} ms"),
        (s, 0) => format!("{} s", grouped(s)),
        (s, ms) => format!("{}.{} s", grouped(s), format!("{ms:03}").trim_end_matches('0')),
    }
}

/// A signed number of milliseconds with its sign.
pub(crate) fn signed_millis(ms: i64) -> String {
    let sign = match ms {
        i64::MIN..0 => "−",
        0 => "",
        1.. => "+",
    };
    format!("{sign}{} ms", grouped(ms.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (123_456, "123,456"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn times_are_rfc_3339_in_utc_up_to_the_year_9999() {
        assert_eq!(
            rfc3339(UnixMillis(1_795_337_200_123)).unwrap(),
            "2026-11-22T08:46:40.123Z"
        );
        assert_eq!(rfc3339(UnixMillis(0)).unwrap(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            readable(UnixMillis(1_795_337_200_999)).unwrap(),
            "2026-11-22 08:46:40 UTC"
        );
        assert_eq!(
            rfc3339(UnixMillis(253_402_300_799_999)).unwrap(),
            "9999-12-31T23:59:59.999Z"
        );
        assert_eq!(rfc3339(UnixMillis(253_402_300_800_000)), None);
        assert_eq!(readable(UnixMillis(u64::MAX)), None);
    }

    #[test]
    fn ages_are_cut_off_not_rounded() {
        let cases = [
            (999, "<1 s"),
            (1999, "1 s"),
            (119_999, "119 s"),
            (120_000, "2 min"),
            (7_199_999, "119 min"),
            (7_260_000, "2 h 1 min"),
            (172_800_000, "2 d 0 h"),
        ];
        for (ms, text) in cases {
            assert_eq!(age(Duration::from_millis(ms)), text);
        }
        assert_eq!(age(Duration::MAX), "213503982334601 d 7 h");
    }

    #[test]
    fn spans_are_exact_and_differences_have_a_sign() {
        let spans = [
            (100, "100 ms"),
            (1500, "1.5 s"),
            (1001, "1.001 s"),
            (3_600_000, "3,600 s"),
            (0, "0 ms"),
        ];
        for (ms, text) in spans {
            assert_eq!(span(Duration::from_millis(ms)), text);
        }
        assert_eq!(
            [signed_millis(-1200), signed_millis(0), signed_millis(3)],
            ["−1,200 ms", "0 ms", "+3 ms"]
        );
    }
}
