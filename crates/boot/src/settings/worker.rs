//! The worker: how much at once, with which Python, and the bounds of one run.

use super::reader::{Reader, check_path};
use bifrost_domain::execution::Isolation;
use std::{path::PathBuf, time::Duration};

/// Bounds of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLimits {
    /// Data memory in bytes.
    pub memory_bytes: u64,
    /// Open files.
    pub open_files: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Time between asking a run to end and killing it.
    pub cancel_grace: Duration,
    /// Log lines that are kept.
    pub log_max_lines: u64,
    /// Longest log line in bytes.
    pub log_max_line_bytes: usize,
    /// Largest result in bytes.
    pub result_max_bytes: usize,
}

/// The worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Runs at the same time.
    pub max_concurrency: usize,
    /// A process per run, or a kept one.
    pub isolation: Isolation,
    /// The interpreter: a name to look up on the PATH, or a path.
    pub python: PathBuf,
    /// Bounds of one run.
    pub limits: RunLimits,
    /// How long the worker is believed alive without a word.
    pub lease: Duration,
}

pub(super) fn read(reader: &mut Reader<'_>) -> Worker {
    let seconds = |reader: &mut Reader<'_>, name, range| Duration::from_secs(reader.number(name, range));
    Worker {
        max_concurrency: reader.number("MAX_CONCURRENCY", 1..=1024),
        isolation: reader
            .choice("BIFROST_ISOLATION", &[("fork", Isolation::Fork), ("reuse", Isolation::Reuse)]),
        python: PathBuf::from(reader.checked("BIFROST_PYTHON", check_path)),
        limits: RunLimits {
            memory_bytes: reader.number("RUN_MEMORY_MB", 32_u64..=1024 * 1024) * 1024 * 1024,
            open_files: reader.number("RUN_OPEN_FILES", 16..=1024 * 1024),
            processes: reader.number("RUN_PROCESSES", 1..=65_536),
            cancel_grace: seconds(reader, "CANCEL_GRACE_SECONDS", 1..=300),
            log_max_lines: reader.number("LOG_MAX_LINES", 1..=10_000_000),
            log_max_line_bytes: reader.number("LOG_MAX_LINE_BYTES", 256..=512 * 1024),
            result_max_bytes: reader.number("RESULT_MAX_BYTES", 1024..=60 * 1024 * 1024),
        },
        lease: seconds(reader, "WORKER_LEASE_SECONDS", 4..=300),
    }
}
