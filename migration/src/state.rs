//! Which migrations a database has, beside those that this program has.

use crate::error::Error;
use chrono::{DateTime, Utc};
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, Statement};

/// The table that records what was applied.
pub const RECORD: &str = "schema_migrations";

/// What a migration is to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The database has it.
    Applied,
    /// This program has it and the database does not.
    Pending,
    /// The database has it and this program does not: a newer program applied it.
    Unknown,
}

impl Standing {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Pending => "pending",
            Self::Unknown => "unknown",
        }
    }
}

/// One migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is to the database.
    pub standing: Standing,
    /// When it was applied, to the second.
    pub applied_at: Option<DateTime<Utc>>,
    /// Pending although a later one is applied: it was added to the program after that one.
    pub late: bool,
}

/// All of them, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The entries.
    pub entries: Vec<Entry>,
}

impl State {
    /// Reads the record; writes nothing, and a database without a record has nothing applied.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn read(connection: &impl ConnectionTrait, known: &[String]) -> Result<Self, Error> {
        let backend = connection.get_database_backend();
        let is_there = match backend {
            DbBackend::Postgres => format!("SELECT 1 AS there WHERE to_regclass('{RECORD}') IS NOT NULL"),
            _ => format!("SELECT 1 AS there FROM sqlite_master WHERE type = 'table' AND name = '{RECORD}'"),
        };
        let mut applied = Vec::new();
        if connection.query_one(Statement::from_string(backend, is_there)).await?.is_some() {
            let sql = format!("SELECT version, applied_at FROM {RECORD}");
            for row in connection.query_all(Statement::from_string(backend, sql)).await? {
                let seconds: i64 = row.try_get("", "applied_at")?;
                applied.push((row.try_get::<String>("", "version")?, DateTime::from_timestamp(seconds, 0)));
            }
        }
        Ok(Self::of(known, applied))
    }

    fn of(known: &[String], applied: Vec<(String, Option<DateTime<Utc>>)>) -> Self {
        let last = applied.iter().map(|(name, _)| name.clone()).max();
        let mut entries: Vec<Entry> = known
            .iter()
            .filter(|name| !applied.iter().any(|(other, _)| other == *name))
            .map(|name| Entry {
                name: name.clone(),
                standing: Standing::Pending,
                applied_at: None,
                late: last.as_ref().is_some_and(|last| name < last),
            })
            .collect();
        entries.extend(applied.into_iter().map(|(name, applied_at)| {
            let standing = if known.contains(&name) { Standing::Applied } else { Standing::Unknown };
            Entry { name, standing, applied_at, late: false }
        }));
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Self { entries }
    }

    /// Those with this standing, oldest first.
    pub fn with(&self, standing: Standing) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.standing == standing)
    }

    /// How many have this standing.
    #[must_use]
    pub fn count(&self, standing: Standing) -> usize {
        self.with(standing).count()
    }

    /// The order in which they were applied; those of one second by name.
    #[must_use]
    pub fn in_order_of_time(&self) -> Vec<&Entry> {
        let mut applied: Vec<&Entry> =
            self.entries.iter().filter(|entry| entry.standing != Standing::Pending).collect();
        applied.sort_by(|a, b| (a.applied_at, &a.name).cmp(&(b.applied_at, &b.name)));
        applied
    }

    /// Fails when the database has migrations that this program does not know: it would change a schema that it cannot judge.
    ///
    /// # Errors
    /// [`Error::Newer`].
    pub fn refuse_newer(&self) -> Result<(), Error> {
        let mut unknown = self.with(Standing::Unknown);
        match unknown.next() {
            None => Ok(()),
            Some(first) => Err(Error::Newer { name: first.name.clone(), more: unknown.count() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(known: &[&str], applied: &[(&str, i64)]) -> State {
        let known: Vec<String> = known.iter().map(|&name| name.to_owned()).collect();
        let applied =
            applied.iter().map(|&(name, at)| (name.to_owned(), DateTime::from_timestamp(at, 0))).collect();
        State::of(&known, applied)
    }

    #[test]
    fn each_migration_has_one_standing() {
        let state = state(&["m1", "m2", "m3", "m5"], &[("m1", 10), ("m3", 20), ("m4", 15)]);
        let seen: Vec<_> = state
            .entries
            .iter()
            .map(|entry| (entry.name.as_str(), entry.standing.as_str(), entry.late))
            .collect();
        assert_eq!(
            seen,
            [
                ("m1", "applied", false),
                ("m2", "pending", true),
                ("m3", "applied", false),
                ("m4", "unknown", false),
                ("m5", "pending", false),
            ]
        );
        let order: Vec<_> = state.in_order_of_time().iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(order, ["m1", "m4", "m3"]);
    }

    #[test]
    fn a_newer_database_is_named_by_its_first_unknown_migration() {
        assert!(state(&["m1", "m2"], &[("m1", 1)]).refuse_newer().is_ok());
        let error = state(&["m1"], &[("m1", 1), ("m8", 1), ("m9", 1)]).refuse_newer().expect_err("newer");
        assert_eq!(
            error.to_string(),
            "the database is newer than this program: it has the migration m8 and 1 more; install the newer program"
        );
    }
}
