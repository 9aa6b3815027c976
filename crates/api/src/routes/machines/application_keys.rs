//! Keys of API clients: `/api/applications/{id}/keys`.

use super::{KeyOut, TAG, made};
use crate::{
    access::allowed,
    extract::{ClientInfo, Json, OptionalJson, Path, Paths, SignedIn},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{extract::State, http::StatusCode, response::Response};
use bifrost_app::machines::NewKey;
use bifrost_domain::{
    ids::{ApplicationId, KeyId},
    policy::actions::{ReadApplications, WriteApplications},
};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(allowed::<ReadApplications>(routes!(list)))
        .routes(allowed::<WriteApplications>(routes!(create)))
        .routes(allowed::<WriteApplications>(routes!(revoke)))
}

/// A new key.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = KeyIn)]
pub(super) struct KeyIn {
    /// What people call it.
    #[schema(example = "server 2", min_length = 1, max_length = 100)]
    name: Option<String>,
    /// It does not hold from then on; at most ten years ahead. Without it the key holds until it is revoked.
    expires_at: Option<DateTime<Utc>>,
}

impl From<KeyIn> for NewKey {
    fn from(input: KeyIn) -> Self {
        Self { name: input.name, expires_at: input.expires_at }
    }
}

/// A new key with its text.
#[derive(Serialize, ToSchema)]
#[schema(as = MadeKey)]
struct MadeKeyOut {
    /// The text: it is shown this once, and left out when the request is sent again with its `Idempotency-Key`.
    /// Send it as `Authorization: Bearer …` or `X-API-Key: …`.
    #[schema(example = "bfak_Xq3vT0aBJ1mZ8sWk2cNf5hRy7uEo4iPdLg6xQvKtYbM", required = false)]
    key: String,
    #[serde(flatten)]
    kept: KeyOut,
}

/// List an application's keys
///
/// Oldest first, at most ten.
#[utoipa::path(
    get, path = "/api/applications/{id}/keys", tag = TAG, operation_id = "list_application_keys", params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = Vec<KeyOut>),
        (status = 403, description = "not allowed", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such application", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(state): State<ApiState>,
    me: SignedIn,
    Path(id): Path<ApplicationId>,
) -> Result<Json<Vec<KeyOut>>> {
    let permit = me.permit()?;
    let found = state.machines.list_application_keys(&permit, id).await?;
    Ok(Json(found.into_iter().map(KeyOut::from).collect()))
}

/// Make a key of an application
///
/// Beside those that it has, so that one can be replaced without a pause. The maker has to have every scope of the application.
#[utoipa::path(
    post, path = "/api/applications/{id}/keys", tag = TAG, operation_id = "create_application_key", params(("id" = Uuid, Path)),
    request_body(content = Option<KeyIn>, content_type = "application/json"),
    responses(
        (status = 201, body = MadeKeyOut),
        (status = 403, description = "not allowed, or the application has more than the caller", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such application", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "it has ten keys", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn create(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(id): Path<ApplicationId>,
    OptionalJson(input): OptionalJson<KeyIn>,
) -> Result<Response> {
    let permit = me.permit()?;
    let new = input.unwrap_or_default().into();
    let one = state.machines.create_application_key(&permit, id, new, &client).await?;
    made(MadeKeyOut { key: one.text.expose_secret().to_owned(), kept: one.kept.into() })
}

/// Revoke a key of an application
///
/// It is refused on every replica within a second.
#[utoipa::path(
    delete, path = "/api/applications/{id}/keys/{key_id}", tag = TAG, operation_id = "revoke_application_key",
    params(("id" = Uuid, Path), ("key_id" = Uuid, Path)),
    responses(
        (status = 204),
        (status = 403, description = "not allowed", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such key", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn revoke(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Paths(id, key): Paths<ApplicationId, KeyId>,
) -> Result<StatusCode> {
    let permit = me.permit()?;
    state.machines.delete_application_key(&permit, id, key, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}
