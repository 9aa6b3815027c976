//! Organizations: made, changed and deleted by platform admins.

use crate::{
    audit::{About, Scribe, changes, gone, made},
    auth::Client,
    fields::{checked_name, refuse, wrong},
    pages::{cut, one_more},
    still,
};
use bifrost_domain::{
    clock::{SharedClock, SharedIds},
    error::{Error, Field, Result},
    ids::OrganizationId,
    json::has_nul,
    organization::{
        Organization, OrganizationKind, OrganizationPatch, Place, PlaceError, check_place, is_domain,
    },
    policy::{
        Caller, Permit,
        actions::{ReadOrganizations, WriteOrganizations},
    },
};
use bifrost_storage::{Error as StoreError, Reader, Store, audit::Entry, organizations::Deletion};
use serde_json::{Value, json};

const MAX_NAME: usize = 255;
const MAX_SETTINGS_BYTES: usize = 64 * 1024;

/// What an organization is made of.
#[derive(Debug, Clone)]
pub struct NewOrganization {
    /// 1 to 255 characters.
    pub name: String,
    /// E-mail domain of its people, in any case.
    pub domain: Option<String>,
    /// Whether its people may sign in.
    pub is_active: bool,
    /// What it is in the tree.
    pub kind: OrganizationKind,
    /// The group or provider that it belongs to.
    pub parent_id: Option<OrganizationId>,
    /// A name of the IANA time zone database.
    pub time_zone: String,
    /// A JSON object of at most 64 KiB.
    pub settings: Value,
}

/// The commands over organizations. Cheap to clone.
#[derive(Clone)]
pub struct Organizations {
    store: Store,
    reader: Reader,
    clock: SharedClock,
    ids: SharedIds,
    scribe: Scribe,
}

impl std::fmt::Debug for Organizations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Organizations").finish_non_exhaustive()
    }
}

impl Organizations {
    /// The commands over a store.
    #[must_use]
    pub fn new(store: Store, clock: SharedClock, ids: SharedIds) -> Self {
        Self { reader: store.reader(), store, scribe: Scribe::new(clock.clone(), ids.clone()), clock, ids }
    }

    /// A page of those that the caller has to do with, oldest first: at most `limit`, and whether there are more.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn list(
        &self,
        permit: &Permit<ReadOrganizations>,
        after: Option<OrganizationId>,
        limit: u32,
    ) -> Result<(Vec<Organization>, bool)> {
        let found = self.reader.list_organizations(permit, after, one_more(limit)).await?;
        Ok(cut(found, limit))
    }

    /// One organization.
    ///
    /// # Errors
    /// Not found.
    pub async fn get(&self, permit: &Permit<ReadOrganizations>, id: OrganizationId) -> Result<Organization> {
        let found = self.reader.find_organization(id).await?;
        found.filter(|one| permit.everywhere().contains(one.id)).ok_or_else(not_found)
    }

    /// Makes an organization.
    ///
    /// # Errors
    /// Invalid fields; conflict when the domain is taken.
    pub async fn create(
        &self,
        permit: &Permit<WriteOrganizations>,
        caller: &Caller,
        new: NewOrganization,
        client: &Client,
    ) -> Result<Organization> {
        let mut fields = Vec::new();
        let name = checked_name(&new.name, MAX_NAME, &mut fields);
        let domain = checked_domain(new.domain, &mut fields);
        check_time_zone(&new.time_zone, &mut fields);
        check_settings(&new.settings, &mut fields);
        refuse(fields)?;
        let now = self.clock.now();
        let organization = Organization {
            id: OrganizationId::from_uuid(self.ids.next()),
            name,
            domain,
            is_active: new.is_active,
            kind: new.kind,
            parent_id: new.parent_id,
            time_zone: new.time_zone,
            settings: new.settings,
            created_by: Some(permit.user_id()),
            created_at: now,
            updated_at: now,
        };
        let tx = self.store.db().begin().await?;
        tx.lock_tree().await?;
        still::check(&tx, permit, now).await?;
        let place = Place { id: organization.id, kind: organization.kind, parent_id: organization.parent_id };
        check_place(&tx.list_places().await?, place).map_err(misplaced)?;
        tx.insert_organization(permit, organization.clone()).await.map_err(domain_taken)?;
        tx.inherit(now).await?;
        let mut entry = self.entry("organization.create", organization.id, caller, client);
        entry.changes = made(described(&organization));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(organization)
    }

    /// Changes an organization.
    ///
    /// # Errors
    /// Not found; invalid fields; conflict when the new domain is taken.
    pub async fn update(
        &self,
        permit: &Permit<WriteOrganizations>,
        caller: &Caller,
        id: OrganizationId,
        mut patch: OrganizationPatch,
        client: &Client,
    ) -> Result<Organization> {
        let mut fields = Vec::new();
        patch.name = patch.name.map(|name| checked_name(&name, MAX_NAME, &mut fields));
        patch.domain = patch.domain.map(|domain| checked_domain(domain, &mut fields));
        if let Some(settings) = &patch.settings {
            check_settings(settings, &mut fields);
        }
        if let Some(time_zone) = &patch.time_zone {
            check_time_zone(time_zone, &mut fields);
        }
        refuse(fields)?;
        let now = self.clock.now();
        let moves = patch.kind.is_some() || patch.parent_id.is_some();
        let changes_ranks = moves || patch.is_active.is_some();
        let tx = self.store.db().begin().await?;
        if changes_ranks {
            tx.lock_tree().await?;
        }
        let before = tx.lock_organization(id).await?.ok_or_else(not_found)?;
        still::check(&tx, permit, now).await?;
        if moves {
            let place = Place {
                id,
                kind: patch.kind.unwrap_or(before.kind),
                parent_id: patch.parent_id.unwrap_or(before.parent_id),
            };
            check_place(&tx.list_places().await?, place).map_err(misplaced)?;
        }
        let changed = tx
            .update_organization(permit, id, patch, now)
            .await
            .map_err(domain_taken)?
            .ok_or_else(not_found)?;
        if changes_ranks {
            tx.inherit(now).await?;
        }
        let mut entry = self.entry("organization.update", id, caller, client);
        let pairs = described(&before).into_iter().zip(described(&changed));
        entry.changes = changes(pairs.map(|((name, old), (_, new))| (name, old, new)));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// Deletes an organization that nobody and nothing belongs to.
    ///
    /// # Errors
    /// Not found; conflict while people or data belong to it.
    pub async fn delete(
        &self,
        permit: &Permit<WriteOrganizations>,
        caller: &Caller,
        id: OrganizationId,
        client: &Client,
    ) -> Result<()> {
        let tx = self.store.db().begin().await?;
        // What begins to stand below it meanwhile waits, and is refused.
        tx.lock_tree().await?;
        let before = tx.find_organization(id).await?.ok_or_else(not_found)?;
        still::check(&tx, permit, self.clock.now()).await?;
        let ended = match tx.delete_organization(permit, id).await? {
            Deletion::Done { memberships, keys } => {
                json!({"memberships_ended": memberships, "keys_ended": keys})
            }
            Deletion::Unknown => return Err(not_found()),
            Deletion::InUse(what) => return Err(in_use(&what.join(", "))),
        };
        let mut entry = self.entry("organization.delete", id, caller, client);
        entry.changes = gone(described(&before));
        entry.detail = Some(ended);
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(())
    }

    fn entry(&self, action: &'static str, id: OrganizationId, caller: &Caller, client: &Client) -> Entry {
        self.scribe.line(action, caller, client).about(id, Some(id))
    }
}

/// What the audit log shows of an organization.
fn described(one: &Organization) -> [(&'static str, Value); 7] {
    [
        ("name", one.name.as_str().into()),
        ("domain", one.domain.clone().into()),
        ("is_active", one.is_active.into()),
        ("kind", one.kind.as_str().into()),
        ("parent_id", one.parent_id.map(|id| id.to_string()).into()),
        ("time_zone", one.time_zone.as_str().into()),
        ("settings", one.settings.clone()),
    ]
}

fn misplaced(error: PlaceError) -> Error {
    let path = if error == PlaceError::HasChildren { "kind" } else { "parent_id" };
    Error::invalid(path, "place", error.to_string())
}

fn not_found() -> Error {
    Error::not_found("organization")
}

fn in_use(what: &str) -> Error {
    Error::conflict(format!(
        "{what} of this organization would be lost; delete or move that first, or set `is_active` to false"
    ))
    .with_code("organization_in_use")
}

fn domain_taken(error: StoreError) -> Error {
    match error {
        StoreError::Duplicate(_) => Error::conflict("another organization has this domain")
            .with_code("domain_taken")
            .with_source(error),
        other => other.into(),
    }
}

fn checked_domain(domain: Option<String>, fields: &mut Vec<Field>) -> Option<String> {
    let domain = domain?.trim().to_lowercase();
    if !is_domain(&domain) {
        wrong(fields, "domain", "format", "must be a domain such as `acme.example`");
    }
    Some(domain)
}

fn check_settings(settings: &Value, fields: &mut Vec<Field>) {
    if !settings.is_object() {
        wrong(fields, "settings", "type", "must be an object");
    } else if settings.to_string().len() > MAX_SETTINGS_BYTES {
        wrong(fields, "settings", "too_long", format!("must be at most {MAX_SETTINGS_BYTES} bytes of JSON"));
    } else if has_nul(settings) {
        wrong(fields, "settings", "format", "must not contain NUL");
    } else if let Some(security) = settings.get("security") {
        // Read by sign-in: a switch that is misspelt would be off without a word.
        if !security.is_object() {
            wrong(fields, "settings.security", "type", "must be an object");
        } else if security.get("mfa_required").is_some_and(|flag| !flag.is_boolean()) {
            wrong(fields, "settings.security.mfa_required", "type", "must be true or false");
        }
    }
}

fn check_time_zone(name: &str, fields: &mut Vec<Field>) {
    if name.parse::<chrono_tz::Tz>().is_err() {
        let message = "must be a name of the IANA time zone database such as `Europe/Oslo`";
        wrong(fields, "time_zone", "value", message);
    }
}
