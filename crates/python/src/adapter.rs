//! The adapter: wires the parts together behind the three ports.

use crate::{
    child::Nursery,
    error::Error,
    files,
    inspector::InspectorProcess,
    interpreter::Interpreter,
    lease::Lease,
    metrics,
    pool::Pool,
    reuse::Reuse,
    run::Run,
    settings::PythonSettings,
    snapshots::{Snapshot, Snapshots},
    supervisor::{State, Supervisor},
    temp::TempRoot,
    workspace::{Follower, Published},
    zygote::Start,
};
use async_trait::async_trait;
use bifrost_domain::{
    clock::SharedClock,
    definition::Issue,
    ports::python::{
        Call, Event, Inspector, PythonRuntime, RuntimeInfo, SdkService, SourceReport, Stop, Workspace,
        WorkspaceReport,
    },
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Events of one run that may wait for their reader; the next one stops the child.
const EVENTS: usize = 16;
/// How long the first zygote waits to learn what the workspace imports.
const FIRST_SCAN: Duration = Duration::from_secs(10);
const SNAPSHOT_WAIT: Duration = Duration::from_secs(30);
const SHUTDOWN_WAIT: Duration = Duration::from_secs(10);

/// What runs share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub settings: PythonSettings,
    pub pool: Pool,
    pub reuse: Reuse,
    pub lease: Arc<Lease>,
    /// Ends every run at once.
    pub closing: CancellationToken,
    current: watch::Receiver<Option<Arc<Snapshot>>>,
}

impl Shared {
    /// The newest version of the workspace; waits for the first.
    pub(crate) async fn snapshot(&self) -> Result<Arc<Snapshot>, String> {
        let mut current = self.current.clone();
        match timeout(SNAPSHOT_WAIT, current.wait_for(Option::is_some)).await {
            Ok(Ok(snapshot)) => snapshot.clone().ok_or_else(|| "no workspace version".to_owned()),
            Ok(Err(_)) => Err("the runtime is shut down".to_owned()),
            Err(_) => Err("the workspace has not been read within 30 s".to_owned()),
        }
    }
}

/// The Python runtime of a worker: implements [`PythonRuntime`], [`Inspector`] and [`Workspace`].
#[derive(Debug)]
pub struct PythonAdapter {
    shared: Arc<Shared>,
    inspector: Arc<InspectorProcess>,
    zygote: watch::Receiver<State>,
    reports: watch::Receiver<Option<Arc<WorkspaceReport>>>,
    runs: TaskTracker,
    background: TaskTracker,
    stop: CancellationToken,
    temp: Mutex<Option<TempRoot>>,
}

impl PythonAdapter {
    /// Finds the interpreter, writes the runner's files, and starts the helper processes in the background:
    /// [`PythonRuntime::ready`] waits for them.
    ///
    /// # Errors
    /// When there is no Python 3.10 or newer, or when the data folder cannot be written.
    pub async fn start(mut settings: PythonSettings, clock: SharedClock) -> Result<Arc<Self>, Error> {
        // The helper processes have a working folder of their own, and compare real paths.
        let data = std::fs::create_dir_all(&settings.data_dir)
            .and_then(|()| settings.data_dir.canonicalize())
            .map_err(Error::files(&settings.data_dir))?;
        if let Some(workspace) = &mut settings.workspace_dir {
            *workspace = std::path::absolute(&*workspace).map_err(Error::files(&*workspace))?;
        }
        metrics::register();
        let interpreter = Interpreter::find(&settings.python).await?;
        let runtime = files::install(&data)?;
        let temp = TempRoot::create(&data.join("temp"), &clock).map_err(Error::files(data.join("temp")))?;
        let snapshots = Snapshots::new(data.join("snapshots"), Arc::clone(&clock))
            .map_err(Error::files(data.join("snapshots")))?;

        let (reports, current) = (watch::Sender::new(None), watch::Sender::new(None));
        let (preload, state) = (watch::Sender::new(BTreeSet::new()), watch::Sender::new(State::Starting));
        let lease = Arc::new(Lease::new());
        let (stop, background) = (CancellationToken::new(), TaskTracker::new());
        let inspector = Arc::new(InspectorProcess::known(interpreter.clone(), runtime.clone(), &settings));
        let supervisor = Supervisor {
            folders: vec![runtime.clone(), snapshots.folder().to_owned(), temp.path().to_owned()],
            start: Start {
                interpreter: interpreter.clone(),
                runtime,
                snapshots: snapshots.folder().to_owned(),
                preload: Vec::new(),
            },
            preload: preload.subscribe(),
            lease: Arc::clone(&lease),
            state: state.clone(),
            stop: stop.clone(),
        };
        let shared = Arc::new(Shared {
            pool: Pool::new(
                Nursery::new(temp.path().to_owned(), settings.limits, Arc::clone(&lease)),
                state.subscribe(),
                settings.slots(),
                settings.stock_size(),
            ),
            reuse: Reuse::new(settings.slots(), settings.reuse_max_runs, settings.reuse_max_growth_bytes),
            lease,
            closing: CancellationToken::new(),
            current: current.subscribe(),
            settings,
        });
        let adapter = Arc::new(Self {
            inspector: Arc::clone(&inspector),
            zygote: state.subscribe(),
            reports: reports.subscribe(),
            runs: TaskTracker::new(),
            background: background.clone(),
            stop: stop.clone(),
            temp: Mutex::new(Some(temp)),
            shared: Arc::clone(&shared),
        });

        let follower = Follower {
            root: shared.settings.workspace_dir.clone(),
            inspector,
            snapshots,
            published: Published { reports, current, preload },
            stdlib: interpreter.stdlib,
        };
        background.spawn(follower.run(stop.clone()));
        let mut scanned = shared.current.clone();
        background.spawn(async move {
            drop(timeout(FIRST_SCAN, scanned.wait_for(Option::is_some)).await);
            supervisor.run().await;
        });
        background.spawn(async move { shared.pool.keep_stocked(stop).await });
        Ok(adapter)
    }
}

#[async_trait]
impl PythonRuntime for PythonAdapter {
    fn run(
        &self,
        call: Call,
        stop: watch::Receiver<Stop>,
        sdk: Arc<dyn SdkService>,
    ) -> mpsc::Receiver<Event> {
        let (events, receiver) = mpsc::channel(EVENTS);
        let shared = Arc::clone(&self.shared);
        let run = Run { call, stop, sdk, events };
        self.runs.spawn(async move { run.execute(&shared).await });
        receiver
    }

    fn renew_lease(&self, valid: Duration) {
        self.shared.lease.renew(valid);
    }

    fn info(&self) -> Option<RuntimeInfo> {
        match &*self.zygote.borrow() {
            State::Ready(ready) => Some(ready.info.clone()),
            State::Starting | State::Failed(_) | State::Stopped => None,
        }
    }

    async fn ready(&self) -> Result<(), String> {
        self.shared.snapshot().await?;
        self.shared.pool.zygote().await.map(drop)
    }

    async fn shutdown(&self) {
        self.shared.closing.cancel();
        self.runs.close();
        if timeout(SHUTDOWN_WAIT, self.runs.wait()).await.is_err() {
            tracing::error!(runs = self.runs.len(), "runs have not ended within 10 s");
        }
        self.shared.reuse.clear();
        self.stop.cancel();
        self.background.close();
        if timeout(SHUTDOWN_WAIT, self.background.wait()).await.is_err() {
            tracing::error!("the helper processes have not ended within 10 s");
        }
        let temp = self.temp.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _removed = tokio::task::spawn_blocking(move || drop(temp)).await;
    }
}

impl Drop for PythonAdapter {
    fn drop(&mut self) {
        // Dropped without `shutdown`: the tasks end, the zygote with its children too.
        self.shared.closing.cancel();
        self.stop.cancel();
    }
}

#[async_trait]
impl Inspector for PythonAdapter {
    async fn inspect(&self, path: &str, source: &str) -> Result<SourceReport, String> {
        self.inspector.inspect(path, source).await
    }

    async fn check_code(&self, source: &str) -> Result<Vec<Issue>, String> {
        self.inspector.check_code(source).await
    }
}

impl Workspace for PythonAdapter {
    fn reports(&self) -> watch::Receiver<Option<Arc<WorkspaceReport>>> {
        self.reports.clone()
    }
}
