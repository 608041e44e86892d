//! How fresh the pool's knowledge is (P9), judged by the pool's own monotonic clock.

use std::{fmt, time::Duration};

use serde::Serialize;

/// What a page may say of the numbers it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The mint is connected and its newest snapshot is younger than [`stale_after`].
    Live,
    /// The mint is connected, but its newest snapshot is older than [`stale_after`].
    Stale,
    /// The mint was connected and is not now; the last numbers stay, with their age.
    Disconnected,
    /// The mint is connected and does not negotiate the extension: it quotes, and tells no statistics.
    Unsupported,
    /// No mint has connected yet, or the connected one has not sent its first snapshot.
    Never,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 5] = [
        Self::Live,
        Self::Stale,
        Self::Disconnected,
        Self::Unsupported,
        Self::Never,
    ];

    /// The name in JSON, in metrics and on pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stale => "stale",
            Self::Disconnected => "disconnected",
            Self::Unsupported => "unsupported",
            Self::Never => "never",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A status with the age it was judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// See [`Status`].
    pub status: Status,
    /// Time since the newest snapshot was received, `None` if there is none. A lower bound of the age of information:
    /// the time on the wire comes on top.
    pub age: Option<Duration>,
}

/// The age beyond which a snapshot is stale, by the `interval` that its mint announces: three intervals, 2 s at least.
pub fn stale_after(interval: Duration) -> Duration {
    interval.saturating_mul(3).max(Duration::from_secs(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p9_stale_after_three_intervals_and_never_before_two_seconds() {
        let ms = Duration::from_millis;
        assert_eq!(stale_after(ms(100)), ms(2000));
        assert_eq!(stale_after(ms(666)), ms(2000));
        assert_eq!(stale_after(ms(667)), ms(2001));
        assert_eq!(stale_after(ms(5000)), ms(15_000));
        assert_eq!(stale_after(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn names_are_the_same_in_json_and_in_text() {
        for status in Status::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.to_string());
        }
        assert_eq!(
            Status::ALL.map(Status::as_str),
            ["live", "stale", "disconnected", "unsupported", "never"]
        );
    }
}
