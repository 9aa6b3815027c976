//! Every error answer: `application/problem+json` (RFC 9457) with our words beside the standard ones.
//!
//! The application's errors become problems in one `match`; what the log reads and what the caller reads are apart: of a
//! fault of ours the caller sees the request's id and nothing else.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bifrost_domain::error::{Error, Kind};
use serde::Serialize;
use std::{borrow::Cow, error::Error as _};
use utoipa::ToSchema;

/// `application/problem+json`
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// One bad field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldProblem {
    /// Where, as a JSON path.
    #[schema(example = "input_data.email")]
    pub path: String,
    /// A stable word for programs.
    #[schema(example = "required")]
    pub code: Cow<'static, str>,
    /// A sentence for people.
    #[schema(example = "is required")]
    pub message: String,
}

/// An error answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemOut {
    /// Always `about:blank`: `code` tells the kind.
    #[schema(example = "about:blank")]
    pub r#type: &'static str,
    /// The status in words.
    #[schema(example = "Not Found")]
    pub title: &'static str,
    /// The HTTP status.
    #[schema(example = 404)]
    pub status: u16,
    /// What went wrong and what to do about it.
    #[schema(example = "organization not found")]
    pub detail: Cow<'static, str>,
    /// A stable word for programs.
    #[schema(example = "not_found")]
    pub code: &'static str,
    /// The request, as the server's log knows it.
    pub request_id: Option<String>,
    /// The bad fields, when that is what went wrong.
    pub errors: Vec<FieldProblem>,
}

/// The error of every handler.
#[derive(Debug, Clone)]
pub struct Problem {
    out: Box<ProblemOut>,
    retry_after_seconds: Option<u64>,
}

/// What a handler returns.
pub type Result<T, E = Problem> = std::result::Result<T, E>;

impl Problem {
    /// A problem of a status that no [`Kind`] stands for (405, 415 …).
    #[must_use]
    pub fn of_status(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let out = ProblemOut {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            code: code_of(status),
            request_id: None,
            errors: Vec::new(),
        };
        Self { out: Box::new(out), retry_after_seconds: None }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.out.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The stable word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.out.code
    }

    /// Adds a stable word for programs.
    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.out.code = code;
        self
    }

    /// The answer for a request; `plain` names it `application/json`.
    pub(crate) fn render(mut self, request_id: Option<String>, plain: bool) -> Response {
        self.out.request_id = request_id;
        let body = serde_json::to_vec(&self.out).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let media_type = if plain { "application/json" } else { MEDIA_TYPE };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.out.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for Problem {
    /// The outermost layer renders it once more with the request's id and under the type that the caller accepts.
    fn into_response(self) -> Response {
        let mut response = self.clone().render(None, false);
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match error.kind {
            Kind::BadRequest => StatusCode::BAD_REQUEST,
            Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Gone => StatusCode::GONE,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        log(&error);
        if error.kind == Kind::Internal {
            return Self::internal();
        }
        let mut problem = Self::of_status(status, error.message);
        if let Some(code) = error.code {
            problem.out.code = code;
        }
        problem.out.errors = error
            .fields
            .into_iter()
            .map(|field| FieldProblem { path: field.path, code: field.code, message: field.message })
            .collect();
        problem.retry_after_seconds = match error.kind {
            Kind::TooMany { retry_after_seconds } => Some(retry_after_seconds),
            Kind::Unavailable => Some(1),
            _ => None,
        };
        problem
    }
}

impl Problem {
    /// Our fault.
    #[must_use]
    pub fn internal() -> Self {
        Self::of_status(
            StatusCode::INTERNAL_SERVER_ERROR,
            "something went wrong on the server; its log has the cause under the `request_id`",
        )
    }
}

/// Ours at error level, what will pass at warning level, the caller's own mistakes at debug; each once, with its chain.
fn log(error: &Error) {
    let chain = || {
        let mut text = String::new();
        let mut next = error.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    };
    match error.kind {
        Kind::Internal => tracing::error!(error = %format_args!("{error}{}", chain()), "request failed"),
        Kind::Unavailable => {
            tracing::warn!(error = %format_args!("{error}{}", chain()), "request not served");
        }
        _ => tracing::debug!(error = %error, "request refused"),
    }
}

fn code_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "bad_request",
        401 => "unauthenticated",
        403 => "forbidden",
        404 => "not_found",
        405 => "method_not_allowed",
        408 => "timeout",
        409 => "conflict",
        410 => "gone",
        413 => "too_large",
        414 => "uri_too_long",
        415 => "unsupported_media_type",
        416 => "range_not_satisfiable",
        431 => "headers_too_large",
        422 => "invalid",
        429 => "too_many_requests",
        503 => "unavailable",
        _ if status.is_client_error() => "refused",
        _ => "internal",
    }
}
