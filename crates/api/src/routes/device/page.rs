//! The page on which a person decides. It loads nothing: style and script are in it, and their hashes are all that its policy allows.

use crate::problem::Result;
use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bifrost_domain::error::Error;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

static PAGE: LazyLock<String> =
    LazyLock::new(|| include_str!("page.html").replace("/*style*/", STYLE).replace("/*script*/", SCRIPT));

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

/// The page that asks a person
///
/// Shows which program asks to be signed in, to whoever is signed in here or signs in first; and has him approve or deny.
#[utoipa::path(
    get, path = "/auth/device", tag = "account", operation_id = "device_page", security(()),
    params(("user_code" = Option<String>, Query, description = "the letters that the program shows")),
    responses((status = 200, description = "the page", body = String, content_type = "text/html"))
)]
pub(super) async fn page() -> Result<Response> {
    let policy = HeaderValue::from_str(&POLICY).map_err(Error::internal)?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    Ok((headers, PAGE.as_str()).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_policy_allows_is_what_the_page_has() {
        let between = |start: &str, end: &str| {
            let (_, rest) = PAGE.split_once(start).expect(start);
            rest.split_once(end).expect(end).0.to_owned()
        };
        for (kind, text) in
            [("style", between("<style>", "</style>")), ("script", between("<script>", "</script>"))]
        {
            let allowed = format!("{kind}-src 'sha256-{}'", STANDARD.encode(Sha256::digest(&text)));
            assert!(POLICY.contains(&allowed), "{kind}");
        }
        for outside in ["http://", "https://", "//cdn", " src=", " href=", "style=\"", "innerHTML"] {
            assert!(!PAGE.contains(outside), "{outside}");
        }
    }
}
