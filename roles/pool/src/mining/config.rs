//! `[mining]` in `config/pool.toml`.

use std::net::SocketAddr;
use std::time::Duration;

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, ScriptBuf, Target};
use serde::Deserialize;
use service::{ConfigError, in_range};

use super::difficulty;
use crate::config::bits;

/// `[mining]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MiningSection {
    /// Where miners connect.
    pub listen: SocketAddr,
    /// The pool's name in the coinbase of its blocks. 1 to 20 printable ASCII characters.
    pub pool_tag: String,
    /// Who gets the reward of a block. Without it the reward goes to nobody, which only the embedded chain allows.
    pub reward_address: Option<RewardAddress>,
    /// How many shares a minute the difficulty of a channel aims at. 0.1 to 60,000.
    pub shares_per_minute: f32,
    /// The easiest share: its hash has this many leading zero bits; 32 are about difficulty 1. 0 to 96.
    #[serde(deserialize_with = "bits::<_, MAX_BITS>")]
    pub minimum_difficulty: u32,
    /// What a channel starts with whose miner does not say how fast it is, in the same bits. `minimum_difficulty` to 96.
    #[serde(deserialize_with = "bits::<_, MAX_BITS>")]
    pub start_difficulty: u32,
    /// Connections at the same time, those that have said nothing yet included. 1 to 100,000.
    pub max_connections: usize,
    /// Channels of all connections together. 1 to 1,000,000.
    pub max_channels: u32,
    /// Channels of one connection. 1 to 1,000,000.
    pub max_channels_per_connection: usize,
    /// Deadline of each step of a connection's setup, and of each write. 100 ms to 60 s.
    #[serde(rename = "step_timeout_ms", with = "service::duration::millis")]
    pub step_timeout: Duration,
    /// After how long a connection from which nothing has come counts as dead. 1 s to 1 day.
    #[serde(rename = "idle_timeout_ms", with = "service::duration::millis")]
    pub idle_timeout: Duration,
    /// Whether miners that can't negotiate are told of their quotes the way hashpool does it.
    pub notify_hashpool_miners: bool,
}

/// A bitcoin address that takes the reward of blocks. Of which network it is nobody checks: that is known to the source of
/// templates alone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RewardAddress(Address);

/// A text that is no bitcoin address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a bitcoin address")]
pub struct RewardAddressError;

impl TryFrom<String> for RewardAddress {
    type Error = RewardAddressError;

    fn try_from(text: String) -> Result<Self, RewardAddressError> {
        let address: Address<NetworkUnchecked> = text.parse().map_err(|_| RewardAddressError)?;
        Ok(Self(address.assume_checked()))
    }
}

impl Default for MiningSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 34254)),
            pool_tag: "stats-push".to_owned(),
            reward_address: None,
            shares_per_minute: 6.0,
            minimum_difficulty: 16,
            start_difficulty: 32,
            max_connections: 2_000,
            max_channels: 20_000,
            max_channels_per_connection: 2_000,
            step_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(180),
            notify_hashpool_miners: false,
        }
    }
}

/// The most leading zero bits that a share can be asked for; the whole network finds a hash with so many in centuries.
const MAX_BITS: u32 = 96;
/// What the tag may take of the 100 bytes of a coinbase's script, beside the extranonce.
const MAX_TAG: usize = 20;

impl MiningSection {
    /// Checks what no single value tells.
    ///
    /// # Errors
    /// The first key whose value is not allowed, with what is.
    pub fn check(&self) -> Result<(), ConfigError> {
        let printable = self
            .pool_tag
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if !printable || !(1..=MAX_TAG).contains(&self.pool_tag.len()) {
            return Err(ConfigError::invalid(
                "mining.pool_tag",
                format_args!("{:?}", self.pool_tag),
                format_args!("expected 1 to {MAX_TAG} printable ASCII characters"),
            ));
        }
        in_range("mining.shares_per_minute", &self.shares_per_minute, 0.1..=60_000.0)?;
        in_range("mining.minimum_difficulty", &self.minimum_difficulty, 0..=MAX_BITS)?;
        let start = self.minimum_difficulty..=MAX_BITS;
        in_range("mining.start_difficulty", &self.start_difficulty, start)?;
        in_range("mining.max_connections", &self.max_connections, 1..=100_000)?;
        in_range("mining.max_channels", &self.max_channels, 1..=1_000_000)?;
        in_range(
            "mining.max_channels_per_connection",
            &self.max_channels_per_connection,
            1..=1_000_000,
        )?;
        in_range("mining.step_timeout_ms", &self.step_timeout.as_millis(), 100..=60_000)?;
        in_range(
            "mining.idle_timeout_ms",
            &self.idle_timeout.as_millis(),
            1_000..=86_400_000,
        )
    }

    /// The `idle_timeout` that an honest miner needs at the least, if the configured one is shorter: pauses between shares
    /// are three times their average once in twenty.
    pub(crate) fn hasty(&self) -> Option<Duration> {
        // The range of `shares_per_minute` is checked: 3 ms to half an hour.
        let least = Duration::from_secs_f32(180.0 / self.shares_per_minute.max(0.1));
        (self.idle_timeout < least).then_some(least)
    }

    /// The script that gets the reward; for the embedded chain one that anybody can spend, since it is worth nothing.
    pub(crate) fn reward_script(&self) -> ScriptBuf {
        match &self.reward_address {
            Some(address) => address.0.script_pubkey(),
            None => ScriptBuf::from_bytes(vec![bitcoin::opcodes::OP_TRUE.to_u8()]),
        }
    }

    pub(crate) fn bounds(&self) -> difficulty::Bounds {
        difficulty::Bounds {
            easiest: difficulty::target_of_bits(self.minimum_difficulty),
            hardest: difficulty::target_of_bits(MAX_BITS),
        }
    }

    pub(crate) fn start_target(&self) -> Target {
        difficulty::target_of_bits(self.start_difficulty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_time_below_the_pauses_between_shares_is_noticed() {
        let section = |shares_per_minute, seconds| MiningSection {
            shares_per_minute,
            idle_timeout: Duration::from_secs(seconds),
            ..MiningSection::default()
        };
        assert_eq!(MiningSection::default().hasty(), None);
        assert_eq!(section(6.0, 30).hasty(), None);
        assert_eq!(section(6.0, 29).hasty(), Some(Duration::from_secs(30)));
        assert_eq!(section(60_000.0, 1).hasty(), None);
    }
}
