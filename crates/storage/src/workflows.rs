//! Workflows and data providers as the newest workspace declares them.

use crate::{
    Error, Reader, Store, Tx,
    dialect::{all, execute_in, get, limit_of, one, statement},
};
use bifrost_domain::{
    definition::{Definition, DefinitionKind},
    ids::{OrganizationId, WorkflowId},
    json::has_nul,
    policy::Visibility,
    scope::Scope,
};
use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, QueryResult, Value as Bind};
use serde_json::Value;
use std::collections::HashMap;
use uuid::Uuid;

/// A workflow that can be run.
#[derive(Debug, Clone)]
pub struct Workflow {
    /// Stays the same while the name does.
    pub id: WorkflowId,
    /// Who sees it.
    pub scope: Scope,
    /// File, relative to the workspace.
    pub path: String,
    /// What the file declares.
    pub definition: Definition,
}

/// A definition with its file.
#[derive(Debug, Clone)]
pub struct Declared {
    /// File, relative to the workspace.
    pub path: String,
    /// SHA-256 of the file.
    pub source_hash: String,
    /// What it declares.
    pub definition: Definition,
}

/// What a sync did.
#[derive(Debug, Default)]
pub struct Synced {
    /// Rows that changed.
    pub changed: u64,
    /// What could not be kept, with the reason: only this is missing from the catalog.
    pub refused: Vec<(Declared, String)>,
}

/// The columns' sizes, in characters (SQLite does not enforce them).
const MAX_NAME: usize = 200;
const MAX_PATH: usize = 1_024;

/// Why the database would not keep it.
fn unfit(one: &Declared, definition: &Value) -> Option<String> {
    let texts = [
        ("the path", &one.path, MAX_PATH),
        ("the name", &one.definition.name, MAX_NAME),
        ("the function's name", &one.definition.function, MAX_NAME),
    ];
    for (what, text, most) in texts {
        if text.chars().count() > most {
            return Some(format!("{what} has more than {most} characters"));
        }
        if text.contains('\0') {
            return Some(format!("{what} has a NUL"));
        }
    }
    has_nul(definition).then(|| "a text of it has a NUL".to_owned())
}

fn table(kind: DefinitionKind) -> &'static str {
    match kind {
        DefinitionKind::DataProvider => "data_providers",
        DefinitionKind::Workflow | DefinitionKind::Tool => "workflows",
    }
}

impl Store {
    /// Makes the catalog equal to `declared` (names are unique in it): new names are inserted, changed ones updated, missing ones
    /// deactivated (their executions keep pointing at them). What cannot be kept counts as missing and keeps nothing else out.
    ///
    /// # Errors
    /// Away, or the statement's; then nothing changed.
    pub async fn sync_catalog(
        &self,
        declared: &[Declared],
        mut next_id: impl FnMut() -> Uuid + Send,
        now: DateTime<Utc>,
    ) -> Result<Synced, Error> {
        let tx = self.db.begin().await?;
        if self.db.is_postgres() {
            // Two workers that saw the same edit write one after the other.
            tx.inner
                .execute_unprepared("LOCK TABLE workflows, data_providers IN SHARE ROW EXCLUSIVE MODE")
                .await?;
        }
        let mut synced = Synced::default();
        for table_name in ["workflows", "data_providers"] {
            let rows = tx
                .inner
                .query_all(statement(
                    &self.db,
                    &format!("SELECT id, name, path, source_hash, is_active, definition FROM {table_name}"),
                    [],
                ))
                .await?;
            let mut known = HashMap::with_capacity(rows.len());
            for row in &rows {
                let name: String = get(row, "workflows", "name")?;
                known.insert(name, row);
            }
            let ours = declared.iter().filter(|one| table(one.definition.kind) == table_name);
            for one in ours {
                let definition =
                    serde_json::to_value(&one.definition).map_err(|error| Error::Inconsistent {
                        table: "workflows",
                        column: "definition",
                        reason: error.to_string(),
                    })?;
                if let Some(reason) = unfit(one, &definition) {
                    synced.refused.push((one.clone(), reason));
                    continue;
                }
                let name = &one.definition.name;
                let row = known.get(name).copied();
                if let Some(row) = row
                    && same(row, one, &definition)?
                {
                    known.remove(name);
                    continue;
                }
                let id = row.map_or_else(|| Ok(next_id()), |row| get(row, "workflows", "id"))?;
                // What the check above does not foresee costs this row alone.
                tx.inner.execute_unprepared("SAVEPOINT one").await?;
                match write(&tx, table_name, id, row.is_some(), one, definition, now).await {
                    Ok(changed) => {
                        tx.inner.execute_unprepared("RELEASE SAVEPOINT one").await?;
                        synced.changed += changed;
                        known.remove(name);
                    }
                    Err(error) if error.is_away() => return Err(error),
                    Err(error) => {
                        tx.inner.execute_unprepared("ROLLBACK TO SAVEPOINT one").await?;
                        tracing::error!(path = %one.path, name = %name, error = ?error, "a workflow could not be kept");
                        synced.refused.push((one.clone(), "the database refused it".to_owned()));
                    }
                }
            }
            for row in known.into_values() {
                if get::<bool>(row, "workflows", "is_active")? {
                    let id: Uuid = get(row, "workflows", "id")?;
                    synced.changed += execute_in(
                        &tx.inner,
                        &format!("UPDATE {table_name} SET is_active = false, updated_at = $2 WHERE id = $1"),
                        [id.into(), now.into()],
                    )
                    .await?;
                }
            }
        }
        tx.commit().await?;
        Ok(synced)
    }
}

async fn write(
    tx: &Tx,
    table_name: &str,
    id: Uuid,
    is_known: bool,
    one: &Declared,
    definition: Value,
    now: DateTime<Utc>,
) -> Result<u64, Error> {
    let sql = if is_known {
        format!(
            "UPDATE {table_name} SET path = $3, function = $4, definition = $5, source_hash = $6, is_active = true, \
             updated_at = $7 WHERE id = $1 AND name = $2"
        )
    } else {
        format!(
            "INSERT INTO {table_name} (id, name, path, function, definition, source_hash, is_active, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, true, $7, $7)"
        )
    };
    let values = [
        id.into(),
        one.definition.name.as_str().into(),
        one.path.as_str().into(),
        one.definition.function.as_str().into(),
        definition.into(),
        one.source_hash.as_str().into(),
        now.into(),
    ];
    execute_in(&tx.inner, &sql, values).await
}

fn same(row: &QueryResult, one: &Declared, definition: &Value) -> Result<bool, Error> {
    Ok(get::<bool>(row, "workflows", "is_active")?
        && get::<String>(row, "workflows", "source_hash")? == one.source_hash
        && get::<String>(row, "workflows", "path")? == one.path
        && &get::<Value>(row, "workflows", "definition")? == definition)
}

const COLUMNS: &str = "id, organization_id, path, definition";

impl Reader {
    /// The active workflows that are visible: the organization's and the global ones, by name.
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn list_workflows(
        &self,
        visibility: &Visibility,
        after_name: Option<&str>,
        limit: u64,
    ) -> Result<Vec<Workflow>, Error> {
        let mut values: Vec<Bind> = vec![after_name.unwrap_or_default().into(), limit_of(limit)];
        let scope = scope_condition(visibility, &mut values);
        let sql = format!(
            "SELECT {COLUMNS} FROM workflows WHERE is_active AND name > $1{scope} ORDER BY name LIMIT $2"
        );
        all(&self.db, &sql, values).await?.iter().map(workflow_of).collect()
    }

    /// An active workflow by id.
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn find_workflow(
        &self,
        id: WorkflowId,
        visibility: &Visibility,
    ) -> Result<Option<Workflow>, Error> {
        let mut values: Vec<Bind> = vec![id.as_uuid().into()];
        let scope = scope_condition(visibility, &mut values);
        let sql = format!("SELECT {COLUMNS} FROM workflows WHERE is_active AND id = $1{scope}");
        one(&self.db, &sql, values).await?.as_ref().map(workflow_of).transpose()
    }

    /// An active workflow by name.
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn find_workflow_by_name(
        &self,
        name: &str,
        visibility: &Visibility,
    ) -> Result<Option<Workflow>, Error> {
        let mut values: Vec<Bind> = vec![name.into()];
        let scope = scope_condition(visibility, &mut values);
        let sql = format!("SELECT {COLUMNS} FROM workflows WHERE is_active AND name = $1{scope}");
        one(&self.db, &sql, values).await?.as_ref().map(workflow_of).transpose()
    }
}

/// Narrows to the organization's rows and the global ones.
pub(crate) fn scope_condition(visibility: &Visibility, values: &mut Vec<Bind>) -> String {
    match visibility.scope() {
        None => String::new(),
        Some(Scope::Global) => " AND organization_id IS NULL".into(),
        Some(Scope::Organization(id)) => {
            values.push(id.as_uuid().into());
            format!(" AND (organization_id IS NULL OR organization_id = ${})", values.len())
        }
    }
}

fn workflow_of(row: &QueryResult) -> Result<Workflow, Error> {
    let organization: Option<Uuid> = get(row, "workflows", "organization_id")?;
    let definition: Value = get(row, "workflows", "definition")?;
    Ok(Workflow {
        id: WorkflowId::from_uuid(get(row, "workflows", "id")?),
        scope: Scope::from(organization.map(OrganizationId::from_uuid)),
        path: get(row, "workflows", "path")?,
        definition: serde_json::from_value(definition).map_err(|error| Error::Inconsistent {
            table: "workflows",
            column: "definition",
            reason: error.to_string(),
        })?,
    })
}
