//! Sign-in with external identity providers: `/auth/oauth/*`, and the exchange of their tokens: `/auth/token`.

use super::{
    account::{ProofIn, is_wrong_password},
    auth::ProviderOut,
};
use crate::{
    access::{allowed, public},
    cookies,
    extract::{ClientInfo, Form, Json, OptionalJson, Path, Query, SignedIn, ValidJson},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bifrost_app::identity_providers::{Account, Answer, Begun, Finished};
use bifrost_domain::{error::Error, policy::actions::UseAccount};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

const TAG: &str = "account";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The routes of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(public(routes!(oauth_providers)))
        .routes(public(routes!(oauth_init)))
        .routes(allowed::<UseAccount>(routes!(oauth_link)))
        .routes(public(routes!(oauth_callback)))
        .routes(allowed::<UseAccount>(routes!(oauth_accounts)))
        .routes(allowed::<UseAccount>(routes!(oauth_unlink)))
        .routes(public(routes!(token)))
}

/// The providers to sign in with.
#[derive(Serialize, ToSchema)]
#[schema(as = OauthProviders)]
struct ProvidersOut {
    providers: Vec<ProviderOut>,
}

/// How a sign-in begins.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct BeginIn {
    /// Where the browser goes afterwards: a path on this server. It comes back with the tokens.
    #[param(max_length = 512, example = "/forms")]
    redirect_to: Option<String>,
}

/// A sign-in that was begun.
#[derive(Serialize, ToSchema)]
#[schema(as = OauthInit)]
struct BegunOut {
    /// Where the browser goes now.
    authorization_url: String,
    /// What the provider sends back with the browser.
    state: String,
}

/// What the provider sent to the browser.
#[derive(Deserialize, ToSchema)]
#[schema(as = OauthCallbackIn)]
struct CallbackIn {
    #[schema(min_length = 1, max_length = 4096)]
    code: String,
    #[schema(min_length = 43, max_length = 43)]
    state: String,
    /// Who answers, when the provider says so (RFC 9207).
    #[schema(max_length = 2048)]
    iss: Option<String>,
    /// At whose address of ours the answer came (`/auth/callback/{name}`): each provider has one of its own, so that the answer of one is
    /// never taken for that of another (RFC 9700, 4.4.2.1).
    #[schema(max_length = 2048)]
    provider: Option<String>,
}

/// A session, or the word that an account was linked.
#[derive(Serialize, ToSchema)]
#[schema(as = OauthCallback)]
struct CallbackOut {
    /// For `Authorization: Bearer`. None when an account was linked.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    /// For one `POST /auth/refresh`.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "bearer")]
    token_type: Option<&'static str>,
    /// Seconds that the access token holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1800)]
    expires_in: Option<u64>,
    /// The provider whose account was linked.
    #[serde(skip_serializing_if = "Option::is_none")]
    linked: Option<String>,
    /// Where the browser wanted to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect_to: Option<String>,
}

/// Accounts at providers that are linked to the caller.
#[derive(Serialize, ToSchema)]
#[schema(as = OauthAccounts)]
struct AccountsOut {
    accounts: Vec<AccountOut>,
}

/// A linked account.
#[derive(Serialize, ToSchema)]
#[schema(as = OauthAccount)]
struct AccountOut {
    /// The provider's name.
    provider: String,
    display_name: String,
    /// The address that the provider said last.
    email: Option<String>,
    linked_at: DateTime<Utc>,
    last_used_at: DateTime<Utc>,
}

impl From<Account> for AccountOut {
    fn from(account: Account) -> Self {
        Self {
            provider: account.provider.name,
            display_name: account.provider.display_name,
            email: account.identity.email,
            linked_at: account.identity.linked_at,
            last_used_at: account.identity.last_used_at,
        }
    }
}

/// A token of a provider, to be exchanged (RFC 8693; its other fields are ignored).
#[derive(Deserialize, ToSchema)]
#[schema(as = TokenExchangeIn)]
struct TokenIn {
    /// `urn:ietf:params:oauth:grant-type:token-exchange`
    grant_type: String,
    /// The provider's access token.
    #[schema(max_length = 16384)]
    subject_token: Option<String>,
    /// `urn:ietf:params:oauth:token-type:access_token` or `…:jwt`
    subject_token_type: Option<String>,
    /// Nothing else than an access token is issued.
    requested_token_type: Option<String>,
}

/// Our tokens for a provider's.
#[derive(Serialize, ToSchema)]
#[schema(as = ExchangedTokens)]
struct ExchangedOut {
    /// For `Authorization: Bearer`.
    access_token: String,
    #[schema(example = "urn:ietf:params:oauth:token-type:access_token")]
    issued_token_type: &'static str,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds that the access token holds.
    #[schema(example = 1800)]
    expires_in: u64,
    /// For one `POST /auth/refresh`.
    refresh_token: String,
}

fn begun(state: &ApiState, begun: Begun) -> Response {
    let body = BegunOut { authorization_url: begun.authorization_url, state: begun.state };
    let mut response = Json(body).into_response();
    cookies::set_binding(response.headers_mut(), &state.settings, &begun.binding);
    response
}

/// List the providers to sign in with
#[utoipa::path(get, path = "/auth/oauth/providers", tag = TAG, security(()), responses((status = 200, body = ProvidersOut)))]
async fn oauth_providers(State(state): State<ApiState>) -> Result<Json<ProvidersOut>> {
    let offered = state.providers.offered().await?;
    Ok(Json(ProvidersOut { providers: offered.into_iter().map(ProviderOut::from).collect() }))
}

/// Begin a sign-in with a provider
///
/// Answers where to send the browser, and gives it a cookie: only the browser that began can finish, within ten minutes, once.
#[utoipa::path(
    get, path = "/auth/oauth/init/{provider}", tag = TAG, security(()),
    params(("provider" = String, Path, description = "the provider's name"), BeginIn),
    responses(
        (status = 200, body = BegunOut),
        (status = 400, description = "no such provider", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many attempts", body = ProblemOut, content_type = "application/problem+json"),
        (status = 503, description = "the provider is away", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn oauth_init(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    headers: HeaderMap,
    Path(provider): Path<String>,
    Query(input): Query<BeginIn>,
) -> Result<Response> {
    state.count(&state.limits.login, &client).await?;
    let binding = cookies::binding(&headers);
    let found = state.providers.begin(&provider, input.redirect_to, binding.as_deref(), None).await?;
    Ok(begun(&state, found))
}

/// Begin to link an account of a provider
///
/// As the beginning of a sign-in, but what is finished links the account to the signed-in user. A session of ours is needed, and has to
/// last until then; and the current password, or a code where a second factor is set up. Who has neither begins within ten minutes of his
/// sign-in with a provider.
#[utoipa::path(
    post, path = "/auth/oauth/link/{provider}", tag = TAG,
    params(("provider" = String, Path, description = "the provider's name"), BeginIn),
    request_body(content = Option<ProofIn>, content_type = "application/json"),
    responses(
        (status = 200, body = BegunOut),
        (status = 400, description = "the password or code is not right", body = ProblemOut, content_type = "application/problem+json"),
        (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, description = "there is no session, or it began too long ago", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such provider", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields, or nothing that shows who it is", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many attempts", body = ProblemOut, content_type = "application/problem+json"),
        (status = 503, description = "the provider is away", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn oauth_link(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    headers: HeaderMap,
    me: SignedIn,
    Path(provider): Path<String>,
    Query(input): Query<BeginIn>,
    OptionalJson(proof): OptionalJson<ProofIn>,
) -> Result<Response> {
    state.count(&state.limits.mfa, &client).await?;
    let session = me.session.as_ref().ok_or_else(|| {
        Error::forbidden("accounts are linked from a session: sign in with `POST /auth/login`")
            .with_code("session_required")
    })?;
    let proof = proof.and_then(ProofIn::shown);
    let permit = me.permit()?;
    let showing = state.mfa.freshen(&permit, session, proof, &client);
    let fresh = state.failing(&me.user, &client, showing, is_wrong_password).await?;
    let binding = cookies::binding(&headers);
    let found = state.providers.begin(&provider, input.redirect_to, binding.as_deref(), Some(&fresh)).await?;
    Ok(begun(&state, found))
}

/// Finish a sign-in with a provider
///
/// Takes what the provider sent to the browser and needs the cookie of the beginning. The answer is that of a sign-in, or the word that an
/// account was linked.
#[utoipa::path(
    post, path = "/auth/oauth/callback", tag = TAG, security(()), request_body = CallbackIn,
    responses(
        (status = 200, body = CallbackOut),
        (status = 400, description = "not begun here, or refused by the provider", body = ProblemOut, content_type = "application/problem+json"),
        (status = 401, description = "the provider's token does not hold, or the account is not active", body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, description = "nobody here is known by it", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "the address has an account, or the account is linked elsewhere", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many attempts", body = ProblemOut, content_type = "application/problem+json"),
        (status = 503, description = "the provider is away", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn oauth_callback(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    headers: HeaderMap,
    ValidJson(input): ValidJson<CallbackIn>,
) -> Result<Response> {
    state.count(&state.limits.login, &client).await?;
    let answer = Answer { code: input.code, state: input.state, issuer: input.iss, provider: input.provider };
    let binding = cookies::binding(&headers);
    let body = |redirect_to| CallbackOut {
        access_token: None,
        refresh_token: None,
        token_type: None,
        expires_in: None,
        linked: None,
        redirect_to,
    };
    Ok(match state.providers.finish(&answer, binding.as_deref(), &client).await? {
        Finished::SignedIn { pair, redirect_to } => {
            let body = CallbackOut {
                access_token: Some(pair.access_token.expose_secret().to_owned()),
                refresh_token: Some(pair.refresh_token.expose_secret().to_owned()),
                token_type: Some("bearer"),
                expires_in: Some(pair.expires_in),
                ..body(redirect_to)
            };
            let mut response = Json(body).into_response();
            cookies::set(response.headers_mut(), &state.settings, &pair);
            response
        }
        Finished::Linked { provider, redirect_to } => {
            Json(CallbackOut { linked: Some(provider), ..body(redirect_to) }).into_response()
        }
    })
}

/// List the own accounts at providers
#[utoipa::path(
    get, path = "/auth/oauth/accounts", tag = TAG,
    responses(
        (status = 200, body = AccountsOut),
        (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn oauth_accounts(State(state): State<ApiState>, me: SignedIn) -> Result<Json<AccountsOut>> {
    let found = state.providers.accounts(&me.permit()?).await?;
    Ok(Json(AccountsOut { accounts: found.into_iter().map(AccountOut::from).collect() }))
}

/// Unlink an account of a provider
///
/// Refused when there would be no way left to sign in.
#[utoipa::path(
    delete, path = "/auth/oauth/accounts/{provider}", tag = TAG,
    params(("provider" = String, Path, description = "the provider's name")),
    responses(
        (status = 204),
        (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no account of this provider is linked", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "the only way to sign in", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn oauth_unlink(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(provider): Path<String>,
) -> Result<StatusCode> {
    state.providers.unlink(&me.permit()?, &me.user, &provider, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Exchange a provider's token
///
/// Begins a session for an access token of a provider that accepts this (RFC 8693).
#[utoipa::path(
    post, path = "/auth/token", tag = TAG, security(()),
    request_body(content = TokenIn, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, body = ExchangedOut),
        (status = 400, description = "not a token exchange", body = ProblemOut, content_type = "application/problem+json"),
        (status = 401, description = "the token does not hold, or the account is not active", body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, description = "nobody here is known by it", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "the address has an account", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many attempts", body = ProblemOut, content_type = "application/problem+json"),
        (status = 503, description = "the provider is away", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn token(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    Form(input): Form<TokenIn>,
) -> Result<Response> {
    state.count(&state.limits.login, &client).await?;
    if input.grant_type != EXCHANGE {
        return Err(Error::bad_request(format!("the `grant_type` must be `{EXCHANGE}`"))
            .with_code("unsupported_grant_type")
            .into());
    }
    let is_token = |text: &str| text == ACCESS_TOKEN || text == JWT;
    if !input.subject_token_type.as_deref().is_some_and(is_token) {
        return Err(Error::invalid(
            "subject_token_type",
            "value",
            format!("must be `{ACCESS_TOKEN}` or `{JWT}`"),
        )
        .into());
    }
    if !input.requested_token_type.as_deref().is_none_or(is_token) {
        return Err(
            Error::invalid("requested_token_type", "value", format!("must be `{ACCESS_TOKEN}`")).into()
        );
    }
    let subject =
        input.subject_token.ok_or_else(|| Error::invalid("subject_token", "required", "is required"))?;
    let pair = state.providers.exchange(&subject, &client).await?;
    let body = ExchangedOut {
        access_token: pair.access_token.expose_secret().to_owned(),
        issued_token_type: ACCESS_TOKEN,
        token_type: "Bearer",
        expires_in: pair.expires_in,
        refresh_token: pair.refresh_token.expose_secret().to_owned(),
    };
    let mut response = Json(body).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
