//! Secrets in the data directory: a wallet's seed, a locking key, a mint's mnemonic.
//!
//! A secret is made once, on the first start, and must then never be lost, half written, replaced or readable by
//! others: a new file is written beside its name with mode 0600, synced, and only then named, and never over an
//! existing one.

use std::fmt;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// Larger files are no secrets of ours.
const MAX_BYTES: u64 = 64 * 1024;

/// Bits of a file's mode that let everybody in.
const OTHERS: u32 = 0o007;

/// A secret text that no `Debug` shows and that is wiped from memory when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text as secret from here on.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself; not to be logged, formatted or stored elsewhere.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(<hidden>)")
    }
}

/// Why a secret could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file system refused.
    #[error("{}: {action} failed", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Everybody on the machine may read or write the file.
    #[error("{}: everybody on this machine has access to this secret (mode {mode:03o}); run chmod 600 on it", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds no text, or far too much.
    #[error("{}: holds no secret: {problem}; restore it from a backup", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Makes a directory, and those above it, that only the owner can enter; leaves an existing one as it is.
///
/// # Errors
/// The file system refused.
pub fn create_private_dir(path: &Path) -> Result<(), SecretFileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed(path, "creating the directory"))
}

/// The secret in the file, without white space around it. If there is no such file, `generate` makes the secret and it
/// is stored first. Of several processes that start at once, all get the secret of the one that came first.
///
/// # Errors
/// The file system refused, the file is open to everybody, or it is empty, too large or not text.
pub fn read_or_create(path: &Path, generate: impl FnOnce() -> Secret) -> Result<Secret, SecretFileError> {
    match File::open(path) {
        Ok(file) => read(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(path, &generate())?;
            read(path, File::open(path).map_err(failed(path, "opening"))?)
        }
        Err(error) => Err(failed(path, "opening")(error)),
    }
}

fn read(path: &Path, file: File) -> Result<Secret, SecretFileError> {
    let mode = file
        .metadata()
        .map_err(failed(path, "reading the mode"))?
        .permissions()
        .mode()
        & 0o777;
    if mode & OTHERS != 0 {
        return Err(SecretFileError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let damaged = |problem| SecretFileError::Damaged {
        path: path.to_owned(),
        problem,
    };
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed(path, "reading"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(damaged("it is too large"));
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| damaged("it is not text"))?
        .trim();
    if text.is_empty() {
        return Err(damaged("it is empty"));
    }
    Ok(Secret::new(text.to_owned()))
}

/// Stores a new secret durably; leaves one that is already there.
fn create(path: &Path, secret: &Secret) -> Result<(), SecretFileError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder).map_err(failed(path, "creating"))?;
    file.as_file()
        .set_permissions(PermissionsExt::from_mode(0o600))
        .map_err(failed(path, "setting the mode"))?;
    writeln!(file, "{}", secret.expose()).map_err(failed(path, "writing"))?;
    file.as_file().sync_all().map_err(failed(path, "syncing"))?;
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(path, "naming")(error.error)),
    }
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed(path, "syncing the folder"))
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> SecretFileError {
    move |source| SecretFileError::Io {
        path: path.to_owned(),
        action,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_secret_is_made_once_with_mode_0600_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        assert_eq!(read_or_create(&path, || secret("first")).unwrap().expose(), "first");
        assert_eq!(
            read_or_create(&path, || panic!("made twice")).unwrap().expose(),
            "first"
        );
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn of_several_at_once_all_get_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        let got: Vec<String> = std::thread::scope(|scope| {
            let path = &path;
            let threads: Vec<_> = (0..8)
                .map(|i| {
                    scope.spawn(move || {
                        read_or_create(path, || secret(&format!("{i}")))
                            .unwrap()
                            .expose()
                            .to_owned()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(got.iter().all(|text| Some(text) == got.first()), "{got:?}");
    }

    #[test]
    fn a_secret_open_to_everybody_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        let error = read_or_create(&path, || secret("y")).unwrap_err();
        assert!(error.to_string().contains("mode 644"), "{error}");
    }

    #[test]
    fn a_damaged_file_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        for content in [&b"  \n"[..], &[0xff, 0xfe], &[b'a'; 70_000]] {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            assert!(matches!(
                read_or_create(&path, || secret("y")),
                Err(SecretFileError::Damaged { .. })
            ));
            assert_eq!(std::fs::read(&path).unwrap(), content);
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_and_a_private_one_can_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        assert!(matches!(
            read_or_create(&inner.join("seed"), || secret("x")),
            Err(SecretFileError::Io { .. })
        ));
        create_private_dir(&inner).unwrap();
        create_private_dir(&inner).unwrap();
        assert_eq!(std::fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn debug_hides_it() {
        assert_eq!(format!("{:?}", secret("abandon")), "Secret(<hidden>)");
    }
}
