//! What providers say of themselves, and their keys: fetched when needed, kept for an hour at most, asked for again ahead of that.
//!
//! A token with an unknown key id makes us ask once in 30 s and provider, whoever sends how many; a provider that does not answer is
//! asked every five seconds. One request is under way at a time.

use super::tokens::ALGORITHMS;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bifrost_domain::{
    clock::SharedClock,
    error::{Error, Result},
    identity_provider::IdentityProvider,
    ids::IdentityProviderId,
    ports::provider_web::{Form, ProviderWeb, is_secure},
};
use chrono::{DateTime, Duration, Utc};
use dashmap::DashMap;
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use secrecy::SecretString;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Mutex;
use url::Url;

pub(super) use bifrost_domain::identity_provider::TENANT;

/// Keys that a provider dropped are gone after this time.
const MAX_AGE: Duration = Duration::hours(1);
/// From then on they are asked for again while the old ones still serve.
const REFRESH_AFTER: Duration = Duration::minutes(45);
/// Between two requests because of unknown keys.
const UNKNOWN_KEY_PAUSE: Duration = Duration::seconds(30);
/// Between two requests to a provider that did not answer.
const FAILED_PAUSE: Duration = Duration::seconds(5);
/// Keys beyond are not read.
const MAX_KEYS: usize = 100;
/// RFC 7518, 3.3; and a bound for what checking a signature costs. Bytes.
const RSA_MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;
const MAX_RSA_EXPONENT: usize = 8;

/// A key that a provider signs with; it has one algorithm.
pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    /// Entra: whose tokens it may sign.
    pub(super) issuer: Option<String>,
    pub(super) decoding: DecodingKey,
}

/// How a provider describes itself.
pub(super) struct Document {
    pub(super) issuer: String,
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    pub(super) jwks_uri: Url,
    token_endpoint_auth_methods: Option<Vec<String>>,
    pub(super) code_challenge_methods: Option<Vec<String>>,
}

/// The same on the wire.
#[derive(Deserialize)]
struct Described {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: Option<String>,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
}

impl TryFrom<Described> for Document {
    type Error = Trouble;

    fn try_from(said: Described) -> Result<Self, Trouble> {
        Ok(Self {
            issuer: said.issuer,
            authorization_endpoint: endpoint("authorization_endpoint", &said.authorization_endpoint)?,
            token_endpoint: endpoint("token_endpoint", &said.token_endpoint)?,
            userinfo_endpoint: said
                .userinfo_endpoint
                .map(|text| endpoint("userinfo_endpoint", &text))
                .transpose()?,
            jwks_uri: endpoint("jwks_uri", &said.jwks_uri)?,
            token_endpoint_auth_methods: said.token_endpoint_auth_methods_supported,
            code_challenge_methods: said.code_challenge_methods_supported,
        })
    }
}

fn endpoint(name: &str, text: &str) -> Result<Url, Trouble> {
    let url = text.parse::<Url>().ok().filter(is_secure);
    url.ok_or_else(|| Trouble(format!("its `{name}` is not an https address")))
}

impl Document {
    /// Whether our secret goes into the header; without a word of the provider it does (OpenID Connect Discovery 1.0, 3).
    pub(super) fn takes_basic(&self) -> bool {
        self.token_endpoint_auth_methods
            .as_ref()
            .is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"))
    }
}

/// A document with its keys.
pub(super) struct Loaded {
    pub(super) at: DateTime<Utc>,
    pub(super) document: Document,
    pub(super) keys: Vec<Key>,
}

impl Loaded {
    /// The key that a token names. Without a name: the only one of the algorithm.
    fn find(&self, header: &Header) -> Option<&Key> {
        let Some(id) = &header.kid else {
            let mut fitting = self.keys.iter().filter(|key| key.algorithm == header.alg);
            return fitting.next().filter(|_| fitting.next().is_none());
        };
        let mut named = self.keys.iter().filter(|key| key.id.as_ref() == Some(id));
        let first = named.next()?;
        // One that has another algorithm is found as well, and refuses the token.
        if first.algorithm == header.alg {
            Some(first)
        } else {
            named.find(|key| key.algorithm == header.alg).or(Some(first))
        }
    }
}

/// Why a provider cannot be used, in words for its administrator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Trouble(pub(super) String);

#[derive(Default)]
struct Entry {
    loaded: RwLock<Option<Arc<Loaded>>>,
    /// When the provider was last asked; held by who asks.
    asked: Mutex<Option<DateTime<Utc>>>,
}

impl Entry {
    fn loaded(&self) -> Option<Arc<Loaded>> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fresh(&self, now: DateTime<Utc>) -> Option<Arc<Loaded>> {
        self.loaded().filter(|loaded| (Duration::zero()..MAX_AGE).contains(&(now - loaded.at)))
    }
}

/// See the module.
pub(super) struct Documents {
    web: Arc<dyn ProviderWeb>,
    clock: SharedClock,
    entries: DashMap<IdentityProviderId, Arc<Entry>>,
}

impl Documents {
    pub(super) fn new(web: Arc<dyn ProviderWeb>, clock: SharedClock) -> Self {
        Self { web, clock, entries: DashMap::new() }
    }

    pub(super) fn forget(&self, id: IdentityProviderId) {
        self.entries.remove(&id);
    }

    /// What is known of a provider, at most an hour old.
    pub(super) async fn of(&self, provider: &IdentityProvider) -> Result<Arc<Loaded>> {
        let entry = self.entry(provider);
        let now = self.clock.now();
        if let Some(loaded) = entry.fresh(now) {
            if now - loaded.at >= REFRESH_AFTER {
                self.refresh_behind(&entry, provider);
            }
            return Ok(loaded);
        }
        let mut asked = entry.asked.lock().await;
        let now = self.clock.now();
        if let Some(loaded) = entry.fresh(now) {
            return Ok(loaded);
        }
        if is_within(*asked, FAILED_PAUSE, now) {
            return Err(away(provider, &Trouble("it did not answer a moment ago".to_owned())));
        }
        load(&*self.web, &self.clock, &entry, provider, &mut asked)
            .await
            .map_err(|trouble| away(provider, &trouble))
    }

    /// Calls `judge` with the key that a token names; `None` when the provider has no such key.
    pub(super) async fn with_key<T>(
        &self,
        provider: &IdentityProvider,
        header: &Header,
        judge: impl FnOnce(&Key) -> T,
    ) -> Result<Option<T>> {
        let loaded = self.of(provider).await?;
        if let Some(key) = loaded.find(header) {
            return Ok(Some(judge(key)));
        }
        let entry = self.entry(provider);
        let mut asked = entry.asked.lock().await;
        let now = self.clock.now();
        // Somebody else may have asked while we waited.
        if let Some(loaded) = entry.loaded()
            && let Some(key) = loaded.find(header)
        {
            return Ok(Some(judge(key)));
        }
        if is_within(*asked, UNKNOWN_KEY_PAUSE, now) {
            return Ok(None);
        }
        let loaded = load(&*self.web, &self.clock, &entry, provider, &mut asked)
            .await
            .map_err(|trouble| away(provider, &trouble))?;
        Ok(loaded.find(header).map(judge))
    }

    /// What the provider says now, whatever is known of it.
    pub(super) async fn examine(&self, provider: &IdentityProvider) -> Result<Loaded, Trouble> {
        fetch(&*self.web, provider, self.clock.now()).await
    }

    /// Asks a token endpoint: status and JSON.
    pub(super) async fn post(&self, url: &Url, form: Form<'_>) -> Result<(u16, Value), Trouble> {
        let answer = self.web.post(url, form).await.map_err(|error| Trouble(explain(&error)))?;
        let body = serde_json::from_slice(&answer.body)
            .map_err(|_| Trouble(format!("its token endpoint answers {} without JSON", answer.status)))?;
        Ok((answer.status, body))
    }

    /// Asks for a JSON document.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        url: &Url,
        bearer: Option<&SecretString>,
    ) -> Result<T, Trouble> {
        get(&*self.web, url, bearer).await
    }

    fn entry(&self, provider: &IdentityProvider) -> Arc<Entry> {
        Arc::clone(self.entries.entry(provider.id).or_default().value())
    }

    fn refresh_behind(&self, entry: &Arc<Entry>, provider: &IdentityProvider) {
        let (web, clock) = (Arc::clone(&self.web), self.clock.clone());
        let (entry, provider) = (Arc::clone(entry), provider.clone());
        tokio::spawn(async move {
            let Ok(mut asked) = entry.asked.try_lock() else { return };
            if is_within(*asked, UNKNOWN_KEY_PAUSE, clock.now()) {
                return;
            }
            if let Err(trouble) = load(&*web, &clock, &entry, &provider, &mut asked).await {
                tracing::warn!(provider = %provider.name, error = %trouble, "the keys of an identity provider could not be fetched again");
            }
        });
    }
}

fn is_within(asked: Option<DateTime<Utc>>, pause: Duration, now: DateTime<Utc>) -> bool {
    asked.is_some_and(|at| (Duration::zero()..pause).contains(&(now - at)))
}

pub(super) fn away(provider: &IdentityProvider, trouble: &Trouble) -> Error {
    tracing::warn!(provider = %provider.name, error = %trouble, "an identity provider cannot be used");
    Error::unavailable(format!("the identity provider {} cannot be used for now", provider.display_name))
        .with_code("provider_unavailable")
}

/// Asks a provider and keeps what it says. That it was asked is noted before, since whoever waits may give up; and after, since the pause
/// until the next question begins with the answer, however long that took.
async fn load(
    web: &dyn ProviderWeb,
    clock: &SharedClock,
    entry: &Entry,
    provider: &IdentityProvider,
    asked: &mut Option<DateTime<Utc>>,
) -> Result<Arc<Loaded>, Trouble> {
    let now = clock.now();
    *asked = Some(now);
    let fetched = fetch(web, provider, now).await;
    *asked = Some(clock.now());
    let loaded = Arc::new(fetched?);
    *entry.loaded.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&loaded));
    Ok(loaded)
}

async fn fetch(
    web: &dyn ProviderWeb,
    provider: &IdentityProvider,
    now: DateTime<Utc>,
) -> Result<Loaded, Trouble> {
    let place = provider.discovery_url();
    let url: Url = place.parse().map_err(|_| Trouble(format!("{place} is not an address")))?;
    let document = Document::try_from(get::<Described>(web, &url, None).await?)?;
    if document.issuer != provider.issuer {
        return Err(Trouble(format!(
            "{place} says that its issuer is `{}`, not `{}`",
            shortened(&document.issuer),
            provider.issuer
        )));
    }
    let set: Value = get(web, &document.jwks_uri, None).await?;
    let keys: Vec<Key> = set["keys"]
        .as_array()
        .ok_or_else(|| Trouble(format!("{} has no `keys`", document.jwks_uri)))?
        .iter()
        .take(MAX_KEYS)
        .filter_map(key_of)
        .collect();
    if keys.is_empty() {
        return Err(Trouble(format!(
            "{} has no key for RS256 or PS256 (2048 bits or more), ES256 or EdDSA",
            document.jwks_uri
        )));
    }
    Ok(Loaded { at: now, document, keys })
}

async fn get<T: DeserializeOwned>(
    web: &dyn ProviderWeb,
    url: &Url,
    bearer: Option<&SecretString>,
) -> Result<T, Trouble> {
    let answer =
        web.get(url, bearer).await.map_err(|error| Trouble(format!("{url}: {}", explain(&error))))?;
    if answer.status != 200 {
        return Err(Trouble(format!("{url} answers {}", answer.status)));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|error| Trouble(format!("{url}: not the expected JSON: {error}")))
}

/// An error with its causes.
fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

/// A key for signatures of an algorithm in the list; anything else is passed over.
fn key_of(jwk: &Value) -> Option<Key> {
    let text = |name: &str| jwk[name].as_str();
    if text("use").is_some_and(|use_| use_ != "sig") {
        return None;
    }
    if jwk["key_ops"].as_array().is_some_and(|uses| !uses.iter().any(|one| one == "verify")) {
        return None;
    }
    let said = match text("alg") {
        Some(alg) => Some(alg.parse::<Algorithm>().ok()?),
        None => None,
    };
    let (usual, decoding) = match (text("kty")?, text("crv")) {
        ("RSA", _) => {
            let modulus = URL_SAFE_NO_PAD.decode(text("n")?).ok()?;
            let exponent = URL_SAFE_NO_PAD.decode(text("e")?).ok()?;
            if !RSA_MODULUS.contains(&modulus.len()) || exponent.len() > MAX_RSA_EXPONENT {
                return None;
            }
            (Algorithm::RS256, DecodingKey::from_rsa_raw_components(&modulus, &exponent))
        }
        ("EC", Some("P-256")) => {
            (Algorithm::ES256, DecodingKey::from_ec_components(text("x")?, text("y")?).ok()?)
        }
        ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, DecodingKey::from_ed_components(text("x")?).ok()?),
        _ => return None,
    };
    let algorithm = said.unwrap_or(usual);
    let fits = algorithm == usual || (algorithm, usual) == (Algorithm::PS256, Algorithm::RS256);
    (fits && ALGORITHMS.contains(&algorithm)).then(|| Key {
        id: text("kid").map(str::to_owned),
        algorithm,
        issuer: text("issuer").map(str::to_owned),
        decoding,
    })
}
