//! How long the address and the headers of a request may be. The server below bounds them as well, much later and without a word.

use crate::problem::Problem;
use axum::{
    extract::Request,
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};

/// Longest path with its query, bytes.
const MAX_ADDRESS: usize = 8 * 1024;
/// Names and values of all headers together, bytes.
const MAX_HEADERS: usize = 32 * 1024;

/// Answers 414 or 431 with the bound in its text.
pub(crate) async fn head(request: Request, next: Next) -> Response {
    let address = request.uri().path_and_query().map_or(0, |address| address.as_str().len());
    if address > MAX_ADDRESS {
        let detail = format!("the address is longer than {MAX_ADDRESS} bytes");
        return Problem::of_status(StatusCode::URI_TOO_LONG, detail).into_response();
    }
    let headers: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers > MAX_HEADERS {
        let detail = format!("the headers have more than {MAX_HEADERS} bytes");
        return Problem::of_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, detail).into_response();
    }
    next.run(request).await
}
