//! What mint and pool cost: CPU time, memory and open files from `/proc`, and the link's traffic from the pool's metrics.
//!
//! Read once a second, and right before a process is killed. A process that was started again begins a new life; memory
//! grows within a life, so the slope is that of all lives together, each about its own mean, without the beginning of a
//! life, in which caches fill.

use std::collections::BTreeMap;

use procfs::process::Process;
use serde::Serialize;
use stats_push::Reason;

use crate::clock::{self, Nanos};

/// The part of a life in which growth is no leak: a mint keeps the answers of its last minute (NUT-19), allocators and caches fill.
const SETTLES: f64 = 100.0;
const MINUTE: f64 = 60.0;

/// The processes of one side over all their lives.
#[derive(Debug, Default)]
pub(crate) struct Cost {
    lives: BTreeMap<u32, Life>,
}

#[derive(Debug)]
struct Life {
    /// CPU seconds at the first and at the last reading.
    cpu: (f64, f64),
    began: Nanos,
    memory: Vec<(f64, f64)>,
    files: Vec<u64>,
}

/// Memory in KiB.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Memory {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) max: u64,
    /// Growth a minute, and the standard error of it; `None` where no life was long enough.
    pub(crate) slope_per_min: Option<f64>,
    pub(crate) slope_error: Option<f64>,
}

/// Open files, sockets included.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Files {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) max: u64,
}

impl Cost {
    /// Reads those that run. One that is gone has had its last reading.
    pub(crate) fn read(&mut self, pids: &[u32]) {
        let now = clock::now();
        for pid in pids {
            let Some((cpu, memory, files)) = read(*pid) else {
                continue;
            };
            let life = self.lives.entry(*pid).or_insert_with(|| Life {
                cpu: (cpu, cpu),
                began: now,
                memory: Vec::new(),
                files: Vec::new(),
            });
            life.cpu.1 = cpu;
            life.memory.push(((now - life.began) as f64 / 1e9, memory));
            life.files.push(files);
        }
    }

    /// A process that was started while measuring: all that it has used counts.
    pub(crate) fn born(&mut self, pids: &[u32]) {
        let before: Vec<u32> = self.lives.keys().copied().collect();
        self.read(pids);
        for (pid, life) in &mut self.lives {
            if !before.contains(pid) {
                life.cpu.0 = 0.0;
            }
        }
    }

    /// CPU seconds of all lives.
    pub(crate) fn cpu(&self) -> f64 {
        self.lives.values().map(|life| life.cpu.1 - life.cpu.0).sum()
    }

    /// The memory now, in KiB.
    pub(crate) fn now(&self, pids: &[u32]) -> f64 {
        let last = |pid: &u32| self.lives.get(pid)?.memory.last().map(|(_, memory)| *memory);
        // A sum of nothing would be -0.
        pids.iter().filter_map(last).fold(0.0, |sum, memory| sum + memory)
    }

    pub(crate) fn memory(&self) -> Memory {
        let all = || {
            self.in_order()
                .flat_map(|life| &life.memory)
                .map(|(_, memory)| *memory as u64)
        };
        let slope = slope(self.lives.values().map(|life| &*life.memory));
        Memory {
            start: all().next().unwrap_or(0),
            end: all().last().unwrap_or(0),
            max: all().max().unwrap_or(0),
            slope_per_min: slope.map(|(slope, _)| slope * MINUTE),
            slope_error: slope.map(|(_, error)| error * MINUTE),
        }
    }

    pub(crate) fn files(&self) -> Files {
        let all = || self.in_order().flat_map(|life| &life.files).copied();
        Files {
            start: all().next().unwrap_or(0),
            end: all().last().unwrap_or(0),
            max: all().max().unwrap_or(0),
        }
    }

    fn in_order(&self) -> impl Iterator<Item = &Life> {
        let mut lives: Vec<_> = self.lives.values().collect();
        lives.sort_by_key(|life| life.began);
        lives.into_iter()
    }
}

/// CPU seconds, resident memory in KiB, open files.
fn read(pid: u32) -> Option<(f64, f64, u64)> {
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    let stat = process.stat().ok()?;
    let ticks = procfs::ticks_per_second() as f64;
    let cpu = (stat.utime + stat.stime) as f64 / ticks;
    let memory = (stat.rss * procfs::page_size()) as f64 / 1024.0;
    let files = u64::try_from(process.fd_count().ok()?).ok()?;
    Some((cpu, memory, files))
}

/// The common slope of several lines of points, each about its own mean, and its standard error, a second.
fn slope<'a>(lives: impl Iterator<Item = &'a [(f64, f64)]>) -> Option<(f64, f64)> {
    let (mut xx, mut xy, mut yy, mut points, mut lines) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for life in lives {
        let settled: Vec<_> = life.iter().filter(|(x, _)| *x >= SETTLES).collect();
        let count = settled.len() as f64;
        if settled.len() < 3 {
            continue;
        }
        let mean = |of: fn(&(f64, f64)) -> f64| settled.iter().map(|point| of(point)).sum::<f64>() / count;
        let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
        for (x, y) in settled {
            xx += (x - mean_x).powi(2);
            xy += (x - mean_x) * (y - mean_y);
            yy += (y - mean_y).powi(2);
        }
        points += count;
        lines += 1.0;
    }
    let freedom = points - lines - 1.0;
    (xx > 0.0 && freedom > 0.0).then(|| {
        let slope = xy / xx;
        (slope, ((yy - slope * xy).max(0.0) / freedom / xx).sqrt())
    })
}

/// Counters of a process that may begin anew at 0.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    values: BTreeMap<String, Counter>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    sum: u64,
    last: u64,
}

impl Counters {
    /// Takes the counters of a Prometheus text. What is there at the first reading does not count.
    pub(crate) fn read(&mut self, text: &str) {
        let first = self.values.is_empty();
        for (name, value) in text.lines().filter_map(counter) {
            match self.values.get_mut(name) {
                Some(counter) => {
                    counter.sum += value.checked_sub(counter.last).unwrap_or(value);
                    counter.last = value;
                }
                None => {
                    let sum = if first { 0 } else { value };
                    self.values.insert(name.to_owned(), Counter { sum, last: value });
                }
            }
        }
    }

    /// By how many the snapshots grew that the pool has received for this reason.
    pub(crate) fn received(&self, reason: Reason) -> u64 {
        let reason = reason.as_str();
        self.get(&format!("ehash_mint_snapshots_received_total{{reason=\"{reason}\"}}"))
    }

    /// By how much it grew.
    pub(crate) fn get(&self, name: &str) -> u64 {
        self.values.get(name).map_or(0, |counter| counter.sum)
    }
}

/// A line `name{labels} value` of a counter.
fn counter(line: &str) -> Option<(&str, u64)> {
    let (name, value) = line.rsplit_once(' ')?;
    let is_counter = name.split('{').next()?.ends_with("_total");
    is_counter
        .then(|| value.parse().ok())
        .flatten()
        .map(|value| (name, value))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_within_lives_and_not_between_them() {
        let line = |level: f64, slope: f64| {
            (0..190)
                .map(|x| (f64::from(x), level + slope * f64::from(x)))
                .collect::<Vec<_>>()
        };
        let (a, b) = (line(1000.0, 2.0), line(500.0, 2.0));
        let (found, error) = slope([&*a, &*b].into_iter()).unwrap();
        assert!((found - 2.0).abs() < 1e-9 && error < 1e-6, "{found} {error}");
        // A restart to a lower level is no fall.
        let (a, b) = (line(1000.0, 0.0), line(500.0, 0.0));
        assert!(slope([&*a, &*b].into_iter()).unwrap().0.abs() < 1e-9);
        assert_eq!(slope([&*line(1.0, 1.0)[..90].to_vec()].into_iter()), None);
    }

    #[test]
    fn counters_go_on_over_restarts_and_begin_at_0() {
        let mut counters = Counters::default();
        counters.read("# HELP x\nehash_a_total{reason=\"event\"} 5\nehash_gauge 9\n");
        counters.read("ehash_a_total{reason=\"event\"} 7\n");
        counters.read("ehash_a_total{reason=\"event\"} 3\nehash_b_total 4\n");
        assert_eq!(counters.get("ehash_a_total{reason=\"event\"}"), 5);
        assert_eq!(counters.get("ehash_b_total"), 4);
        assert_eq!(counters.get("ehash_gauge"), 0);
    }

    #[test]
    fn this_process_has_memory_and_open_files() {
        let mut cost = Cost::default();
        cost.born(&[std::process::id()]);
        let (memory, files) = (cost.memory(), cost.files());
        assert!(memory.start > 500 && files.start >= 3, "{memory:?} {files:?}");
    }
}
