//! Where the wallet lives, which mint it belongs to, and how it paces itself.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cdk::mint_url::MintUrl;
use cdk::nuts::CurrencyUnit;
use serde::{Deserialize, Serialize};
use service::{ConfigError, in_range};

use crate::config::is_http;

const DEFAULT_MINT: &str = "http://127.0.0.1:3338";

/// The `[wallet]` table of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WalletConfig {
    /// The mint's Cashu API; unless given, the one that the wallet was used with, at first `http://127.0.0.1:3338`.
    pub mint_url: Option<MintUrl>,
    /// The unit of the quotes; `hash` unless given.
    pub unit: CurrencyUnit,
    /// Directory of the wallet's seed and database, `data/miner` unless given; made if missing. One process at a time
    /// uses it.
    pub data_dir: PathBuf,
    /// Quotes in one request, 1 to 1,000; 50 unless given. A mint may allow fewer.
    pub batch_max: usize,
    /// How long to wait for more quotes to mint with the first one, at most 60 s; 200 ms unless given.
    #[serde(rename = "gather_ms", with = "service::duration::millis")]
    pub gather: Duration,
    /// Lets a wallet that was used with another `mint_url` go on with this one: for a mint that has moved. False keeps
    /// a wallet from being mixed up with the ehash of a different mint.
    pub mint_has_moved: bool,
}

impl Default for WalletConfig {
    fn default() -> Self {
        Self {
            mint_url: None,
            unit: CurrencyUnit::custom("hash"),
            data_dir: PathBuf::from("data/miner"),
            batch_max: 50,
            gather: Duration::from_millis(200),
            mint_has_moved: false,
        }
    }
}

impl WalletConfig {
    /// The defaults with this mint and directory.
    #[must_use]
    pub fn new(mint_url: MintUrl, data_dir: PathBuf) -> Self {
        Self {
            mint_url: Some(mint_url),
            data_dir,
            ..Self::default()
        }
    }

    /// The mint of a wallet that has never been told of one.
    pub(super) fn default_mint() -> Result<MintUrl, ConfigError> {
        DEFAULT_MINT
            .parse()
            .map_err(|error| ConfigError::invalid("wallet.mint_url", DEFAULT_MINT, error))
    }

    /// Checks the bounds.
    ///
    /// # Errors
    /// Names the key that is out of bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        in_range("wallet.batch_max", &self.batch_max, 1..=1000)?;
        in_range("wallet.gather_ms", &self.gather.as_millis(), 0..=60_000)?;
        let unit = self.unit.to_string();
        // Shares are paid in nothing else, and no quote would ever be minted.
        let epoch = unit.strip_prefix("hash_").is_some_and(|epoch| !epoch.is_empty());
        if !(unit == "hash" || epoch) || unit.len() > 255 {
            return Err(ConfigError::invalid(
                "wallet.unit",
                format_args!("{unit:?}"),
                "expected \"hash\", or \"hash_\" and the name of a mining epoch, 255 bytes at most",
            ));
        }
        if let Some(mint) = &self.mint_url
            && !is_http(&mint.to_string())
        {
            return Err(ConfigError::invalid(
                "wallet.mint_url",
                format_args!("{:?}", mint.to_string()),
                "expected a URL that begins with http:// or https://, such as http://127.0.0.1:3338",
            ));
        }
        if self.data_dir.as_os_str().is_empty() {
            return Err(unusable_dir(&self.data_dir, "the path is empty"));
        }
        Ok(())
    }
}

/// The wallet's directory can't serve, for this reason.
pub(super) fn unusable_dir(path: &Path, why: impl Display) -> ConfigError {
    ConfigError::invalid(
        "wallet.data_dir",
        format_args!("{:?}", path.display().to_string()),
        format_args!(
            "{why}; expected a directory that this user can write, or a path where one can be made (or --data-dir)"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> WalletConfig {
        WalletConfig::new("http://127.0.0.1:3338".parse().unwrap(), "data".into())
    }

    #[test]
    fn nothing_must_be_given() {
        let read = |text| service::parse::<WalletConfig>(Path::new("miner.toml"), text).unwrap();
        assert_eq!(read(""), WalletConfig::default());
        assert_eq!(
            read("data_dir = \"data\"\nmint_url = \"http://127.0.0.1:3338\""),
            config()
        );
        assert_eq!(WalletConfig::default_mint().unwrap().to_string(), DEFAULT_MINT);
        config().validate().unwrap();
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let complaint = |config: WalletConfig| config.validate().unwrap_err().to_string();
        assert_eq!(
            complaint(WalletConfig {
                batch_max: 0,
                ..config()
            }),
            "wallet.batch_max = 0: expected 1 to 1000"
        );
        assert_eq!(
            complaint(WalletConfig {
                gather: Duration::from_secs(61),
                ..config()
            }),
            "wallet.gather_ms = 61000: expected 0 to 60000"
        );
        for bad in [
            CurrencyUnit::Sat,
            CurrencyUnit::custom(" "),
            CurrencyUnit::custom("hash_"),
        ] {
            let said = complaint(WalletConfig {
                unit: bad.clone(),
                ..config()
            });
            let expected = format!("wallet.unit = \"{bad}\": expected \"hash\", or \"hash_\"");
            assert!(said.starts_with(&expected), "{said}");
        }
        WalletConfig {
            unit: CurrencyUnit::custom("hash_7"),
            ..config()
        }
        .validate()
        .unwrap();
        let said = complaint(WalletConfig {
            data_dir: PathBuf::new(),
            ..config()
        });
        assert!(said.starts_with("wallet.data_dir = \"\": the path is empty"), "{said}");
        let said = complaint(WalletConfig {
            mint_url: "tcp://127.0.0.1:34254".parse().ok(),
            ..config()
        });
        let expected = "wallet.mint_url = \"tcp://127.0.0.1:34254\": expected a URL that begins with http://";
        assert!(said.starts_with(expected), "{said}");
        let error = service::parse::<WalletConfig>(Path::new("miner.toml"), "mint_url = \"nowhere\"").unwrap_err();
        assert!(
            error.to_string().starts_with("miner.toml: mint_url = \"nowhere\": "),
            "{error}"
        );
    }
}
