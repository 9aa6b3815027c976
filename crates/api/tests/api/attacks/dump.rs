//! All that the database holds, so that it can be said that nothing changed.

use super::scene::Things;
use crate::support::Server;
use bifrost_storage::Db;
use bifrost_test_support::lines;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Every row of every table as a text. Not the audit log, which grows with every refusal, and not when a key was used last.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dump(BTreeSet<String>);

impl Dump {
    pub(super) async fn of(server: &Server) -> Self {
        let db = server.store.db();
        let mut rows = BTreeSet::new();
        for sql in if db.is_postgres() { of_postgres(db).await } else { of_sqlite(db).await } {
            rows.extend(lines(db, &sql).await);
        }
        Self(rows)
    }

    /// The rows in which one of these things stands.
    pub(super) fn about(&self, things: &Things) -> BTreeSet<&str> {
        let ids = things.values().flat_map(|value| match value.parse::<Uuid>() {
            Ok(id) => vec![value.clone(), id.simple().to_string().to_uppercase()],
            Err(_) => vec![value.clone()],
        });
        let ids: Vec<String> = ids.collect();
        let rows = self.0.iter().filter(|row| ids.iter().any(|id| row.contains(id.as_str())));
        rows.map(String::as_str).collect()
    }

    /// What is in one of them and not in the other: nothing.
    #[track_caller]
    pub(super) fn same(&self, after: &Self, name: &str) {
        let changed: Vec<&String> = self.0.symmetric_difference(&after.0).collect();
        assert!(changed.is_empty(), "{name} changed something: {changed:#?}");
    }

    /// Nothing about these things is in one of them and not in the other.
    #[track_caller]
    pub(super) fn same_about(&self, after: &Self, things: &Things, name: &str) {
        let (before, after) = (self.about(things), after.about(things));
        assert!(!before.is_empty(), "nothing is known of them");
        let changed: Vec<_> = before.symmetric_difference(&after).collect();
        assert!(changed.is_empty(), "{name} changed something of theirs: {changed:#?}");
    }
}

/// What asks for all rows.
async fn of_sqlite(db: &Db) -> Vec<String> {
    let tables = "SELECT name AS line FROM sqlite_master WHERE type = 'table' AND name <> 'audit_logs'";
    let mut all = Vec::new();
    for table in lines(db, tables).await {
        let columns = format!(
            "SELECT 'quote(\"' || name || '\")' AS line FROM pragma_table_info('{table}') WHERE name <> 'last_used_at'"
        );
        let columns = lines(db, &columns).await.join(" || ', ' || ");
        all.push(format!("SELECT '{table}: ' || {columns} AS line FROM \"{table}\""));
    }
    all
}

/// All at once: asking a server costs more than asking a file. The rows of a table's partitions are the table's.
async fn of_postgres(db: &Db) -> Vec<String> {
    let tables = "SELECT relname::text AS line FROM pg_class WHERE relnamespace = current_schema()::regnamespace \
         AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'audit_logs'";
    let rows = |table: &String| {
        format!("SELECT '{table}: ' || (to_jsonb(one) - 'last_used_at')::text AS line FROM \"{table}\" one")
    };
    vec![lines(db, tables).await.iter().map(rows).collect::<Vec<_>>().join(" UNION ALL ")]
}
