//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a POST that creates or runs is done once, however often it is sent.

use crate::{answers, extract::read_body, panicked, problem::Problem, state::ApiState};
use axum::{
    body::{Body, to_bytes},
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use bifrost_app::idempotency::{Begun, Claim, MOST_REPLY_BYTES, Reply};
use bifrost_domain::{error::Error, policy::Caller};
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use std::panic::AssertUnwindSafe;
use tracing::Instrument;
use utoipa::openapi::{
    RefOr, Required,
    path::{Operation, ParameterBuilder, ParameterIn},
    schema::{ObjectBuilder, Type},
};

/// The request's header.
pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// On an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const MOST_KEY_BYTES: usize = 255;

/// Put into a response whose body shows something once: what is answered when the request is sent again.
#[derive(Debug, Clone)]
pub(crate) struct Repeat(pub(crate) String);

/// What they answer opens a session or a connection: it is not kept, and worth nothing when it is asked for again.
const WITHOUT: [&str; 2] = ["/api/live/ticket", "/api/profile/password"];

/// Whether requests of this kind may carry a key.
pub(crate) fn takes_key(method: &Method, path: &str) -> bool {
    method == Method::POST && !path.starts_with("/auth/") && !WITHOUT.contains(&path)
}

/// The request's key.
///
/// # Errors
/// More than one, empty, longer than 255 bytes or with other than visible ASCII.
pub(crate) fn key_of(method: &Method, path: &str, headers: &HeaderMap) -> Result<Option<String>, Problem> {
    if !takes_key(method, path) {
        return Ok(None);
    }
    let mut given = headers.get_all(KEY).iter();
    let Some(first) = given.next() else { return Ok(None) };
    // The draft writes it as a string of RFC 8941, in quotes; most clients send it bare.
    let text = first.to_str().unwrap_or_default().trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let fits = (1..=MOST_KEY_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !fits || given.next().is_some() {
        let words = "the header `Idempotency-Key` is given once, with 1 to 255 visible ASCII characters, for example a UUID";
        return Err(Problem::from(Error::bad_request(words)).with_code("idempotency_key_invalid"));
    }
    Ok(Some(text.to_owned()))
}

/// Writes the header into the document.
pub(crate) fn describe(operation: &mut Operation) {
    let schema = ObjectBuilder::new().schema_type(Type::String).max_length(Some(MOST_KEY_BYTES)).build();
    let header = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "A name of the caller's for this request, for example a UUID. The same request with the same name within 24 hours is not done \
             again: it gets the first answer, with `Idempotency-Replayed: true`.",
        ))
        .schema(Some(schema))
        .build();
    operation.parameters.get_or_insert_default().push(RefOr::T(header));
    answers::add(
        operation,
        &[
            ("400", "the header `Idempotency-Key` cannot be read"),
            (
                "409",
                "the first request with this `Idempotency-Key` is being done, or its answer is not known",
            ),
            ("422", "this `Idempotency-Key` came with another request"),
        ],
    );
}

/// Does the request, or answers as it was answered before.
pub(crate) async fn once(
    state: &ApiState,
    caller: &Caller,
    key: String,
    request: Request,
    next: Next,
) -> Response {
    let (request, body) = match buffered(state, request).await {
        Ok(read) => read,
        Err(problem) => return problem.into_response(),
    };
    let what = format!("{} {}", request.method(), request.uri());
    let (state, caller) = (state.clone(), caller.clone());
    let doing = async move {
        match state.app.begin_request(&caller, &key, &what, &body).await {
            Ok(Begun::Answered(reply)) => repeated(reply),
            Ok(Begun::New(claim)) => {
                let work = async { finish(&state, claim, next.run(request).await).await };
                match AssertUnwindSafe(work).catch_unwind().await {
                    Ok(response) => response,
                    Err(panic) => {
                        state.app.answered(claim, Reply { status: 500, body: None }).await;
                        panicked(panic)
                    }
                }
            }
            Err(error) => Problem::from(error).into_response(),
        }
    };
    // By itself: a client that goes away sends the request again, and shall find it done.
    tokio::spawn(doing.in_current_span()).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request with an Idempotency-Key was not done to its end");
        Problem::internal().into_response()
    })
}

/// The request with its body read, and the body.
async fn buffered(state: &ApiState, request: Request) -> Result<(Request, Bytes), Problem> {
    let (parts, body) = request.into_parts();
    let mut sent = Request::new(body);
    *sent.headers_mut() = parts.headers.clone();
    let body = read_body(sent, state).await?;
    Ok((Request::from_parts(parts, Body::from(body.clone())), body))
}

async fn finish(state: &ApiState, claim: Claim, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let status = parts.status.as_u16();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        state.app.answered(claim, Reply { status: 500, body: None }).await;
        return Problem::internal().into_response();
    };
    let shown = match parts.extensions.get::<Repeat>() {
        Some(Repeat(text)) => Some(text.clone()),
        // Who sets a cookie gives a credential.
        None if body.is_empty() || parts.headers.contains_key(header::SET_COOKIE) => None,
        None => text_of(&body),
    };
    // Without its text an answer of 2xx cannot be given again.
    let is_lost = parts.status.is_success() && shown.is_none() && !body.is_empty();
    let reply = Reply { status: if is_lost { 500 } else { status }, body: shown };
    state.app.answered(claim, reply).await;
    Response::from_parts(parts, Body::from(body))
}

fn text_of(body: &Bytes) -> Option<String> {
    if body.len() > MOST_REPLY_BYTES {
        return None;
    }
    String::from_utf8(body.to_vec()).ok()
}

fn repeated(reply: Reply) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    if let Some(text) = reply.body {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        *response.body_mut() = Body::from(text);
    }
    response
}
