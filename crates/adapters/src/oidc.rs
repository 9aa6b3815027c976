//! HTTPS to identity providers.

use async_trait::async_trait;
use bifrost_domain::ports::provider_web::{Answer, Error, Form, MAX_ANSWER, ProviderWeb, is_secure};
use reqwest::{Client, RequestBuilder, redirect::Policy};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use url::Url;

/// A provider that is slower is away.
const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Clone)]
pub struct HttpsWeb {
    client: Client,
}

impl HttpsWeb {
    /// A client of its own, with the certificates that the machine trusts.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> Result<Self, Error> {
        // Another part of the process may have chosen the same before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .pool_max_idle_per_host(2)
            .user_agent(concat!("bifrost/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(away)?;
        Ok(Self { client })
    }
}

fn away(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Away(error.into())
}

async fn send(url: &Url, request: RequestBuilder) -> Result<Answer, Error> {
    if !is_secure(url) {
        return Err(Error::NotSecure);
    }
    let mut response = request
        .header("accept", "application/json")
        .send()
        .await
        .map_err(|error| away(error.without_url()))?;
    let status = response.status().as_u16();
    if response.content_length().is_some_and(|length| length > MAX_ANSWER as u64) {
        return Err(Error::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| away(error.without_url()))? {
        if body.len() + piece.len() > MAX_ANSWER {
            return Err(Error::TooLarge);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Answer { status, body })
}

#[async_trait]
impl ProviderWeb for HttpsWeb {
    async fn get(&self, url: &Url, bearer: Option<&SecretString>) -> Result<Answer, Error> {
        let mut request = self.client.get(url.clone());
        if let Some(token) = bearer {
            request = request.bearer_auth(token.expose_secret());
        }
        send(url, request).await
    }

    async fn post(&self, url: &Url, form: Form<'_>) -> Result<Answer, Error> {
        let mut request = self.client.post(url.clone()).form(&form.fields);
        if let Some((user, password)) = form.basic {
            request = request.basic_auth(user, Some(password.expose_secret()));
        }
        send(url, request).await
    }
}
