//! The mint's two secrets, each a file in the data directory that only its owner can read, made at the first start: the
//! mnemonic from which the keys of its ecash come, and the key by which pools know it.

use std::{fs::File, path::Path};

use bip39::Mnemonic;
use bitcoin::secp256k1::rand::{RngCore, thread_rng};
use mint_link::{MintKey, MintPublicKey};
use service::{
    data_dir,
    secret_file::{Secret, read_or_create},
};

use crate::{DATABASE, StartError, config::MintConfig};

/// Twelve words (BIP 39).
const MNEMONIC: &str = "mnemonic";
/// 32 bytes as hex digits.
const LINK_KEY: &str = "link.key";

/// A mint's secrets.
pub(crate) struct Keys {
    /// 64 bytes (BIP 39, without a passphrase): what CDK derives the keysets from.
    pub(crate) seed: [u8; 64],
    pub(crate) link: MintKey,
}

impl Keys {
    /// Reads the secrets, or makes them if the data directory is new.
    pub(crate) fn open(config: &MintConfig) -> Result<Self, StartError> {
        let folder = &config.data_dir;
        data_dir::make(folder)?;
        let path = folder.join(MNEMONIC);
        if !path.exists() && folder.join(DATABASE).exists() {
            return Err(StartError::MnemonicLost { path });
        }
        let words = read_or_create(&path, || Secret::new(new_mnemonic()))?;
        let mnemonic = Mnemonic::parse(words.expose()).map_err(|error| StartError::BadSecret {
            path,
            problem: format!("holds no BIP 39 mnemonic: {error}"),
        })?;
        Ok(Self {
            seed: mnemonic.to_seed_normalized(""),
            link: link_key(folder)?,
        })
    }
}

/// The public half of the link key, which pools pin; made if the data directory is new.
pub(crate) fn public_key(config: &MintConfig) -> Result<MintPublicKey, StartError> {
    data_dir::make(&config.data_dir)?;
    Ok(link_key(&config.data_dir)?.public())
}

/// Takes the data directory for this process, until the file is dropped: two mints on one database would each count
/// only their own.
pub(crate) fn lock(config: &MintConfig) -> Result<File, StartError> {
    Ok(data_dir::take(&config.data_dir, "mint")?)
}

fn new_mnemonic() -> String {
    let mut entropy = [0; 16];
    thread_rng().fill_bytes(&mut entropy);
    // Sixteen bytes are one of the lengths that BIP 39 allows; an empty secret would be refused when it is read back.
    Mnemonic::from_entropy(&entropy)
        .map(|mnemonic| mnemonic.to_string())
        .unwrap_or_default()
}

fn link_key(folder: &Path) -> Result<MintKey, StartError> {
    let path = folder.join(LINK_KEY);
    let text = read_or_create(&path, || {
        let mut secret = [0; 32];
        // One in 2^128 is no key, and would be refused when it is read back.
        thread_rng().fill_bytes(&mut secret);
        Secret::new(hex::encode(secret))
    })?;
    let bad = |problem: &str| StartError::BadSecret {
        path: path.clone(),
        problem: problem.to_owned(),
    };
    let mut secret = [0; 32];
    hex::decode_to_slice(text.expose(), &mut secret).map_err(|_| bad("holds no key of 64 hex digits"))?;
    MintKey::from_secret_bytes(&secret).map_err(|_| bad("holds no secp256k1 secret key"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn config(folder: &Path) -> MintConfig {
        MintConfig {
            data_dir: folder.join("mint"),
            ..MintConfig::default()
        }
    }

    #[test]
    fn secrets_are_made_once_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let first = Keys::open(&config).unwrap();
        let again = Keys::open(&config).unwrap();
        assert_eq!((first.seed, first.link.public()), (again.seed, again.link.public()));
        assert_eq!(public_key(&config).unwrap(), first.link.public());
        for name in [MNEMONIC, LINK_KEY] {
            let mode = std::fs::metadata(config.data_dir.join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let words = std::fs::read_to_string(config.data_dir.join(MNEMONIC)).unwrap();
        assert_eq!(words.split_whitespace().count(), 12);
    }

    #[test]
    fn a_database_without_its_mnemonic_is_not_given_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        data_dir::make(&config.data_dir).unwrap();
        std::fs::write(config.data_dir.join(DATABASE), "").unwrap();
        let error = Keys::open(&config).err().unwrap().to_string();
        assert!(error.contains("mnemonic: there is a database beside it"), "{error}");
        assert!(!config.data_dir.join(MNEMONIC).exists());
    }

    #[test]
    fn what_is_no_secret_is_named_and_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        Keys::open(&config).unwrap();
        for (name, content) in [
            (MNEMONIC, "zebra zebra"),
            (LINK_KEY, "abcd"),
            (LINK_KEY, &"0".repeat(64)),
        ] {
            let path = config.data_dir.join(name);
            let good = std::fs::read(&path).unwrap();
            std::fs::write(&path, content).unwrap();
            let error = Keys::open(&config).err().unwrap().to_string();
            assert!(error.contains(name) && !error.contains(content), "{error}");
            std::fs::write(&path, good).unwrap();
        }
    }

    #[test]
    fn one_mint_at_a_time_uses_a_data_directory() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let held = lock(&config).unwrap();
        let error = lock(&config).unwrap_err().to_string();
        assert!(
            error.starts_with("data_dir = ") && error.contains("another mint is using it"),
            "{error}"
        );
        drop(held);
        lock(&config).unwrap();
    }
}
