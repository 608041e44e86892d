//! What can be asked for on the command line, checked once.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, Parser};
use stats_push::PushConfig;

use crate::child::Child;

/// The shortest that can be measured, and the longest.
const DURATION: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 86_400);

/// Runs a mint and its pools as processes under load, measures how old the figures are that the pools show and what that
/// costs, and compares every figure with the mint's database
///
/// Exit code: 0 if every figure was right and no bound was broken, 1 otherwise.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) args: SoakArgs,
    #[command(subcommand)]
    pub(crate) internal: Option<Internal>,
}

/// What soak starts itself.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Internal {
    /// A role, as a child of soak
    #[command(subcommand, hide = true)]
    Child(Child),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SoakArgs {
    /// How long to measure: 1s to 7d
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub(crate) duration: Duration,

    /// Quotes that wallets mint a second, or a share of what this machine can do, measured first, such as 60%
    #[arg(long, default_value = "20")]
    pub(crate) rate: Rate,

    /// Instead of a mint with wallets a ledger whose totals change --rate times a second, up to 100000
    #[arg(long)]
    pub(crate) synthetic: bool,

    /// Currency units of the synthetic ledger: 1 to 1000
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) units: u64,

    /// Pools of the mint: 1 to 64. Faults hit the first, whose dashboard is read and whose costs are told
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(crate) pools: u64,

    /// The mint's push.interval_ms: 100 to 3600000
    #[arg(long, default_value_t = 5000)]
    pub(crate) interval_ms: u64,

    /// The mint's push.min_gap_ms: 0 to the interval
    #[arg(long, default_value_t = 100)]
    pub(crate) min_gap_ms: u64,

    /// Injects a fault this often: kill -9, SIGSTOP, a cut, slow or half-open link, in turn
    #[arg(long, value_name = "EVERY", value_parser = duration)]
    pub(crate) faults: Option<Duration>,

    /// Measures the same load with what one would do instead of pushing, in turn, and prints one table
    #[arg(long, conflicts_with_all = ["synthetic", "pools", "faults", "max_p99", "max_rss_slope"])]
    pub(crate) compare: bool,

    /// The largest 99th percentile of the staleness in the pool's cache that is good, such as 50ms
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) max_p99: Option<Duration>,

    /// The largest growth of memory that is good, of mint and of pool, in KiB a minute
    #[arg(long, value_name = "KIB_PER_MIN")]
    pub(crate) max_rss_slope: Option<f64>,

    /// Writes the report as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// With --compare: draws how staleness is spread, each method a line
    #[arg(long, value_name = "FILE", requires = "compare")]
    pub(crate) svg: Option<PathBuf>,

    /// Where the roles keep their data and logs; a directory in the present one by default, that is removed
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

impl SoakArgs {
    /// When the mint pushes.
    pub(crate) fn push(&self) -> anyhow::Result<PushConfig> {
        Ok(PushConfig::new(
            Duration::from_millis(self.interval_ms),
            Duration::from_millis(self.min_gap_ms),
        )?)
    }

    /// Checks what no single value tells.
    ///
    /// # Errors
    /// With what is allowed.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            DURATION.contains(&self.duration),
            "--duration = {:?}: expected 1s to 7d",
            self.duration
        );
        if let Some(every) = self.faults {
            let range = Duration::from_secs(10)..=Duration::from_secs(86_400);
            anyhow::ensure!(range.contains(&every), "--faults {every:?}: expected 10s to 1d");
        }
        match (self.rate, self.synthetic) {
            (Rate::Share(_), true) => anyhow::bail!("--rate: a share of the maximum needs wallets; expected a number"),
            (Rate::PerSecond(rate), true) if rate > 100_000.0 => {
                anyhow::bail!("--rate = {rate}: expected up to 100000")
            }
            (Rate::PerSecond(rate), false) if rate > 10_000.0 => anyhow::bail!("--rate = {rate}: expected up to 10000"),
            _ => {}
        }
        self.push().map(drop)
    }
}

/// How much is issued.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rate {
    /// So many a second.
    PerSecond(f64),
    /// This share of the maximum.
    Share(f64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = || format!("{text:?}: expected a number above 0, or 1% to 100%");
        let (number, share) = text.strip_suffix('%').map_or((text, false), |number| (number, true));
        let number = number
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite() && *number > 0.0)
            .ok_or_else(allowed)?;
        match share {
            true if (1.0..=100.0).contains(&number) => Ok(Self::Share(number / 100.0)),
            true => Err(allowed()),
            false => Ok(Self::PerSecond(number)),
        }
    }
}

fn duration(text: &str) -> Result<Duration, service::duration::ParseDurationError> {
    service::duration::parse(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<SoakArgs, String> {
        let cli = Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        cli.args.check().map_err(|error| error.to_string())?;
        Ok(cli.args)
    }

    #[test]
    fn rates_are_numbers_or_shares() {
        assert_eq!(parse("soak --rate 12.5").unwrap().rate, Rate::PerSecond(12.5));
        assert_eq!(parse("soak --rate 60%").unwrap().rate, Rate::Share(0.6));
        for bad in ["0", "-1", "x", "101%", "0%", "nan", "20000"] {
            assert!(parse(&format!("soak --rate={bad}")).is_err(), "{bad}");
        }
        assert!(parse("soak --synthetic --rate 100000").is_ok());
        assert!(parse("soak --synthetic --rate 100001").is_err());
        assert!(parse("soak --synthetic --rate 60%").is_err());
    }

    #[test]
    fn what_can_not_be_is_refused_with_what_can() {
        for (line, allowed) in [
            ("soak --duration 0s", "1s to 7d"),
            ("soak --faults 1s", "10s to 1d"),
            ("soak --min-gap-ms 9000", "allowed are 0 to interval_ms"),
            ("soak --compare --synthetic", "cannot be used with"),
            ("soak --pools 65", "1..=64"),
            ("soak --svg x.svg", "--compare"),
        ] {
            let complaint = parse(line).unwrap_err();
            assert!(complaint.contains(allowed), "{line}: {complaint}");
        }
    }
}
