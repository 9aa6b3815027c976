//! Who has a role, and which forms it opens.

use super::{DEFAULT_LIMIT, TAG};
use crate::{
    access::allowed,
    extract::{ClientInfo, PageIn, Path, Paths, Query, SignedIn, ValidJson, page},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{extract::State, http::StatusCode, response::Response};
use bifrost_domain::{
    ids::{FormId, RoleId, UserId},
    policy::actions::{ReadRoles, WriteRoles},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(allowed::<ReadRoles>(routes!(list_users)))
        .routes(allowed::<WriteRoles>(routes!(give)))
        .routes(allowed::<WriteRoles>(routes!(take)))
        .routes(allowed::<ReadRoles>(routes!(list_forms)))
        .routes(allowed::<WriteRoles>(routes!(open)))
        .routes(allowed::<WriteRoles>(routes!(close)))
}

/// People who get a role.
#[derive(Deserialize, ToSchema)]
#[schema(as = RoleUsersIn)]
struct RoleUsersIn {
    /// 1 to 1000 members of the role's organization.
    #[schema(value_type = Vec<Uuid>, min_items = 1, max_items = 1000)]
    user_ids: Vec<UserId>,
}

/// People who have a role.
#[derive(Serialize, ToSchema)]
#[schema(as = RoleUsers)]
struct RoleUsersOut {
    #[schema(value_type = Vec<Uuid>)]
    user_ids: Vec<UserId>,
}

/// Forms that a role is to open.
#[derive(Deserialize, ToSchema)]
#[schema(as = RoleFormsIn)]
struct RoleFormsIn {
    /// 1 to 1000 forms of the role's organization.
    #[schema(value_type = Vec<Uuid>, min_items = 1, max_items = 1000)]
    form_ids: Vec<FormId>,
}

/// Forms that a role opens.
#[derive(Serialize, ToSchema)]
#[schema(as = RoleForms)]
struct RoleFormsOut {
    #[schema(value_type = Vec<Uuid>)]
    form_ids: Vec<FormId>,
}

/// See who has a role
///
/// The token of the next page is in the header `X-Continuation-Token`.
#[utoipa::path(
    get, path = "/api/roles/{id}/users", tag = TAG, params(("id" = Uuid, Path), PageIn),
    responses(
        (status = 200, body = RoleUsersOut),
        (status = 403, description = "may not see roles", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such role", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn list_users(
    State(state): State<ApiState>,
    me: SignedIn,
    Path(id): Path<RoleId>,
    Query(asked): Query<PageIn>,
) -> Result<Response> {
    let (limit, after) = asked.resolve(DEFAULT_LIMIT)?;
    let found = state.roles.users_of(&me.permit()?, id, after.map(UserId::from_uuid), limit).await?;
    Ok(page(found, |last| last.as_uuid(), |user_ids| RoleUsersOut { user_ids }))
}

/// Give a role
///
/// To members of its organization; who has it keeps it. Nobody gives a role that permits what he may not do himself.
#[utoipa::path(
    post, path = "/api/roles/{id}/users", tag = TAG, params(("id" = Uuid, Path)), request_body = RoleUsersIn,
    responses(
        (status = 204),
        (status = 403, description = "may not give this role", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such role, or no such member", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn give(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(id): Path<RoleId>,
    ValidJson(input): ValidJson<RoleUsersIn>,
) -> Result<StatusCode> {
    state.roles.give(&me.permit()?, id, input.user_ids, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a role
#[utoipa::path(
    delete, path = "/api/roles/{id}/users/{user_id}", tag = TAG, params(("id" = Uuid, Path), ("user_id" = Uuid, Path)),
    responses(
        (status = 204),
        (status = 403, description = "may not change roles", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such role, or the user does not have it", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn take(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Paths(id, user): Paths<RoleId, UserId>,
) -> Result<StatusCode> {
    state.roles.take(&me.permit()?, id, user, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// See the forms that a role opens
///
/// The token of the next page is in the header `X-Continuation-Token`.
#[utoipa::path(
    get, path = "/api/roles/{id}/forms", tag = TAG, params(("id" = Uuid, Path), PageIn),
    responses(
        (status = 200, body = RoleFormsOut),
        (status = 403, description = "may not see roles", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such role", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn list_forms(
    State(state): State<ApiState>,
    me: SignedIn,
    Path(id): Path<RoleId>,
    Query(asked): Query<PageIn>,
) -> Result<Response> {
    let (limit, after) = asked.resolve(DEFAULT_LIMIT)?;
    let found = state.roles.forms_of(&me.permit()?, id, after.map(FormId::from_uuid), limit).await?;
    Ok(page(found, |last| last.as_uuid(), |form_ids| RoleFormsOut { form_ids }))
}

/// Open forms to a role
///
/// Those of its organization; a platform admin may add global ones.
#[utoipa::path(
    post, path = "/api/roles/{id}/forms", tag = TAG, params(("id" = Uuid, Path)), request_body = RoleFormsIn,
    responses(
        (status = 204),
        (status = 403, description = "may not change roles", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such role, or no such form", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn open(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(id): Path<RoleId>,
    ValidJson(input): ValidJson<RoleFormsIn>,
) -> Result<StatusCode> {
    state.roles.open(&me.permit()?, id, input.form_ids, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Close a form to a role
#[utoipa::path(
    delete, path = "/api/roles/{id}/forms/{form_id}", tag = TAG, params(("id" = Uuid, Path), ("form_id" = Uuid, Path)),
    responses(
        (status = 204),
        (status = 403, description = "may not change roles", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such role, or it does not open the form", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn close(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Paths(id, form): Paths<RoleId, FormId>,
) -> Result<StatusCode> {
    state.roles.close(&me.permit()?, id, form, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}
