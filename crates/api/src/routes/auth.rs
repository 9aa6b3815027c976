//! Sign-in: `/auth/*`.

use crate::{
    cookies,
    extract::{ClientInfo, Form, Json, OptionalJson, REFRESH_COOKIE, SignedIn, ValidJson},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use axum_extra::extract::CookieJar;
use bifrost_app::auth::{NewAccount, TokenPair};
use bifrost_domain::{
    error::Error,
    ids::{OrganizationId, UserId},
    user::{User, UserType},
};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

const TAG: &str = "account";

/// The routes of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(login))
        .routes(routes!(refresh))
        .routes(routes!(me))
        .routes(routes!(register))
        .routes(routes!(logout))
        .routes(routes!(status))
}

/// Address and password, as OAuth2's password flow sends them (other fields of that flow are ignored).
#[derive(Deserialize, ToSchema)]
#[schema(as = LoginIn)]
struct LoginIn {
    /// The address.
    #[schema(example = "admin@localhost")]
    username: String,
    #[schema(format = Password, example = "admin")]
    password: String,
}

/// An access token and the refresh token to go on with.
#[derive(Serialize, ToSchema)]
#[schema(as = Tokens)]
struct TokensOut {
    /// For `Authorization: Bearer`.
    access_token: String,
    /// For one `POST /auth/refresh`.
    refresh_token: String,
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// Seconds that the access token holds.
    #[schema(example = 1800)]
    expires_in: u64,
}

/// A refresh token, unless the cookie has it.
#[derive(Deserialize, ToSchema)]
#[schema(as = RefreshIn)]
struct RefreshIn {
    refresh_token: Option<String>,
}

/// What somebody registers with.
#[derive(Deserialize, ToSchema)]
#[schema(as = RegisterIn)]
struct RegisterIn {
    #[schema(example = "ann@acme.example", max_length = 254)]
    email: String,
    #[schema(format = Password, min_length = 8, max_length = 256)]
    password: String,
    #[schema(example = "Ann", max_length = 255)]
    name: Option<String>,
}

/// A user.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
struct UserOut {
    #[schema(value_type = Uuid)]
    id: UserId,
    email: String,
    name: Option<String>,
    is_active: bool,
    is_superuser: bool,
    is_verified: bool,
    is_registered: bool,
    mfa_enabled: bool,
    #[schema(value_type = String, example = "ORG")]
    user_type: UserType,
    #[schema(value_type = Option<Uuid>)]
    organization_id: Option<OrganizationId>,
    last_login: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl UserOut {
    /// A user who registered a moment ago: nobody enrols a second factor before the first sign-in.
    fn just_registered(user: User) -> Self {
        Self {
            id: user.id,
            email: user.email,
            name: user.name,
            is_active: user.is_active,
            is_superuser: user.is_superuser,
            is_verified: user.is_verified,
            is_registered: user.is_registered,
            mfa_enabled: false,
            user_type: user.user_type,
            organization_id: user.organization_id,
            last_login: user.last_login,
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}

/// The signed-in user.
#[derive(Serialize, ToSchema)]
#[schema(as = Me)]
struct MeOut {
    #[schema(value_type = Uuid)]
    id: UserId,
    email: String,
    name: String,
    is_active: bool,
    is_superuser: bool,
    is_verified: bool,
    #[schema(value_type = Option<Uuid>)]
    organization_id: Option<OrganizationId>,
    /// Names of the roles.
    roles: Vec<String>,
    /// Permissions of the roles; a platform admin has all without any being listed.
    permissions: Vec<String>,
}

/// A sentence.
#[derive(Serialize, ToSchema)]
#[schema(as = Message)]
struct MessageOut {
    message: &'static str,
}

/// What the sign-in page asks first.
#[derive(Serialize, ToSchema)]
#[schema(as = AuthStatus)]
struct StatusOut {
    /// Whether the first user is still to be made (`POST /auth/register`).
    needs_setup: bool,
    password_login_enabled: bool,
    mfa_required_for_password: bool,
    oauth_providers: Vec<ProviderOut>,
}

/// A provider to sign in with.
#[derive(Serialize, ToSchema)]
#[schema(as = OauthProvider)]
struct ProviderOut {
    name: String,
    display_name: String,
    icon: Option<String>,
}

fn with_cookies(state: &ApiState, pair: &TokenPair) -> Response {
    let body = TokensOut {
        access_token: pair.access_token.expose_secret().to_owned(),
        refresh_token: pair.refresh_token.expose_secret().to_owned(),
        token_type: "bearer",
        expires_in: pair.expires_in,
    };
    let mut response = Json(body).into_response();
    cookies::set(response.headers_mut(), &state.settings, pair);
    response
}

/// Sign in
///
/// Checks a password and begins a session. The tokens come in the body and as cookies.
#[utoipa::path(
    post, path = "/auth/login", tag = TAG, security(()),
    request_body(content = LoginIn, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, body = TokensOut),
        (status = 401, description = "wrong address or password", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many attempts", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn login(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    Form(input): Form<LoginIn>,
) -> Result<Response> {
    state.limits.login.check(client.ip)?;
    let pair = state.auth.login(&input.username, input.password.into(), &client).await?;
    Ok(with_cookies(&state, &pair))
}

/// Go on with a session
///
/// Exchanges a refresh token, from the body or else from the cookie, for a new pair. Each is used once; a later use of an old one
/// ends the session.
#[utoipa::path(
    post, path = "/auth/refresh", tag = TAG, security(()),
    request_body(content = Option<RefreshIn>, content_type = "application/json"),
    responses(
        (status = 200, body = TokensOut),
        (status = 401, description = "not a refresh token that holds", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many attempts", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn refresh(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    headers: HeaderMap,
    OptionalJson(input): OptionalJson<RefreshIn>,
) -> Result<Response> {
    state.limits.refresh.check(client.ip)?;
    let cookie = || {
        let jar = CookieJar::from_headers(&headers);
        jar.get(REFRESH_COOKIE).map(|cookie| cookie.value().to_owned())
    };
    let token = input
        .and_then(|input| input.refresh_token)
        .or_else(cookie)
        .ok_or_else(|| Error::unauthenticated("send `refresh_token` in the body or as a cookie"))?;
    let pair = state.auth.refresh(&token, &client).await?;
    Ok(with_cookies(&state, &pair))
}

/// Who am I
#[utoipa::path(
    get, path = "/auth/me", tag = TAG,
    responses(
        (status = 200, body = MeOut),
        (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn me(me: SignedIn) -> Json<MeOut> {
    Json(MeOut {
        id: me.user.id,
        name: me.user.display_name().to_owned(),
        email: me.user.email,
        is_active: me.user.is_active,
        is_superuser: me.user.is_superuser,
        is_verified: me.user.is_verified,
        organization_id: me.user.organization_id,
        roles: me.roles,
        permissions: me.permissions.into_iter().collect(),
    })
}

/// Make an account
///
/// The first user of an empty system becomes a platform admin. Later an administrator has to have made a stub, or the address has to
/// be of an organization's domain.
#[utoipa::path(
    post, path = "/auth/register", tag = TAG, security(()),
    request_body = RegisterIn,
    responses(
        (status = 201, body = UserOut),
        (status = 400, description = "registered already, or nobody expects this address", body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, description = "registration is off", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn register(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    ValidJson(input): ValidJson<RegisterIn>,
) -> Result<(StatusCode, Json<UserOut>)> {
    state.limits.register.check(client.ip)?;
    let account = NewAccount { email: input.email, password: input.password.into(), name: input.name };
    let user = state.auth.register(account, &client).await?;
    Ok((StatusCode::CREATED, Json(UserOut::just_registered(user))))
}

/// Sign out
///
/// Ends the session: its tokens hold no longer, on any replica, within a second.
#[utoipa::path(
    post, path = "/auth/logout", tag = TAG,
    responses(
        (status = 200, body = MessageOut),
        (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn logout(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
) -> Result<Response> {
    if let Some(session) = &me.session {
        state.auth.logout(session, &client).await?;
    }
    let mut response = Json(MessageOut { message: "signed out" }).into_response();
    cookies::clear(response.headers_mut(), &state.settings);
    Ok(response)
}

/// What the sign-in page needs to know
#[utoipa::path(get, path = "/auth/status", tag = TAG, security(()), responses((status = 200, body = StatusOut)))]
async fn status(State(state): State<ApiState>) -> Result<Json<StatusOut>> {
    let status = state.auth.status().await?;
    Ok(Json(StatusOut {
        needs_setup: status.needs_setup,
        password_login_enabled: true,
        mfa_required_for_password: false,
        oauth_providers: Vec::new(),
    }))
}
