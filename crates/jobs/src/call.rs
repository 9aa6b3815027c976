//! What is handed to Python for an attempt: the function, its input and its context.

use crate::Worker;
use bifrost_domain::{
    definition::{Definition, DefinitionKind},
    execution::{Claimed, Isolation, Kind},
    ports::python::{Call, CallContext, CallOrganization, End, Stop, Target, WorkspaceReport},
};
use serde_json::{Map, Value};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// How long a run waits for the worker's first look at its workspace.
const SCAN_PATIENCE: Duration = Duration::from_secs(30);

/// Why there is nothing to call.
pub(crate) struct NoCall {
    pub(crate) end: End,
    /// The workflow is not in this worker's workspace.
    pub(crate) is_missing: bool,
}

/// Builds the call; the error says how the attempt ends without one.
pub(crate) async fn call_of(
    worker: &Worker,
    claimed: &Claimed,
    stopped: watch::Receiver<Stop>,
) -> Result<Call, NoCall> {
    let mut isolation = worker.settings.isolation;
    let target = match &claimed.code {
        Some(source) => {
            // Posted code is nobody's trusted file.
            isolation = Isolation::Fork;
            Target::Code { source: source.clone(), name: claimed.workflow_name.clone() }
        }
        None => {
            let reports = worker.workspace.reports();
            let report =
                first_report(reports, stopped).await.map_err(|end| NoCall { end, is_missing: false })?;
            let name = &claimed.workflow_name;
            let is_provider = claimed.kind == Kind::DataProvider;
            let (path, definition) = find_definition(&report, name, is_provider).ok_or_else(|| NoCall {
                end: End::NotStarted(format!("the workflow `{name}` is not in this worker's workspace")),
                is_missing: true,
            })?;
            isolation = definition.isolation.unwrap_or(isolation);
            Target::File { path, function: definition.function, workflow: definition.name }
        }
    };
    let parameters = match &claimed.input {
        Value::Object(fields) => fields.clone(),
        _ => Map::new(),
    };
    Ok(Call {
        execution_id: claimed.id,
        attempt: claimed.attempt,
        target,
        parameters,
        context: context_of(worker, claimed).await,
        timeout: Some(Duration::from_secs(u64::from(claimed.timeout_seconds.unsigned_abs()))),
        isolation,
    })
}

async fn context_of(worker: &Worker, claimed: &Claimed) -> CallContext {
    let organization = match claimed.scope.organization() {
        Some(id) => worker.app.organization_for_run(id).await.map(|organization| CallOrganization {
            id: organization.id.to_string(),
            name: organization.name,
            is_active: organization.is_active,
        }),
        None => None,
    };
    CallContext {
        user_id: claimed.executed_by.to_string(),
        email: claimed.executed_by_email.clone(),
        name: claimed.executed_by_name.clone(),
        scope: claimed.scope,
        organization,
        is_platform_admin: claimed.is_platform_admin,
        is_function_key: false,
        execution_id: claimed.id,
        workflow_name: claimed.workflow_name.clone(),
        startup: None,
    }
}

/// The worker's newest look at its workspace. The first may still be under way when the first message arrives.
async fn first_report(
    mut reports: watch::Receiver<Option<Arc<WorkspaceReport>>>,
    mut stopped: watch::Receiver<Stop>,
) -> Result<Arc<WorkspaceReport>, End> {
    let asked = async {
        match stopped.wait_for(|stop| *stop != Stop::No).await.as_deref() {
            Ok(Stop::Cancel) => End::Cancelled,
            _ => End::Interrupted,
        }
    };
    tokio::select! {
        biased;
        report = reports.wait_for(Option::is_some) => {
            report.ok().and_then(|report| report.clone()).ok_or(End::Interrupted)
        }
        end = asked => Err(end),
        () = tokio::time::sleep(SCAN_PATIENCE) => Err(End::NotStarted(format!(
            "the worker had not read its workspace within {} seconds",
            SCAN_PATIENCE.as_secs()
        ))),
    }
}

/// Workflows and data providers have names of their own.
fn find_definition(report: &WorkspaceReport, name: &str, is_provider: bool) -> Option<(String, Definition)> {
    let mut files: Vec<_> = report.files.iter().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.into_iter().find_map(|file| {
        let definition = file.definitions.iter().find(|definition| {
            definition.name == name && (definition.kind == DefinitionKind::DataProvider) == is_provider
        })?;
        Some((file.path.clone(), definition.clone()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_is_asked_to_stop_waits_for_no_workspace() {
        let (_report, reports) = watch::channel(None);
        for (stop, end) in [(Stop::Cancel, End::Cancelled), (Stop::Shutdown, End::Interrupted)] {
            let (_stop, stopped) = watch::channel(stop);
            assert_eq!(first_report(reports.clone(), stopped).await.err(), Some(end));
        }
        let (report, reports) = watch::channel(None);
        let (_stop, stopped) = watch::channel(Stop::No);
        let waiting = tokio::spawn(first_report(reports, stopped));
        report.send_replace(Some(Arc::default()));
        assert!(waiting.await.expect("joined").is_ok());
    }
}
