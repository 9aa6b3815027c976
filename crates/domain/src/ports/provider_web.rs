//! HTTP to identity providers: their discovery documents, keys, token and userinfo endpoints. What comes back is text of somebody else's;
//! `app` reads and judges it.
//!
//! There is one adapter (HTTPS): there is nothing embedded that an identity provider could be. Tests talk to a real provider and to a
//! stand-in over a socket, so no fake has to be held to a suite.

use async_trait::async_trait;
use secrecy::SecretString;
use url::Url;

/// Larger answers are refused, bytes.
pub const MAX_ANSWER: usize = 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither `https`, nor `http` to this machine.
    #[error("the address must be https (http only to this machine)")]
    NotSecure,
    /// The answer is larger than [`MAX_ANSWER`].
    #[error("the answer is larger than {MAX_ANSWER} bytes")]
    TooLarge,
    /// Not reached, or no answer in time.
    #[error("the provider cannot be reached or does not answer in time")]
    Away(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status; redirects are not followed, so this may be one.
    pub status: u16,
    /// The body, at most [`MAX_ANSWER`] bytes.
    pub body: Vec<u8>,
}

/// A form to a token endpoint.
pub struct Form<'a> {
    /// The fields, not yet encoded.
    pub fields: Vec<(&'a str, &'a str)>,
    /// User and password of `Authorization: Basic`, as they are to be sent.
    pub basic: Option<(String, SecretString)>,
}

impl std::fmt::Debug for Form<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Form").field("fields", &self.fields.len()).finish_non_exhaustive()
    }
}

/// The way to identity providers. Every call ends within seconds, follows no redirect, and goes over TLS unless the address is this
/// machine's.
#[async_trait]
pub trait ProviderWeb: Send + Sync + 'static {
    /// `GET` of a JSON document, with an access token if one is given.
    async fn get(&self, url: &Url, bearer: Option<&SecretString>) -> Result<Answer, Error>;

    /// `POST` of a form.
    async fn post(&self, url: &Url, form: Form<'_>) -> Result<Answer, Error>;
}

/// Whether an address may be asked at all.
#[must_use]
pub fn is_secure(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    url.host().is_some() && (url.scheme() == "https" || (url.scheme() == "http" && is_loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_goes_to_this_machine_alone() {
        for (text, expected) in [
            ("https://login.example/x", true),
            ("http://localhost:3000", true),
            ("http://127.0.0.1:3000", true),
            ("http://[::1]:3000", true),
            ("http://login.example", false),
            ("http://localhost.example", false),
            ("ftp://localhost", false),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(is_secure(&text.parse().expect(text)), expected, "{text}");
        }
    }
}
