//! The own picture: `/api/profile/avatar`.

use super::{
    TAG,
    picture::{PictureForm, respond},
    profile::ProfileOut,
};
use crate::{
    access::allowed,
    extract::{ClientInfo, Json, PictureUpload, SignedIn},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use bifrost_domain::policy::actions::UseAccount;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(allowed::<UseAccount>(routes!(get)))
        .routes(allowed::<UseAccount>(routes!(set)))
        .routes(allowed::<UseAccount>(routes!(delete)))
}

/// See the own picture
#[utoipa::path(get, path = "/api/profile/avatar", tag = TAG, operation_id = "get_avatar", responses(
    (status = 200, description = "a PNG of at most 512 × 512 pixels", content_type = "image/png"),
    (status = 304, description = "the client has it"),
    (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
    (status = 404, description = "there is none", body = ProblemOut, content_type = "application/problem+json"),
))]
async fn get(State(state): State<ApiState>, me: SignedIn, headers: HeaderMap) -> Result<Response> {
    let picture = state.accounts.avatar(&me.permit::<UseAccount>()?).await?;
    Ok(respond(&headers, picture, "private, no-cache"))
}

/// Set the own picture
///
/// The body is the picture itself, or a form with it. It is made to fit 512 × 512 pixels.
#[utoipa::path(
    post, path = "/api/profile/avatar", tag = TAG, operation_id = "set_avatar",
    request_body(content = PictureForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, body = ProfileOut),
        (status = 400, description = "the form cannot be read", body = ProblemOut, content_type = "application/problem+json"),
        (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
        (status = 413, description = "larger than 2 MiB", body = ProblemOut, content_type = "application/problem+json"),
        (status = 415, description = "neither a form nor a picture", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "no PNG, JPEG or WebP, or larger than 4096 × 4096 pixels", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn set(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    PictureUpload(file): PictureUpload,
) -> Result<Json<ProfileOut>> {
    let permit = me.permit::<UseAccount>()?;
    state.accounts.set_avatar(&permit, file, &client).await?;
    Ok(Json(state.accounts.get(&permit).await?.into()))
}

/// Take the own picture away
#[utoipa::path(delete, path = "/api/profile/avatar", tag = TAG, operation_id = "delete_avatar", responses(
    (status = 204, description = "it is gone"),
    (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
    (status = 404, description = "there is none", body = ProblemOut, content_type = "application/problem+json"),
))]
async fn delete(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
) -> Result<StatusCode> {
    state.accounts.delete_avatar(&me.permit::<UseAccount>()?, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}
