//! API clients and their keys.

use super::{GONE_COLUMNS, Hash, KEY_COLUMNS, Key, Keys, key_of, locked, reached, rows, user_of};
use crate::{Error, Reader, Tx, dialect};
use bifrost_domain::{
    application::Application,
    ids::{ApplicationId, KeyId, OrganizationId, UserId},
    policy::{
        Permit, Reach,
        actions::{ReadApplications, WriteApplications},
    },
};
use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, QueryResult, Value};
use std::{collections::BTreeSet, num::NonZeroU32};
use uuid::Uuid;

const TABLE: &str = "applications";
const COLUMNS: &str = "a.id, a.app_id, a.name, a.description, a.organization_id, a.scopes, a.is_active, a.rate_limit_per_minute, \
     a.allow_user_assertion, a.created_by, a.created_at, a.updated_at";

/// A key that was found by its hash, with whose it is.
#[derive(Debug, Clone)]
pub struct ApplicationKey {
    /// The key.
    pub key: Key,
    /// Its hash.
    pub hash: Vec<u8>,
    /// Whose it is.
    pub application: Application,
    /// Whether the organization of the API client is active.
    pub is_open: bool,
}

impl ApplicationKey {
    /// Whether it has not expired, and its API client and organization are active.
    #[must_use]
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        self.key.holds(now) && self.application.is_active && self.is_open
    }
}

fn application_of(row: &QueryResult) -> Result<Application, Error> {
    let unreadable = |column, reason: String| Error::Inconsistent { table: TABLE, column, reason };
    let scopes: serde_json::Value = dialect::get(row, TABLE, "scopes")?;
    let scopes: BTreeSet<String> =
        serde_json::from_value(scopes).map_err(|error| unreadable("scopes", error.to_string()))?;
    let rate: Option<i32> = dialect::get(row, TABLE, "rate_limit_per_minute")?;
    let rate = rate
        .map(|rate| {
            u32::try_from(rate)
                .ok()
                .and_then(NonZeroU32::new)
                .ok_or_else(|| unreadable("rate_limit_per_minute", rate.to_string()))
        })
        .transpose()?;
    Ok(Application {
        id: ApplicationId::from_uuid(dialect::get(row, TABLE, "id")?),
        app_id: dialect::get(row, TABLE, "app_id")?,
        name: dialect::get(row, TABLE, "name")?,
        description: dialect::get(row, TABLE, "description")?,
        organization_id: OrganizationId::from_uuid(dialect::get(row, TABLE, "organization_id")?),
        scopes,
        is_active: dialect::get(row, TABLE, "is_active")?,
        rate_limit_per_minute: rate,
        allow_user_assertion: dialect::get(row, TABLE, "allow_user_assertion")?,
        created_by: user_of(row, TABLE, "created_by")?,
        created_at: dialect::get(row, TABLE, "created_at")?,
        updated_at: dialect::get(row, TABLE, "updated_at")?,
    })
}

async fn find<C: ConnectionTrait>(
    connection: &C,
    reach: &Reach,
    id: ApplicationId,
    lock: &str,
) -> Result<Option<Application>, Error> {
    let mut values: Vec<Value> = vec![id.as_uuid().into()];
    let reached = reached(reach, "a.organization_id", &mut values);
    let sql = format!("SELECT {COLUMNS} FROM applications a WHERE a.id = $1{reached}{lock}");
    rows(connection, &sql, values).await?.first().map(application_of).transpose()
}

fn rate_of(application: &Application) -> Value {
    application.rate_limit_per_minute.map(|rate| i32::try_from(rate.get()).unwrap_or(i32::MAX)).into()
}

impl Reader {
    /// A page of the API clients that the permit reaches, oldest first, after `after`.
    ///
    /// # Errors
    /// Away.
    pub async fn list_applications(
        &self,
        permit: &Permit<ReadApplications>,
        after: Option<ApplicationId>,
        limit: u64,
    ) -> Result<Vec<Application>, Error> {
        let mut values: Vec<Value> =
            vec![after.map_or(Uuid::nil(), ApplicationId::as_uuid).into(), dialect::limit_of(limit)];
        let reached = reached(&permit.reach(), "a.organization_id", &mut values);
        let sql =
            format!("SELECT {COLUMNS} FROM applications a WHERE a.id > $1{reached} ORDER BY a.id LIMIT $2");
        dialect::all(&self.db, &sql, values).await?.iter().map(application_of).collect()
    }

    /// An API client that the permit reaches.
    ///
    /// # Errors
    /// Away.
    pub async fn find_application(
        &self,
        permit: &Permit<ReadApplications>,
        id: ApplicationId,
    ) -> Result<Option<Application>, Error> {
        find(self.db.reader(), &permit.reach(), id, "").await
    }

    /// The keys of an API client that the permit reaches, oldest first: there are few.
    ///
    /// # Errors
    /// Away.
    pub async fn list_application_keys(
        &self,
        permit: &Permit<ReadApplications>,
        id: ApplicationId,
    ) -> Result<Vec<Key>, Error> {
        let mut values: Vec<Value> = vec![id.as_uuid().into()];
        let reached = reached(&permit.reach(), "a.organization_id", &mut values);
        let sql = format!(
            "SELECT {KEY_COLUMNS}, k.created_by AS key_created_by FROM application_keys k \
             JOIN applications a ON a.id = k.application_id WHERE k.application_id = $1{reached} ORDER BY k.id"
        );
        dialect::all(&self.db, &sql, values).await?.iter().map(own_key_of).collect()
    }

    /// The key with this hash, for whoever showed its text.
    ///
    /// # Errors
    /// Away.
    pub async fn find_application_key(&self, hash: &Hash) -> Result<Option<ApplicationKey>, Error> {
        let sql = key_by("k.hash");
        dialect::one(&self.db, &sql, [hash.to_vec().into()])
            .await?
            .as_ref()
            .map(application_key_of)
            .transpose()
    }
}

/// Reads a key with its API client.
fn key_by(column: &str) -> String {
    format!(
        "SELECT {COLUMNS}, {KEY_COLUMNS}, k.created_by AS key_created_by, k.hash, o.is_active AS is_open \
         FROM application_keys k JOIN applications a ON a.id = k.application_id \
         JOIN organizations o ON o.id = a.organization_id WHERE {column} = $1"
    )
}

fn application_key_of(row: &QueryResult) -> Result<ApplicationKey, Error> {
    Ok(ApplicationKey {
        key: own_key_of(row)?,
        hash: dialect::get(row, Keys::Applications.table(), "hash")?,
        application: application_of(row)?,
        is_open: dialect::get(row, "organizations", "is_open")?,
    })
}

fn own_key_of(row: &QueryResult) -> Result<Key, Error> {
    key_of(row, Keys::Applications, user_of(row, Keys::Applications.table(), "key_created_by")?)
}

impl Tx {
    /// The key that somebody showed before, as this transaction sees it.
    ///
    /// # Errors
    /// Away.
    pub async fn find_application_key_by_id(&self, id: KeyId) -> Result<Option<ApplicationKey>, Error> {
        let found = rows(&self.inner, &key_by("k.id"), [id.as_uuid().into()]).await?;
        found.first().map(application_key_of).transpose()
    }

    /// An API client that the permit reaches, kept as it is until this transaction ends.
    ///
    /// # Errors
    /// Away.
    pub async fn lock_application(
        &self,
        permit: &Permit<WriteApplications>,
        id: ApplicationId,
    ) -> Result<Option<Application>, Error> {
        find(&self.inner, &permit.reach(), id, locked(&self.inner)).await
    }

    /// Adds an API client.
    ///
    /// # Errors
    /// Duplicate when the public name is taken; reference when the organization is gone.
    pub async fn insert_application(
        &self,
        _permit: &Permit<WriteApplications>,
        one: &Application,
    ) -> Result<(), Error> {
        let values: [Value; 12] = [
            one.id.as_uuid().into(),
            one.app_id.as_str().into(),
            one.name.as_str().into(),
            one.description.clone().into(),
            one.organization_id.as_uuid().into(),
            serde_json::json!(one.scopes).into(),
            one.is_active.into(),
            rate_of(one),
            one.allow_user_assertion.into(),
            one.created_by.map(UserId::as_uuid).into(),
            one.created_at.into(),
            one.updated_at.into(),
        ];
        let sql = "INSERT INTO applications (id, app_id, name, description, organization_id, scopes, is_active, rate_limit_per_minute, \
             allow_user_assertion, created_by, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
        dialect::execute_in(&self.inner, sql, values).await?;
        Ok(())
    }

    /// Writes what may be changed of an API client that is locked.
    ///
    /// # Errors
    /// Away.
    pub async fn update_application(
        &self,
        _permit: &Permit<WriteApplications>,
        one: &Application,
    ) -> Result<(), Error> {
        let values: [Value; 8] = [
            one.id.as_uuid().into(),
            one.name.as_str().into(),
            one.description.clone().into(),
            serde_json::json!(one.scopes).into(),
            one.is_active.into(),
            rate_of(one),
            one.allow_user_assertion.into(),
            one.updated_at.into(),
        ];
        let sql = "UPDATE applications SET name = $2, description = $3, scopes = $4, is_active = $5, rate_limit_per_minute = $6, \
             allow_user_assertion = $7, updated_at = $8 WHERE id = $1";
        dialect::execute_in(&self.inner, sql, values).await?;
        Ok(())
    }

    /// Deletes an API client that is locked, with its keys.
    ///
    /// # Errors
    /// Away.
    pub async fn delete_application(
        &self,
        _permit: &Permit<WriteApplications>,
        id: ApplicationId,
    ) -> Result<(), Error> {
        dialect::execute_in(&self.inner, "DELETE FROM applications WHERE id = $1", [id.as_uuid().into()])
            .await?;
        Ok(())
    }

    /// Adds a key to an API client that is locked, unless it has `most` already: tells whether it was added.
    ///
    /// # Errors
    /// Away.
    pub async fn insert_application_key(
        &self,
        _permit: &Permit<WriteApplications>,
        application: ApplicationId,
        key: &Key,
        hash: &Hash,
        most: i64,
    ) -> Result<bool, Error> {
        let have = "SELECT id FROM application_keys WHERE application_id = $1 LIMIT $2";
        let first = [application.as_uuid().into(), most.into()];
        if rows(&self.inner, have, first).await?.len() as i64 >= most {
            return Ok(false);
        }
        let values: [Value; 8] = [
            key.id.as_uuid().into(),
            application.as_uuid().into(),
            key.name.clone().into(),
            hash.to_vec().into(),
            key.prefix.as_str().into(),
            key.created_by.map(UserId::as_uuid).into(),
            key.created_at.into(),
            key.expires_at.into(),
        ];
        let sql = "INSERT INTO application_keys (id, application_id, name, hash, prefix, created_by, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        dialect::execute_in(&self.inner, sql, values).await?;
        Ok(true)
    }

    /// Takes a key from an API client that is locked: what it was, when it had it.
    ///
    /// # Errors
    /// Away.
    pub async fn delete_application_key(
        &self,
        _permit: &Permit<WriteApplications>,
        application: ApplicationId,
        key: KeyId,
    ) -> Result<Option<Key>, Error> {
        let sql = format!(
            "DELETE FROM application_keys WHERE id = $1 AND application_id = $2 \
             RETURNING {GONE_COLUMNS}, created_by AS key_created_by"
        );
        let gone = rows(&self.inner, &sql, [key.as_uuid().into(), application.as_uuid().into()]).await?;
        gone.first().map(own_key_of).transpose()
    }
}
