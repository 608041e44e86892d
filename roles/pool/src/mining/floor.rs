//! What the connections of a pool share: the rules, the extranonces, the registry and the counters.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use channels_sv2::extranonce_manager::{
    AllocatedExtranoncePrefix, ExtranonceAllocator, ExtranonceAllocatorError, bytes_needed,
};
use mining_sv2::{
    ERROR_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED as CAPACITY_EXHAUSTED,
    ERROR_CODE_OPEN_MINING_CHANNEL_MIN_EXTRANONCE_SIZE_TOO_LARGE as EXTRANONCE_TOO_LARGE,
};
use service::ConfigError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::channel::Rules;
use super::config::MiningSection;
use super::metrics::MiningMetrics;
use super::miners::Miners;

/// Bytes of each extranonce that differ between two runs of a pool. Without them a pool that restarts would hand out the
/// same work again, and take its shares for repeated ones.
const RUN_BYTES: u8 = 4;
/// Indexes of channels in extranonces, far more than there may be channels: they are handed out in turn, so that one comes
/// again only after many others. A channel with the index of one that was just closed would find the same shares again.
const INDEXES: u32 = 1 << 24;
/// Bytes of each extranonce that an extended channel's miner rolls.
const ROLLABLE: u8 = 16;

/// What the connections of a pool share.
#[derive(Debug)]
pub(crate) struct Floor {
    pub(crate) rules: Rules,
    pub(crate) max_channels: usize,
    /// Whether the pool has a key for miners that bring none.
    pub(crate) has_default_key: bool,
    pub(crate) miners: Miners,
    pub(crate) metrics: Arc<MiningMetrics>,
    extranonces: Mutex<ExtranonceAllocator>,
    /// One for each channel that may be open.
    places: Arc<Semaphore>,
    /// The whole size of each in bytes.
    pub(crate) extranonce_size: usize,
}

impl Floor {
    /// # Errors
    /// More channels than there are extranonces for.
    pub(crate) fn new(
        section: &MiningSection,
        has_default_key: bool,
        miners: Miners,
        metrics: Arc<MiningMetrics>,
    ) -> Result<Self, ConfigError> {
        let run: [u8; RUN_BYTES as usize] = rand::random();
        let size = RUN_BYTES + bytes_needed(INDEXES) + ROLLABLE;
        let extranonces = ExtranonceAllocator::new(run.to_vec(), size, INDEXES)
            .map_err(|error| ConfigError::invalid("mining.max_channels", section.max_channels, error))?;
        Ok(Self {
            rules: Rules {
                pool_tag: section.pool_tag.clone(),
                shares_per_minute: section.shares_per_minute,
                bounds: section.bounds(),
                start: section.start_target(),
            },
            max_channels: section.max_channels_per_connection,
            has_default_key,
            miners,
            metrics,
            extranonces: Mutex::new(extranonces),
            places: Arc::new(Semaphore::new(section.max_channels as usize)),
            extranonce_size: size.into(),
        })
    }

    /// A place for a channel, held as long as the channel is open; or the code to refuse it with.
    pub(crate) fn place(&self) -> Result<OwnedSemaphorePermit, &'static str> {
        let places = Arc::clone(&self.places);
        places.try_acquire_owned().map_err(|_| CAPACITY_EXHAUSTED)
    }

    /// The whole extranonce of a standard channel, or the code to refuse it with.
    pub(crate) fn allocate_standard(&self) -> Result<AllocatedExtranoncePrefix, &'static str> {
        self.extranonces().allocate_standard().map_err(code)
    }

    /// The prefix of an extended channel's extranonces and how many bytes its miner rolls, at least `least`; or the
    /// code to refuse it with.
    pub(crate) fn allocate_extended(&self, least: usize) -> Result<(AllocatedExtranoncePrefix, u16), &'static str> {
        let prefix = self.extranonces().allocate_extended(least).map_err(code)?;
        Ok((prefix, ROLLABLE.into()))
    }

    fn extranonces(&self) -> MutexGuard<'_, ExtranonceAllocator> {
        self.extranonces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn code(error: ExtranonceAllocatorError) -> &'static str {
    match error {
        ExtranonceAllocatorError::InvalidRollableSize => EXTRANONCE_TOO_LARGE,
        _ => CAPACITY_EXHAUSTED,
    }
}
