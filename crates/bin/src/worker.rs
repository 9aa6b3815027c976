//! Starts the worker over what was opened.

use anyhow::{Context, Result};
use bifrost_boot::{Opened, settings::Settings};
use bifrost_jobs::{Worker, WorkerSettings};
use std::sync::Arc;
use tokio::sync::watch;

/// Starts it, and says in the log which walls around runs are missing on this machine (unless `stop` comes first).
///
/// # Errors
/// When the database is away, or nothing was opened for a worker.
pub async fn start(settings: &Settings, opened: &Opened, stop: watch::Receiver<bool>) -> Result<Arc<Worker>> {
    let python = opened.python.clone().context("no Python runtime was opened")?;
    let limits = &settings.worker.limits;
    let worker_settings = WorkerSettings {
        name: format!("{}:{}", host_name(), std::process::id()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        max_concurrency: settings.worker.max_concurrency,
        isolation: settings.worker.isolation,
        lease: settings.worker.lease,
        shutdown_grace: settings.server.shutdown_grace,
        log_max_lines: i64::try_from(limits.log_max_lines).unwrap_or(i64::MAX),
        log_line_bytes: limits.log_max_line_bytes,
    };
    let worker =
        Worker::start(opened.app.clone(), python.clone(), python, worker_settings, opened.worker_ids())
            .await
            .context("the worker cannot be registered")?;
    opened.say_walls_when_ready(stop);
    Ok(worker)
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "worker".to_owned(), |name| name.trim().to_owned())
}
