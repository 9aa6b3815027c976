//! Answers with a picture.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bifrost_storage::accounts::Picture;

/// A file to send.
#[derive(utoipa::ToSchema)]
#[schema(as = PictureForm)]
#[expect(dead_code, reason = "describes the form in the document")]
pub(in crate::routes) struct PictureForm {
    /// PNG, JPEG or WebP, at most 2 MiB and 4096 × 4096 pixels.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// The picture, or 304 when the client has it. `cache` says who may keep it; it is asked for again each time.
pub(in crate::routes) fn respond(asked: &HeaderMap, picture: Picture, cache: &'static str) -> Response {
    let tag = format!("\"{}\"", picture.etag);
    let known = asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|one| one.trim() == "*" || one.trim().trim_start_matches("W/") == tag);
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, "image/png")], picture.content).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}
