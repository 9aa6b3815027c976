//! Beginning a session with a password, and going on with it.

use super::{Auth, Client, TokenPair, tokens::invalid};
use crate::metrics;
use bifrost_domain::{
    error::{Error, Kind, Result},
    user::{Email, SessionState, User, UserType},
};
use bifrost_storage::{
    audit::Outcome,
    sessions::{NewSession, RefreshToken},
};
use chrono::{DateTime, Duration, Utc};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

/// Longer addresses and passwords are refused before any work.
const MAX_INPUT_BYTES: usize = 1024;
/// A refresh token repeated so soon after its use gets the same successor: two tabs, or a reply that got lost.
const REPEAT: Duration = Duration::seconds(10);
/// Sessions that expired so long ago are deleted at the next sign-in of their user.
const KEPT_AFTER_END: Duration = Duration::days(30);

fn refused() -> Error {
    Error::unauthenticated("incorrect email or password").with_code("credentials_invalid")
}

impl Auth {
    /// Checks a password and begins a session. Unknown users take the same time and get the same answer as a wrong password.
    ///
    /// # Errors
    /// Unauthenticated; invalid when a text is longer than 1024 bytes; unavailable when the store is away.
    pub async fn login(&self, username: &str, password: SecretString, client: &Client) -> Result<TokenPair> {
        let outcome = self.check_and_begin(username, password, client).await;
        match &outcome {
            Ok(_) => metrics::signed_in(true),
            // A database that is away refuses nobody.
            Err(error) if error.kind == Kind::Unauthenticated => metrics::signed_in(false),
            Err(_) => {}
        }
        outcome
    }

    async fn check_and_begin(
        &self,
        username: &str,
        password: SecretString,
        client: &Client,
    ) -> Result<TokenPair> {
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
        let fits = self.passwords.verify(password, hash).await?;
        let Some(user) = user.filter(|_| fits) else {
            self.note_refusal(username, "wrong_password", client).await?;
            return Err(refused());
        };
        let organization_active = match user.organization_id {
            None => true,
            Some(id) => self.reader.find_organization(id).await?.is_some_and(|found| found.is_active),
        };
        if !user.is_active || !user.is_registered || !organization_active {
            self.note_refusal(username, "not_active", client).await?;
            // Told only to who knows the password.
            return Err(Error::unauthenticated("this account is not active; ask your administrator")
                .with_code("account_inactive"));
        }
        self.begin_session(user, client).await
    }

    async fn begin_session(&self, user: User, client: &Client) -> Result<TokenPair> {
        let now = self.clock.now();
        let rights = self.reader.find_rights(&user).await?;
        let state = SessionState {
            session_id: self.session_id(),
            user,
            organization_active: true,
            roles: rights.roles,
            permissions: rights.permissions,
        };
        let jti = self.ids.next();
        let pair = self.tokens.pair(&state, jti, now)?;
        let tx = self.store.db().begin().await?;
        tx.delete_expired_sessions(state.user.id, now - KEPT_AFTER_END).await?;
        tx.insert_session(NewSession {
            id: state.session_id,
            user_id: state.user.id,
            epoch: state.user.epoch,
            created_at: now,
            expires_at: self.tokens.refresh_end(now),
            user_agent: client.user_agent.clone(),
            ip_address: client.ip.map(|ip| ip.to_string()),
        })
        .await?;
        tx.insert_refresh_token(self.refresh_row(&state, jti, now)).await?;
        tx.touch_login(state.user.id, now).await?;
        tx.insert_audit(self.entry("session.begin", Outcome::Success, Some(&state.user), client)).await?;
        tx.commit().await?;
        Ok(pair)
    }

    async fn note_refusal(&self, username: &str, reason: &str, client: &Client) -> Result<()> {
        let mut entry = self.entry("session.begin", Outcome::Failure, None, client);
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
            if !tx.touch_session(session_id, now, self.tokens.refresh_end(now)).await? {
                return Err(invalid());
            }
            tx.commit().await?;
            return self.tokens.pair(&session.state, successor, now);
        }
        let used = tx.find_refresh_token(jti).await?.ok_or_else(invalid)?;
        if let (Some(used_at), Some(successor)) = (used.used_at, used.successor_id)
            && now - used_at <= REPEAT
        {
            let next = tx.find_refresh_token(successor).await?.ok_or_else(invalid)?;
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

    fn refresh_row(&self, state: &SessionState, id: Uuid, now: DateTime<Utc>) -> RefreshToken {
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
