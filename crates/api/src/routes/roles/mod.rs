//! Roles: `/api/roles`; who has them and which forms they open is in `holders.rs`.

mod holders;

use crate::{
    access::allowed,
    extract::{ClientInfo, Json, PageIn, Patch, Path, Query, SignedIn, ValidJson, array},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{extract::State, http::StatusCode, response::Response};
use bifrost_app::roles::{NewRole, RolePatch};
use bifrost_domain::{
    ids::{OrganizationId, RoleId, UserId},
    policy::actions::{ReadRoles, WriteRoles},
    scope::Scope,
};
use bifrost_storage::roles::Role;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

const TAG: &str = "roles";
/// The lists are whole for clients of before.
const DEFAULT_LIMIT: u32 = 1000;

/// The routes of this folder.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(allowed::<ReadRoles>(routes!(list)))
        .routes(allowed::<WriteRoles>(routes!(create)))
        .routes(allowed::<ReadRoles>(routes!(get)))
        .routes(allowed::<WriteRoles>(routes!(update)))
        .routes(allowed::<WriteRoles>(routes!(replace)))
        .routes(allowed::<WriteRoles>(routes!(delete)))
        .merge(holders::routes())
}

/// Which roles.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RolesIn {
    /// For platform admins: `GLOBAL` or an organization.
    #[param(value_type = Option<String>)]
    scope: Option<Scope>,
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Where the page before ended, as it said.
    continuation_token: Option<String>,
}

/// A new role.
#[derive(Deserialize, ToSchema)]
#[schema(as = RoleIn)]
struct RoleIn {
    #[schema(min_length = 1, max_length = 100, example = "operators")]
    name: String,
    #[schema(max_length = 1000)]
    description: Option<String>,
    /// Where it holds: the organization that the caller acts in. One without an organization is the platform's, for platform admins.
    #[schema(value_type = Option<Uuid>)]
    organization_id: Option<OrganizationId>,
    /// `<resource>.<verb>` each, at most 200; none that the caller does not have.
    #[serde(default)]
    #[schema(example = json!(["executions.run"]))]
    permissions: Option<Vec<String>>,
}

/// A change of a role: what is not named stays.
#[derive(Deserialize, ToSchema)]
#[schema(as = RolePatch)]
struct RolePatchIn {
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    /// `null` takes it away.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 1000)]
    description: Patch<String>,
    /// All permissions from now on.
    permissions: Option<Vec<String>>,
    /// Whether it gives anything.
    is_active: Option<bool>,
}

/// A role.
#[derive(Serialize, ToSchema)]
#[schema(as = Role)]
struct RoleOut {
    #[schema(value_type = Uuid)]
    id: RoleId,
    name: String,
    description: Option<String>,
    #[schema(value_type = Option<Uuid>)]
    organization_id: Option<OrganizationId>,
    permissions: BTreeSet<String>,
    is_active: bool,
    #[schema(value_type = Option<Uuid>)]
    created_by: Option<UserId>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Role> for RoleOut {
    fn from(role: Role) -> Self {
        Self {
            id: role.id,
            name: role.name,
            description: role.description,
            organization_id: role.organization_id,
            permissions: role.permissions,
            is_active: role.is_active,
            created_by: role.created_by,
            created_at: role.created_at,
            updated_at: role.updated_at,
        }
    }
}

/// List roles
///
/// Oldest first: those of the organization that the caller acts in; a platform admin without one sees all. The token of the next page is in
/// the header `X-Continuation-Token`.
#[utoipa::path(
    get, path = "/api/roles", tag = TAG, params(RolesIn),
    responses(
        (status = 200, body = Vec<RoleOut>),
        (status = 403, description = "may not see roles", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn list(State(state): State<ApiState>, me: SignedIn, Query(asked): Query<RolesIn>) -> Result<Response> {
    let permit = me.permit()?;
    let page = PageIn { limit: asked.limit, continuation_token: asked.continuation_token };
    let (limit, after) = page.resolve(DEFAULT_LIMIT)?;
    let found = state.roles.list(&permit, asked.scope, after.map(RoleId::from_uuid), limit).await?;
    Ok(array::<_, RoleOut>(found, |last| last.id.as_uuid()))
}

/// Make a role
#[utoipa::path(
    post, path = "/api/roles", tag = TAG, request_body = RoleIn,
    responses(
        (status = 201, body = RoleOut),
        (status = 403, description = "may not give these permissions", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such organization", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "the name is taken", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn create(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    ValidJson(input): ValidJson<RoleIn>,
) -> Result<(StatusCode, Json<RoleOut>)> {
    let new = NewRole {
        name: input.name,
        description: input.description,
        organization_id: input.organization_id,
        permissions: input.permissions.unwrap_or_default(),
    };
    Ok((StatusCode::CREATED, Json(state.roles.create(&me.permit()?, new, &client).await?.into())))
}

/// See a role
#[utoipa::path(
    get, path = "/api/roles/{id}", tag = TAG, params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = RoleOut),
        (status = 403, description = "may not see roles", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such role", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn get(State(state): State<ApiState>, me: SignedIn, Path(id): Path<RoleId>) -> Result<Json<RoleOut>> {
    Ok(Json(state.roles.get(&me.permit()?, id).await?.into()))
}

/// Change a role
///
/// Who has it has what it permits then, within a second.
#[utoipa::path(
    patch, path = "/api/roles/{id}", tag = TAG, params(("id" = Uuid, Path)), request_body = RolePatchIn,
    responses(
        (status = 200, body = RoleOut),
        (status = 403, description = "may not give these permissions", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such role", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "the name is taken", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn update(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(id): Path<RoleId>,
    ValidJson(input): ValidJson<RolePatchIn>,
) -> Result<Json<RoleOut>> {
    change(&state, &client, &me, id, input).await
}

/// Change a role (as `PATCH`)
///
/// For clients of before: what is not named stays here, too.
#[utoipa::path(
    put, path = "/api/roles/{id}", tag = TAG, params(("id" = Uuid, Path)), request_body = RolePatchIn,
    responses(
        (status = 200, body = RoleOut),
        (status = 403, description = "may not give these permissions", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such role", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "the name is taken", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn replace(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(id): Path<RoleId>,
    ValidJson(input): ValidJson<RolePatchIn>,
) -> Result<Json<RoleOut>> {
    change(&state, &client, &me, id, input).await
}

async fn change(
    state: &ApiState,
    client: &bifrost_app::auth::Client,
    me: &SignedIn,
    id: RoleId,
    input: RolePatchIn,
) -> Result<Json<RoleOut>> {
    let patch = RolePatch {
        name: input.name,
        description: input.description.into_option(),
        permissions: input.permissions,
        is_active: input.is_active,
    };
    Ok(Json(state.roles.update(&me.permit()?, id, patch, client).await?.into()))
}

/// Delete a role
#[utoipa::path(
    delete, path = "/api/roles/{id}", tag = TAG, params(("id" = Uuid, Path)),
    responses(
        (status = 204),
        (status = 403, description = "may not change roles", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such role", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn delete(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(id): Path<RoleId>,
) -> Result<StatusCode> {
    state.roles.delete(&me.permit()?, id, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}
