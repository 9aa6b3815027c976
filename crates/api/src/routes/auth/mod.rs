//! Sign-in: `/auth/*`; what who is signed in asks of his session is in `session.rs`.

mod session;

use crate::{
    access::public,
    cookies::{self, DEVICE_COOKIE},
    extract::{ClientInfo, Form, Json, OptionalJson, REFRESH_COOKIE, ValidJson},
    live::{Origin, origin},
    problem::{ProblemOut, Result},
    routes::users::UserOut,
    state::ApiState,
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use axum_extra::extract::{CookieJar, cookie::Cookie};
use bifrost_app::auth::{
    NewAccount, SignIn, TokenPair,
    mfa::{CHALLENGE_SECONDS, Challenge},
};
use bifrost_domain::{
    error::{Error, Kind},
    identity_provider::IdentityProvider,
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::account::METHODS;

const TAG: &str = "account";

/// The routes of this folder.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(public(routes!(login)))
        .routes(public(routes!(refresh)))
        .routes(public(routes!(register)))
        .merge(session::routes())
        .routes(public(routes!(status)))
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
pub(super) struct TokensOut {
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

impl From<&TokenPair> for TokensOut {
    fn from(pair: &TokenPair) -> Self {
        Self {
            access_token: pair.access_token.expose_secret().to_owned(),
            refresh_token: pair.refresh_token.expose_secret().to_owned(),
            token_type: "bearer",
            expires_in: pair.expires_in,
        }
    }
}

/// A right password that is not enough.
#[derive(Serialize, ToSchema)]
#[schema(as = MfaChallenge)]
struct ChallengeOut {
    /// Always true.
    mfa_required: bool,
    /// For `POST /auth/mfa/login`; or, where a second factor is to be set up first, for `POST /auth/mfa/setup` and `/auth/mfa/verify`.
    mfa_token: String,
    /// Ways to show a code; none when a second factor is to be set up.
    #[schema(value_type = Vec<String>)]
    available_methods: &'static [&'static str],
    /// Whether a second factor is to be set up first.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    setup_required: bool,
    /// Seconds that the token holds.
    #[schema(example = 300)]
    expires_in: i64,
}

impl From<Challenge> for ChallengeOut {
    fn from(challenge: Challenge) -> Self {
        Self {
            mfa_required: true,
            mfa_token: challenge.token.expose_secret().to_owned(),
            available_methods: if challenge.is_enrolled { METHODS } else { &[] },
            setup_required: !challenge.is_enrolled,
            expires_in: CHALLENGE_SECONDS,
        }
    }
}

/// What a right password leads to.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = SignIn)]
enum SignInOut {
    Tokens(TokensOut),
    Challenge(ChallengeOut),
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
pub(super) struct ProviderOut {
    name: String,
    display_name: String,
    icon: Option<String>,
}

impl From<IdentityProvider> for ProviderOut {
    fn from(provider: IdentityProvider) -> Self {
        Self { name: provider.name, display_name: provider.display_name, icon: provider.icon }
    }
}

pub(super) fn with_cookies(state: &ApiState, pair: &TokenPair) -> Response {
    let mut response = Json(SignInOut::Tokens(pair.into())).into_response();
    cookies::set(response.headers_mut(), &state.settings, pair);
    response
}

/// Sign in
///
/// Checks a password and begins a session. The tokens come in the body and as cookies. With a second factor, or where one is required,
/// there is a token for the next step instead.
#[utoipa::path(
    post, path = "/auth/login", tag = TAG, security(()),
    request_body(content = LoginIn, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, body = SignInOut),
        (status = 401, description = "wrong address or password", body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, description = "a foreign origin", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many attempts", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn login(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    headers: HeaderMap,
    Form(input): Form<LoginIn>,
) -> Result<Response> {
    // Another site's form would sign its visitors in as somebody else.
    if origin(&state, &headers) == Origin::Foreign {
        return Err(Error::forbidden("this origin may not sign in").with_code("foreign_origin").into());
    }
    // Before the password is looked at: whether the account exists makes no difference.
    state.count_sign_in(&input.username, &client).await?;
    let jar = CookieJar::from_headers(&headers);
    let device = jar.get(DEVICE_COOKIE).map(Cookie::value);
    let outcome = state.auth.login(&input.username, input.password.into(), device, &client).await;
    if !matches!(&outcome, Err(error) if error.kind == Kind::Unauthenticated) {
        state.limits.account.forgive_account(&input.username).await;
    }
    match outcome? {
        SignIn::Session(pair) => Ok(with_cookies(&state, &pair)),
        SignIn::SecondFactor(challenge) => {
            let mut response = Json(SignInOut::Challenge(challenge.into())).into_response();
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(response)
        }
    }
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
        (status = 403, description = "by cookie from another web site", body = ProblemOut, content_type = "application/problem+json"),
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
    state.count(&state.limits.refresh, &client).await?;
    let token = match input.and_then(|input| input.refresh_token) {
        Some(token) => token,
        None => {
            // A neighbour under our domain is the same site for cookies, and could use the token up in its visitors' browsers.
            if origin(&state, &headers) != Origin::Ours {
                let refused = Error::forbidden("this origin may not go on with a session by its cookie");
                return Err(refused.with_code("foreign_origin").into());
            }
            let jar = CookieJar::from_headers(&headers);
            let cookie = jar.get(REFRESH_COOKIE).map(|cookie| cookie.value().to_owned());
            cookie.ok_or_else(|| Error::unauthenticated("send `refresh_token` in the body or as a cookie"))?
        }
    };
    let pair = state.auth.refresh(&token, &client).await?;
    Ok(with_cookies(&state, &pair))
}

/// Make an account
///
/// The first user of an empty system becomes a platform admin. Later an administrator makes the accounts, or an identity provider
/// vouches for people; where registration is on, also who is expected registers: by a stub, or with an address of an organization's domain.
#[utoipa::path(
    post, path = "/auth/register", tag = TAG, security(()),
    request_body = RegisterIn,
    responses(
        (status = 201, body = UserOut),
        (status = 400, description = "registered already, or nobody expects this address", body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, description = "registration is off", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many attempts", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn register(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    ValidJson(input): ValidJson<RegisterIn>,
) -> Result<(StatusCode, Json<UserOut>)> {
    state.count(&state.limits.register, &client).await?;
    let account = NewAccount { email: input.email, password: input.password.into(), name: input.name };
    let user = state.auth.register(account, &client).await?;
    // Nobody enrols a second factor before the first sign-in.
    Ok((StatusCode::CREATED, Json(UserOut::new(user, false))))
}

/// What the sign-in page needs to know
#[utoipa::path(get, path = "/auth/status", tag = TAG, security(()), responses((status = 200, body = StatusOut)))]
async fn status(State(state): State<ApiState>) -> Result<Json<StatusOut>> {
    let status = state.auth.status().await?;
    let offered = state.providers.offered().await?;
    Ok(Json(StatusOut {
        needs_setup: status.needs_setup,
        password_login_enabled: true,
        mfa_required_for_password: status.mfa_required_for_password,
        oauth_providers: offered.into_iter().map(ProviderOut::from).collect(),
    }))
}
