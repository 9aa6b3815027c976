//! The schema is the one that is written down, and what differs from it is named.

use super::{described, runner};
use crate::support::Bed;
use bifrost_migration::{
    Schema,
    sea_orm::{ConnectionTrait, DbBackend},
};
use bifrost_test_support::{TestDatabase, on_both_databases};

on_both_databases![what_the_migrations_make_is_written_down, every_difference_is_named_in_a_real_database];

async fn what_the_migrations_make_is_written_down(db: TestDatabase) {
    let connection = db.db().migration_connection();
    let found = described(connection).await;
    let file = if db.db().is_postgres() { "postgres.txt" } else { "sqlite.txt" };
    if std::env::vars().any(|(name, value)| name == "UPDATE_SCHEMA" && value == "1") {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migration/src/schema");
        std::fs::write(format!("{folder}/{file}"), found.to_string()).expect("written");
        return;
    }
    let expected = Schema::expected(connection.get_database_backend());
    let both: Vec<String> = expected
        .differences(&found)
        .iter()
        .map(ToString::to_string)
        .chain(expected.strangers(&found).into_iter().map(|owner| format!("new      {owner}")))
        .collect();
    assert!(
        both.is_empty(),
        "the migrations make another schema than migration/src/schema/{file} says; if that is meant, write it down with\n  \
         UPDATE_SCHEMA=1 cargo test -p bifrost-storage --test suite written_down\n{}",
        both.join("\n")
    );
    assert_eq!(found.to_string(), expected.to_string());
    assert!(found.tables().count() >= 24, "{found}");
}

async fn every_difference_is_named_in_a_real_database(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let connection = bed.db.db().migration_connection();
    let expected = Schema::expected(connection.get_database_backend());
    assert_eq!(expected.differences(&described(connection).await), [], "partitions are no difference");
    // What is done to it, and what is said of it.
    let cases: &[(&str, &str)] = match connection.get_database_backend() {
        DbBackend::Postgres => &[
            (
                "ALTER TABLE executions DROP COLUMN peak_memory_bytes",
                "missing  table executions, column peak_memory_bytes",
            ),
            ("ALTER TABLE executions ADD COLUMN mood text", "extra    table executions, column mood: text"),
            (
                "ALTER TABLE users ALTER COLUMN name TYPE text",
                "other    table users, column name: wanted `character varying(255)`, found `text`",
            ),
            (
                "ALTER TABLE users ALTER COLUMN epoch DROP NOT NULL",
                "other    table users, column epoch: wanted `bigint, not null`, found `bigint`",
            ),
            ("DROP INDEX executions_waiting", "missing  table executions, index executions_waiting"),
            ("CREATE INDEX hand ON users (name)", "extra    table users, index hand: (name)"),
            ("DROP TRIGGER set_updated_at ON users", "missing  table users, trigger set_updated_at"),
            (
                "ALTER TABLE organizations DISABLE TRIGGER set_updated_at",
                "other    table organizations, trigger set_updated_at: wanted",
            ),
            (
                "ALTER TABLE sessions DROP CONSTRAINT sessions_user_id_fkey",
                "missing  table sessions, foreign key (user_id)",
            ),
            ("ALTER TABLE users DROP CONSTRAINT users_email_key", "missing  table users, unique (email)"),
            (
                "ALTER TABLE users DROP CONSTRAINT users_user_type_check",
                "missing  table users, check user_type = ANY ARRAY['PLATFORM', 'ORG', 'SYSTEM']",
            ),
            ("ALTER TABLE leases DROP CONSTRAINT leases_pkey", "missing  table leases, primary key"),
            (
                "DROP FUNCTION bifrost_ensure_partitions(timestamptz, timestamptz)",
                "missing  function bifrost_ensure_partitions",
            ),
            (
                "CREATE OR REPLACE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
                "other    function set_updated_at(): wanted",
            ),
            ("DROP TABLE oauth_tokens", "missing  table oauth_tokens"),
        ],
        _ => &[
            (
                "ALTER TABLE executions DROP COLUMN peak_memory_bytes",
                "missing  table executions, column peak_memory_bytes",
            ),
            ("ALTER TABLE executions ADD COLUMN mood text", "extra    table executions, column mood: text"),
            ("DROP INDEX executions_waiting", "missing  table executions, index executions_waiting"),
            ("CREATE UNIQUE INDEX hand ON users (name)", "extra    table users, index hand: unique (name)"),
            ("DROP TABLE oauth_tokens", "missing  table oauth_tokens"),
            (
                "CREATE TRIGGER hand AFTER DELETE ON users BEGIN SELECT 1; END",
                "extra    table users, trigger hand: CREATE TRIGGER hand",
            ),
            (
                "DROP TABLE leases; CREATE TABLE leases (name text NOT NULL, holder BLOB CHECK (holder <> X'00'), until TEXT NOT NULL)",
                "missing  table leases, primary key",
            ),
            (
                "SELECT 1",
                "other    table leases, column name: wanted `varchar(64), not null`, found `text, not null`",
            ),
            ("SELECT 1", "other    table leases, column holder: wanted `blob, not null`, found `blob`"),
            ("SELECT 1", "extra    table leases, check holder <> X'00'"),
        ],
    };
    for (done, said) in cases {
        connection.execute_unprepared(done).await.unwrap_or_else(|error| panic!("{done}: {error}"));
        let all: Vec<String> =
            expected.differences(&described(connection).await).iter().map(ToString::to_string).collect();
        assert!(all.iter().any(|line| line.starts_with(said)), "{done}: {all:#?}");
    }
    let all = expected.differences(&described(connection).await);
    assert_eq!(all.len(), cases.len(), "each once: {all:#?}");

    // A table of somebody else's is not judged; with everything made anew nothing differs.
    connection.execute_unprepared("CREATE TABLE invoices (id bigint PRIMARY KEY)").await.expect("made");
    let found = described(connection).await;
    assert_eq!(
        (expected.differences(&found).len(), expected.strangers(&found)),
        (cases.len(), vec!["table invoices".to_owned()])
    );
    runner(&bed).fresh(true, &mut |_| ()).await.expect("made anew");
    assert_eq!(described(connection).await, expected);
}
