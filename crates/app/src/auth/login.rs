//! Beginning a session with a password, and going on with it.

use super::{
    Auth, Client, TokenPair,
    mfa::{Challenge, Way},
    tokens::invalid,
};
use crate::metrics;
use bifrost_domain::{
    error::{Error, Kind, Result},
    ids::{OrganizationId, SessionId},
    rights::Rights,
    user::{Email, SessionState, User, UserType},
};
use bifrost_storage::{
    Tx,
    audit::Outcome,
    sessions::{NewSession, RefreshToken},
};
use chrono::{DateTime, Duration, Utc};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use uuid::Uuid;

/// Longer addresses and passwords are refused before any work.
const MAX_INPUT_BYTES: usize = 1024;
/// A refresh token repeated so soon after its use gets the same successor: two tabs, or a reply that got lost.
const REPEAT: Duration = Duration::seconds(10);
/// How many successors are followed: more than anybody makes in that time.
const LONGEST_CHAIN: u32 = 100;
/// Used refresh tokens are known for so long; later they count as used again because nobody knows them.
const KEPT_AFTER_USE: Duration = Duration::hours(1);
/// Sessions that expired so long ago are deleted at the next sign-in of their user.
const KEPT_AFTER_END: Duration = Duration::days(30);

/// What a right password leads to.
#[derive(Debug)]
pub enum SignIn {
    /// A session.
    Session(TokenPair),
    /// A second factor is asked for first, or is to be set up.
    SecondFactor(Challenge),
}

/// How somebody has shown who he is. By default a program or a token did, and the session may last as long as any.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct How<'a> {
    /// The identity provider, by its name.
    pub(crate) provider: Option<&'a str>,
    /// When a second factor was shown, here or there.
    pub(crate) factor_at: Option<DateTime<Utc>>,
    /// When the person was there.
    pub(crate) authenticated_at: Option<DateTime<Utc>>,
    /// When the session ends at the latest, if another one let it in.
    pub(crate) ends_at: Option<DateTime<Utc>>,
}

impl How<'_> {
    /// By the person who is there now.
    pub(crate) fn in_person(now: DateTime<Utc>) -> Self {
        Self { authenticated_at: Some(now), ..Self::default() }
    }
}

fn refused() -> Error {
    Error::unauthenticated("incorrect email or password").with_code("credentials_invalid")
}

impl Auth {
    /// Checks a password, and begins a session unless a second factor is needed. `device` is what a trusted browser shows. Unknown users
    /// take the same time and get the same answer as a wrong password.
    ///
    /// # Errors
    /// Unauthenticated; invalid when a text is longer than 1024 bytes; unavailable when the store is away.
    pub async fn login(
        &self,
        username: &str,
        password: SecretString,
        device: Option<&str>,
        client: &Client,
    ) -> Result<SignIn> {
        let outcome = self.check_and_begin(username, password, device, client).await;
        match &outcome {
            Ok(SignIn::Session(_)) => metrics::signed_in(true),
            // A database that is away refuses nobody.
            Err(error) if error.kind == Kind::Unauthenticated => metrics::signed_in(false),
            Ok(SignIn::SecondFactor(_)) | Err(_) => {}
        }
        outcome
    }

    async fn check_and_begin(
        &self,
        username: &str,
        password: SecretString,
        device: Option<&str>,
        client: &Client,
    ) -> Result<SignIn> {
        for (path, length) in [("username", username.len()), ("password", password.expose_secret().len())] {
            if length > MAX_INPUT_BYTES {
                return Err(Error::invalid(
                    path,
                    "too_long",
                    format!("must be at most {MAX_INPUT_BYTES} bytes"),
                ));
            }
        }
        let found = match username.parse::<Email>() {
            Ok(email) => self.reader.find_credentials(&email).await?,
            Err(_) => None,
        };
        let (user, hash) = match found {
            Some(found) if found.user.user_type != UserType::System => {
                (Some(found.user), found.password_hash)
            }
            _ => (None, None),
        };
        let fits = self.passwords.verify(password.clone(), hash.clone()).await?;
        let home = user.as_ref().and_then(|user| user.organization_id);
        let Some(user) = user.filter(|_| fits) else {
            self.note_refusal(username, home, "wrong_password", client).await?;
            return Err(refused());
        };
        let rights = self.reader.find_rights(&user).await?;
        if !user.is_active || !user.is_registered || !rights.admit(&user) {
            self.note_refusal(username, home, "not_active", client).await?;
            // Told only to who knows the password.
            return Err(Error::unauthenticated("this account is not active; ask your administrator")
                .with_code("account_inactive"));
        }
        if let Some(hash) = hash.filter(|hash| self.passwords.is_outdated(hash)) {
            self.renew_hash(&user, password, &hash).await;
        }
        match self.second_factor(&user, &rights, device, client).await? {
            Way::Ask(challenge) => Ok(SignIn::SecondFactor(challenge)),
            Way::Open(factor_at) => {
                let how = How { factor_at, ..How::in_person(self.clock.now()) };
                self.begin_session(user, rights, how, client).await.map(SignIn::Session)
            }
        }
    }

    /// Keeps the password under a hash of the present parameters. What fails is tried again at the next sign-in.
    async fn renew_hash(&self, user: &User, password: SecretString, old: &SecretString) {
        let renewed = async {
            let new = self.passwords.hash(password).await?;
            let tx = self.store.db().begin().await?;
            tx.replace_password_hash(user.id, old, &new, self.clock.now()).await?;
            Ok::<_, Error>(tx.commit().await?)
        };
        if let Err(error) = renewed.await {
            tracing::warn!(user.id = %user.id, error = %error, "a password keeps its hash of older parameters");
        }
    }

    /// Begins a session for somebody who has shown who he is.
    pub(crate) async fn begin_session(
        &self,
        user: User,
        rights: Rights,
        how: How<'_>,
        client: &Client,
    ) -> Result<TokenPair> {
        let tx = self.store.db().begin().await?;
        let pair = self.open_session(&tx, user, rights, how, client).await?;
        tx.commit().await?;
        Ok(pair)
    }

    /// Begins a session inside a transaction.
    pub(super) async fn open_session(
        &self,
        tx: &Tx,
        user: User,
        rights: Rights,
        how: How<'_>,
        client: &Client,
    ) -> Result<TokenPair> {
        // Whatever led here: nobody else ever has a session.
        if user.user_type == UserType::System || !user.is_active || !user.is_registered {
            return Err(invalid());
        }
        tx.lock_user(user.id).await?;
        let now = self.clock.now();
        let state = SessionState {
            session_id: self.session_id(),
            owes_factor: how.factor_at.is_none() && self.requires_factor(&rights),
            user,
            organization_id: None,
            rights: Arc::new(rights),
        };
        let jti = self.ids.next();
        let pair = self.tokens.pair(&state, jti, now)?;
        let ends_at = now + Duration::from_std(self.settings.session_ttl).unwrap_or(Duration::MAX);
        let ends_at = how.ends_at.map_or(ends_at, |end| end.min(ends_at));
        tx.delete_expired_sessions(state.user.id, now - KEPT_AFTER_END).await?;
        tx.insert_session(NewSession {
            id: state.session_id,
            user_id: state.user.id,
            epoch: state.user.epoch,
            created_at: now,
            expires_at: self.tokens.refresh_end(now).min(ends_at),
            ends_at,
            factor_at: how.factor_at,
            authenticated_at: how.authenticated_at,
            user_agent: client.user_agent.clone(),
            ip_address: client.ip.map(|ip| ip.to_string()),
        })
        .await?;
        tx.insert_refresh_token(self.refresh_row(&state, jti, now)).await?;
        tx.touch_login(state.user.id, now).await?;
        let mut entry = self.entry("session.begin", Outcome::Success, Some(&state.user), client);
        entry.detail = how.provider.map(|name| serde_json::json!({ "provider": name }));
        tx.insert_audit(entry).await?;
        Ok(pair)
    }

    /// A new pair for a session that goes on, inside a transaction; what refresh tokens it had are used up by it.
    pub(super) async fn renew_session(&self, tx: &Tx, id: SessionId) -> Result<TokenPair> {
        let now = self.clock.now();
        // A refresh beside this waits, and finds its token used up.
        tx.lock_session(id).await?;
        let session =
            tx.find_session(id).await?.filter(|session| session.is_live(now)).ok_or_else(invalid)?;
        let jti = self.ids.next();
        tx.succeed_refresh_tokens(id, jti, now).await?;
        tx.insert_refresh_token(self.refresh_row(&session.state, jti, now)).await?;
        let expires_at = self.tokens.refresh_end(now).min(session.ends_at);
        if !tx.touch_session(id, now, expires_at).await? {
            return Err(invalid());
        }
        self.tokens.pair(&session.state, jti, now)
    }

    /// Notes a failed sign-in, for the administrators at `home` too; nobody has shown to be the person.
    async fn note_refusal(
        &self,
        username: &str,
        home: Option<OrganizationId>,
        reason: &str,
        client: &Client,
    ) -> Result<()> {
        let mut entry = self.entry("session.begin", Outcome::Failure, None, client);
        entry.organization_id = home;
        entry.actor_email = Some(username.to_lowercase());
        entry.detail = Some(serde_json::json!({ "reason": reason }));
        let tx = self.store.db().begin().await?;
        tx.insert_audit(entry).await?;
        Ok(tx.commit().await?)
    }

    /// Exchanges a refresh token for a new pair. Each is used once; a repeat within 10 s gets the same pair again, a later
    /// one ends the session.
    ///
    /// # Errors
    /// Unauthenticated; unavailable when the store is away.
    pub async fn refresh(&self, token: &str, client: &Client) -> Result<TokenPair> {
        let now = self.clock.now();
        let claims = self.tokens.read_refresh(token, now)?;
        let (jti, session_id) = (claims.common.jti, claims.common.sid);
        let successor = self.ids.next();

        let tx = self.store.db().begin().await?;
        // First of all statements: on PostgreSQL it is where the others wait for who came first.
        tx.lock_session(session_id).await?;
        let first = tx.use_refresh_token(jti, successor, now).await?;
        let session = tx.find_session(session_id).await?.ok_or_else(invalid)?;
        let live = session.is_live(now)
            && session.state.user.id == claims.sub
            && session.epoch == claims.common.epoch;
        if !live {
            return Err(invalid());
        }
        if first {
            tx.insert_refresh_token(self.refresh_row(&session.state, successor, now)).await?;
            // The end of the whole family stays where it was.
            let expires_at = self.tokens.refresh_end(now).min(session.ends_at);
            if !tx.touch_session(session_id, now, expires_at).await? {
                return Err(invalid());
            }
            tx.delete_used_refresh_tokens(session_id, now - KEPT_AFTER_USE).await?;
            tx.commit().await?;
            return self.tokens.pair(&session.state, successor, now);
        }
        // One that is not there was ours, too, by its signature: it was used so long ago that it was forgotten.
        let used = tx.find_refresh_token(jti).await?;
        if let Some((used_at, successor)) = used.and_then(|used| used.used_at.zip(used.successor_id))
            && now - used_at <= REPEAT
        {
            let next = newest(&tx, successor).await?.ok_or_else(invalid)?;
            return self.tokens.pair(&session.state, next.id, next.issued_at);
        }
        tracing::warn!(session.id = %session_id, "a refresh token was used again; its session ends");
        tx.end_session(session_id, "refresh_reuse", now).await?;
        let entry = self.entry("session.refresh_reuse", Outcome::Denied, Some(&session.state.user), client);
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        self.cache.forget(session_id);
        Err(invalid())
    }

    pub(super) fn refresh_row(&self, state: &SessionState, id: Uuid, now: DateTime<Utc>) -> RefreshToken {
        RefreshToken {
            id,
            session_id: state.session_id,
            issued_at: now,
            expires_at: self.tokens.refresh_end(now),
            used_at: None,
            successor_id: None,
        }
    }
}

/// The unused token at the end of a chain: the next one may have been used within the same seconds, by a change of organization.
async fn newest(tx: &Tx, mut id: Uuid) -> Result<Option<RefreshToken>> {
    for _ in 0..LONGEST_CHAIN {
        let Some(token) = tx.find_refresh_token(id).await? else { return Ok(None) };
        match token.successor_id.filter(|_| token.used_at.is_some()) {
            Some(next) => id = next,
            None => return Ok(Some(token)),
        }
    }
    Ok(None)
}
