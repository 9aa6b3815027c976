//! Organizations: `/api/organizations`.

use crate::{
    access::allowed,
    extract::{ClientInfo, Json, PageIn, Patch, Path, Query, SignedIn, ValidJson, array},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{extract::State, http::StatusCode, response::Response};
use bifrost_app::organizations::NewOrganization;
use bifrost_domain::{
    ids::{OrganizationId, UserId},
    organization::{Organization, OrganizationKind, OrganizationPatch},
    policy::actions::{ReadOrganizations, WriteOrganizations},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

const TAG: &str = "organizations";
/// The list is a bare array and clients of before expect all of it.
const DEFAULT_LIMIT: u32 = 1000;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(allowed::<ReadOrganizations>(routes!(list)))
        .routes(allowed::<WriteOrganizations>(routes!(create)))
        .routes(allowed::<ReadOrganizations>(routes!(get)))
        .routes(allowed::<WriteOrganizations>(routes!(update)))
        .routes(allowed::<WriteOrganizations>(routes!(delete)))
}

/// A new organization.
#[derive(Deserialize, ToSchema)]
#[schema(as = OrganizationIn)]
struct OrganizationIn {
    #[schema(min_length = 1, max_length = 255, example = "Acme")]
    name: String,
    /// People with addresses under it may register.
    #[schema(example = "acme.example", max_length = 253)]
    domain: Option<String>,
    /// Active unless it says otherwise.
    is_active: Option<bool>,
    /// `provider`, `group` or `company` (the default).
    #[schema(value_type = Option<String>, example = "company")]
    kind: Option<OrganizationKind>,
    /// The provider or group that it belongs to. The tree has at most three levels.
    #[schema(value_type = Option<Uuid>)]
    parent_id: Option<OrganizationId>,
    /// A name of the IANA time zone database; `UTC` unless it says otherwise.
    #[schema(example = "Europe/Oslo", max_length = 64)]
    time_zone: Option<String>,
    /// Free settings, at most 64 KiB.
    #[schema(value_type = Option<Object>)]
    settings: Option<Map<String, Value>>,
}

/// A change of an organization: what is not named stays.
#[derive(Deserialize, ToSchema)]
#[schema(as = OrganizationPatch)]
struct OrganizationPatchIn {
    #[schema(min_length = 1, max_length = 255)]
    name: Option<String>,
    /// `null` takes it away.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 253)]
    domain: Patch<String>,
    is_active: Option<bool>,
    /// `provider`, `group` or `company`.
    #[schema(value_type = Option<String>)]
    kind: Option<OrganizationKind>,
    /// `null` puts it at the root.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    parent_id: Patch<OrganizationId>,
    #[schema(max_length = 64)]
    time_zone: Option<String>,
    /// Replaces the settings as a whole.
    #[schema(value_type = Option<Object>)]
    settings: Option<Map<String, Value>>,
}

/// An organization.
#[derive(Serialize, ToSchema)]
#[schema(as = Organization)]
struct OrganizationOut {
    #[schema(value_type = Uuid)]
    id: OrganizationId,
    name: String,
    domain: Option<String>,
    is_active: bool,
    /// `provider`, `group` or `company`.
    #[schema(value_type = String, example = "company")]
    kind: OrganizationKind,
    #[schema(value_type = Option<Uuid>)]
    parent_id: Option<OrganizationId>,
    /// A name of the IANA time zone database.
    #[schema(example = "Europe/Oslo")]
    time_zone: String,
    #[schema(value_type = Object)]
    settings: Value,
    #[schema(value_type = Option<Uuid>)]
    created_by: Option<UserId>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Organization> for OrganizationOut {
    fn from(organization: Organization) -> Self {
        Self {
            id: organization.id,
            name: organization.name,
            domain: organization.domain,
            is_active: organization.is_active,
            kind: organization.kind,
            parent_id: organization.parent_id,
            time_zone: organization.time_zone,
            settings: organization.settings,
            created_by: organization.created_by,
            created_at: organization.created_at,
            updated_at: organization.updated_at,
        }
    }
}

/// List organizations
///
/// Oldest first. The token of the next page is in the header `X-Continuation-Token`.
#[utoipa::path(
    get, path = "/api/organizations", tag = TAG, params(PageIn),
    responses(
        (status = 200, body = Vec<OrganizationOut>),
        (status = 403, description = "not a platform admin", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn list(State(state): State<ApiState>, me: SignedIn, Query(page): Query<PageIn>) -> Result<Response> {
    let permit = me.permit()?;
    let (limit, after) = page.resolve(DEFAULT_LIMIT)?;
    let found = state.organizations.list(&permit, after.map(OrganizationId::from_uuid), limit).await?;
    Ok(array::<_, OrganizationOut>(found, |last| last.id.as_uuid()))
}

/// Make an organization
#[utoipa::path(
    post, path = "/api/organizations", tag = TAG, request_body = OrganizationIn,
    responses(
        (status = 201, body = OrganizationOut),
        (status = 403, description = "not a platform admin", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "the domain is taken", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn create(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    ValidJson(input): ValidJson<OrganizationIn>,
) -> Result<(StatusCode, Json<OrganizationOut>)> {
    let permit = me.permit()?;
    let new = NewOrganization {
        name: input.name,
        domain: input.domain,
        is_active: input.is_active.unwrap_or(true),
        kind: input.kind.unwrap_or(OrganizationKind::Company),
        parent_id: input.parent_id,
        time_zone: input.time_zone.unwrap_or_else(|| "UTC".to_owned()),
        settings: Value::Object(input.settings.unwrap_or_default()),
    };
    let made = state.organizations.create(&permit, &me.caller, new, &client).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// See an organization
#[utoipa::path(
    get, path = "/api/organizations/{id}", tag = TAG, params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = OrganizationOut),
        (status = 403, description = "not a platform admin", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such organization", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn get(
    State(state): State<ApiState>,
    me: SignedIn,
    Path(id): Path<OrganizationId>,
) -> Result<Json<OrganizationOut>> {
    let permit = me.permit()?;
    Ok(Json(state.organizations.get(&permit, id).await?.into()))
}

/// Change an organization
#[utoipa::path(
    patch, path = "/api/organizations/{id}", tag = TAG, params(("id" = Uuid, Path)), request_body = OrganizationPatchIn,
    responses(
        (status = 200, body = OrganizationOut),
        (status = 403, description = "not a platform admin", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such organization", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "the domain is taken", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn update(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(id): Path<OrganizationId>,
    ValidJson(input): ValidJson<OrganizationPatchIn>,
) -> Result<Json<OrganizationOut>> {
    let permit = me.permit()?;
    let patch = OrganizationPatch {
        name: input.name,
        domain: input.domain.into_option(),
        is_active: input.is_active,
        kind: input.kind,
        parent_id: input.parent_id.into_option(),
        time_zone: input.time_zone,
        settings: input.settings.map(Value::Object),
    };
    Ok(Json(state.organizations.update(&permit, &me.caller, id, patch, &client).await?.into()))
}

/// Delete an organization
///
/// Refused while people or data belong to it.
#[utoipa::path(
    delete, path = "/api/organizations/{id}", tag = TAG, params(("id" = Uuid, Path)),
    responses(
        (status = 204),
        (status = 403, description = "not a platform admin", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such organization", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "something belongs to it", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn delete(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(id): Path<OrganizationId>,
) -> Result<StatusCode> {
    let permit = me.permit()?;
    state.organizations.delete(&permit, &me.caller, id, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}
