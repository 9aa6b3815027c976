//! The own profile and password: `/api/profile`.

use super::{TAG, factor_manage::is_wrong_password};
use crate::{
    access::allowed,
    extract::{ClientInfo, Json, Patch, SignedIn, ValidJson},
    problem::{ProblemOut, Result},
    routes::auth::{TokensOut, with_cookies},
    state::ApiState,
};
use axum::{extract::State, response::Response};
use bifrost_domain::{
    ids::{OrganizationId, UserId},
    policy::actions::UseAccount,
    user::{User, UserType},
};
use bifrost_storage::accounts::AccountFacts;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(allowed::<UseAccount>(routes!(get)))
        .routes(allowed::<UseAccount>(routes!(update)))
        .routes(allowed::<UseAccount>(routes!(change_password)))
}

/// The own profile.
#[derive(Serialize, ToSchema)]
#[schema(as = Profile)]
pub(super) struct ProfileOut {
    #[schema(value_type = Uuid)]
    id: UserId,
    email: String,
    name: Option<String>,
    #[schema(value_type = String, example = "ORG")]
    user_type: UserType,
    is_superuser: bool,
    is_verified: bool,
    /// The home organization.
    #[schema(value_type = Option<Uuid>)]
    organization_id: Option<OrganizationId>,
    organization_name: Option<String>,
    mfa_enabled: bool,
    /// Whether a password can be changed; one who signs in elsewhere may have none.
    has_password: bool,
    has_avatar: bool,
    /// Another picture has another address.
    #[schema(example = "/api/profile/avatar?v=5feceb66ffc86f38d952786c6d696c79")]
    avatar_url: Option<String>,
    last_login: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<(User, AccountFacts)> for ProfileOut {
    fn from((user, facts): (User, AccountFacts)) -> Self {
        Self {
            id: user.id,
            email: user.email,
            name: user.name,
            user_type: user.user_type,
            is_superuser: user.is_superuser,
            is_verified: user.is_verified,
            organization_id: user.organization_id,
            organization_name: facts.organization_name,
            mfa_enabled: facts.mfa_enabled,
            has_password: facts.has_password,
            has_avatar: facts.avatar_etag.is_some(),
            avatar_url: facts.avatar_etag.map(|tag| format!("/api/profile/avatar?v={tag}")),
            last_login: user.last_login,
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}

/// A change of the own profile: what is not named stays.
#[derive(Deserialize, ToSchema)]
#[schema(as = ProfilePatch)]
struct ProfilePatchIn {
    /// `null` takes it away.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 255, example = "Ann")]
    name: Patch<String>,
}

/// The current password, and the one from now on.
#[derive(Deserialize, ToSchema)]
#[schema(as = PasswordChangeIn)]
struct PasswordIn {
    #[schema(format = Password, max_length = 1024)]
    current_password: String,
    #[schema(format = Password, min_length = 8, max_length = 256)]
    new_password: String,
}

/// See the own profile
#[utoipa::path(get, path = "/api/profile", tag = TAG, operation_id = "get_profile", responses(
    (status = 200, body = ProfileOut),
    (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
))]
async fn get(State(state): State<ApiState>, me: SignedIn) -> Result<Json<ProfileOut>> {
    Ok(Json(state.accounts.get(&me.permit::<UseAccount>()?).await?.into()))
}

/// Change the own profile
#[utoipa::path(
    patch, path = "/api/profile", tag = TAG, operation_id = "update_profile", request_body = ProfilePatchIn,
    responses(
        (status = 200, body = ProfileOut),
        (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn update(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    ValidJson(input): ValidJson<ProfilePatchIn>,
) -> Result<Json<ProfileOut>> {
    let permit = me.permit::<UseAccount>()?;
    if let Some(name) = input.name.into_option() {
        state.accounts.rename(&permit, name.as_deref(), &client).await?;
    }
    Ok(Json(state.accounts.get(&permit).await?.into()))
}

/// Change the own password
///
/// All other sessions end and no device is trusted any more; this session goes on with the pair that is answered.
#[utoipa::path(
    post, path = "/api/profile/password", tag = TAG, operation_id = "change_password", request_body = PasswordIn,
    responses(
        (status = 200, body = TokensOut),
        (status = 400, description = "the current password is not right", body = ProblemOut, content_type = "application/problem+json"),
        (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "it was changed meanwhile", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "the new password is not good enough", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many attempts", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn change_password(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    ValidJson(input): ValidJson<PasswordIn>,
) -> Result<Response> {
    state.count(&state.limits.login, &client).await?;
    let permit = me.permit::<UseAccount>()?;
    let (current, new) = (input.current_password.into(), input.new_password.into());
    let changing = state.auth.change_password(&permit, &me.user, current, new, &client);
    let pair = state.failing(&me.user, &client, changing, is_wrong_password).await?;
    Ok(with_cookies(&state, &pair))
}
