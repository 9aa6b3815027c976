//! What the application measures (names and meanings: [`METRICS`]). Each handle is made once; moving one is an atomic addition.

use bifrost_domain::{
    execution::{Kind as Runs, Status},
    metric::{Kind, Metric, Process, RUN_SECONDS, WAIT_SECONDS},
};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use std::{sync::LazyLock, time::Duration};

const KINDS: &str = "workflow, script, data_provider";

const SUBMITTED: Metric = Metric {
    name: "bifrost_executions_submitted_total",
    kind: Kind::Counter,
    labels: &[("kind", KINDS)],
    process: Process::Api,
    help: "Executions that were accepted",
};
const WAITING_CALLERS: Metric = Metric {
    name: "bifrost_waiting_callers",
    kind: Kind::Gauge,
    labels: &[],
    process: Process::Api,
    help: "Synchronous callers that wait for the end of their execution now",
};
const SIGN_INS: Metric = Metric {
    name: "bifrost_sign_ins_total",
    kind: Kind::Counter,
    labels: &[("outcome", "ok, refused")],
    process: Process::Api,
    help: "Sign-ins with a password",
};
const FINISHED: Metric = Metric {
    name: "bifrost_executions_finished_total",
    kind: Kind::Counter,
    labels: &[("kind", KINDS), ("status", "Success, CompletedWithErrors, Failed, Timeout, Cancelled")],
    process: Process::Both,
    help: "Executions that reached their end; the API counts those that were cancelled before they began",
};
const DISPATCHES: Metric = Metric {
    name: "bifrost_dispatches_total",
    kind: Kind::Counter,
    labels: &[("by", "submit, relay")],
    process: Process::Both,
    help: "Executions that the broker took from the process that accepted them or from the relay",
};
const CLAIMS: Metric = Metric {
    name: "bifrost_claims_total",
    kind: Kind::Counter,
    labels: &[("outcome", "won, lost, failed")],
    process: Process::Jobs,
    help: "Deliveries that a worker asked the database for: its own now, somebody else's or ended already, or the database did not answer",
};
const WAIT: Metric = Metric {
    name: "bifrost_execution_wait_seconds",
    kind: Kind::Histogram(WAIT_SECONDS),
    labels: &[("kind", KINDS)],
    process: Process::Jobs,
    help: "Time from when an attempt was due until a worker claimed it",
};
const DURATION: Metric = Metric {
    name: "bifrost_execution_duration_seconds",
    kind: Kind::Histogram(RUN_SECONDS),
    labels: &[("kind", KINDS)],
    process: Process::Jobs,
    help: "Time from the claim of the last attempt to its stored end",
};
const RETRIES: Metric = Metric {
    name: "bifrost_execution_retries_total",
    kind: Kind::Counter,
    labels: &[("cause", "policy, not_started, not_begun, worker_lost")],
    process: Process::Jobs,
    help: "Attempts that are followed by another one: by the workflow's retry policy, or because nothing of it ran",
};
const LOST: Metric = Metric {
    name: "bifrost_lost_runs_total",
    kind: Kind::Counter,
    labels: &[("outcome", "retried, ended")],
    process: Process::Jobs,
    help: "Runs that the reaper took from a worker that went away",
};

/// The metrics of this crate.
pub const METRICS: &[Metric] =
    &[SUBMITTED, WAITING_CALLERS, SIGN_INS, FINISHED, DISPATCHES, CLAIMS, WAIT, DURATION, RETRIES, LOST];

/// Makes the metrics of the API's side visible, at zero.
pub fn register_api() {
    LazyLock::force(&CALLERS);
    LazyLock::force(&SHARED);
}

/// Makes the metrics of the worker's side visible, at zero.
pub fn register_worker() {
    LazyLock::force(&WORKER);
    LazyLock::force(&SHARED);
}

static CALLERS: LazyLock<Callers> = LazyLock::new(|| Callers {
    submitted: per_kind(|kind| counter!(SUBMITTED.name, "kind" => kind)),
    waiting: gauge!(WAITING_CALLERS.name),
    sign_ins: ["ok", "refused"].map(|outcome| counter!(SIGN_INS.name, "outcome" => outcome)),
});

static SHARED: LazyLock<Shared> = LazyLock::new(|| Shared {
    finished: per_kind(|kind| {
        let terminal = Status::ALL.iter().filter(|status| status.is_terminal());
        terminal
            .map(|status| (*status, counter!(FINISHED.name, "kind" => kind, "status" => status.as_str())))
            .collect()
    }),
    dispatches: ["submit", "relay"].map(|by| counter!(DISPATCHES.name, "by" => by)),
});

static WORKER: LazyLock<Worker> = LazyLock::new(|| Worker {
    claims: ["won", "lost", "failed"].map(|outcome| counter!(CLAIMS.name, "outcome" => outcome)),
    wait: per_kind(|kind| histogram!(WAIT.name, "kind" => kind)),
    duration: per_kind(|kind| histogram!(DURATION.name, "kind" => kind)),
    retries: ["policy", "not_started", "not_begun", "worker_lost"]
        .map(|cause| counter!(RETRIES.name, "cause" => cause)),
    lost: ["retried", "ended"].map(|outcome| counter!(LOST.name, "outcome" => outcome)),
});

/// One for each kind, in the order of [`Runs::ALL`].
type PerKind<T> = Vec<T>;

fn per_kind<T>(make: impl Fn(&'static str) -> T) -> PerKind<T> {
    Runs::ALL.iter().map(|kind| make(kind.as_str())).collect()
}

struct Callers {
    submitted: PerKind<Counter>,
    waiting: Gauge,
    sign_ins: [Counter; 2],
}

struct Shared {
    finished: PerKind<Vec<(Status, Counter)>>,
    dispatches: [Counter; 2],
}

struct Worker {
    claims: [Counter; 3],
    wait: PerKind<Histogram>,
    duration: PerKind<Histogram>,
    retries: [Counter; 4],
    lost: [Counter; 2],
}

pub(crate) fn submitted(kind: Runs) {
    CALLERS.submitted[kind as usize].increment(1);
}

/// A synchronous caller waits while this lives.
#[derive(Debug)]
pub(crate) struct WaitingCaller;

impl WaitingCaller {
    pub(crate) fn enter() -> Self {
        CALLERS.waiting.increment(1);
        Self
    }
}

impl Drop for WaitingCaller {
    fn drop(&mut self) {
        CALLERS.waiting.decrement(1);
    }
}

pub(crate) fn signed_in(succeeded: bool) {
    CALLERS.sign_ins[usize::from(!succeeded)].increment(1);
}

pub(crate) fn finished(kind: Runs, status: Status) {
    let counters = &SHARED.finished[kind as usize];
    if let Some((_, counter)) = counters.iter().find(|(known, _)| *known == status) {
        counter.increment(1);
    }
}

/// Who handed an execution to the broker.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By {
    Submit,
    Relay,
}

pub(crate) fn dispatched(by: By) {
    SHARED.dispatches[by as usize].increment(1);
}

/// How a claim went.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Claim {
    Won,
    Lost,
    Failed,
}

pub(crate) fn claimed(claim: Claim) {
    WORKER.claims[claim as usize].increment(1);
}

pub(crate) fn waited(kind: Runs, time: chrono::Duration) {
    WORKER.wait[kind as usize].record(time.to_std().unwrap_or_default());
}

pub(crate) fn ran(kind: Runs, duration_ms: i64) {
    WORKER.duration[kind as usize].record(Duration::from_millis(duration_ms.unsigned_abs()));
}

/// Why there is another attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cause {
    Policy,
    NotStarted,
    NotBegun,
    WorkerLost,
}

impl Cause {
    /// From the class of the attempt's error.
    pub(crate) fn of(reason: &str) -> Self {
        match reason {
            "NotStarted" => Self::NotStarted,
            "NotBegun" => Self::NotBegun,
            _ => Self::Policy,
        }
    }
}

pub(crate) fn retried(cause: Cause) {
    WORKER.retries[cause as usize].increment(1);
}

pub(crate) fn reaped(is_retried: bool) {
    WORKER.lost[usize::from(!is_retried)].increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_a_place_in_the_list_of_all() {
        for (index, kind) in Runs::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
        let terminal: Vec<&str> =
            Status::ALL.iter().filter(|status| status.is_terminal()).map(|status| status.as_str()).collect();
        assert_eq!(FINISHED.labels[1].1, terminal.join(", "));
        let kinds: Vec<&str> = Runs::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(KINDS, kinds.join(", "));
    }
}
