//! The application with real workers and the real Python runtime, for one test: embedded (SQLite, queue and live events in
//! process) or stack (a PostgreSQL database, a RabbitMQ prefix and a Redis prefix of its own). Everything is gone after
//! the test, whether it passed or not.
//!
//! A case is an `async fn(Arc<World>)`; [`in_both_worlds!`](crate::in_both_worlds) makes two tests of it,
//! `<name>::embedded` and `<name>::stack`.

use crate::TestDatabase;
use bifrost_adapters::{broker, bus, files::Folders, objects};
use bifrost_app::{
    App, Doors, Limits,
    cipher::Cipher,
    executions::{Submit, What},
};
use bifrost_domain::{
    clock::{Clock, Ids, SystemClock, SystemIds},
    execution::{Execution, Isolation, Kind, LogLevel, LogLine},
    ids::{ExecutionId, UserId, WorkerId},
    policy::{self, Caller},
    ports::{
        broker::{Broker, Queue},
        bus::Bus,
        python::PythonRuntime,
    },
    user::{User, UserType},
};
use bifrost_jobs::{Worker, WorkerSettings};
use bifrost_python::{InspectorProcess, PythonAdapter, PythonSettings};
use bifrost_storage::{Store, executions::LogFilter};
use futures::FutureExt;
use secrecy::SecretBox;
use serde_json::{Map, Value};
use std::{
    future::Future,
    os::unix::fs::PermissionsExt,
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks at a condition.
const LOOK: Duration = Duration::from_millis(10);
/// The longest log line of a worker of this world, bytes.
pub const LINE_BYTES: usize = 4_096;
/// The most lines that a worker of this world keeps of a run.
pub const MAX_LINES: i64 = 5_000;

/// Which adapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// SQLite, everything else in process.
    Embedded,
    /// PostgreSQL, RabbitMQ and Redis.
    Stack,
}

/// A change of the broker that the world is built with.
pub type WrapBroker = Box<dyn FnOnce(Arc<dyn Broker>) -> Arc<dyn Broker> + Send>;

/// See the module.
pub struct World {
    /// What one may do.
    pub app: Arc<App>,
    /// The records.
    pub store: Store,
    /// The queue, as the application has it.
    pub broker: Arc<dyn Broker>,
    /// A platform admin.
    pub caller: Caller,
    database: TestDatabase,
    rabbit: Option<Arc<broker::RabbitMq>>,
    folder: TempDir,
    python: PathBuf,
    workers: Mutex<Vec<Arc<Worker>>>,
    started: AtomicUsize,
    waiters: JoinHandle<()>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("database", &self.database).finish_non_exhaustive()
    }
}

#[expect(clippy::expect_used, clippy::panic, reason = "a test that has no world has failed")]
impl World {
    /// A world without a worker, its workspace filled with `files` (path and text).
    ///
    /// # Panics
    /// When a server is not there: such a test fails, it is not skipped.
    pub async fn open(mode: Mode, files: &[(&str, &str)]) -> Self {
        Self::with_broker(mode, files, Box::new(|broker| broker)).await
    }

    /// As [`World::open`], with a broker around the mode's own.
    ///
    /// # Panics
    /// As [`World::open`].
    pub async fn with_broker(mode: Mode, files: &[(&str, &str)], wrap: WrapBroker) -> Self {
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Children have user ids of their own where the machine allows it.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("mode");
        let workspace = folder.path().join("workspace");
        for (path, text) in files {
            let path = workspace.join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        let prefix = format!("test-{}", ids.next().simple());
        let mut rabbit = None;
        let (database, broker, bus): (_, Arc<dyn Broker>, Arc<dyn Bus>) = match mode {
            Mode::Embedded => (
                TestDatabase::sqlite().await,
                Arc::new(broker::InProcess::new()),
                Arc::new(bus::InProcess::new()),
            ),
            Mode::Stack => {
                let url = server("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672");
                let broker = broker::RabbitMq::connect(&url, &prefix).await.expect("RabbitMQ");
                rabbit = Some(Arc::clone(&broker));
                let bus = bus::RedisBus::start(&server("REDIS_URL", "redis://127.0.0.1:6379"), &prefix)
                    .expect("a URL of Redis");
                bus.ready(PATIENCE).await.expect("Redis");
                (TestDatabase::postgres().await, broker, bus)
            }
        };
        let broker = wrap(broker);
        let store = database.store();
        let (day, now) = (chrono::Duration::days(1), clock.now());
        store.ensure_partitions(now - day, now + day).await.expect("partitions");
        let python = interpreter();
        let mut inspector = PythonSettings::new(folder.path().join("inspector"));
        inspector.python.clone_from(&python);
        let doors = Doors {
            store: store.clone(),
            broker: Arc::clone(&broker),
            bus,
            objects: Arc::new(objects::Folder::open(&folder.path().join("objects")).expect("objects")),
            files: Arc::new(Folders::new(workspace, folder.path().join("files"))),
            inspector: Some(Arc::new(InspectorProcess::new(&inspector))),
            clock: clock.clone(),
            ids,
            cipher: Arc::new(Cipher::new(&SecretBox::new(Box::new([7; 32])))),
        };
        let app = App::new(doors, Limits { sync_wait_max: PATIENCE, ..Limits::default() });
        let waiters = tokio::spawn(Arc::clone(&app).run_waiters());
        let caller = Caller::of_user(&admin(), &Arc::default(), None, None).expect("a caller");
        Self {
            app,
            store,
            broker,
            caller,
            database,
            rabbit,
            folder,
            python,
            workers: Mutex::default(),
            started: AtomicUsize::new(0),
            waiters,
        }
    }

    /// Runs a case and takes everything down, also when it panics.
    ///
    /// # Panics
    /// When the case panicked, or something stays behind.
    pub async fn run<F: Future<Output = ()>>(self, case: impl FnOnce(Arc<Self>) -> F) {
        let world = Arc::new(self);
        let outcome = AssertUnwindSafe(case(Arc::clone(&world))).catch_unwind().await;
        world.end().await;
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    }

    async fn end(&self) {
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        for worker in workers {
            worker.drain().await;
        }
        self.waiters.abort();
        if let Some(rabbit) = &self.rabbit {
            let queues: Vec<Queue> = Kind::ALL.iter().map(|kind| Queue(kind.queue())).collect();
            rabbit.delete_topology(&queues).await.expect("the queues are deleted");
        }
        self.broker.close().await;
        // The application's writing tasks keep connections of their own for as long as it lives.
        self.database.clone().remove_in_use().await.expect("the database is removed");
    }

    /// Starts a worker with four slots, a lease of 4 s and a short grace; `change` changes that. It is ready to run, and the
    /// catalog has the workspace's workflows, when this returns.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_worker(&self, change: impl FnOnce(&mut WorkerSettings)) -> Arc<Worker> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let mut settings = WorkerSettings {
            name: format!("test:{number}"),
            version: "test".to_owned(),
            max_concurrency: 4,
            isolation: Isolation::Fork,
            lease: Duration::from_secs(4),
            shutdown_grace: Duration::from_millis(300),
            log_max_lines: MAX_LINES,
            log_line_bytes: LINE_BYTES,
        };
        change(&mut settings);
        let mut python = PythonSettings::new(self.folder.path().join(format!("data{number}")));
        python.python.clone_from(&self.python);
        python.workspace_dir = Some(self.folder.path().join("workspace"));
        python.max_concurrency = settings.max_concurrency;
        python.grace = Duration::from_millis(900);
        python.line_bytes = LINE_BYTES;
        let adapter = PythonAdapter::start(python, Arc::new(SystemClock)).await.expect("Python");
        adapter.ready().await.expect("Python is ready");
        let next_id = || WorkerId::from_uuid(SystemIds.next());
        let worker = Worker::start(Arc::clone(&self.app), adapter.clone(), adapter, settings, next_id)
            .await
            .expect("a worker");
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&worker));
        self.until("the catalog is filled", async || {
            !self.app.list_workflows(&self.caller, None, 1).await.expect("read").0.is_empty()
        })
        .await;
        worker
    }

    /// Writes a file of the workspace.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_file(&self, path: &str, text: &str) {
        std::fs::write(self.folder.path().join("workspace").join(path), text).expect("a file");
    }

    /// Drains a worker before the world ends.
    pub async fn drain(&self, worker: &Arc<Worker>) {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).retain(|one| !Arc::ptr_eq(one, worker));
        worker.drain().await;
    }

    /// Accepts a run of the workflow and waits for nothing.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn submit(&self, workflow: &str, input: Value) -> ExecutionId {
        let request = request(What::Name(workflow.to_owned()), input);
        self.app.submit(&self.caller, request, false).await.expect("accepted").id
    }

    /// Accepts a run and waits for its end.
    ///
    /// # Panics
    /// When it is not accepted, or does not end in time.
    pub async fn execute(&self, workflow: &str, input: Value) -> Execution {
        let id = self.submit(workflow, input).await;
        self.ended(id).await
    }

    /// Accepts posted code and waits for its end.
    ///
    /// # Panics
    /// As [`World::execute`].
    pub async fn execute_code(&self, source: &str) -> Execution {
        let what = What::Code { source: source.to_owned(), name: None };
        let accepted = self.app.submit(&self.caller, request(what, Value::Null), false).await;
        self.ended(accepted.expect("accepted").id).await
    }

    /// The execution as it stands.
    ///
    /// # Panics
    /// When it cannot be read.
    pub async fn find(&self, id: ExecutionId) -> Execution {
        let visibility = policy::visible_executions(&self.caller);
        self.app.reader().find_execution(id, &visibility).await.expect("read").expect("there")
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it does not come in time.
    pub async fn ended(&self, id: ExecutionId) -> Execution {
        let begun = Instant::now();
        loop {
            let execution = self.find(id).await;
            if execution.status.is_terminal() {
                return execution;
            }
            if begun.elapsed() > PATIENCE {
                panic!("no end in time: {execution:?}, {:?}", self.lines(id).await);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The stored lines, checked to be numbered from 1 without gaps.
    ///
    /// # Panics
    /// When a number is missing or doubled.
    pub async fn lines(&self, id: ExecutionId) -> Vec<LogLine> {
        let filter = LogFilter { internal: true, limit: 100_000, ..LogFilter::default() };
        let lines = self.app.reader().list_logs(id, &filter).await.expect("read");
        let numbers: Vec<i64> = lines.iter().map(|line| line.sequence).collect();
        let expected: Vec<i64> = (1..).take(lines.len()).collect();
        assert_eq!(numbers, expected, "lines are numbered from 1 without gaps");
        lines
    }

    /// The texts of the lines of one level.
    ///
    /// # Panics
    /// As [`World::lines`].
    pub async fn messages(&self, id: ExecutionId, level: LogLevel) -> Vec<String> {
        let lines = self.lines(id).await.into_iter().filter(|line| line.level == level);
        lines.map(|line| line.message).collect()
    }

    /// The events of the timeline.
    ///
    /// # Panics
    /// When they cannot be read.
    pub async fn events(&self, id: ExecutionId) -> Vec<&'static str> {
        let timeline = self.app.reader().list_timeline(id).await.expect("read");
        timeline.iter().map(|entry| entry.event.as_str()).collect()
    }

    /// Waits until `condition` holds, with a bound.
    ///
    /// # Panics
    /// When it does not hold in time.
    pub async fn until(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) {
        let begun = Instant::now();
        while !condition().await {
            assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn request(what: What, input: Value) -> Submit {
    let input = match input {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    Submit { what, input, form_id: None, not_before: None }
}

fn admin() -> User {
    let now = SystemClock.now();
    User {
        id: UserId::from_uuid(SystemIds.next()),
        email: "admin@provider.example".to_owned(),
        name: Some("Admin".to_owned()),
        user_type: UserType::Platform,
        organization_id: None,
        is_active: true,
        is_superuser: true,
        is_verified: true,
        is_registered: true,
        epoch: 0,
        last_login: None,
        purge_at: None,
        created_at: now,
        updated_at: now,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are started with the servers' addresses in the environment"
)]
fn server(variable: &str, default: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| default.to_owned())
}

/// Debian's interpreter when it is there: other users can read it, so that the walls around runs stand.
fn interpreter() -> PathBuf {
    let debian = PathBuf::from("/usr/bin/python3");
    if debian.exists() { debian } else { PathBuf::from("python3") }
}

/// Makes two tests of each `async fn(Arc<World>)`: one embedded, one over the stack. `$files` is the workspace.
#[macro_export]
macro_rules! in_both_worlds {
    ($files:expr; $($case:ident),+ $(,)?) => {$(
        mod $case {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn embedded() {
                let world = $crate::World::open($crate::world::Mode::Embedded, $files).await;
                world.run(super::$case).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn stack() {
                let world = $crate::World::open($crate::world::Mode::Stack, $files).await;
                world.run(super::$case).await;
            }
        }
    )+};
}
