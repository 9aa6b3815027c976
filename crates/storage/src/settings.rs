//! Configuration values (`configs`), organization first, then global.

use crate::{
    Error, Reader, Store,
    dialect::{all, execute, get, one},
};
use bifrost_domain::{
    ids::{ConfigId, UserId},
    scope::Scope,
};
use chrono::{DateTime, Utc};
use sea_orm::QueryResult;
use serde_json::Value;

/// What a configuration value holds.
#[derive(Debug, Clone, PartialEq)]
pub enum ConfigValue {
    /// A plain value with its type (`string`, `int`, `bool` or `json`).
    Plain {
        /// The type's name.
        kind: String,
        /// The value.
        value: Value,
    },
    /// An encrypted value with the id of its key.
    Secret {
        /// AES-256-GCM, nonce first.
        ciphertext: Vec<u8>,
        /// Which key wraps it.
        key_id: String,
    },
}

/// A configuration value with its key.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `^[a-zA-Z0-9_]+$`
    pub key: String,
    /// Whose it is.
    pub scope: Scope,
    /// The value.
    pub value: ConfigValue,
}

impl Store {
    /// Sets a value in exactly this scope.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn put_config(
        &self,
        id: ConfigId,
        config: &Config,
        by: UserId,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let (kind, value, ciphertext, key_id) = match &config.value {
            ConfigValue::Plain { kind, value } => (kind.as_str(), Some(value.clone()), None, None),
            ConfigValue::Secret { ciphertext, key_id } => {
                ("secret", None, Some(ciphertext.clone()), Some(key_id.clone()))
            }
        };
        execute(
            &self.db,
            "INSERT INTO configs (id, organization_id, scope, key, type, value, ciphertext, key_id, updated_by, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10) ON CONFLICT (scope, key) DO UPDATE SET type = excluded.type, \
             value = excluded.value, ciphertext = excluded.ciphertext, key_id = excluded.key_id, updated_by = excluded.updated_by, \
             updated_at = excluded.updated_at",
            [
                id.as_uuid().into(),
                config.scope.organization().map(bifrost_domain::ids::OrganizationId::as_uuid).into(),
                config.scope.to_string().into(),
                config.key.as_str().into(),
                kind.into(),
                value.into(),
                ciphertext.into(),
                key_id.into(),
                by.as_uuid().into(),
                now.into(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Removes a value of exactly this scope; false when there was none.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn delete_config(&self, scope: Scope, key: &str) -> Result<bool, Error> {
        let changed = execute(
            &self.db,
            "DELETE FROM configs WHERE scope = $1 AND key = $2",
            [scope.to_string().into(), key.into()],
        )
        .await?;
        Ok(changed > 0)
    }
}

impl Reader {
    /// A value: the organization's, else the global one.
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn find_config(&self, scope: Scope, key: &str) -> Result<Option<Config>, Error> {
        let row = one(
            &self.db,
            "SELECT scope, key, type, value, ciphertext, key_id FROM configs WHERE key = $1 AND scope IN ($2, 'GLOBAL') \
             ORDER BY CASE WHEN scope = 'GLOBAL' THEN 1 ELSE 0 END LIMIT 1",
            [key.into(), scope.to_string().into()],
        )
        .await?;
        row.as_ref().map(config_of).transpose()
    }

    /// All values that the scope sees, one per key, by key; at most 10,000.
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn list_configs(&self, scope: Scope) -> Result<Vec<Config>, Error> {
        let rows = all(
            &self.db,
            "SELECT scope, key, type, value, ciphertext, key_id FROM configs WHERE scope IN ($1, 'GLOBAL') \
             ORDER BY key, CASE WHEN scope = 'GLOBAL' THEN 1 ELSE 0 END LIMIT 10000",
            [scope.to_string().into()],
        )
        .await?;
        let mut configs = rows.iter().map(config_of).collect::<Result<Vec<_>, _>>()?;
        configs.dedup_by(|later, first| later.key == first.key);
        Ok(configs)
    }
}

fn config_of(row: &QueryResult) -> Result<Config, Error> {
    let kind: String = get(row, "configs", "type")?;
    let scope: String = get(row, "configs", "scope")?;
    let value = if kind == "secret" {
        ConfigValue::Secret {
            ciphertext: get(row, "configs", "ciphertext")?,
            key_id: get(row, "configs", "key_id")?,
        }
    } else {
        ConfigValue::Plain {
            kind,
            value: get::<Option<Value>>(row, "configs", "value")?.unwrap_or(Value::Null),
        }
    };
    Ok(Config {
        key: get(row, "configs", "key")?,
        scope: scope.parse().map_err(|error: bifrost_domain::scope::ScopeError| Error::Inconsistent {
            table: "configs",
            column: "scope",
            reason: error.to_string(),
        })?,
        value,
    })
}
