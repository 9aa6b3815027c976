//! Keys and those that show them: `/api/applications`, `/api/sdk/keys`, `/api/workflow-keys`.

mod application_keys;
mod applications;
mod sdk_keys;
mod workflow_keys;

use crate::{extract::Json, idempotency::Repeat, problem::Result, state::ApiState};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bifrost_domain::{
    error::Error,
    ids::{KeyId, UserId},
};
use bifrost_storage::machines::Key;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

const TAG: &str = "machines";
const DEFAULT_LIMIT: u32 = 100;

/// The routes of this folder.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .merge(applications::routes())
        .merge(application_keys::routes())
        .merge(sdk_keys::routes())
        .merge(workflow_keys::routes())
}

/// What is shown of a key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
struct KeyOut {
    #[schema(value_type = Uuid)]
    id: KeyId,
    name: Option<String>,
    /// How its text begins.
    #[schema(example = "bfak_Xq3vT0aB")]
    prefix: String,
    #[schema(value_type = Option<Uuid>)]
    created_by: Option<UserId>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    /// To the minute.
    last_used_at: Option<DateTime<Utc>>,
}

impl From<Key> for KeyOut {
    fn from(key: Key) -> Self {
        Self {
            id: key.id,
            name: key.name,
            prefix: key.prefix,
            created_by: key.created_by,
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
        }
    }
}

/// The answer that shows a key's text, which no cache may keep. Sent again, the request is answered without the text.
fn made(body: impl Serialize) -> Result<Response> {
    let mut shown = serde_json::to_value(&body).map_err(Error::internal)?;
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("key");
    }
    response.extensions_mut().insert(Repeat(shown.to_string()));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
