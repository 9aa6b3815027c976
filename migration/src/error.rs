//! What can go wrong. Each prints as one line that says what to do; the reason of the database comes last.

use sea_orm_migration::sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{self, postgres::PgDatabaseError},
};
use std::fmt;

/// A failure of a migration command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The record names migrations that this program does not have.
    #[error(
        "the database is newer than this program: it has the migration {name}{}; install the newer program",
        others(*more)
    )]
    Newer {
        /// The first of them.
        name: String,
        /// How many more there are.
        more: usize,
    },
    /// A migration failed, or its way back.
    #[error("{way} {name} failed and nothing of it was kept")]
    Failed {
        /// Its name.
        name: String,
        /// What was being done.
        way: Way,
        /// Why.
        #[source]
        cause: Box<Error>,
    },
    /// The database's user lacks a right.
    #[error("{} ({reason})", may_not(who.as_ref()))]
    MayNot {
        /// The user and the schema, when they could be asked for.
        who: Option<(String, String)>,
        /// What the database says.
        reason: String,
    },
    /// A table was in use for too long.
    #[error(
        "a table is in use by somebody else; end that (pg_stat_activity names it) and try again ({reason})"
    )]
    InUse {
        /// What the database says.
        reason: String,
    },
    /// The database takes no changes.
    #[error(
        "the database is read-only: DATABASE_URL names a standby, or the user or the database is set so ({reason})"
    )]
    ReadOnly {
        /// What the database says.
        reason: String,
    },
    /// More tables than a transaction can lock.
    #[error(
        "the server cannot lock so many partitions in one transaction; raise its max_locks_per_transaction ({reason})"
    )]
    Locks {
        /// What the database says.
        reason: String,
    },
    /// The database is away.
    #[error("the database does not answer; check DATABASE_URL and that the server runs ({reason})")]
    Away {
        /// What the connection says.
        reason: String,
    },
    /// Any other statement that failed.
    #[error("{reason}")]
    Statement {
        /// What the database says.
        reason: String,
    },
    /// What was asked for cannot be done; the text says what to do instead.
    #[error("{0}")]
    Refused(String),
}

/// Up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Applying.
    Up,
    /// Taking back.
    Down,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "applying the migration",
            Self::Down => "taking back the migration",
        })
    }
}

fn others(more: usize) -> String {
    if more == 0 { String::new() } else { format!(" and {more} more") }
}

fn may_not(who: Option<&(String, String)>) -> String {
    match who {
        Some((user, schema)) if schema.is_empty() => {
            format!(
                "the search_path of {user} names no schema that exists; create one, or ALTER ROLE {user} SET search_path"
            )
        }
        Some((user, schema)) => format!(
            "the database's user {user} may not change the schema {schema}; as its owner run: \
             GRANT CREATE ON SCHEMA {schema} TO {user} (tables that are there already have to belong to {user})"
        ),
        None => "the database's user may not change the schema; grant it CREATE on the schema".to_owned(),
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        let (DbErr::Exec(RuntimeErr::SqlxError(inner))
        | DbErr::Query(RuntimeErr::SqlxError(inner))
        | DbErr::Conn(RuntimeErr::SqlxError(inner))) = error
        else {
            return match error {
                DbErr::ConnectionAcquire(reason) => Self::Away { reason: reason.to_string() },
                other => Self::Statement { reason: one_line(&other.to_string()) },
            };
        };
        inner.into()
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(inner) = &error else {
            let reason = one_line(&error.to_string());
            return match error {
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed => Self::Away { reason },
                _ => Self::Statement { reason },
            };
        };
        let detail = inner.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::detail);
        let reason = match detail {
            Some(detail) => one_line(&format!("{}: {detail}", inner.message())),
            None => one_line(inner.message()),
        };
        // PostgreSQL, appendix A.
        match inner.code().as_deref() {
            // insufficient_privilege, and no schema to create in
            Some("42501" | "3F000") => Self::MayNot { who: None, reason },
            // read_only_sql_transaction
            Some("25006") => Self::ReadOnly { reason },
            // out_of_memory: for changes of a schema it is the table of locks
            Some("53200") => Self::Locks { reason },
            // lock_not_available
            Some("55P03") => Self::InUse { reason },
            Some(code) if code.starts_with("08") || code.starts_with("57P") => Self::Away { reason },
            _ => Self::Statement { reason },
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line() {
        let cause = Error::from(DbErr::Custom("two\nlines".to_owned()));
        let error = Error::Failed { name: "m1".to_owned(), way: Way::Up, cause: Box::new(cause) };
        assert_eq!(
            format!("{:#}", anyhow::Error::from(error)),
            "applying the migration m1 failed and nothing of it was kept: Custom Error: two lines"
        );
    }

    #[test]
    fn a_missing_right_says_what_to_run() {
        let who = |schema: &str| Some(("bob".to_owned(), schema.to_owned()));
        let said = |who| Error::MayNot { who, reason: "permission denied".to_owned() }.to_string();
        assert!(said(who("public")).contains("GRANT CREATE ON SCHEMA public TO bob"));
        assert!(said(who("")).contains("search_path"));
        assert!(said(None).ends_with("(permission denied)"));
    }
}
