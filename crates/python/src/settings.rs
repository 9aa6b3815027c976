//! What the runtime can be told. Boot fills it from the environment; every field has a default that is safe to run with.

use serde::Serialize;
use std::{path::PathBuf, time::Duration};

/// Settings of the Python runtime.
#[derive(Debug, Clone)]
pub struct PythonSettings {
    /// Interpreter: a name looked up on `PATH`, or a path.
    pub python: PathBuf,
    /// Folder for the runner's files, snapshots and temporary folders.
    pub data_dir: PathBuf,
    /// Folder with the workspace's Python files; `None` runs posted code only.
    pub workspace_dir: Option<PathBuf>,
    /// How many runs are in children at a time; more wait in order.
    pub max_concurrency: usize,
    /// Children forked ahead of need. `None`: four, or `max_concurrency` when that is less.
    pub stock: Option<usize>,
    /// How long a run that was asked to end may take before it is killed.
    pub grace: Duration,
    /// Longest log message; more is cut.
    pub line_bytes: usize,
    /// Largest result.
    pub result_bytes: usize,
    /// Largest set of variables.
    pub variables_bytes: usize,
    /// What one child may use.
    pub limits: Limits,
    /// How many runs a kept child serves before it is replaced (isolation `reuse`).
    pub reuse_max_runs: u32,
    /// How much a kept child may grow over its first size before it is replaced.
    pub reuse_max_growth_bytes: u64,
    /// How long the inspector may think about one source.
    pub inspect_timeout: Duration,
    /// How long an idle inspector is kept.
    pub inspector_idle: Duration,
    /// What `context.public_url` shows.
    pub public_url: Option<String>,
}

/// Limits of one run; they travel in the `fork` message (`null`: no limit).
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Limits {
    /// Memory: the data of one process (heap and private mappings) as the kernel counts it, and about so much for all processes of the run
    /// together, which the zygote looks at twice a second where it may.
    pub memory_bytes: Option<u64>,
    /// Open descriptors.
    pub open_files: Option<u64>,
    /// Processes and threads. The kernel counts them per uid: a run with one of its own gets no more, a run without is ended by the zygote
    /// when it has more.
    pub processes: Option<u64>,
    /// CPU time in all.
    pub cpu_seconds: Option<u64>,
    /// Largest file written.
    pub file_size_bytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: Some(512 * 1024 * 1024),
            open_files: Some(1024),
            processes: Some(256),
            cpu_seconds: None,
            file_size_bytes: Some(1024 * 1024 * 1024),
        }
    }
}

impl PythonSettings {
    /// Defaults with everything below `data_dir`.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            python: PathBuf::from("python3"),
            data_dir: data_dir.into(),
            workspace_dir: None,
            max_concurrency: 10,
            stock: None,
            grace: Duration::from_secs(3),
            line_bytes: 32 * 1024,
            result_bytes: 60 * 1024 * 1024,
            variables_bytes: 256 * 1024,
            limits: Limits::default(),
            reuse_max_runs: 1000,
            reuse_max_growth_bytes: 256 * 1024 * 1024,
            inspect_timeout: Duration::from_secs(15),
            inspector_idle: Duration::from_secs(60),
            public_url: None,
        }
    }

    pub(crate) fn slots(&self) -> usize {
        self.max_concurrency.max(1)
    }

    pub(crate) fn stock_size(&self) -> usize {
        self.stock.unwrap_or(8).min(self.slots())
    }
}
