//! Which mints a pool works with. May change at run time: it lives in a `watch`.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{error::LinkError, keys::MintPublicKey};

/// The pool's rule for mints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// The mints that are accepted once they have proven themselves. Empty: any mint that negotiates extensions, which a
    /// role allows on a loopback listener only.
    pub mint_public_keys: Vec<MintPublicKey>,
    /// Whether a mint that can't prove itself is accepted too, such as hashpool's.
    pub allow_legacy_mint: bool,
}

impl Admission {
    pub(crate) fn accepts_any(&self) -> bool {
        self.mint_public_keys.is_empty()
    }

    /// Whether only a proof will do.
    pub(crate) fn demands_proof(&self) -> bool {
        !self.accepts_any() && !self.allow_legacy_mint
    }

    /// Judges a mint that has proven to hold `key`.
    pub(crate) fn judge(&self, key: MintPublicKey) -> Result<(), LinkError> {
        if self.accepts_any() || self.mint_public_keys.contains(&key) {
            Ok(())
        } else {
            Err(LinkError::NotListed(key))
        }
    }

    /// Judges a mint that has proven nothing.
    pub(crate) fn judge_unproven(&self, negotiates: bool) -> Result<(), LinkError> {
        if self.allow_legacy_mint || (negotiates && self.accepts_any()) {
            Ok(())
        } else {
            Err(LinkError::LegacyRefused)
        }
    }
}

/// Waits for a change of the rule; without anybody left to change it, for ever.
pub(super) async fn changed(admission: &mut watch::Receiver<Arc<Admission>>) {
    if admission.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
