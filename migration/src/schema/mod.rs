//! What a schema consists of, in words that can be compared: tables with their columns, keys, checks, indexes and triggers; functions,
//! types and views.
//!
//! What the migrations make is written down in `postgres.txt` and `sqlite.txt`, one owner with its parts after the other. A test
//! holds both files to a fresh database, so that a change of the schema is seen in a review; the program compares a running
//! database with them and needs no right but to look.
//!
//! Descriptions keep to what all supported versions of a database tell alike: names, types, columns, and expressions without the casts and
//! parentheses in which they are told. Partitions are not described: they are as their table is.

mod postgres;
mod sqlite;

use crate::error::Error;
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};
use std::{collections::BTreeMap, fmt};

pub(crate) use postgres::{Object, objects, partitions};

/// A described schema: by owner (`table users`, `function set_updated_at()`), its parts and how each is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schema {
    owners: BTreeMap<String, Owner>,
}

/// An object and its parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Owner {
    how: String,
    parts: BTreeMap<String, String>,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The migrations make it and it is not there.
    Missing {
        /// Whose part, e.g. `table users`.
        owner: String,
        /// Which part, e.g. `column email`; empty when the owner itself is missing.
        part: String,
    },
    /// It is there and the migrations do not make it.
    Extra {
        /// Whose part.
        owner: String,
        /// Which part.
        part: String,
        /// How it is.
        how: String,
    },
    /// It is there and otherwise.
    Other {
        /// Whose part.
        owner: String,
        /// Which part; empty for the owner itself.
        part: String,
        /// How the migrations make it.
        wanted: String,
        /// How it is.
        found: String,
    },
}

impl Schema {
    /// What this program's migrations make.
    #[must_use]
    pub fn expected(backend: DbBackend) -> Self {
        Self::parse(match backend {
            DbBackend::Postgres => include_str!("postgres.txt"),
            _ => include_str!("sqlite.txt"),
        })
    }

    /// What an open database has: on PostgreSQL in the first schema of the search path, without what belongs to extensions. The
    /// record of migrations is not part of it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn of(connection: &DatabaseConnection) -> Result<Self, Error> {
        match connection.get_database_backend() {
            DbBackend::Postgres => postgres::describe(connection).await,
            _ => sqlite::describe(connection).await,
        }
    }

    /// Reads what `Display` has written.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut schema = Self::default();
        let mut owner = String::new();
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let part = line.trim_start();
            // A check is known by what it says, and that may hold anything.
            let (name, how) = if part.starts_with("check ") {
                (part, "")
            } else {
                part.split_once(": ").unwrap_or((part, ""))
            };
            if part.len() == line.len() {
                name.clone_into(&mut owner);
                schema.add(&owner, "", how);
            } else {
                schema.add(&owner, name, how);
            }
        }
        schema
    }

    fn add(&mut self, owner: &str, part: &str, how: &str) {
        let entry = self.owners.entry(owner.to_owned()).or_default();
        if part.is_empty() {
            how.clone_into(&mut entry.how);
        } else {
            entry.parts.insert(part.to_owned(), how.to_owned());
        }
    }

    /// Everything in it, by the names of the owners.
    pub fn owners(&self) -> impl Iterator<Item = &str> {
        self.owners.keys().map(String::as_str)
    }

    /// Whether it has the owner.
    #[must_use]
    pub fn has(&self, owner: &str) -> bool {
        self.owners.contains_key(owner)
    }

    /// The names of its tables.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.owners().filter_map(|owner| owner.strip_prefix("table "))
    }

    /// The parts of a table whose names begin so, without that beginning: `columns("users", "column ")`.
    pub fn parts<'s>(&'s self, table: &str, beginning: &'s str) -> impl Iterator<Item = (&'s str, &'s str)> {
        let owner = self.owners.get(&format!("table {table}"));
        owner
            .into_iter()
            .flat_map(|owner| &owner.parts)
            .filter_map(move |(part, how)| Some((part.strip_prefix(beginning)?, how.as_str())))
    }

    /// What of it `found` lacks, has besides, or has otherwise. Owners that only `found` has are not ours to judge.
    #[must_use]
    pub fn differences(&self, found: &Self) -> Vec<Difference> {
        let mut all = Vec::new();
        for (owner, wanted) in &self.owners {
            let Some(found) = found.owners.get(owner) else {
                all.push(Difference::Missing { owner: owner.clone(), part: String::new() });
                continue;
            };
            let whole = [(String::new(), wanted.how.clone())];
            let found_whole = [(String::new(), found.how.clone())];
            let wanted: BTreeMap<&String, &String> =
                whole.iter().map(|(a, b)| (a, b)).chain(&wanted.parts).collect();
            let found: BTreeMap<&String, &String> =
                found_whole.iter().map(|(a, b)| (a, b)).chain(&found.parts).collect();
            for (part, how) in &wanted {
                let (owner, part) = (owner.clone(), (*part).clone());
                match found.get(&part) {
                    None => all.push(Difference::Missing { owner, part }),
                    Some(other) if other != how => all.push(Difference::Other {
                        owner,
                        part,
                        wanted: (*how).clone(),
                        found: (*other).clone(),
                    }),
                    Some(_) => {}
                }
            }
            for (part, how) in found.iter().filter(|(part, _)| !wanted.contains_key(*part)) {
                let (owner, part, how) = (owner.clone(), (*part).clone(), (*how).clone());
                all.push(Difference::Extra { owner, part, how });
            }
        }
        all
    }

    /// The owners that only `found` has.
    #[must_use]
    pub fn strangers(&self, found: &Self) -> Vec<String> {
        found.owners().filter(|owner| !self.has(owner)).map(str::to_owned).collect()
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with =
            |name: &str, how: &str| if how.is_empty() { name.to_owned() } else { format!("{name}: {how}") };
        for (name, owner) in &self.owners {
            writeln!(f, "{}", with(name, &owner.how))?;
            for (part, how) in &owner.parts {
                writeln!(f, "    {}", with(part, how))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |owner: &str, part: &str| {
            if part.is_empty() { owner.to_owned() } else { format!("{owner}, {part}") }
        };
        match self {
            Self::Missing { owner, part } => write!(f, "missing  {}", name(owner, part)),
            Self::Extra { owner, part, how } => {
                write!(f, "extra    {}", name(owner, part))?;
                if how.is_empty() { Ok(()) } else { write!(f, ": {how}") }
            }
            Self::Other { owner, part, wanted, found } => {
                write!(f, "other    {}: wanted `{wanted}`, found `{found}`", name(owner, part))
            }
        }
    }
}

/// One line, with single spaces.
fn collapsed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A boolean expression of PostgreSQL without the casts and parentheses that it is told with, which say nothing here and differ between
/// versions. Words in quotes stay as they are.
fn plain_expression(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let mut quoted = false;
    while let Some(letter) = rest.next() {
        match letter {
            '\'' => {
                quoted = !quoted;
                plain.push(letter);
            }
            _ if quoted => plain.push(letter),
            '(' | ')' => plain.push(' '),
            ':' if rest.peek() == Some(&':') => {
                rest.next();
                // Types are told in small letters (`character varying`), what follows them in capitals or signs.
                while rest.next_if(|&next| next.is_ascii_lowercase() || matches!(next, ' ' | '_')).is_some() {
                }
                let mut ahead = rest.clone();
                if ahead.next() == Some('[') && ahead.next() == Some(']') {
                    rest = ahead;
                }
                plain.push(' ');
            }
            _ => plain.push(letter),
        }
    }
    collapsed(&plain).replace(" ,", ",").replace("[ ", "[").replace(" ]", "]")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: &str = "function f(a integer): returns integer, language sql: SELECT 1\n\
        table a: partitioned by range (id)\n    check x = ': '\n    column id: uuid, not null\n    index a_id: (id)\n    primary key: (id)\n\
        table b\n    column id: uuid\n";

    #[test]
    fn a_description_is_read_as_it_is_written() {
        for text in [WANTED, include_str!("postgres.txt"), include_str!("sqlite.txt")] {
            assert_eq!(Schema::parse(text).to_string(), text);
        }
        let schema = Schema::parse(WANTED);
        assert_eq!(schema.tables().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(schema.parts("a", "column ").collect::<Vec<_>>(), [("id", "uuid, not null")]);
    }

    #[test]
    fn every_difference_is_named() {
        let found = Schema::parse(
            "table a: partitioned by hash (id)\n    check x > 1\n    column id: bigint, not null\n    column more: text\n    primary key: (id)\n\
             table c\n    column id: uuid\n",
        );
        let wanted = Schema::parse(WANTED);
        let said: Vec<String> = wanted.differences(&found).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "missing  function f(a integer)",
                "other    table a: wanted `partitioned by range (id)`, found `partitioned by hash (id)`",
                "missing  table a, check x = ': '",
                "other    table a, column id: wanted `uuid, not null`, found `bigint, not null`",
                "missing  table a, index a_id",
                "extra    table a, check x > 1",
                "extra    table a, column more: text",
                "missing  table b",
            ]
        );
        assert_eq!(wanted.strangers(&found), ["table c"]);
        assert_eq!(wanted.differences(&wanted), []);
    }

    #[test]
    fn an_expression_is_plain() {
        for (told, plain) in [
            ("((attempt >= 0))", "attempt >= 0"),
            ("((email)::text = lower((email)::text))", "email = lower email"),
            (
                "((status)::text = ANY ((ARRAY['a (b)'::character varying, 'C::d'::character varying])::text[]))",
                "status = ANY ARRAY['a (b)', 'C::d']",
            ),
            ("(((a)::text <> 'X'::text) OR (b IS NOT NULL))", "a <> 'X' OR b IS NOT NULL"),
        ] {
            assert_eq!(plain_expression(told), plain, "{told}");
        }
    }
}
