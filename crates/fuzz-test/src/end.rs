//! What the targets of both ends of the link share: paused time, keys, and how a peer begins.

use std::{future::Future, sync::LazyLock, time::Duration};

use mint_link::{LinkError, MintKey};
use sv2_transport::{AuthorityKeypair, FrameWriter};
use tokio::{
    io::{AsyncWriteExt, DuplexStream},
    task::JoinError,
    time::{sleep, timeout},
};

/// The pool's key.
pub(crate) static AUTHORITY: LazyLock<AuthorityKeypair> =
    LazyLock::new(|| AuthorityKeypair::from_secret_bytes(&[1; 32]).unwrap());
/// The key of the mint that the pool lists.
pub(crate) static MINT: LazyLock<MintKey> = LazyLock::new(|| MintKey::from_secret_bytes(&[2; 32]).unwrap());
/// That of one that it doesn't list.
pub(crate) static STRANGER: LazyLock<MintKey> = LazyLock::new(|| MintKey::from_secret_bytes(&[3; 32]).unwrap());

/// What the pipe between peer and session holds: more than a session writes before it waits for the peer.
pub(crate) const PIPE: usize = 256 * 1024;
/// Longer than all deadlines of a session together, in time that passes only when there is nothing else to do.
const PATIENCE: Duration = Duration::from_secs(300);

/// How a peer behaves: the first byte of an input.
#[derive(Clone, Copy)]
pub(crate) struct Manner(u8);

/// What the bytes after the first one are.
pub(crate) enum Speech {
    /// Moves, after an honest handshake.
    Script,
    /// Raw bytes, instead of a handshake.
    Handshake,
    /// Raw bytes, after an honest handshake.
    Ciphertext,
}

impl Manner {
    /// The manner, and what it is about.
    pub(crate) fn of(input: &[u8]) -> (Self, &[u8]) {
        let (&manner, rest) = input.split_first().unwrap_or((&0, &[]));
        (Self(manner), rest)
    }

    pub(crate) fn speech(self) -> Speech {
        match self.0 & 3 {
            2 => Speech::Handshake,
            3 => Speech::Ciphertext,
            _ => Speech::Script,
        }
    }

    /// Whether the moves begin after an honest SetupConnection.
    pub(crate) fn sets_up(self) -> bool {
        self.0 & 4 == 0
    }

    /// The bits that mean something to one target alone.
    pub(crate) fn rest(self) -> u8 {
        self.0 >> 3
    }
}

/// Runs `playing` in paused time.
pub(crate) fn in_paused_time(playing: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(playing);
}

/// Lets all happen that needs no time: paused time passes only when there is nothing else to do.
pub(crate) async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// Why the session has ended, which it must.
pub(crate) async fn ended(session: impl Future<Output = Result<LinkError, JoinError>>) -> LinkError {
    let ended = timeout(PATIENCE, session).await.expect("the session hangs");
    ended.expect("the session panicked")
}

/// Writes raw bytes where frames would go, and ends the stream.
pub(crate) async fn babble(writer: &mut FrameWriter<DuplexStream>, bytes: &[u8]) {
    // The session may have ended by then, which is an answer, too.
    let stream = writer.get_mut();
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
}
