//! Durations in configuration files and on the command line.
//!
//! In a file the key carries the unit (`interval_ms = 250`) and the field is a [`Duration`]:
//! `#[serde(rename = "interval_ms", with = "service::duration::millis")]`. On the command line a value carries its
//! own unit (`--duration 60s`), read by [`parse`].

use std::time::Duration;

/// A [`Duration`] as a whole number of milliseconds.
pub mod millis {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    /// Reads a whole number of milliseconds.
    ///
    /// # Errors
    /// The value is no number, or a negative one.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_u64(super::Whole {
            unit: "milliseconds",
            of: Duration::from_millis,
        })
    }

    /// Writes a whole number of milliseconds.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A [`Duration`] as a whole number of seconds.
pub mod seconds {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    /// Reads a whole number of seconds.
    ///
    /// # Errors
    /// The value is no number, or a negative one.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_u64(super::Whole {
            unit: "seconds",
            of: Duration::from_secs,
        })
    }

    /// Writes a whole number of seconds.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(duration.as_secs())
    }
}

/// Reads a whole number of some unit of time.
struct Whole {
    unit: &'static str,
    of: fn(u64) -> Duration,
}

impl serde::de::Visitor<'_> for Whole {
    type Value = Duration;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a whole number of {}", self.unit)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Duration, E> {
        Ok((self.of)(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Duration, E> {
        match u64::try_from(value) {
            Ok(value) => Ok((self.of)(value)),
            Err(_) => Err(E::invalid_value(serde::de::Unexpected::Signed(value), &self)),
        }
    }
}

/// A duration on the command line that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a whole number with its unit: 500ms, 60s, 5m or 1h")]
pub struct ParseDurationError;

/// Reads `500ms`, `60s`, `5m` or `1h`; fit for clap's `value_parser`.
///
/// # Errors
/// Anything else.
pub fn parse(text: &str) -> Result<Duration, ParseDurationError> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| ParseDurationError)?;
    let seconds = |each: u64| {
        number
            .checked_mul(each)
            .map(Duration::from_secs)
            .ok_or(ParseDurationError)
    };
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        _ => Err(ParseDurationError),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, Deserialize, Serialize, PartialEq)]
    struct Timed {
        #[serde(with = "millis")]
        a: Duration,
        #[serde(with = "seconds")]
        b: Duration,
    }

    #[test]
    fn whole_numbers_of_the_unit_come_and_go() {
        let timed = Timed {
            a: Duration::from_millis(1500),
            b: Duration::from_secs(90),
        };
        let text = toml::to_string(&timed).unwrap();
        assert_eq!(text, "a = 1500\nb = 90\n");
        assert_eq!(crate::parse::<Timed>(Path::new("t.toml"), &text).unwrap(), timed);
    }

    #[test]
    fn anything_else_is_refused_in_words() {
        let complaint = |text| {
            crate::parse::<Timed>(Path::new("t.toml"), text)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            complaint("a = -1\nb = 1"),
            "t.toml: a = -1: expected a whole number of milliseconds"
        );
        assert_eq!(
            complaint("a = 1\nb = 0.5"),
            "t.toml: b = 0.5: expected a whole number of seconds"
        );
    }

    #[test]
    fn command_line_durations_carry_their_unit() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(parse("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse("1h"), Ok(Duration::from_secs(3600)));
        for wrong in [
            "",
            "s",
            "60",
            "1.5s",
            "-1s",
            "1d",
            "1 s",
            "99999999999999999999s",
            "9999999999999999999h",
        ] {
            assert_eq!(parse(wrong), Err(ParseDurationError), "{wrong}");
        }
    }
}
