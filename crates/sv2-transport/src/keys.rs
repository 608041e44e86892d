//! The authority key of an SV2 server, which its clients pin (Noise). The secret never shows in `Debug`, in errors or in
//! logs.

use std::{fmt, str::FromStr, sync::LazyLock};

use bitcoin::{
    base58,
    secp256k1::{All, Keypair, Secp256k1, SecretKey, XOnlyPublicKey},
};
use serde::{Deserialize, Serialize};

static SECP: LazyLock<Secp256k1<All>> = LazyLock::new(Secp256k1::new);

/// Version of SV2's public key encoding (SV2 specification, section 4.7), little-endian before the key.
const PUBLIC_KEY_VERSION: [u8; 2] = [1, 0];

/// A key that does not parse. Never tells the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not base58 with a valid checksum.
    #[error("expected base58 with a valid checksum")]
    Base58,
    /// Hex where base58 is expected.
    #[error("expected base58 with a valid checksum, such as 9au…; in hex are the keys of mints and wallets")]
    NotBase58,
    /// The version in front of a public key is not 1.
    #[error("expected a key of version 1")]
    Version,
    /// Not hex of 32 bytes.
    #[error("expected 64 hex digits")]
    Hex,
    /// 32 bytes that are no key on secp256k1, or another number of bytes.
    #[error("expected a secp256k1 key of 32 bytes")]
    Invalid,
}

/// The authority key of a pool or a template provider: what its clients pin. Text form: base58 with checksum, as SV2 pools publish it (`9b…`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct AuthorityPublicKey([u8; 32]);

impl AuthorityPublicKey {
    /// The x-only key, 32 bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl FromStr for AuthorityPublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = base58::decode_check(text).map_err(|_| {
            // An x-only key, or a compressed one.
            let hex = matches!(text.len(), 64 | 66) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            if hex { KeyError::NotBase58 } else { KeyError::Base58 }
        })?;
        let key = bytes.strip_prefix(&PUBLIC_KEY_VERSION).ok_or(KeyError::Version)?;
        let key = XOnlyPublicKey::from_slice(key).map_err(|_| KeyError::Invalid)?;
        Ok(Self(key.serialize()))
    }
}

impl fmt::Display for AuthorityPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base58::encode_check(&[&PUBLIC_KEY_VERSION[..], &self.0].concat()))
    }
}

impl fmt::Debug for AuthorityPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorityPublicKey({self})")
    }
}

/// The authority key pair of an SV2 server. Text form: the secret in base58 with checksum, as SV2 pools configure it.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct AuthorityKeypair {
    public: AuthorityPublicKey,
    secret: SecretKey,
}

impl AuthorityKeypair {
    /// A fresh random pair.
    pub fn generate() -> Self {
        Self::of(Keypair::new(&SECP, &mut bitcoin::secp256k1::rand::thread_rng()))
    }

    /// The pair of a secret of 32 bytes.
    pub fn from_secret_bytes(secret: &[u8; 32]) -> Result<Self, KeyError> {
        let pair = Keypair::from_seckey_slice(&SECP, secret).map_err(|_| KeyError::Invalid)?;
        Ok(Self::of(pair))
    }

    /// What clients pin.
    pub fn public(&self) -> AuthorityPublicKey {
        self.public
    }

    /// The secret in base58 with checksum, to be kept in a file that only the server reads.
    pub fn to_secret_text(&self) -> String {
        base58::encode_check(&self.secret.secret_bytes())
    }

    pub(crate) fn secret_bytes(&self) -> [u8; 32] {
        self.secret.secret_bytes()
    }

    fn of(pair: Keypair) -> Self {
        Self {
            public: AuthorityPublicKey(pair.x_only_public_key().0.serialize()),
            secret: pair.secret_key(),
        }
    }
}

impl FromStr for AuthorityKeypair {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = base58::decode_check(text).map_err(|_| KeyError::Base58)?;
        let secret = <[u8; 32]>::try_from(bytes).map_err(|_| KeyError::Invalid)?;
        Self::from_secret_bytes(&secret)
    }
}

impl fmt::Debug for AuthorityKeypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorityKeypair")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl TryFrom<String> for AuthorityPublicKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl TryFrom<String> for AuthorityKeypair {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<AuthorityPublicKey> for String {
    fn from(key: AuthorityPublicKey) -> Self {
        key.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A pair that SV2 projects print in their examples.
    const SECRET: &str = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n";
    const PUBLIC: &str = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72";

    #[test]
    fn sv2_key_texts_round_trip() {
        let pair: AuthorityKeypair = SECRET.parse().unwrap();
        assert_eq!(pair.public().to_string(), PUBLIC);
        assert_eq!(pair.to_secret_text(), SECRET);
        assert_eq!(PUBLIC.parse::<AuthorityPublicKey>().unwrap(), pair.public());
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_reason() {
        assert_eq!("0".parse::<AuthorityPublicKey>(), Err(KeyError::Base58));
        assert_eq!(SECRET.parse::<AuthorityPublicKey>(), Err(KeyError::Version));
        for hex in ["0a".repeat(32), "0a".repeat(33)] {
            assert_eq!(hex.parse::<AuthorityPublicKey>(), Err(KeyError::NotBase58));
        }
        let short = base58::encode_check(&[1, 0, 7]);
        assert_eq!(short.parse::<AuthorityPublicKey>(), Err(KeyError::Invalid));
        assert_eq!(PUBLIC.parse::<AuthorityKeypair>().err(), Some(KeyError::Invalid));
    }

    #[test]
    fn secrets_do_not_show() {
        let pair: AuthorityKeypair = SECRET.parse().unwrap();
        assert!(!format!("{pair:?}").contains(SECRET));
    }
}
