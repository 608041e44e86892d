//! `[templates]` in `config/pool.toml`.

use std::fmt;
use std::time::Duration;

use bitcoin::{CompactTarget, Target};
use serde::Deserialize;
use service::{ConfigError, in_range};

/// `[templates]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TemplatesSection {
    /// Where templates come from.
    pub source: Source,
    /// The embedded chain.
    pub embedded: EmbeddedSection,
}

/// Where templates come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A synthetic chain within the pool: needs no node, and earns no bitcoin.
    #[default]
    Embedded,
}

impl Source {
    /// Its name in the configuration and on pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
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
        let embedded = &self.embedded;
        for (key, value) in [
            ("templates.embedded.block_interval_ms", embedded.block_interval),
            ("templates.embedded.template_interval_ms", embedded.template_interval),
        ] {
            let millis = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
            in_range(key, &millis, 100..=86_400_000)?;
        }
        Ok(())
    }
}
