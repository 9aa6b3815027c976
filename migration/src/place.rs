//! Where the database is, and how it is opened for a command.

use crate::error::Error;
use sea_orm_migration::sea_orm::{
    DatabaseConnection, SqlxPostgresConnector, SqlxSqliteConnector,
    sqlx::{
        ConnectOptions,
        postgres::{PgConnectOptions, PgPoolOptions},
        sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
    },
};
use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

/// A database that a command works on.
#[derive(Debug, Clone)]
pub enum Place {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL server and a database on it.
    Postgres(Box<PgConnectOptions>),
}

/// What a command does to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Looks only: nothing is made or written, and the database refuses it if it is tried.
    Look,
    /// Changes the schema or the record.
    Change,
}

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Place {
    /// Reads `postgres://…` or `sqlite:PATH`.
    ///
    /// # Errors
    /// What is wrong with it; never the address itself, which may hold a password.
    pub fn from_url(url: &str) -> Result<Self, String> {
        const WANTED: &str = "is neither postgres://user:password@host:5432/name nor sqlite:PATH";
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let path = path.split_once('?').map_or(path, |(path, _)| path);
            return match path {
                "" | ":memory:" | "memory:" => Err("names no file (sqlite:PATH)".to_owned()),
                path => Ok(Self::Sqlite(PathBuf::from(path))),
            };
        }
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(WANTED.to_owned());
        }
        let options = PgConnectOptions::from_str(url).map_err(|_| WANTED.to_owned())?;
        Ok(Self::Postgres(Box::new(options)))
    }

    /// Whether a SQLite file is still to be made.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Sqlite(path) if !path.exists())
    }

    /// Opens it. Looking at a SQLite file that does not exist shows an empty database.
    ///
    /// # Errors
    /// When it cannot be reached, or the file cannot be opened.
    pub async fn open(&self, access: Access) -> Result<DatabaseConnection, Error> {
        match self {
            Self::Postgres(options) => {
                let mut options =
                    options.as_ref().clone().application_name("bifrost-migrate").disable_statement_logging();
                if access == Access::Look {
                    options = options.options([("default_transaction_read_only", "on")]);
                }
                let pool = PgPoolOptions::new().max_connections(2).acquire_timeout(PATIENCE);
                let pool = pool.connect_with(options).await.map_err(|error| self.unreachable(error))?;
                Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
            }
            Self::Sqlite(path) => {
                let options = match access {
                    Access::Look if self.is_missing() => SqliteConnectOptions::new().in_memory(true),
                    Access::Look => SqliteConnectOptions::new().filename(path).read_only(true),
                    Access::Change => SqliteConnectOptions::new()
                        .filename(path)
                        .create_if_missing(true)
                        .journal_mode(SqliteJournalMode::Wal)
                        .synchronous(SqliteSynchronous::Full),
                };
                let options = options.foreign_keys(true).busy_timeout(PATIENCE).disable_statement_logging();
                let pool = SqlitePoolOptions::new()
                    // One connection, kept: the runner's PRAGMAs and an empty database in memory belong to it.
                    .max_connections(1)
                    .idle_timeout(None)
                    .max_lifetime(None)
                    .acquire_timeout(PATIENCE);
                let pool = pool.connect_with(options).await.map_err(|error| {
                    let reason = Error::from(error);
                    Error::Refused(format!(
                        "{self} cannot be opened; check who owns it and its folder ({reason})"
                    ))
                })?;
                Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool))
            }
        }
    }

    fn unreachable(&self, error: sea_orm_migration::sea_orm::sqlx::Error) -> Error {
        let reason = match Error::from(error) {
            Error::Away { reason } | Error::Statement { reason } | Error::MayNot { reason, .. } => reason,
            other => other.to_string(),
        };
        Error::Refused(format!(
            "{self} cannot be reached; check DATABASE_URL and that the server runs ({reason})"
        ))
    }
}

/// What it is and where, without credentials.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite at {}", path.display()),
            Self::Postgres(options) => {
                let database = options.get_database().unwrap_or_else(|| options.get_username());
                match options.get_socket() {
                    Some(folder) => write!(f, "postgres at {}/{database}", folder.display()),
                    None => write!(f, "postgres at {}:{}/{database}", options.get_host(), options.get_port()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn a_place_is_told_without_its_password() {
        for (url, said) in [
            ("postgres://bob:secret@db.example:5433/bifrost", "postgres at db.example:5433/bifrost"),
            ("postgresql://bob@localhost/x?sslmode=disable", "postgres at localhost:5432/x"),
            ("postgres://bob@localhost/x?host=/run/postgresql", "postgres at /run/postgresql/x"),
            ("sqlite:data/bifrost.db", "sqlite at data/bifrost.db"),
            ("sqlite:///srv/bifrost.db?mode=rwc", "sqlite at /srv/bifrost.db"),
        ] {
            assert_eq!(Place::from_url(url).map(|place| place.to_string()).as_deref(), Ok(said), "{url}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused_without_showing_it() {
        for url in
            ["", "mysql://bob:secret@h/x", "sqlite:", "sqlite::memory:", "postgres://bob:secret@h:port/x"]
        {
            let said = Place::from_url(url).expect_err(url);
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
