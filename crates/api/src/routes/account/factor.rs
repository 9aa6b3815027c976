//! The way to a second factor: `/auth/mfa/setup`, `/auth/mfa/verify`, `/auth/mfa/login`.

use super::{TAG, is_wrong_password};
use crate::{
    access::public,
    cookies,
    extract::{ClientInfo, FactorCaller, Json, OptionalJson, SignedIn, ValidJson},
    problem::{ProblemOut, Result},
    routes::auth::{TokensOut, with_cookies},
    state::ApiState,
};
use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bifrost_app::auth::{Client, mfa::FreshSession};
use bifrost_domain::error::Error;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    // Who asks is known by a session, or by the token of a challenge: the handlers look.
    OpenApiRouter::new()
        .routes(public(routes!(set_up)))
        .routes(public(routes!(set_up_totp)))
        .routes(public(routes!(verify)))
        .routes(public(routes!(verify_totp)))
        .routes(public(routes!(login)))
}

/// Who sets it up: the token of a sign-in that waits for a second factor, unless it comes as `Authorization: Bearer` or somebody is signed
/// in.
#[derive(Deserialize, ToSchema)]
#[schema(as = MfaSetupIn)]
struct SetupIn {
    #[schema(max_length = 8192)]
    mfa_token: Option<String>,
    /// The current one of who is signed in, unless he signed in less than ten minutes ago.
    #[serde(alias = "current_password")]
    #[schema(format = Password)]
    password: Option<String>,
}

/// A secret that is to be brought into an authenticator.
#[derive(Serialize, ToSchema)]
#[schema(as = MfaSetup)]
struct SetupOut {
    /// For typing.
    #[schema(example = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")]
    secret: String,
    /// For scanning: a `data:` URI of an SVG picture.
    qr_code_uri: String,
    #[schema(example = "otpauth://totp/Bifrost:ann%40acme.example?secret=JBSWY3DPEHPK3PXP&issuer=Bifrost")]
    provisioning_uri: String,
    #[schema(example = "Bifrost")]
    issuer: &'static str,
    #[schema(example = "ann@acme.example")]
    account_name: String,
}

/// The first code of an authenticator.
#[derive(Deserialize, ToSchema)]
#[schema(as = MfaVerifyIn)]
struct VerifyIn {
    #[schema(example = "123456", max_length = 64)]
    code: String,
    /// As for the setup.
    #[schema(max_length = 8192)]
    mfa_token: Option<String>,
}

/// A second factor that is asked for from now on.
#[derive(Serialize, ToSchema)]
#[schema(as = MfaVerified)]
struct VerifyOut {
    success: bool,
    /// Each signs in once in place of a code; they are shown this once.
    recovery_codes: Vec<String>,
    #[serde(flatten)]
    tokens: TokensOut,
}

/// The second step of a sign-in.
#[derive(Deserialize, ToSchema)]
#[schema(as = MfaLoginIn)]
struct LoginIn {
    #[schema(max_length = 8192)]
    mfa_token: String,
    /// A code of the authenticator, or a recovery code.
    #[schema(example = "123456", max_length = 64)]
    code: String,
    /// Whether this browser needs no code for 30 days.
    trust_device: Option<bool>,
}

/// Set up a second factor
///
/// Answers with a secret, which counts once a code of it was verified. Asking again gives another one. A session that began more than ten
/// minutes ago, or that a program was given, needs the password, or where there is none a new sign-in with the provider.
#[utoipa::path(
    post, path = "/auth/mfa/setup", tag = TAG, operation_id = "mfa_setup", security(("bearer" = []), ("cookie" = [])),
    request_body(content = Option<SetupIn>, content_type = "application/json"),
    responses(
        (status = 200, body = SetupOut),
        (status = 400, description = "the password is not right", body = ProblemOut, content_type = "application/problem+json"),
        (status = 401, description = "neither signed in nor a token of a waiting sign-in", body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, description = "no session, or one whose person has to sign in again", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "a second factor is set up already", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields, or the password is missing", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many attempts", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn set_up(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    caller: FactorCaller,
    OptionalJson(input): OptionalJson<SetupIn>,
) -> Result<Response> {
    begin(&state, &client, caller, input).await
}

/// Set up one-time codes
///
/// The same as `POST /auth/mfa/setup`.
#[utoipa::path(
    post, path = "/auth/mfa/totp/setup", tag = TAG, operation_id = "mfa_totp_setup", security(("bearer" = []), ("cookie" = [])),
    request_body(content = Option<SetupIn>, content_type = "application/json"),
    responses(
        (status = 200, body = SetupOut),
        (status = 400, description = "the password is not right", body = ProblemOut, content_type = "application/problem+json"),
        (status = 401, description = "neither signed in nor a token of a waiting sign-in", body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, description = "no session, or one whose person has to sign in again", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "a second factor is set up already", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields, or the password is missing", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many attempts", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn set_up_totp(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    caller: FactorCaller,
    OptionalJson(input): OptionalJson<SetupIn>,
) -> Result<Response> {
    begin(&state, &client, caller, input).await
}

async fn begin(
    state: &ApiState,
    client: &Client,
    caller: FactorCaller,
    input: Option<SetupIn>,
) -> Result<Response> {
    let (token, password) = input.map(|input| (input.mfa_token, input.password)).unwrap_or_default();
    let fresh = match &caller {
        FactorCaller::SignedIn(me) if token.is_none() => freshen(state, client, me, password).await?,
        _ => None,
    };
    let subject = caller.subject(state, token.as_deref()).await?;
    let enrolment = state.mfa.set_up(&subject, fresh.as_ref(), client).await?;
    let mut response = Json(SetupOut {
        secret: enrolment.secret.expose_secret().to_owned(),
        qr_code_uri: enrolment.qr_code_uri.expose_secret().to_owned(),
        provisioning_uri: enrolment.provisioning_uri.expose_secret().to_owned(),
        issuer: enrolment.issuer,
        account_name: enrolment.account_name,
    })
    .into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn freshen(
    state: &ApiState,
    client: &Client,
    me: &SignedIn,
    password: Option<String>,
) -> Result<Option<FreshSession>> {
    let Some(session) = &me.session else { return Ok(None) };
    if password.is_some() {
        state.count(&state.limits.mfa, client).await?;
    }
    let permit = me.permit()?;
    let showing = state.mfa.freshen_to_enrol(&permit, session, password.map(Into::into), client);
    Ok(Some(state.failing(&me.user, client, showing, is_wrong_password).await?))
}

/// Verify the first code
///
/// From now on a sign-in with a password asks for a code. Answers with recovery codes and a new pair of tokens.
#[utoipa::path(
    post, path = "/auth/mfa/verify", tag = TAG, operation_id = "mfa_verify", security(("bearer" = []), ("cookie" = [])),
    request_body = VerifyIn,
    responses(
        (status = 200, body = VerifyOut),
        (status = 400, description = "the code is not right, or nothing was set up", body = ProblemOut, content_type = "application/problem+json"),
        (status = 401, description = "neither signed in nor a token of a waiting sign-in", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "a second factor is set up already", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many attempts", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn verify(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    caller: FactorCaller,
    OptionalJson(input): OptionalJson<VerifyIn>,
) -> Result<Response> {
    confirm(&state, &client, caller, input).await
}

/// Verify the first one-time code
///
/// The same as `POST /auth/mfa/verify`.
#[utoipa::path(
    post, path = "/auth/mfa/totp/verify", tag = TAG, operation_id = "mfa_totp_verify", security(("bearer" = []), ("cookie" = [])),
    request_body = VerifyIn,
    responses(
        (status = 200, body = VerifyOut),
        (status = 400, description = "the code is not right, or nothing was set up", body = ProblemOut, content_type = "application/problem+json"),
        (status = 401, description = "neither signed in nor a token of a waiting sign-in", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "a second factor is set up already", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many attempts", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn verify_totp(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    caller: FactorCaller,
    OptionalJson(input): OptionalJson<VerifyIn>,
) -> Result<Response> {
    confirm(&state, &client, caller, input).await
}

async fn confirm(
    state: &ApiState,
    client: &Client,
    caller: FactorCaller,
    input: Option<VerifyIn>,
) -> Result<Response> {
    state.count(&state.limits.mfa, client).await?;
    let token = input.as_ref().and_then(|input| input.mfa_token.as_deref());
    let subject = caller.subject(state, token).await?;
    let input = input.ok_or_else(|| Error::invalid("code", "required", "is required"))?;
    let enrolled = state.mfa.confirm(subject, &input.code, client).await?;
    let body = VerifyOut {
        success: true,
        recovery_codes: enrolled.recovery_codes,
        tokens: TokensOut::from(&enrolled.pair),
    };
    let mut response = Json(body).into_response();
    cookies::set(response.headers_mut(), &state.settings, &enrolled.pair);
    Ok(response)
}

/// Sign in with a code
///
/// The second step of a sign-in: answers as `POST /auth/login` does without a second factor. Five wrong codes end the token.
#[utoipa::path(
    post, path = "/auth/mfa/login", tag = TAG, operation_id = "mfa_login", security(()),
    request_body = LoginIn,
    responses(
        (status = 200, body = TokensOut),
        (status = 400, description = "no second factor is set up", body = ProblemOut, content_type = "application/problem+json"),
        (status = 401, description = "the code is not right, or the token does not hold", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many attempts", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn login(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    ValidJson(input): ValidJson<LoginIn>,
) -> Result<Response> {
    state.count(&state.limits.mfa, &client).await?;
    let trust = input.trust_device.unwrap_or(false);
    let passed = state.mfa.pass(&input.mfa_token, &input.code, trust, &client).await?;
    let mut response = with_cookies(&state, &passed.pair);
    if let Some(secret) = &passed.device {
        cookies::trust(response.headers_mut(), &state.settings, secret);
    }
    Ok(response)
}
