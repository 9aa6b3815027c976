//! The page on which a person decides.

use crate::{page::Page, problem::Result};
use axum::response::Response;
use std::sync::LazyLock;

pub(crate) static PAGE: LazyLock<Page> =
    LazyLock::new(|| Page::new(include_str!("page.html"), include_str!("page.js")));

/// The page that asks a person
///
/// Shows which program asks to be signed in, to whoever is signed in here or signs in first; and has him approve or deny.
#[utoipa::path(
    get, path = "/auth/device", tag = "account", operation_id = "device_page", security(()),
    params(("user_code" = Option<String>, Query, description = "the letters that the program shows")),
    responses((status = 200, description = "the page", body = String, content_type = "text/html"))
)]
pub(super) async fn page() -> Result<Response> {
    PAGE.answer()
}
