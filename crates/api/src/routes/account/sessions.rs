//! The own sessions: `/auth/sessions`, `/auth/revoke-all`.

use super::TAG;
use crate::{
    access::allowed,
    cookies,
    extract::{ClientInfo, Json, PageIn, Path, Query, SignedIn, encode_token},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{
    extract::State,
    http::{HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use bifrost_domain::{ids::SessionId, policy::actions::UseAccount};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

const DEFAULT_LIMIT: u32 = 100;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(allowed::<UseAccount>(routes!(list)))
        .routes(allowed::<UseAccount>(routes!(end)))
        .routes(allowed::<UseAccount>(routes!(end_all)))
}

/// A session of the own account.
#[derive(Serialize, ToSchema)]
#[schema(as = OwnSession)]
struct SessionOut {
    #[schema(value_type = Uuid)]
    id: SessionId,
    created_at: DateTime<Utc>,
    /// When it was refreshed last.
    last_used_at: DateTime<Utc>,
    /// When it ends unless it is refreshed.
    expires_at: DateTime<Utc>,
    ip_address: Option<String>,
    user_agent: Option<String>,
    /// Whether this request is of it.
    is_current: bool,
}

/// What was ended.
#[derive(Serialize, ToSchema)]
#[schema(as = RevokedSessions)]
struct RevokedOut {
    message: &'static str,
    sessions_revoked: u64,
}

/// List the own sessions
///
/// Those that hold, newest first. The token of the next page is in the header `X-Continuation-Token`.
#[utoipa::path(
    get, path = "/auth/sessions", tag = TAG, operation_id = "list_sessions", params(PageIn),
    responses(
        (status = 200, body = Vec<SessionOut>),
        (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad parameters", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn list(State(state): State<ApiState>, me: SignedIn, Query(page): Query<PageIn>) -> Result<Response> {
    let (limit, before) = page.resolve(DEFAULT_LIMIT)?;
    let permit = me.permit::<UseAccount>()?;
    let found = state.auth.list_sessions(&permit, before.map(SessionId::from_uuid), limit).await?;
    let next = found.sessions.last().filter(|_| found.more).map(|session| encode_token(session.id.as_uuid()));
    let sessions: Vec<SessionOut> = found
        .sessions
        .into_iter()
        .map(|session| SessionOut {
            is_current: me.caller.session_id == Some(session.id),
            id: session.id,
            created_at: session.created_at,
            last_used_at: session.last_used_at,
            expires_at: session.expires_at,
            ip_address: session.ip_address,
            user_agent: session.user_agent,
        })
        .collect();
    let mut response = Json(sessions).into_response();
    if let Some(value) = next.and_then(|token| HeaderValue::from_str(&token).ok()) {
        response.headers_mut().insert("x-continuation-token", value);
    }
    Ok(response)
}

/// End an own session
///
/// Its tokens hold no longer, on any replica, within a second.
#[utoipa::path(
    delete, path = "/auth/sessions/{id}", tag = TAG, operation_id = "end_session", params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "it has ended"),
        (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "there is none of this id among the own ones", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "no id", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn end(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(id): Path<SessionId>,
) -> Result<StatusCode> {
    state.auth.end_session(&me.permit::<UseAccount>()?, &me.caller, id, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// End all own sessions
///
/// This one, too.
#[utoipa::path(
    post, path = "/auth/revoke-all", tag = TAG, operation_id = "end_sessions",
    responses(
        (status = 200, body = RevokedOut),
        (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn end_all(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
) -> Result<Response> {
    let sessions_revoked = state.auth.end_sessions(&me.permit::<UseAccount>()?, &me.caller, &client).await?;
    let body = RevokedOut { message: "all sessions have ended", sessions_revoked };
    let mut response = Json(body).into_response();
    cookies::clear(response.headers_mut(), &state.settings);
    Ok(response)
}
