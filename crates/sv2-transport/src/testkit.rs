//! What the tests of this crate share: two connected ends over an in-memory pipe.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use tokio::io::DuplexStream;

use crate::{AuthorityKeypair, Secured, initiate, respond};

/// Both ends of a connection after the handshake: the one that dialled, the one that listened.
pub(crate) async fn pair(pipe: usize) -> (Secured<DuplexStream>, Secured<DuplexStream>) {
    let authority = AuthorityKeypair::generate();
    let (dialling, listening) = tokio::io::duplex(pipe);
    let (dialling, listening) = tokio::join!(
        initiate(dialling, authority.public(), Arc::default()),
        respond(listening, &authority, Duration::from_secs(86_400), Arc::default())
    );
    (dialling.unwrap(), listening.unwrap())
}
