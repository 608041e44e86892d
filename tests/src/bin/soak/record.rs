//! What a child tells its parent, a line each on its standard output.
//!
//! ```text
//! ready                                          it serves
//! found VERSION FIGURES…                         a mint read this version from its file
//! committed VERSION AT FIGURES…                  and this one it has committed, AT by the common clock
//! shows AT TAKEN VERSION ANSWERS FIGURES…        what is shown from AT on; VERSION is 0 if it is not known; ANSWERS is 1
//!                                                for the answer to a request
//! traffic MESSAGES BYTES                         what else was sent and received for it
//! ```
//! FIGURES are the seven of [`EhashTotals`]. A line is one write, made before the child goes on: a child that is killed
//! has told of everything that anybody can have seen.

use std::{io::Write as _, process};

use stats_push::{EhashTotals, PerState};

use crate::clock::Nanos;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Ready,
    Found {
        version: u64,
        totals: EhashTotals,
    },
    Committed {
        version: u64,
        at: Nanos,
        totals: EhashTotals,
    },
    Shows {
        at: Nanos,
        taken: Nanos,
        version: Option<u64>,
        answers: bool,
        totals: EhashTotals,
    },
    Traffic {
        messages: u64,
        bytes: u64,
    },
}

impl Record {
    /// `None` for a line that is no record.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let tag = words.next()?;
        let mut number = || words.next()?.parse::<u64>().ok();
        match tag {
            "ready" => Some(Self::Ready),
            "found" => Some(Self::Found {
                version: number()?,
                totals: totals(number)?,
            }),
            "committed" => Some(Self::Committed {
                version: number()?,
                at: number()?,
                totals: totals(number)?,
            }),
            "shows" => Some(Self::Shows {
                at: number()?,
                taken: number()?,
                version: Some(number()?).filter(|version| *version > 0),
                answers: number()? == 1,
                totals: totals(number)?,
            }),
            "traffic" => Some(Self::Traffic {
                messages: number()?,
                bytes: number()?,
            }),
            _ => None,
        }
    }

    /// The line, with its end.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Ready => "ready\n".to_owned(),
            Self::Found { version, totals } => format!("found {version}{}\n", figures(totals)),
            Self::Committed { version, at, totals } => format!("committed {version} {at}{}\n", figures(totals)),
            Self::Shows {
                at,
                taken,
                version,
                answers,
                totals,
            } => {
                let version = version.unwrap_or(0);
                format!(
                    "shows {at} {taken} {version} {}{}\n",
                    u8::from(*answers),
                    figures(totals)
                )
            }
            Self::Traffic { messages, bytes } => format!("traffic {messages} {bytes}\n"),
        }
    }

    /// Tells the parent. Without one there is nothing to live for.
    pub(crate) fn tell(&self) {
        tell(&self.line());
    }
}

/// Tells the parent whole lines.
pub(crate) fn tell(lines: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(lines.as_bytes()).and_then(|()| out.flush()).is_err() {
        process::exit(1);
    }
}

fn totals(mut number: impl FnMut() -> Option<u64>) -> Option<EhashTotals> {
    let quotes_redeemed = number()?;
    let mut per_state = || {
        Some(PerState {
            unpaid: number()?,
            paid: number()?,
            issued: number()?,
        })
    };
    Some(EhashTotals {
        quotes_redeemed,
        quotes: per_state()?,
        amounts: per_state()?,
    })
}

fn figures(totals: &EhashTotals) -> String {
    let EhashTotals {
        quotes_redeemed,
        quotes,
        amounts,
    } = totals;
    let [a, b, c] = [quotes.unpaid, quotes.paid, quotes.issued];
    let [d, e, f] = [amounts.unpaid, amounts.paid, amounts.issued];
    format!(" {quotes_redeemed} {a} {b} {c} {d} {e} {f}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        let quotes = PerState {
            unpaid: 1,
            paid: 2,
            issued: 3,
        };
        let amounts = PerState {
            unpaid: 4,
            paid: 5,
            issued: u64::MAX,
        };
        let totals = EhashTotals {
            quotes_redeemed: 6,
            quotes,
            amounts,
        };
        for record in [
            Record::Ready,
            Record::Found { version: 7, totals },
            Record::Committed {
                version: 7,
                at: 8,
                totals,
            },
            Record::Shows {
                at: 9,
                taken: 8,
                version: Some(7),
                answers: true,
                totals,
            },
            Record::Shows {
                at: 9,
                taken: 8,
                version: None,
                answers: false,
                totals,
            },
            Record::Traffic { messages: 2, bytes: 3 },
        ] {
            assert_eq!(Record::parse(record.line().trim_end()), Some(record));
        }
        assert_eq!(Record::parse("a line of something else"), None);
        assert_eq!(Record::parse("committed 7"), None);
    }
}
