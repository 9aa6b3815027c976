//! Keys of workflow endpoints: `/api/workflow-keys`.

use super::{DEFAULT_LIMIT, KeyOut, TAG, made};
use crate::{
    access::allowed,
    extract::{ClientInfo, OptionalJson, PageIn, Path, Query, SignedIn, array},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{extract::State, http::StatusCode, response::Response};
use bifrost_app::machines::{NewKey, NewWorkflowKey};
use bifrost_domain::{
    ids::{KeyId, OrganizationId},
    policy::actions::{ReadWorkflowKeys, WriteWorkflowKeys},
};
use bifrost_storage::machines::workflow_keys::WorkflowKey;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(allowed::<ReadWorkflowKeys>(routes!(list)))
        .routes(allowed::<WriteWorkflowKeys>(routes!(create)))
        .routes(allowed::<WriteWorkflowKeys>(routes!(revoke)))
}

/// A new key.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = WorkflowKeyIn)]
struct WorkflowKeyIn {
    /// The workflow whose endpoint it opens; every one when it is left out.
    #[schema(example = "onboard_user", max_length = 255)]
    workflow_name: Option<String>,
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    /// It does not hold from then on; at most ten years ahead. Without it the key holds until it is revoked.
    expires_at: Option<DateTime<Utc>>,
}

/// A key of workflow endpoints.
#[derive(Serialize, ToSchema)]
#[schema(as = WorkflowKey)]
struct WorkflowKeyOut {
    #[serde(flatten)]
    key: KeyOut,
    /// The workflow whose endpoint it opens; none: every one.
    workflow_name: Option<String>,
    /// Whose it is; none is GLOBAL.
    #[schema(value_type = Option<Uuid>)]
    organization_id: Option<OrganizationId>,
}

/// A new key with its text.
#[derive(Serialize, ToSchema)]
#[schema(as = MadeWorkflowKey)]
struct MadeWorkflowKeyOut {
    /// The text: it is shown this once, and left out when the request is sent again with its `Idempotency-Key`.
    /// Send it as `X-Bifrost-Key: …`.
    #[schema(example = "bfwk_Xq3vT0aBJ1mZ8sWk2cNf5hRy7uEo4iPdLg6xQvKtYbM", required = false)]
    key: String,
    #[serde(flatten)]
    kept: WorkflowKeyOut,
}

impl From<WorkflowKey> for WorkflowKeyOut {
    fn from(one: WorkflowKey) -> Self {
        Self { key: one.key.into(), workflow_name: one.workflow_name, organization_id: one.organization_id }
    }
}

/// List keys of workflow endpoints
///
/// Oldest first. The token of the next page is in the header `X-Continuation-Token`.
#[utoipa::path(
    get, path = "/api/workflow-keys", tag = TAG, operation_id = "list_workflow_keys", params(PageIn),
    responses(
        (status = 200, body = Vec<WorkflowKeyOut>),
        (status = 403, description = "not allowed", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn list(State(state): State<ApiState>, me: SignedIn, Query(asked): Query<PageIn>) -> Result<Response> {
    let permit = me.permit()?;
    let (limit, after) = asked.resolve(DEFAULT_LIMIT)?;
    let found = state.machines.list_workflow_keys(&permit, after.map(KeyId::from_uuid), limit).await?;
    Ok(array::<_, WorkflowKeyOut>(found, |last| last.key.id.as_uuid()))
}

/// Make a key of workflow endpoints
///
/// For one workflow or for every one, of the organization that the caller acts in.
#[utoipa::path(
    post, path = "/api/workflow-keys", tag = TAG, operation_id = "create_workflow_key",
    request_body(content = Option<WorkflowKeyIn>, content_type = "application/json"),
    responses(
        (status = 201, body = MadeWorkflowKeyOut),
        (status = 403, description = "not allowed", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "the organization that the caller acted in is gone", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn create(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    OptionalJson(input): OptionalJson<WorkflowKeyIn>,
) -> Result<Response> {
    let permit = me.permit()?;
    let input = input.unwrap_or_default();
    let new = NewWorkflowKey {
        workflow_name: input.workflow_name,
        key: NewKey { name: input.name, expires_at: input.expires_at },
    };
    let one = state.machines.create_workflow_key(&permit, new, &client).await?;
    made(MadeWorkflowKeyOut { key: one.text.expose_secret().to_owned(), kept: one.kept.into() })
}

/// Revoke a key of workflow endpoints
#[utoipa::path(
    delete, path = "/api/workflow-keys/{id}", tag = TAG, operation_id = "revoke_workflow_key", params(("id" = Uuid, Path)),
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
    Path(id): Path<KeyId>,
) -> Result<StatusCode> {
    let permit = me.permit()?;
    state.machines.delete_workflow_key(&permit, id, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}
