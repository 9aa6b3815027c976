//! Looks at a database from outside, over one connection: for `bifrost doctor`, and to say why a start cannot succeed.

use crate::{Error, Target};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use sqlx::{
    ConnectOptions, Connection, PgConnection, Row, SqliteConnection, postgres::PgConnectOptions,
    sqlite::SqliteConnectOptions,
};
use std::{path::Path, str::FromStr, time::Duration};

/// How long all of it may take.
const WITHIN: Duration = Duration::from_secs(8);
/// The oldest PostgreSQL that does everything that is asked of it, as `server_version_num`.
const OLDEST_POSTGRES: i32 = 150_000;

/// What was found.
#[derive(Debug, Clone)]
pub struct Examined {
    /// The version of the server or the library.
    pub version: String,
    /// Whether that is too old.
    pub is_too_old: bool,
    /// The user and what to grant it, when it may not make tables.
    pub may_not_create: Option<String>,
    /// Time of the server; `None` for SQLite.
    pub time: Option<DateTime<Utc>>,
    /// Names of the migrations that were applied; `None` without a schema.
    pub migrations: Option<Vec<String>>,
}

/// Looks at the database; makes and changes nothing. `None`: the SQLite file is not there yet.
///
/// # Errors
/// When it does not answer or does not let this user in: [`Error::explain`] says what to do.
pub async fn examine(target: &Target) -> Result<Option<Examined>, Error> {
    let look = async {
        match target {
            Target::Postgres { url, .. } => postgres(url.expose_secret()).await.map(Some),
            Target::Sqlite { path } if !path.exists() => Ok(None),
            Target::Sqlite { path } => sqlite(path).await.map(Some),
        }
    };
    match tokio::time::timeout(WITHIN, look).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(Error::Away(sqlx::Error::PoolTimedOut)),
    }
}

async fn postgres(url: &str) -> Result<Examined, sqlx::Error> {
    let options =
        PgConnectOptions::from_str(url)?.application_name("bifrost doctor").disable_statement_logging();
    let mut connection: PgConnection = options.connect().await?;
    let row = sqlx::query(
        "SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number, \
         current_user::text AS name, current_schema()::text AS schema, clock_timestamp() AS now, \
         coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create, \
         to_regclass('schema_migrations') IS NOT NULL AS has_schema, \
         (SELECT tableowner::text FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'executions' \
          AND NOT pg_has_role(tableowner, 'USAGE')) AS other_owner",
    )
    .fetch_one(&mut connection)
    .await?;
    let (user, schema): (String, Option<String>) = (row.try_get("name")?, row.try_get("schema")?);
    let other_owner: Option<String> = row.try_get("other_owner")?;
    let may_not_create = if let Some(owner) = other_owner {
        Some(format!(
            "the tables belong to `{owner}`, not to `{user}`: connect as `{owner}`, or `GRANT \"{owner}\" TO \"{user}\"`"
        ))
    } else if row.try_get("may_create")? {
        None
    } else {
        let schema = schema.unwrap_or_else(|| "public".to_owned());
        Some(grant(&schema, Some(&user)))
    };
    let migrations = if row.try_get("has_schema")? {
        let rows = sqlx::query("SELECT version FROM schema_migrations ORDER BY version")
            .fetch_all(&mut connection)
            .await?;
        Some(rows.iter().map(|row| row.try_get("version")).collect::<Result<_, _>>()?)
    } else {
        None
    };
    let examined = Examined {
        // Distributions put a word of theirs behind it.
        version: row.try_get::<String, _>("version")?.split(' ').next().unwrap_or_default().to_owned(),
        is_too_old: row.try_get::<i32, _>("number")? < OLDEST_POSTGRES,
        may_not_create,
        time: Some(row.try_get("now")?),
        migrations,
    };
    let _ = connection.close().await;
    Ok(examined)
}

async fn sqlite(path: &Path) -> Result<Examined, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(Duration::from_secs(2))
        .disable_statement_logging();
    let mut connection: SqliteConnection = options.connect().await?;
    let version = sqlx::query("SELECT sqlite_version() AS version").fetch_one(&mut connection).await?;
    let table =
        sqlx::query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_migrations'")
            .fetch_optional(&mut connection)
            .await?;
    let migrations = if table.is_some() {
        let rows = sqlx::query("SELECT version FROM schema_migrations ORDER BY version")
            .fetch_all(&mut connection)
            .await?;
        Some(rows.iter().map(|row| row.try_get("version")).collect::<Result<_, _>>()?)
    } else {
        None
    };
    let examined = Examined {
        version: version.try_get("version")?,
        is_too_old: false,
        may_not_create: None,
        time: None,
        migrations,
    };
    let _ = connection.close().await;
    Ok(examined)
}

fn grant(schema: &str, user: Option<&str>) -> String {
    let user = user.map_or_else(|| "…".to_owned(), |user| format!("\"{user}\""));
    format!(
        "the database's user may not make tables: run `GRANT CREATE, USAGE ON SCHEMA {schema} TO {user}` as its owner"
    )
}

impl Error {
    /// One line: where, what is wrong, and what to do about it. `place` names the database without credentials.
    #[must_use]
    pub fn explain(&self, place: &str) -> String {
        let (Self::Away(error) | Self::Duplicate(error) | Self::Reference(error) | Self::Statement(error)) =
            self
        else {
            return format!("{place}: {self}");
        };
        match error {
            sqlx::Error::Database(database) => {
                let said = database.message();
                match database.code().as_deref().unwrap_or_default() {
                    "28P01" => format!("{place} refuses the user name or password: correct DATABASE_URL"),
                    "28000" => format!(
                        "{place} does not let this user in ({said}): correct the user in DATABASE_URL, or the server's pg_hba.conf"
                    ),
                    "3D000" => format!(
                        "{place} has no such database ({said}): make it with `CREATE DATABASE`, or correct DATABASE_URL"
                    ),
                    "42501" => format!("{place}: {} ({said})", grant("public", None)),
                    "53300" => format!(
                        "{place} has too many connections ({said}): raise its max_connections, or lower DATABASE_POOL_MAX_SIZE"
                    ),
                    "57P03" => format!("{place} is starting or stopping ({said}): wait a moment"),
                    _ => format!("{place}: {said}"),
                }
            }
            sqlx::Error::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused => {
                format!("nothing listens for {place}: start PostgreSQL, or correct DATABASE_URL")
            }
            sqlx::Error::Io(io) => format!("{place} cannot be reached ({io}): correct DATABASE_URL"),
            sqlx::Error::Tls(tls) => {
                format!(
                    "{place} cannot be spoken to over TLS ({tls}): correct DATABASE_SSL_MODE, or its certificate"
                )
            }
            sqlx::Error::PoolTimedOut => {
                format!("{place} does not answer: correct DATABASE_URL, and look whether the server runs")
            }
            other => format!("{place}: {other}"),
        }
    }
}
