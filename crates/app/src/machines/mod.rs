//! Programs that call with a key: API clients of an organization, programs of a person, callers of workflow endpoints.
//!
//! A key is 256 random bits behind a word that tells its kind; it is shown once and kept as its SHA-256 (`key.rs`). What a key is for is
//! known for a second (`recent.rs`), so that a revoked one is refused on every replica within that second; its use is noted behind the
//! answer, once a minute at most (`usage.rs`). `identify.rs` says who acts.

mod applications;
mod identify;
mod key;
mod recent;
mod sdk_keys;
mod usage;
mod workflow_keys;

pub use applications::{ApplicationPatch, NewApplication};
pub use identify::Identified;
pub use key::{MadeKey, NewKey};
pub use workflow_keys::NewWorkflowKey;

use crate::{audit::Scribe, auth::Auth};
use bifrost_domain::{
    clock::{SharedClock, SharedIds},
    error::{Error, Result},
    ids::KeyId,
    user::User,
};
use bifrost_storage::{Reader, Store, machines::Hash, machines::Keys};
use std::{fmt, sync::Arc};
use tokio::sync::OnceCell;

/// The commands over keys and those that show them.
pub struct Machines {
    store: Store,
    reader: Reader,
    clock: SharedClock,
    ids: SharedIds,
    scribe: Scribe,
    auth: Arc<Auth>,
    system: OnceCell<User>,
    usage: usage::Usage,
    applications: recent::Recent<Hash, bifrost_storage::machines::applications::ApplicationKey>,
    sdk_keys: recent::Recent<Hash, bifrost_storage::machines::sdk_keys::SdkKey>,
    sdk_keys_by_id: recent::Recent<KeyId, bifrost_storage::machines::sdk_keys::SdkKey>,
    people: recent::Recent<bifrost_domain::ids::UserId, identify::Person>,
}

impl fmt::Debug for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machines").finish_non_exhaustive()
    }
}

impl Machines {
    /// The commands over a store. `auth` knows the system user, as which API clients act.
    #[must_use]
    pub fn new(store: Store, clock: SharedClock, ids: SharedIds, auth: Arc<Auth>) -> Self {
        Self {
            reader: store.reader(),
            scribe: Scribe::new(clock.clone(), ids.clone()),
            usage: usage::Usage::new(store.clone()),
            store,
            clock,
            ids,
            auth,
            system: OnceCell::new(),
            applications: recent::Recent::default(),
            sdk_keys: recent::Recent::default(),
            sdk_keys_by_id: recent::Recent::default(),
            people: recent::Recent::default(),
        }
    }

    /// What was known of keys is asked again: something was changed here.
    fn forget(&self) {
        self.applications.clear();
        self.sdk_keys.clear();
        self.sdk_keys_by_id.clear();
    }

    async fn system(&self) -> Result<&User> {
        self.system.get_or_try_init(|| self.auth.ensure_system_user()).await
    }

    fn note_use(&self, keys: Keys, id: KeyId) {
        self.usage.note(keys, id, self.clock.now());
    }
}

/// The answer to every key that does not hold; it does not tell why.
fn invalid() -> Error {
    Error::unauthenticated("the key is not valid, was revoked or has expired").with_code("key_invalid")
}
