//! How values are spread: mean, quantiles and maximum, by time or by count.
//!
//! By time means that a value weighs as long as it lasted. Staleness and age grow with the clock, so what is added is a
//! ramp from one value to another, and its part of the mean is exact. The quantiles come from an `HdrHistogram` with three
//! digits, into which a ramp goes in steps of a hundredth of the value, at least a microsecond.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::clock::Nanos;

/// The histogram counts microseconds, up to an hour; what is beyond counts as an hour.
const UNIT: Nanos = 1_000;
const HIGHEST: u64 = 3_600_000_000;
const DIGITS: u8 = 3;

/// Values with their weights.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    histogram: Histogram<u64>,
    /// Sum of value times weight.
    sum: f64,
    weight: f64,
    max: Nanos,
}

/// What is told of a [`Spread`], in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// # Errors
    /// None: the bounds are constants that the histogram allows.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            histogram: Histogram::new_with_bounds(1, HIGHEST, DIGITS)?,
            sum: 0.0,
            weight: 0.0,
            max: 0,
        })
    }

    /// One value of weight one.
    pub(crate) fn record(&mut self, value: Nanos) {
        self.add(value, 1);
        self.sum += value as f64;
        self.weight += 1.0;
        self.max = self.max.max(value);
    }

    /// The value 0 for so long.
    pub(crate) fn zero(&mut self, lasted: Nanos) {
        self.add(0, lasted);
        self.weight += lasted as f64;
    }

    /// A value that grows with the clock.
    pub(crate) fn ramp(&mut self, from: Nanos, to: Nanos) {
        let mut low = from;
        while low < to {
            let high = low.saturating_add((low / 100).max(UNIT)).min(to);
            self.add(low + (high - low) / 2, high - low);
            low = high;
        }
        if to > from {
            let (from, to) = (from as f64, to as f64);
            self.sum += (to - from) * f64::midpoint(from, to);
            self.weight += to - from;
            self.max = self.max.max(to as Nanos);
        }
    }

    /// Adds what another has.
    pub(crate) fn merge(&mut self, other: &Self) -> anyhow::Result<()> {
        self.histogram.add(&other.histogram)?;
        self.sum += other.sum;
        self.weight += other.weight;
        self.max = self.max.max(other.max);
        Ok(())
    }

    /// The sum of all weights.
    pub(crate) fn weight(&self) -> f64 {
        self.weight
    }

    /// Which part of the weight has at most this value, to a microsecond.
    pub(crate) fn share_up_to(&self, value: Nanos) -> f64 {
        // A histogram of nothing would say 0 of 0.
        self.histogram.count_between(0, value / UNIT) as f64 / (self.histogram.len().max(1)) as f64
    }

    /// `None` if nothing was added.
    pub(crate) fn figures(&self) -> Option<Figures> {
        let quantile = |q| millis(self.histogram.value_at_quantile(q).saturating_mul(UNIT).min(self.max) as f64);
        (self.weight > 0.0).then(|| Figures {
            mean: millis(self.sum / self.weight),
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: millis(self.max as f64),
        })
    }

    fn add(&mut self, value: Nanos, weight: u64) {
        self.histogram.saturating_record_n(value / UNIT, weight);
    }
}

fn millis(nanos: f64) -> f64 {
    nanos / 1e6
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    fn near(left: f64, right: f64) {
        assert!(
            (left - right).abs() <= right.abs() * 0.02 + 0.002,
            "{left} is not {right}"
        );
    }

    #[test]
    fn a_ramp_has_the_mean_and_the_quantiles_of_a_sawtooth() {
        let mut spread = Spread::new().unwrap();
        for _ in 0..3 {
            spread.ramp(0, 1000 * MS);
        }
        let figures = spread.figures().unwrap();
        near(figures.mean, 500.0);
        near(figures.p50, 500.0);
        near(figures.p99, 990.0);
        near(figures.max, 1000.0);
    }

    #[test]
    fn values_weigh_as_long_as_they_last() {
        let mut spread = Spread::new().unwrap();
        spread.zero(980 * MS);
        spread.ramp(0, 20 * MS);
        let figures = spread.figures().unwrap();
        near(figures.mean, 0.2);
        near(figures.p50, 0.0);
        // The upper half of the time that is not 0.
        near(figures.p99, 10.0);
        near(spread.share_up_to(10 * MS), 0.99);
        near(spread.share_up_to(20 * MS), 1.0);
        near(figures.max, 20.0);
    }

    #[test]
    fn counted_values_weigh_the_same_each() {
        let mut spread = Spread::new().unwrap();
        for value in 1..=1000 {
            spread.record(value * MS);
        }
        let figures = spread.figures().unwrap();
        near(figures.mean, 500.5);
        near(figures.p99, 990.0);
        near(figures.p999, 999.0);
    }

    #[test]
    fn of_nothing_nothing_is_told() {
        assert!(Spread::new().unwrap().figures().is_none());
    }
}
