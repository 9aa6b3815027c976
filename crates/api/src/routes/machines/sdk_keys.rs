//! Keys of people: `/api/sdk/keys`.

use super::{TAG, made};
use crate::{
    access::allowed,
    extract::{ClientInfo, Json, OptionalJson, Path, SignedIn},
    problem::{ProblemOut, Result},
    routes::machines::application_keys::KeyIn,
    state::ApiState,
};
use axum::{extract::State, http::StatusCode, response::Response};
use bifrost_domain::{
    ids::{KeyId, OrganizationId},
    policy::actions::UseAccount,
};
use bifrost_storage::machines::sdk_keys::SdkKey;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(allowed::<UseAccount>(routes!(list)))
        .routes(allowed::<UseAccount>(routes!(create)))
        .routes(allowed::<UseAccount>(routes!(revoke)))
}

/// A key of a person.
#[derive(Serialize, ToSchema)]
#[schema(as = SdkKey)]
struct SdkKeyOut {
    #[schema(value_type = Uuid)]
    id: KeyId,
    name: Option<String>,
    /// How its text begins.
    #[schema(example = "bfsk_Xq3vT0aB")]
    prefix: String,
    /// Where it acts; none is GLOBAL.
    #[schema(value_type = Option<Uuid>)]
    organization_id: Option<OrganizationId>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    /// To the minute.
    last_used_at: Option<DateTime<Utc>>,
}

/// A new key with its text.
#[derive(Serialize, ToSchema)]
#[schema(as = MadeSdkKey)]
struct MadeSdkKeyOut {
    /// The text: it is shown this once, and left out when the request is sent again with its `Idempotency-Key`.
    /// Send it as `Authorization: Bearer …`.
    #[schema(example = "bfsk_Xq3vT0aBJ1mZ8sWk2cNf5hRy7uEo4iPdLg6xQvKtYbM", required = false)]
    key: String,
    #[serde(flatten)]
    kept: SdkKeyOut,
}

impl From<SdkKey> for SdkKeyOut {
    fn from(one: SdkKey) -> Self {
        Self {
            id: one.key.id,
            name: one.key.name,
            prefix: one.key.prefix,
            organization_id: one.organization_id,
            created_at: one.key.created_at,
            expires_at: one.key.expires_at,
            last_used_at: one.key.last_used_at,
        }
    }
}

/// List the own SDK keys
///
/// Oldest first, at most fifty.
#[utoipa::path(
    get, path = "/api/sdk/keys", tag = TAG, operation_id = "list_sdk_keys",
    responses((status = 200, body = Vec<SdkKeyOut>))
)]
async fn list(State(state): State<ApiState>, me: SignedIn) -> Result<Json<Vec<SdkKeyOut>>> {
    let found = state.machines.list_sdk_keys(&me.permit()?).await?;
    Ok(Json(found.into_iter().map(SdkKeyOut::from).collect()))
}

/// Make an SDK key
///
/// It acts as the caller, with the rights that he has at the time, in the organization that he acts in now. It can neither change the
/// account nor make keys. It ends with the account, and when the password is changed.
#[utoipa::path(
    post, path = "/api/sdk/keys", tag = TAG, operation_id = "create_sdk_key",
    request_body(content = Option<KeyIn>, content_type = "application/json"),
    responses(
        (status = 201, body = MadeSdkKeyOut),
        (status = 403, description = "a key makes no keys", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "the caller has fifty keys", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn create(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    OptionalJson(input): OptionalJson<KeyIn>,
) -> Result<Response> {
    let permit = me.permit()?;
    let new = input.unwrap_or_default().into();
    let one = state.machines.create_sdk_key(&permit, &me.user, new, &client).await?;
    made(MadeSdkKeyOut { key: one.text.expose_secret().to_owned(), kept: one.kept.into() })
}

/// Revoke an SDK key
///
/// It is refused on every replica within a second.
#[utoipa::path(
    delete, path = "/api/sdk/keys/{id}", tag = TAG, operation_id = "revoke_sdk_key", params(("id" = Uuid, Path)),
    responses(
        (status = 204),
        (status = 404, description = "no such key of the caller", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn revoke(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(id): Path<KeyId>,
) -> Result<StatusCode> {
    let permit = me.permit()?;
    state.machines.delete_sdk_key(&permit, id, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}
