//! What a metric is called and what it means. Each crate that measures has a `metrics` module with its metrics as constants beside the
//! code that moves them; `boot` collects them, `docs/metrics.md` lists them.
//!
//! Names begin with `bifrost_`, end with their unit (`_seconds`, `_bytes`) and, for counters, with `_total`. A label has a small and
//! closed set of values. None names an organization, a person, a workflow or an execution: their number grows with use, and each would be a
//! time series of its own for ever; those questions are answered by the daily numbers in the database.

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Counts up from the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values by upper bound.
    Histogram(&'static [f64]),
}

impl Kind {
    /// The word of the exposition format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// Which process shows a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// The API alone.
    Api,
    /// The worker alone.
    Jobs,
    /// Each for itself.
    Both,
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// Its labels, and the values that each may have (`…` where they are the program's own routes).
    pub labels: &'static [(&'static str, &'static str)],
    /// Who shows it.
    pub process: Process,
    /// What it says, in one sentence without a full stop.
    pub help: &'static str,
}

/// Bounds for what takes from a tenth of a millisecond to seconds: statements, commits, forks.
pub const SHORT_SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Bounds for what people wait for: requests, the queue.
pub const WAIT_SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Bounds for runs, which take from milliseconds to hours.
pub const RUN_SECONDS: &[f64] =
    &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14400.0];
/// Bounds for how many rows share a commit.
pub const ROWS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
