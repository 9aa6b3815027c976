//! Identity providers: `/api/identity-providers`.

use crate::{
    access::allowed,
    extract::{ClientInfo, Json, Patch, Path, SignedIn, ValidJson},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{extract::State, http::StatusCode};
use bifrost_app::identity_providers::{NewProvider, ProviderPatch, Report, RulesPatch};
use bifrost_domain::{
    identity_provider::{GroupRule, IdentityProvider, ProviderKind, ProviderRules, Tenant},
    ids::{IdentityProviderId, OrganizationId, RoleId, UserId},
    policy::actions::{ReadProviders, WriteProviders},
    rights::MembershipRole,
};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

const TAG: &str = "identity providers";

/// The routes of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(allowed::<ReadProviders>(routes!(list)))
        .routes(allowed::<WriteProviders>(routes!(create)))
        .routes(allowed::<ReadProviders>(routes!(get)))
        .routes(allowed::<WriteProviders>(routes!(update)))
        .routes(allowed::<WriteProviders>(routes!(delete)))
        .routes(allowed::<WriteProviders>(routes!(test)))
}

/// A tenant whose people may sign in.
#[derive(Deserialize, Serialize, ToSchema)]
#[schema(as = ProviderTenant)]
struct TenantIo {
    #[schema(format = Uuid, example = "11111111-1111-1111-1111-111111111111")]
    tenant_id: String,
    /// E-mail domains that are known to be this tenant's, at most 100.
    #[serde(default)]
    domains: Vec<String>,
}

/// What a group gives.
#[derive(Deserialize, Serialize, ToSchema)]
#[schema(as = ProviderGroupRule)]
struct GroupRuleIo {
    /// The group, as the provider names it in its tokens.
    #[schema(min_length = 1, max_length = 256)]
    group: String,
    #[schema(value_type = Uuid)]
    organization_id: OrganizationId,
    /// `limited`, `member`, `admin` or `owner`.
    #[schema(value_type = String, example = "member")]
    role: MembershipRole,
    /// A role of that organization besides.
    #[schema(value_type = Option<Uuid>)]
    role_id: Option<RoleId>,
}

/// A new provider.
#[derive(Deserialize, ToSchema)]
#[schema(as = IdentityProviderIn)]
struct ProviderIn {
    /// Stands in addresses; cannot be changed. Its redirect address is `{PUBLIC_URL}/auth/callback/{name}`.
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        example = "entra"
    )]
    name: String,
    #[schema(min_length = 1, max_length = 255, example = "Microsoft")]
    display_name: String,
    #[schema(max_length = 2048)]
    icon: Option<String>,
    /// `entra`, `google` or `generic`; cannot be changed.
    #[schema(value_type = String, example = "entra")]
    kind: ProviderKind,
    /// Exactly as its tokens say it; of Entra with many tenants it holds `{tenantid}`. Cannot be changed: the ids of people are the
    /// issuer's.
    #[schema(max_length = 2048, example = "https://login.microsoftonline.com/{tenantid}/v2.0")]
    issuer: String,
    #[schema(min_length = 1, max_length = 512)]
    client_id: String,
    /// Never shown again.
    #[schema(format = Password, min_length = 1, max_length = 1024)]
    client_secret: Option<String>,
    /// Active unless it says otherwise.
    is_active: Option<bool>,
    /// Whom it lets in.
    #[serde(default)]
    rules: RulesIn,
}

/// A change of a provider: what is not named stays.
#[derive(Deserialize, ToSchema)]
#[schema(as = IdentityProviderPatch)]
struct ProviderPatchIn {
    #[schema(min_length = 1, max_length = 255)]
    display_name: Option<String>,
    /// `null` takes it away.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048)]
    icon: Patch<String>,
    #[schema(min_length = 1, max_length = 512)]
    client_id: Option<String>,
    /// `null` takes it away.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password, min_length = 1, max_length = 1024)]
    client_secret: Patch<String>,
    is_active: Option<bool>,
    /// Each of them stays unless it is named.
    #[serde(default)]
    rules: RulesIn,
}

/// Whom a provider lets in.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = IdentityProviderRulesIn)]
struct RulesIn {
    /// Asked for at sign-in besides `openid`; `profile email` without any.
    scopes: Option<Vec<String>>,
    /// With `{tenantid}` in the issuer: whose people may sign in, at most 100.
    allowed_tenants: Option<Vec<TenantIo>>,
    /// Whether access tokens of the provider are accepted here, and exchanged for ours.
    accept_bearer: Option<bool>,
    /// The audience that such a token must name. `null` takes it away.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 512)]
    bearer_audience: Patch<String>,
    /// An access token must have all of them.
    required_scopes: Option<Vec<String>>,
    /// An access token must have one of them.
    required_roles: Option<Vec<String>>,
    /// E-mail domains whose people get an account, in the organization of that domain; of a single tenant or of another kind than Entra.
    allowed_domains: Option<Vec<String>>,
    /// Whether people get an account at their first sign-in.
    jit_enabled: Option<bool>,
    /// The claim that lists groups; `groups` without it. `null` takes it away.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 64)]
    groups_claim: Patch<String>,
    /// What groups give, at most 200; applied at each sign-in.
    group_rules: Option<Vec<GroupRuleIo>>,
}

impl From<RulesIn> for RulesPatch {
    fn from(input: RulesIn) -> Self {
        let tenants = |many: Vec<TenantIo>| {
            many.into_iter().map(|one| Tenant { tenant_id: one.tenant_id, domains: one.domains }).collect()
        };
        let groups = |many: Vec<GroupRuleIo>| {
            many.into_iter()
                .map(|one| GroupRule {
                    group: one.group,
                    organization_id: one.organization_id,
                    role: one.role,
                    role_id: one.role_id,
                })
                .collect()
        };
        Self {
            scopes: input.scopes,
            allowed_tenants: input.allowed_tenants.map(tenants),
            accept_bearer: input.accept_bearer,
            bearer_audience: input.bearer_audience.into_option(),
            required_scopes: input.required_scopes,
            required_roles: input.required_roles,
            allowed_domains: input.allowed_domains,
            jit_enabled: input.jit_enabled,
            groups_claim: input.groups_claim.into_option(),
            group_rules: input.group_rules.map(groups),
        }
    }
}

/// Whom a provider lets in.
#[derive(Serialize, ToSchema)]
#[schema(as = IdentityProviderRules)]
struct RulesOut {
    scopes: Vec<String>,
    allowed_tenants: Vec<TenantIo>,
    accept_bearer: bool,
    bearer_audience: Option<String>,
    required_scopes: Vec<String>,
    required_roles: Vec<String>,
    allowed_domains: Vec<String>,
    jit_enabled: bool,
    groups_claim: Option<String>,
    group_rules: Vec<GroupRuleIo>,
}

impl From<ProviderRules> for RulesOut {
    fn from(rules: ProviderRules) -> Self {
        let tenants = rules.allowed_tenants.into_iter();
        let groups = rules.group_rules.into_iter();
        Self {
            scopes: rules.scopes,
            allowed_tenants: tenants
                .map(|one| TenantIo { tenant_id: one.tenant_id, domains: one.domains })
                .collect(),
            accept_bearer: rules.accept_bearer,
            bearer_audience: rules.bearer_audience,
            required_scopes: rules.required_scopes,
            required_roles: rules.required_roles,
            allowed_domains: rules.allowed_domains,
            jit_enabled: rules.jit_enabled,
            groups_claim: rules.groups_claim,
            group_rules: groups
                .map(|one| GroupRuleIo {
                    group: one.group,
                    organization_id: one.organization_id,
                    role: one.role,
                    role_id: one.role_id,
                })
                .collect(),
        }
    }
}

/// A provider.
#[derive(Serialize, ToSchema)]
#[schema(as = IdentityProvider)]
struct ProviderOut {
    #[schema(value_type = Uuid)]
    id: IdentityProviderId,
    name: String,
    display_name: String,
    icon: Option<String>,
    #[schema(value_type = String, example = "entra")]
    kind: ProviderKind,
    issuer: String,
    client_id: String,
    /// Whether a client secret is kept.
    has_secret: bool,
    is_active: bool,
    rules: RulesOut,
    #[schema(value_type = Option<Uuid>)]
    created_by: Option<UserId>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<IdentityProvider> for ProviderOut {
    fn from(one: IdentityProvider) -> Self {
        Self {
            id: one.id,
            name: one.name,
            display_name: one.display_name,
            icon: one.icon,
            kind: one.kind,
            issuer: one.issuer,
            client_id: one.client_id,
            has_secret: one.has_secret,
            is_active: one.is_active,
            rules: one.rules.into(),
            created_by: one.created_by,
            created_at: one.created_at,
            updated_at: one.updated_at,
        }
    }
}

/// What a provider says of itself.
#[derive(Serialize, ToSchema)]
#[schema(as = IdentityProviderReport)]
struct ReportOut {
    /// Whether people can sign in.
    ok: bool,
    /// What is wrong.
    problems: Vec<String>,
    issuer: Option<String>,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    jwks_uri: Option<String>,
    /// How many of its keys can be used.
    keys: usize,
    /// What has to be registered at the provider.
    redirect_uri: String,
}

impl From<Report> for ReportOut {
    fn from(report: Report) -> Self {
        Self {
            ok: report.problems.is_empty(),
            problems: report.problems,
            issuer: report.issuer,
            authorization_endpoint: report.authorization_endpoint,
            token_endpoint: report.token_endpoint,
            jwks_uri: report.jwks_uri,
            keys: report.keys,
            redirect_uri: report.redirect_uri,
        }
    }
}

/// List identity providers
///
/// Oldest first. There are at most 50.
#[utoipa::path(
    get, path = "/api/identity-providers", tag = TAG,
    responses(
        (status = 200, body = Vec<ProviderOut>),
        (status = 403, description = "not a platform admin", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn list(State(state): State<ApiState>, me: SignedIn) -> Result<Json<Vec<ProviderOut>>> {
    let found = state.providers.list(&me.permit()?).await?;
    Ok(Json(found.into_iter().map(ProviderOut::from).collect()))
}

/// Make an identity provider
#[utoipa::path(
    post, path = "/api/identity-providers", tag = TAG, request_body = ProviderIn,
    responses(
        (status = 201, body = ProviderOut),
        (status = 403, description = "not a platform admin", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "the name is taken, or there are 50", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn create(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    ValidJson(input): ValidJson<ProviderIn>,
) -> Result<(StatusCode, Json<ProviderOut>)> {
    let new = NewProvider {
        name: input.name,
        display_name: input.display_name,
        icon: input.icon,
        kind: input.kind,
        issuer: input.issuer,
        client_id: input.client_id,
        client_secret: input.client_secret.map(SecretString::from),
        is_active: input.is_active.unwrap_or(true),
        rules: input.rules.into(),
    };
    let made = state.providers.create(&me.permit()?, &me.caller, new, &client).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// See an identity provider
#[utoipa::path(
    get, path = "/api/identity-providers/{id}", tag = TAG, params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = ProviderOut),
        (status = 403, description = "not a platform admin", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such provider", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn get(
    State(state): State<ApiState>,
    me: SignedIn,
    Path(id): Path<IdentityProviderId>,
) -> Result<Json<ProviderOut>> {
    Ok(Json(state.providers.get(&me.permit()?, id).await?.into()))
}

/// Change an identity provider
#[utoipa::path(
    patch, path = "/api/identity-providers/{id}", tag = TAG, params(("id" = Uuid, Path)), request_body = ProviderPatchIn,
    responses(
        (status = 200, body = ProviderOut),
        (status = 403, description = "not a platform admin", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such provider", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn update(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(id): Path<IdentityProviderId>,
    ValidJson(input): ValidJson<ProviderPatchIn>,
) -> Result<Json<ProviderOut>> {
    let patch = ProviderPatch {
        display_name: input.display_name,
        icon: input.icon.into_option(),
        client_id: input.client_id,
        client_secret: input.client_secret.into_option().map(|secret| secret.map(SecretString::from)),
        is_active: input.is_active,
        rules: input.rules.into(),
    };
    Ok(Json(state.providers.update(&me.permit()?, &me.caller, id, patch, &client).await?.into()))
}

/// Delete an identity provider
///
/// With all accounts that are linked to it. Who has no password cannot sign in any more.
#[utoipa::path(
    delete, path = "/api/identity-providers/{id}", tag = TAG, params(("id" = Uuid, Path)),
    responses(
        (status = 204),
        (status = 403, description = "not a platform admin", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such provider", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn delete(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(id): Path<IdentityProviderId>,
) -> Result<StatusCode> {
    state.providers.delete(&me.permit()?, &me.caller, id, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Try an identity provider out
///
/// Fetches its discovery document and keys, and says what is wrong.
#[utoipa::path(
    post, path = "/api/identity-providers/{id}/test", tag = TAG, params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = ReportOut),
        (status = 403, description = "not a platform admin", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such provider", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn test(
    State(state): State<ApiState>,
    me: SignedIn,
    Path(id): Path<IdentityProviderId>,
) -> Result<Json<ReportOut>> {
    Ok(Json(state.providers.test(&me.permit()?, id).await?.into()))
}
