//! Organizations: made, changed and deleted by platform admins.

use crate::auth::Client;
use bifrost_domain::{
    clock::{SharedClock, SharedIds},
    error::{Error, Field, Result},
    ids::{AuditId, OrganizationId},
    json::has_nul,
    organization::{Organization, OrganizationPatch, is_domain},
    policy::{
        Caller, Permit,
        actions::{ReadOrganizations, WriteOrganizations},
    },
};
use bifrost_storage::{
    Error as StoreError, Reader, Store,
    audit::{Entry, Outcome},
    organizations::Deletion,
};
use serde_json::Value;

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
        Self { reader: store.reader(), store, clock, ids }
    }

    /// A page, oldest first: at most `limit`, and whether there are more.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn list(
        &self,
        permit: &Permit<ReadOrganizations>,
        after: Option<OrganizationId>,
        limit: u32,
    ) -> Result<(Vec<Organization>, bool)> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut found = self.reader.list_organizations(permit, after, limit as u64 + 1).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }

    /// One organization.
    ///
    /// # Errors
    /// Not found.
    pub async fn get(&self, _permit: &Permit<ReadOrganizations>, id: OrganizationId) -> Result<Organization> {
        self.reader.find_organization(id).await?.ok_or_else(not_found)
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
        let name = checked_name(&new.name, &mut fields);
        let domain = checked_domain(new.domain, &mut fields);
        check_settings(&new.settings, &mut fields);
        refuse(fields)?;
        let now = self.clock.now();
        let organization = Organization {
            id: OrganizationId::from_uuid(self.ids.next()),
            name,
            domain,
            is_active: new.is_active,
            settings: new.settings,
            created_by: Some(permit.user_id()),
            created_at: now,
            updated_at: now,
        };
        let tx = self.store.db().begin().await?;
        tx.insert_organization(permit, organization.clone()).await.map_err(domain_taken)?;
        tx.insert_audit(self.entry("organization.create", organization.id, caller, client)).await?;
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
        patch.name = patch.name.map(|name| checked_name(&name, &mut fields));
        patch.domain = patch.domain.map(|domain| checked_domain(domain, &mut fields));
        if let Some(settings) = &patch.settings {
            check_settings(settings, &mut fields);
        }
        refuse(fields)?;
        let tx = self.store.db().begin().await?;
        let changed = tx
            .update_organization(permit, id, patch, self.clock.now())
            .await
            .map_err(domain_taken)?
            .ok_or_else(not_found)?;
        tx.insert_audit(self.entry("organization.update", id, caller, client)).await?;
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
        match tx.delete_organization(permit, id).await? {
            Deletion::Done => {}
            Deletion::Unknown => return Err(not_found()),
            Deletion::InUse(what) => return Err(in_use(&what.join(", "))),
        }
        tx.insert_audit(self.entry("organization.delete", id, caller, client)).await?;
        tx.commit().await?;
        Ok(())
    }

    fn entry(&self, action: &'static str, id: OrganizationId, caller: &Caller, client: &Client) -> Entry {
        Entry {
            id: AuditId::from_uuid(self.ids.next()),
            at: self.clock.now(),
            organization_id: Some(id),
            actor_id: Some(caller.user_id),
            actor_email: Some(caller.email.clone()),
            action,
            resource_type: "organization",
            resource_id: Some(id.to_string()),
            outcome: Outcome::Success,
            detail: None,
            request_id: client.request_id.clone(),
            ip_address: client.ip.map(|ip| ip.to_string()),
        }
    }
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

fn refuse(fields: Vec<Field>) -> Result<()> {
    if fields.is_empty() { Ok(()) } else { Err(Error::invalid_fields(fields)) }
}

fn checked_name(name: &str, fields: &mut Vec<Field>) -> String {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        let message = format!("must have 1 to {MAX_NAME} characters and no control characters");
        fields.push(Field { path: "name".to_owned(), code: "length".into(), message });
    }
    name.to_owned()
}

fn checked_domain(domain: Option<String>, fields: &mut Vec<Field>) -> Option<String> {
    let domain = domain?.trim().to_lowercase();
    if !is_domain(&domain) {
        let message = "must be a domain such as `acme.example`".to_owned();
        fields.push(Field { path: "domain".to_owned(), code: "format".into(), message });
    }
    Some(domain)
}

fn check_settings(settings: &Value, fields: &mut Vec<Field>) {
    let mut wrong = |code: &'static str, message: String| {
        fields.push(Field { path: "settings".to_owned(), code: code.into(), message });
    };
    if !settings.is_object() {
        wrong("type", "must be an object".to_owned());
    } else if settings.to_string().len() > MAX_SETTINGS_BYTES {
        wrong("too_long", format!("must be at most {MAX_SETTINGS_BYTES} bytes of JSON"));
    } else if has_nul(settings) {
        wrong("format", "must not contain NUL".to_owned());
    }
}
