//! What can go wrong in the store.

use bifrost_domain::error as domain;

/// A storage error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database is away or did not answer in time; trying again makes sense.
    #[error("the database is away")]
    Away(#[source] sqlx::Error),
    /// A unique key exists already.
    #[error("an object with this key exists already")]
    Duplicate(#[source] sqlx::Error),
    /// A referenced object is missing, or the object is still referenced.
    #[error("a reference does not hold")]
    Reference(#[source] sqlx::Error),
    /// The organization that it would belong to is not there.
    #[error("the organization is not there")]
    NoOrganization,
    /// A row does not make sense: a value that this version cannot read.
    #[error("unreadable value in {table}.{column}: {reason}")]
    Inconsistent {
        /// Table.
        table: &'static str,
        /// Column.
        column: &'static str,
        /// Why.
        reason: String,
    },
    /// The statement failed.
    #[error("the statement failed")]
    Statement(#[source] sqlx::Error),
    /// The statement failed (through sea-orm).
    #[error("the statement failed")]
    Orm(#[source] sea_orm::DbErr),
    /// The coalescer's task is gone: the process is shutting down.
    #[error("the store is shutting down")]
    Closed,
}

impl Error {
    /// Whether trying again later makes sense.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Closed)
    }
}

/// Whether an error code says that the database cannot serve now. PostgreSQL (appendix A), classes 08: the connection broke; 53: out of
/// connections, memory or space; 57P: the server goes down or starts; and 25006: the server that answers became a standby.
/// SQLite: 5 busy, 6 locked.
fn is_away(code: &str) -> bool {
    ["08", "53", "57P"].iter().any(|class| code.starts_with(class)) || ["25006", "5", "6"].contains(&code)
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::error::ErrorKind;
        match &error {
            sqlx::Error::Database(inner) => match inner.kind() {
                ErrorKind::UniqueViolation => Self::Duplicate(error),
                ErrorKind::ForeignKeyViolation => Self::Reference(error),
                _ => {
                    // 1811: SQLite's `ON DELETE RESTRICT`, which sqlx does not count as a foreign key.
                    let code = inner.code().unwrap_or_default();
                    if code == "1811" {
                        Self::Reference(error)
                    } else if is_away(&code) {
                        Self::Away(error)
                    } else {
                        Self::Statement(error)
                    }
                }
            },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Away(error),
            _ => Self::Statement(error),
        }
    }
}

impl From<sea_orm::DbErr> for Error {
    fn from(error: sea_orm::DbErr) -> Self {
        use sea_orm::{DbErr, RuntimeErr};
        match error {
            DbErr::Exec(RuntimeErr::SqlxError(inner))
            | DbErr::Query(RuntimeErr::SqlxError(inner))
            | DbErr::Conn(RuntimeErr::SqlxError(inner)) => inner.into(),
            DbErr::ConnectionAcquire(_) => Self::Away(sqlx::Error::PoolTimedOut),
            other => Self::Orm(other),
        }
    }
}

impl From<Error> for domain::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Away(_) | Error::Closed => {
                Self::unavailable("the database is away; try again in a moment").with_source(error)
            }
            Error::Duplicate(_) => Self::conflict("it exists already").with_source(error),
            Error::Reference(_) => {
                Self::conflict("something it refers to is missing, or it is still in use").with_source(error)
            }
            Error::NoOrganization => Self::not_found("organization").with_source(error),
            other => Self::internal(other),
        }
    }
}
