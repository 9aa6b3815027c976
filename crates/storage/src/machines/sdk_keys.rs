//! Keys of people, for programs that act as they.

use super::{GONE_COLUMNS, Hash, KEY_COLUMNS, Key, Keys, key_of, locked, organization_of, rows};
use crate::{Error, Reader, Tx, dialect};
use bifrost_domain::{
    ids::{KeyId, OrganizationId, UserId},
    policy::{Permit, actions::UseAccount},
};
use sea_orm::{QueryResult, Value};

/// A key of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdkKey {
    /// The key.
    pub key: Key,
    /// Whose it is.
    pub user_id: UserId,
    /// Where it acts; none is GLOBAL.
    pub organization_id: Option<OrganizationId>,
    /// The user's epoch when it was made: when it is raised the key holds no longer.
    pub epoch: i64,
    /// Its hash.
    pub hash: Vec<u8>,
}

fn columns() -> String {
    format!("{KEY_COLUMNS}, k.user_id, k.organization_id, k.epoch, k.hash")
}

fn sdk_key_of(row: &QueryResult) -> Result<SdkKey, Error> {
    let table = Keys::Sdk.table();
    let user_id = UserId::from_uuid(dialect::get(row, table, "user_id")?);
    Ok(SdkKey {
        key: key_of(row, Keys::Sdk, Some(user_id))?,
        user_id,
        organization_id: organization_of(row, table)?,
        epoch: dialect::get(row, table, "epoch")?,
        hash: dialect::get(row, table, "hash")?,
    })
}

impl Reader {
    /// The caller's own keys, oldest first: there are few.
    ///
    /// # Errors
    /// Away.
    pub async fn list_sdk_keys(&self, permit: &Permit<UseAccount>) -> Result<Vec<SdkKey>, Error> {
        let sql = format!("SELECT {} FROM sdk_keys k WHERE k.user_id = $1 ORDER BY k.id", columns());
        dialect::all(&self.db, &sql, [permit.user_id().as_uuid().into()])
            .await?
            .iter()
            .map(sdk_key_of)
            .collect()
    }

    /// The key with this hash, for whoever showed its text.
    ///
    /// # Errors
    /// Away.
    pub async fn find_sdk_key(&self, hash: &Hash) -> Result<Option<SdkKey>, Error> {
        let sql = format!("SELECT {} FROM sdk_keys k WHERE k.hash = $1", columns());
        dialect::one(&self.db, &sql, [hash.to_vec().into()]).await?.as_ref().map(sdk_key_of).transpose()
    }

    /// The key that somebody showed before.
    ///
    /// # Errors
    /// Away.
    pub async fn find_sdk_key_by_id(&self, id: KeyId) -> Result<Option<SdkKey>, Error> {
        let sql = format!("SELECT {} FROM sdk_keys k WHERE k.id = $1", columns());
        dialect::one(&self.db, &sql, [id.as_uuid().into()]).await?.as_ref().map(sdk_key_of).transpose()
    }
}

impl Tx {
    /// The key that somebody showed before, as this transaction sees it.
    ///
    /// # Errors
    /// Away.
    pub async fn find_sdk_key_by_id(&self, id: KeyId) -> Result<Option<SdkKey>, Error> {
        let sql = format!("SELECT {} FROM sdk_keys k WHERE k.id = $1", columns());
        rows(&self.inner, &sql, [id.as_uuid().into()]).await?.first().map(sdk_key_of).transpose()
    }

    /// Adds a key of the caller, unless he has `most` already: tells whether it was added.
    ///
    /// # Errors
    /// Reference when the user or the organization is gone.
    pub async fn insert_sdk_key(
        &self,
        permit: &Permit<UseAccount>,
        one: &SdkKey,
        most: i64,
    ) -> Result<bool, Error> {
        let me = permit.user_id().as_uuid();
        let lock = format!("SELECT id FROM users WHERE id = $1{}", locked(&self.inner));
        rows(&self.inner, &lock, [me.into()]).await?;
        let have = "SELECT id FROM sdk_keys WHERE user_id = $1 LIMIT $2";
        if rows(&self.inner, have, [me.into(), most.into()]).await?.len() as i64 >= most {
            return Ok(false);
        }
        let values: [Value; 9] = [
            one.key.id.as_uuid().into(),
            me.into(),
            one.organization_id.map(OrganizationId::as_uuid).into(),
            one.epoch.into(),
            one.key.name.clone().into(),
            one.hash.clone().into(),
            one.key.prefix.as_str().into(),
            one.key.created_at.into(),
            one.key.expires_at.into(),
        ];
        let sql = "INSERT INTO sdk_keys (id, user_id, organization_id, epoch, name, hash, prefix, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        dialect::execute_in(&self.inner, sql, values).await?;
        Ok(true)
    }

    /// Takes a key from the caller: what it was, when he had it.
    ///
    /// # Errors
    /// Away.
    pub async fn delete_sdk_key(
        &self,
        permit: &Permit<UseAccount>,
        key: KeyId,
    ) -> Result<Option<SdkKey>, Error> {
        let sql = format!(
            "DELETE FROM sdk_keys WHERE id = $1 AND user_id = $2 \
             RETURNING {GONE_COLUMNS}, user_id, organization_id, epoch, hash"
        );
        let gone = rows(&self.inner, &sql, [key.as_uuid().into(), permit.user_id().as_uuid().into()]).await?;
        gone.first().map(sdk_key_of).transpose()
    }
}
