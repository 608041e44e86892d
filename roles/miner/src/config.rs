//! What a miner can be told: `config/miner.toml`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use service::{ConfigError, host_and_port, in_range};
use sv2_transport::AuthorityPublicKey;

use crate::hashing::HashingConfig;
use crate::wallet::WalletConfig;

/// The longest name of a worker.
const MAX_WORKER: usize = 64;

/// Everything that a miner can be told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MinerConfig {
    /// Where the work comes from.
    pub pool: PoolSection,
    /// How much of the machine the search may take.
    pub hashing: HashingConfig,
    /// Where the ehash goes.
    pub wallet: WalletConfig,
}

/// The `[pool]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolSection {
    /// `host:port` of its mining port.
    pub address: String,
    /// The key that it must hold. There is no default: whoever mines for anybody mines for nobody.
    pub authority_key: Option<AuthorityPublicKey>,
    /// A name for this machine behind the key: up to 64 letters, digits, `-` and `_`; none if empty.
    pub worker: String,
    /// The pool's page, where it lists the quotes of a key: for what was missed, and for pools that don't tell of them.
    pub http_url: Option<String>,
    /// Deadline of each step of a connection, and of a write, 100 ms to 60 s.
    #[serde(rename = "step_timeout_ms", with = "service::duration::millis")]
    pub step_timeout: Duration,
    /// How long the pool has to answer what extensions it knows, 100 ms to 60 s.
    #[serde(rename = "negotiation_timeout_ms", with = "service::duration::millis")]
    pub negotiation_timeout: Duration,
    /// A pool that says nothing for so long is dialled anew, 1 s to 1 h.
    #[serde(rename = "silence_timeout_ms", with = "service::duration::millis")]
    pub silence_timeout: Duration,
    /// Number of the extension by which pools tell of quotes, 0x4000 to 0x7fff.
    pub quotes_extension: u16,
}

impl Default for PoolSection {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:34254".to_owned(),
            authority_key: None,
            worker: String::new(),
            http_url: None,
            step_timeout: Duration::from_secs(10),
            negotiation_timeout: Duration::from_secs(2),
            silence_timeout: Duration::from_secs(600),
            quotes_extension: 0x4D51,
        }
    }
}

impl MinerConfig {
    /// Checks the bounds.
    ///
    /// # Errors
    /// Names the key that is out of bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.pool.validate()?;
        self.hashing.validate()?;
        self.wallet.validate()
    }
}

impl PoolSection {
    fn validate(&self) -> Result<(), ConfigError> {
        host_and_port("pool.address", &self.address)?;
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if self.worker.len() > MAX_WORKER || !self.worker.bytes().all(good) {
            let expected = format_args!("expected up to {MAX_WORKER} letters, digits, - and _");
            return Err(ConfigError::invalid("pool.worker", quoted(&self.worker), expected));
        }
        if let Some(url) = &self.http_url
            && !is_http(url)
        {
            return Err(ConfigError::invalid("pool.http_url", quoted(url), HTTP_URL));
        }
        let millis = |duration: Duration| duration.as_millis();
        in_range("pool.step_timeout_ms", &millis(self.step_timeout), 100..=60_000)?;
        in_range(
            "pool.negotiation_timeout_ms",
            &millis(self.negotiation_timeout),
            100..=60_000,
        )?;
        in_range(
            "pool.silence_timeout_ms",
            &millis(self.silence_timeout),
            1000..=3_600_000,
        )?;
        in_range("pool.quotes_extension", &self.quotes_extension, 0x4000..=0x7fff)
    }

    /// The authority key, for whoever is to mine.
    ///
    /// # Errors
    /// There is none.
    pub fn authority(&self) -> Result<AuthorityPublicKey, ConfigError> {
        self.authority_key.ok_or_else(|| {
            let expected =
                "expected the pool's public key, as pool --print-authority-key shows it (or --authority-key)";
            ConfigError::invalid("pool.authority_key", "none", expected)
        })
    }

    /// How the pool knows the miner: the key that its quotes are locked to, and the worker's name after a dot.
    #[must_use]
    pub fn identity(&self, locking_key: &str) -> String {
        match self.worker.as_str() {
            "" => locking_key.to_owned(),
            worker => format!("{locking_key}.{worker}"),
        }
    }
}

/// What a URL of a pool's page looks like.
pub(crate) const HTTP_URL: &str = "expected a URL that begins with http:// or https://, such as http://127.0.0.1:8081";

/// Whether this is one. Without a user and a password, which nobody would be sent.
pub(crate) fn is_http(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
            && !rest.contains(['?', '#', ' ', '@'])
            && !rest.contains(char::is_control)
    })
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parsed(text: &str) -> Result<MinerConfig, ConfigError> {
        let config: MinerConfig = service::parse(Path::new("miner.toml"), text)?;
        config.validate().map(|()| config)
    }

    #[test]
    fn the_file_that_comes_with_it_holds_every_key_with_its_default() {
        let text = include_str!("../../../config/miner.toml");
        assert_eq!(parsed(text).unwrap(), MinerConfig::default());
        // Every key, also those in front of which a # stands.
        let all: String = text
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(key) if key.contains(" = ") => key,
                _ => line,
            })
            .fold(String::new(), |all, line| all + line + "\n");
        let all: toml::Table = toml::from_str(&all).unwrap();
        let known = toml::Table::try_from(MinerConfig {
            pool: PoolSection {
                authority_key: "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72".parse().ok(),
                http_url: Some(String::new()),
                ..PoolSection::default()
            },
            wallet: WalletConfig {
                mint_url: "http://127.0.0.1:3338".parse().ok(),
                ..WalletConfig::default()
            },
            ..MinerConfig::default()
        });
        for (section, keys) in known.unwrap() {
            for key in keys.as_table().unwrap().keys() {
                assert!(all[&section].get(key).is_some(), "{section}.{key} is not in the file");
            }
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        for (text, complaint) in [
            (
                "pool.address = \"pool\"",
                "pool.address = \"pool\": expected host:port, such as pool.example:34254",
            ),
            (
                "pool.address = \"http://pool:34254\"",
                "pool.address = \"http://pool:34254\": expected host:port without http:// or a path, such as pool.example:34254: Stratum V2 is no HTTP",
            ),
            (
                "pool.address = \":1\"",
                "pool.address = \":1\": expected host:port, such as pool.example:34254",
            ),
            (
                "pool.address = \"pool:0\"",
                "pool.address = \"pool:0\": expected host:port, such as pool.example:34254",
            ),
            (
                "pool.worker = \"a.b\"",
                "pool.worker = \"a.b\": expected up to 64 letters, digits, - and _",
            ),
            (
                "pool.http_url = \"ftp://a\"",
                "pool.http_url = \"ftp://a\": expected a URL that begins with http:// or https://, such as http://127.0.0.1:8081",
            ),
            (
                "pool.step_timeout_ms = 1",
                "pool.step_timeout_ms = 1: expected 100 to 60000",
            ),
            (
                "pool.negotiation_timeout_ms = 1",
                "pool.negotiation_timeout_ms = 1: expected 100 to 60000",
            ),
            (
                "pool.silence_timeout_ms = 1",
                "pool.silence_timeout_ms = 1: expected 1000 to 3600000",
            ),
            (
                "pool.quotes_extension = 1",
                "pool.quotes_extension = 1: expected 16384 to 32767",
            ),
            ("hashing.threads = 0", "hashing.threads = 0: expected 1 to 1024"),
            ("wallet.batch_max = 0", "wallet.batch_max = 0: expected 1 to 1000"),
        ] {
            assert_eq!(parsed(text).unwrap_err().to_string(), complaint);
        }
        let error = MinerConfig::default().pool.authority().unwrap_err().to_string();
        assert!(error.contains("--print-authority-key"), "{error}");
    }

    #[test]
    fn an_identity_is_the_key_and_the_worker() {
        let mut pool = PoolSection::default();
        assert_eq!(pool.identity("02ab"), "02ab");
        pool.worker = "rig-7".to_owned();
        assert_eq!(pool.identity("02ab"), "02ab.rig-7");
    }

    #[test]
    fn urls_of_pages_are_told_from_others() {
        for good in ["http://127.0.0.1:8081", "https://pool.example/a/", "http://[::1]:80"] {
            assert!(is_http(good), "{good}");
        }
        for bad in [
            "127.0.0.1:8081",
            "http://",
            "http:///a",
            "http://a?b",
            "http://a:b@c",
            "https://a b",
            "HTTP://a",
        ] {
            assert!(!is_http(bad), "{bad}");
        }
    }
}
