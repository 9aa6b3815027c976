//! Keys of workflow endpoints: of one workflow, or of all of an organization.

use super::{GONE_COLUMNS, Hash, KEY_COLUMNS, Key, Keys, key_of, organization_of, reached, rows, user_of};
use crate::{Error, Reader, Tx, dialect};
use bifrost_domain::{
    ids::{KeyId, OrganizationId, UserId},
    policy::{
        Permit,
        actions::{ReadWorkflowKeys, WriteWorkflowKeys},
    },
};
use sea_orm::{QueryResult, Value};
use uuid::Uuid;

/// A key of workflow endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowKey {
    /// The key.
    pub key: Key,
    /// Whose it is; none is GLOBAL.
    pub organization_id: Option<OrganizationId>,
    /// The workflow that it opens; none: every one.
    pub workflow_name: Option<String>,
    /// Its hash.
    pub hash: Vec<u8>,
    /// Whether its organization is active.
    pub is_open: bool,
}

const FROM: &str = "FROM workflow_keys k LEFT JOIN organizations o ON o.id = k.organization_id";

fn columns() -> String {
    format!(
        "{KEY_COLUMNS}, k.created_by AS key_created_by, k.organization_id, k.workflow_name, k.hash, \
         COALESCE(o.is_active, TRUE) AS is_open"
    )
}

fn workflow_key_of(row: &QueryResult) -> Result<WorkflowKey, Error> {
    let table = Keys::Workflows.table();
    Ok(WorkflowKey {
        key: key_of(row, Keys::Workflows, user_of(row, table, "key_created_by")?)?,
        organization_id: organization_of(row, table)?,
        workflow_name: dialect::get(row, table, "workflow_name")?,
        hash: dialect::get(row, table, "hash")?,
        is_open: dialect::get(row, table, "is_open")?,
    })
}

impl Reader {
    /// A page of the keys that the permit reaches, oldest first, after `after`.
    ///
    /// # Errors
    /// Away.
    pub async fn list_workflow_keys(
        &self,
        permit: &Permit<ReadWorkflowKeys>,
        after: Option<KeyId>,
        limit: u64,
    ) -> Result<Vec<WorkflowKey>, Error> {
        let mut values: Vec<Value> =
            vec![after.map_or(Uuid::nil(), KeyId::as_uuid).into(), dialect::limit_of(limit)];
        let reached = reached(&permit.reach(), "k.organization_id", &mut values);
        let sql = format!("SELECT {} {FROM} WHERE k.id > $1{reached} ORDER BY k.id LIMIT $2", columns());
        dialect::all(&self.db, &sql, values).await?.iter().map(workflow_key_of).collect()
    }

    /// The key with this hash, for whoever showed its text.
    ///
    /// # Errors
    /// Away.
    pub async fn find_workflow_key(&self, hash: &Hash) -> Result<Option<WorkflowKey>, Error> {
        let sql = format!("SELECT {} {FROM} WHERE k.hash = $1", columns());
        dialect::one(&self.db, &sql, [hash.to_vec().into()]).await?.as_ref().map(workflow_key_of).transpose()
    }
}

impl Tx {
    /// Adds a key.
    ///
    /// # Errors
    /// Reference when the organization is gone.
    pub async fn insert_workflow_key(
        &self,
        _permit: &Permit<WriteWorkflowKeys>,
        one: &WorkflowKey,
    ) -> Result<(), Error> {
        let values: [Value; 9] = [
            one.key.id.as_uuid().into(),
            one.organization_id.map(OrganizationId::as_uuid).into(),
            one.workflow_name.clone().into(),
            one.key.name.clone().into(),
            one.hash.clone().into(),
            one.key.prefix.as_str().into(),
            one.key.created_by.map(UserId::as_uuid).into(),
            one.key.created_at.into(),
            one.key.expires_at.into(),
        ];
        let sql = "INSERT INTO workflow_keys (id, organization_id, workflow_name, name, hash, prefix, created_by, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        dialect::execute_in(&self.inner, sql, values).await?;
        Ok(())
    }

    /// Takes a key away that the permit reaches: what it was.
    ///
    /// # Errors
    /// Away.
    pub async fn delete_workflow_key(
        &self,
        permit: &Permit<WriteWorkflowKeys>,
        key: KeyId,
    ) -> Result<Option<WorkflowKey>, Error> {
        let mut values: Vec<Value> = vec![key.as_uuid().into()];
        let reached = reached(&permit.reach(), "organization_id", &mut values);
        // Whether its organization is active does not matter any more.
        let sql = format!(
            "DELETE FROM workflow_keys WHERE id = $1{reached} RETURNING {GONE_COLUMNS}, \
             created_by AS key_created_by, organization_id, workflow_name, hash, FALSE AS is_open"
        );
        let gone = rows(&self.inner, &sql, values).await?;
        gone.first().map(workflow_key_of).transpose()
    }
}
