//! How often a mint pushes: two durations, checked once where they enter.

use std::time::Duration;

use serde::Deserialize;

/// When a mint pushes: the period of P3 and the smallest gap of P4 and P5.
///
/// In a configuration file: `interval_ms` (100 to 3,600,000) and `min_gap_ms` (0 to `interval_ms`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawPushConfig")]
pub struct PushConfig {
    interval: Duration,
    min_gap: Duration,
}

/// A [`PushConfig`] that its bounds refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushConfigError {
    /// The period is outside [`PushConfig::MIN_INTERVAL`] to [`PushConfig::MAX_INTERVAL`].
    #[error("interval_ms = {0}: allowed are 100 (100 ms) to 3600000 (1 h)")]
    Interval(u128),
    /// The gap is longer than the period.
    #[error("min_gap_ms = {min_gap}: allowed are 0 to interval_ms ({interval})")]
    MinGap {
        /// The refused gap in milliseconds.
        min_gap: u128,
        /// The period in milliseconds.
        interval: u128,
    },
}

impl PushConfig {
    /// The shortest period, 100 ms.
    pub const MIN_INTERVAL: Duration = Duration::from_millis(100);
    /// The longest period, 1 h.
    pub const MAX_INTERVAL: Duration = Duration::from_secs(3600);

    /// A configuration within its bounds: `interval` 100 ms to 1 h, in whole milliseconds as the wire carries it
    /// (what is below is cut off), `min_gap` 0 to `interval`.
    pub fn new(interval: Duration, min_gap: Duration) -> Result<Self, PushConfigError> {
        let interval = Duration::from_millis(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX));
        if !(Self::MIN_INTERVAL..=Self::MAX_INTERVAL).contains(&interval) {
            return Err(PushConfigError::Interval(interval.as_millis()));
        }
        if min_gap > interval {
            return Err(PushConfigError::MinGap {
                min_gap: min_gap.as_millis(),
                interval: interval.as_millis(),
            });
        }
        Ok(Self { interval, min_gap })
    }

    /// The period of unconditional pushes (P3), announced in every snapshot; readers judge freshness against it (P9).
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// The smallest gap between an event push and the push before it (P4), and between two answers (P5).
    pub fn min_gap(&self) -> Duration {
        self.min_gap
    }
}

impl Default for PushConfig {
    /// A push every 5 s, and after each change with 100 ms between them at least.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            min_gap: Duration::from_millis(100),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawPushConfig {
    interval_ms: u64,
    min_gap_ms: u64,
}

impl Default for RawPushConfig {
    fn default() -> Self {
        let default = PushConfig::default();
        Self {
            interval_ms: default.interval.as_millis() as u64,
            min_gap_ms: default.min_gap.as_millis() as u64,
        }
    }
}

impl TryFrom<RawPushConfig> for PushConfig {
    type Error = PushConfigError;

    fn try_from(raw: RawPushConfig) -> Result<Self, Self::Error> {
        Self::new(
            Duration::from_millis(raw.interval_ms),
            Duration::from_millis(raw.min_gap_ms),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn bounds_are_inclusive() {
        assert!(PushConfig::new(100 * MS, 100 * MS).is_ok());
        assert!(PushConfig::new(3_600_000 * MS, Duration::ZERO).is_ok());
        assert_eq!(PushConfig::new(99 * MS, MS), Err(PushConfigError::Interval(99)));
        assert_eq!(
            PushConfig::new(3_600_001 * MS, MS),
            Err(PushConfigError::Interval(3_600_001))
        );
        assert_eq!(
            PushConfig::new(100 * MS, 101 * MS),
            Err(PushConfigError::MinGap {
                min_gap: 101,
                interval: 100
            })
        );
    }

    #[test]
    fn the_interval_is_whole_milliseconds() {
        let config = PushConfig::new(Duration::from_micros(100_999), Duration::ZERO).unwrap();
        assert_eq!(config.interval(), 100 * MS);
    }

    #[test]
    fn a_file_fills_in_defaults_and_is_checked() {
        let read = |json: &str| serde_json::from_str::<PushConfig>(json);
        assert_eq!(read("{}").unwrap(), PushConfig::default());
        let config = read(r#"{"interval_ms": 1000, "min_gap_ms": 7}"#).unwrap();
        assert_eq!((config.interval(), config.min_gap()), (1000 * MS, 7 * MS));
        let error = read(r#"{"interval_ms": 50}"#).unwrap_err().to_string();
        assert!(
            error.contains("interval_ms = 50") && error.contains("100 (100 ms)"),
            "{error}"
        );
        assert!(read(r#"{"interval": 50}"#).is_err());
    }
}
