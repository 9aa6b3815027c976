//! What the runtime measures (names and meanings: [`METRICS`]).

use crate::talk::Cause;
use bifrost_domain::metric::{Kind, Metric, Process, SHORT_SECONDS};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use std::{sync::LazyLock, time::Duration};

const FORKS: Metric = Metric {
    name: "bifrost_python_forks_total",
    kind: Kind::Counter,
    labels: &[("outcome", "ok, failed")],
    process: Process::Jobs,
    help: "Children that the zygote was asked to fork",
};
const FORK_DURATION: Metric = Metric {
    name: "bifrost_python_fork_duration_seconds",
    kind: Kind::Histogram(SHORT_SECONDS),
    labels: &[],
    process: Process::Jobs,
    help: "Time from the request to fork a child until it can take a call",
};
const STOCK: Metric = Metric {
    name: "bifrost_python_stock",
    kind: Kind::Gauge,
    labels: &[],
    process: Process::Jobs,
    help: "Children that were forked ahead and wait for a run",
};
const STOPS: Metric = Metric {
    name: "bifrost_python_stops_total",
    kind: Kind::Counter,
    labels: &[("cause", "cancel, timeout, shutdown, lease, closing, abandoned")],
    process: Process::Jobs,
    help: "Runs that were made to end, by a request or by a limit of the platform",
};
const ZYGOTES: Metric = Metric {
    name: "bifrost_python_zygote_starts_total",
    kind: Kind::Counter,
    labels: &[("outcome", "ok, failed")],
    process: Process::Jobs,
    help: "Zygotes that were started; each after the first follows a crash or a workspace that imports something new",
};

/// The metrics of this crate.
pub const METRICS: &[Metric] = &[FORKS, FORK_DURATION, STOCK, STOPS, ZYGOTES];

static MEASURED: LazyLock<Measured> = LazyLock::new(|| Measured {
    forks: ["ok", "failed"].map(|outcome| counter!(FORKS.name, "outcome" => outcome)),
    fork_duration: histogram!(FORK_DURATION.name),
    stock: gauge!(STOCK.name),
    stops: ["cancel", "timeout", "shutdown", "lease", "closing", "abandoned"]
        .map(|cause| counter!(STOPS.name, "cause" => cause)),
    zygotes: ["ok", "failed"].map(|outcome| counter!(ZYGOTES.name, "outcome" => outcome)),
});

struct Measured {
    forks: [Counter; 2],
    fork_duration: Histogram,
    stock: Gauge,
    stops: [Counter; 6],
    zygotes: [Counter; 2],
}

/// Makes the metrics visible, at zero.
pub(crate) fn register() {
    LazyLock::force(&MEASURED);
}

pub(crate) fn forked(duration: Duration) {
    MEASURED.forks[0].increment(1);
    MEASURED.fork_duration.record(duration);
}

pub(crate) fn fork_failed() {
    MEASURED.forks[1].increment(1);
}

pub(crate) fn stock(children: usize) {
    MEASURED.stock.set(u32::try_from(children).unwrap_or(u32::MAX));
}

pub(crate) fn stopped(cause: Cause) {
    let index = match cause {
        Cause::Cancel => 0,
        Cause::Timeout => 1,
        Cause::Shutdown => 2,
        Cause::Lease => 3,
        Cause::Closing => 4,
        Cause::Abandoned => 5,
    };
    MEASURED.stops[index].increment(1);
}

pub(crate) fn zygote_started(succeeded: bool) {
    MEASURED.zygotes[usize::from(!succeeded)].increment(1);
}
