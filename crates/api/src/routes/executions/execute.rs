//! `POST /api/workflows/execute`

use super::shapes::{ExecuteOut, result_url};
use crate::{
    extract::{Json, SignedIn, ValidJson},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bifrost_app::executions::{Submit, What};
use bifrost_domain::{
    definition::ExecutionMode,
    error::Error,
    ids::{FormId, WorkflowId},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

/// What `details` says when the execution was accepted and could not be read back.
const UNREAD: &str = "the execution was accepted and cannot be read now; read it by its id in a moment";

/// How far ahead `delay_seconds` may reach: seven days, as `scheduled_at`.
const MAX_DELAY_SECONDS: u32 = 7 * 24 * 60 * 60;

/// What to run: exactly one of `workflow_id`, `workflow_name` and `code`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Execute)]
pub(crate) struct ExecuteIn {
    /// The workflow by id.
    workflow_id: Option<String>,
    /// The workflow by name.
    #[schema(example = "hello", max_length = 200)]
    workflow_name: Option<String>,
    /// Python source, base64 (at most 1 MiB of source): a file with one workflow, or the body of a function that may use
    /// `context`, `logger`, `parameters` and the input's keys, and `return`s the result.
    code: Option<String>,
    /// The input by parameter name.
    #[serde(default)]
    input_data: Option<Map<String, Value>>,
    /// The form it comes through.
    form_id: Option<Uuid>,
    /// Older clients ask for a run that is not kept, whose log they read in the reply. Every run is kept; the reply of a
    /// synchronous one carries log and variables as that of posted code does, and gives the flag back.
    #[serde(default)]
    transient: bool,
    /// Name of posted code in lists.
    #[schema(max_length = 200)]
    script_name: Option<String>,
    /// Not before this time, at most seven days ahead.
    scheduled_at: Option<chrono::DateTime<chrono::Utc>>,
    /// Not before so many seconds from now, at most seven days.
    #[schema(minimum = 0, maximum = 604800)]
    delay_seconds: Option<u32>,
}

/// Run a workflow or posted code
///
/// A synchronous workflow (`execution_mode: sync`) and posted code answer with the result; an asynchronous one answers at once
/// with status `Pending`, or with 202 when the request says `Prefer: respond-async` (RFC 7240). An accepted execution can be read
/// at once and ends in exactly one terminal state. A result over 2 MiB is not in the reply: `result_url` says where it is read. A
/// synchronous caller waits 300 seconds at most and then gets the state as it is; a caller that goes away cancels nothing.
#[utoipa::path(
    post, path = "/api/workflows/execute", tag = "executions", request_body = ExecuteIn,
    responses(
        (status = 200, body = ExecuteOut),
        (status = 202, body = ExecuteOut, description = "accepted, and the request said `Prefer: respond-async`"),
        (status = 400, body = ProblemOut, content_type = "application/problem+json"),
        (status = 401, body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, body = ProblemOut, content_type = "application/problem+json", description = "no such workflow"),
        (status = 413, body = ProblemOut, content_type = "application/problem+json"),
        (status = 415, body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, body = ProblemOut, content_type = "application/problem+json", description = "bad input, each field named; code that does not parse, each line named"),
        (status = 503, body = ProblemOut, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn execute(
    State(state): State<ApiState>,
    signed_in: SignedIn,
    headers: HeaderMap,
    ValidJson(body): ValidJson<ExecuteIn>,
) -> Result<(StatusCode, Json<ExecuteOut>)> {
    let respond_async = headers.get_all("prefer").iter().any(|value| {
        value
            .to_str()
            .is_ok_and(|text| text.split(',').any(|p| p.trim().eq_ignore_ascii_case("respond-async")))
    });
    let transient = body.transient;
    // A plain workflow's reply costs no reads but of the row itself.
    let is_whole = transient || body.code.is_some();
    let request = submit_of(&state, body)?;
    let caller = &signed_in.caller;
    let submission = state.app.submit(caller, request, !respond_async).await?;
    let status = if respond_async { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut out = ExecuteOut {
        execution_id: submission.id.as_uuid(),
        workflow_id: submission.workflow_id.map(WorkflowId::as_uuid),
        workflow_name: submission.workflow_name,
        status: submission.status.as_str(),
        result: None,
        result_url: None,
        result_type: None,
        error: None,
        error_type: None,
        details: None,
        duration_ms: None,
        started_at: None,
        completed_at: None,
        logs: None,
        variables: None,
        is_transient: transient,
    };
    if !respond_async && submission.mode == ExecutionMode::Sync {
        let view = if is_whole {
            state.app.view_execution(caller, submission.id).await
        } else {
            state.app.view_result(caller, submission.id).await
        };
        match view {
            Ok(view) => {
                out.logs = is_whole.then(|| view.logs.into_iter().map(Into::into).collect());
                out.variables = view.variables;
                out.status = view.execution.status.as_str();
                out.result = view.result;
                out.result_url = result_url(&view.execution);
                out.result_type =
                    view.execution.status.is_terminal().then(|| view.execution.result_type.as_str());
                out.error = view.execution.error_message;
                out.error_type = view.execution.error_type;
                out.duration_ms = view.execution.duration_ms;
                out.started_at = view.execution.started_at;
                out.completed_at = view.execution.completed_at;
            }
            Err(error) => {
                // It is accepted: the caller gets its id and what is known of it, and reads the rest later.
                tracing::warn!(execution.id = %submission.id, error = %error, "an accepted execution could not be read");
                out.details = Some(json!({ "message": UNREAD }));
            }
        }
    }
    Ok((status, Json(out)))
}

fn submit_of(state: &ApiState, body: ExecuteIn) -> Result<Submit, Error> {
    let what = match (body.workflow_id, body.workflow_name, body.code) {
        (Some(id), None, None) => What::Id(WorkflowId::from_uuid(
            id.parse().map_err(|_| Error::invalid("workflow_id", "format", "is not a UUID"))?,
        )),
        (None, Some(name), None) => {
            if name.is_empty() || name.chars().count() > 200 || name.contains('\0') {
                return Err(Error::invalid("workflow_name", "length", "must have 1 to 200 characters"));
            }
            What::Name(name)
        }
        (None, None, Some(code)) => {
            let bad = |message: &str| Error::invalid("code", "encoding", message);
            let bytes = STANDARD.decode(code.trim()).map_err(|_| bad("is not base64"))?;
            let source = String::from_utf8(bytes).map_err(|_| bad("is not UTF-8 text inside the base64"))?;
            What::Code { source, name: body.script_name }
        }
        (None, None, None) => {
            return Err(Error::invalid(
                "workflow_name",
                "required",
                "is required, or `workflow_id`, or `code`",
            ));
        }
        _ => {
            return Err(Error::invalid(
                "workflow_name",
                "ambiguous",
                "is one of three ways to say what to run: send exactly one of `workflow_id`, `workflow_name` and `code`",
            ));
        }
    };
    let not_before = match (body.scheduled_at, body.delay_seconds) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid("delay_seconds", "ambiguous", "cannot be sent with `scheduled_at`"));
        }
        (Some(time), None) => Some(time),
        (None, Some(seconds)) if seconds > MAX_DELAY_SECONDS => {
            return Err(Error::invalid(
                "delay_seconds",
                "too_late",
                format!("must be between 0 and {MAX_DELAY_SECONDS}; make a schedule for later times"),
            ));
        }
        (None, Some(seconds)) if seconds > 0 => {
            Some(state.clock.now() + chrono::Duration::seconds(i64::from(seconds)))
        }
        _ => None,
    };
    Ok(Submit {
        what,
        input: body.input_data.unwrap_or_default(),
        form_id: body.form_id.map(FormId::from_uuid),
        not_before,
    })
}
