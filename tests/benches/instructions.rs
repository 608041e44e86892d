//! How many instructions a push, an event, a start and quotes take, with the statistics and without: a figure that a busy
//! machine does not blur.
//!
//! `cargo bench -p system-tests --bench instructions [-- WORD...]` counts those whose name has one of the words. It needs
//! valgrind. Each operation runs under callgrind in two processes, in one of them some rounds more: the difference is what
//! these rounds took, on whatever thread, and nothing of what had to be prepared. What callgrind wrote of the longer run
//! stays in `target/tmp`, for `callgrind_annotate`.
#![allow(missing_docs)]

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};
use system_tests::{
    costs::{Issuance, Operation, Push, Quoting, Start, Statistics, WholeStart, WrittenPush},
    stored::kept,
};

const STORED: [u64; 3] = [1_000, 100_000, 1_000_000];

/// What is counted.
struct Case {
    name: String,
    /// Of the two processes. A start or a commit of SQLite is not always the same, so there are many.
    rounds: [u32; 2],
    /// Whether it can be done without statistics, too.
    compared: bool,
    make: Box<dyn Fn(Statistics) -> Box<dyn Operation>>,
}

impl Case {
    fn new<O: Operation + 'static>(name: impl Into<String>, rounds: [u32; 2], make: impl Fn() -> O + 'static) -> Self {
        Self {
            compared: false,
            ..Self::compared(name, rounds, move |_| make())
        }
    }

    fn compared<O: Operation + 'static>(
        name: impl Into<String>,
        rounds: [u32; 2],
        make: impl Fn(Statistics) -> O + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            rounds,
            compared: true,
            make: Box::new(move |statistics| Box::new(make(statistics))),
        }
    }
}

fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("push, until it is written", [100, 1100], || WrittenPush::new(1)),
        Case::new("push, until it is in the pool's cache", [100, 1100], || Push::new(1)),
    ];
    for batch in [1, 100] {
        let rounds = [20, 20 + 2000 / u32::from(batch)];
        let make = move |statistics| Quoting::new(folder(), batch, statistics);
        cases.push(Case::compared(
            format!("quotes, {batch} in a transaction"),
            rounds,
            make,
        ));
    }
    for quotes in STORED {
        let make = move |statistics| Issuance::new(&path(quotes), folder(), statistics);
        cases.push(Case::compared(format!("event, {quotes} stored"), [50, 250], make));
    }
    for quotes in STORED {
        let make = move |statistics| Start::new(&path(quotes), statistics);
        cases.push(Case::compared(format!("start, {quotes} stored"), [5, 25], make));
    }
    for quotes in STORED {
        let make = move || WholeStart::new(&path(quotes), folder());
        cases.push(Case::new(
            format!("start and stop of the mint, {quotes} stored"),
            [1, 6],
            make,
        ));
    }
    cases
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn path(quotes: u64) -> PathBuf {
    folder().join(format!("stored-{quotes}.sqlite"))
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run", name, statistics, rounds] => run(name, statistics, rounds.parse()?),
        ref words => compare(words),
    }
}

/// In a process that callgrind watches.
fn run(name: &str, statistics: &str, rounds: u32) -> anyhow::Result<()> {
    let case = cases().into_iter().find(|case| case.name == name);
    let statistics = match statistics {
        "on" => Statistics::On,
        _ => Statistics::Off,
    };
    let mut operation = (case.context("no such case")?.make)(statistics);
    for _ in 0..rounds {
        operation.once();
    }
    Ok(())
}

fn compare(words: &[&str]) -> anyhow::Result<()> {
    let mut cases = cases();
    cases.retain(|case| words.is_empty() || words.iter().any(|word| case.name.contains(word)));
    if cases.is_empty() {
        bail!("nothing to count has one of these words in its name: {words:?}");
    }
    prepare()?;
    println!(
        "{:<48} {:>13} {:>13} {:>7}",
        "instructions of a", "statistics on", "off", "ratio"
    );
    for case in cases {
        let on = of_a_round(&case, "on")?;
        print!("{:<48} {:>13}", case.name, grouped(on));
        if case.compared {
            let off = of_a_round(&case, "off")?;
            print!(" {:>13} {:>7.4}", grouped(off), on as f64 / off as f64);
        }
        println!();
    }
    Ok(())
}

/// Makes the databases, and has a ledger count each once: not under callgrind.
fn prepare() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    for quotes in STORED {
        let made = runtime.block_on(kept(folder(), quotes));
        ensure!(made == path(quotes));
        Start::new(&made, Statistics::On);
    }
    Ok(())
}

fn of_a_round(case: &Case, statistics: &str) -> anyhow::Result<u64> {
    let [few, many] = case.rounds;
    let (least, most) = (count(case, statistics, few)?, count(case, statistics, many)?);
    Ok(most.saturating_sub(least) / u64::from(many - few))
}

/// What a process that does it so often takes in all.
fn count(case: &Case, statistics: &str, rounds: u32) -> anyhow::Result<u64> {
    let file = format!("callgrind.{}.{statistics}", case.name.replace([' ', ',', '\''], "-"));
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", folder().join(file).display()))
        .arg(env::current_exe()?)
        .args(["run", &case.name, statistics, &rounds.to_string()])
        .output()
        .context("valgrind, which counts, can't be started: is it installed?")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {told}", case.name);
    told.lines()
        .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
        .with_context(|| format!("callgrind told no number: {told}"))
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(String::from_utf8_lossy)
        .collect();
    groups.join(",")
}
