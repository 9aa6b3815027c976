//! Keeps the catalog in the store equal to the workspace on disk.

use crate::Worker;
use bifrost_domain::definition::{Issue, Severity};
use std::{sync::Arc, time::Duration};

/// Pause before a failed write is tried again.
const RETRY: Duration = Duration::from_secs(1);

fn tell(file: &str, issue: &Issue) {
    match issue.severity {
        Severity::Error => tracing::error!(file, line = issue.line, "{}", issue.message),
        Severity::Warning => tracing::warn!(file, line = issue.line, "{}", issue.message),
    }
}

pub(crate) async fn run(worker: Arc<Worker>) {
    let mut reports = worker.workspace.reports();
    loop {
        let report = reports.borrow_and_update().clone();
        let mut again = false;
        if let Some(report) = report {
            for file in &report.files {
                file.issues.iter().for_each(|issue| tell(&file.path, issue));
            }
            match worker.app.sync_workspace(&report).await {
                Ok(issues) => {
                    for (file, issue) in issues {
                        tell(&file, &issue);
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error, "the catalog was not written; trying again");
                    again = true;
                }
            }
        }
        tokio::select! {
            () = worker.closed.cancelled() => return,
            changed = reports.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if again => {}
        }
    }
}
