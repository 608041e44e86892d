//! How a role's configuration file says where its dashboard is served, and the bounds of any HTTP listener.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Deserializer};
use service::{ConfigError, in_range};

use crate::{BasePath, source::millis};

/// `[dashboard]` of a role whose page is served on this port of 127.0.0.1 unless the file says something else.
#[derive(Clone, Debug)]
pub struct DashboardSection<const PORT: u16> {
    /// Where pages, JSON and metrics are served.
    pub listen: SocketAddr,
    /// Connections at the same time. 1 to 100,000; default 1024.
    pub max_connections: usize,
    /// Of these, live streams. 0 to `max_connections`; default 768.
    pub max_streams: usize,
    /// How long a connection may take to send the header of its next request. 100 ms to 10 min; default 10 s.
    pub header_timeout: Duration,
    /// The path under which a reverse proxy shows the pages, if it passes paths on as they are. Default none.
    pub base_path: BasePath,
}

/// What stands in the file: serde has no defaults for structs with a constant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSection {
    listen: Option<SocketAddr>,
    max_connections: usize,
    max_streams: usize,
    #[serde(rename = "header_timeout_ms", with = "service::duration::millis")]
    header_timeout: Duration,
    base_path: BasePath,
}

impl Default for RawSection {
    fn default() -> Self {
        let Limits {
            max_connections,
            max_streams,
            header_timeout,
        } = Limits::default();
        Self {
            listen: None,
            max_connections,
            max_streams,
            header_timeout,
            base_path: BasePath::default(),
        }
    }
}

impl<const PORT: u16> From<RawSection> for DashboardSection<PORT> {
    fn from(raw: RawSection) -> Self {
        Self {
            listen: raw.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], PORT))),
            max_connections: raw.max_connections,
            max_streams: raw.max_streams,
            header_timeout: raw.header_timeout,
            base_path: raw.base_path,
        }
    }
}

impl<'de, const PORT: u16> Deserialize<'de> for DashboardSection<PORT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RawSection::deserialize(deserializer).map(Self::from)
    }
}

impl<const PORT: u16> Default for DashboardSection<PORT> {
    fn default() -> Self {
        RawSection::default().into()
    }
}

impl<const PORT: u16> DashboardSection<PORT> {
    /// Its bounds.
    ///
    /// # Errors
    /// The first key whose value is not allowed, with what is.
    pub fn limits(&self) -> Result<Limits, ConfigError> {
        Limits::new("dashboard", self.max_connections, self.max_streams, self.header_timeout)
    }
}

/// Bounds of one HTTP listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub(crate) max_connections: usize,
    pub(crate) max_streams: usize,
    pub(crate) header_timeout: Duration,
}

impl Limits {
    /// Limits within their bounds: connections at once (1 to 100,000), live streams among them, and the time that a
    /// connection may take to send the header of its next request (100 ms to 10 min). `section` is where the
    /// configuration has them, under the names of [`DashboardSection`].
    ///
    /// # Errors
    /// The first key whose value is not allowed, with what is.
    pub fn new(
        section: &str,
        max_connections: usize,
        max_streams: usize,
        header_timeout: Duration,
    ) -> Result<Self, ConfigError> {
        let key = |name: &str| format!("{section}.{name}");
        in_range(&key("max_connections"), &max_connections, 1..=100_000)?;
        in_range(&key("max_streams"), &max_streams, 0..=max_connections)?;
        in_range(&key("header_timeout_ms"), &millis(header_timeout), 100..=600_000)?;
        Ok(Self {
            max_connections,
            max_streams,
            header_timeout,
        })
    }
}

impl Default for Limits {
    /// 1,024 connections, 768 streams among them, 10 s for a header.
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_streams: 768,
            header_timeout: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn limits(text: &str) -> Result<Limits, String> {
        let section = service::parse::<DashboardSection<8081>>(Path::new("pool.toml"), text);
        section
            .and_then(|section| section.limits())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn limits_are_checked_and_filled_in() {
        assert_eq!(limits(""), Ok(Limits::default()));
        let given = limits("max_connections = 8\nmax_streams = 6\nheader_timeout_ms = 100");
        assert_eq!(given, Ok(Limits::new("x", 8, 6, Duration::from_millis(100)).unwrap()));
        for (text, says) in [
            (
                "max_connections = 0",
                "dashboard.max_connections = 0: expected 1 to 100000",
            ),
            ("max_streams = 1025", "dashboard.max_streams = 1025: expected 0 to 1024"),
            (
                "header_timeout_ms = 99",
                "dashboard.header_timeout_ms = 99: expected 100 to 600000",
            ),
            ("connections = 1", "pool.toml: connections: unknown key"),
            (
                "base_path = \"pool\"",
                "pool.toml: base_path = \"pool\": expected \"\" or a path such as \"/ehash\"",
            ),
        ] {
            let error = limits(text).unwrap_err();
            assert!(error.starts_with(says), "{error}");
        }
    }

    #[test]
    fn each_role_has_its_own_default_port() {
        assert_eq!(DashboardSection::<8082>::default().listen.to_string(), "127.0.0.1:8082");
    }
}
