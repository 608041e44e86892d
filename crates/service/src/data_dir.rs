//! A service's data directory (`data_dir`): made for its owner alone, and used by one process at a time.
//!
//! A directory that can't serve is a matter of configuration: the error names the key, the path and what is allowed, and
//! ends a process with exit code 2.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use crate::ConfigError;
use crate::secret_file::{SecretFileError, create_private_dir};

/// The key that all roles have for it.
const KEY: &str = "data_dir";

/// Checks what can be told without a look at the disk.
///
/// # Errors
/// The path is empty: that would be whatever directory the service happens to be started in.
pub fn check(path: &Path) -> Result<(), ConfigError> {
    if path.as_os_str().is_empty() {
        return Err(refused(path, "expected a directory; \".\" is the current one"));
    }
    Ok(())
}

/// Makes the directory, and those above it, for the owner alone; leaves an existing one as it is.
///
/// # Errors
/// There is something else at the path, or the operating system refuses.
pub fn make(path: &Path) -> Result<(), ConfigError> {
    check(path)?;
    create_private_dir(path).map_err(|error| match error {
        SecretFileError::Io { source, .. } => unusable(path, &source),
        other => refused(path, &other.to_string()),
    })
}

/// Takes the directory for this process until the file is dropped, or the process ends however it does; makes it if need
/// be. `service` names the kind of service in the lock's file and in the message.
///
/// # Errors
/// Another process has it, or it can't be made or written.
pub fn take(path: &Path, service: &str) -> Result<File, ConfigError> {
    make(path)?;
    let file = File::create(path.join(format!("{service}.lock"))).map_err(|error| unusable(path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(refused(
            path,
            &format!("another {service} is using it: stop that one, or choose another directory; each needs its own"),
        )),
        Err(TryLockError::Error(error)) => Err(unusable(path, &error)),
    }
}

fn unusable(path: &Path, error: &io::Error) -> ConfigError {
    refused(
        path,
        &format!("{error}; expected a directory that this user can write, or a path where one can be made"),
    )
}

fn refused(path: &Path, allowed: &str) -> ConfigError {
    ConfigError::invalid(KEY, format_args!("{:?}", path.display().to_string()), allowed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_can_be_no_directory_is_refused_with_key_path_and_what_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let below = file.join("data");
        for (path, says) in [
            (Path::new(""), "data_dir = \"\": expected a directory"),
            (&file, "expected a directory that this user can write"),
            (&below, "expected a directory that this user can write"),
            (Path::new("/proc/data"), "expected a directory that this user can write"),
        ] {
            let error = take(path, "role").unwrap_err().to_string();
            assert!(error.starts_with(&format!("data_dir = {path:?}: ")), "{error}");
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn it_is_made_for_the_owner_and_used_by_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let held = take(&path, "role").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let error = take(&path, "role").unwrap_err().to_string();
        assert!(error.contains("another role is using it"), "{error}");
        drop(held);
        take(&path, "role").unwrap();
    }
}
