//! The cookies of a browser session. Scripts cannot read the tokens; the CSRF token they can, and must send back in a header.

use crate::{
    extract::{ACCESS_COOKIE, CSRF_COOKIE, REFRESH_COOKIE},
    state::ApiSettings,
};
use axum::http::{HeaderMap, HeaderValue, header};
use axum_extra::extract::CookieJar;
use bifrost_app::{
    auth::{TokenPair, mfa::DEVICE_SECONDS},
    identity_providers::STATE_SECONDS,
};
use secrecy::{ExposeSecret, SecretString};

/// The refresh token and the secret of a trusted device go nowhere else.
const REFRESH_PATH: &str = "/auth";
/// What a trusted device shows at the next sign-in.
pub(crate) const DEVICE_COOKIE: &str = "trusted_device";
/// What binds a sign-in with a provider to the browser that began it.
const BINDING_COOKIE: &str = "oauth_binding";
const BINDING_PATH: &str = "/auth/oauth";

/// Adds the cookies of a new pair.
pub(crate) fn set(headers: &mut HeaderMap, settings: &ApiSettings, pair: &TokenPair) {
    let secure = settings.public_url.scheme() == "https";
    let access = pair.access_token.expose_secret();
    add(headers, &cookie(ACCESS_COOKIE, access, "/", pair.expires_in, true, secure));
    let refresh = pair.refresh_token.expose_secret();
    add(headers, &cookie(REFRESH_COOKIE, refresh, REFRESH_PATH, pair.refresh_expires_in, true, secure));
    add(headers, &cookie(CSRF_COOKIE, &pair.csrf_token, "/", pair.refresh_expires_in, false, secure));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Adds the cookie of a trusted device; signing out does not take it back.
pub(crate) fn trust(headers: &mut HeaderMap, settings: &ApiSettings, secret: &SecretString) {
    let secure = settings.public_url.scheme() == "https";
    let seconds = DEVICE_SECONDS.unsigned_abs();
    add(headers, &cookie(DEVICE_COOKIE, secret.expose_secret(), REFRESH_PATH, seconds, true, secure));
}

/// Takes the cookies back.
pub(crate) fn clear(headers: &mut HeaderMap, settings: &ApiSettings) {
    let secure = settings.public_url.scheme() == "https";
    for (name, path, http_only) in
        [(ACCESS_COOKIE, "/", true), (REFRESH_COOKIE, REFRESH_PATH, true), (CSRF_COOKIE, "/", false)]
    {
        add(headers, &cookie(name, "", path, 0, http_only, secure));
    }
}

/// The browser's secret for sign-ins with providers, if it has one.
pub(crate) fn binding(headers: &HeaderMap) -> Option<String> {
    let jar = CookieJar::from_headers(headers);
    jar.get(BINDING_COOKIE).map(|cookie| cookie.value().to_owned())
}

/// Adds the browser's secret for sign-ins with providers.
pub(crate) fn set_binding(headers: &mut HeaderMap, settings: &ApiSettings, secret: &SecretString) {
    let secure = settings.public_url.scheme() == "https";
    let text = cookie(BINDING_COOKIE, secret.expose_secret(), BINDING_PATH, STATE_SECONDS, true, secure);
    add(headers, &text);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Our values are base64url with dots: nothing in them needs quoting.
fn cookie(name: &str, value: &str, path: &str, max_age: u64, http_only: bool, secure: bool) -> String {
    let http_only = if http_only { "; HttpOnly" } else { "" };
    let secure = if secure { "; Secure" } else { "" };
    format!("{name}={value}; Path={path}; Max-Age={max_age}; SameSite=Lax{http_only}{secure}")
}

fn add(headers: &mut HeaderMap, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        headers.append(header::SET_COOKIE, value);
    }
}
