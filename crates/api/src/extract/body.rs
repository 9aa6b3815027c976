//! Bodies: JSON and forms, read up to the limit, each refusal in its own status.

use super::fields::{from_json, from_urlencoded};
use crate::{problem::Problem, state::ApiState};
use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bifrost_domain::error::{Error, Kind};
use futures::StreamExt;
use serde::{Serialize, de::DeserializeOwned};

/// A form is a few texts, and comes from people who have not signed in yet: as many pairs as a body holds would take many times its size.
const MAX_FORM: usize = 64 * 1024;

/// A JSON body. 415 when it is not called JSON, 413 over the limit, 400 when it is not JSON, 422 when a field is missing or
/// of another type. Rules of the business are the application's.
#[derive(Debug)]
pub struct ValidJson<T>(pub T);

/// A JSON body that may be left out.
#[derive(Debug)]
pub struct OptionalJson<T>(pub Option<T>);

/// A form (`application/x-www-form-urlencoded`).
#[derive(Debug)]
pub struct Form<T>(pub T);

/// A form as OAuth2 sends it, or the same as JSON.
#[derive(Debug)]
pub struct FormOrJson<T>(pub T);

/// A JSON answer.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T: DeserializeOwned> FromRequest<ApiState> for ValidJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Problem> {
        require(request.headers(), is_json, "send JSON with `Content-Type: application/json`")?;
        let limit = state.settings.body_limit_bytes;
        Ok(Self(from_json(&read(request, state, limit).await?)?))
    }
}

impl<T: DeserializeOwned> FromRequest<ApiState> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Problem> {
        let is_json = is_json(&media_type(request.headers()));
        let body = read(request, state, state.settings.body_limit_bytes).await?;
        if body.is_empty() {
            return Ok(Self(None));
        }
        if !is_json {
            return Err(unsupported("send JSON with `Content-Type: application/json`"));
        }
        Ok(Self(Some(from_json(&body)?)))
    }
}

impl<T: DeserializeOwned> FromRequest<ApiState> for FormOrJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Problem> {
        let media_type = media_type(request.headers());
        let body = read(request, state, state.settings.body_limit_bytes.min(MAX_FORM)).await?;
        if is_json(&media_type) {
            return Ok(Self(from_json(&body)?));
        }
        if body.is_empty() || media_type == "application/x-www-form-urlencoded" {
            return Ok(Self(from_urlencoded(&body)?));
        }
        Err(unsupported("send a form, or JSON with `Content-Type: application/json`"))
    }
}

impl<T: DeserializeOwned> FromRequest<ApiState> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Problem> {
        require(
            request.headers(),
            |media_type| media_type == "application/x-www-form-urlencoded",
            "send a form with `Content-Type: application/x-www-form-urlencoded`",
        )?;
        let limit = state.settings.body_limit_bytes.min(MAX_FORM);
        Ok(Self(from_urlencoded(&read(request, state, limit).await?)?))
    }
}

/// The media type without its parameters, lower case.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// `application/json`, or a type built on it (RFC 6839).
pub(super) fn is_json(media_type: &str) -> bool {
    media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

fn require(headers: &HeaderMap, fits: impl Fn(&str) -> bool, hint: &'static str) -> Result<(), Problem> {
    if fits(&media_type(headers)) { Ok(()) } else { Err(unsupported(hint)) }
}

/// What a few bytes unpack to has no bound of its own, so nothing is unpacked.
fn refuse_encoded(headers: &HeaderMap) -> Result<(), Problem> {
    let is_plain =
        |value: &HeaderValue| value.to_str().is_ok_and(|text| text.eq_ignore_ascii_case("identity"));
    if headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain) {
        return Ok(());
    }
    Err(unsupported("send the body as it is, without `Content-Encoding`"))
}

fn unsupported(hint: &'static str) -> Problem {
    Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, hint)
}

/// The body as it came, within the bound of any.
pub(crate) async fn read_body(request: Request, state: &ApiState) -> Result<Bytes, Problem> {
    read(request, state, state.settings.body_limit_bytes).await
}

/// The body, which has to arrive within the time of a request: routes that wait for a run are bounded here alone.
pub(super) async fn read(request: Request, state: &ApiState, limit: usize) -> Result<Bytes, Problem> {
    let within = state.settings.request_timeout;
    match tokio::time::timeout(within, read_all(request, limit)).await {
        Ok(body) => body,
        Err(_) => Err(Problem::of_status(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not arrive within {} s", within.as_secs_f32()),
        )),
    }
}

async fn read_all(request: Request, limit: usize) -> Result<Bytes, Problem> {
    refuse_encoded(request.headers())?;
    let too_large = || Error::new(Kind::TooLarge, format!("the body is larger than {limit} bytes"));
    let announced =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > limit as u64) {
        return Err(too_large().into());
    }
    // Not `to_bytes`: its error does not tell a body that is too long from one that broke off.
    let mut parts = request.into_body().into_data_stream();
    let mut body = Vec::new();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| Error::bad_request("the body broke off"))?;
        if body.len() + part.len() > limit {
            return Err(too_large().into());
        }
        body.extend_from_slice(&part);
    }
    Ok(body.into())
}
