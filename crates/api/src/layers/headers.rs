//! Headers on every answer that keep browsers careful, and which foreign origins may read answers.

use crate::state::{AllowedOrigins, ApiSettings, ApiState};
use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::Response,
};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// The API serves no documents, so nothing may load from its answers.
const API_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";
/// Swagger UI brings its own scripts and styles and draws with inline styles and `data:` images.
const DOCS_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                           frame-ancestors 'none'; base-uri 'self'; form-action 'self'";
/// Nothing of ours needs a sensor, a camera or the like.
const PERMISSIONS: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()";
/// Whoever came over HTTPS once comes over HTTPS for two years. Subdomains are somebody else's to decide about.
const HTTPS_ONLY: &str = "max-age=63072000";

/// Adds what a handler did not set itself.
pub(crate) async fn security(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let is_docs = request.uri().path().starts_with("/docs");
    let mut response = next.run(request).await;
    let policy = if is_docs { DOCS_POLICY } else { API_POLICY };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if state.settings.public_url.scheme() == "https" {
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(HeaderValue::from_static(HTTPS_ONLY));
    }
    // What is one caller's is in no cache, unless its route knows better.
    if !is_docs {
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    response
}

/// Takes the promise of sameness in every byte from an entity tag whose body was compressed on the way out (RFC 9110, 8.8.1).
pub(crate) async fn weaken_compressed(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if response.headers().contains_key(header::CONTENT_ENCODING)
        && let Some(header::Entry::Occupied(mut tag)) = response.headers_mut().try_entry(header::ETAG).ok()
        && !tag.get().as_bytes().starts_with(b"W/")
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.get().as_bytes()].concat())
    {
        tag.insert(weak);
    }
    response
}

/// The origins of the settings may call with cookies, and any origin without them when the settings say so; others get no
/// permission. `None` without such origins.
pub(crate) fn cors(settings: &ApiSettings) -> Option<CorsLayer> {
    let (origins, credentials) = match &settings.allowed_origins {
        // Mirrored and not `*`, so that answers of two origins are never mixed up in a cache.
        AllowedOrigins::Any => (AllowOrigin::mirror_request(), false),
        AllowedOrigins::List(origins) => {
            let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
            if origins.is_empty() {
                return None;
            }
            (AllowOrigin::list(origins), true)
        }
    };
    let headers = [
        header::ACCEPT,
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        HeaderName::from_static("x-csrf-token"),
        HeaderName::from_static("x-organization-id"),
        HeaderName::from_static("x-request-id"),
        HeaderName::from_static("x-bifrost-key"),
        HeaderName::from_static("x-api-key"),
        HeaderName::from_static("x-on-behalf-of"),
        HeaderName::from_static("idempotency-key"),
        HeaderName::from_static("last-event-id"),
        header::RANGE,
        header::IF_RANGE,
        header::IF_NONE_MATCH,
        HeaderName::from_static("prefer"),
    ];
    Some(
        CorsLayer::new()
            .allow_origin(origins)
            .allow_credentials(credentials)
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allow_headers(headers)
            .expose_headers([
                HeaderName::from_static("x-request-id"),
                HeaderName::from_static("x-continuation-token"),
                HeaderName::from_static("idempotency-replayed"),
                header::RETRY_AFTER,
                header::ETAG,
                header::ACCEPT_RANGES,
                header::CONTENT_RANGE,
            ])
            .max_age(std::time::Duration::from_secs(600)),
    )
}
