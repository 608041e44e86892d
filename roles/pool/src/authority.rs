//! The pool's authority key: the one in the configuration, or one that is made once and kept in the data directory.

use std::path::Path;

use service::secret_file::{Secret, SecretFileError, read_or_create};
use service::{ConfigError, data_dir};
use sv2_transport::{AuthorityKeypair, KeyError};

use crate::config::PoolConfig;

/// The file in the data directory that holds the secret key in SV2's base58 form.
const FILE: &str = "authority.key";

/// Why there is no authority key.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The file can't be read or made.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The file holds something else.
    #[error("{file}: holds no authority key: {problem}; restore it from a backup")]
    NoKey {
        /// Its path.
        file: String,
        /// What is wrong with it.
        problem: KeyError,
    },
    /// The configuration states another public key, or a data directory that can't serve.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The pool's authority key pair; makes and keeps one if neither configuration nor data directory has it.
///
/// # Errors
/// [`AuthorityError`].
pub fn authority(config: &PoolConfig) -> Result<AuthorityKeypair, AuthorityError> {
    let pair = match &config.mint_link.authority_secret_key {
        Some(pair) => pair.clone(),
        None => kept(&config.data_dir)?,
    };
    match config.mint_link.authority_public_key {
        Some(stated) if stated != pair.public() => Err(ConfigError::invalid(
            "mint_link.authority_public_key",
            stated,
            format_args!("expected {}, which belongs to the secret key", pair.public()),
        )
        .into()),
        _ => Ok(pair),
    }
}

fn kept(folder: &Path) -> Result<AuthorityKeypair, AuthorityError> {
    data_dir::make(folder)?;
    let file = folder.join(FILE);
    let secret = read_or_create(&file, || Secret::new(AuthorityKeypair::generate().to_secret_text()))?;
    secret.expose().parse().map_err(|problem| AuthorityError::NoKey {
        file: file.display().to_string(),
        problem,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_is_made_once_for_the_owner_alone_and_compared_where_it_is_stated() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = PoolConfig {
            data_dir: dir.path().join("pool"),
            ..PoolConfig::default()
        };
        let made = authority(&config).unwrap().public();
        assert_eq!(authority(&config).unwrap().public(), made);
        let file = config.data_dir.join(FILE);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

        config.mint_link.authority_public_key = Some(made);
        assert_eq!(authority(&config).unwrap().public(), made);
        let other = AuthorityKeypair::generate();
        config.mint_link.authority_public_key = Some(other.public());
        let error = authority(&config).unwrap_err().to_string();
        assert!(
            error.starts_with("mint_link.authority_public_key = ") && error.contains(&made.to_string()),
            "{error}"
        );
        config.mint_link.authority_secret_key = Some(other.clone());
        assert_eq!(authority(&config).unwrap().public(), other.public());

        config.mint_link = Default::default();
        std::fs::write(&file, "no key").unwrap();
        assert!(matches!(authority(&config), Err(AuthorityError::NoKey { .. })));
    }
}
