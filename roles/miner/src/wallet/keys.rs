//! The wallet's one secret: a BIP 39 seed in a file of its own, from which everything else is derived.
//!
//! Ehash secrets follow NUT-13, the locking key is the first quote key of NUT-20, so the words alone bring a lost wallet
//! back, in this program or in any other that follows the NUTs.

use std::path::Path;

use bip39::Mnemonic;
use cdk::nuts::nut20::derive_quote_locking_key;
use cdk::nuts::{PublicKey, SecretKey};
use service::secret_file::{Secret, read_or_create};
use zeroize::Zeroizing;

use super::error::WalletError;
use super::store::{exists, make_dir};

const FILE: &str = "seed";

/// Which of the seed's NUT-20 keys is the locking key. There is only one: a pool is told it once.
const LOCKING_KEY_INDEX: u32 = 0;

/// The seed and the locking key.
pub(super) struct Keys {
    pub(super) seed: Zeroizing<[u8; 64]>,
    pub(super) locking: SecretKey,
}

impl Keys {
    /// Those of this directory; made on the first start.
    pub(super) fn read_or_create(data_dir: &Path) -> Result<Self, WalletError> {
        let path = data_dir.join(FILE);
        let damaged = || WalletError::Seed { path: path.clone() };
        let entropy = Zeroizing::new(rand::random::<[u8; 16]>());
        let fresh = Mnemonic::from_entropy(&*entropy).map_err(|_| damaged())?;
        let words = read_or_create(&path, || Secret::new(fresh.to_string()))?;
        let seed = Zeroizing::new(Mnemonic::parse(words.expose()).map_err(|_| damaged())?.to_seed(""));
        let locking = derive_quote_locking_key(&seed, LOCKING_KEY_INDEX).map_err(|_| damaged())?;
        Ok(Self { seed, locking })
    }

    /// What a pool locks this wallet's quotes to.
    pub(super) fn locking_public(&self) -> PublicKey {
        self.locking.public_key()
    }
}

/// Whether this directory has a wallet's seed.
///
/// # Errors
/// The directory can't be looked at.
pub fn has_seed(data_dir: &Path) -> Result<bool, WalletError> {
    exists(&data_dir.join(FILE))
}

/// The key of the wallet in this directory that quotes are to be locked to (NUT-20), 33 bytes; made on the first call. It
/// can be asked for while another process uses the wallet.
///
/// # Errors
/// The directory or the seed's file can't be used.
pub fn locking_key(data_dir: &Path) -> Result<[u8; 33], WalletError> {
    make_dir(data_dir)?;
    Ok(Keys::read_or_create(data_dir)?.locking_public().to_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_same_directory_gives_the_same_keys_and_another_gives_others() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = Keys::read_or_create(one.path()).unwrap();
        let again = Keys::read_or_create(one.path()).unwrap();
        let other = Keys::read_or_create(two.path()).unwrap();
        assert_eq!(first.locking_public(), again.locking_public());
        assert_eq!(first.seed, again.seed);
        assert_ne!(first.locking_public(), other.locking_public());
        let file = one.path().join(FILE);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(file).unwrap().split_whitespace().count(), 12);
    }

    #[test]
    fn the_words_bring_back_the_keys() {
        let folder = tempfile::tempdir().unwrap();
        let words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
        read_or_create(&folder.path().join(FILE), || Secret::new(words.to_owned())).unwrap();
        let keys = Keys::read_or_create(folder.path()).unwrap();
        // BIP 39's own vector for these words without a passphrase.
        assert_eq!(keys.seed[..4], [0x5e, 0xb0, 0x0b, 0xbd]);
    }

    #[test]
    fn anything_but_a_seed_is_refused_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        read_or_create(&folder.path().join(FILE), || Secret::new("correct horse".to_owned())).unwrap();
        let error = Keys::read_or_create(folder.path()).err().unwrap();
        assert!(matches!(error, WalletError::Seed { .. }));
        assert!(!format!("{error} {error:?}").contains("horse"));
    }
}
