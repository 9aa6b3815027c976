//! How the platform shows itself: `/api/branding`.

use super::account::picture::{PictureForm, respond};
use crate::{
    access::{allowed, public},
    extract::{ClientInfo, Json, Patch, Path, PictureUpload, SignedIn, ValidJson},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use bifrost_domain::{
    branding::{Branding, BrandingPatch, LogoKind},
    policy::actions::WriteBranding,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

const TAG: &str = "branding";

/// The routes of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(public(routes!(get)))
        .routes(allowed::<WriteBranding>(routes!(update)))
        .routes(public(routes!(logo)))
        .routes(allowed::<WriteBranding>(routes!(set_logo)))
        .routes(allowed::<WriteBranding>(routes!(delete_logo)))
}

/// What is shown; what is `null` was not set.
#[derive(Serialize, ToSchema)]
#[schema(as = Branding)]
struct BrandingOut {
    #[schema(example = "Acme Automation")]
    name: Option<String>,
    #[schema(example = "#0066cc")]
    primary_color: Option<String>,
    /// Another logo has another address.
    #[schema(example = "/api/branding/logo/square?v=5feceb66ffc86f38d952786c6d696c79")]
    square_logo_url: Option<String>,
    #[schema(example = "/api/branding/logo/rectangle?v=5feceb66ffc86f38d952786c6d696c79")]
    rectangle_logo_url: Option<String>,
    updated_at: Option<DateTime<Utc>>,
}

impl From<Branding> for BrandingOut {
    fn from(branding: Branding) -> Self {
        let url =
            |kind: LogoKind, tag: Option<String>| tag.map(|tag| format!("/api/branding/logo/{kind}?v={tag}"));
        Self {
            name: branding.name,
            primary_color: branding.primary_color,
            square_logo_url: url(LogoKind::Square, branding.square_logo),
            rectangle_logo_url: url(LogoKind::Rectangle, branding.rectangle_logo),
            updated_at: branding.updated_at,
        }
    }
}

/// A change: what is not named stays, `null` takes it away.
#[derive(Deserialize, ToSchema)]
#[schema(as = BrandingIn)]
struct BrandingIn {
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 100, example = "Acme Automation")]
    name: Patch<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^#[0-9a-fA-F]{6}$", example = "#0066cc")]
    primary_color: Patch<String>,
}

/// See the branding
#[utoipa::path(get, path = "/api/branding", tag = TAG, security(()), responses((status = 200, body = BrandingOut)))]
async fn get(State(state): State<ApiState>) -> Result<Json<BrandingOut>> {
    Ok(Json(state.branding.get().await?.into()))
}

/// Change name and colour
#[utoipa::path(
    put, path = "/api/branding", tag = TAG, request_body = BrandingIn,
    responses(
        (status = 200, body = BrandingOut),
        (status = 403, description = "not a platform admin", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn update(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    ValidJson(input): ValidJson<BrandingIn>,
) -> Result<Json<BrandingOut>> {
    let patch =
        BrandingPatch { name: input.name.into_option(), primary_color: input.primary_color.into_option() };
    Ok(Json(state.branding.update(&me.permit::<WriteBranding>()?, patch, &client).await?.into()))
}

/// See a logo
#[utoipa::path(
    get, path = "/api/branding/logo/{kind}", tag = TAG, security(()),
    params(("kind" = String, Path, description = "`square` or `rectangle`", example = "square")),
    responses(
        (status = 200, description = "a PNG", content_type = "image/png"),
        (status = 304, description = "the client has it"),
        (status = 404, description = "there is none", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "no kind of logo", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn logo(
    State(state): State<ApiState>,
    Path(kind): Path<LogoKind>,
    headers: HeaderMap,
) -> Result<Response> {
    Ok(respond(&headers, state.branding.logo(kind).await?, "public, no-cache"))
}

/// Set a logo
///
/// The body is the picture itself, or a form with it. A square one is made to fit 512 × 512 pixels, a rectangular one 1024 × 512.
#[utoipa::path(
    post, path = "/api/branding/logo/{kind}", tag = TAG,
    params(("kind" = String, Path, description = "`square` or `rectangle`", example = "square")),
    request_body(content = PictureForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, body = BrandingOut),
        (status = 400, description = "the form cannot be read", body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, description = "not a platform admin", body = ProblemOut, content_type = "application/problem+json"),
        (status = 413, description = "larger than 2 MiB", body = ProblemOut, content_type = "application/problem+json"),
        (status = 415, description = "neither a form nor a picture", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "no kind of logo, no PNG, JPEG or WebP, or larger than 4096 × 4096 pixels", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn set_logo(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(kind): Path<LogoKind>,
    PictureUpload(file): PictureUpload,
) -> Result<Json<BrandingOut>> {
    let permit = me.permit::<WriteBranding>()?;
    Ok(Json(state.branding.set_logo(&permit, kind, file, &client).await?.into()))
}

/// Take a logo away
#[utoipa::path(
    delete, path = "/api/branding/logo/{kind}", tag = TAG,
    params(("kind" = String, Path, description = "`square` or `rectangle`", example = "square")),
    responses(
        (status = 204, description = "it is gone"),
        (status = 403, description = "not a platform admin", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "there is none", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "no kind of logo", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn delete_logo(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(kind): Path<LogoKind>,
) -> Result<StatusCode> {
    state.branding.delete_logo(&me.permit::<WriteBranding>()?, kind, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}
