//! What the mint has committed, version by version: when, and with which figures.
//!
//! The mint's process stamps each version on the thread that committed it, before anybody else is told, and writes the
//! stamp to its parent at once. A mint that is killed may take its last stamps along; what its successor finds in the
//! file was then committed before the kill, and counts from the kill.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use stats_push::EhashTotals;

use crate::clock::Nanos;

/// Versions that are remembered at most, 40 s of 100,000 changes a second, in 96 MB.
const KEPT: usize = 4_000_000;

/// All figures of a version in one number, to compare them by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest(pub(crate) u64);

impl Digest {
    pub(crate) fn of(totals: &EhashTotals) -> Self {
        // The same keys in every process of one program.
        let mut hasher = DefaultHasher::new();
        totals.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// The history that figures are judged by.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// The version of the first of `changes`.
    first: u64,
    changes: VecDeque<Change>,
    /// When the mint was last killed.
    killed_at: Option<Nanos>,
    /// Versions that were forgotten for want of room.
    pub(crate) forgotten: u64,
}

#[derive(Clone, Copy, Debug)]
struct Change {
    at: Nanos,
    /// Unknown of versions whose stamp was lost.
    digest: Option<Digest>,
}

impl Truth {
    /// A version was committed.
    ///
    /// # Errors
    /// If the mint has told of this version before: its ledger has fallen back.
    pub(crate) fn committed(&mut self, version: u64, at: Nanos, digest: Digest) -> Result<(), String> {
        match self.newest() {
            Some(newest) if version <= newest => {
                return Err(format!("the ledger has fallen from version {newest} to {version}"));
            }
            Some(newest) => self.fill(newest + 1, version, at),
            None => self.first = version,
        }
        self.push(Change {
            at,
            digest: Some(digest),
        });
        Ok(())
    }

    /// A mint that starts has read this version from its file.
    ///
    /// # Errors
    /// If the figures are not those that were committed as this version.
    pub(crate) fn found(&mut self, version: u64, digest: Digest) -> Result<(), String> {
        match self.newest() {
            Some(newest) if version <= newest => match self.digest(version) {
                Some(known) if known != digest => Err(format!(
                    "a mint started at version {version} with other figures than were committed"
                )),
                _ => Ok(()),
            },
            _ => {
                // By an earlier run, or by the last mint right before it was killed.
                self.committed(version, self.killed_at.unwrap_or(0), digest)
            }
        }
    }

    /// The mint is killed now.
    pub(crate) fn killed(&mut self, at: Nanos) {
        self.killed_at = Some(at);
    }

    /// The newest version that was told.
    pub(crate) fn newest(&self) -> Option<u64> {
        let count = u64::try_from(self.changes.len()).unwrap_or(u64::MAX);
        (count > 0).then(|| self.first + count - 1)
    }

    /// When this version was committed; `None` if it is not known (yet, or any more).
    pub(crate) fn at(&self, version: u64) -> Option<Nanos> {
        self.change(version).map(|change| change.at)
    }

    /// When the first version after this one was committed.
    pub(crate) fn outdated_at(&self, version: u64) -> Option<Nanos> {
        self.at((version + 1).max(self.first))
    }

    /// The figures of this version, if they were told.
    pub(crate) fn digest(&self, version: u64) -> Option<Digest> {
        self.change(version)?.digest
    }

    /// The newest version with these figures, from `oldest` on.
    pub(crate) fn version_of(&self, digest: Digest, oldest: u64) -> Option<u64> {
        let newest = self.newest()?;
        (oldest.max(self.first)..=newest)
            .rev()
            .find(|version| self.digest(*version) == Some(digest))
    }

    /// Forgets what is older than this version.
    pub(crate) fn forget_before(&mut self, version: u64) {
        while self.first < version && self.changes.len() > 1 {
            self.changes.pop_front();
            self.first += 1;
        }
    }

    fn change(&self, version: u64) -> Option<&Change> {
        let index = usize::try_from(version.checked_sub(self.first)?).ok()?;
        self.changes.get(index)
    }

    fn fill(&mut self, from: u64, to: u64, at: Nanos) {
        let at = self.killed_at.unwrap_or(at).min(at);
        for _ in from..to {
            self.push(Change { at, digest: None });
        }
    }

    fn push(&mut self, change: Change) {
        if self.changes.len() == KEPT {
            self.changes.pop_front();
            self.first += 1;
            self.forgotten += 1;
        }
        self.changes.push_back(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Digest = Digest(1);
    const B: Digest = Digest(2);

    #[test]
    fn versions_whose_stamp_was_lost_count_from_the_kill() {
        let mut truth = Truth::default();
        assert_eq!(truth.committed(7, 100, A), Ok(()));
        truth.killed(150);
        assert_eq!(truth.found(9, B), Ok(()));
        assert_eq!(
            [7, 8, 9].map(|version| truth.at(version)),
            [Some(100), Some(150), Some(150)]
        );
        assert_eq!([7, 8, 9].map(|version| truth.digest(version)), [Some(A), None, Some(B)]);
        assert_eq!(truth.outdated_at(7), Some(150));
        assert_eq!(truth.outdated_at(9), None);
    }

    #[test]
    fn a_ledger_that_falls_back_or_changes_a_version_is_found_out() {
        let mut truth = Truth::default();
        assert_eq!(truth.committed(1, 10, A), Ok(()));
        assert_eq!(truth.committed(2, 20, B), Ok(()));
        assert!(truth.committed(2, 30, B).is_err());
        assert_eq!(truth.found(2, B), Ok(()));
        assert!(truth.found(2, A).is_err());
    }

    #[test]
    fn what_is_forgotten_makes_nothing_look_fresh() {
        let mut truth = Truth::default();
        for version in 1..=10 {
            assert_eq!(truth.committed(version, version * 10, A), Ok(()));
        }
        truth.forget_before(5);
        assert_eq!(truth.at(4), None);
        // The true moment is earlier: what is said is a lower bound.
        assert_eq!(truth.outdated_at(1), Some(50));
        assert_eq!(truth.newest(), Some(10));
    }
}
