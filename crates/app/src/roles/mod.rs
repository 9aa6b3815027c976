//! Roles: what they permit; who has them and which forms they open is in `holders.rs`.
//!
//! Nobody gives what he does not have: neither into a role nor with one. A role of an organization is for its members; one without an
//! organization is the platform's, and platform admins' alone to see and to give.

mod holders;

use crate::{
    audit::{About, Scribe, changes, gone, made},
    auth::Client,
    fields::{checked_description, checked_name, refuse, wrong},
    pages::{cut, one_more},
    still,
};
use bifrost_domain::{
    clock::{SharedClock, SharedIds},
    error::{Error, Field, Result},
    ids::{OrganizationId, RoleId},
    policy::{
        Caller, Permit, SUPERUSER_REQUIRED,
        actions::{ReadRoles, WriteRoles, is_grantable},
        may_grant,
    },
    scope::Scope,
};
use bifrost_storage::{Error as StoreError, Reader, Store, audit::Entry, roles::Role};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const MAX_NAME: usize = 100;
const MAX_DESCRIPTION: usize = 1_000;
const MAX_PERMISSIONS: usize = 200;

/// What a role is made of.
#[derive(Debug, Clone)]
pub struct NewRole {
    /// 1 to 100 characters.
    pub name: String,
    /// At most 1000 characters.
    pub description: Option<String>,
    /// Where it holds; without one in the caller's scope.
    pub organization_id: Option<OrganizationId>,
    /// At most 200.
    pub permissions: Vec<String>,
}

/// A change: `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct RolePatch {
    /// New name.
    pub name: Option<String>,
    /// New description, or none.
    pub description: Option<Option<String>>,
    /// All permissions from now on.
    pub permissions: Option<Vec<String>>,
    /// Whether it gives anything.
    pub is_active: Option<bool>,
}

/// The commands over roles. Cheap to clone.
#[derive(Clone)]
pub struct Roles {
    store: Store,
    reader: Reader,
    clock: SharedClock,
    ids: SharedIds,
    scribe: Scribe,
}

impl std::fmt::Debug for Roles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Roles").finish_non_exhaustive()
    }
}

impl Roles {
    /// The commands over a store.
    #[must_use]
    pub fn new(store: Store, clock: SharedClock, ids: SharedIds) -> Self {
        Self { reader: store.reader(), store, scribe: Scribe::new(clock.clone(), ids.clone()), clock, ids }
    }

    /// A page of roles, oldest first: at most `limit`, and whether there are more. A platform admin who acts in an organization sees its
    /// roles unless `place` says otherwise.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn list(
        &self,
        permit: &Permit<ReadRoles>,
        place: Option<Scope>,
        after: Option<RoleId>,
        limit: u32,
    ) -> Result<(Vec<Role>, bool)> {
        let place = place.or_else(|| permit.scope().organization().map(Scope::Organization));
        let found = self.reader.list_roles(permit, place, after, one_more(limit)).await?;
        Ok(cut(found, limit))
    }

    /// A role.
    ///
    /// # Errors
    /// Not found.
    pub async fn get(&self, permit: &Permit<ReadRoles>, id: RoleId) -> Result<Role> {
        self.reader.find_role(permit, id).await?.ok_or_else(not_found)
    }

    /// Makes a role.
    ///
    /// # Errors
    /// Invalid fields; forbidden when it would give what the caller does not have, or be the platform's; not found when the organization is
    /// another one; conflict when the name is taken.
    pub async fn create(&self, permit: &Permit<WriteRoles>, new: NewRole, client: &Client) -> Result<Role> {
        let mut fields = Vec::new();
        let name = checked_name(&new.name, MAX_NAME, &mut fields);
        let description = checked_description(new.description, MAX_DESCRIPTION, &mut fields);
        let permissions = checked_permissions(new.permissions, &mut fields);
        refuse(fields)?;
        let organization_id = place_of(permit, new.organization_id)?;
        check_grant(permit.caller(), &permissions)?;
        let now = self.clock.now();
        let role = Role {
            id: RoleId::from_uuid(self.ids.next()),
            organization_id,
            name,
            description,
            permissions,
            is_active: true,
            created_by: Some(permit.user_id()),
            created_at: now,
            updated_at: now,
        };
        let tx = self.store.db().begin().await?;
        still::check(&tx, permit, now).await?;
        if let Some(id) = organization_id
            && tx.find_organization(id).await?.is_none()
        {
            return Err(Error::invalid("organization_id", "value", "names no organization"));
        }
        tx.add_role(permit, &role).await.map_err(name_taken)?;
        let mut entry = self.entry("role.create", permit, &role, client);
        entry.changes = made(described(&role));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(role)
    }

    /// Changes a role: who has it has what it permits then.
    ///
    /// # Errors
    /// Not found; invalid fields; forbidden when it would give what the caller does not have; conflict when the name is taken.
    pub async fn update(
        &self,
        permit: &Permit<WriteRoles>,
        id: RoleId,
        patch: RolePatch,
        client: &Client,
    ) -> Result<Role> {
        let mut fields = Vec::new();
        let name = patch.name.map(|name| checked_name(&name, MAX_NAME, &mut fields));
        let description =
            patch.description.map(|text| checked_description(text, MAX_DESCRIPTION, &mut fields));
        let permissions = patch.permissions.map(|list| checked_permissions(list, &mut fields));
        refuse(fields)?;
        let tx = self.store.db().begin().await?;
        let before = tx.lock_role(permit, id).await?.ok_or_else(not_found)?;
        still::check(&tx, permit, self.clock.now()).await?;
        let after = Role {
            name: name.unwrap_or_else(|| before.name.clone()),
            description: description.unwrap_or_else(|| before.description.clone()),
            permissions: permissions.unwrap_or_else(|| before.permissions.clone()),
            is_active: patch.is_active.unwrap_or(before.is_active),
            updated_at: self.clock.now(),
            ..before.clone()
        };
        // One that gave nothing gives all of it when it is active again.
        let given = if before.is_active { before.permissions.clone() } else { BTreeSet::new() };
        if after.is_active {
            check_grant(permit.caller(), after.permissions.difference(&given))?;
        } else {
            check_grant(permit.caller(), after.permissions.difference(&before.permissions))?;
        }
        let pairs = described(&before).into_iter().zip(described(&after));
        let Some(changes) = changes(pairs.map(|((name, old), (_, new))| (name, old, new))) else {
            return Ok(before);
        };
        tx.update_role(permit, &after).await.map_err(name_taken)?;
        let mut entry = self.entry("role.update", permit, &after, client);
        entry.changes = Some(changes);
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// Deletes a role: nobody has it any more.
    ///
    /// # Errors
    /// Not found.
    pub async fn delete(&self, permit: &Permit<WriteRoles>, id: RoleId, client: &Client) -> Result<()> {
        let tx = self.store.db().begin().await?;
        let role = tx.lock_role(permit, id).await?.ok_or_else(not_found)?;
        still::check(&tx, permit, self.clock.now()).await?;
        tx.delete_role(permit, &role).await?;
        let mut entry = self.entry("role.delete", permit, &role, client);
        entry.changes = gone(described(&role));
        tx.insert_audit(entry).await?;
        Ok(tx.commit().await?)
    }

    fn entry(
        &self,
        action: &'static str,
        permit: &Permit<WriteRoles>,
        role: &Role,
        client: &Client,
    ) -> Entry {
        self.scribe.line(action, permit.caller(), client).about(role.id, role.organization_id)
    }
}

/// Where a new role holds.
fn place_of(permit: &Permit<WriteRoles>, asked: Option<OrganizationId>) -> Result<Option<OrganizationId>> {
    let place = permit.scope().organization();
    if permit.caller().is_platform_admin {
        return Ok(asked.or(place));
    }
    match (asked, place) {
        (Some(asked), Some(place)) if asked != place => Err(Error::not_found("organization")),
        (_, Some(place)) => Ok(Some(place)),
        (_, None) => Err(Error::forbidden(SUPERUSER_REQUIRED).with_code("permission_missing")),
    }
}

fn checked_permissions(list: Vec<String>, fields: &mut Vec<Field>) -> BTreeSet<String> {
    if list.len() > MAX_PERMISSIONS {
        wrong(fields, "permissions", "too_long", format!("must be at most {MAX_PERMISSIONS}"));
        return BTreeSet::new();
    }
    for (index, permission) in list.iter().enumerate() {
        if !is_grantable(permission) {
            let message = "is not a permission that a role can carry; see docs/policy.md";
            wrong(fields, format!("permissions[{index}]"), "value", message);
        }
    }
    list.into_iter().collect()
}

/// Nobody gives what he has not.
pub(crate) fn check_grant<'a>(
    caller: &Caller,
    permissions: impl IntoIterator<Item = &'a String>,
) -> Result<()> {
    match permissions.into_iter().find(|permission| !may_grant(caller, permission)) {
        None => Ok(()),
        Some(permission) => Err(Error::forbidden(format!(
            "you cannot give `{permission}`: you do not have it yourself in this organization"
        ))
        .with_code("not_grantable")),
    }
}

/// What the audit log shows of a role.
fn described(role: &Role) -> [(&'static str, Value); 4] {
    [
        ("name", role.name.as_str().into()),
        ("description", role.description.clone().into()),
        ("permissions", json!(role.permissions)),
        ("is_active", role.is_active.into()),
    ]
}

fn not_found() -> Error {
    Error::not_found("role")
}

fn name_taken(error: StoreError) -> Error {
    match error {
        StoreError::Duplicate(_) => Error::conflict("the organization has a role of this name already")
            .with_code("role_exists")
            .with_source(error),
        other => other.into(),
    }
}
