//! Describes a SQLite file from its PRAGMAs, and from the texts of its statements where no PRAGMA tells.

use super::{Schema, collapsed};
use crate::error::Error;
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, QueryResult, Statement};
use std::collections::BTreeMap;

const TABLES: &str = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
    AND name <> 'schema_migrations'";

const COLUMNS: &str = "SELECT t.name AS owner, c.name, c.type AS kind, c.\"notnull\" AS required, c.dflt_value AS fallback, c.pk \
    FROM sqlite_master t JOIN pragma_table_xinfo(t.name) c WHERE t.type = 'table' ORDER BY t.name, c.pk, c.cid";

const REFERENCES: &str = "SELECT t.name AS owner, f.id, f.\"table\" AS parent, f.\"from\" AS own, f.\"to\" AS theirs, \
    lower(f.on_delete) AS on_delete, lower(f.on_update) AS on_update \
    FROM sqlite_master t JOIN pragma_foreign_key_list(t.name) f WHERE t.type = 'table' ORDER BY t.name, f.id, f.seq";

const UNIQUES: &str = "SELECT t.name AS owner, i.name, group_concat(c.name, ', ' ORDER BY c.seqno) AS own FROM sqlite_master t \
    JOIN pragma_index_list(t.name) i JOIN pragma_index_info(i.name) c WHERE t.type = 'table' AND i.origin = 'u' GROUP BY 1, 2";

const OTHERS: &str = "SELECT type AS kind, name, tbl_name AS owner, sql FROM sqlite_master \
    WHERE type IN ('index', 'trigger', 'view') AND sql IS NOT NULL";

/// A description of the file.
pub(super) async fn describe(connection: &DatabaseConnection) -> Result<Schema, Error> {
    let mut schema = Schema::default();
    for row in rows(connection, TABLES).await? {
        let owner = format!("table {}", text(&row, "name")?);
        schema.add(&owner, "", "");
        for check in checks(&text(&row, "sql")?) {
            schema.add(&owner, &format!("check {check}"), "");
        }
    }
    columns(connection, &mut schema).await?;
    references(connection, &mut schema).await?;
    for row in rows(connection, UNIQUES).await? {
        add(&mut schema, &text(&row, "owner")?, &format!("unique ({})", text(&row, "own")?), "");
    }
    for row in rows(connection, OTHERS).await? {
        let (kind, name, owner) = (text(&row, "kind")?, text(&row, "name")?, text(&row, "owner")?);
        let sql = collapsed(&text(&row, "sql")?);
        match kind.as_str() {
            "view" => schema.add(&format!("view {name}"), "", &sql),
            "trigger" => add(&mut schema, &owner, &format!("trigger {name}"), &sql),
            _ => {
                let (_, on) = sql.split_once(&format!(" ON {owner}")).unwrap_or(("", &sql));
                let unique =
                    if sql.to_ascii_uppercase().starts_with("CREATE UNIQUE") { "unique " } else { "" };
                add(&mut schema, &owner, &format!("index {name}"), &format!("{unique}{}", on.trim_start()));
            }
        }
    }
    Ok(schema)
}

/// Adds a part of a table that is described.
fn add(schema: &mut Schema, table: &str, part: &str, how: &str) {
    let owner = format!("table {table}");
    if schema.has(&owner) {
        schema.add(&owner, part, how);
    }
}

async fn columns(connection: &DatabaseConnection, schema: &mut Schema) -> Result<(), Error> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows(connection, COLUMNS).await? {
        let (owner, name) = (text(&row, "owner")?, text(&row, "name")?);
        // Versions of SQLite tell the standard types in capitals or as they were written.
        let mut how = text(&row, "kind")?.to_ascii_lowercase();
        if row.try_get::<i64>("", "required")? != 0 {
            how.push_str(", not null");
        }
        if let Some(fallback) = row.try_get::<Option<String>>("", "fallback")? {
            how.push_str(&format!(", default {fallback}"));
        }
        add(schema, &owner, &format!("column {name}"), &how);
        if row.try_get::<i64>("", "pk")? > 0 {
            keys.entry(owner).or_default().push(name);
        }
    }
    for (owner, names) in keys {
        add(schema, &owner, "primary key", &format!("({})", names.join(", ")));
    }
    Ok(())
}

#[derive(Default)]
struct Reference {
    parent: String,
    own: Vec<String>,
    theirs: Vec<String>,
    /// What happens to the row when the parent's goes or changes.
    then: String,
}

async fn references(connection: &DatabaseConnection, schema: &mut Schema) -> Result<(), Error> {
    let mut found: BTreeMap<(String, i64), Reference> = BTreeMap::new();
    for row in rows(connection, REFERENCES).await? {
        let key = (text(&row, "owner")?, row.try_get::<i64>("", "id")?);
        let reference = found.entry(key).or_default();
        reference.parent = text(&row, "parent")?;
        reference.own.push(text(&row, "own")?);
        // Absent when the key of the parent is meant.
        reference.theirs.extend(row.try_get::<Option<String>>("", "theirs")?);
        reference.then.clear();
        for (event, action) in [("delete", text(&row, "on_delete")?), ("update", text(&row, "on_update")?)] {
            if action != "no action" {
                reference.then.push_str(&format!(", on {event} {action}"));
            }
        }
    }
    for ((owner, _), Reference { parent, own, theirs, then }) in found {
        let part = format!("foreign key ({})", own.join(", "));
        add(schema, &owner, &part, &format!("{parent} ({}){then}", theirs.join(", ")));
    }
    Ok(())
}

/// The expressions of the checks in a `CREATE TABLE`.
fn checks(sql: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut quoted = false;
    let mut depth = 0_usize;
    // Where the expression began, and the depth around it.
    let mut open: Option<(usize, usize)> = None;
    for (at, letter) in sql.char_indices() {
        match letter {
            '\'' => quoted = !quoted,
            _ if quoted => {}
            '(' => {
                if open.is_none() && sql[..at].trim_end().to_ascii_uppercase().ends_with("CHECK") {
                    open = Some((at + 1, depth));
                }
                depth += 1;
            }
            ')' => {
                depth = depth.saturating_sub(1);
                if let Some((from, around)) = open
                    && depth == around
                {
                    found.push(collapsed(&sql[from..at]));
                    open = None;
                }
            }
            _ => {}
        }
    }
    found
}

async fn rows(connection: &DatabaseConnection, sql: &str) -> Result<Vec<QueryResult>, Error> {
    Ok(connection.query_all(Statement::from_string(DbBackend::Sqlite, sql)).await?)
}

fn text(row: &QueryResult, column: &str) -> Result<String, Error> {
    Ok(row.try_get("", column)?)
}

#[cfg(test)]
mod tests {
    use super::checks;

    #[test]
    fn checks_are_found_in_the_text() {
        let sql = "CREATE TABLE t (a varchar(3) CHECK (length(a) BETWEEN 1 AND 3), b text check(b IN ('x)', '('\n, 'y')),\n PRIMARY KEY (a))";
        assert_eq!(checks(sql), ["length(a) BETWEEN 1 AND 3", "b IN ('x)', '(' , 'y')"]);
    }
}
