//! What other systems call our objects: `(source, kind, external id)` names one of ours. Written by synchronisations, which decide what a
//! source and a kind are called.

use crate::{Error, Reader, Tx, dialect};
use chrono::{DateTime, Utc};
use sea_orm::QueryResult;
use uuid::Uuid;

/// A name of one of our objects in another system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalRef {
    /// The other system, e.g. `entra`; at most 64 characters.
    pub source: String,
    /// What it is there, e.g. `user`; at most 64 characters.
    pub kind: String,
    /// Its id there, at most 255 characters.
    pub external_id: String,
    /// Our object: of whichever kind, so it has no type of its own.
    pub internal_id: Uuid,
    /// When it was first named.
    pub created_at: DateTime<Utc>,
    /// When it began to name this object.
    pub updated_at: DateTime<Utc>,
}

const COLUMNS: &str = "source, kind, external_id, internal_id, created_at, updated_at";

fn ref_of(row: &QueryResult) -> Result<ExternalRef, Error> {
    Ok(ExternalRef {
        source: dialect::get(row, "external_refs", "source")?,
        kind: dialect::get(row, "external_refs", "kind")?,
        external_id: dialect::get(row, "external_refs", "external_id")?,
        internal_id: dialect::get(row, "external_refs", "internal_id")?,
        created_at: dialect::get(row, "external_refs", "created_at")?,
        updated_at: dialect::get(row, "external_refs", "updated_at")?,
    })
}

impl Reader {
    /// Our object of that name.
    ///
    /// # Errors
    /// Away.
    pub async fn find_external_ref(
        &self,
        source: &str,
        kind: &str,
        external_id: &str,
    ) -> Result<Option<ExternalRef>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM external_refs WHERE source = $1 AND kind = $2 AND external_id = $3"
        );
        let values = [source.into(), kind.into(), external_id.into()];
        dialect::one(&self.db, &sql, values).await?.as_ref().map(ref_of).transpose()
    }

    /// All names of one of our objects.
    ///
    /// # Errors
    /// Away.
    pub async fn list_external_refs(&self, internal_id: Uuid) -> Result<Vec<ExternalRef>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM external_refs WHERE internal_id = $1 ORDER BY source, kind, external_id"
        );
        dialect::all(&self.db, &sql, [internal_id.into()]).await?.iter().map(ref_of).collect()
    }
}

impl Tx {
    /// Gives an object a name, or a name to another object. A name that stays where it was keeps its `updated_at`.
    ///
    /// # Errors
    /// Away; a statement's when a text is longer than its column (on PostgreSQL).
    pub async fn put_external_ref(
        &self,
        source: &str,
        kind: &str,
        external_id: &str,
        internal_id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        dialect::execute_in(
            &self.inner,
            "INSERT INTO external_refs (source, kind, external_id, internal_id, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (source, kind, external_id) DO UPDATE SET \
             internal_id = excluded.internal_id, updated_at = excluded.updated_at \
             WHERE external_refs.internal_id <> excluded.internal_id",
            [source.into(), kind.into(), external_id.into(), internal_id.into(), now.into()],
        )
        .await?;
        Ok(())
    }
}
