//! Pages of our own, for where a person's browser is sent. They load nothing: style and script are in them, and their hashes are all that
//! their policy allows.
//!
//! How to add one: `page.html` and `page.js` in the folder of its route, a `static` of [`Page::new`], and a line in the test below. The
//! script begins after `common.js` and in its scope. What somebody else wrote is shown as text alone (`textContent`).

use crate::problem::Result;
use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bifrost_domain::error::Error;
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("page.css");
const COMMON: &str = include_str!("common.js");

/// A page with what its policy allows.
#[derive(Debug)]
pub(crate) struct Page {
    text: String,
    policy: String,
}

impl Page {
    /// A page of `html`, where `/*style*/` and `/*script*/` stand for those.
    pub(crate) fn new(html: &str, script: &str) -> Self {
        let script = format!("\n\"use strict\";\n(() => {{\n{COMMON}{script}}})();\n");
        let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            hash(STYLE),
            hash(&script)
        );
        Self { text: html.replace("/*style*/", STYLE).replace("/*script*/", &script), policy }
    }

    /// The page as an answer.
    pub(crate) fn answer(&self) -> Result<Response> {
        let policy = HeaderValue::from_str(&self.policy).map_err(Error::internal)?;
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (header::CONTENT_SECURITY_POLICY, policy),
        ];
        Ok((headers, self.text.clone()).into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::{callback, device};

    #[test]
    fn what_the_policies_allow_is_what_the_pages_have() {
        for page in [&*callback::PAGE, &*device::PAGE] {
            let between = |start: &str, end: &str| {
                let (_, rest) = page.text.split_once(start).expect(start);
                rest.split_once(end).expect(end).0.to_owned()
            };
            for (kind, text) in
                [("style", between("<style>", "</style>")), ("script", between("<script>", "</script>"))]
            {
                let allowed = format!("{kind}-src 'sha256-{}'", STANDARD.encode(Sha256::digest(&text)));
                assert!(page.policy.contains(&allowed), "{kind}");
            }
            for outside in ["http://", "https://", "//cdn", " src=", " href=", "style=\"", "innerHTML"] {
                assert!(!page.text.contains(outside), "{outside}");
            }
        }
    }
}
