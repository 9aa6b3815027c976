//! What the routes of executions answer.

use bifrost_app::executions::View;
use bifrost_domain::{
    execution::{Execution, LogLine},
    ids::{FormId, OrganizationId, WorkflowId},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// One line of a log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LogLine)]
pub(crate) struct LogOut {
    /// From 1; numbers may be missing where lines are not for the caller.
    sequence: i64,
    /// `DEBUG`, `INFO`, `WARNING`, `ERROR`, `CRITICAL` or `TRACEBACK`.
    #[schema(example = "INFO")]
    level: &'static str,
    message: String,
    metadata: Option<Value>,
    timestamp: chrono::DateTime<chrono::Utc>,
}

impl From<LogLine> for LogOut {
    fn from(line: LogLine) -> Self {
        Self {
            sequence: line.sequence,
            level: line.level.as_str(),
            message: line.message,
            metadata: line.metadata,
            timestamp: line.timestamp,
        }
    }
}

/// An execution.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Execution)]
pub(crate) struct ExecutionOut {
    execution_id: Uuid,
    workflow_name: String,
    workflow_id: Option<Uuid>,
    org_id: Option<Uuid>,
    form_id: Option<Uuid>,
    executed_by: Uuid,
    executed_by_name: String,
    /// `Scheduled`, `Pending`, `Running`, `Success`, `CompletedWithErrors`, `Failed`, `Timeout`, `Cancelling` or `Cancelled`.
    #[schema(example = "Success")]
    status: &'static str,
    /// Null in lists.
    input_data: Value,
    /// Null in lists, before the end, and for results over 2 MiB (see `result_url`).
    result: Option<Value>,
    /// Size of the result in bytes; 0 before the end and without one.
    result_bytes: i64,
    /// Where a result that is too large to be shown here is read.
    #[schema(example = "/api/executions/01a1fba3-508e-75a0-b5bd-016bec462397/result")]
    result_url: Option<String>,
    /// `json`, `html` or `text`.
    #[schema(example = "json")]
    result_type: &'static str,
    error_message: Option<String>,
    error_type: Option<String>,
    duration_ms: Option<i64>,
    started_at: Option<chrono::DateTime<chrono::Utc>>,
    completed_at: Option<chrono::DateTime<chrono::Utc>>,
    created_at: chrono::DateTime<chrono::Utc>,
    /// `GLOBAL` or the organization's id.
    #[schema(example = "GLOBAL")]
    scope: String,
    attempt: i32,
    /// The first lines; empty in lists.
    logs: Vec<LogOut>,
    /// For administrators; null in lists.
    variables: Option<Value>,
    peak_memory_bytes: Option<i64>,
    cpu_total_seconds: Option<f64>,
}

/// Where a result is read that is kept apart from its execution.
pub(crate) fn result_url(execution: &Execution) -> Option<String> {
    execution.result_object.as_ref().map(|_| format!("/api/executions/{}/result", execution.id))
}

impl From<Execution> for ExecutionOut {
    fn from(execution: Execution) -> Self {
        let result_url = result_url(&execution);
        Self {
            execution_id: execution.id.as_uuid(),
            workflow_name: execution.workflow_name,
            workflow_id: execution.workflow_id.map(WorkflowId::as_uuid),
            org_id: execution.scope.organization().map(OrganizationId::as_uuid),
            form_id: execution.form_id.map(FormId::as_uuid),
            executed_by: execution.executed_by.as_uuid(),
            executed_by_name: execution.executed_by_name,
            status: execution.status.as_str(),
            result_bytes: execution.result_bytes,
            result_url,
            input_data: execution.input,
            result: None,
            result_type: execution.result_type.as_str(),
            error_message: execution.error_message,
            error_type: execution.error_type,
            duration_ms: execution.duration_ms,
            started_at: execution.started_at,
            completed_at: execution.completed_at,
            created_at: execution.created_at,
            scope: execution.scope.to_string(),
            attempt: execution.attempt,
            logs: Vec::new(),
            variables: None,
            peak_memory_bytes: execution.peak_memory_bytes,
            cpu_total_seconds: execution.cpu_seconds,
        }
    }
}

impl From<View> for ExecutionOut {
    fn from(view: View) -> Self {
        Self {
            result: view.result,
            logs: view.logs.into_iter().map(Into::into).collect(),
            variables: view.variables,
            ..Self::from(view.execution)
        }
    }
}

/// The answer to a request to run something.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExecuteReply)]
pub(crate) struct ExecuteOut {
    pub(super) execution_id: Uuid,
    pub(super) workflow_id: Option<Uuid>,
    pub(super) workflow_name: String,
    /// The terminal status of a synchronous run, else `Pending` (or `Scheduled`).
    #[schema(example = "Success")]
    pub(super) status: &'static str,
    /// Null without one, and for results over 2 MiB (see `result_url`).
    pub(super) result: Option<Value>,
    /// Where a result that is too large for this reply is read.
    pub(super) result_url: Option<String>,
    pub(super) result_type: Option<&'static str>,
    pub(super) error: Option<String>,
    pub(super) error_type: Option<String>,
    pub(super) details: Option<Value>,
    pub(super) duration_ms: Option<i64>,
    pub(super) started_at: Option<DateTime<Utc>>,
    pub(super) completed_at: Option<DateTime<Utc>>,
    /// The first 1,000 lines for the caller of a synchronous run of posted code, or with `transient`. Null otherwise: read
    /// them from `/api/executions/{id}/logs`.
    pub(super) logs: Option<Vec<LogOut>>,
    /// For administrators, in the same replies as `logs`; null while the run has shown none.
    pub(super) variables: Option<Value>,
    pub(super) is_transient: bool,
}
