//! What differs between the databases in statements, and how rows are read.

use crate::{Db, Error};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, TryGetable, Value};
use std::{str::FromStr, time::Duration};

/// A statement that is not answered within this time counts as lost with its connection: a network that drops packets silently would keep
/// whoever waits for a quarter of an hour.
const PATIENCE: Duration = Duration::from_secs(15);

async fn bounded<T>(answer: impl Future<Output = Result<T, DbErr>>) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Error::Away(sqlx::Error::PoolTimedOut)),
    }
}

/// A statement with `$n` placeholders, which both databases understand.
pub(crate) fn statement(db: &Db, sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(db.backend(), sql, values)
}

/// Runs a writing statement on its own and tells how many rows it changed.
pub(crate) async fn execute(
    db: &Db,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<u64, Error> {
    let done = bounded(db.writer().execute(statement(db, sql, values))).await;
    Ok(db.writes.note(done)?.rows_affected())
}

/// The same for what must not wait behind others.
pub(crate) async fn execute_urgently(
    db: &Db,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<u64, Error> {
    let done = bounded(db.urgent().execute(statement(db, sql, values))).await;
    Ok(db.writes.note(done)?.rows_affected())
}

/// Runs a writing statement on its own that returns at most one row.
pub(crate) async fn execute_returning(
    db: &Db,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Option<QueryResult>, Error> {
    bounded(db.writer().query_one(statement(db, sql, values))).await
}

/// Runs a statement inside a transaction.
pub(crate) async fn execute_in<C: ConnectionTrait>(
    connection: &C,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<u64, Error> {
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), sql, values);
    Ok(connection.execute(statement).await?.rows_affected())
}

/// What is bound to a `LIMIT`.
pub(crate) fn limit_of(limit: u64) -> Value {
    i64::try_from(limit).unwrap_or(i64::MAX).into()
}

/// Reads all rows.
pub(crate) async fn all(
    db: &Db,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<QueryResult>, Error> {
    bounded(db.reader().query_all(statement(db, sql, values))).await
}

/// Reads one row.
pub(crate) async fn one(
    db: &Db,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Option<QueryResult>, Error> {
    bounded(db.reader().query_one(statement(db, sql, values))).await
}

/// A column of a row; the error names it.
pub(crate) fn get<T: TryGetable>(
    row: &QueryResult,
    table: &'static str,
    column: &'static str,
) -> Result<T, Error> {
    row.try_get("", column).map_err(|error| Error::Inconsistent { table, column, reason: error.to_string() })
}

/// A text column that names a value of an enumeration.
pub(crate) fn parse<T: FromStr<Err: std::fmt::Display>>(
    row: &QueryResult,
    table: &'static str,
    column: &'static str,
) -> Result<T, Error> {
    let text: String = get(row, table, column)?;
    text.parse().map_err(|error: T::Err| Error::Inconsistent { table, column, reason: error.to_string() })
}

/// Whether an organization (`o`) requires a second factor of its people: its settings say `{"security": {"mfa_required": true}}`.
pub(crate) fn requires_factor(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Postgres => r#"o.settings @> '{"security": {"mfa_required": true}}'"#,
        _ => "json_type(o.settings, '$.security.mfa_required') IS 'true'",
    }
}

/// Escapes `%`, `_` and `\` for a `lower(…) LIKE lower(…) ESCAPE '\'`: the database folds both sides, by its own rules. PostgreSQL
/// knows the cases of its locale, SQLite those of ASCII alone; the exact spelling is found by both.
pub(crate) fn like_contains(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}
