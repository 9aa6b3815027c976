//! Sign-in: passwords, sessions, tokens, registration.
//!
//! A session is a row, a token is a signed text that names it. Nothing but the row decides whether a session holds; it is
//! asked at most once a second. A refresh token is used once; the guarded update in the store decides who was first.
//!
//! `login.rs` begins, refreshes and ends sessions, `register.rs` makes accounts, `bootstrap.rs` makes those that are there
//! from the first start, `tokens.rs`, `passwords.rs` and `cache.rs` are what they stand on.

mod bootstrap;
mod cache;
mod login;
mod passwords;
mod register;
mod settings;
mod tickets;
mod tokens;

pub use bootstrap::SYSTEM_EMAIL;
pub use register::{NewAccount, Status};
pub use settings::{AuthSettings, DevUser, Environment};
pub use tickets::TICKET_SECONDS;
pub use tokens::TokenPair;

use bifrost_domain::{
    clock::{SharedClock, SharedIds},
    error::{Error, Result},
    ids::{AuditId, SessionId},
    user::{Email, SessionState, User},
};
use bifrost_storage::{
    Reader, Store,
    audit::{Entry, Outcome},
    sessions::Session,
    users::Rights,
};
use std::{fmt, net::IpAddr, sync::Arc};

/// Where a request came from, for sessions and the audit log.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// The peer's address.
    pub ip: Option<IpAddr>,
    /// The browser or program.
    pub user_agent: Option<String>,
    /// The request.
    pub request_id: Option<String>,
}

/// Sign-in, over the store.
pub struct Auth {
    store: Store,
    reader: Reader,
    clock: SharedClock,
    ids: SharedIds,
    settings: AuthSettings,
    tokens: tokens::Tokens,
    passwords: passwords::Passwords,
    cache: cache::Cache,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

impl Auth {
    /// Sign-in over a store.
    #[must_use]
    pub fn new(store: Store, clock: SharedClock, ids: SharedIds, settings: AuthSettings) -> Self {
        Self {
            reader: store.reader(),
            store,
            clock,
            ids,
            tokens: tokens::Tokens::new(&settings),
            passwords: passwords::Passwords::new(settings.password_concurrency),
            cache: cache::Cache::default(),
            settings,
        }
    }

    /// The session that an access token names, with the rights its user has now (at most a second old).
    ///
    /// # Errors
    /// Unauthenticated when the token does not hold or the session has ended; unavailable when the store is away.
    pub async fn authenticate_bearer(&self, token: &str) -> Result<SessionState> {
        let now = self.clock.now();
        let claims = self.tokens.read_access(token, now)?;
        let id = claims.common.sid;
        let session: Arc<Session> = if let Some(session) = self.cache.get(id, now) {
            session
        } else {
            let session = self.reader.find_session(id).await?.ok_or_else(tokens::invalid)?;
            let session = Arc::new(session);
            self.cache.put(id, now, Arc::clone(&session));
            session
        };
        let user = &session.state.user;
        if !session.is_live(now) || user.id != claims.sub || user.epoch != claims.common.epoch {
            return Err(tokens::invalid());
        }
        Ok(session.state.clone())
    }

    /// The development user and its rights, for the bypass.
    ///
    /// # Errors
    /// Unauthenticated when there is none.
    pub async fn dev_user(&self) -> Result<(User, Rights)> {
        let none = || Error::unauthenticated("there is no development user");
        let settings = self.settings.dev_user.as_ref().ok_or_else(none)?;
        if self.settings.environment != Environment::Development {
            return Err(none());
        }
        let email: Email = settings.email.parse().map_err(|_| none())?;
        let found = self.reader.find_credentials(&email).await?.ok_or_else(none)?;
        if !found.user.is_active {
            return Err(none());
        }
        let rights = self.reader.find_rights(&found.user).await?;
        Ok((found.user, rights))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn logout(&self, state: &SessionState, client: &Client) -> Result<()> {
        let now = self.clock.now();
        let tx = self.store.db().begin().await?;
        if tx.end_session(state.session_id, "logout", now).await? {
            tx.insert_audit(self.entry("session.end", Outcome::Success, Some(&state.user), client)).await?;
        }
        tx.commit().await?;
        self.cache.forget(state.session_id);
        Ok(())
    }

    fn entry(&self, action: &'static str, outcome: Outcome, user: Option<&User>, client: &Client) -> Entry {
        Entry {
            id: AuditId::from_uuid(self.ids.next()),
            at: self.clock.now(),
            organization_id: user.and_then(|user| user.organization_id),
            actor_id: user.map(|user| user.id),
            actor_email: user.map(|user| user.email.clone()),
            action,
            resource_type: action.split('.').next().unwrap_or(action),
            resource_id: user.map(|user| user.id.to_string()),
            outcome,
            detail: None,
            request_id: client.request_id.clone(),
            ip_address: client.ip.map(|ip| ip.to_string()),
        }
    }

    fn session_id(&self) -> SessionId {
        SessionId::from_uuid(self.ids.next())
    }
}
