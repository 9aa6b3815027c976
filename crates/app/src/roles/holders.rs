//! Who has a role, and which forms it opens.

use super::{Roles, check_grant, not_found};
use crate::{
    audit::{gone, made},
    auth::Client,
    pages::{cut, one_more},
    still, users,
};
use bifrost_domain::{
    error::{Error, Result},
    ids::{FormId, RoleId, UserId},
    policy::{
        Permit,
        actions::{ReadRoles, WriteRoles},
    },
};
use bifrost_storage::{Error as StoreError, Tx, audit::Entry};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// People or forms in one request.
const MAX_IDS: usize = 1_000;

impl Roles {
    /// A page of those who have a role, by id.
    ///
    /// # Errors
    /// Not found.
    pub async fn users_of(
        &self,
        permit: &Permit<ReadRoles>,
        id: RoleId,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<(Vec<UserId>, bool)> {
        let role = self.get(permit, id).await?;
        let found = self.reader.list_role_users(&role, after, one_more(limit)).await?;
        Ok(cut(found, limit))
    }

    /// A page of the forms that a role opens, by id.
    ///
    /// # Errors
    /// Not found.
    pub async fn forms_of(
        &self,
        permit: &Permit<ReadRoles>,
        id: RoleId,
        after: Option<FormId>,
        limit: u32,
    ) -> Result<(Vec<FormId>, bool)> {
        let role = self.get(permit, id).await?;
        let found = self.reader.list_role_forms(&role, after, one_more(limit)).await?;
        Ok(cut(found, limit))
    }

    /// Gives a role to people; who has it keeps it.
    ///
    /// # Errors
    /// Not found, also when one of the people is no member of the role's organization; invalid when the list is empty or too long;
    /// forbidden when the role permits what the caller may not.
    pub async fn give(
        &self,
        permit: &Permit<WriteRoles>,
        id: RoleId,
        users: Vec<UserId>,
        client: &Client,
    ) -> Result<()> {
        let users: BTreeSet<UserId> = checked_ids("user_ids", users)?;
        let tx = self.store.db().begin().await?;
        // Who is about to leave the organization either has left, or takes the role along and loses it.
        tx.lock_tree().await?;
        let role = tx.lock_role(permit, id).await?.ok_or_else(not_found)?;
        still::check(&tx, permit, self.clock.now()).await?;
        check_grant(permit.caller(), &role.permissions)?;
        if permit.caller().key_id.is_some() && !tx.are_all_registered(&users).await? {
            let message = "a key gives no roles to people who have not registered: they could come back when it is revoked";
            return Err(Error::forbidden(message).with_code("person_needed"));
        }
        if !tx.may_all_have_role(role.organization_id, &users).await? {
            return Err(users::not_found());
        }
        let new = tx.give_role(permit, id, &users, self.clock.now()).await.map_err(unknown("user"))?;
        let mut entry = self.entry("role.give", permit, &role, client);
        entry.changes = made([("user_ids", ids_of(&new))]);
        self.commit_audited(tx, entry).await
    }

    /// Takes a role from somebody.
    ///
    /// # Errors
    /// Not found, also when he does not have it.
    pub async fn take(
        &self,
        permit: &Permit<WriteRoles>,
        id: RoleId,
        user: UserId,
        client: &Client,
    ) -> Result<()> {
        let tx = self.store.db().begin().await?;
        let role = tx.lock_role(permit, id).await?.ok_or_else(not_found)?;
        still::check(&tx, permit, self.clock.now()).await?;
        if !tx.take_role(user, id).await? {
            return Err(users::not_found());
        }
        let mut entry = self.entry("role.take", permit, &role, client);
        entry.changes = gone([("user_ids", json!([user]))]);
        self.commit_audited(tx, entry).await
    }

    /// Has a role open forms: those of its organization; a platform admin may add global ones.
    ///
    /// # Errors
    /// Not found, also when one of the forms is another organization's; invalid when the list is empty or too long.
    pub async fn open(
        &self,
        permit: &Permit<WriteRoles>,
        id: RoleId,
        forms: Vec<FormId>,
        client: &Client,
    ) -> Result<()> {
        let forms: BTreeSet<FormId> = checked_ids("form_ids", forms)?;
        let tx = self.store.db().begin().await?;
        let role = tx.lock_role(permit, id).await?.ok_or_else(not_found)?;
        still::check(&tx, permit, self.clock.now()).await?;
        let with_global = permit.caller().is_platform_admin;
        if !tx.may_role_open_all(role.organization_id, with_global, &forms).await? {
            return Err(Error::not_found("form"));
        }
        let new = tx.open_forms(permit, id, &forms, self.clock.now()).await.map_err(unknown("form"))?;
        let mut entry = self.entry("role.open", permit, &role, client);
        entry.changes = made([("form_ids", ids_of(&new))]);
        self.commit_audited(tx, entry).await
    }

    /// Closes a form to a role.
    ///
    /// # Errors
    /// Not found, also when the role does not open it.
    pub async fn close(
        &self,
        permit: &Permit<WriteRoles>,
        id: RoleId,
        form: FormId,
        client: &Client,
    ) -> Result<()> {
        let tx = self.store.db().begin().await?;
        let role = tx.lock_role(permit, id).await?.ok_or_else(not_found)?;
        still::check(&tx, permit, self.clock.now()).await?;
        if !tx.close_form(permit, id, form).await? {
            return Err(Error::not_found("form"));
        }
        let mut entry = self.entry("role.close", permit, &role, client);
        entry.changes = gone([("form_ids", json!([form]))]);
        self.commit_audited(tx, entry).await
    }

    async fn commit_audited(&self, tx: Tx, entry: Entry) -> Result<()> {
        tx.insert_audit(entry).await?;
        Ok(tx.commit().await?)
    }
}

/// What the audit log shows of ids: those that are new, if any are.
fn ids_of<T: Serialize>(ids: &BTreeSet<T>) -> Value {
    if ids.is_empty() { Value::Null } else { json!(ids) }
}

/// What a role hangs on went away meanwhile.
fn unknown(what: &'static str) -> impl Fn(StoreError) -> Error {
    move |error| match error {
        StoreError::Reference(_) => Error::not_found(what).with_source(error),
        other => other.into(),
    }
}

fn checked_ids<T: Ord>(path: &str, ids: Vec<T>) -> Result<BTreeSet<T>> {
    if !(1..=MAX_IDS).contains(&ids.len()) {
        return Err(Error::invalid(path, "length", format!("must be 1 to {MAX_IDS} ids")));
    }
    Ok(ids.into_iter().collect())
}
