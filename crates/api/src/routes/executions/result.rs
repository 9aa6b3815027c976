//! `GET /api/executions/{id}/result`: a result of any size, whole or a part of it, streamed from where it is kept.

use super::range::{Named, Selection};
use crate::{
    extract::{Path, SignedIn},
    problem::{Problem, ProblemOut, Result},
    state::ApiState,
};
use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bifrost_app::executions::Output;
use bifrost_domain::{error::Error, ids::ExecutionId};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::Value;
use std::ops::Range;
use utoipa::ToSchema;

/// A result.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExecutionResult)]
pub(crate) struct ResultOut {
    /// Whatever the workflow returned.
    result: Option<Value>,
    /// `json`, `html` or `text`.
    #[schema(example = "json")]
    result_type: &'static str,
}

/// Get the result of an execution
///
/// Null while it runs. A result of any size is streamed; after the end the answer has an `ETag`, and parts of it can be asked for with
/// `Range` (RFC 9110: one range of bytes; `If-Range` and `If-None-Match` are understood). `HEAD` tells the size.
#[utoipa::path(
    get, path = "/api/executions/{id}/result", tag = "executions",
    params(
        ("id" = Uuid, Path),
        ("Range" = Option<String>, Header, description = "a part, e.g. `bytes=0-1048575`; several at a time get the whole"),
        ("If-Range" = Option<String>, Header, description = "the `ETag` that the part has to be of"),
        ("If-None-Match" = Option<String>, Header, description = "the `ETag` that is known already"),
    ),
    responses(
        (status = 200, body = ResultOut),
        (status = 206, body = String, content_type = "application/json", description = "the part that was asked for"),
        (status = 304, description = "it is the one that is known already"),
        (status = 401, body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, body = ProblemOut, content_type = "application/problem+json"),
        (status = 410, body = ProblemOut, content_type = "application/problem+json", description = "the object store has lost it"),
        (status = 416, body = ProblemOut, content_type = "application/problem+json", description = "the part is behind the end; `Content-Range` tells the size"),
        (status = 422, body = ProblemOut, content_type = "application/problem+json"),
        (status = 503, body = ProblemOut, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn result(
    State(state): State<ApiState>,
    signed_in: SignedIn,
    Path(id): Path<ExecutionId>,
    headers: HeaderMap,
) -> Result<Response> {
    let output = state.app.execution_result(&signed_in.caller, id).await?;
    let envelope = Envelope::around(&output);
    let named =
        Named { tag: output.version.as_ref().map(|version| format!("\"{version}\"")), size: envelope.size() };
    let mut response = match named.asked(&headers) {
        Selection::Known => StatusCode::NOT_MODIFIED.into_response(),
        Selection::Whole => body(&state, &output, &envelope, 0..named.size, StatusCode::OK).await?,
        Selection::Part(range) => {
            let text = format!("bytes {}-{}/{}", range.start, range.end - 1, named.size);
            let mut response = body(&state, &output, &envelope, range, StatusCode::PARTIAL_CONTENT).await?;
            set(&mut response, header::CONTENT_RANGE, text)?;
            response
        }
        Selection::Outside => {
            let detail = format!("the result has {} bytes: there is no such part of it", named.size);
            let mut response = Problem::of_status(StatusCode::RANGE_NOT_SATISFIABLE, detail).into_response();
            set(&mut response, header::CONTENT_RANGE, format!("bytes */{}", named.size))?;
            return Ok(response);
        }
    };
    match named.tag {
        Some(tag) => {
            set(&mut response, header::ETAG, tag)?;
            set(&mut response, header::CACHE_CONTROL, "private, no-cache".to_owned())?;
            set(&mut response, header::ACCEPT_RANGES, "bytes".to_owned())?;
        }
        None => set(&mut response, header::CACHE_CONTROL, "no-store".to_owned())?,
    }
    Ok(response)
}

fn set(response: &mut Response, name: header::HeaderName, value: String) -> Result<()> {
    let value = HeaderValue::try_from(value).map_err(Error::internal)?;
    response.headers_mut().insert(name, value);
    Ok(())
}

/// What stands around the stored text: that goes out as it is, and is not parsed and written again.
struct Envelope {
    head: Bytes,
    inner: u64,
    tail: Bytes,
}

impl Envelope {
    fn around(output: &Output) -> Self {
        let head = if output.size == 0 { "{\"result\":null" } else { "{\"result\":" };
        Self {
            head: Bytes::from_static(head.as_bytes()),
            inner: output.size,
            tail: Bytes::from(format!(",\"result_type\":\"{}\"}}", output.result_type.as_str())),
        }
    }

    fn size(&self) -> u64 {
        self.head.len() as u64 + self.inner + self.tail.len() as u64
    }

    /// What of head, inner text and tail lies in `range`.
    fn cut(&self, range: &Range<u64>) -> (Bytes, Range<u64>, Bytes) {
        let inner = self.head.len() as u64;
        let tail = inner + self.inner;
        let part = |from: u64, length: u64| {
            let (start, end) = (range.start.max(from), range.end.min(from + length));
            if start < end { start - from..end - from } else { 0..0 }
        };
        let bytes = |of: &Bytes, part: Range<u64>| {
            let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(of.len());
            of.slice(index(part.start)..index(part.end))
        };
        (
            bytes(&self.head, part(0, inner)),
            part(inner, self.inner),
            bytes(&self.tail, part(tail, self.tail.len() as u64)),
        )
    }
}

async fn body(
    state: &ApiState,
    output: &Output,
    envelope: &Envelope,
    range: Range<u64>,
    status: StatusCode,
) -> Result<Response> {
    let (head, inner, tail) = envelope.cut(&range);
    let pieces = state.app.read_result(output, inner).await?;
    let one = |bytes: Bytes| stream::iter((!bytes.is_empty()).then_some(Ok(bytes)));
    let pieces = one(head).chain(pieces).chain(one(tail)).inspect_err(|error| {
        tracing::warn!(error = %error, "a result broke off on its way to the caller");
    });
    let mut response = Response::new(Body::from_stream(pieces));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
