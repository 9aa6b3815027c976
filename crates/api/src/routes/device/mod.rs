//! Signing in a program that has no browser (RFC 8628): `/auth/device`.

mod page;

#[cfg(test)]
pub(crate) use page::PAGE;

use crate::{
    access::{allowed, public},
    extract::{ClientInfo, FormOrJson, Json, SignedIn, ValidJson},
    problem::{Problem, ProblemOut, Result},
    state::ApiState,
};
use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bifrost_app::auth::DevicePoll;
use bifrost_domain::policy::actions::UseAccount;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

const TAG: &str = "account";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// The routes of this folder.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(public(routes!(page::page)))
        .routes(public(routes!(code)))
        .routes(public(routes!(token)))
        .routes(allowed::<UseAccount>(routes!(lookup)))
        .routes(allowed::<UseAccount>(routes!(authorize)))
}

/// Which program asks.
#[derive(Deserialize, ToSchema)]
#[schema(as = DeviceCodeIn)]
struct CodeIn {
    /// What it calls itself; shown to the person who is asked.
    #[schema(example = "bifrost-cli", max_length = 100)]
    client_id: Option<String>,
    /// Is not looked at: the session has the rights of the person.
    #[serde(rename = "scope")]
    #[expect(dead_code, reason = "part of the protocol")]
    scope: Option<String>,
}

/// What a program that asks is told.
#[derive(Serialize, ToSchema)]
#[schema(as = DeviceCode)]
struct CodeOut {
    /// For `POST /auth/device/token`; nobody else may see it.
    device_code: String,
    /// What the person types.
    #[schema(example = "WDJB-MJHT")]
    user_code: String,
    /// Where the person types it.
    #[schema(example = "https://bifrost.example.org/auth/device")]
    verification_uri: String,
    /// The same with the letters filled in.
    #[schema(example = "https://bifrost.example.org/auth/device?user_code=WDJB-MJHT")]
    verification_uri_complete: String,
    /// Seconds until it is over.
    #[schema(example = 600)]
    expires_in: i64,
    /// Seconds between two questions.
    #[schema(example = 5)]
    interval: i32,
}

/// A program asks how it stands.
#[derive(Deserialize, ToSchema)]
#[schema(as = DeviceTokenIn)]
struct TokenIn {
    #[schema(example = "urn:ietf:params:oauth:grant-type:device_code")]
    grant_type: Option<String>,
    device_code: Option<String>,
    /// Is not looked at.
    #[expect(dead_code, reason = "part of the protocol")]
    client_id: Option<String>,
}

/// An access token and the refresh token to go on with.
#[derive(Serialize, ToSchema)]
#[schema(as = DeviceTokens)]
struct TokenOut {
    access_token: String,
    refresh_token: String,
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// Seconds that the access token holds.
    #[schema(example = 1800)]
    expires_in: u64,
}

/// An error as OAuth2 says it (RFC 6749, 5.2).
#[derive(Serialize, ToSchema)]
#[schema(as = OauthError)]
struct OauthErrorOut {
    /// `authorization_pending`, `slow_down`, `access_denied`, `expired_token`, `invalid_grant`, `invalid_request` or
    /// `unsupported_grant_type`.
    #[schema(example = "authorization_pending")]
    error: &'static str,
    error_description: String,
}

/// The letters that a person typed.
#[derive(Deserialize, ToSchema)]
#[schema(as = DeviceLookupIn)]
struct LookupIn {
    /// In any case, with or without the hyphen.
    #[schema(example = "WDJB-MJHT", max_length = 64)]
    user_code: String,
}

/// Which program asks, as far as it is known.
#[derive(Serialize, ToSchema)]
#[schema(as = DeviceRequest)]
struct LookupOut {
    /// What it calls itself.
    client_id: Option<String>,
    /// Where it asks from.
    ip_address: Option<String>,
    /// What it says it is.
    user_agent: Option<String>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

/// What a person says.
#[derive(Deserialize, ToSchema)]
#[schema(as = DeviceAuthorizeIn)]
struct AuthorizeIn {
    /// In any case, with or without the hyphen.
    #[schema(example = "WDJB-MJHT", max_length = 64)]
    user_code: String,
    /// Whether the program gets a session of the caller.
    approve: bool,
}

/// What was decided.
#[derive(Serialize, ToSchema)]
#[schema(as = DeviceDecision)]
struct AuthorizeOut {
    approved: bool,
}

/// Ask to sign a program in
///
/// For programs without a browser (RFC 8628): they show the letters, and ask `POST /auth/device/token` how it stands.
#[utoipa::path(
    post, path = "/auth/device/code", tag = TAG, operation_id = "device_code", security(()),
    request_body(content = CodeIn, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, body = CodeOut),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many requests", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn code(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    FormOrJson(input): FormOrJson<CodeIn>,
) -> Result<Response> {
    state.count(&state.limits.device_code, &client).await?;
    let made = state.auth.request_device(input.client_id, &client).await?;
    let place = format!("{}/auth/device", state.settings.public_url.as_str().trim_end_matches('/'));
    Ok(uncached(Json(CodeOut {
        device_code: made.device_code.expose_secret().to_owned(),
        verification_uri_complete: format!("{place}?user_code={}", made.user_code),
        verification_uri: place,
        user_code: made.user_code,
        expires_in: made.expires_in,
        interval: made.interval,
    })))
}

/// Ask how a program's sign-in stands
///
/// Errors have the format of OAuth2. The tokens are given once.
#[utoipa::path(
    post, path = "/auth/device/token", tag = TAG, operation_id = "device_token", security(()),
    request_body(content = TokenIn, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, body = TokenOut),
        (status = 400, description = "not yet, or never", body = OauthErrorOut),
        (status = 429, description = "too many requests", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn token(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    input: Result<FormOrJson<TokenIn>, Problem>,
) -> Result<Response> {
    state.count(&state.limits.device_poll, &client).await?;
    let input = match input {
        Ok(FormOrJson(input)) => input,
        Err(problem) if problem.status().is_server_error() => return Err(problem),
        Err(_) => return Ok(refused("invalid_request", "send a form with `grant_type` and `device_code`")),
    };
    match input.grant_type.as_deref() {
        Some(GRANT) => {}
        Some(_) => {
            return Ok(refused("unsupported_grant_type", &format!("`grant_type` must be `{GRANT}`")));
        }
        None => return Ok(refused("invalid_request", "`grant_type` is required")),
    }
    let Some(device_code) = input.device_code else {
        return Ok(refused("invalid_request", "`device_code` is required"));
    };
    Ok(match state.auth.poll_device(&device_code, &client).await? {
        DevicePoll::Pending => refused("authorization_pending", "nobody has answered yet"),
        DevicePoll::SlowDown => refused("slow_down", "wait five seconds longer between two questions"),
        DevicePoll::Denied => refused("access_denied", "the sign-in was denied"),
        DevicePoll::Expired => refused("expired_token", "nobody answered in time; begin again"),
        DevicePoll::Unknown => refused("invalid_grant", "there is no such request, or it was used already"),
        DevicePoll::SignedIn(pair) => uncached(Json(TokenOut {
            access_token: pair.access_token.expose_secret().to_owned(),
            refresh_token: pair.refresh_token.expose_secret().to_owned(),
            token_type: "bearer",
            expires_in: pair.expires_in,
        })),
    })
}

/// See which program asks
///
/// For the person who is to decide.
#[utoipa::path(
    post, path = "/auth/device/lookup", tag = TAG, operation_id = "device_lookup", request_body = LookupIn,
    responses(
        (status = 200, body = LookupOut),
        (status = 404, description = "nothing waits under these letters", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many tries", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn lookup(
    State(state): State<ApiState>,
    me: SignedIn,
    ValidJson(input): ValidJson<LookupIn>,
) -> Result<Json<LookupOut>> {
    let permit = me.permit()?;
    state.limits.device_guess.check_person(permit.user_id()).await?;
    let found = state.auth.find_device(&permit, &input.user_code).await?;
    Ok(Json(LookupOut {
        client_id: found.client_id,
        ip_address: found.ip_address,
        user_agent: found.user_agent,
        created_at: found.created_at,
        expires_at: found.expires_at,
    }))
}

/// Decide about a program's sign-in
///
/// The first answer counts. A key cannot answer.
#[utoipa::path(
    post, path = "/auth/device/authorize", tag = TAG, operation_id = "device_authorize", request_body = AuthorizeIn,
    responses(
        (status = 200, body = AuthorizeOut),
        (status = 403, description = "a key, or no CSRF token", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "nothing waits under these letters", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many tries", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn authorize(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    ValidJson(input): ValidJson<AuthorizeIn>,
) -> Result<Json<AuthorizeOut>> {
    let permit = me.permit()?;
    state.limits.device_guess.check_person(permit.user_id()).await?;
    state.auth.decide_device(&permit, &me.user, &input.user_code, input.approve, &client).await?;
    Ok(Json(AuthorizeOut { approved: input.approve }))
}

fn refused(error: &'static str, description: &str) -> Response {
    let body = OauthErrorOut { error, error_description: description.to_owned() };
    uncached((StatusCode::BAD_REQUEST, Json(body)))
}

fn uncached(answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
