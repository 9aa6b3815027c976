//! API clients of an organization, and their keys: several at once, so that one can be replaced without a pause.

use super::{
    Machines, MadeKey, NewKey,
    key::{self, Kind},
};
use crate::{
    audit::{About, changes, gone, made},
    auth::Client,
    fields::{checked_description, checked_name, refuse, wrong},
    pages::{cut, one_more},
    still,
};
use bifrost_domain::{
    application::{Application, is_app_id},
    error::{Error, Field, Result},
    ids::{ApplicationId, KeyId, OrganizationId},
    policy::{
        Caller, Permit,
        actions::{self, ReadApplications, WriteApplications},
        may_grant, may_let_assert,
    },
    scope::Scope,
};
use bifrost_storage::{Error as StoreError, audit::Entry, machines::Key};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fmt::Write, num::NonZeroU32};

const MAX_NAME: usize = 255;
const MAX_DESCRIPTION: usize = 1_000;
const MAX_SCOPES: usize = 100;
const MAX_RATE: u32 = 100_000;
/// Keys of one API client: enough to replace one on many machines.
const MAX_KEYS: i64 = 10;

/// What an API client is made of.
#[derive(Debug, Clone)]
pub struct NewApplication {
    /// Its public name; a random one when none is given.
    pub app_id: Option<String>,
    /// 1 to 255 characters.
    pub name: String,
    /// At most 1000 characters.
    pub description: Option<String>,
    /// Whose it is; the organization that the caller acts in when none is given.
    pub organization_id: Option<OrganizationId>,
    /// Permissions that the caller may give.
    pub scopes: Vec<String>,
    /// Whether its keys hold.
    pub is_active: bool,
    /// 1 to 100,000.
    pub rate_limit_per_minute: Option<u32>,
    /// Whether it may act for members of its organization.
    pub allow_user_assertion: bool,
}

/// What is changed of an API client.
#[derive(Debug, Clone, Default)]
pub struct ApplicationPatch {
    /// Its name.
    pub name: Option<String>,
    /// What it is for; `Some(None)` clears it.
    pub description: Option<Option<String>>,
    /// All its scopes.
    pub scopes: Option<Vec<String>>,
    /// Whether its keys hold.
    pub is_active: Option<bool>,
    /// Its limit; `Some(None)` takes it away.
    pub rate_limit_per_minute: Option<Option<u32>>,
    /// Whether it may act for members of its organization.
    pub allow_user_assertion: Option<bool>,
}

impl Machines {
    /// A page of the API clients that the caller reaches, oldest first: at most `limit`, and whether there are more.
    ///
    /// # Errors
    /// Unavailable when the store is away.
    pub async fn list_applications(
        &self,
        permit: &Permit<ReadApplications>,
        after: Option<ApplicationId>,
        limit: u32,
    ) -> Result<(Vec<Application>, bool)> {
        let found = self.reader.list_applications(permit, after, one_more(limit)).await?;
        Ok(cut(found, limit))
    }

    /// One API client.
    ///
    /// # Errors
    /// Not found.
    pub async fn get_application(
        &self,
        permit: &Permit<ReadApplications>,
        id: ApplicationId,
    ) -> Result<Application> {
        self.reader.find_application(permit, id).await?.ok_or_else(not_found)
    }

    /// Makes an API client.
    ///
    /// # Errors
    /// Invalid fields; forbidden when it would have more than the caller, or the caller is an application; not found when there is no such
    /// organization for the caller; conflict when the public name is taken.
    pub async fn create_application(
        &self,
        permit: &Permit<WriteApplications>,
        new: NewApplication,
        client: &Client,
    ) -> Result<Application> {
        let caller = permit.caller();
        let mut fields = Vec::new();
        let name = checked_name(&new.name, MAX_NAME, &mut fields);
        let description = checked_description(new.description, MAX_DESCRIPTION, &mut fields);
        let scopes = checked_scopes(new.scopes, &mut fields);
        let rate_limit_per_minute = checked_rate(new.rate_limit_per_minute, &mut fields);
        if new.app_id.as_deref().is_some_and(|text| !is_app_id(text)) {
            let message = "must have 1 to 100 small letters, digits and single hyphens between them";
            wrong(&mut fields, "app_id", "format", message);
        }
        let place = match (new.organization_id, permit.scope()) {
            (Some(id), _) => Some(id),
            (None, Scope::Organization(id)) => Some(id),
            (None, Scope::Global) => {
                wrong(&mut fields, "organization_id", "required", "is required: you act in no organization");
                None
            }
        };
        refuse(fields)?;
        let no_organization = || Error::not_found("organization");
        let organization_id = place.filter(|id| permit.reach().contains(*id)).ok_or_else(no_organization)?;
        check_person(caller, None)?;
        check_own(caller, &scopes)?;
        check_assertion(caller, new.allow_user_assertion)?;
        let now = self.clock.now();
        let application = Application {
            id: ApplicationId::from_uuid(self.ids.next()),
            app_id: new.app_id.unwrap_or_else(random_app_id),
            name,
            description,
            organization_id,
            scopes,
            is_active: new.is_active,
            rate_limit_per_minute,
            allow_user_assertion: new.allow_user_assertion,
            created_by: Some(permit.user_id()),
            created_at: now,
            updated_at: now,
        };
        let tx = self.store.db().begin().await?;
        still::check(&tx, permit, now).await?;
        tx.insert_application(permit, &application).await.map_err(|error| match error {
            StoreError::Duplicate(_) => Error::conflict("another application has this `app_id`")
                .with_code("app_id_taken")
                .with_source(error),
            StoreError::Reference(_) => no_organization(),
            other => other.into(),
        })?;
        let mut entry = self.application_line("application.create", &application, caller, client);
        entry.changes = made(described(&application));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(application)
    }

    /// Changes an API client.
    ///
    /// # Errors
    /// Not found; invalid fields; forbidden when it would get more than the caller has.
    pub async fn update_application(
        &self,
        permit: &Permit<WriteApplications>,
        id: ApplicationId,
        patch: ApplicationPatch,
        client: &Client,
    ) -> Result<Application> {
        let caller = permit.caller();
        let mut fields = Vec::new();
        let name = patch.name.map(|name| checked_name(&name, MAX_NAME, &mut fields));
        let description =
            patch.description.map(|text| checked_description(text, MAX_DESCRIPTION, &mut fields));
        let scopes = patch.scopes.map(|scopes| checked_scopes(scopes, &mut fields));
        let rate = patch.rate_limit_per_minute.map(|rate| checked_rate(rate, &mut fields));
        refuse(fields)?;
        if rate.is_some() {
            check_person(caller, None)?;
        }
        let tx = self.store.db().begin().await?;
        let before = tx.lock_application(permit, id).await?.ok_or_else(not_found)?;
        still::check(&tx, permit, self.clock.now()).await?;
        let after = Application {
            name: name.unwrap_or_else(|| before.name.clone()),
            description: description.unwrap_or_else(|| before.description.clone()),
            scopes: scopes.unwrap_or_else(|| before.scopes.clone()),
            is_active: patch.is_active.unwrap_or(before.is_active),
            rate_limit_per_minute: rate.unwrap_or(before.rate_limit_per_minute),
            allow_user_assertion: patch.allow_user_assertion.unwrap_or(before.allow_user_assertion),
            updated_at: self.clock.now(),
            ..before.clone()
        };
        // What it had stays; what it gets has to be the caller's to give.
        check_own(caller, &after.scopes.difference(&before.scopes).cloned().collect())?;
        check_assertion(caller, after.allow_user_assertion && !before.allow_user_assertion)?;
        // One whose keys did not hold gets all of it when they hold again.
        if after.is_active && !before.is_active {
            check_own(caller, &after.scopes)?;
            check_assertion(caller, after.allow_user_assertion)?;
        }
        tx.update_application(permit, &after).await?;
        let mut entry = self.application_line("application.update", &after, caller, client);
        let pairs = described(&before).into_iter().zip(described(&after));
        entry.changes = changes(pairs.map(|((name, old), (_, new))| (name, old, new)));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        self.forget();
        Ok(after)
    }

    /// Deletes an API client with its keys.
    ///
    /// # Errors
    /// Not found.
    pub async fn delete_application(
        &self,
        permit: &Permit<WriteApplications>,
        id: ApplicationId,
        client: &Client,
    ) -> Result<()> {
        let tx = self.store.db().begin().await?;
        let found = tx.lock_application(permit, id).await?.ok_or_else(not_found)?;
        still::check(&tx, permit, self.clock.now()).await?;
        tx.delete_application(permit, id).await?;
        let mut entry = self.application_line("application.delete", &found, permit.caller(), client);
        entry.changes = gone(described(&found));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        self.forget();
        Ok(())
    }

    /// The keys of an API client, oldest first.
    ///
    /// # Errors
    /// Not found.
    pub async fn list_application_keys(
        &self,
        permit: &Permit<ReadApplications>,
        id: ApplicationId,
    ) -> Result<Vec<Key>> {
        self.get_application(permit, id).await?;
        Ok(self.reader.list_application_keys(permit, id).await?)
    }

    /// Makes a key of an API client. Whoever has it has all its scopes, so they have to be the caller's to give.
    ///
    /// # Errors
    /// Not found; invalid fields; forbidden when the API client has more than the caller; conflict when it has ten keys.
    pub async fn create_application_key(
        &self,
        permit: &Permit<WriteApplications>,
        id: ApplicationId,
        new: NewKey,
        client: &Client,
    ) -> Result<MadeKey<Key>> {
        let now = self.clock.now();
        let mut fields = Vec::new();
        let new = new.checked(now, &mut fields);
        refuse(fields)?;
        let fresh = key::fresh(Kind::Application);
        let kept = fresh.key(KeyId::from_uuid(self.ids.next()), new, Some(permit.user_id()), now);
        let tx = self.store.db().begin().await?;
        let application = tx.lock_application(permit, id).await?.ok_or_else(not_found)?;
        still::check(&tx, permit, self.clock.now()).await?;
        check_person(permit.caller(), Some(id))?;
        check_own(permit.caller(), &application.scopes)?;
        check_assertion(permit.caller(), application.allow_user_assertion)?;
        if !tx.insert_application_key(permit, id, &kept, &fresh.hash, MAX_KEYS).await? {
            return Err(Error::conflict(format!(
                "the application has {MAX_KEYS} keys, which is the most; revoke one first"
            ))
            .with_code("too_many_keys"));
        }
        let mut entry =
            self.application_line("application.key_create", &application, permit.caller(), client);
        entry.changes = made(key::described(&kept));
        entry.detail = Some(json!({"key_id": kept.id}));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        Ok(MadeKey { kept, text: fresh.text })
    }

    /// Revokes a key of an API client.
    ///
    /// # Errors
    /// Not found.
    pub async fn delete_application_key(
        &self,
        permit: &Permit<WriteApplications>,
        id: ApplicationId,
        key: KeyId,
        client: &Client,
    ) -> Result<()> {
        let tx = self.store.db().begin().await?;
        let application = tx.lock_application(permit, id).await?.ok_or_else(not_found)?;
        still::check(&tx, permit, self.clock.now()).await?;
        let found = tx.delete_application_key(permit, id, key).await?;
        let found = found.ok_or_else(|| Error::not_found("key"))?;
        let mut entry =
            self.application_line("application.key_revoke", &application, permit.caller(), client);
        entry.changes = gone(key::described(&found));
        entry.detail = Some(json!({"key_id": key}));
        tx.insert_audit(entry).await?;
        tx.commit().await?;
        self.forget();
        Ok(())
    }

    fn application_line(
        &self,
        action: &'static str,
        application: &Application,
        caller: &Caller,
        client: &Client,
    ) -> Entry {
        self.scribe.line(action, caller, client).about(application.id, Some(application.organization_id))
    }
}

/// What the audit log shows of an API client.
fn described(one: &Application) -> [(&'static str, Value); 7] {
    [
        ("app_id", one.app_id.as_str().into()),
        ("name", one.name.as_str().into()),
        ("description", one.description.clone().into()),
        ("scopes", json!(one.scopes)),
        ("is_active", one.is_active.into()),
        ("rate_limit_per_minute", one.rate_limit_per_minute.map(NonZeroU32::get).into()),
        ("allow_user_assertion", one.allow_user_assertion.into()),
    ]
}

fn not_found() -> Error {
    Error::not_found("application")
}

/// An application neither raises its limit nor gets another one's: it changes none, makes no application, and keys for itself alone.
fn check_person(caller: &Caller, own: Option<ApplicationId>) -> Result<()> {
    if caller.application_id.is_none() || caller.application_id == own {
        return Ok(());
    }
    let message = "an application changes no limits, makes no applications and no keys of others: an administrator does";
    Err(Error::forbidden(message).with_code("person_needed"))
}

/// Nobody gives what he has not.
fn check_own(caller: &Caller, scopes: &BTreeSet<String>) -> Result<()> {
    match scopes.iter().find(|scope| !may_grant(caller, scope)) {
        None => Ok(()),
        Some(scope) => {
            Err(Error::forbidden(format!("you do not have `{scope}` yourself, so you cannot give it"))
                .with_code("scope_beyond_own"))
        }
    }
}

fn check_assertion(caller: &Caller, wanted: bool) -> Result<()> {
    if !wanted || may_let_assert(caller) {
        return Ok(());
    }
    Err(Error::forbidden("only administrators of the organization let an application act for others")
        .with_code("assertion_not_allowed"))
}

fn checked_scopes(scopes: Vec<String>, fields: &mut Vec<Field>) -> BTreeSet<String> {
    if scopes.len() > MAX_SCOPES {
        wrong(fields, "scopes", "too_many", format!("must have at most {MAX_SCOPES} entries"));
        return BTreeSet::new();
    }
    for (i, scope) in scopes.iter().enumerate() {
        if !actions::is_grantable(scope) {
            wrong(fields, format!("scopes[{i}]"), "unknown", "is no permission that can be given");
        }
    }
    scopes.into_iter().collect()
}

fn checked_rate(rate: Option<u32>, fields: &mut Vec<Field>) -> Option<NonZeroU32> {
    let rate = rate?;
    let checked = NonZeroU32::new(rate).filter(|rate| rate.get() <= MAX_RATE);
    if checked.is_none() {
        wrong(fields, "rate_limit_per_minute", "range", format!("must be between 1 and {MAX_RATE}"));
    }
    checked
}

fn random_app_id() -> String {
    rand::random::<[u8; 8]>().iter().fold("app-".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
