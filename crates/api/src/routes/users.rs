//! People: `/api/users`, and ending all sessions of somebody.

use crate::{
    access::allowed,
    extract::{ClientInfo, Json, PageIn, Patch, Path, Query, SignedIn, ValidJson, array},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{extract::State, http::StatusCode, response::Response};
use bifrost_app::users::{NewUser, UserPatch};
use bifrost_domain::{
    ids::{FormId, OrganizationId, RoleId, UserId},
    policy::actions::{ReadUsers, RevokeSessions, WriteUsers},
    scope::Scope,
    user::{User, UserType},
};
use bifrost_storage::users::admin::{PeopleFilter, Person};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

const TAG: &str = "users";
/// The list is a bare array and clients of before expect all of it.
const DEFAULT_LIMIT: u32 = 1000;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(allowed::<ReadUsers>(routes!(list)))
        .routes(allowed::<WriteUsers>(routes!(create)))
        .routes(allowed::<ReadUsers>(routes!(get)))
        .routes(allowed::<WriteUsers>(routes!(update)))
        .routes(allowed::<WriteUsers>(routes!(delete)))
        .routes(allowed::<WriteUsers>(routes!(reset_factor)))
        .routes(allowed::<ReadUsers>(routes!(list_roles)))
        .routes(allowed::<ReadUsers>(routes!(list_forms)))
        .routes(allowed::<RevokeSessions>(routes!(revoke_user)))
}

/// Which people.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct UsersIn {
    /// `PLATFORM`, `ORG` or `SYSTEM`.
    #[param(value_type = Option<String>)]
    r#type: Option<UserType>,
    /// Whose home or membership is in this organization; `GLOBAL`: who has no home.
    #[serde(rename = "orgId")]
    #[param(value_type = Option<String>)]
    org_id: Option<Scope>,
    /// Address or name contains it, at most 200 characters.
    #[param(max_length = 200)]
    q: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Where the page before ended, as it said.
    continuation_token: Option<String>,
}

/// A new user.
#[derive(Deserialize, ToSchema)]
#[schema(as = UserIn)]
struct UserIn {
    #[schema(example = "ann@acme.example", max_length = 254)]
    email: String,
    #[schema(example = "Ann", max_length = 255)]
    name: Option<String>,
    /// Without one it is a stub: it waits for a password, for an identity provider that vouches for the address, or, where registration is
    /// on, for the person.
    #[schema(format = Password, min_length = 8, max_length = 256)]
    password: Option<String>,
    /// `PLATFORM` or `ORG`; `ORG` when an organization is named or acted in.
    #[schema(value_type = Option<String>, example = "ORG")]
    user_type: Option<UserType>,
    /// Home.
    #[schema(value_type = Option<Uuid>)]
    organization_id: Option<OrganizationId>,
    is_superuser: Option<bool>,
    /// Active unless it says otherwise.
    is_active: Option<bool>,
    is_verified: Option<bool>,
}

/// A change of a user: what is not named stays.
#[derive(Deserialize, ToSchema)]
#[schema(as = UserPatch)]
struct UserPatchIn {
    #[schema(max_length = 254)]
    email: Option<String>,
    /// `null` takes it away.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 255)]
    name: Patch<String>,
    /// Every session ends.
    #[schema(format = Password, min_length = 8, max_length = 256)]
    password: Option<String>,
    #[schema(value_type = Option<String>)]
    user_type: Option<UserType>,
    /// New home; the membership of the former one stays.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    organization_id: Patch<OrganizationId>,
    is_superuser: Option<bool>,
    /// `false` suspends, `true` takes back, also after a deletion; every session ends.
    is_active: Option<bool>,
    is_verified: Option<bool>,
}

/// A user.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub(super) struct UserOut {
    #[schema(value_type = Uuid)]
    id: UserId,
    email: String,
    name: Option<String>,
    is_active: bool,
    is_superuser: bool,
    is_verified: bool,
    is_registered: bool,
    mfa_enabled: bool,
    /// `PLATFORM`, `ORG` or `SYSTEM`.
    #[schema(value_type = String, example = "ORG")]
    user_type: UserType,
    #[schema(value_type = Option<Uuid>)]
    organization_id: Option<OrganizationId>,
    last_login: Option<DateTime<Utc>>,
    /// When the account is removed for good: it was deleted.
    purge_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl UserOut {
    pub(super) fn new(user: User, mfa_enabled: bool) -> Self {
        Self {
            id: user.id,
            email: user.email,
            name: user.name,
            is_active: user.is_active,
            is_superuser: user.is_superuser,
            is_verified: user.is_verified,
            is_registered: user.is_registered,
            mfa_enabled,
            user_type: user.user_type,
            organization_id: user.organization_id,
            last_login: user.last_login,
            purge_at: user.purge_at,
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}

impl From<Person> for UserOut {
    fn from(person: Person) -> Self {
        Self::new(person.user, person.mfa_enabled)
    }
}

/// Roles of a user.
#[derive(Serialize, ToSchema)]
#[schema(as = UserRoles)]
struct UserRolesOut {
    #[schema(value_type = Vec<Uuid>)]
    role_ids: Vec<RoleId>,
}

/// Forms of a user.
#[derive(Serialize, ToSchema)]
#[schema(as = UserForms)]
struct UserFormsOut {
    #[schema(value_type = String, example = "ORG")]
    user_type: UserType,
    /// An admin has all without any being listed.
    has_access_to_all_forms: bool,
    /// Those that the user's roles open.
    #[schema(value_type = Vec<Uuid>)]
    form_ids: Vec<FormId>,
}

/// Whose sessions end.
#[derive(Deserialize, ToSchema)]
#[schema(as = RevokeUserIn)]
struct RevokeUserIn {
    #[schema(value_type = Uuid)]
    user_id: UserId,
}

/// What was ended.
#[derive(Serialize, ToSchema)]
#[schema(as = RevokedUser)]
struct RevokedUserOut {
    message: &'static str,
    sessions_revoked: u64,
}

/// List users
///
/// Oldest first. A platform admin sees everybody, or with `X-Organization-Id` those of that organization; others see the members of the
/// organization that they act in. The token of the next page is in the header `X-Continuation-Token`.
#[utoipa::path(
    get, path = "/api/users", tag = TAG, params(UsersIn),
    responses(
        (status = 200, body = Vec<UserOut>),
        (status = 403, description = "may not see people", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn list(State(state): State<ApiState>, me: SignedIn, Query(asked): Query<UsersIn>) -> Result<Response> {
    let permit = me.permit()?;
    let page = PageIn { limit: asked.limit, continuation_token: asked.continuation_token };
    let (limit, after) = page.resolve(DEFAULT_LIMIT)?;
    let filter = PeopleFilter { user_type: asked.r#type, place: asked.org_id, text: asked.q };
    let found = state.users.list(&permit, filter, after.map(UserId::from_uuid), limit).await?;
    Ok(array::<_, UserOut>(found, |last| last.user.id.as_uuid()))
}

/// Make a user
///
/// Without a password it is a stub, until it gets one, an identity provider vouches for the address or, where registration is on, the
/// person registers. Who is no platform admin makes people of the organization that he acts in, members of it; who is less than a member
/// there (an application is) makes `limited` ones. Platform admins alone say that an address is verified.
#[utoipa::path(
    post, path = "/api/users", tag = TAG, request_body = UserIn,
    responses(
        (status = 201, body = UserOut),
        (status = 403, description = "may not make such a user", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such organization", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "the address is taken", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn create(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    ValidJson(input): ValidJson<UserIn>,
) -> Result<(StatusCode, Json<UserOut>)> {
    let permit = me.permit()?;
    let new = NewUser {
        email: input.email,
        name: input.name,
        password: input.password.map(Into::into),
        user_type: input.user_type,
        organization_id: input.organization_id,
        is_superuser: input.is_superuser.unwrap_or(false),
        is_active: input.is_active.unwrap_or(true),
        is_verified: input.is_verified.unwrap_or(false),
    };
    Ok((StatusCode::CREATED, Json(state.users.create(&permit, new, &client).await?.into())))
}

/// See a user
#[utoipa::path(
    get, path = "/api/users/{id}", tag = TAG, params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = UserOut),
        (status = 403, description = "may not see people", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such user", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn get(State(state): State<ApiState>, me: SignedIn, Path(id): Path<UserId>) -> Result<Json<UserOut>> {
    Ok(Json(state.users.get(&me.permit()?, id).await?.into()))
}

/// Change a user
///
/// Who is no platform admin changes people whose home is the organization that he acts in, and neither kind nor home of them, nor whether
/// their address is verified.
#[utoipa::path(
    patch, path = "/api/users/{id}", tag = TAG, params(("id" = Uuid, Path)), request_body = UserPatchIn,
    responses(
        (status = 200, body = UserOut),
        (status = 403, description = "may not change this of this person", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such user", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "the address is taken, or it is the last platform admin, the system user or oneself", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn update(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(id): Path<UserId>,
    ValidJson(input): ValidJson<UserPatchIn>,
) -> Result<Json<UserOut>> {
    let permit = me.permit()?;
    let patch = UserPatch {
        email: input.email,
        name: input.name.into_option(),
        password: input.password.map(Into::into),
        user_type: input.user_type,
        organization_id: input.organization_id.into_option(),
        is_superuser: input.is_superuser,
        is_active: input.is_active,
        is_verified: input.is_verified,
    };
    Ok(Json(state.users.update(&permit, id, patch, &client).await?.into()))
}

/// Delete a user
///
/// Suspends at once and removes for good after `USER_PURGE_DAYS`; until then `is_active: true` takes the user back.
#[utoipa::path(
    delete, path = "/api/users/{id}", tag = TAG, params(("id" = Uuid, Path)),
    responses(
        (status = 204),
        (status = 403, description = "may not delete this person", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such user", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "the last platform admin, the system user or oneself", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn delete(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(id): Path<UserId>,
) -> Result<StatusCode> {
    state.users.delete(&me.permit()?, id, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reset a user's second factor
///
/// For somebody who has lost it: recovery codes, trusted devices and all sessions end with it. The next sign-in asks for the password
/// alone, or for a new factor where one is required.
#[utoipa::path(
    delete, path = "/api/users/{id}/mfa", tag = TAG, params(("id" = Uuid, Path)),
    responses(
        (status = 204),
        (status = 403, description = "may not change this person's credentials", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such user, or no second factor", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "the system user, or oneself", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn reset_factor(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(id): Path<UserId>,
) -> Result<StatusCode> {
    state.users.reset_factor(&me.permit()?, id, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// See a user's roles
#[utoipa::path(
    get, path = "/api/users/{id}/roles", tag = TAG, params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = UserRolesOut),
        (status = 403, description = "may not see people", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such user", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn list_roles(
    State(state): State<ApiState>,
    me: SignedIn,
    Path(id): Path<UserId>,
) -> Result<Json<UserRolesOut>> {
    Ok(Json(UserRolesOut { role_ids: state.users.roles_of(&me.permit()?, id).await? }))
}

/// See a user's forms
#[utoipa::path(
    get, path = "/api/users/{id}/forms", tag = TAG, params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = UserFormsOut),
        (status = 403, description = "may not see people", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such user", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn list_forms(
    State(state): State<ApiState>,
    me: SignedIn,
    Path(id): Path<UserId>,
) -> Result<Json<UserFormsOut>> {
    let forms = state.users.forms_of(&me.permit()?, id).await?;
    Ok(Json(UserFormsOut {
        user_type: forms.user_type,
        has_access_to_all_forms: forms.all,
        form_ids: forms.form_ids,
    }))
}

/// End a user's sessions
///
/// All of them, on every replica, within a second.
#[utoipa::path(
    post, path = "/auth/admin/revoke-user", tag = TAG, request_body = RevokeUserIn,
    responses(
        (status = 200, body = RevokedUserOut),
        (status = 403, description = "may not end this person's sessions", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such user", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "the system user has no sessions", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn revoke_user(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    ValidJson(input): ValidJson<RevokeUserIn>,
) -> Result<Json<RevokedUserOut>> {
    let sessions_revoked = state.users.revoke_sessions(&me.permit()?, input.user_id, &client).await?;
    Ok(Json(RevokedUserOut { message: "sessions revoked", sessions_revoked }))
}
