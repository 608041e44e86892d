//! `[templates]` in `config/pool.toml`.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use bitcoin::{CompactTarget, Target};
use serde::Deserialize;
use service::{ConfigError, host_and_port, in_range};
use sv2_transport::AuthorityPublicKey;

/// `[templates]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TemplatesSection {
    /// Where templates come from.
    pub source: Source,
    /// The embedded chain.
    pub embedded: EmbeddedSection,
    /// An SV2 template provider.
    pub sv2_tp: Sv2TpSection,
    /// Bitcoin Core.
    pub bitcoin_core: BitcoinCoreSection,
}

/// Where templates come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A synthetic chain within the pool: needs no node, and earns no bitcoin.
    #[default]
    Embedded,
    /// An SV2 template provider, such as `sv2-tp` beside a Bitcoin Core.
    Sv2Tp,
    /// Bitcoin Core's own mining interface, over its socket. Only in a pool built with the feature `bitcoin-core`.
    BitcoinCore,
}

impl Source {
    /// Its name in the configuration and on pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Sv2Tp => "sv2-tp",
            Self::BitcoinCore => "bitcoin-core",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `[templates.embedded]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddedSection {
    /// After how long the chain moves on by itself. 100 ms to 1 day.
    #[serde(rename = "block_interval_ms", with = "service::duration::millis")]
    pub block_interval: Duration,
    /// After how long there is a new template for the same tip. 100 ms to 1 day; at `block_interval` or above there is none.
    #[serde(rename = "template_interval_ms", with = "service::duration::millis")]
    pub template_interval: Duration,
    /// What a block of this chain takes.
    pub n_bits: NetworkTarget,
}

impl Default for EmbeddedSection {
    fn default() -> Self {
        Self {
            block_interval: Duration::from_secs(30),
            template_interval: Duration::from_secs(10),
            n_bits: NetworkTarget(0x1b00_ffff),
        }
    }
}

/// `[templates.sv2_tp]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sv2TpSection {
    /// `host:port`. The name is looked up at every dial.
    pub address: String,
    /// The key that the provider must hold. Only a provider on this machine may do without.
    pub authority_key: Option<AuthorityPublicKey>,
    /// Deadline of each step of a connection's setup, and of sending a block. 100 ms to 60 s.
    #[serde(rename = "step_timeout_ms", with = "service::duration::millis")]
    pub step_timeout: Duration,
    /// How long the provider may say nothing, before it is dialled again. 1 s to 1 day.
    #[serde(rename = "silence_timeout_ms", with = "service::duration::millis")]
    pub silence_timeout: Duration,
}

impl Default for Sv2TpSection {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:8442".to_owned(),
            authority_key: None,
            step_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_secs(600),
        }
    }
}

/// `[templates.bitcoin_core]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BitcoinCoreSection {
    /// The socket of Bitcoin Core's mining interface (`bitcoin-node -ipcbind=unix`).
    pub socket: PathBuf,
    /// Bitcoin Core's major version, which decides on the interface's schema. 30 or 31.
    pub version: u8,
    /// How much more a template must pay to be told for the same tip, in satoshis. 0 to 100,000,000.
    pub fee_threshold_sat: u64,
    /// The smallest time between two templates for the same tip. 1 s to 60 s, in whole seconds.
    #[serde(rename = "min_interval_ms", with = "service::duration::millis")]
    pub min_interval: Duration,
}

impl Default for BitcoinCoreSection {
    fn default() -> Self {
        Self {
            socket: "/var/lib/bitcoind/node.sock".into(),
            version: 31,
            fee_threshold_sat: 1000,
            min_interval: Duration::from_secs(5),
        }
    }
}

/// The network's target in compact form, as a block header carries it (`nBits`). `0x1D00FFFF` is difficulty 1, about 2^32
/// hashes a block; `0x207FFFFF`, the easiest, is two hashes.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct NetworkTarget(u32);

/// A number that is no [`NetworkTarget`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a target in compact form (nBits): 0x1B00FFFF for example, 0x207FFFFF at most")]
pub struct NetworkTargetError;

impl NetworkTarget {
    /// As a block header has it.
    #[must_use]
    pub fn compact(self) -> CompactTarget {
        CompactTarget::from_consensus(self.0)
    }

    /// The largest hash that a block may have.
    #[must_use]
    pub fn target(self) -> Target {
        Target::from_compact(self.compact())
    }
}

impl TryFrom<u32> for NetworkTarget {
    type Error = NetworkTargetError;

    fn try_from(bits: u32) -> Result<Self, NetworkTargetError> {
        let compact = CompactTarget::from_consensus(bits);
        let target = Target::from_compact(compact);
        // Negative and overflowing forms come out as zero or in another form.
        let whole = target.to_compact_lossy() == compact && target != Target::ZERO;
        if whole && target <= Target::MAX_ATTAINABLE_REGTEST {
            Ok(Self(bits))
        } else {
            Err(NetworkTargetError)
        }
    }
}

impl fmt::Debug for NetworkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010X}", self.0)
    }
}

impl TemplatesSection {
    /// Checks what no single value tells.
    ///
    /// # Errors
    /// The first key whose value is not allowed, with what is.
    pub fn check(&self) -> Result<(), ConfigError> {
        let (embedded, provider, core) = (&self.embedded, &self.sv2_tp, &self.bitcoin_core);
        for (key, value, allowed) in [
            ("embedded.block_interval_ms", embedded.block_interval, 100..=DAY),
            ("embedded.template_interval_ms", embedded.template_interval, 100..=DAY),
            ("sv2_tp.step_timeout_ms", provider.step_timeout, 100..=60_000),
            ("sv2_tp.silence_timeout_ms", provider.silence_timeout, 1000..=DAY),
            ("bitcoin_core.min_interval_ms", core.min_interval, 1000..=60_000),
        ] {
            in_range(&format!("templates.{key}"), &value.as_millis(), allowed)?;
        }
        in_range("templates.bitcoin_core.version", &core.version, 30..=31)?;
        in_range(
            "templates.bitcoin_core.fee_threshold_sat",
            &core.fee_threshold_sat,
            0..=100_000_000,
        )?;
        if core.socket.file_name().is_none() {
            return Err(ConfigError::invalid(
                "templates.bitcoin_core.socket",
                format_args!("{:?}", core.socket.display().to_string()),
                "expected the path of a socket",
            ));
        }
        match self.source {
            Source::Embedded => Ok(()),
            Source::Sv2Tp => provider.check(),
            Source::BitcoinCore if cfg!(feature = "bitcoin-core") => Ok(()),
            Source::BitcoinCore => Err(ConfigError::invalid(
                "templates.source",
                "\"bitcoin-core\"",
                "this pool is built without it; expected \"embedded\" or \"sv2-tp\", or a pool from \
                 `cargo build --release -p pool --features bitcoin-core`, which needs capnproto and libcapnp-dev",
            )),
        }
    }
}

/// In milliseconds.
const DAY: u128 = 86_400_000;

impl Sv2TpSection {
    fn check(&self) -> Result<(), ConfigError> {
        const KEY: &str = "templates.sv2_tp.address";
        host_and_port(KEY, &self.address)?;
        let host = self.address.rsplit_once(':').map_or("", |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if here || self.authority_key.is_some() {
            Ok(())
        } else {
            Err(ConfigError::invalid(
                KEY,
                format_args!("{:?}", self.address),
                "set templates.sv2_tp.authority_key to the provider's key too: without it anybody on the way could have \
                 the miners work for him, so only a provider on this machine (127.0.0.1, ::1, localhost) may do without",
            ))
        }
    }
}
