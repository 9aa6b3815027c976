//! Sign-in with external identity providers (OpenID Connect).
//!
//! `admin.rs` keeps the providers (`check.rs` says what may stand in one), `documents.rs` what they say of themselves and their keys,
//! `tokens.rs` decides whether a token is what it seems, `sign_in.rs` is the code flow, `people.rs` finds or makes the user and gives what
//! his groups give, `bearer.rs` takes a provider's access tokens, `accounts.rs` shows and ends links.
//!
//! What a person is known by is the provider and its own, unchanging id of him; an address is never that. An address makes an account
//! only when the provider vouches for it and an administrator said that its domain is the provider's to vouch for; it never takes over
//! one that exists.

mod accounts;
mod admin;
mod bearer;
mod check;
mod documents;
mod people;
mod sign_in;
#[cfg(test)]
mod tests;
mod tokens;

pub use accounts::Account;
pub use admin::{NewProvider, ProviderPatch, Report, RulesPatch};
pub use bearer::Identified;
pub use sign_in::{Answer, Begun, Finished, STATE_SECONDS};

use crate::{audit::Scribe, auth::Auth, cipher::Cipher};
use bifrost_domain::{
    clock::{SharedClock, SharedIds},
    error::Result,
    identity_provider::IdentityProvider,
    ids::IdentityProviderId,
    ports::provider_web::ProviderWeb,
};
use bifrost_storage::{Reader, Store};
use chrono::{DateTime, Duration, Utc};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use url::Url;

/// A change of a provider is seen by every replica within this time.
const KNOWN_FOR: Duration = Duration::seconds(1);

/// What identity providers stand on.
pub struct ProviderParts {
    /// The records.
    pub store: Store,
    /// Time.
    pub clock: SharedClock,
    /// Ids.
    pub ids: SharedIds,
    /// Encrypts our secrets at the providers.
    pub cipher: Arc<Cipher>,
    /// The way to the providers.
    pub web: Arc<dyn ProviderWeb>,
    /// Our own sessions.
    pub auth: Arc<Auth>,
    /// Where people reach this server: providers send them back there.
    pub public_url: Url,
}

impl fmt::Debug for ProviderParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderParts").field("public_url", &self.public_url).finish_non_exhaustive()
    }
}

type Remembered = (DateTime<Utc>, Arc<Vec<IdentityProvider>>);

/// Sign-in with providers, and their administration.
pub struct IdentityProviders {
    store: Store,
    reader: Reader,
    clock: SharedClock,
    ids: SharedIds,
    scribe: Scribe,
    cipher: Arc<Cipher>,
    auth: Arc<Auth>,
    public_url: Url,
    documents: documents::Documents,
    known: Mutex<Option<Remembered>>,
    seen: bearer::Seen,
}

impl fmt::Debug for IdentityProviders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityProviders").field("public_url", &self.public_url).finish_non_exhaustive()
    }
}

impl IdentityProviders {
    /// Providers over a store.
    #[must_use]
    pub fn new(parts: ProviderParts) -> Self {
        Self {
            reader: parts.store.reader(),
            store: parts.store,
            scribe: Scribe::new(parts.clock.clone(), parts.ids.clone()),
            documents: documents::Documents::new(parts.web, parts.clock.clone()),
            clock: parts.clock,
            ids: parts.ids,
            cipher: parts.cipher,
            auth: parts.auth,
            public_url: parts.public_url,
            known: Mutex::default(),
            seen: bearer::Seen::default(),
        }
    }

    /// The providers that people may sign in with.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn offered(&self) -> Result<Vec<IdentityProvider>> {
        Ok(self.known().await?.iter().filter(|one| one.is_active).cloned().collect())
    }

    /// All providers, as they were at most a second ago.
    async fn known(&self) -> Result<Arc<Vec<IdentityProvider>>> {
        let now = self.clock.now();
        if let Some((at, known)) = self.known.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
            && (Duration::zero()..KNOWN_FOR).contains(&(now - *at))
        {
            return Ok(Arc::clone(known));
        }
        let known = Arc::new(self.reader.list_identity_providers().await?);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&known)));
        Ok(known)
    }

    fn forget_known(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn active(&self, fits: impl Fn(&IdentityProvider) -> bool) -> Result<Option<IdentityProvider>> {
        Ok(self.known().await?.iter().find(|one| one.is_active && fits(one)).cloned())
    }

    /// Where a secret of ours at a provider belongs, for the cipher.
    fn place(id: IdentityProviderId) -> String {
        format!("identity_providers/{id}/client_secret")
    }
}
