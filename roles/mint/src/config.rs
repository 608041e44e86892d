//! `config/mint.toml` as types. Every value is checked here once, before anything starts.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use dashboard::{DashboardSection, Limits};
use mint_link::ExtensionIds;
use serde::Deserialize;
use service::{ConfigError, data_dir, host_and_port, in_range};
use stats_push::PushConfig;
use sv2_transport::AuthorityPublicKey;

use crate::quotes::Batching;

/// Everything that a mint can be told; `Default` is what `config/mint.toml` says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MintConfig {
    /// Where the mint keeps its database and its keys.
    pub data_dir: PathBuf,
    /// The Cashu API for wallets.
    pub http: HttpSection,
    /// The mint's own page.
    pub dashboard: DashboardSection<8082>,
    /// What wallets are told of the mint.
    pub info: InfoSection,
    /// Making quotes of shares.
    pub quotes: QuotesSection,
    /// When statistics are pushed.
    pub push: PushConfig,
    /// What all links have in common.
    pub link: LinkSection,
    /// The pools that the mint dials.
    pub pools: Vec<PoolSection>,
}

impl Default for MintConfig {
    fn default() -> Self {
        Self {
            data_dir: "data/mint".into(),
            http: HttpSection::default(),
            dashboard: DashboardSection::default(),
            info: InfoSection::default(),
            quotes: QuotesSection::default(),
            push: PushConfig::default(),
            link: LinkSection::default(),
            pools: Vec::new(),
        }
    }
}

/// `[http]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSection {
    /// Where wallets mint, swap and check.
    pub listen: SocketAddr,
    /// Connections at the same time. 1 to 100,000.
    pub max_connections: usize,
    /// How long a connection may take to send the header of its next request. 100 ms to 10 min.
    #[serde(rename = "header_timeout_ms", with = "service::duration::millis")]
    pub header_timeout: Duration,
}

impl Default for HttpSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3338)),
            max_connections: 1024,
            header_timeout: Duration::from_secs(10),
        }
    }
}

/// `[info]`: NUT-06.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InfoSection {
    /// The mint's name.
    pub name: String,
    /// One sentence about it.
    pub description: String,
    /// A message of the day that wallets show.
    pub motd: Option<String>,
    /// Where wallets reach the mint from outside.
    pub urls: Vec<String>,
}

impl Default for InfoSection {
    fn default() -> Self {
        Self {
            name: "ehash mint".to_owned(),
            description: "Issues ecash for the shares of a mining pool".to_owned(),
            motd: None,
            urls: Vec::new(),
        }
    }
}

/// `[quotes]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuotesSection {
    /// The currency units in which quotes are made: `hash`, or `hash_` and more. At least one.
    pub units: Vec<String>,
    /// Requests in one transaction at most. 1 to 1000.
    pub max_batch: usize,
    /// How long the first request of a batch waits for others. 0 to 1 s.
    #[serde(rename = "linger_ms", with = "service::duration::millis")]
    pub linger: Duration,
    /// Requests that may wait before the links stop reading more. 1 to 1,000,000.
    pub queue: usize,
}

impl Default for QuotesSection {
    fn default() -> Self {
        Self {
            units: vec!["hash".to_owned()],
            max_batch: 100,
            linger: Duration::from_millis(2),
            queue: 1000,
        }
    }
}

impl QuotesSection {
    pub(crate) fn batching(&self) -> Batching {
        Batching {
            max_batch: self.max_batch,
            linger: self.linger,
            queue: self.queue,
        }
    }
}

/// `[link]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkSection {
    /// Deadline of each step of a connection's setup. 100 ms to 60 s.
    #[serde(rename = "step_timeout_ms", with = "service::duration::millis")]
    pub step_timeout: Duration,
    /// How the mint introduces itself to pools.
    pub device_id: String,
    /// Numbers of the extensions, if the defaults are taken by somebody else.
    pub extensions: ExtensionIds,
}

impl Default for LinkSection {
    fn default() -> Self {
        Self {
            step_timeout: Duration::from_secs(10),
            device_id: "mint-01".to_owned(),
            extensions: ExtensionIds::default(),
        }
    }
}

/// `[[pools]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSection {
    /// Where the pool listens for mints: `host:port`. The host is looked up at every dial.
    pub address: String,
    /// The pool's authority key, as `pool --print-authority-key` shows it. Nobody else is talked to.
    pub authority_key: AuthorityPublicKey,
}

impl MintConfig {
    /// Checks what no single value tells.
    ///
    /// # Errors
    /// The first key whose value is not allowed, with what is.
    pub fn check(&self) -> Result<(), ConfigError> {
        data_dir::check(&self.data_dir)?;
        self.http.limits()?;
        self.dashboard.limits()?;
        self.quotes.check()?;
        in_range("link.step_timeout_ms", &millis(self.link.step_timeout), 100..=60_000)?;
        if self.link.device_id.len() > 255 {
            let device_id = format_args!("{:?}", self.link.device_id);
            return Err(ConfigError::invalid(
                "link.device_id",
                device_id,
                "expected 255 bytes at most",
            ));
        }
        for (position, pool) in self.pools.iter().enumerate() {
            pool.check(position)?;
            let before = self.pools.iter().take(position);
            if let Some(first) = before
                .clone()
                .position(|other| other.address.eq_ignore_ascii_case(&pool.address))
            {
                return Err(ConfigError::invalid(
                    format!("pools[{position}].address"),
                    format_args!("{:?}", pool.address),
                    format_args!("pools[{first}] has it already; expected each pool once"),
                ));
            }
        }
        Ok(())
    }
}

impl QuotesSection {
    fn check(&self) -> Result<(), ConfigError> {
        let allowed = "expected one or more different units: \"hash\", or \"hash_\" followed by small letters, digits and \
                       underscores, 255 bytes at most";
        let good = |unit: &String| {
            let mut characters = unit.chars();
            let plain = characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            stats_push::is_ehash_unit(unit) && plain && unit.len() <= 255
        };
        let repeated = self
            .units
            .iter()
            .enumerate()
            .any(|(n, unit)| self.units.iter().skip(n + 1).any(|u| u == unit));
        if self.units.is_empty() || repeated || !self.units.iter().all(good) {
            return Err(ConfigError::invalid(
                "quotes.units",
                format_args!("{:?}", self.units),
                allowed,
            ));
        }
        in_range("quotes.max_batch", &self.max_batch, 1..=1000)?;
        in_range("quotes.linger_ms", &millis(self.linger), 0..=1000)?;
        in_range("quotes.queue", &self.queue, 1..=1_000_000)
    }
}

impl PoolSection {
    fn check(&self, position: usize) -> Result<(), ConfigError> {
        host_and_port(&format!("pools[{position}].address"), &self.address)
    }
}

impl HttpSection {
    pub(crate) fn limits(&self) -> Result<Limits, ConfigError> {
        Limits::new("http", self.max_connections, 0, self.header_timeout)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const FILE: &str = include_str!("../../../config/mint.toml");
    const KEY: &str = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72";

    fn load(text: &str) -> Result<MintConfig, ConfigError> {
        let config: MintConfig = service::parse(Path::new("mint.toml"), text)?;
        config.check()?;
        Ok(config)
    }

    fn complaint(text: &str) -> String {
        load(text).unwrap_err().to_string()
    }

    #[test]
    fn the_file_in_config_says_the_defaults() {
        assert_eq!(
            format!("{:?}", load(FILE).unwrap()),
            format!("{:?}", MintConfig::default())
        );
        assert_eq!(
            format!("{:?}", load("").unwrap()),
            format!("{:?}", MintConfig::default())
        );
    }

    #[test]
    fn the_file_in_config_names_every_key() {
        for section in [
            "",
            "[http]",
            "[dashboard]",
            "[info]",
            "[quotes]",
            "[push]",
            "[link]",
            "[[pools]]",
        ] {
            // The unknown key's error lists those that are known.
            let known = complaint(&format!("{section}\nx = 1"));
            let mut names = known
                .split('`')
                .skip(1)
                .step_by(2)
                .filter(|name| *name != "x")
                .peekable();
            assert!(names.peek().is_some(), "{known}");
            for name in names {
                let named = |line: &str| {
                    let line = line.trim_start_matches(['#', ' ', '[']);
                    line.strip_prefix("link.")
                        .unwrap_or(line)
                        .strip_prefix(name)
                        .is_some_and(|rest| rest.starts_with([' ', ']']))
                };
                assert!(FILE.lines().any(named), "{section} {name}");
            }
        }
    }

    #[test]
    fn the_example_of_a_pool_in_the_file_is_a_good_one() {
        let example: String = FILE
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| {
                line.starts_with("[[pools]]") || line.starts_with("address") || line.starts_with("authority_key")
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        let config = load(&example).unwrap();
        assert_eq!(config.pools.len(), 1, "{example}");
    }

    #[test]
    fn values_out_of_bounds_are_refused_with_key_and_range() {
        for (section, key, value, allowed) in [
            ("http", "max_connections", "0", "expected 1 to 100000"),
            ("http", "header_timeout_ms", "99", "expected 100 to 600000"),
            ("dashboard", "max_streams", "1025", "expected 0 to 1024"),
            ("quotes", "max_batch", "1001", "expected 1 to 1000"),
            ("quotes", "linger_ms", "1001", "expected 0 to 1000"),
            ("quotes", "queue", "0", "expected 1 to 1000000"),
            ("quotes", "units", "[]", "expected one or more different units"),
            ("quotes", "units", "[\"sat\"]", "expected one or more different units"),
            ("quotes", "units", "[\"HASH\"]", "expected one or more different units"),
            (
                "quotes",
                "units",
                "[\"hash\", \"hash\"]",
                "expected one or more different units",
            ),
            ("link", "step_timeout_ms", "99", "expected 100 to 60000"),
        ] {
            let line = complaint(&format!("[{section}]\n{key} = {value}"));
            assert!(
                line.starts_with(&format!("{section}.{key} = {value}: {allowed}")),
                "{line}"
            );
        }
        let push = complaint("[push]\ninterval_ms = 50");
        assert!(push.contains("interval_ms = 50") && push.contains("3600000"), "{push}");
    }

    #[test]
    fn a_pool_needs_an_address_with_a_port_and_a_key() {
        let pool = |address: &str, key: &str| format!("[[pools]]\naddress = {address:?}\nauthority_key = {key:?}");
        assert_eq!(load(&pool("localhost:34260", KEY)).unwrap().pools.len(), 1);
        assert_eq!(load(&pool("[::1]:34260", KEY)).unwrap().pools.len(), 1);
        for address in [
            "",
            "localhost",
            ":34260",
            "localhost:0",
            "localhost:70000",
            "localhost:x",
            "http://localhost:34260",
            "localhost:34260/",
        ] {
            let line = complaint(&pool(address, KEY));
            assert!(
                line.starts_with("pools[0].address = ") && line.contains("expected host:port"),
                "{line}"
            );
        }
        let line = complaint(&pool("localhost:34260", "abc"));
        assert!(
            line.contains("pools[0].authority_key") || line.contains("pools.0.authority_key"),
            "{line}"
        );
    }
}
