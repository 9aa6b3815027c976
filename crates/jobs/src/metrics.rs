//! What the worker measures (names and meanings: [`METRICS`]).

use bifrost_domain::metric::{Kind, Metric, Process};
use metrics::{Counter, Gauge, counter, gauge};
use std::sync::LazyLock;

const RUNNING: Metric = Metric {
    name: "bifrost_worker_running",
    kind: Kind::Gauge,
    labels: &[],
    process: Process::Jobs,
    help: "Runs in the hands of this worker now",
};
const SLOTS: Metric = Metric {
    name: "bifrost_worker_slots",
    kind: Kind::Gauge,
    labels: &[],
    process: Process::Jobs,
    help: "Runs that this worker takes at a time",
};
const LOG_LINES: Metric = Metric {
    name: "bifrost_log_lines_total",
    kind: Kind::Counter,
    labels: &[("outcome", "stored, dropped, refused")],
    process: Process::Jobs,
    help: "Log lines of runs: stored, dropped over `LOG_MAX_LINES`, or refused by the database and replaced by a note",
};
const LEASES_LOST: Metric = Metric {
    name: "bifrost_worker_leases_lost_total",
    kind: Kind::Counter,
    labels: &[],
    process: Process::Jobs,
    help: "Times this worker's lease ended before it was renewed, which ends its runs",
};
const DUTIES: Metric = Metric {
    name: "bifrost_worker_duty",
    kind: Kind::Gauge,
    labels: &[("duty", "relay, upkeep")],
    process: Process::Jobs,
    help: "1 while this worker is the elected one; over all workers the sum is 1",
};

/// The metrics of this crate.
pub const METRICS: &[Metric] = &[RUNNING, SLOTS, LOG_LINES, LEASES_LOST, DUTIES];

static MEASURED: LazyLock<Measured> = LazyLock::new(|| Measured {
    running: gauge!(RUNNING.name),
    slots: gauge!(SLOTS.name),
    log_lines: ["stored", "dropped", "refused"].map(|outcome| counter!(LOG_LINES.name, "outcome" => outcome)),
    leases_lost: counter!(LEASES_LOST.name),
});

struct Measured {
    running: Gauge,
    slots: Gauge,
    log_lines: [Counter; 3],
    leases_lost: Counter,
}

/// Makes the metrics visible, at zero, and says how many slots there are.
pub(crate) fn register(slots: usize) {
    MEASURED.slots.set(u32::try_from(slots).unwrap_or(u32::MAX));
    bifrost_app::metrics::register_worker();
}

/// A run is in hand while this lives.
pub(crate) struct Running;

impl Running {
    pub(crate) fn enter() -> Self {
        MEASURED.running.increment(1);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        MEASURED.running.decrement(1);
    }
}

/// What became of log lines.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lines {
    Stored,
    Dropped,
    Refused,
}

pub(crate) fn lines(outcome: Lines, count: usize) {
    MEASURED.log_lines[outcome as usize].increment(count as u64);
}

pub(crate) fn lease_lost() {
    MEASURED.leases_lost.increment(1);
}

pub(crate) fn duty(name: &'static str) -> Gauge {
    gauge!(DUTIES.name, "duty" => name)
}
