//! A whole session with a miner that says anything: what the fuzz target and the replay of its corpus call.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common_messages_sv2::{Protocol, SetupConnectionOwned};
use futures::{SinkExt, StreamExt};
use fuzz_test::frames;
use sv2_transport::{AuthorityKeypair, Frame, Places, Secured, initiate};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::server::MiningServer;
use super::{Mining, MiningParts, MiningSection, payout};
use crate::intake::ShareIntake;
use crate::notices::Notices;
use crate::outbox::{Outbox, OutboxConfig};
use crate::templates::{self, TemplatesSection};

/// Longer than any input takes; a session that hangs is a finding.
const PATIENCE: Duration = Duration::from_secs(60);

/// A mining server without a listener.
pub struct FuzzTarget {
    runtime: Runtime,
    server: Arc<MiningServer>,
    authority: AuthorityKeypair,
    _mining: Mining,
}

/// What went wrong at the fuzzer's own end.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FuzzError(String);

fn failed(error: impl std::fmt::Display) -> FuzzError {
    FuzzError(error.to_string())
}

impl FuzzTarget {
    /// A server that keeps its outbox in this directory.
    ///
    /// # Errors
    /// It can't be started.
    pub fn new(dir: &Path) -> Result<Self, FuzzError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let _inside = runtime.enter();
        let outbox = Outbox::open(dir.join("outbox.sqlite"), &OutboxConfig::default()).map_err(failed)?;
        let section = MiningSection {
            minimum_difficulty: 0,
            start_difficulty: 0,
            ..MiningSection::default()
        };
        let source = TemplatesSection::default();
        let (templates, _) = templates::start(&source, payout(&section), CancellationToken::new()).map_err(failed)?;
        let authority = AuthorityKeypair::generate();
        let parts = MiningParts {
            authority: authority.clone(),
            quotes_extension: 0x4D51,
            has_default_key: true,
            templates,
            intake: ShareIntake::new(outbox.clone(), 0, Some([2; 33])),
            notices: Notices::new(outbox),
            miners: Default::default(),
            metrics: Default::default(),
        };
        let mining = Mining::new(&section, parts).map_err(failed)?;
        drop(_inside);
        Ok(Self {
            runtime,
            server: Arc::clone(&mining.server),
            authority,
            _mining: mining,
        })
    }

    /// Serves a miner that says `input` after its setup: the flags of the setup in its first byte, then [`frames`], one
    /// after the other.
    ///
    /// # Errors
    /// The session hangs. A session that panics does so here.
    pub fn feed(&self, input: &[u8]) -> Result<(), FuzzError> {
        let (flags, rest) = input.split_first().unwrap_or((&0, &[]));
        let (miner, pool) = tokio::io::duplex(16 * 1024);
        let stop = CancellationToken::new();
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let place = Places::new(1)
            .take(address)
            .ok_or_else(|| failed("no place for the session"))?;
        let serving = self.server.serve(&place, pool, address, &stop);
        let mining = async {
            let Secured {
                mut reader, mut writer, ..
            } = initiate(miner, self.authority.public(), Arc::default())
                .await
                .map_err(failed)?;
            let saying = async {
                writer.send(setup(*flags)?).await.map_err(failed)?;
                for frame in frames(rest) {
                    // The pool may have closed the connection, which is an answer, too.
                    if writer.feed(frame).await.is_err() {
                        break;
                    }
                }
                let _ = writer.close().await;
                Ok(())
            };
            let hearing = async { while let Some(Ok(_)) = reader.next().await {} };
            tokio::join!(saying, hearing).0
        };
        let both = async { tokio::join!(serving, mining).1 };
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, both).await })
            .map_err(failed)?
    }
}

fn setup(flags: u8) -> Result<Frame, FuzzError> {
    let field = || Vec::new().try_into().map_err(|_| failed("an empty field"));
    let message = SetupConnectionOwned {
        protocol: Protocol::MiningProtocol,
        min_version: 2,
        max_version: 2,
        flags: flags.into(),
        endpoint_host: field()?,
        endpoint_port: 1,
        vendor: field()?,
        hardware_version: field()?,
        firmware: field()?,
        device_id: field()?,
    };
    let payload = binary_sv2::to_bytes(message).map_err(|error| FuzzError(format!("{error:?}")))?;
    Ok(Frame::new(0, 0, payload))
}

#[cfg(test)]
mod tests {
    use mining_sv2::*;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_miner_with_another_authority_key_is_counted_by_itself() {
        let dir = tempfile::TempDir::new().unwrap();
        let target = FuzzTarget::new(dir.path()).unwrap();
        let (miner, pool) = tokio::io::duplex(16 * 1024);
        let (address, stop) = (SocketAddr::from(([127, 0, 0, 1], 1)), CancellationToken::new());
        let place = Places::new(1).take(address).unwrap();
        let pinned = AuthorityKeypair::generate();
        let (_, refused) = target.runtime.block_on(futures::future::join(
            target.server.serve(&place, pool, address, &stop),
            initiate(miner, pinned.public(), Arc::default()),
        ));
        assert!(matches!(refused, Err(sv2_transport::HandshakeError::WrongAuthority)));
        let ended = target.server.floor.metrics.endings();
        assert_eq!(ended.into_iter().collect::<Vec<_>>(), [("closed_early", 1)]);
    }

    fn frame<M: binary_sv2::Encodable + binary_sv2::GetSize>(msg_type: u8, message: M) -> Vec<u8> {
        Frame::new(0, msg_type, binary_sv2::to_bytes(message).unwrap())
            .to_bytes()
            .unwrap()
    }

    fn conversation(flags: u8) -> Vec<u8> {
        let name = || b"alice.rig".to_vec().try_into().unwrap();
        let standard = OpenStandardMiningChannelOwned {
            request_id: 1,
            user_identity: name(),
            nominal_hash_rate: 1e6,
            max_target: [0xFF; 32].into(),
        };
        let extended = OpenExtendedMiningChannelOwned {
            request_id: 2,
            user_identity: name(),
            nominal_hash_rate: 0.0,
            max_target: [0xFF; 32].into(),
            min_extranonce_size: 8,
        };
        let update = UpdateChannelOwned {
            channel_id: 2,
            nominal_hash_rate: 1e3,
            maximum_target: [0xFF; 32].into(),
        };
        let share = SubmitSharesStandard {
            channel_id: 2,
            sequence_number: 1,
            job_id: 1,
            nonce: 7,
            ntime: 1_800_000_000,
            version: 0x2000_0000,
        };
        let wide = SubmitSharesExtendedOwned {
            channel_id: 3,
            sequence_number: 2,
            job_id: 1,
            nonce: 7,
            ntime: 1_800_000_000,
            version: 0x2000_0000,
            extranonce: vec![1; 16].try_into().unwrap(),
        };
        let close = CloseChannelOwned {
            channel_id: 2,
            reason_code: Vec::new().try_into().unwrap(),
        };
        let negotiation = mint_link::ExtensionMessage::Request {
            request_id: 1,
            requested: vec![0x4D51],
        };
        [
            vec![flags],
            negotiation.to_frame().unwrap().to_bytes().unwrap(),
            frame(MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL, standard),
            frame(MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL, extended),
            frame(MESSAGE_TYPE_UPDATE_CHANNEL, update),
            frame(MESSAGE_TYPE_SUBMIT_SHARES_STANDARD, share),
            frame(MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, wide),
            frame(MESSAGE_TYPE_CLOSE_CHANNEL, close),
        ]
        .concat()
    }

    #[test]
    fn no_seed_of_the_fuzzer_ends_the_pool() {
        let dir = tempfile::tempdir().unwrap();
        let target = FuzzTarget::new(dir.path()).unwrap();
        fuzz_test::replay("session", |input| target.feed(input).unwrap());
    }

    #[test]
    fn the_seeds_are_conversations_of_today() {
        for (name, flags) in [("standard", 1), ("group", 0)] {
            let seed = std::fs::read(fuzz_test::seeds_of("session").join(name)).unwrap();
            assert_eq!(seed, conversation(flags), "{name}");
            assert_eq!(frames(&seed[1..]).count(), 7);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn a_conversation_with_bytes_changed_ends_nothing_but_itself(
            flags in 0..2u8,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
            times in 1..4usize,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let target = FuzzTarget::new(dir.path()).unwrap();
            let mut input = conversation(flags);
            for _ in 1..times {
                input.extend_from_slice(&conversation(flags)[1..]);
            }
            for (index, byte) in changes {
                let index = index.index(input.len());
                input[index] = byte;
            }
            target.feed(&input).unwrap();
            target.feed(&conversation(flags)).unwrap();
        }
    }
}
