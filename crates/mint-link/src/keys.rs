//! The mint's key, by which a pool knows its mint ([`crate::MintProof`]). The secret never shows in `Debug`, in errors or
//! in logs.

use std::{fmt, str::FromStr, sync::LazyLock};

use bitcoin::secp256k1::{All, Keypair, Secp256k1, XOnlyPublicKey};
use serde::{Deserialize, Serialize};
use sv2_transport::KeyError;

pub(crate) static SECP: LazyLock<Secp256k1<All>> = LazyLock::new(Secp256k1::new);

/// The key of a mint: what a pool lists in `mint_public_keys`. Text form: the x-only key (BIP 340) as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MintPublicKey(XOnlyPublicKey);

impl MintPublicKey {
    /// The x-only key, 32 bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        self.0.serialize()
    }

    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        XOnlyPublicKey::from_slice(bytes)
            .map(Self)
            .map_err(|_| KeyError::Invalid)
    }

    pub(crate) fn as_x_only(&self) -> &XOnlyPublicKey {
        &self.0
    }
}

impl FromStr for MintPublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        use bitcoin::hex::FromHex;
        let bytes = <[u8; 32]>::from_hex(text).map_err(|_| KeyError::Hex)?;
        Self::from_bytes(&bytes)
    }
}

impl fmt::Display for MintPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for MintPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MintPublicKey({self})")
    }
}

/// The secret by which a mint proves itself.
#[derive(Clone)]
pub struct MintKey(Keypair);

impl MintKey {
    /// The key of a secret of 32 bytes.
    pub fn from_secret_bytes(secret: &[u8; 32]) -> Result<Self, KeyError> {
        Keypair::from_seckey_slice(&SECP, secret)
            .map(Self)
            .map_err(|_| KeyError::Invalid)
    }

    /// A fresh random key.
    pub fn generate() -> Self {
        Self(Keypair::new(&SECP, &mut bitcoin::secp256k1::rand::thread_rng()))
    }

    /// What pools list.
    pub fn public(&self) -> MintPublicKey {
        MintPublicKey(self.0.x_only_public_key().0)
    }

    pub(crate) fn pair(&self) -> &Keypair {
        &self.0
    }
}

impl fmt::Debug for MintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MintKey").field(&self.public()).finish()
    }
}

impl TryFrom<String> for MintPublicKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<MintPublicKey> for String {
    fn from(key: MintPublicKey) -> Self {
        key.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_key_round_trips() {
        let mint = MintKey::generate().public();
        assert_eq!(mint.to_string().parse::<MintPublicKey>().unwrap(), mint);
        assert_eq!(mint.to_string().len(), 64);
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_reason() {
        assert_eq!("ab".parse::<MintPublicKey>(), Err(KeyError::Hex));
        assert_eq!("ff".repeat(32).parse::<MintPublicKey>(), Err(KeyError::Invalid));
        assert_eq!(MintKey::from_secret_bytes(&[0; 32]).err(), Some(KeyError::Invalid));
    }

    #[test]
    fn secrets_do_not_show() {
        let key = MintKey::from_secret_bytes(&[7; 32]).unwrap();
        assert_eq!(format!("{key:?}"), format!("MintKey({:?})", key.public()));
    }
}
