//! The code flow with PKCE (OpenID Connect Core 1.0, 3.1; RFC 7636; RFC 9700).
//!
//! `state` is 256 random bits, kept as a hash for ten minutes, used once, and only by the browser that began: it has a secret of its own in
//! a cookie that no script reads. Each provider has a redirect address of its own, so an answer of one is never sent to another.

use super::{
    IdentityProviders,
    documents::{Loaded, Trouble, away},
    tokens::{self, Person, Purpose},
};
use crate::{
    auth::{Client, TokenPair, login::How, mfa::FreshSession, tokens::invalid},
    metrics,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bifrost_domain::{
    error::{Error, Kind, Result},
    identity_provider::IdentityProvider,
    ids::SessionId,
    ports::provider_web::Form,
};
use bifrost_storage::{
    Error as StoreError,
    identity_providers::{OidcState, Sealed},
};
use chrono::Duration;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A sign-in that was begun has to be finished within so long.
pub const STATE_SECONDS: u64 = 600;
const SECRET_CHARS: usize = 43;
const MAX_CODE: usize = 4_096;
const MAX_REDIRECT: usize = 512;

/// A sign-in that was begun.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Where the browser goes.
    pub authorization_url: String,
    /// What the provider sends back with it.
    pub state: String,
    /// The browser's secret, for its cookie.
    pub binding: SecretString,
}

/// A sign-in that was finished.
#[derive(Debug)]
pub enum Finished {
    /// A session began.
    SignedIn {
        /// Its tokens.
        pair: TokenPair,
        /// Where the browser wanted to go.
        redirect_to: Option<String>,
    },
    /// An identity was linked to the signed-in user.
    Linked {
        /// The provider's name.
        provider: String,
        /// Where the browser wanted to go.
        redirect_to: Option<String>,
    },
}

/// What the provider's answer brought to the browser.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The authorization code.
    pub code: String,
    /// Our `state`.
    pub state: String,
    /// Who answers (RFC 9207), when the provider says so.
    pub issuer: Option<String>,
    /// The name in our address that it came to, where the browser was sent.
    pub provider: Option<String>,
}

fn random_text() -> String {
    let bytes: [u8; 32] = rand::random();
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of a text that [`random_text`] may have made.
fn hash_of(text: &str) -> Option<[u8; 32]> {
    let bytes = (text.len() == SECRET_CHARS).then(|| URL_SAFE_NO_PAD.decode(text).ok())??;
    Some(Sha256::digest(bytes).into())
}

fn bad_state() -> Error {
    Error::bad_request(
        "this sign-in was not begun in this browser, took too long, or was finished already; begin again",
    )
    .with_code("oauth_state_invalid")
}

/// A place of the console: a path on this server and nothing else, whatever browsers make of it.
fn checked_place(place: Option<String>) -> Result<Option<String>> {
    let Some(place) = place else { return Ok(None) };
    let is_ours = place.starts_with('/')
        && !place.starts_with("//")
        && !place.contains(['\\', '\t', '\n', '\r'])
        && !place.chars().any(char::is_control);
    if !is_ours || place.len() > MAX_REDIRECT {
        let message =
            format!("must be a path on this server, beginning with one `/`, of at most {MAX_REDIRECT} bytes");
        return Err(Error::invalid("redirect_to", "format", message));
    }
    Ok(Some(place))
}

impl IdentityProviders {
    /// Begins a sign-in, or, for somebody who has just shown that it is he, the linking of an identity. `binding` is the browser's
    /// secret if it has one already: two tabs share it.
    ///
    /// # Errors
    /// Bad request (for a session: not found) when there is no such provider; invalid when the place is not ours; unavailable when the
    /// provider or the store is away.
    pub async fn begin(
        &self,
        name: &str,
        redirect_to: Option<String>,
        binding: Option<&str>,
        link: Option<&FreshSession>,
    ) -> Result<Begun> {
        let redirect_to = checked_place(redirect_to)?;
        let provider = match self.active(|one| one.name == name).await? {
            Some(provider) => provider,
            None if link.is_some() => return Err(Error::not_found("identity provider")),
            None => {
                return Err(Error::bad_request(
                    "nobody signs in with this provider here; `GET /auth/oauth/providers` lists those",
                )
                .with_code("provider_unknown"));
            }
        };
        let loaded = self.documents.of(&provider).await?;
        let (state, nonce, verifier) = (random_text(), random_text(), random_text());
        let binding = binding.filter(|text| hash_of(text).is_some()).map_or_else(random_text, str::to_owned);
        let (Some(hash), Some(bound)) = (hash_of(&state), hash_of(&binding)) else {
            return Err(Error::internal("a random text has another shape than expected"));
        };
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        let sealed = self.cipher.seal(&state_place(&hash), verifier.as_bytes()).map_err(Error::internal)?;
        let now = self.clock.now();
        let kept = OidcState {
            provider_id: provider.id,
            nonce: nonce.clone(),
            verifier: Sealed { bytes: sealed, key_id: self.cipher.key_id().to_owned() },
            redirect_to,
            link_session_id: link.map(FreshSession::id),
            expires_at: now + Duration::seconds(STATE_SECONDS.cast_signed()),
        };
        self.store.insert_oidc_state(&hash, &bound, kept, now).await?;
        let mut url = loaded.document.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", provider.client_id.as_str())
            .append_pair("redirect_uri", &self.redirect_uri(&provider))
            .append_pair("scope", &scope_of(&provider))
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(Begun { authorization_url: url.into(), state, binding: binding.into() })
    }

    /// Finishes a sign-in with what the provider sent to the browser. A `state` is used up by the first who shows it from the right
    /// browser, whatever comes of it.
    ///
    /// # Errors
    /// Bad request when the sign-in was not begun in this browser, or the provider refuses the code; unauthenticated when its token does
    /// not hold; forbidden or conflict when nobody may be signed in by it; unavailable when the provider or the store is away.
    pub async fn finish(&self, answer: &Answer, binding: Option<&str>, client: &Client) -> Result<Finished> {
        let outcome = self.finish_checked(answer, binding, client).await;
        match &outcome {
            Ok(Finished::SignedIn { .. }) => metrics::signed_in(true),
            Err(error) if error.kind == Kind::Unauthenticated => metrics::signed_in(false),
            Ok(Finished::Linked { .. }) | Err(_) => {}
        }
        outcome
    }

    async fn finish_checked(
        &self,
        answer: &Answer,
        binding: Option<&str>,
        client: &Client,
    ) -> Result<Finished> {
        if answer.code.is_empty() || answer.code.len() > MAX_CODE {
            return Err(Error::invalid("code", "length", format!("must have 1 to {MAX_CODE} bytes")));
        }
        let hash = hash_of(&answer.state).ok_or_else(bad_state)?;
        let bound = binding.and_then(hash_of).ok_or_else(bad_state)?;
        let now = self.clock.now();
        let state = self.store.take_oidc_state(&hash, &bound, now).await?.ok_or_else(bad_state)?;
        let provider = self.active(|one| one.id == state.provider_id).await?.ok_or_else(bad_state)?;
        let loaded = self.documents.of(&provider).await?;
        // Before the code goes anywhere: one provider may send a browser on to another one, to be given that one's code (RFC 9700, 4.4).
        if answer.provider.as_ref().is_some_and(|name| *name != provider.name) {
            self.note_refusal(&provider, "mixed_up", client).await?;
            return Err(bad_state());
        }
        if answer.issuer.as_ref().is_some_and(|issuer| !provider.may_have_issued(issuer)) {
            self.note_refusal(&provider, "issuer", client).await?;
            return Err(bad_state());
        }
        let verifier =
            self.cipher.open(&state_place(&hash), &state.verifier.bytes).map_err(|_| bad_state())?;
        let verifier = String::from_utf8(verifier).map_err(|_| bad_state())?;
        let Some(tokens) = self.redeem(&provider, &loaded, &answer.code, &verifier).await? else {
            self.note_refusal(&provider, "code", client).await?;
            return Err(Error::bad_request("the identity provider refused this sign-in; begin again")
                .with_code("oauth_code_refused"));
        };
        let id_token = tokens["id_token"].as_str().unwrap_or_default();
        let judged = self.judge(&provider, id_token, Purpose::SignIn { nonce: &state.nonce }).await?;
        let mut person = match judged {
            Ok(person) => person,
            Err(refusal) => {
                tracing::warn!(provider = %provider.name, reason = %refusal, "an id token was refused");
                self.note_refusal(&provider, &refusal.to_string(), client).await?;
                return Err(invalid());
            }
        };
        if person.email.is_none() {
            self.ask_for_address(&provider, &loaded, &tokens, &mut person).await;
        }
        if let Some(session) = state.link_session_id {
            self.link_to(session, &provider, &person, client).await?;
            return Ok(Finished::Linked { provider: provider.name, redirect_to: state.redirect_to });
        }
        let (user, rights) = self.welcomed(&provider, &person, client).await?;
        let factor_at = person.has_factor.then_some(now);
        let how = How { provider: Some(&provider.name), factor_at, ..How::in_person(now) };
        let pair = self.auth.begin_session(user, rights, how, client).await?;
        Ok(Finished::SignedIn { pair, redirect_to: state.redirect_to })
    }

    /// Exchanges a code; `None` when the provider refuses it.
    async fn redeem(
        &self,
        provider: &IdentityProvider,
        loaded: &Loaded,
        code: &str,
        verifier: &str,
    ) -> Result<Option<Value>> {
        let redirect_uri = self.redirect_uri(provider);
        let secret = match self.reader.find_provider_secret(provider.id).await? {
            None => None,
            Some(sealed) => {
                let opened = self.cipher.open(&Self::place(provider.id), &sealed.bytes).map_err(|error| {
                    away(provider, &Trouble(format!("its client secret (key {}): {error}", sealed.key_id)))
                })?;
                Some(SecretString::from(String::from_utf8(opened).map_err(Error::internal)?))
            }
        };
        let mut form = Form {
            fields: vec![
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", redirect_uri.as_str()),
                ("code_verifier", verifier),
            ],
            basic: None,
        };
        match &secret {
            // RFC 6749, 2.3.1: both are encoded as in a form.
            Some(secret) if loaded.document.takes_basic() => {
                form.basic =
                    Some((form_encoded(&provider.client_id), form_encoded(secret.expose_secret()).into()));
            }
            Some(secret) => {
                form.fields.push(("client_id", provider.client_id.as_str()));
                form.fields.push(("client_secret", secret.expose_secret()));
            }
            None => form.fields.push(("client_id", provider.client_id.as_str())),
        }
        let (status, body) = self
            .documents
            .post(&loaded.document.token_endpoint, form)
            .await
            .map_err(|trouble| away(provider, &trouble))?;
        match status {
            200 => Ok(Some(body)),
            500.. => Err(away(provider, &Trouble(format!("its token endpoint answers {status}")))),
            _ => {
                let said: String = body["error"].as_str().unwrap_or("nothing").chars().take(100).collect();
                tracing::warn!(provider = %provider.name, status, error = %said, "an identity provider refused a code");
                Ok(None)
            }
        }
    }

    /// Many providers say the address at their userinfo endpoint alone. What is said there counts for the same person only.
    async fn ask_for_address(
        &self,
        provider: &IdentityProvider,
        loaded: &Loaded,
        tokens: &Value,
        person: &mut Person,
    ) {
        let (Some(url), Some(token)) = (&loaded.document.userinfo_endpoint, tokens["access_token"].as_str())
        else {
            return;
        };
        let said: Value = match self.documents.get(url, Some(&token.into())).await {
            Ok(said) => said,
            Err(trouble) => {
                tracing::warn!(provider = %provider.name, error = %trouble, "userinfo cannot be read");
                return;
            }
        };
        if said["sub"].as_str() == Some(person.subject.as_str()) {
            person.email = said["email"].as_str().map(str::to_owned);
            person.email_verified = tokens::is_true(said.get("email_verified"));
            person.name = person.name.take().or_else(|| said["name"].as_str().map(str::to_owned));
        }
    }

    async fn link_to(
        &self,
        session: SessionId,
        provider: &IdentityProvider,
        person: &Person,
        client: &Client,
    ) -> Result<()> {
        let now = self.clock.now();
        let tx = self.store.db().begin().await?;
        tx.lock_registration().await?;
        // Whoever signed out meanwhile links nothing.
        let session = tx.find_session(session).await?.filter(|session| session.is_live(now));
        let user = session.ok_or_else(invalid)?.state.user;
        if let Some(found) = tx.find_external_identity(provider.id, &person.subject).await? {
            if found.user_id == user.id {
                return Ok(());
            }
            return Err(Error::conflict("this account of the provider belongs to another user here")
                .with_code("identity_taken"));
        }
        self.link(&tx, provider, person, &user, now, client).await.map_err(|error| {
            let is_second = error
                .source
                .as_deref()
                .and_then(|source| source.downcast_ref::<StoreError>())
                .is_some_and(|source| matches!(source, StoreError::Duplicate(_)));
            if is_second {
                Error::conflict("another account of this provider is linked already; unlink it first")
                    .with_code("identity_exists")
            } else {
                error
            }
        })?;
        tx.commit().await?;
        Ok(())
    }

    /// Where the provider sends browsers back to.
    pub(super) fn redirect_uri(&self, provider: &IdentityProvider) -> String {
        let base = self.public_url.as_str().trim_end_matches('/');
        format!("{base}/auth/callback/{}", provider.name)
    }
}

fn state_place(hash: &[u8; 32]) -> String {
    format!("oidc_states/{}", URL_SAFE_NO_PAD.encode(hash))
}

fn scope_of(provider: &IdentityProvider) -> String {
    let mut scopes = vec!["openid"];
    if provider.rules.scopes.is_empty() {
        scopes.extend(["profile", "email"]);
    }
    scopes.extend(provider.rules.scopes.iter().map(String::as_str).filter(|scope| *scope != "openid"));
    scopes.join(" ")
}

fn form_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
