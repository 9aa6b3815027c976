//! sea-orm entities of the tables that are read and written row by row. Private: rows never leave this crate.
//!
//! To add one: a file named after the table, with the columns in the order of the migration.

#![expect(
    unreachable_pub,
    reason = "the derive makes public items, so the rows have to be public in a private module"
)]

pub(crate) mod audit_logs;
pub(crate) mod organizations;
pub(crate) mod refresh_tokens;
pub(crate) mod roles;
pub(crate) mod sessions;
pub(crate) mod user_roles;
pub(crate) mod users;

#[cfg(test)]
mod tests {
    use bifrost_migration::Schema;
    use bifrost_test_support::{TestDatabase, on_both_databases};
    use sea_orm::{ColumnTrait, ColumnType, EntityTrait, IdenStatic, Iterable, PrimaryKeyToColumn};

    on_both_databases![every_entity_is_as_its_table];

    /// The types by which a column of the entity is kept: PostgreSQL's, SQLite's.
    fn kept(kind: &ColumnType) -> (&'static str, &'static str) {
        match kind {
            ColumnType::Uuid => ("uuid", "blob"),
            ColumnType::String(_) | ColumnType::Text => ("character varying", "varchar"),
            ColumnType::Boolean => ("boolean", "boolean"),
            ColumnType::Integer => ("integer", "integer"),
            ColumnType::BigInteger => ("bigint", "bigint"),
            ColumnType::Double => ("double precision", "real"),
            ColumnType::Json | ColumnType::JsonBinary => ("jsonb", "text"),
            ColumnType::TimestampWithTimeZone => ("timestamp with time zone", "text"),
            ColumnType::VarBinary(_) | ColumnType::Blob => ("bytea", "blob"),
            other => panic!("say here how {other:?} is kept"),
        }
    }

    fn compare<E: EntityTrait>(entity: E, schema: &Schema, postgres: bool, wrong: &mut Vec<String>) {
        let table = entity.table_name();
        let mut known = Vec::new();
        for column in E::Column::iter() {
            let (name, definition) = (column.as_str(), column.def());
            known.push(name.to_owned());
            let Some((_, found)) = schema.parts(table, "column ").find(|(found, _)| *found == name) else {
                wrong.push(format!("{table}.{name} is not in the database"));
                continue;
            };
            let (kind, nullable) =
                found.split_once(", not null").map_or((found, true), |(kind, _)| (kind, false));
            let (in_postgres, in_sqlite) = kept(definition.get_column_type());
            let wanted = if postgres { in_postgres } else { in_sqlite };
            // A length in parentheses may follow.
            if kind.split_once('(').map_or(kind, |(kind, _)| kind) != wanted {
                wrong.push(format!("{table}.{name} is {kind}, and {wanted} in the entity"));
            }
            if nullable != definition.is_null() {
                wrong.push(format!("{table}.{name}: null is allowed on one side only"));
            }
        }
        for (name, found) in
            schema.parts(table, "column ").filter(|(name, _)| !known.iter().any(|one| one == name))
        {
            // One that the entity does not know yet must not keep its rows from being inserted.
            if found.contains("not null") && !found.contains("default") {
                wrong.push(format!("{table}.{name} is not in the entity"));
            }
        }
        let key: Vec<String> =
            E::PrimaryKey::iter().map(|key| key.into_column().as_str().to_owned()).collect();
        let found: Vec<&str> = schema.parts(table, "primary key").map(|(_, how)| how).collect();
        if found != [format!("({})", key.join(", "))] {
            wrong.push(format!("{table}: the primary key is {found:?}, and {key:?} in the entity"));
        }
    }

    async fn every_entity_is_as_its_table(db: TestDatabase) {
        let schema = Schema::of(db.db().migration_connection()).await.expect("described");
        let postgres = db.db().is_postgres();
        let mut wrong = Vec::new();
        macro_rules! entities {
            ($($table:ident),+) => {
                $(compare(super::$table::Entity, &schema, postgres, &mut wrong);)+
                // Every file of this folder is compared.
                let listed = [$(concat!(stringify!($table), ".rs")),+];
                for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/entities")).expect("this folder") {
                    let file = file.expect("an entry").file_name();
                    assert!(file == "mod.rs" || listed.iter().any(|one| file == *one), "{file:?} is not compared");
                }
            };
        }
        entities!(audit_logs, organizations, refresh_tokens, roles, sessions, user_roles, users);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
