//! Brings the schema up to date at start.

use anyhow::{Context, Result, bail};
use bifrost_domain::clock::SharedClock;
use bifrost_migration::{Migrator, MigratorTrait};
use bifrost_storage::Store;
use chrono::Duration;

/// How many days ahead partitions are made.
const DAYS_AHEAD: i64 = 14;

/// Applies what is pending, under a lock: of several replicas that start together one does it and the others wait.
///
/// # Errors
/// When the database is away, newer than this program, or does not let this user create tables.
pub async fn up(store: &Store, clock: &SharedClock) -> Result<()> {
    let db = store.db();
    let applied: Result<Result<()>, bifrost_storage::Error> =
        db.with_schema_lock(async { Ok(apply(store, clock).await) }).await;
    applied.context("the schema's lock was not to be had")?
}

async fn apply(store: &Store, clock: &SharedClock) -> Result<()> {
    let connection = store.db().migration_connection();
    Migrator::install(connection).await.context(
        "the schema cannot be written; give the database's user the right to create tables (`GRANT CREATE ON SCHEMA public TO …`)",
    )?;
    let known: Vec<String> =
        Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    let newer: Vec<String> = store
        .applied_migrations()
        .await
        .context("the applied migrations cannot be read")?
        .into_iter()
        .filter(|name| !known.contains(name))
        .collect();
    if let Some(name) = newer.first() {
        bail!(
            "the database is newer than this program: it has the migration {name}; install the newer program"
        );
    }
    let pending =
        Migrator::get_pending_migrations(connection).await.context("the migrations cannot be compared")?;
    if !pending.is_empty() {
        tracing::info!(migrations = pending.len(), "the schema is being brought up to date");
        Migrator::up(connection, None).await.context("a migration failed; nothing of it was kept")?;
    }
    let now = clock.now();
    store
        .ensure_partitions(now - Duration::days(1), now + Duration::days(DAYS_AHEAD))
        .await
        .context("the daily partitions cannot be made")?;
    Ok(())
}
