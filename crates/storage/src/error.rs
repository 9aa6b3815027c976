//! What can go wrong in the store.

use bifrost_domain::error as domain;

/// A storage error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database is away or did not answer in time; trying again makes sense.
    #[error("the database is away")]
    Away(#[source] sqlx::Error),
    /// The disk of the database is full, or cannot be written; trying again makes sense when that has changed.
    #[error("the disk of the database is full or cannot be written")]
    Full(#[source] sqlx::Error),
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
        matches!(self, Self::Away(_) | Self::Full(_) | Self::Closed)
    }

    /// The same for one more of those who waited for one write.
    pub(crate) fn shared(&self) -> Self {
        match self {
            Self::Full(_) => Self::Full(sqlx::Error::Io(std::io::ErrorKind::StorageFull.into())),
            _ => Self::Away(sqlx::Error::PoolTimedOut),
        }
    }
}

/// What an error code says of the database as a whole.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Serves,
    Away,
    Full,
}

/// PostgreSQL (appendix A): five characters. Classes 08: the connection broke; 53: out of connections, memory or space (53100; 58030: the
/// disk failed); 57P: the server goes down or starts; and 25006: the server that answers became a standby.
///
/// SQLite: a number, its lowest byte 5 busy, 6 locked, 10 the file could not be read or written, 13 full, 14 the file could not be opened.
/// What fails of writing (778 write, 1034 sync, 1290 sync of the folder, 1546 truncate, 4874 grow the shared memory) has a quota or a
/// broken disk as its reason.
fn state(code: &str) -> State {
    match (code.len(), code.parse::<u32>()) {
        (..5, Ok(13 | 778 | 1034 | 1290 | 1546 | 4874)) => State::Full,
        (..5, Ok(number)) if matches!(number & 0xff, 5 | 6 | 10 | 14) => State::Away,
        (..5, _) => State::Serves,
        _ if matches!(code, "53100" | "58030") => State::Full,
        _ if ["08", "53", "57P", "25006"].iter().any(|class| code.starts_with(class)) => State::Away,
        _ => State::Serves,
    }
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
                    match state(&code) {
                        _ if code == "1811" => Self::Reference(error),
                        State::Full => Self::Full(error),
                        State::Away => Self::Away(error),
                        State::Serves => Self::Statement(error),
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
            Error::Full(_) => {
                Self::unavailable("the disk of the database is full or cannot be written; it goes on by itself when that has changed")
                    .with_code("disk_full")
                    .with_source(error)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_databases() {
        for (code, expected) in [
            ("53100", State::Full),
            ("58030", State::Full),
            ("13", State::Full),
            // A quota, and shared memory that could not grow.
            ("778", State::Full),
            ("4874", State::Full),
            ("08006", State::Away),
            ("25006", State::Away),
            ("53300", State::Away),
            ("57P01", State::Away),
            ("5", State::Away),
            // A snapshot that was overtaken, a file that could not be read, one that could not be opened.
            ("517", State::Away),
            ("266", State::Away),
            ("14", State::Away),
            ("23514", State::Serves),
            ("22012", State::Serves),
            ("57014", State::Serves),
            ("10000", State::Serves),
            ("1", State::Serves),
            ("19", State::Serves),
            ("11", State::Serves),
            ("", State::Serves),
        ] {
            assert_eq!(state(code), expected, "{code}");
        }
    }
}
