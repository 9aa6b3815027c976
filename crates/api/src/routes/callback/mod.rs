//! Where providers send browsers back to: `/auth/callback/{name}`.

use crate::{access::public, page::Page, problem::Result, state::ApiState};
use axum::response::Response;
use std::sync::LazyLock;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) static PAGE: LazyLock<Page> =
    LazyLock::new(|| Page::new(include_str!("page.html"), include_str!("page.js")));

/// The route of this folder.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(public(routes!(page)))
}

/// The page that finishes a sign-in with a provider
///
/// The redirect address of every provider. Sends what stands in its address to `POST /auth/oauth/callback`, then the browser to where it
/// wanted to go; says what went wrong.
#[utoipa::path(
    get, path = "/auth/callback/{name}", tag = "account", operation_id = "oauth_page", security(()),
    params(
        ("name" = String, Path, description = "the provider's name"),
        ("code" = Option<String>, Query, description = "the authorization code"),
        ("state" = Option<String>, Query, description = "what was sent to the provider"),
        ("iss" = Option<String>, Query, description = "who answers (RFC 9207)"),
        ("error" = Option<String>, Query, description = "why the provider refused (RFC 6749, 4.1.2.1)"),
    ),
    responses((status = 200, description = "the page", body = String, content_type = "text/html"))
)]
async fn page() -> Result<Response> {
    PAGE.answer()
}
