//! What a push, an event, a start and quotes cost in time: what must be cheap, and must not grow with what is stored.
//!
//! `cargo bench -p system-tests --bench costs [-- NAME]`. The databases of stored quotes are made in `target/tmp`, on the disk
//! at hand, and stay there for the next run: the one of a million takes half a minute and most of a gigabyte. How many
//! instructions the same things take: `--bench instructions`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use divan::{Bencher, counter::ItemsCount};
use system_tests::{
    costs::{Issuance, Operation, Push, Quoting, Start, Statistics, WholeStart, WrittenPush},
    stored::kept,
};

const STORED: [u64; 3] = [1_000, 100_000, 1_000_000];
const UNITS: [u64; 2] = [1, 250];
const BATCHES: [u16; 2] = [1, 100];

fn main() {
    divan::main();
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn stored(quotes: u64) -> PathBuf {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let path = runtime.block_on(kept(folder(), quotes));
    // So that no copy of it must count first.
    Start::new(&path, Statistics::On);
    path
}

fn measure(bencher: Bencher, mut operation: impl Operation) {
    bencher.bench_local(|| operation.once());
}

#[divan::bench(args = UNITS)]
fn push_to_the_cache(bencher: Bencher, units: u64) {
    measure(bencher, Push::new(units));
}

#[divan::bench(args = UNITS)]
fn push_until_written(bencher: Bencher, units: u64) {
    measure(bencher, WrittenPush::new(units));
}

#[divan::bench(args = STORED, sample_count = 100, sample_size = 1)]
fn issuance(bencher: Bencher, quotes: u64) {
    measure(bencher, Issuance::new(&stored(quotes), folder(), Statistics::On));
}

#[divan::bench(args = STORED, sample_count = 100, sample_size = 1)]
fn issuance_without_statistics(bencher: Bencher, quotes: u64) {
    measure(bencher, Issuance::new(&stored(quotes), folder(), Statistics::Off));
}

#[divan::bench(args = STORED, sample_count = 50, sample_size = 1)]
fn start(bencher: Bencher, quotes: u64) {
    measure(bencher, Start::new(&stored(quotes), Statistics::On));
}

#[divan::bench(args = STORED, sample_count = 50, sample_size = 1)]
fn start_without_statistics(bencher: Bencher, quotes: u64) {
    measure(bencher, Start::new(&stored(quotes), Statistics::Off));
}

#[divan::bench(args = STORED, sample_count = 10, sample_size = 1)]
fn start_and_stop_of_the_mint(bencher: Bencher, quotes: u64) {
    measure(bencher, WholeStart::new(&stored(quotes), folder()));
}

#[divan::bench(args = BATCHES, sample_count = 200, sample_size = 1)]
fn quotes(bencher: Bencher, batch: u16) {
    let bencher = bencher.counter(ItemsCount::new(batch));
    measure(bencher, Quoting::new(folder(), batch, Statistics::On));
}

#[divan::bench(args = BATCHES, sample_count = 200, sample_size = 1)]
fn quotes_without_statistics(bencher: Bencher, batch: u16) {
    let bencher = bencher.counter(ItemsCount::new(batch));
    measure(bencher, Quoting::new(folder(), batch, Statistics::Off));
}
