//! The own profile: name and picture. Passwords, sessions and the second factor are [`crate::auth`]'s.

use crate::{
    audit::{About, Scribe, changes},
    auth::{Client, register::check_name},
    images::{Fit, Images},
};
use bifrost_domain::{
    clock::{SharedClock, SharedIds},
    error::{Error, Result},
    policy::{Permit, actions::UseAccount},
    user::User,
};
use bifrost_storage::{
    Reader, Store,
    accounts::{AccountFacts, Picture},
};
use bytes::Bytes;
use serde_json::json;

/// The box of a person's picture.
const AVATAR: Fit = Fit { width: 512, height: 512 };

/// The own profile. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    store: Store,
    reader: Reader,
    clock: SharedClock,
    scribe: Scribe,
    images: Images,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

impl Accounts {
    /// The profiles over a store.
    #[must_use]
    pub fn new(store: Store, clock: SharedClock, ids: SharedIds, images: Images) -> Self {
        Self { reader: store.reader(), store, scribe: Scribe::new(clock.clone(), ids), clock, images }
    }

    /// The caller's profile as it is kept.
    ///
    /// # Errors
    /// Not found when the account is gone.
    pub async fn get(&self, permit: &Permit<UseAccount>) -> Result<(User, AccountFacts)> {
        let not_found = || Error::not_found("user");
        let user = self.reader.find_user(permit.user_id()).await?.ok_or_else(not_found)?;
        let facts = self.reader.find_account_facts(user.id).await?.ok_or_else(not_found)?;
        Ok((user, facts))
    }

    /// Sets the caller's display name, or clears it.
    ///
    /// # Errors
    /// Invalid when it is longer than 255 characters or has control characters.
    pub async fn rename(
        &self,
        permit: &Permit<UseAccount>,
        name: Option<&str>,
        client: &Client,
    ) -> Result<()> {
        let name = name.map(str::trim).filter(|name| !name.is_empty());
        if let Some(field) = name.and_then(|name| check_name(name).err()) {
            return Err(Error::invalid_fields(vec![field]));
        }
        let caller = permit.caller();
        let tx = self.store.db().begin().await?;
        tx.lock_user(caller.user_id).await?;
        // As it is kept: what the session knows may be a second old.
        let user = tx.find_user(caller.user_id).await?.ok_or_else(|| Error::not_found("user"))?;
        let Some(changed) = changes([("name", json!(user.name), json!(name))]) else { return Ok(()) };
        if !tx.update_own_name(user.id, name, self.clock.now()).await? {
            return Err(Error::not_found("user"));
        }
        let mut entry = self.scribe.line("account.update", caller, client);
        entry = entry.about(user.id, caller.scope.organization());
        entry.changes = Some(changed);
        tx.insert_audit(entry).await?;
        Ok(tx.commit().await?)
    }

    /// The caller's picture.
    ///
    /// # Errors
    /// Not found when there is none.
    pub async fn avatar(&self, permit: &Permit<UseAccount>) -> Result<Picture> {
        self.reader.find_avatar(permit.user_id()).await?.ok_or_else(|| Error::not_found("avatar"))
    }

    /// Sets the caller's picture; answers with its tag.
    ///
    /// # Errors
    /// As [`Images::picture`].
    pub async fn set_avatar(
        &self,
        permit: &Permit<UseAccount>,
        file: Bytes,
        client: &Client,
    ) -> Result<String> {
        let picture = self.images.picture(file, AVATAR, self.clock.now()).await?;
        let caller = permit.caller();
        let tx = self.store.db().begin().await?;
        tx.put_avatar(caller.user_id, &picture).await?;
        let mut entry = self.scribe.line("account.avatar", caller, client);
        entry = entry.about(caller.user_id, caller.scope.organization());
        entry.detail = Some(json!({"bytes": picture.content.len()}));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(picture.etag)
    }

    /// Takes the caller's picture away.
    ///
    /// # Errors
    /// Not found when there is none.
    pub async fn delete_avatar(&self, permit: &Permit<UseAccount>, client: &Client) -> Result<()> {
        let caller = permit.caller();
        let tx = self.store.db().begin().await?;
        if !tx.delete_avatar(caller.user_id).await? {
            return Err(Error::not_found("avatar"));
        }
        let entry = self.scribe.line("account.avatar_delete", caller, client);
        tx.insert_audit(entry.about(caller.user_id, caller.scope.organization())).await?;
        Ok(tx.commit().await?)
    }
}
