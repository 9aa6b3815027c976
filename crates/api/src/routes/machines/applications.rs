//! API clients: `/api/applications`.

use super::{DEFAULT_LIMIT, TAG};
use crate::{
    access::allowed,
    extract::{ClientInfo, Json, PageIn, Patch, Path, Query, SignedIn, ValidJson, array},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{extract::State, http::StatusCode, response::Response};
use bifrost_app::machines::{ApplicationPatch, NewApplication};
use bifrost_domain::{
    application::Application,
    ids::{ApplicationId, OrganizationId, UserId},
    policy::actions::{ReadApplications, WriteApplications},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, num::NonZeroU32};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(allowed::<ReadApplications>(routes!(list)))
        .routes(allowed::<WriteApplications>(routes!(create)))
        .routes(allowed::<ReadApplications>(routes!(get)))
        .routes(allowed::<WriteApplications>(routes!(update)))
        .routes(allowed::<WriteApplications>(routes!(delete)))
}

/// A new API client.
#[derive(Deserialize, ToSchema)]
#[schema(as = ApplicationIn)]
struct ApplicationIn {
    /// Its public name, unique everywhere: small letters, digits and single hyphens between them. A random one when it is left out.
    #[schema(example = "nightly-sync", max_length = 100)]
    app_id: Option<String>,
    #[schema(example = "Nightly synchronisation", min_length = 1, max_length = 255)]
    name: String,
    #[schema(max_length = 1000)]
    description: Option<String>,
    /// Whose it is; may be left out by whoever acts in an organization.
    #[schema(value_type = Option<Uuid>)]
    organization_id: Option<OrganizationId>,
    /// Permissions, each of them one that the maker has.
    #[serde(default)]
    #[schema(example = json!(["executions.run"]), max_items = 100)]
    scopes: Vec<String>,
    is_active: Option<bool>,
    /// Requests that it may send in a minute; as many as it likes when it is left out.
    #[schema(minimum = 1, maximum = 100_000)]
    rate_limit_per_minute: Option<u32>,
    /// Whether it may act for a member of its organization (`X-On-Behalf-Of`); administrators alone may say so.
    allow_user_assertion: Option<bool>,
}

/// What changes of an API client; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[schema(as = ApplicationPatch)]
struct ApplicationPatchIn {
    #[schema(min_length = 1, max_length = 255)]
    name: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 1000)]
    description: Patch<String>,
    /// Replaces all scopes.
    #[schema(max_items = 100)]
    scopes: Option<Vec<String>>,
    is_active: Option<bool>,
    /// `null` takes the limit away.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 100_000)]
    rate_limit_per_minute: Patch<u32>,
    allow_user_assertion: Option<bool>,
}

/// An API client.
#[derive(Serialize, ToSchema)]
#[schema(as = Application)]
struct ApplicationOut {
    #[schema(value_type = Uuid)]
    id: ApplicationId,
    #[schema(example = "nightly-sync")]
    app_id: String,
    name: String,
    description: Option<String>,
    #[schema(value_type = Uuid)]
    organization_id: OrganizationId,
    #[schema(value_type = Vec<String>)]
    scopes: BTreeSet<String>,
    is_active: bool,
    #[schema(value_type = Option<u32>)]
    rate_limit_per_minute: Option<NonZeroU32>,
    allow_user_assertion: bool,
    #[schema(value_type = Option<Uuid>)]
    created_by: Option<UserId>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Application> for ApplicationOut {
    fn from(one: Application) -> Self {
        Self {
            id: one.id,
            app_id: one.app_id,
            name: one.name,
            description: one.description,
            organization_id: one.organization_id,
            scopes: one.scopes,
            is_active: one.is_active,
            rate_limit_per_minute: one.rate_limit_per_minute,
            allow_user_assertion: one.allow_user_assertion,
            created_by: one.created_by,
            created_at: one.created_at,
            updated_at: one.updated_at,
        }
    }
}

/// List applications
///
/// Oldest first. The token of the next page is in the header `X-Continuation-Token`.
#[utoipa::path(
    get, path = "/api/applications", tag = TAG, operation_id = "list_applications", params(PageIn),
    responses(
        (status = 200, body = Vec<ApplicationOut>),
        (status = 403, description = "not allowed", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn list(State(state): State<ApiState>, me: SignedIn, Query(asked): Query<PageIn>) -> Result<Response> {
    let permit = me.permit()?;
    let (limit, after) = asked.resolve(DEFAULT_LIMIT)?;
    let after = after.map(ApplicationId::from_uuid);
    let found = state.machines.list_applications(&permit, after, limit).await?;
    Ok(array::<_, ApplicationOut>(found, |last| last.id.as_uuid()))
}

/// Make an application
///
/// An API client of an organization. It gets no key by itself: `POST /api/applications/{id}/keys`.
#[utoipa::path(
    post, path = "/api/applications", tag = TAG, operation_id = "create_application", request_body = ApplicationIn,
    responses(
        (status = 201, body = ApplicationOut),
        (status = 403, description = "not allowed, or with more than the maker has", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such organization", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "the `app_id` is taken", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn create(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    ValidJson(input): ValidJson<ApplicationIn>,
) -> Result<(StatusCode, Json<ApplicationOut>)> {
    let permit = me.permit()?;
    let new = NewApplication {
        app_id: input.app_id,
        name: input.name,
        description: input.description,
        organization_id: input.organization_id,
        scopes: input.scopes,
        is_active: input.is_active.unwrap_or(true),
        rate_limit_per_minute: input.rate_limit_per_minute,
        allow_user_assertion: input.allow_user_assertion.unwrap_or(false),
    };
    let made = state.machines.create_application(&permit, new, &client).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// See an application
#[utoipa::path(
    get, path = "/api/applications/{id}", tag = TAG, operation_id = "get_application", params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = ApplicationOut),
        (status = 403, description = "not allowed", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such application", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn get(
    State(state): State<ApiState>,
    me: SignedIn,
    Path(id): Path<ApplicationId>,
) -> Result<Json<ApplicationOut>> {
    let permit = me.permit()?;
    Ok(Json(state.machines.get_application(&permit, id).await?.into()))
}

/// Change an application
///
/// Its keys hold with what it has now, on every replica within a second.
#[utoipa::path(
    patch, path = "/api/applications/{id}", tag = TAG, operation_id = "update_application", params(("id" = Uuid, Path)),
    request_body = ApplicationPatchIn,
    responses(
        (status = 200, body = ApplicationOut),
        (status = 403, description = "not allowed, or more than the caller has", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such application", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn update(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(id): Path<ApplicationId>,
    ValidJson(input): ValidJson<ApplicationPatchIn>,
) -> Result<Json<ApplicationOut>> {
    let permit = me.permit()?;
    let patch = ApplicationPatch {
        name: input.name,
        description: input.description.into_option(),
        scopes: input.scopes,
        is_active: input.is_active,
        rate_limit_per_minute: input.rate_limit_per_minute.into_option(),
        allow_user_assertion: input.allow_user_assertion,
    };
    Ok(Json(state.machines.update_application(&permit, id, patch, &client).await?.into()))
}

/// Delete an application
///
/// With its keys.
#[utoipa::path(
    delete, path = "/api/applications/{id}", tag = TAG, operation_id = "delete_application", params(("id" = Uuid, Path)),
    responses(
        (status = 204),
        (status = 403, description = "not allowed", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such application", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn delete(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(id): Path<ApplicationId>,
) -> Result<StatusCode> {
    let permit = me.permit()?;
    state.machines.delete_application(&permit, id, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}
