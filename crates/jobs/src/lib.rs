//! The worker: takes executions from the queues, runs them, and keeps what it promised.
//!
//! | file | what it does |
//! |---|---|
//! | `consumers` | one subscription per queue; a delivery is claimed, acked and run |
//! | `run` | one attempt from its call to its stored end |
//! | `call` | what is handed to Python for an attempt |
//! | `variables` | stores the newest variables of one run |
//! | `log_sink` | numbers, bounds and stores the lines of one run |
//! | `lease` | renews the worker's lease; a lease that ended ends its runs |
//! | `duty` | a duty that one of several workers has |
//! | `relay` | the elected dispatcher of waiting rows |
//! | `upkeep` | the elected reaper, partitions, and what else is periodic |
//! | `catalog` | keeps the catalog equal to the workspace |
//! | `metrics` | what the worker measures |
//!
//! How to add a background duty: a file with an `async fn run(worker: Arc<Worker>)` that loops until `worker.closed` is cancelled, a line
//! in the table above, and a line in [`Worker::start`]. What only one of several workers may do asks its `duty::Duty` in each round. A
//! round that fails is logged and comes again; it never ends the loop. Its work is a command of `app`, so that its tests need no clock.
//!
//! How to add a kind of execution: a variant of [`Kind`](bifrost_domain::execution::Kind) with its queue, which `consumers` then subscribes
//! to, what is handed to Python for it in `call`, and how it is asked for in `app::executions`.

mod call;
mod catalog;
mod consumers;
mod duty;
mod lease;
mod log_sink;
pub mod metrics;
mod relay;
mod run;
mod upkeep;
mod variables;

use bifrost_app::{App, worker::Registration};
use bifrost_domain::{
    error::Result,
    execution::Isolation,
    ids::{ExecutionId, WorkerId},
    ports::python::{PythonRuntime, Stop, Workspace},
};
use dashmap::{DashMap, DashSet};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What the worker is told by the settings.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Host and process, for people.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Runs with a child process of their own at a time.
    pub max_concurrency: usize,
    /// Isolation of workflows that do not say.
    pub isolation: Isolation,
    /// How long a worker counts as alive without a word.
    pub lease: Duration,
    /// How long running work is waited for at shutdown.
    pub shutdown_grace: Duration,
    /// Log lines of a run at most; further ones are counted.
    pub log_max_lines: i64,
    /// A line is cut at so many bytes.
    pub log_line_bytes: usize,
}

/// Runs that wait at kept children at most (isolation `reuse`).
const REUSE_IN_FLIGHT: usize = 256;

/// A running worker.
pub struct Worker {
    app: Arc<App>,
    runtime: Arc<dyn PythonRuntime>,
    workspace: Arc<dyn Workspace>,
    settings: WorkerSettings,
    /// Changes when a lease ended and the worker had to register again.
    id: Mutex<WorkerId>,
    running: DashMap<ExecutionId, watch::Sender<Stop>>,
    /// Asked for, and not yet registered as running or refused: how many deliveries of each.
    claiming: DashMap<ExecutionId, usize>,
    /// Begun here and gone from `running` without a stored end.
    unfinished: DashSet<ExecutionId>,
    admission: Arc<Semaphore>,
    runs: TaskTracker,
    duties: TaskTracker,
    /// Ends the subscriptions: nothing new is taken.
    closing: CancellationToken,
    /// Ends lease and duties.
    closed: CancellationToken,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Worker {
    /// Registers the worker and starts its duties. Python need not be ready: runs wait for it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn start(
        app: Arc<App>,
        runtime: Arc<dyn PythonRuntime>,
        workspace: Arc<dyn Workspace>,
        settings: WorkerSettings,
        next_id: impl Fn() -> WorkerId + Send + Sync + 'static,
    ) -> Result<Arc<Self>> {
        let slots = match settings.isolation {
            Isolation::Fork => settings.max_concurrency,
            Isolation::Reuse => REUSE_IN_FLIGHT.max(settings.max_concurrency),
        };
        let worker = Arc::new(Self {
            admission: Arc::new(Semaphore::new(slots)),
            id: Mutex::new(next_id()),
            running: DashMap::new(),
            claiming: DashMap::new(),
            unfinished: DashSet::new(),
            runs: TaskTracker::new(),
            duties: TaskTracker::new(),
            closing: CancellationToken::new(),
            closed: CancellationToken::new(),
            app,
            runtime,
            workspace,
            settings,
        });
        metrics::register(slots);
        worker.register(slots).await?;
        worker.duties.spawn(lease::run(worker.clone(), slots, next_id));
        worker.duties.spawn(lease::look_after_runs(worker.clone()));
        worker.duties.spawn(lease::watch_cancels(worker.clone()));
        worker.duties.spawn(relay::run(worker.clone()));
        worker.duties.spawn(relay::watch_broker(worker.clone()));
        worker.duties.spawn(upkeep::run(worker.clone()));
        worker.duties.spawn(catalog::run(worker.clone()));
        consumers::start(&worker, slots);
        Ok(worker)
    }

    /// The id under which the worker is registered now.
    #[must_use]
    pub fn id(&self) -> WorkerId {
        *self.id.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// How many runs are in hand.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Stops taking, waits for running work up to the limit, ends the rest (it is tried again elsewhere if its policy
    /// allows), gives back the lease.
    pub async fn drain(&self) {
        self.closing.cancel();
        self.runs.close();
        if tokio::time::timeout(self.settings.shutdown_grace, self.runs.wait()).await.is_err() {
            tracing::warn!(running = self.running.len(), "the time for running work is over; ending it");
            for run in &self.running {
                let _ = run.value().send(Stop::Shutdown);
            }
            // The runtime kills within its grace period; the stores of those ends are bounded by their own retries.
            if tokio::time::timeout(Duration::from_secs(15), self.runs.wait()).await.is_err() {
                tracing::error!(running = self.running.len(), "runs are left to the reaper");
            }
        }
        self.closed.cancel();
        self.duties.close();
        if tokio::time::timeout(Duration::from_secs(5), self.duties.wait()).await.is_err() {
            tracing::warn!("a duty did not end in time");
        }
        if let Err(error) = self.app.stop_worker(self.id()).await {
            tracing::warn!(error = %error, "the lease was not given back; it runs out by itself");
        }
        self.runtime.shutdown().await;
    }

    async fn register(&self, slots: usize) -> Result<()> {
        let now = self.app.clock().now();
        let info = serde_json::to_value(self.runtime.info()).unwrap_or_default();
        let registration = Registration {
            id: self.id(),
            name: self.settings.name.clone(),
            version: self.settings.version.clone(),
            slots: i32::try_from(slots).unwrap_or(i32::MAX),
            info,
            started_at: now,
            lease_until: now + chrono_duration(self.settings.lease),
        };
        self.app.register_worker(&registration).await?;
        self.runtime.renew_lease(lease::for_children(self.settings.lease));
        Ok(())
    }
}

fn chrono_duration(duration: Duration) -> chrono::Duration {
    chrono::Duration::from_std(duration).unwrap_or(chrono::Duration::MAX)
}
