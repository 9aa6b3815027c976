//! Access tokens of providers: accepted as they are where the provider allows it, or exchanged for ours (RFC 8693).

use super::{
    IdentityProviders,
    tokens::{self, LEEWAY, Person, Purpose, Refusal},
};
use crate::{
    auth::{Client, TokenPair, login::How, tokens::invalid},
    metrics,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bifrost_domain::{
    error::{Error, Kind, Result},
    identity_provider::IdentityProvider,
    rights::Rights,
    user::{SessionState, User, UserType},
};
use chrono::{DateTime, Duration, Utc};
use dashmap::DashMap;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Who a bearer token speaks for.
#[derive(Debug, Clone)]
pub enum Identified {
    /// A session of ours.
    Session(SessionState),
    /// A person, by a token of a provider: there is no session.
    Person {
        /// The user.
        user: User,
        /// What he holds.
        rights: Arc<Rights>,
        /// Whether a second factor is required of him, and the token tells of none.
        owes_factor: bool,
    },
}

impl Identified {
    /// The user.
    #[must_use]
    pub const fn user(&self) -> &User {
        match self {
            Self::Session(session) => &session.user,
            Self::Person { user, .. } => user,
        }
    }
}

/// A suspension or a changed role is seen within this time.
const SEEN_FOR: Duration = Duration::seconds(1);
const CAPACITY: usize = 10_000;

#[derive(Clone)]
struct Sight {
    at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    provider: IdentityProvider,
    user: User,
    rights: Arc<Rights>,
    owes_factor: bool,
}

/// Tokens that held a moment ago, by their hash: a burst of requests checks the signature once.
#[derive(Default)]
pub(super) struct Seen(DashMap<[u8; 32], Sight>);

impl Seen {
    fn get(&self, hash: &[u8; 32], provider: &IdentityProvider, now: DateTime<Utc>) -> Option<Identified> {
        let sight = self.0.get(hash)?;
        let holds = is_fresh(sight.at, now)
            && sight.expires_at + Duration::seconds(LEEWAY) > now
            && sight.provider == *provider;
        holds.then(|| Identified::Person {
            user: sight.user.clone(),
            rights: Arc::clone(&sight.rights),
            owes_factor: sight.owes_factor,
        })
    }

    fn put(&self, hash: [u8; 32], sight: Sight) {
        if self.0.len() >= CAPACITY {
            let now = sight.at;
            self.0.retain(|_, kept| is_fresh(kept.at, now));
            if self.0.len() >= CAPACITY {
                self.0.clear();
            }
        }
        self.0.insert(hash, sight);
    }
}

fn is_fresh(at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    (Duration::zero()..SEEN_FOR).contains(&(now - at))
}

/// Who says that he issued it; nothing is known about whether that is true.
fn unverified_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Said {
        iss: String,
    }
    tokens::header_of(token).ok()?;
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    Some(serde_json::from_slice::<Said>(&payload).ok()?.iss)
}

impl IdentityProviders {
    /// Who an access token speaks for: ours, or one of a provider whose tokens are accepted.
    ///
    /// # Errors
    /// Unauthenticated when the token does not hold; unavailable when the store or the provider is away.
    pub async fn authenticate(&self, token: &str) -> Result<Identified> {
        match self.auth.authenticate_bearer(token).await {
            Ok(session) => Ok(Identified::Session(session)),
            Err(error) if error.kind == Kind::Unauthenticated => match self.accepting(token).await? {
                Some(provider) => self.by_provider(&provider, token).await,
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Exchanges a provider's access token for a session of ours. Somebody new may get an account, as at a sign-in.
    ///
    /// # Errors
    /// As [`IdentityProviders::authenticate`]; forbidden or conflict when nobody here is known by it.
    pub async fn exchange(&self, token: &str, client: &Client) -> Result<TokenPair> {
        let outcome = self.exchange_checked(token, client).await;
        match &outcome {
            Ok(_) => metrics::signed_in(true),
            Err(error) if error.kind == Kind::Unauthenticated => metrics::signed_in(false),
            Err(_) => {}
        }
        outcome
    }

    async fn exchange_checked(&self, token: &str, client: &Client) -> Result<TokenPair> {
        let provider = self.accepting(token).await?.ok_or_else(invalid)?;
        let person = match self.judge(&provider, token, Purpose::Access).await? {
            Ok(person) => person,
            Err(refusal) => {
                self.note_refusal(&provider, &refusal.to_string(), client).await?;
                return Err(invalid());
            }
        };
        let (user, rights) = self.welcomed(&provider, &person, client).await?;
        let factor_at = person.has_factor.then(|| self.clock.now());
        let how = How { provider: Some(&provider.name), factor_at, ..How::default() };
        self.auth.begin_session(user, rights, how, client).await
    }

    /// The provider that may have issued a token, if such tokens are accepted.
    async fn accepting(&self, token: &str) -> Result<Option<IdentityProvider>> {
        let Some(issuer) = unverified_issuer(token) else { return Ok(None) };
        self.active(|one| one.rules.accept_bearer && one.may_have_issued(&issuer)).await
    }

    async fn by_provider(&self, provider: &IdentityProvider, token: &str) -> Result<Identified> {
        let now = self.clock.now();
        let hash: [u8; 32] = Sha256::digest(token).into();
        if let Some(known) = self.seen.get(&hash, provider, now) {
            return Ok(known);
        }
        let person = self.judge(provider, token, Purpose::Access).await?.map_err(|refusal| {
            tracing::debug!(provider = %provider.name, reason = %refusal, "a provider's token was refused");
            invalid()
        })?;
        let found = self.reader.find_user_of_identity(provider.id, &person.subject).await?;
        let user = found.ok_or_else(|| {
            Error::unauthenticated("nobody here is known by this token; sign in with the provider once")
                .with_code("identity_unknown")
        })?;
        let rights = Arc::new(self.admitted(&user).await?);
        let owes_factor = !person.has_factor && self.auth.requires_factor(&rights);
        self.seen.put(
            hash,
            Sight {
                at: now,
                expires_at: person.expires_at,
                provider: provider.clone(),
                user: user.clone(),
                rights: Arc::clone(&rights),
                owes_factor,
            },
        );
        Ok(Identified::Person { user, rights, owes_factor })
    }

    /// What the user holds, if he may sign in.
    pub(super) async fn admitted(&self, user: &User) -> Result<Rights> {
        let rights = self.reader.find_rights(user).await?;
        let is_somebody = user.is_active && user.is_registered && user.user_type != UserType::System;
        if !is_somebody || !rights.admit(user) {
            return Err(Error::unauthenticated("this account is not active; ask your administrator")
                .with_code("account_inactive"));
        }
        Ok(rights)
    }

    /// Whose token it is, or why it is refused.
    pub(super) async fn judge(
        &self,
        provider: &IdentityProvider,
        token: &str,
        purpose: Purpose<'_>,
    ) -> Result<Result<Person, Refusal>> {
        let header = match tokens::header_of(token) {
            Ok(header) => header,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let signed =
            self.documents.with_key(provider, &header, |key| tokens::signed_by(token, &header, key)).await?;
        let now = self.clock.now();
        Ok(signed
            .unwrap_or(Err(Refusal::UnknownKey))
            .and_then(|claims| tokens::check(provider, &header, &claims, purpose, now)))
    }
}
