//! Sign-in: passwords, sessions, tokens, registration.
//!
//! A session is a row, a token is a signed text that names it. Nothing but the row decides whether a session holds; it is
//! asked at most once a second. A refresh token is used once; the guarded update in the store decides who was first.
//!
//! `login.rs` begins, refreshes and ends sessions, `register.rs` makes accounts, `bootstrap.rs` makes those that are there
//! from the first start, `own_sessions.rs` and `own_password.rs` are what people do with theirs, `mfa/` asks for a second factor;
//! `tokens.rs`, `passwords/` and `cache.rs` are what they stand on.

mod bootstrap;
mod cache;
mod denials;
mod device;
pub(crate) mod login;
pub mod mfa;
mod own_password;
mod own_sessions;
pub mod passwords;
pub(crate) mod register;
mod settings;
mod switch;
mod tickets;
pub(crate) mod tokens;

pub use bootstrap::SYSTEM_EMAIL;
pub use denials::{Denial, Known};
pub use device::{DEVICE_INTERVAL_SECONDS, DEVICE_SECONDS, DevicePoll, DeviceRequest};
pub use login::SignIn;
pub use own_sessions::OwnSessionPage;
pub use register::{NewAccount, Status};
pub(crate) use register::{checked_email, checked_name, first_membership};
pub use settings::{AuthSettings, DevUser, Environment};
pub use tickets::TICKET_SECONDS;
pub use tokens::TokenPair;

use crate::audit::Scribe;
use bifrost_domain::{
    clock::{SharedClock, SharedIds},
    error::{Error, Result},
    ids::SessionId,
    rights::Rights,
    user::{Email, SessionState, User},
};
use bifrost_storage::{
    Reader, Store,
    audit::{Entry, Outcome},
    sessions::Session,
};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
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
    scribe: Scribe,
    denials: denials::Denials,
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
            denials: denials::Denials::start(store.clone(), ids.clone()),
            store,
            scribe: Scribe::new(clock.clone(), ids.clone()),
            clock,
            ids,
            tokens: tokens::Tokens::new(&settings),
            passwords: passwords::Passwords::new(&settings),
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
            self.read_session(id, now).await?.ok_or_else(tokens::invalid)?
        };
        let user = &session.state.user;
        if !session.is_live(now) || user.id != claims.sub || user.epoch != claims.common.epoch {
            return Err(tokens::invalid());
        }
        Ok(session.state.clone())
    }

    /// A session as it is kept now, with whether a second factor is owed for it; for a second others are told the same. One that owes is
    /// read each time, so that it goes on as soon as the factor was shown, wherever that was.
    async fn read_session(&self, id: SessionId, now: DateTime<Utc>) -> Result<Option<Arc<Session>>> {
        let Some(mut session) = self.reader.find_session(id).await? else { return Ok(None) };
        session.state.owes_factor &= self.requires_factor(&session.state.rights);
        let session = Arc::new(session);
        if session.state.owes_factor {
            self.cache.forget(id);
        } else {
            self.cache.put(id, now, Arc::clone(&session));
        }
        Ok(Some(session))
    }

    /// Whether who holds this has to show a second factor: everybody has to, or an organization of his asks for it.
    pub(crate) fn requires_factor(&self, rights: &Rights) -> bool {
        self.settings.mfa_required || rights.require_factor()
    }

    /// Whether a text is the CSRF token that came with a session's cookies.
    #[must_use]
    pub fn is_csrf_token(&self, session: SessionId, text: &str) -> bool {
        self.tokens.is_csrf_token(session, text)
    }

    /// The development user and its rights, for the bypass.
    ///
    /// # Errors
    /// Unauthenticated when there is none.
    pub async fn dev_user(&self) -> Result<(User, Arc<Rights>)> {
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
        Ok((found.user, Arc::new(rights)))
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

    /// The hash of a password that was checked before. Slow: never inside a transaction.
    pub(crate) async fn hash_password(&self, password: SecretString) -> Result<SecretString> {
        self.passwords.hash(password).await
    }

    pub(crate) fn entry(
        &self,
        action: &'static str,
        outcome: Outcome,
        user: Option<&User>,
        client: &Client,
    ) -> Entry {
        Entry {
            organization_id: user.and_then(|user| user.organization_id),
            actor_id: user.map(|user| user.id),
            actor_email: user.map(|user| user.email.clone()),
            actor_name: user.map(|user| user.display_name().to_owned()),
            resource_id: user.map(|user| user.id.to_string()),
            outcome,
            ..self.scribe.nobodys(action, client)
        }
    }

    fn session_id(&self) -> SessionId {
        SessionId::from_uuid(self.ids.next())
    }
}
