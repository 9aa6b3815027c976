//! Distributions. Every sample is kept: at a few thousand runs a second that is a few hundred kilobytes, and the
//! percentiles are exact instead of bucketed.

use serde::Serialize;
use std::time::Duration;

/// Durations of one kind, in nanoseconds.
#[derive(Debug, Default, Clone)]
pub(crate) struct Samples(Vec<u64>);

/// What is told of them; all times in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Distribution {
    pub(crate) count: usize,
    pub(crate) min_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    pub(crate) mean_ms: f64,
}

impl Samples {
    pub(crate) fn push(&mut self, took: Duration) {
        self.0.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn push_nanos(&mut self, nanos: u64) {
        self.0.push(nanos);
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// All zero when there are none.
    pub(crate) fn distribution(&self) -> Distribution {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let sum: u128 = sorted.iter().copied().map(u128::from).sum();
        let count = sorted.len();
        if count == 0 {
            return Distribution::default();
        }
        Distribution {
            count,
            min_ms: millis(sorted[0]),
            p50_ms: millis(at(&sorted, 50)),
            p90_ms: millis(at(&sorted, 90)),
            p99_ms: millis(at(&sorted, 99)),
            max_ms: millis(sorted[count - 1]),
            mean_ms: sum as f64 / count as f64 / 1e6,
        }
    }
}

/// Nearest rank: the smallest sample that `percent` of all do not exceed.
fn at(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted[rank.saturating_sub(1)]
}

fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let mut samples = Samples::default();
        for millis in (1..=200).rev() {
            samples.push(Duration::from_millis(millis));
        }
        let told = samples.distribution();
        assert_eq!(told.count, 200);
        assert_eq!((told.min_ms, told.p50_ms, told.p90_ms), (1.0, 100.0, 180.0));
        assert_eq!((told.p99_ms, told.max_ms, told.mean_ms), (198.0, 200.0, 100.5));
    }

    #[test]
    fn one_sample_is_all_of_them_and_none_is_zero() {
        let mut samples = Samples::default();
        assert_eq!((samples.distribution().count, samples.distribution().p99_ms), (0, 0.0));
        samples.push_nanos(2_500_000);
        let told = samples.distribution();
        assert_eq!((told.min_ms, told.p50_ms, told.p99_ms, told.max_ms), (2.5, 2.5, 2.5, 2.5));
    }
}
