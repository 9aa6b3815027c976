//! What the store measures of itself (names and meanings: [`METRICS`]).

use bifrost_domain::metric::{Kind, Metric, Process, ROWS, SHORT_SECONDS};
use metrics::{Counter, Histogram, counter, histogram};
use std::time::Duration;

const WRITERS: &str = "submit, claim, logs, finish";

const BATCH_ROWS: Metric = Metric {
    name: "bifrost_batch_rows",
    kind: Kind::Histogram(ROWS),
    labels: &[("writer", WRITERS)],
    process: Process::Both,
    help: "Items that shared one commit of a batch writer",
};
const BATCH_DURATION: Metric = Metric {
    name: "bifrost_batch_duration_seconds",
    kind: Kind::Histogram(SHORT_SECONDS),
    labels: &[("writer", WRITERS)],
    process: Process::Both,
    help: "Time that one commit of a batch writer took",
};
const BATCH_FAILURES: Metric = Metric {
    name: "bifrost_batch_failures_total",
    kind: Kind::Counter,
    labels: &[("writer", WRITERS)],
    process: Process::Both,
    help: "Commits of a batch writer that failed; each is tried again, in halves when its data is to blame",
};

/// The metrics of this crate.
pub const METRICS: &[Metric] = &[BATCH_ROWS, BATCH_DURATION, BATCH_FAILURES];

/// What one batch writer measures.
pub(crate) struct Batches {
    rows: Histogram,
    duration: Histogram,
    failures: Counter,
}

impl Batches {
    pub(crate) fn of(writer: &'static str) -> Self {
        Self {
            rows: histogram!(BATCH_ROWS.name, "writer" => writer),
            duration: histogram!(BATCH_DURATION.name, "writer" => writer),
            failures: counter!(BATCH_FAILURES.name, "writer" => writer),
        }
    }

    pub(crate) fn wrote(&self, rows: usize, duration: Duration) {
        self.rows.record(u32::try_from(rows).unwrap_or(u32::MAX));
        self.duration.record(duration);
    }

    pub(crate) fn failed(&self) {
        self.failures.increment(1);
    }
}
