//! The history's file: one slot a line, as a JSON array. The finest slots are appended as they are complete; now and then
//! the file is written anew with what the rings hold.
//!
//! Killed at any moment, it lacks the last seconds. A line that was cut off, or that somebody broke, is left out. Nothing
//! is appended after such a line: a file that was opened, or whose last write failed, is written anew first, beside the
//! old one, and renamed.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use stats_push::PerState;

use super::rings::{FINEST, Figures, MintFigures, Rings, Slot, UnixSeconds};

/// Written anew beyond this size: about once a day.
const LONGEST: u64 = 1 << 20;

/// No more than this is read of a file.
const READ_AT_MOST: u64 = 8 << 20;

/// step, at, redeemed, unpaid, paid, issued, age, requested, hashrate
#[derive(Serialize, Deserialize)]
struct Line(
    u64,
    UnixSeconds,
    Option<u64>,
    Option<u64>,
    Option<u64>,
    Option<u64>,
    Option<u64>,
    Option<u64>,
    Option<f64>,
);

impl Line {
    fn new(step: u64, Slot { at, figures }: &Slot) -> Self {
        let mint = figures.mint.as_ref();
        Self(
            step,
            *at,
            mint.map(|mint| mint.redeemed),
            mint.map(|mint| mint.quotes.unpaid),
            mint.map(|mint| mint.quotes.paid),
            mint.map(|mint| mint.quotes.issued),
            figures.age_ms,
            figures.requested,
            figures.hashrate,
        )
    }

    fn slot(self) -> (u64, Slot) {
        let Self(step, at, redeemed, unpaid, paid, issued, age_ms, requested, hashrate) = self;
        let mint = || {
            Some(MintFigures {
                redeemed: redeemed?,
                quotes: PerState {
                    unpaid: unpaid?,
                    paid: paid?,
                    issued: issued?,
                },
            })
        };
        let figures = Figures {
            mint: mint(),
            age_ms,
            requested,
            hashrate,
        };
        (step, Slot { at, figures })
    }
}

/// Reads what a file holds into empty rings, and counts the lines that were left out. A file that is not there is empty.
pub(super) fn read(path: &Path) -> io::Result<(Rings, usize)> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(READ_AT_MOST).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let (mut rings, mut left_out) = (Rings::new(), 0);
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let taken = serde_json::from_slice(line).is_ok_and(|line: Line| {
            let (step, slot) = line.slot();
            rings.restore(step, &slot)
        });
        left_out += usize::from(!taken);
    }
    Ok((rings, left_out))
}

/// Writes what is new in the rings.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// Open while everything before was written whole.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    length: u64,
    /// Slots from here on are not written yet.
    next: UnixSeconds,
}

/// What is to be written.
pub(super) enum Work {
    /// These slots, and the next ones are from there on.
    Append { slots: Vec<Slot>, next: UnixSeconds },
    /// All of it.
    Anew { lines: Vec<(u64, Slot)>, next: UnixSeconds },
}

impl Journal {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// What there is to write of slots that are complete at `now`.
    pub(super) fn plan(&self, rings: &Rings, now: UnixSeconds) -> Work {
        let open_slot = now - now % FINEST;
        match &self.open {
            // A clock that has stepped back leaves lines in the file that are no longer true.
            Some(open) if open.length < LONGEST && open.next <= open_slot => {
                let mut slots = rings.finest_since(open.next);
                slots.retain(|slot| slot.at < open_slot);
                Work::Append { slots, next: open_slot }
            }
            _ => Work::Anew {
                lines: rings
                    .coarsest_first()
                    .flat_map(|ring| ring.slots.iter().map(|slot| (ring.step, *slot)))
                    .collect(),
                // The slot that is open now is in it, unfinished, and comes once more.
                next: open_slot,
            },
        }
    }

    /// Writes it. After an error the next plan is to write everything anew.
    pub(super) fn write(&mut self, work: &Work) -> io::Result<()> {
        // Given back only if all goes well.
        let open = self.open.take();
        self.open = Some(match (work, open) {
            (Work::Append { slots, next }, Some(mut open)) => {
                let text = text(slots.iter().map(|slot| (FINEST, slot)))?;
                open.file.write_all(&text)?;
                open.length += text.len() as u64;
                open.next = *next;
                open
            }
            (Work::Append { .. }, None) => return Ok(()),
            (Work::Anew { lines, next }, _) => {
                let text = text(lines.iter().map(|(step, slot)| (*step, slot)))?;
                Open {
                    file: replace(&self.path, &text)?,
                    length: text.len() as u64,
                    next: *next,
                }
            }
        });
        Ok(())
    }
}

fn text<'a>(slots: impl Iterator<Item = (u64, &'a Slot)>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for (step, slot) in slots {
        serde_json::to_writer(&mut text, &Line::new(step, slot))?;
        text.push(b'\n');
    }
    Ok(text)
}

/// Puts a file with this text in the place of the old one, which stays whole until then. Gives it back for appending.
fn replace(path: &Path, text: &[u8]) -> io::Result<File> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    let written = file.write_all(text).and_then(|()| file.sync_data());
    match written.and_then(|()| fs::rename(&beside, path)) {
        Ok(()) => Ok(file),
        Err(error) => {
            // Half a file takes room that a full disk needs. What matters is the error above.
            let _ = fs::remove_file(&beside);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UnixSeconds = 1_795_334_400;

    fn told(redeemed: u64) -> Figures {
        Figures {
            mint: Some(MintFigures {
                redeemed,
                quotes: PerState {
                    unpaid: 1,
                    paid: 2,
                    issued: redeemed,
                },
            }),
            age_ms: Some(412),
            requested: Some(redeemed + 3),
            hashrate: Some(2.5e6),
        }
    }

    fn all(rings: &Rings) -> Vec<(u64, Slot)> {
        let lines = |ring: &super::super::rings::Ring| ring.slots.iter().map(|slot| (ring.step, *slot)).collect();
        rings.coarsest_first().flat_map::<Vec<_>, _>(lines).collect()
    }

    struct Fixture {
        folder: tempfile::TempDir,
        rings: Rings,
        journal: Journal,
        now: UnixSeconds,
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            Self {
                journal: Journal::new(folder.path().join("history.jsonl")),
                folder,
                rings: Rings::new(),
                now: START,
            }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("history.jsonl")
        }

        /// Time passes, and is written down every 10 s.
        fn run(&mut self, seconds: u64) {
            for _ in 0..seconds {
                self.rings.note(self.now, &told(self.now - START));
                self.now += 1;
                if self.now.is_multiple_of(FINEST) {
                    self.journal.write(&self.journal.plan(&self.rings, self.now)).unwrap();
                }
            }
        }

        fn read(&self) -> (Vec<(u64, Slot)>, usize) {
            let (rings, left_out) = read(&self.path()).unwrap();
            (all(&rings), left_out)
        }
    }

    #[test]
    fn what_was_written_is_read_with_its_own_times() {
        let mut fixture = Fixture::new();
        fixture.run(300);
        assert_eq!(fixture.read(), (all(&fixture.rings), 0));
        // Half a slot later nothing more is in the file, and what is there is as old as it is.
        let before = fixture.read();
        fixture.run(5);
        assert_eq!(fixture.read(), before);
    }

    #[test]
    fn a_process_killed_in_the_middle_of_a_line_loses_that_line_alone() {
        let mut fixture = Fixture::new();
        fixture.run(120);
        let whole = fs::read(fixture.path()).unwrap();
        let (lines, _) = fixture.read();
        fs::write(fixture.path(), &whole[..whole.len() - 7]).unwrap();
        let (cut, left_out) = fixture.read();
        assert_eq!(left_out, 1);
        assert_eq!(cut.last(), lines.iter().rev().nth(1));

        // The next process goes on in a file without the half line.
        let (rings, _) = read(&fixture.path()).unwrap();
        fixture.rings = rings;
        fixture.journal = Journal::new(fixture.path());
        fixture.run(60);
        assert_eq!(fixture.read(), (all(&fixture.rings), 0));
    }

    #[test]
    fn lines_that_say_nothing_are_left_out_and_counted() {
        let mut fixture = Fixture::new();
        fixture.run(60);
        let mut text = fs::read(fixture.path()).unwrap();
        let lines = fixture.read().0;
        text.extend_from_slice(
            b"\0\0\0\0\n[10]\n[7,1795334400,1,1,1,1,1,1,1.0]\n[10,1795334401,1,1,1,1,1,1,1.0]\nhello\n",
        );
        // The last multiple of 10 that 64 bits hold: its slot would have no end.
        text.extend_from_slice(b"[10,18446744073709551610,1,1,1,1,1,1,1.0]\n");
        fs::write(fixture.path(), text).unwrap();
        assert_eq!(fixture.read(), (lines, 6));
    }

    #[test]
    fn a_disk_that_was_full_for_a_while_costs_nothing_that_is_still_in_memory() {
        let mut fixture = Fixture::new();
        fixture.run(60);
        // A directory in its place, as one way in which a write can fail.
        let beside = fixture.path().with_extension("new");
        fs::create_dir(&beside).unwrap();
        fixture.journal = Journal::new(fixture.path());
        let plan = fixture.journal.plan(&fixture.rings, fixture.now);
        assert!(fixture.journal.write(&plan).is_err());
        fs::remove_dir(&beside).unwrap();
        fixture.run(60);
        assert_eq!(fixture.read(), (all(&fixture.rings), 0));
        assert!(!beside.exists());
    }

    #[test]
    fn the_file_stays_small_and_is_written_anew_when_the_clock_has_stepped_back() {
        let mut fixture = Fixture::new();
        // Three days of lines would be more than the longest file.
        fixture.run(260_000);
        let length = fs::metadata(fixture.path()).unwrap().len();
        assert!(length < LONGEST / 2, "{length}");
        assert_eq!(fixture.read(), (all(&fixture.rings), 0));
        fixture.now -= 1000;
        fixture.run(100);
        assert_eq!(fixture.read(), (all(&fixture.rings), 0));
    }
}
