//! `config/pool.toml` as types. Every value is checked here once, before anything starts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use dashboard::{DashboardSection, RefreshToken};
use mint_link::{ExtensionIds, MintPublicKey};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use service::{ConfigError, data_dir, in_range};
use sv2_transport::{AuthorityKeypair, AuthorityPublicKey};

use crate::mining::MiningSection;
use crate::outbox::OutboxConfig;
use crate::templates::{Source, TemplatesSection};

/// Everything that a pool can be told; `Default` is what `config/pool.toml` says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolConfig {
    /// Where the pool keeps its outbox and its authority key.
    pub data_dir: PathBuf,
    /// The link to the mint.
    pub mint_link: MintLinkSection,
    /// Where miners connect, and what they are asked for.
    pub mining: MiningSection,
    /// Where the blocks come from that are mined.
    pub templates: TemplatesSection,
    /// What shares earn.
    pub quotes: QuotesSection,
    /// Shares on their way to the mint.
    pub outbox: OutboxConfig,
    /// Pages, JSON and metrics.
    pub dashboard: DashboardSection<8081>,
    /// Who may have the mint asked over HTTP.
    pub refresh: RefreshSection,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            data_dir: "data/pool".into(),
            mint_link: MintLinkSection::default(),
            mining: MiningSection::default(),
            templates: TemplatesSection::default(),
            quotes: QuotesSection::default(),
            outbox: OutboxConfig::default(),
            dashboard: DashboardSection::default(),
            refresh: RefreshSection::default(),
        }
    }
}

/// `[mint_link]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MintLinkSection {
    /// Where the mint dials in.
    pub listen: SocketAddr,
    /// The pool's authority key pair, by which mints know it. Without one it is kept in the data directory, and made
    /// there at the first start.
    pub authority_secret_key: Option<AuthorityKeypair>,
    /// Stated only to be sure: a start with another key is refused.
    pub authority_public_key: Option<AuthorityPublicKey>,
    /// The mints that may connect. An empty list admits any, and is allowed on a loopback listener only.
    pub mint_public_keys: Vec<MintPublicKey>,
    /// Whether a mint that can't prove itself, such as hashpool's, may connect.
    pub allow_legacy_mint: bool,
    /// Connections at the same time, those that have said nothing yet included, which make room for newcomers. 1 to 1024.
    pub max_connections: usize,
    /// Deadline of each step of a connection's setup. 100 ms to 60 s.
    #[serde(rename = "step_timeout_ms", with = "service::duration::millis")]
    pub step_timeout: Duration,
    /// How long a mint has to negotiate, before it counts as one that can't. 100 ms to 60 s.
    #[serde(rename = "negotiation_timeout_ms", with = "service::duration::millis")]
    pub negotiation_timeout: Duration,
    /// How long the mint may take to answer a quote request. 100 ms to 10 min.
    #[serde(rename = "answer_timeout_ms", with = "service::duration::millis")]
    pub answer_timeout: Duration,
    /// Quote requests on the way at most; a legacy mint gets one. 1 to 10,000.
    pub window: usize,
    /// Numbers of the extensions, if the defaults are taken by somebody else.
    pub extensions: ExtensionIds,
}

impl Default for MintLinkSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 34260)),
            authority_secret_key: None,
            authority_public_key: None,
            mint_public_keys: Vec::new(),
            allow_legacy_mint: false,
            max_connections: 64,
            step_timeout: Duration::from_secs(10),
            negotiation_timeout: Duration::from_secs(2),
            answer_timeout: Duration::from_secs(10),
            window: 512,
            extensions: ExtensionIds::default(),
        }
    }
}

/// `[refresh]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RefreshSection {
    /// What must be shown from other machines, and through a proxy; without it only this machine may.
    pub token: Option<RefreshToken>,
}

/// `[quotes]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuotesSection {
    /// Leading zero bits that a share's hash needs to earn 1; each further one doubles it. 0 to 255.
    #[serde(deserialize_with = "bits::<_, MAX_BITS>")]
    pub minimum_difficulty: u32,
    /// The unit as it travels to the mint: `HASH`, or `HASH_` and more.
    pub unit: String,
    /// Locks the quotes of miners that name no key: a compressed public key, 66 hex digits.
    pub default_locking_key: Option<LockingKey>,
}

impl Default for QuotesSection {
    fn default() -> Self {
        Self {
            minimum_difficulty: 16,
            unit: "HASH".to_owned(),
            default_locking_key: None,
        }
    }
}

/// The most leading zero bits that a hash has, but for the one that is zero.
const MAX_BITS: u32 = 255;

/// Leading zero bits. What is no `u32` is refused here, where the bounds of the type would be told as those of the key.
pub(crate) fn bits<'de, D: Deserializer<'de>, const MAX: u32>(deserializer: D) -> Result<u32, D::Error> {
    let bits = i64::deserialize(deserializer)?;
    u32::try_from(bits).map_err(|_| D::Error::custom(format_args!("expected 0 to {MAX}")))
}

/// A compressed public key on secp256k1 that a quote is locked to (NUT-20).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct LockingKey(PublicKey);

impl LockingKey {
    /// Its 33 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 33] {
        self.0.serialize()
    }
}

/// A text that is no [`LockingKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a compressed public key, 66 hex digits that begin with 02 or 03")]
pub struct LockingKeyError;

impl TryFrom<String> for LockingKey {
    type Error = LockingKeyError;

    fn try_from(text: String) -> Result<Self, LockingKeyError> {
        let key = text.parse().map_err(|_| LockingKeyError)?;
        if text.len() == 66 {
            Ok(Self(key))
        } else {
            Err(LockingKeyError)
        }
    }
}

impl PoolConfig {
    /// Checks what no single value tells.
    ///
    /// # Errors
    /// The first key whose value is not allowed, with what is.
    pub fn check(&self) -> Result<(), ConfigError> {
        data_dir::check(&self.data_dir)?;
        let link = &self.mint_link;
        if link.mint_public_keys.is_empty() && !link.listen.ip().is_loopback() {
            return Err(ConfigError::invalid(
                "mint_link.mint_public_keys",
                "[]",
                format_args!(
                    "expected the keys of the mints that may connect (`mint --print-public-key` shows one): \
                     mint_link.listen = \"{}\" is open to other machines",
                    link.listen
                ),
            ));
        }
        in_range("mint_link.max_connections", &link.max_connections, 1..=1024)?;
        for (key, value, most) in [
            ("mint_link.step_timeout_ms", link.step_timeout, 60_000),
            ("mint_link.negotiation_timeout_ms", link.negotiation_timeout, 60_000),
            ("mint_link.answer_timeout_ms", link.answer_timeout, 600_000),
        ] {
            in_range(key, &value.as_millis(), 100..=most)?;
        }
        in_range("mint_link.window", &link.window, 1..=10_000)?;
        self.mining.check()?;
        self.templates.check()?;
        if self.mining.reward_address.is_none() && self.templates.source != Source::Embedded {
            return Err(ConfigError::invalid(
                "mining.reward_address",
                "none",
                format_args!(
                    "expected the bitcoin address that gets the reward of blocks: templates.source = \"{}\" gives real ones",
                    self.templates.source
                ),
            ));
        }
        in_range(
            "quotes.minimum_difficulty",
            &self.quotes.minimum_difficulty,
            0..=MAX_BITS,
        )?;
        let unit = &self.quotes.unit;
        if !stats_push::is_ehash_unit(&unit.to_lowercase()) || unit.len() > 255 {
            return Err(ConfigError::invalid(
                "quotes.unit",
                format_args!("{unit:?}"),
                "expected \"HASH\", or \"HASH_\" followed by the name of an epoch, 255 bytes at most",
            ));
        }
        in_range("outbox.max_waiting", &self.outbox.max_waiting, 1..=100_000_000)?;
        in_range("outbox.keep_answered_days", &self.outbox.keep_answered_days, 1..=3650)?;
        in_range("outbox.max_answered", &self.outbox.max_answered, 1..=1_000_000_000)?;
        self.dashboard.limits().map(drop)
    }
}

#[cfg(test)]
mod tests;
