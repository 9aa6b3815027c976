//! A file that somebody sends: alone as the body, or as the first file of a form.

use super::body::{media_type, read};
use crate::{problem::Problem, state::ApiState};
use axum::{
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, FromRequest, Multipart, Request},
    http::{StatusCode, header},
};
use bifrost_app::images::MAX_FILE_BYTES;
use bifrost_domain::error::{Error, Kind};

/// What a form may have around the file.
const MAX_AROUND: usize = 64 * 1024;

/// A picture: `image/…` as it is, or `multipart/form-data` with the file in it. 413 over 2 MiB, 415 for other types, 422 without a file.
#[derive(Debug)]
pub struct PictureUpload(pub Bytes);

fn too_large() -> Problem {
    Error::new(Kind::TooLarge, format!("the picture is larger than {MAX_FILE_BYTES} bytes")).into()
}

impl FromRequest<ApiState> for PictureUpload {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Problem> {
        let kind = media_type(request.headers());
        if kind.starts_with("image/") || kind == "application/octet-stream" {
            return Ok(Self(read(request, state, MAX_FILE_BYTES).await?));
        }
        if kind != "multipart/form-data" {
            return Err(Problem::of_status(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send the picture as `multipart/form-data`, or alone with its own `Content-Type`",
            ));
        }
        let described = request.headers().get(header::CONTENT_TYPE).cloned();
        let body = read(request, state, MAX_FILE_BYTES + MAX_AROUND).await?;
        let mut form = Request::new(Body::from(body));
        if let Some(described) = described {
            form.headers_mut().insert(header::CONTENT_TYPE, described);
        }
        // It is bounded already.
        DefaultBodyLimit::disable().apply(&mut form);
        let no_form = |_| Error::bad_request("the form cannot be read").with_code("multipart");
        let mut form = Multipart::from_request(form, state)
            .await
            .map_err(|_| Error::bad_request("the form has no boundary").with_code("multipart"))?;
        while let Some(field) = form.next_field().await.map_err(no_form)? {
            if field.file_name().is_none() && field.name() != Some("file") {
                continue;
            }
            let file = field.bytes().await.map_err(no_form)?;
            if file.len() > MAX_FILE_BYTES {
                return Err(too_large());
            }
            return Ok(Self(file));
        }
        Err(Error::invalid("file", "required", "is required").into())
    }
}
