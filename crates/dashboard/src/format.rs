//! Numbers, ages and times as people read them. `assets/format.js` says the same in the browser: change both.

use std::{borrow::Cow, net::SocketAddr, time::Duration};

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

/// Work in hashes per second, three digits of it; `None` for what is no such figure.
pub(crate) fn hashrate(per_second: f64) -> Option<String> {
    const UNITS: [&str; 8] = ["H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s", "ZH/s"];
    if !per_second.is_finite() || per_second < 0.0 {
        return None;
    }
    let (last, smaller) = UNITS.split_last()?;
    let mut value = per_second;
    let mut unit = *last;
    for name in smaller {
        if value < 999.5 {
            unit = name;
            break;
        }
        value /= 1000.0;
    }
    let decimals = match value {
        0.0 => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    Some(format!("{value:.decimals$} {unit}"))
}

/// How many a minute, three digits of it or all that are whole; `None` for what is no such figure.
pub(crate) fn rate(per_minute: f64) -> Option<String> {
    if !per_minute.is_finite() || !(0.0..1e15).contains(&per_minute) {
        return None;
    }
    Some(match per_minute {
        0.0 => "0 / min".to_owned(),
        ..9.995 => format!("{per_minute:.2} / min"),
        ..99.95 => format!("{per_minute:.1} / min"),
        _ => format!("{} / min", grouped(per_minute.round() as u64)),
    })
}

/// Where a listener can be reached: its address, or only the port if it listens on all addresses.
pub(crate) fn listener(address: &str) -> String {
    match address.parse::<SocketAddr>() {
        Ok(any) if any.ip().is_unspecified() => format!("port {} of this pool's host", any.port()),
        _ => address.to_owned(),
    }
}

/// A name that finds room in a table: the middle of a longer one is left out, since names may differ at their ends.
pub(crate) fn shortened(name: &str) -> Cow<'_, str> {
    const LONGEST: usize = 48;
    let letters = name.chars().count();
    if letters <= LONGEST {
        return Cow::Borrowed(name);
    }
    let first = name.chars().take(24);
    Cow::Owned(first.chain(['…']).chain(name.chars().skip(letters - 20)).collect())
}

/// A difference of clocks with its sign, exact while it is small.
pub(crate) fn skew(ms: i64) -> String {
    let sign = match ms {
        i64::MIN..0 => "−",
        0 => "",
        1.. => "+",
    };
    let size = match ms.unsigned_abs() {
        size @ 0..10_000 => format!("{} ms", grouped(size)),
        size => age(Duration::from_millis(size)),
    };
    format!("{sign}{size}")
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
    fn hashrates_have_three_digits_and_a_unit() {
        let cases = [
            (0.0, "0 H/s"),
            (0.314, "0.31 H/s"),
            (9.996, "10.0 H/s"),
            (99.96, "100 H/s"),
            (999.4, "999 H/s"),
            (999.6, "1.00 kH/s"),
            (1_234_567.0, "1.23 MH/s"),
            (9.87e19, "98.7 EH/s"),
            (1.5e24, "1500 ZH/s"),
        ];
        for (per_second, text) in cases {
            assert_eq!(hashrate(per_second).as_deref(), Some(text), "{per_second}");
        }
        for bad in [f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(hashrate(bad), None);
        }
    }

    #[test]
    fn rates_have_three_digits_or_all_whole_ones() {
        let cases = [
            (0.0, "0 / min"),
            (0.041, "0.04 / min"),
            (9.996, "10.0 / min"),
            (59.96, "60.0 / min"),
            (99.96, "100 / min"),
            (12_345.6, "12,346 / min"),
        ];
        for (per_minute, text) in cases {
            assert_eq!(rate(per_minute).as_deref(), Some(text), "{per_minute}");
        }
        for bad in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            assert_eq!(rate(bad), None);
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_told_by_its_port() {
        for (address, text) in [
            ("127.0.0.1:34254", "127.0.0.1:34254"),
            ("pool.example.org:34254", "pool.example.org:34254"),
            ("0.0.0.0:34254", "port 34254 of this pool's host"),
            ("[::]:34254", "port 34254 of this pool's host"),
        ] {
            assert_eq!(listener(address), text);
        }
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
            [skew(-1200), skew(0), skew(3), skew(-295_769_667), skew(i64::MIN)],
            ["−1,200 ms", "0 ms", "+3 ms", "−3 d 10 h", "−106751991167 d 7 h"]
        );
    }

    #[test]
    fn a_long_name_keeps_both_ends() {
        let epoch = format!("hash_{}_912345", "02ab".repeat(16));
        assert_eq!(shortened(&epoch), "hash_02ab02ab02ab02ab02a…b02ab02ab02ab_912345");
        assert_eq!(shortened(&"é".repeat(48)), "é".repeat(48));
        assert_eq!(
            shortened(&"é".repeat(49)),
            format!("{}…{}", "é".repeat(24), "é".repeat(20))
        );
    }
}
