//! Who calls, and in which organization.

use super::{bypass, client::peer};
use crate::{problem::Problem, state::ApiState};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, Method, header, request::Parts},
};
use axum_extra::extract::{CookieJar, cookie::Cookie};
use bifrost_domain::{
    error::{Error, Result},
    ids::OrganizationId,
    policy::{Action, Caller, Permit, authorize},
    user::{SessionState, User},
};
use std::collections::BTreeSet;

pub(crate) const ACCESS_COOKIE: &str = "access_token";
pub(crate) const REFRESH_COOKIE: &str = "refresh_token";
pub(crate) const CSRF_COOKIE: &str = "csrf_token";
const CSRF_HEADER: &str = "x-csrf-token";
const ORGANIZATION_HEADER: &str = "x-organization-id";

/// A signed-in caller. 401 without a valid token, 403 when the cookie's CSRF token is missing or the organization is another
/// one's, 400 when the organization's header makes no sense.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who calls, and in which scope; what policy asks.
    pub caller: Caller,
    /// The user.
    pub user: User,
    /// Names of the user's roles.
    pub roles: Vec<String>,
    /// Their permissions.
    pub permissions: BTreeSet<String>,
    /// The session, unless the development bypass speaks.
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
    Cookie(String),
    Nothing,
}

fn shown(headers: &HeaderMap, cookies: &CookieJar) -> Result<Shown> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => {
            let token = value.to_str().ok().and_then(|text| {
                let (scheme, token) = text.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
            });
            // Whatever stands there is what the caller wants to be judged by: nothing else is tried.
            token.map(|token| Shown::Bearer(token.to_owned())).ok_or_else(|| {
                Error::unauthenticated("the header `Authorization` must be `Bearer <access token>`")
            })
        }
        (Some(_), Some(_)) => Err(Error::unauthenticated("there is more than one header `Authorization`")),
        (None, _) => Ok(match cookies.get(ACCESS_COOKIE).map(Cookie::value) {
            Some(token) if !token.is_empty() => Shown::Cookie(token.to_owned()),
            _ => Shown::Nothing,
        }),
    }
}

/// Another web site can make a browser send our cookie but cannot read it to copy it into a header.
fn check_csrf(method: &Method, headers: &HeaderMap, cookies: &CookieJar) -> Result<()> {
    if method.is_safe() {
        return Ok(());
    }
    let expected = cookies.get(CSRF_COOKIE).map(Cookie::value).filter(|value| !value.is_empty());
    let given = headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok());
    if expected.is_some() && expected == given {
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

impl FromRequestParts<ApiState> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let cookies = CookieJar::from_headers(&parts.headers);
        let session = match shown(&parts.headers, &cookies)? {
            Shown::Bearer(token) => Some(state.auth.authenticate_bearer(&token).await?),
            Shown::Cookie(token) => {
                let session = state.auth.authenticate_bearer(&token).await?;
                check_csrf(&parts.method, &parts.headers, &cookies)?;
                Some(session)
            }
            Shown::Nothing => None,
        };
        let (user, roles, permissions) = if let Some(session) = &session {
            (session.user.clone(), session.roles.clone(), session.permissions.clone())
        } else {
            let asked = bypass::Asked {
                peer: peer(&parts.extensions),
                method: &parts.method,
                uri: &parts.uri,
                headers: &parts.headers,
            };
            if !bypass::holds(&state.settings, asked) {
                return Err(Error::unauthenticated("sign in first: `POST /auth/login`").into());
            }
            let (user, rights) = state.auth.dev_user().await?;
            (user, rights.roles, rights.permissions)
        };
        let requested = requested_organization(&parts.headers)?;
        let session_id = session.as_ref().map(|session| session.session_id);
        let caller = Caller::of_user(&user, &permissions, requested, session_id)?;
        if let Some(id) = requested
            && caller.is_platform_admin
            && state.reader.find_organization(id).await.map_err(Error::from)?.is_none()
        {
            return Err(Error::bad_request("the header `X-Organization-Id` names no organization")
                .with_code("organization_unknown")
                .into());
        }
        Ok(Self { caller, user, roles, permissions, session })
    }
}
