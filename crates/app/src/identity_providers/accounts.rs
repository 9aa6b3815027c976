//! The own identities at providers: seen, and unlinked.

use super::IdentityProviders;
use crate::{audit::About, auth::Client};
use bifrost_domain::{
    error::{Error, Result},
    identity_provider::{ExternalIdentity, IdentityProvider},
    policy::{Permit, actions::UseAccount},
    user::{Email, User},
};
use bifrost_storage::audit::Outcome;
use serde_json::json;

/// A linked identity.
#[derive(Debug, Clone)]
pub struct Account {
    /// Where.
    pub provider: IdentityProvider,
    /// Who there.
    pub identity: ExternalIdentity,
}

impl IdentityProviders {
    /// The identities that are linked to the caller.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn accounts(&self, permit: &Permit<UseAccount>) -> Result<Vec<Account>> {
        let identities = self.reader.list_external_identities(permit.user_id()).await?;
        let known = self.known().await?;
        Ok(identities
            .into_iter()
            .filter_map(|identity| {
                let provider = known.iter().find(|one| one.id == identity.provider_id)?.clone();
                Some(Account { provider, identity })
            })
            .collect())
    }

    /// Unlinks the caller's identity at a provider.
    ///
    /// # Errors
    /// Not found; conflict when the caller could not sign in any more.
    pub async fn unlink(
        &self,
        permit: &Permit<UseAccount>,
        user: &User,
        name: &str,
        client: &Client,
    ) -> Result<()> {
        let not_linked = || Error::not_found("linked account");
        let known = self.known().await?;
        let provider = known.iter().find(|one| one.name == name).ok_or_else(not_linked)?;
        let email: Email = user.email.parse().map_err(Error::internal)?;
        let tx = self.store.db().begin().await?;
        // Two who unlink two identities at once must not both think that the other one stays.
        tx.lock_registration().await?;
        let identities = tx.list_external_identities(permit.user_id()).await?;
        if !identities.iter().any(|one| one.provider_id == provider.id) {
            return Err(not_linked());
        }
        let has_password = tx.find_credentials(&email).await?.is_some_and(|one| one.password_hash.is_some());
        // Nobody signs in with a provider that is switched off.
        let is_way_in = |one: &ExternalIdentity| {
            one.provider_id != provider.id
                && known.iter().any(|known| known.id == one.provider_id && known.is_active)
        };
        if !has_password && !identities.iter().any(is_way_in) {
            return Err(Error::conflict(
                "this is the only way that you sign in; set a password or link another account first",
            )
            .with_code("last_sign_in"));
        }
        tx.delete_external_identity(permit.user_id(), provider.id).await?;
        let entry = self.auth.entry("identity.unlink", Outcome::Success, Some(user), client);
        let mut entry = entry.about(user.id, user.organization_id);
        entry.detail = Some(json!({"provider": provider.name}));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(())
    }
}
