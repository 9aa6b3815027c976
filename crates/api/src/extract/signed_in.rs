//! Who calls, and in which organization.

use super::{bypass, client::peer, refusal::Refusal};
use crate::{problem::Problem, state::ApiState};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use axum_extra::extract::{CookieJar, cookie::Cookie};
use bifrost_app::{auth::Known, identity_providers::Identified, machines::Machines};
use bifrost_domain::{
    error::{Error, Result},
    ids::{OrganizationId, SessionId, UserId},
    policy::{Acting, Action, Caller, Permit, authorize},
    rights::Rights,
    user::{SessionState, User},
};
use std::sync::Arc;

pub(crate) const ACCESS_COOKIE: &str = "access_token";
pub(crate) const REFRESH_COOKIE: &str = "refresh_token";
pub(crate) const CSRF_COOKIE: &str = "csrf_token";
const CSRF_HEADER: &str = "x-csrf-token";
const ORGANIZATION_HEADER: &str = "x-organization-id";
const KEY_HEADER: &str = "x-api-key";
const ON_BEHALF_OF_HEADER: &str = "x-on-behalf-of";

/// A signed-in caller, as the route's declaration ([`crate::access`]) found and allowed him.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who calls, and in which scope; what policy asks.
    pub caller: Caller,
    /// The user.
    pub user: User,
    /// What the user holds.
    pub rights: Arc<Rights>,
    /// The session, unless a key, a provider's token or the development bypass speaks.
    pub session: Option<SessionState>,
}

impl SignedIn {
    /// Asks policy for a permit.
    ///
    /// # Errors
    /// Forbidden.
    pub fn permit<A: Action>(&self) -> Result<Permit<A>, Problem> {
        Ok(authorize(&self.caller)?)
    }
}

/// What a request shows to say who it is.
enum Shown {
    Bearer(String),
    Key(String),
    Cookie(String),
    Nothing,
}

fn shown(headers: &HeaderMap, cookies: &CookieJar) -> Result<Shown> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let key = one_text(headers, KEY_HEADER)?;
    match (values.next(), values.next()) {
        (Some(_), _) if key.is_some() => {
            Err(Error::unauthenticated("send either the header `Authorization` or `X-API-Key`"))
        }
        (Some(value), None) => {
            let token = value.to_str().ok().and_then(|text| {
                let (scheme, token) = text.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
            });
            // Whatever stands there is what the caller wants to be judged by: nothing else is tried.
            token.map(|token| of_bearer(token.to_owned())).ok_or_else(|| {
                Error::unauthenticated("the header `Authorization` must be `Bearer <access token>`")
            })
        }
        (Some(_), Some(_)) => Err(Error::unauthenticated("there is more than one header `Authorization`")),
        (None, _) if key.is_some() => Ok(Shown::Key(key.unwrap_or_default().to_owned())),
        (None, _) => Ok(match cookies.get(ACCESS_COOKIE).map(Cookie::value) {
            Some(token) if !token.is_empty() => Shown::Cookie(token.to_owned()),
            _ => Shown::Nothing,
        }),
    }
}

fn of_bearer(token: String) -> Shown {
    if Machines::is_key(&token) { Shown::Key(token) } else { Shown::Bearer(token) }
}

/// The value of a header that may stand there once.
fn one_text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(|text| Some(text.trim())).map_err(|_| twice(name)),
        (Some(_), Some(_)) => Err(twice(name)),
    }
}

fn twice(name: &str) -> Error {
    Error::bad_request(format!("the header `{name}` must stand there once, with a text")).with_code("header")
}

/// Another web site can make a browser send our cookie but cannot read it to copy it into a header.
fn check_csrf(parts: &Parts, state: &ApiState, session: SessionId) -> Result<()> {
    if parts.method.is_safe() {
        return Ok(());
    }
    // The token of this session, and not just what some cookie says: a neighbour of our domain can write cookies.
    let given = parts.headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok());
    if given.is_some_and(|given| state.auth.is_csrf_token(session, given)) {
        return Ok(());
    }
    Err(Error::forbidden("send the cookie `csrf_token` in the header `X-CSRF-Token` too")
        .with_code("csrf_failed"))
}

fn requested_organization(headers: &HeaderMap) -> Result<Option<OrganizationId>> {
    let mut values = headers.get_all(ORGANIZATION_HEADER).iter();
    let (Some(value), more) = (values.next(), values.next()) else { return Ok(None) };
    let id = value.to_str().ok().map(str::trim).filter(|_| more.is_none());
    let id = id.and_then(|text| text.strip_prefix("org-").unwrap_or(text).parse().ok());
    id.map(Some).ok_or_else(|| {
        Error::bad_request("the header `X-Organization-Id` must be an organization's UUID")
            .with_code("organization_header")
    })
}

/// The person that an application says it acts for.
fn asserted_user(headers: &HeaderMap) -> Result<Option<UserId>> {
    let Some(text) = one_text(headers, ON_BEHALF_OF_HEADER)? else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        Error::bad_request("the header `X-On-Behalf-Of` must be a user's UUID")
            .with_code("on_behalf_of_header")
    })
}

impl SignedIn {
    /// Who calls.
    ///
    /// # Errors
    /// 401 without a valid token, 403 when the cookie's CSRF token is missing or the organization is another one's, 400 when the
    /// organization's header makes no sense. Whoever answers with it says so to the audit log ([`Refusal::noted`]).
    pub(crate) async fn identify(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        let mut known = None;
        match Self::find(parts, state, &mut known).await {
            Ok(found) => Ok(found),
            Err(problem) => {
                let organization = requested_organization(&parts.headers).ok().flatten();
                let person = asserted_user(&parts.headers).ok().flatten();
                let named = [
                    ("organization_id", organization.map(|id| id.to_string())),
                    ("on_behalf_of", person.map(|id| id.to_string())),
                ];
                Err(Refusal::new(problem, known, named, parts, state).await)
            }
        }
    }

    /// `known`: who it is that is refused, when that is known.
    async fn find(parts: &Parts, state: &ApiState, known: &mut Option<Known>) -> Result<Self, Problem> {
        let cookies = CookieJar::from_headers(&parts.headers);
        let asserted = asserted_user(&parts.headers)?;
        let shown = shown(&parts.headers, &cookies)?;
        let identified = match shown {
            Shown::Key(key) => {
                let identified = state.machines.identify(&key).await?;
                if let Some((application, per_minute)) = identified.limit() {
                    state.limits.application.check_application(application, per_minute).await?;
                }
                let requested = requested_organization(&parts.headers)?;
                return match state.machines.act(&identified, requested, asserted).await {
                    Ok(Acting { caller, user, rights }) => Ok(Self { caller, user, rights, session: None }),
                    Err(error) => {
                        *known = Some(state.machines.known(&identified).await?);
                        Err(error.into())
                    }
                };
            }
            Shown::Bearer(token) => Some(state.providers.authenticate(&token).await?),
            Shown::Cookie(token) => {
                let session = state.auth.authenticate_bearer(&token).await?;
                check_csrf(parts, state, session.session_id)
                    .inspect_err(|_| *known = Some(Known::from(&session.user)))?;
                Some(Identified::Session(session))
            }
            Shown::Nothing => None,
        };
        if asserted.is_some() {
            *known = identified.as_ref().map(|identified| Known::from(identified.user()));
            let refused = Error::forbidden("only applications act for others");
            return Err(refused.with_code("assertion_not_allowed").into());
        }
        let requested = requested_organization(&parts.headers)?;
        let mut refuse = |user: &User| *known = Some(Known::from(user));
        let (user, rights, caller, session) = match identified {
            Some(Identified::Session(session)) => {
                let caller =
                    Caller::of_session(&session, requested).inspect_err(|_| refuse(&session.user))?;
                (session.user.clone(), Arc::clone(&session.rights), caller, Some(session))
            }
            Some(Identified::Person { user, rights, owes_factor }) => {
                let mut caller =
                    Caller::of_user(&user, &rights, requested, None).inspect_err(|_| refuse(&user))?;
                caller.owes_factor = owes_factor;
                (user, rights, caller, None)
            }
            None => {
                let head = bypass::Head {
                    peer: peer(&parts.extensions),
                    method: &parts.method,
                    uri: &parts.uri,
                    headers: &parts.headers,
                };
                if !bypass::holds(&state.settings, head) {
                    return Err(Error::unauthenticated("sign in first: `POST /auth/login`").into());
                }
                let (user, rights) = state.auth.dev_user().await?;
                let caller =
                    Caller::of_user(&user, &rights, requested, None).inspect_err(|_| refuse(&user))?;
                (user, rights, caller, None)
            }
        };
        if let Some(id) = requested
            && caller.is_platform_admin
            && state.reader.find_organization(id).await.map_err(Error::from)?.is_none()
        {
            return Err(Error::bad_request("the header `X-Organization-Id` names no organization")
                .with_code("organization_unknown")
                .into());
        }
        Ok(Self { caller, user, rights, session })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let found = parts.extensions.remove::<Self>();
        found.ok_or_else(|| Error::internal("the route is not declared with `access::allowed`").into())
    }
}
