//! Whether a token of a provider is what it seems (RFC 8725; OpenID Connect Core 1.0, 3.1.3.7; RFC 9068).
//!
//! The key decides the algorithm, never the token; neither `none` nor any HMAC is in the list. Times are of the injected clock, with a
//! minute of leeway. An id token is never taken for an access token or the reverse.

use super::documents::Key;
use bifrost_domain::identity_provider::{IdentityProvider, ProviderKind};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashSet};
use uuid::Uuid;

/// Longer texts are no token.
pub(super) const MAX_BYTES: usize = 16 * 1024;
/// Between our clock and the provider's, seconds.
pub(super) const LEEWAY: i64 = 60;
/// The algorithms that a provider may sign with.
pub(super) const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];
/// Groups beyond are not read.
const MAX_GROUPS: usize = 1_000;
const MAX_SUBJECT: usize = 255;

pub(super) type Claims = Map<String, Value>;

/// Why a token is refused: for the log and the audit, not for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("malformed")]
    Malformed,
    #[error("algorithm")]
    Algorithm,
    #[error("unknown_key")]
    UnknownKey,
    #[error("signature")]
    Signature,
    #[error("type")]
    Type,
    #[error("issuer")]
    Issuer,
    #[error("audience")]
    Audience,
    #[error("authorized_party")]
    AuthorizedParty,
    #[error("expired")]
    Expired,
    #[error("not_yet_valid")]
    NotYetValid,
    #[error("nonce")]
    Nonce,
    #[error("not_an_access_token")]
    NotAnAccessToken,
    #[error("scope")]
    Scope,
    #[error("subject")]
    Subject,
}

/// What a token is shown for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// Signing in: an id token that answers our request.
    SignIn { nonce: &'a str },
    /// Calling us, or being exchanged: an access token for us.
    Access,
}

/// The groups that a token tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Groups {
    /// These.
    Known(BTreeSet<String>),
    /// More than fit into a token; which ones it does not say.
    TooMany,
}

/// A person, as a provider vouches for him.
#[derive(Debug, Clone)]
pub(super) struct Person {
    /// `tid:oid` or `sub`.
    pub(super) subject: String,
    /// The tenant, of Entra.
    pub(super) tenant: Option<String>,
    /// The address that is claimed, in whatever case.
    pub(super) email: Option<String>,
    /// Whether the provider says that it is his.
    pub(super) email_verified: bool,
    /// Google: the organization's domain that the account belongs to.
    pub(super) hosted_domain: Option<String>,
    pub(super) name: Option<String>,
    pub(super) groups: Groups,
    /// Whether he showed more than one factor there (`amr`, RFC 8176).
    pub(super) has_factor: bool,
    pub(super) expires_at: DateTime<Utc>,
}

/// The token's header, when it may be looked at any further.
pub(super) fn header_of(token: &str) -> Result<Header, Refusal> {
    if token.len() > MAX_BYTES {
        return Err(Refusal::Malformed);
    }
    let header = decode_header(token).map_err(|_| Refusal::Malformed)?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(Refusal::Algorithm);
    }
    // We know no extension that a token could insist on.
    if header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
        return Err(Refusal::Malformed);
    }
    Ok(header)
}

/// What the token says, if `key` signed it.
pub(super) fn signed_by(token: &str, header: &Header, key: &Key) -> Result<Claims, Refusal> {
    if key.algorithm != header.alg {
        return Err(Refusal::Algorithm);
    }
    let mut validation = Validation::new(key.algorithm);
    validation.algorithms = vec![key.algorithm];
    // All of them are checked by `check`, against our clock and our rules.
    validation.required_spec_claims = HashSet::new();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let claims: Claims = decode(token, &key.decoding, &validation).map_err(|_| Refusal::Signature)?.claims;
    // Keys of Entra's common set say whose tokens they may sign.
    let issuer = text(&claims, "iss").unwrap_or_default();
    let tenant = text(&claims, "tid").unwrap_or_default();
    if key.issuer.as_ref().is_some_and(|of| of.replace(super::documents::TENANT, tenant) != issuer) {
        return Err(Refusal::Issuer);
    }
    Ok(claims)
}

/// Whose token it is, if it holds for this purpose.
pub(super) fn check(
    provider: &IdentityProvider,
    header: &Header,
    claims: &Claims,
    purpose: Purpose<'_>,
    now: DateTime<Utc>,
) -> Result<Person, Refusal> {
    let is_entra = provider.kind == ProviderKind::Entra;
    let tenant = text(claims, "tid").filter(|_| is_entra);
    if !provider.has_issued(text(claims, "iss").ok_or(Refusal::Issuer)?, tenant) {
        return Err(Refusal::Issuer);
    }
    let expires_at = check_times(claims, matches!(purpose, Purpose::SignIn { .. }), now)?;
    let typ = header.typ.as_deref().map(str::to_ascii_lowercase);
    let typ = typ.as_deref().map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
    match purpose {
        Purpose::SignIn { nonce } => {
            if !matches!(typ, None | Some("jwt")) {
                return Err(Refusal::Type);
            }
            check_id_token(provider, claims, nonce)?;
        }
        Purpose::Access => {
            if !matches!(typ, None | Some("jwt" | "at+jwt")) {
                return Err(Refusal::Type);
            }
            check_access_token(provider, typ, claims)?;
        }
    }
    Ok(Person {
        subject: subject_of(is_entra, claims)?,
        tenant: tenant.map(str::to_owned),
        email: address_of(is_entra, claims),
        email_verified: is_true(claims.get("email_verified")),
        hosted_domain: text(claims, "hd").map(str::to_lowercase),
        name: text(claims, "name").map(str::to_owned),
        groups: groups_of(provider.rules.groups_claim(), claims),
        has_factor: texts(claims.get("amr")).contains("mfa"),
        expires_at,
    })
}

fn check_times(claims: &Claims, needs_issue: bool, now: DateTime<Utc>) -> Result<DateTime<Utc>, Refusal> {
    let now = now.timestamp();
    let expires = seconds(claims, "exp")?.ok_or(Refusal::Expired)?;
    if expires.saturating_add(LEEWAY) <= now {
        return Err(Refusal::Expired);
    }
    let issued = seconds(claims, "iat")?;
    if needs_issue && issued.is_none() {
        return Err(Refusal::Malformed);
    }
    let begins = [issued, seconds(claims, "nbf")?];
    if begins.into_iter().flatten().any(|at| at.saturating_sub(LEEWAY) > now) {
        return Err(Refusal::NotYetValid);
    }
    DateTime::from_timestamp(expires, 0).ok_or(Refusal::Malformed)
}

fn check_id_token(provider: &IdentityProvider, claims: &Claims, nonce: &str) -> Result<(), Refusal> {
    let audience = texts(claims.get("aud"));
    if !audience.contains(provider.client_id.as_str()) {
        return Err(Refusal::Audience);
    }
    let party = text(claims, "azp");
    if party.is_none() && audience.len() > 1 || party.is_some_and(|party| party != provider.client_id) {
        return Err(Refusal::AuthorizedParty);
    }
    if text(claims, "nonce") != Some(nonce) {
        return Err(Refusal::Nonce);
    }
    Ok(())
}

fn check_access_token(
    provider: &IdentityProvider,
    typ: Option<&str>,
    claims: &Claims,
) -> Result<(), Refusal> {
    let rules = &provider.rules;
    // An id token has these; an access token does not.
    if ["nonce", "at_hash", "c_hash"].iter().any(|name| claims.contains_key(*name)) {
        return Err(Refusal::NotAnAccessToken);
    }
    let audience = texts(claims.get("aud"));
    let wanted = rules.bearer_audience.as_deref().ok_or(Refusal::Audience)?;
    if !audience.contains(wanted) {
        return Err(Refusal::Audience);
    }
    let scopes = scopes_of(claims);
    let roles = texts(claims.get("roles"));
    let is_access = if provider.kind == ProviderKind::Entra {
        // There the audience may be the client itself, so the rest has to tell; `roles` alone stand in id tokens, too.
        let has_client = claims.contains_key("azp") || claims.contains_key("appid");
        has_client && (!scopes.is_empty() || !roles.is_empty()) && text(claims, "idtyp") != Some("app")
    } else {
        !audience.contains(provider.client_id.as_str()) && (typ == Some("at+jwt") || !scopes.is_empty())
    };
    if !is_access {
        return Err(Refusal::NotAnAccessToken);
    }
    if rules.required_scopes.iter().any(|scope| !scopes.contains(scope.as_str())) {
        return Err(Refusal::Scope);
    }
    let lacks_role = |wanted: &[String]| wanted.iter().all(|role| !roles.contains(role.as_str()));
    if !rules.required_roles.is_empty() && lacks_role(&rules.required_roles) {
        return Err(Refusal::Scope);
    }
    Ok(())
}

/// What the person is known by: never an address.
fn subject_of(is_entra: bool, claims: &Claims) -> Result<String, Refusal> {
    if is_entra {
        let id = |name| {
            text(claims, name).filter(|id| Uuid::parse_str(id).is_ok_and(|uuid| uuid.to_string() == **id))
        };
        let (tenant, object) = (id("tid").ok_or(Refusal::Subject)?, id("oid").ok_or(Refusal::Subject)?);
        return Ok(format!("{tenant}:{object}"));
    }
    let subject = text(claims, "sub").ok_or(Refusal::Subject)?;
    if subject.is_empty() || subject.len() > MAX_SUBJECT || subject.chars().any(char::is_control) {
        return Err(Refusal::Subject);
    }
    Ok(subject.to_owned())
}

fn address_of(is_entra: bool, claims: &Claims) -> Option<String> {
    let names: &[&str] = if is_entra { &["email", "preferred_username", "upn"] } else { &["email"] };
    names.iter().find_map(|name| text(claims, name)).map(str::to_owned)
}

fn groups_of(claim: &str, claims: &Claims) -> Groups {
    let elsewhere = claims.get("_claim_names").is_some_and(|names| names.get(claim).is_some());
    if elsewhere || is_true(claims.get("hasgroups")) {
        return Groups::TooMany;
    }
    Groups::Known(texts(claims.get(claim)).into_iter().take(MAX_GROUPS).map(str::to_owned).collect())
}

/// `scp` (Entra: a text; others: a list) and `scope` (RFC 8693, 4.2).
fn scopes_of(claims: &Claims) -> BTreeSet<&str> {
    let said = ["scp", "scope"].into_iter().flat_map(|name| texts(claims.get(name)));
    said.flat_map(str::split_ascii_whitespace).collect()
}

fn text<'a>(claims: &'a Claims, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

/// A text, or a list of texts.
fn texts(value: Option<&Value>) -> BTreeSet<&str> {
    match value {
        Some(Value::String(one)) => BTreeSet::from([one.as_str()]),
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => BTreeSet::new(),
    }
}

/// Some providers write truth as a text.
pub(super) fn is_true(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::Bool(true))) || value.and_then(Value::as_str) == Some("true")
}

/// A `NumericDate`; fractions are cut.
fn seconds(claims: &Claims, name: &str) -> Result<Option<i64>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            let whole = number.as_i64().or_else(|| number.as_f64().map(|float| float as i64));
            whole.map(Some).ok_or(Refusal::Malformed)
        }
        Some(_) => Err(Refusal::Malformed),
    }
}
