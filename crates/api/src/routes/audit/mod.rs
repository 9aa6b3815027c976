//! The audit log: `/api/audit`.

mod export;

use crate::{
    access::allowed,
    extract::{Json, PageIn, Query, SignedIn, next_token, time, words},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::extract::State;
use bifrost_app::pages::{cut, one_more};
use bifrost_domain::{
    error::Error,
    ids::{ApplicationId, AuditId, OrganizationId, UserId},
    policy::actions::ReadAudit,
};
use bifrost_storage::audit::{Actor, Filter, Line};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::str::FromStr;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

const DEFAULT_LIMIT: u32 = 50;
/// Longest text to look for, bytes.
const MAX_TEXT: usize = 254;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(allowed::<ReadAudit>(routes!(list)))
        .routes(allowed::<ReadAudit>(routes!(export::export)))
}

/// What the log is narrowed to; everything given must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct FilterIn {
    /// A user's id, or the address that was given.
    #[param(max_length = 254)]
    actor: Option<String>,
    /// What was done, e.g. `organization.create`.
    #[param(max_length = 254)]
    action: Option<String>,
    /// A kind of object, e.g. `organization`, or one object, as `organization/<id>`.
    #[param(max_length = 254)]
    resource: Option<String>,
    /// An organization's id.
    organization: Option<String>,
    /// `success`, `denied` or `failure`.
    outcome: Option<String>,
    /// The id of a request (`X-Request-Id`).
    #[param(max_length = 254)]
    request_id: Option<String>,
    /// At or after: a date or an RFC 3339 time.
    from: Option<String>,
    /// Before (a date: until its end).
    to: Option<String>,
}

/// Which page is asked for, and of what.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PagingIn {
    /// How many at most, 50 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Where the page before ended, as it said.
    continuation_token: Option<String>,
}

/// A line of the audit log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditLine)]
struct LineOut {
    #[schema(value_type = Uuid)]
    id: AuditId,
    at: DateTime<Utc>,
    /// Whose object it was about; none: the provider's.
    #[schema(value_type = Option<Uuid>)]
    organization_id: Option<OrganizationId>,
    #[schema(value_type = Option<Uuid>)]
    actor_id: Option<UserId>,
    /// The address that was given, also when nobody has it.
    actor_email: Option<String>,
    /// The display name at that time.
    actor_name: Option<String>,
    /// The API client that did it.
    #[schema(value_type = Option<Uuid>)]
    application_id: Option<ApplicationId>,
    /// The person that the client acted for.
    #[schema(value_type = Option<Uuid>)]
    on_behalf_of: Option<UserId>,
    #[schema(example = "organization.create")]
    action: String,
    #[schema(example = "organization")]
    resource_type: String,
    resource_id: Option<String>,
    /// `success`, `denied` or `failure`.
    #[schema(example = "success")]
    outcome: String,
    /// What was changed: `{field: {"old": …, "new": …}}`, secrets masked.
    #[schema(value_type = Option<Object>)]
    changes: Option<Value>,
    /// What else is worth knowing.
    #[schema(value_type = Option<Object>)]
    detail: Option<Value>,
    request_id: Option<String>,
    ip_address: Option<String>,
}

impl From<Line> for LineOut {
    fn from(line: Line) -> Self {
        Self {
            id: line.id,
            at: line.at,
            organization_id: line.organization_id,
            actor_id: line.actor_id,
            actor_email: line.actor_email,
            actor_name: line.actor_name,
            application_id: line.application_id,
            on_behalf_of: line.on_behalf_of,
            action: line.action,
            resource_type: line.resource_type,
            resource_id: line.resource_id,
            outcome: line.outcome,
            changes: line.changes,
            detail: line.detail,
            request_id: line.request_id,
            ip_address: line.ip_address,
        }
    }
}

/// A page of the audit log, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditLines)]
struct ListOut {
    entries: Vec<LineOut>,
    /// Asks for the next page; null on the last.
    continuation_token: Option<String>,
}

impl FilterIn {
    fn checked(self, before: Option<AuditId>) -> Result<Filter, Error> {
        let (resource_type, resource_id) = match bounded("resource", self.resource)? {
            Some(text) => match text.split_once('/') {
                Some((kind, id)) => (Some(kind.to_owned()), Some(id.to_owned())),
                None => (Some(text), None),
            },
            None => (None, None),
        };
        Ok(Filter {
            actor: bounded("actor", self.actor)?.map(|text| match text.parse() {
                Ok(id) => Actor::Id(id),
                Err(_) => Actor::Email(text.trim().to_lowercase()),
            }),
            action: bounded("action", self.action)?,
            resource_type,
            resource_id,
            organization_id: parsed("organization", self.organization.as_deref())?,
            outcome: parsed("outcome", self.outcome.as_deref())?,
            request_id: bounded("request_id", self.request_id)?,
            from: time("from", self.from.as_deref(), false)?,
            to: time("to", self.to.as_deref(), true)?,
            before,
        })
    }
}

/// Read the audit log
///
/// Newest first: every change, sign-in and refusal. People of an organization see what is about it.
#[utoipa::path(
    get, path = "/api/audit", tag = "audit", params(FilterIn, PagingIn),
    responses(
        (status = 200, body = ListOut),
        (status = 403, description = "the permission is missing", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad parameters", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(state): State<ApiState>,
    me: SignedIn,
    Query(filter): Query<FilterIn>,
    Query(paging): Query<PagingIn>,
) -> Result<Json<ListOut>> {
    let permit = me.permit::<ReadAudit>()?;
    let page = PageIn { limit: paging.limit, continuation_token: paging.continuation_token };
    let (limit, before) = page.resolve(DEFAULT_LIMIT)?;
    let filter = filter.checked(before.map(AuditId::from_uuid))?;
    let found = state.reader.list_audit(&permit, filter, one_more(limit)).await.map_err(Error::from)?;
    let (lines, more) = cut(found, limit);
    let continuation_token = next_token(&lines, more, |line| line.id.as_uuid());
    Ok(Json(ListOut { entries: lines.into_iter().map(Into::into).collect(), continuation_token }))
}

fn bounded(name: &str, text: Option<String>) -> Result<Option<String>, Error> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.len() > MAX_TEXT {
        return Err(Error::invalid(name, "too_long", format!("has more than {MAX_TEXT} bytes")));
    }
    if text.contains('\0') {
        return Err(Error::invalid(name, "format", "must not contain a NUL"));
    }
    Ok(Some(text))
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(name: &str, text: Option<&str>) -> Result<Option<T>, Error> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let parsed =
        text.parse().map_err(|error: T::Err| Error::invalid(name, "format", words(&error.to_string()).1));
    parsed.map(Some)
}
