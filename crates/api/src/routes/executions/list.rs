//! `GET /api/executions`

use super::shapes::ExecutionOut;
use crate::{
    extract::{Json, PageIn, Query, SignedIn, next_token, time, words},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::extract::State;
use bifrost_domain::{
    error::Error,
    ids::{ExecutionId, FormId, UserId},
    scope::Scope,
};
use bifrost_storage::executions::Filter;
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use utoipa::{IntoParams, ToSchema};

/// What the list is narrowed to; everything given must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Exact name of the workflow.
    #[serde(rename = "workflowName")]
    workflow_name: Option<String>,
    /// Status.
    status: Option<String>,
    /// Accepted at or after: a date or an RFC 3339 time.
    #[serde(rename = "startDate")]
    start_date: Option<String>,
    /// Accepted before (a date: until its end).
    #[serde(rename = "endDate")]
    end_date: Option<String>,
    /// Through this form.
    #[serde(rename = "formId")]
    form_id: Option<String>,
    /// By this person.
    #[serde(rename = "executedBy")]
    executed_by: Option<String>,
    /// Part of the workflow's or the person's name.
    q: Option<String>,
    /// `global` or an organization's id, for administrators.
    scope: Option<String>,
    /// How many at most, 25 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Where the page before ended, as it said.
    continuation_token: Option<String>,
}

/// A page of executions, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Executions)]
pub(crate) struct ListOut {
    executions: Vec<ExecutionOut>,
    /// Asks for the next page; null on the last.
    continuation_token: Option<String>,
}

/// List executions
///
/// Newest first, without inputs, results, logs and variables. People of an organization see their own unless a role lets them see all.
#[utoipa::path(
    get, path = "/api/executions", tag = "executions", params(ListQuery),
    responses(
        (status = 200, body = ListOut),
        (status = 401, body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, body = ProblemOut, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    signed_in: SignedIn,
    Query(query): Query<ListQuery>,
) -> Result<Json<ListOut>> {
    let page = PageIn { limit: query.limit, continuation_token: query.continuation_token.clone() };
    let (limit, before) = page.resolve(25)?;
    let scope: Option<Scope> = parsed("scope", query.scope.as_deref())?;
    let filter = Filter {
        workflow_name: bounded("workflowName", query.workflow_name)?,
        status: parsed("status", query.status.as_deref())?,
        from: time("startDate", query.start_date.as_deref(), false)?,
        to: time("endDate", query.end_date.as_deref(), true)?,
        form_id: parsed::<FormId>("formId", query.form_id.as_deref())?,
        executed_by: parsed::<UserId>("executedBy", query.executed_by.as_deref())?,
        text: bounded("q", query.q)?,
        before: before.map(ExecutionId::from_uuid),
    };
    let (executions, more) = state.app.list_executions(&signed_in.caller, scope, &filter, limit).await?;
    let continuation_token = next_token(&executions, more, |last| last.id.as_uuid());
    Ok(Json(ListOut { executions: executions.into_iter().map(Into::into).collect(), continuation_token }))
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(name: &str, text: Option<&str>) -> Result<Option<T>, Error> {
    match text {
        None | Some("") => Ok(None),
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|error: T::Err| Error::invalid(name, "format", words(&error.to_string()).1)),
    }
}

fn bounded(name: &str, text: Option<String>) -> Result<Option<String>, Error> {
    match text {
        Some(text) if text.len() > 200 || text.contains('\0') => {
            Err(Error::invalid(name, "too_long", "has more than 200 bytes"))
        }
        other => Ok(other.filter(|text| !text.is_empty())),
    }
}
