//! The seeds of the fuzzer, and what it found: one file for each input, in `fuzz/seeds/TARGET`.

use std::path::{Path, PathBuf};

/// The directory with the seeds of a target.
pub fn seeds_of(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target)
}

/// Calls `body` with every seed of this target, in the order of their names, each of which is printed before.
///
/// # Panics
/// There is none, or `body` does.
pub fn replay(target: &str, body: impl Fn(&[u8])) {
    let directory = seeds_of(target);
    let files = std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", directory.display());
    for file in files {
        println!("{}", file.display());
        body(&std::fs::read(&file).unwrap());
    }
}

#[cfg(test)]
mod tests;
