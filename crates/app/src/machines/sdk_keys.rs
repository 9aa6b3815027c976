//! Keys of people, for programs that act as they.

use super::{
    Machines, MadeKey, NewKey,
    key::{self, Kind},
};
use crate::{
    audit::{About, gone, made},
    auth::Client,
    fields::refuse,
    still,
};
use bifrost_domain::{
    error::{Error, Result},
    ids::KeyId,
    policy::{Permit, actions::UseAccount},
    user::User,
};
use bifrost_storage::machines::sdk_keys::SdkKey;

/// Keys of one person.
const MAX_KEYS: i64 = 50;

impl Machines {
    /// The caller's own keys, oldest first.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn list_sdk_keys(&self, permit: &Permit<UseAccount>) -> Result<Vec<SdkKey>> {
        Ok(self.reader.list_sdk_keys(permit).await?)
    }

    /// Makes a key that acts as the caller, in the organization that he acts in now.
    ///
    /// # Errors
    /// Invalid fields; conflict when he has fifty keys.
    pub async fn create_sdk_key(
        &self,
        permit: &Permit<UseAccount>,
        user: &User,
        new: NewKey,
        client: &Client,
    ) -> Result<MadeKey<SdkKey>> {
        let now = self.clock.now();
        let mut fields = Vec::new();
        let new = new.checked(now, &mut fields);
        refuse(fields)?;
        let fresh = key::fresh(Kind::Sdk);
        let id = KeyId::from_uuid(self.ids.next());
        let kept = SdkKey {
            key: fresh.key(id, new, Some(permit.user_id()), now),
            user_id: permit.user_id(),
            organization_id: permit.scope().organization(),
            epoch: user.epoch,
            hash: fresh.hash.to_vec(),
        };
        let tx = self.store.db().begin().await?;
        still::check(&tx, permit, self.clock.now()).await?;
        if !tx.insert_sdk_key(permit, &kept, MAX_KEYS).await? {
            return Err(Error::conflict(format!(
                "you have {MAX_KEYS} keys, which is the most; revoke one first"
            ))
            .with_code("too_many_keys"));
        }
        let line = self.scribe.line("sdk_key.create", permit.caller(), client);
        let mut entry = line.about(id, kept.organization_id);
        entry.changes = made(key::described(&kept.key));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(MadeKey { kept, text: fresh.text })
    }

    /// Revokes a key of the caller.
    ///
    /// # Errors
    /// Not found.
    pub async fn delete_sdk_key(
        &self,
        permit: &Permit<UseAccount>,
        id: KeyId,
        client: &Client,
    ) -> Result<()> {
        let tx = self.store.db().begin().await?;
        still::check(&tx, permit, self.clock.now()).await?;
        let found = tx.delete_sdk_key(permit, id).await?.ok_or_else(|| Error::not_found("key"))?;
        let line = self.scribe.line("sdk_key.revoke", permit.caller(), client);
        let mut entry = line.about(id, found.organization_id);
        entry.changes = gone(key::described(&found.key));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        self.forget();
        Ok(())
    }
}
