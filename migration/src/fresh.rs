//! Drops everything of ours and makes the schema anew.

use crate::{
    error::Error,
    lock::Lock,
    runner::{Runner, Step, Told, begin, commit, unchecked},
    schema::{self, Object, Schema},
    state::RECORD,
};
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use std::collections::BTreeMap;

/// Partitions dropped in one transaction: each takes some ten locks, of which a server has some thousands.
const BATCH: usize = 40;

impl Runner<'_> {
    /// What `fresh` would not drop unless it is told to: tables, functions and types of the current schema that no migration of this
    /// program makes. They belong to somebody else, or to a newer program.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn strangers(&self) -> Result<Vec<String>, Error> {
        let found = Schema::of(self.connection).await?;
        let expected = Schema::expected(self.connection.get_database_backend());
        let mut strangers = expected.strangers(&found);
        if self.connection.get_database_backend() == DbBackend::Postgres {
            let tables: Vec<&str> = expected.tables().collect();
            let partitions = schema::partitions(self.connection, &tables).await?;
            strangers.retain(|owner| {
                !owner.strip_prefix("table ").is_some_and(|name| partitions.iter().any(|one| one == name))
            });
        }
        Ok(strangers)
    }

    /// Drops our tables with their partitions, functions, types and the record, then applies all migrations. Other schemas are left
    /// alone; so is what nobody here made ([`Runner::strangers`]), unless `everything` of the current schema is to go.
    ///
    /// # Errors
    /// When there are strangers and they are not to go, when something of somebody else's depends on our tables, or the database is away.
    pub async fn fresh(&self, everything: bool, told: Told<'_>) -> Result<(), Error> {
        let lock = Lock::take(self.connection, told).await?;
        let made = self.make_anew(everything, told).await;
        lock.give_back().await;
        self.explained(made).await
    }

    async fn make_anew(&self, everything: bool, told: Told<'_>) -> Result<(), Error> {
        let strangers = self.strangers().await?;
        if !everything && !strangers.is_empty() {
            let shown = strangers.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = if strangers.len() > 5 { ", …" } else { "" };
            return Err(Error::Refused(format!(
                "no migration of this program makes {} of what is here ({shown}{more}): it belongs to somebody else or to a newer \
                 program; move it away, or say --drop-unknown to drop it, too",
                strangers.len()
            )));
        }
        let is_ours = |owner: &str| everything || !strangers.iter().any(|stranger| stranger == owner);
        match self.connection.get_database_backend() {
            DbBackend::Postgres => drop_postgres(self.connection, is_ours, told).await?,
            _ => drop_sqlite(self.connection, is_ours, told).await?,
        }
        self.apply(None, told).await?;
        Ok(())
    }
}

async fn drop_postgres(
    connection: &DatabaseConnection,
    is_ours: impl Fn(&str) -> bool,
    told: Told<'_>,
) -> Result<(), Error> {
    let expected = Schema::expected(DbBackend::Postgres);
    let tables: Vec<&str> = expected.tables().collect();
    let partitions = schema::partitions(connection, &tables).await?;
    for batch in partitions.chunks(BATCH) {
        let transaction = begin(connection).await?;
        transaction.execute_unprepared(&format!("DROP TABLE {}", batch.join(", "))).await?;
        transaction.commit().await?;
    }
    if !partitions.is_empty() {
        told(Step::Dropped { kind: "partition", count: partitions.len() });
    }
    let mut kinds: Vec<(String, Vec<String>)> = Vec::new();
    for Object { owner, kind, name } in schema::objects(connection).await? {
        match kinds.last_mut() {
            _ if !is_ours(&owner) => {}
            Some((last, names)) if *last == kind => names.push(name),
            _ => kinds.push((kind, vec![name])),
        }
    }
    let transaction = begin(connection).await?;
    for (kind, names) in &kinds {
        // Without CASCADE: a view or key of somebody else's on our tables is named by the error, and not dropped.
        transaction.execute_unprepared(&format!("DROP {kind} {}", names.join(", "))).await?;
    }
    transaction.execute_unprepared(&format!("DROP TABLE IF EXISTS {RECORD}")).await?;
    transaction.commit().await?;
    for (kind, names) in &kinds {
        told(Step::Dropped { kind: &kind.to_lowercase(), count: names.len() });
    }
    Ok(())
}

async fn drop_sqlite(
    connection: &DatabaseConnection,
    is_ours: impl Fn(&str) -> bool,
    told: Told<'_>,
) -> Result<(), Error> {
    const OBJECTS: &str = "SELECT type AS kind, name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' \
        ESCAPE '\\' ORDER BY type DESC, name";
    let found = connection.query_all(Statement::from_string(DbBackend::Sqlite, OBJECTS)).await?;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    unchecked(connection, async {
        let transaction = begin(connection).await?;
        for row in &found {
            let (kind, name): (String, String) = (row.try_get("", "kind")?, row.try_get("", "name")?);
            if is_ours(&format!("{kind} {name}")) {
                transaction
                    .execute_unprepared(&format!("DROP {kind} \"{}\"", name.replace('"', "\"\"")))
                    .await?;
                if name != RECORD {
                    *counts.entry(kind).or_default() += 1;
                }
            }
        }
        commit(transaction).await
    })
    .await?;
    for (kind, count) in &counts {
        told(Step::Dropped { kind, count: *count });
    }
    Ok(())
}
