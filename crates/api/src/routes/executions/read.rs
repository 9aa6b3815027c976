//! One execution: itself, its log, variables and timeline, and its cancellation.

use super::shapes::{ExecutionOut, LogOut};
use crate::{
    extract::{ClientInfo, Json, Path, Query, SignedIn},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::extract::State;
use bifrost_domain::{
    error::Error,
    execution::{LogLevel, TimelineEntry},
    ids::ExecutionId,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Get an execution
///
/// With its result, the first 1,000 lines of its log, and, for administrators, its variables.
#[utoipa::path(
    get, path = "/api/executions/{id}", tag = "executions", params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = ExecutionOut),
        (status = 401, body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, body = ProblemOut, content_type = "application/problem+json", description = "somebody else's"),
        (status = 404, body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, body = ProblemOut, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn get(
    State(state): State<ApiState>,
    signed_in: SignedIn,
    Path(id): Path<ExecutionId>,
) -> Result<Json<ExecutionOut>> {
    Ok(Json(state.app.view_execution(&signed_in.caller, id).await?.into()))
}

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogQuery {
    /// Only lines with a higher sequence: `next_after` of the page before.
    #[serde(default)]
    #[param(minimum = 0)]
    after: i64,
    /// Only this level.
    level: Option<String>,
    /// Only lines that contain this text.
    q: Option<String>,
    /// How many at most, 1000 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A page of a log, in order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExecutionLogs)]
pub(crate) struct LogsOut {
    logs: Vec<LogOut>,
    /// Where to go on. Do not infer a loss from a missing number: lines may not be for the caller.
    next_after: i64,
    /// Whether there are more lines now.
    has_more: bool,
}

/// Get the log of an execution
#[utoipa::path(
    get, path = "/api/executions/{id}/logs", tag = "executions", params(("id" = Uuid, Path), LogQuery),
    responses(
        (status = 200, body = LogsOut),
        (status = 401, body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, body = ProblemOut, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn logs(
    State(state): State<ApiState>,
    signed_in: SignedIn,
    Path(id): Path<ExecutionId>,
    Query(query): Query<LogQuery>,
) -> Result<Json<LogsOut>> {
    let limit = query.limit.unwrap_or(1_000);
    if !(1..=1_000).contains(&limit) {
        return Err(Error::invalid("limit", "range", "must be between 1 and 1000").into());
    }
    if query.q.as_ref().is_some_and(|text| text.len() > 200 || text.contains('\0')) {
        return Err(Error::invalid("q", "too_long", "has more than 200 bytes").into());
    }
    let level = match query.level.as_deref() {
        None | Some("") => None,
        Some(text) => Some(
            text.to_uppercase()
                .parse::<LogLevel>()
                .map_err(|error| Error::invalid("level", "value", error.to_string()))?,
        ),
    };
    let caller = &signed_in.caller;
    let page = state.app.execution_logs(caller, id, query.after.max(0), level, query.q, limit).await?;
    Ok(Json(LogsOut {
        logs: page.lines.into_iter().map(Into::into).collect(),
        next_after: page.next_after,
        has_more: page.has_more,
    }))
}

/// Variables of a run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExecutionVariables)]
pub(crate) struct VariablesOut {
    /// Counts up from 1; 0 before the first.
    version: i32,
    variables: Value,
}

/// Get the variables of an execution
///
/// The newest the run showed, live and afterwards. For administrators.
#[utoipa::path(
    get, path = "/api/executions/{id}/variables", tag = "executions", params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = VariablesOut),
        (status = 401, body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, body = ProblemOut, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn variables(
    State(state): State<ApiState>,
    signed_in: SignedIn,
    Path(id): Path<ExecutionId>,
) -> Result<Json<VariablesOut>> {
    let found = state.app.execution_variables(&signed_in.caller, id).await?;
    let (version, variables) = found.unwrap_or_else(|| (0, Value::Object(serde_json::Map::new())));
    Ok(Json(VariablesOut { version, variables }))
}

/// One entry of a timeline.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TimelineEntry)]
pub(crate) struct TimelineOut {
    at: chrono::DateTime<chrono::Utc>,
    /// `accepted`, `dispatched`, `claimed`, `cancel_requested`, `retrying`, `worker_lost` or `finished`.
    #[schema(example = "accepted")]
    event: &'static str,
    detail: Option<Value>,
}

impl From<TimelineEntry> for TimelineOut {
    fn from(entry: TimelineEntry) -> Self {
        Self { at: entry.at, event: entry.event.as_str(), detail: entry.detail }
    }
}

/// Get the timeline of an execution
#[utoipa::path(
    get, path = "/api/executions/{id}/timeline", tag = "executions", params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = Vec<TimelineOut>),
        (status = 401, body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, body = ProblemOut, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn timeline(
    State(state): State<ApiState>,
    signed_in: SignedIn,
    Path(id): Path<ExecutionId>,
) -> Result<Json<Vec<TimelineOut>>> {
    let entries = state.app.execution_timeline(&signed_in.caller, id).await?;
    Ok(Json(entries.into_iter().map(Into::into).collect()))
}

/// What a cancellation did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CancelReply)]
pub(crate) struct CancelOut {
    execution_id: Uuid,
    /// `Cancelled`, or `Cancelling` until the run has ended.
    #[schema(example = "Cancelling")]
    status: &'static str,
    message: String,
}

/// Cancel an execution
///
/// A waiting execution ends at once, a running one is asked to, then made to. Asking again is no error.
#[utoipa::path(
    post, path = "/api/executions/{id}/cancel", tag = "executions", params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = CancelOut),
        (status = 400, body = ProblemOut, content_type = "application/problem+json", description = "it has ended"),
        (status = 401, body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, body = ProblemOut, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn cancel(
    State(state): State<ApiState>,
    signed_in: SignedIn,
    ClientInfo(client): ClientInfo,
    Path(id): Path<ExecutionId>,
) -> Result<Json<CancelOut>> {
    let status = state.app.cancel(&signed_in.caller, id, &client).await?;
    Ok(Json(CancelOut {
        execution_id: id.as_uuid(),
        status: status.as_str(),
        message: format!("the execution is {status}"),
    }))
}
