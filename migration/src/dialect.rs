//! What differs between PostgreSQL and SQLite in the schema's SQL.
//!
//! | word | PostgreSQL | SQLite |
//! |---|---|---|
//! | `{uuid}` | `uuid` | `BLOB` |
//! | `{time}` | `timestamptz` | `TEXT` (RFC 3339, always bound from Rust) |
//! | `{json}` | `jsonb` | `TEXT` |
//! | `{bytes}` | `bytea` | `BLOB` |
//! | `{real}` | `double precision` | `REAL` |
//! | `{partitioned}` | `PARTITION BY RANGE (…)` after the table | nothing |
//!
//! A statement that begins with `-- postgres` is for PostgreSQL alone.

use sea_orm_migration::{
    prelude::SchemaManager,
    sea_orm::{ConnectionTrait, DbBackend, DbErr},
};

/// Runs statements that are separated by lines of `;;`.
pub(crate) async fn run(manager: &SchemaManager<'_>, sql: &str) -> Result<(), DbErr> {
    let postgres = manager.get_database_backend() == DbBackend::Postgres;
    for statement in sql.split("\n;;") {
        let statement = statement.trim();
        if statement.is_empty() || (statement.starts_with("-- postgres") && !postgres) {
            continue;
        }
        manager.get_connection().execute_unprepared(&translate(statement, postgres)).await?;
    }
    Ok(())
}

fn translate(sql: &str, postgres: bool) -> String {
    let words: [(&str, &str, &str); 7] = [
        ("{uuid}", "uuid", "BLOB"),
        ("{time}", "timestamptz", "TEXT"),
        ("{json}", "jsonb", "TEXT"),
        ("{bytes}", "bytea", "BLOB"),
        ("{real}", "double precision", "REAL"),
        ("{partitioned by id}", "PARTITION BY RANGE (id)", ""),
        ("{partitioned by execution_id}", "PARTITION BY RANGE (execution_id)", ""),
    ];
    words
        .iter()
        .fold(sql.to_owned(), |sql, (word, pg, lite)| sql.replace(word, if postgres { pg } else { lite }))
}
