//! Folders, database, queue prefix and processes of one test.

use super::{
    Client, PATIENCE, Process,
    backends::{Backends, PostgresDatabase, remove_queues},
    unique, until,
};
use futures::FutureExt;
use std::{
    fs,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use tokio::process::Command;

/// Makes a command for a world's folder.
type Launch = Box<dyn Fn(&Path) -> Command>;

/// How Bifrost is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `bifrost dev`.
    Embedded,
    /// `bifrost-api` and `bifrost-jobs`.
    Stack,
}

/// What the processes sign tokens with.
pub(crate) const SECRET_KEY: &str = "an end-to-end test signs with this key";

/// The files of every world's workspace.
const FILES: &[(&str, &str)] = &[
    ("basics.py", include_str!("../workspace/basics.py")),
    ("people/style_a.py", include_str!("../workspace/style_a.py")),
    ("misbehaving.py", include_str!("../workspace/misbehaving.py")),
    ("hostile.py", include_str!("../workspace/hostile.py")),
];

/// What a test runs in.
pub(crate) struct World {
    pub(crate) mode: Mode,
    folder: TempDir,
    backends: Backends,
    database: Option<PostgresDatabase>,
    prefix: String,
    settings: Vec<(String, String)>,
    started_by: Vec<String>,
    /// In embedded mode: what the program is started with instead of plainly.
    launch: Option<Launch>,
    /// `bifrost dev`, or `bifrost-api`.
    pub(crate) api: Option<Process>,
    /// Further replicas of `bifrost-api`.
    pub(crate) replicas: Vec<Process>,
    /// None in embedded mode.
    pub(crate) jobs: Vec<Process>,
    address: Option<SocketAddr>,
}

impl World {
    /// Makes the ground; [`World::run`] starts the processes.
    pub(crate) async fn new(mode: Mode) -> Self {
        Self::on(mode, Backends::shared()).await
    }

    /// The same over other servers than those that all tests share.
    pub(crate) async fn on(mode: Mode, backends: Backends) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // A run may work as another user: the folders above its own have to let it through.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder.path(), open).expect("permissions");
        let prefix = unique("e2e");
        let database = match mode {
            Mode::Embedded => None,
            Mode::Stack => Some(PostgresDatabase::create(&backends.postgres).await),
        };
        let world = Self {
            mode,
            folder,
            backends,
            database,
            prefix,
            settings: Vec::new(),
            started_by: Vec::new(),
            launch: None,
            api: None,
            replicas: Vec::new(),
            jobs: Vec::new(),
            address: None,
        };
        for (path, source) in FILES {
            world.write(path, source);
        }
        world
    }

    /// Puts a copy of `folder` in the place of the workspace's own files.
    pub(crate) fn with_workspace(self, folder: &Path) -> Self {
        fs::remove_dir_all(self.workspace()).expect("removed");
        copy(folder, &self.workspace());
        self
    }

    /// Adds a setting for every process.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Every process is started by this command line, which its own is the end of.
    pub(crate) fn started_by(mut self, words: &[&str]) -> Self {
        self.started_by = words.iter().map(ToString::to_string).collect();
        self
    }

    /// Embedded: `launch` makes the command that runs `bifrost dev`. It is given the world's folder.
    pub(crate) fn launched(mut self, launch: impl Fn(&Path) -> Command + 'static) -> Self {
        self.launch = Some(Box::new(launch));
        self
    }

    /// Starts the processes, runs the test, stops and removes everything, also when the test panics.
    pub(crate) async fn run(self, case: impl AsyncFnOnce(&mut Self)) {
        self.run_unstarted(async |world| {
            world.start().await;
            case(world).await;
        })
        .await;
    }

    /// As [`World::run`], and starts nothing.
    pub(crate) async fn run_unstarted(mut self, case: impl AsyncFnOnce(&mut Self)) {
        let outcome = AssertUnwindSafe(case(&mut self)).catch_unwind().await;
        if outcome.is_err() {
            for process in self.api.iter().chain(&self.replicas).chain(&self.jobs) {
                eprintln!("--- {}\n{}", process.name(), process.said().join("\n"));
            }
        }
        let removed = AssertUnwindSafe(self.remove()).catch_unwind().await;
        for result in [outcome, removed] {
            if let Err(panic) = result {
                std::panic::resume_unwind(panic);
            }
        }
    }

    async fn start(&mut self) {
        self.start_api().await;
        if self.mode == Mode::Stack {
            self.start_jobs();
        }
        let admin = self.admin().await;
        until("the workspace's workflows", PATIENCE, async || {
            let workflows = admin.get("/api/workflows").await.of(200);
            workflows.as_array().is_some_and(|list| !list.is_empty()).then_some(())
        })
        .await;
    }

    /// Starts the API (in embedded mode: everything).
    pub(crate) async fn start_api(&mut self) {
        let program = if self.mode == Mode::Embedded { "bifrost" } else { "bifrost-api" };
        let process = match &self.launch {
            Some(launch) => Process::launch(program, launch(self.folder.path()), &self.settings()),
            None => Process::start_by(&self.started_by, program, &self.settings()),
        };
        let process = self.api.insert(process);
        self.address = Some(process.address().await);
    }

    /// Starts one more API over the same servers, and says where it is.
    pub(crate) async fn start_replica(&mut self) -> SocketAddr {
        let mut process = Process::start("bifrost-api", &self.settings());
        let address = process.address().await;
        self.replicas.push(process);
        address
    }

    /// Kills the API (in embedded mode: everything) without asking.
    pub(crate) async fn kill_api(&mut self) {
        self.api.take().expect("it runs").kill().await;
    }

    /// Starts it again at the address that it had.
    pub(crate) async fn start_api_again(&mut self) {
        let port = self.address().port().to_string();
        self.settings.push(("PORT".to_owned(), port));
        self.start_api().await;
    }

    /// Starts one more worker.
    pub(crate) fn start_jobs(&mut self) {
        let process = Process::start_by(&self.started_by, "bifrost-jobs", &self.settings());
        self.jobs.push(process);
    }

    /// What every process of this world is started with.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let mut settings = vec![
            ("ENVIRONMENT", "testing".to_owned()),
            ("PORT", "0".to_owned()),
            ("DATA_DIR", self.data().display().to_string()),
            ("WORKSPACE_DIR", self.workspace().display().to_string()),
            ("LOG_LEVEL", "info".to_owned()),
            ("MAX_CONCURRENCY", "4".to_owned()),
            // Shorter than the patience of the tests, so that a program that does not end says why before it is killed.
            ("SHUTDOWN_GRACE_SECONDS", "15".to_owned()),
            ("SECRET_KEY", SECRET_KEY.to_owned()),
        ];
        if let Some(database) = &self.database {
            settings.extend([
                ("DATABASE_URL", database.url().to_owned()),
                ("DATABASE_POOL_MAX_SIZE", "6".to_owned()),
                ("RABBITMQ_URL", self.backends.rabbitmq.clone()),
                ("REDIS_URL", self.backends.redis.clone()),
                ("BROKER_PREFIX", self.prefix.clone()),
                ("BUS_PREFIX", self.prefix.clone()),
                ("METRICS_ADDRESS", "127.0.0.1:0".to_owned()),
            ]);
        }
        let mut settings: Vec<_> =
            settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        settings.extend(self.settings.iter().cloned());
        settings
    }

    async fn remove(&mut self) {
        let mut complaints = Vec::new();
        for process in self.jobs.drain(..).chain(self.replicas.drain(..)).chain(self.api.take()) {
            complaints.extend(process.stop().await.err());
        }
        if let Some(database) = self.database.take() {
            database.remove().await;
            remove_queues(&self.backends.rabbitmq, &self.prefix).await;
        }
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    /// Writes a file of the workspace.
    pub(crate) fn write(&self, path: impl AsRef<Path>, source: &str) {
        let path = self.workspace().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, source).expect("written");
    }

    pub(crate) fn database(&self) -> &PostgresDatabase {
        self.database.as_ref().expect("the stack has one")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.expect("started")
    }

    /// The API, asked by nobody.
    pub(crate) fn nobody(&self) -> Client {
        Client::new(self.address())
    }

    /// The API, asked by the development user.
    pub(crate) async fn admin(&self) -> Client {
        self.nobody().admin().await
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}
