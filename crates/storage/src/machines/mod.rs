//! Keys that programs show: of API clients ([`applications`]), of people ([`sdk_keys`]) and of workflow endpoints ([`workflow_keys`]).
//! A key is known by the SHA-256 of its text; the text itself is nowhere. What was revoked is gone: the audit log tells of it.

pub mod applications;
pub mod sdk_keys;
pub mod workflow_keys;

use crate::{Error, Store, dialect};
use bifrost_domain::{
    ids::{KeyId, OrganizationId, UserId},
    policy::Reach,
};
use chrono::{DateTime, Duration, Utc};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, Value};
use uuid::Uuid;

/// The SHA-256 of a key's text.
pub type Hash = [u8; 32];

/// The use of a key is written at most so often.
const NOTED_EVERY: Duration = Duration::seconds(60);

/// Which keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Of API clients.
    Applications,
    /// Of people.
    Sdk,
    /// Of workflow endpoints.
    Workflows,
}

impl Keys {
    const fn table(self) -> &'static str {
        match self {
            Self::Applications => "application_keys",
            Self::Sdk => "sdk_keys",
            Self::Workflows => "workflow_keys",
        }
    }
}

/// What is shown of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub id: KeyId,
    /// What people call it.
    pub name: Option<String>,
    /// How its text begins.
    pub prefix: String,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// It does not hold from then on.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl Key {
    /// Whether it has not expired.
    #[must_use]
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_none_or(|at| at > now)
    }
}

const KEY_COLUMNS: &str = "k.id AS key_id, k.name AS key_name, k.prefix, k.created_at AS key_created_at, k.expires_at, k.last_used_at";
/// The same for `RETURNING`, which knows no alias of the table on SQLite.
const GONE_COLUMNS: &str =
    "id AS key_id, name AS key_name, prefix, created_at AS key_created_at, expires_at, last_used_at";

/// A key of a row with [`KEY_COLUMNS`].
fn key_of(row: &QueryResult, keys: Keys, created_by: Option<UserId>) -> Result<Key, Error> {
    let table = keys.table();
    Ok(Key {
        id: KeyId::from_uuid(dialect::get(row, table, "key_id")?),
        name: dialect::get(row, table, "key_name")?,
        prefix: dialect::get(row, table, "prefix")?,
        created_by,
        created_at: dialect::get(row, table, "key_created_at")?,
        expires_at: dialect::get(row, table, "expires_at")?,
        last_used_at: dialect::get(row, table, "last_used_at")?,
    })
}

fn user_of(row: &QueryResult, table: &'static str, column: &'static str) -> Result<Option<UserId>, Error> {
    let id: Option<Uuid> = dialect::get(row, table, column)?;
    Ok(id.map(UserId::from_uuid))
}

fn organization_of(row: &QueryResult, table: &'static str) -> Result<Option<OrganizationId>, Error> {
    let id: Option<Uuid> = dialect::get(row, table, "organization_id")?;
    Ok(id.map(OrganizationId::from_uuid))
}

/// ` AND column IN (…)` for what a permit reaches.
fn reached(reach: &Reach, column: &str, values: &mut Vec<Value>) -> String {
    match reach {
        Reach::All => String::new(),
        Reach::Organizations(ids) if ids.is_empty() => " AND 1 = 0".to_owned(),
        Reach::Organizations(ids) => {
            let places: Vec<String> = ids
                .iter()
                .map(|id| {
                    values.push(id.as_uuid().into());
                    format!("${}", values.len())
                })
                .collect();
            format!(" AND {column} IN ({})", places.join(", "))
        }
    }
}

/// Keeps a row as it is until the transaction ends. (On SQLite there is one writer anyway.)
fn locked<C: ConnectionTrait>(connection: &C) -> &'static str {
    if connection.get_database_backend() == DbBackend::Postgres { " FOR UPDATE" } else { "" }
}

pub(crate) async fn rows<C: ConnectionTrait>(
    connection: &C,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<QueryResult>, Error> {
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), sql, values);
    Ok(connection.query_all(statement).await?)
}

impl Store {
    /// Notes that a key was used, at most once a minute however many replicas say so.
    ///
    /// # Errors
    /// Away.
    pub async fn touch_key(&self, keys: Keys, id: KeyId, now: DateTime<Utc>) -> Result<bool, Error> {
        let sql = format!(
            "UPDATE {} SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)",
            keys.table()
        );
        let values = [id.as_uuid().into(), now.into(), (now - NOTED_EVERY).into()];
        Ok(dialect::execute(&self.db, &sql, values).await? == 1)
    }
}
