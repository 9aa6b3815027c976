//! The outermost layer: the request's id, its span and log line, and the last word on every error answer.
//!
//! The id stands in logs and in the audit log, so nobody chooses it but a proxy of ours, whose own log then has the same one.

use crate::{extract::is_from_proxy, problem::Problem, state::ApiState};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};
use std::time::Instant;
use tracing::Instrument;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_ID: usize = 64;

/// The id of the request.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// See the module. Queries and headers are never logged: they carry tickets and tokens.
pub(crate) async fn handle(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let given = is_from_proxy(request.extensions(), &state.settings.trusted_proxies)
        .then(|| given_id(request.headers()))
        .flatten();
    let id = given.unwrap_or_else(|| state.ids.next().to_string());
    let plain = wants_plain_json(request.headers());
    let span = tracing::info_span!(
        "request",
        request.id = %id,
        method = %request.method(),
        path = %request.uri().path(),
    );
    request.extensions_mut().insert(RequestId(id.clone()));
    let started = Instant::now();
    async {
        let mut response = finish(next.run(request).await, &id, plain);
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        let duration_ms = started.elapsed().as_millis();
        tracing::debug!(status = response.status().as_u16(), duration_ms, "answered");
        response
    }
    .instrument(span)
    .await
}

/// The id that a proxy gave, when it is one and may stand in a log line.
fn given_id(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(REQUEST_ID).iter();
    // Of two one came from the client.
    let (Some(id), None) = (values.next(), values.next()) else { return None };
    let id = id.to_str().ok()?;
    let sane = (1..=MAX_ID).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    sane.then(|| id.to_owned())
}

/// Clients of before ask for `application/json` and nothing else.
fn wants_plain_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("application/json") && !accept.contains(crate::problem::MEDIA_TYPE)
}

/// Gives a problem its id, and makes one of what the router itself refused.
fn finish(mut response: Response, id: &str, plain: bool) -> Response {
    let status = response.status();
    let problem = response.extensions_mut().remove::<Problem>();
    let problem = match problem {
        Some(problem) => problem,
        None if status.is_client_error() || status.is_server_error() => {
            if is_json(&response) {
                return response;
            }
            match status {
                StatusCode::METHOD_NOT_ALLOWED => {
                    Problem::of_status(status, "this route does not know this method; see the header `Allow`")
                }
                StatusCode::NOT_FOUND => Problem::of_status(status, "there is nothing here; see /docs"),
                status if status.is_server_error() => Problem::internal(),
                status => Problem::of_status(status, status.canonical_reason().unwrap_or("refused")),
            }
        }
        None => return response,
    };
    let mut rendered = problem.render(Some(id.to_owned()), plain);
    let body = [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING];
    for (name, value) in response.headers() {
        if !body.contains(name) && !rendered.headers().contains_key(name) {
            rendered.headers_mut().append(name, value.clone());
        }
    }
    rendered
}

fn is_json(response: &Response) -> bool {
    let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    media_type.is_some_and(|media_type| media_type.contains("json"))
}
