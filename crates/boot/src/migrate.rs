//! Brings the schema up to date at start, and on command.

use crate::{
    data_folder,
    settings::{Database, DatabaseSettings, Environment},
};
use anyhow::{Context, Result, anyhow, bail};
use bifrost_domain::clock::{Clock, SharedClock, SystemClock};
use bifrost_migration::{
    Runner, Step,
    cli::{self, OnDatabase},
    place::Place,
};
use bifrost_storage::{Db, Store, Target, examine::examine};
use chrono::Duration;
use secrecy::ExposeSecret;
use std::{io::Write, sync::Arc};

pub use bifrost_migration::cli::{Command, Generate, Outcome};

/// How many days ahead partitions are made.
const DAYS_AHEAD: i64 = 14;

/// Applies what is pending, under a lock: of several replicas that start together one does it and the others wait.
///
/// # Errors
/// When the database is away, newer than this program, or does not let this user create tables.
pub async fn up(store: &Store, clock: &SharedClock) -> Result<()> {
    let mut told = |step: Step<'_>| match step {
        Step::Applied { name, took, .. } => {
            tracing::info!(migration = name, duration_ms = took.as_millis(), "applied");
        }
        Step::Waiting => tracing::info!("another process changes the schema; waiting for it"),
        _ => {}
    };
    Runner::new(store.db().migration_connection()).up(None, &mut told).await?;
    ensure_partitions(store, clock).await?;
    Ok(())
}

async fn ensure_partitions(store: &Store, clock: &SharedClock) -> Result<i32> {
    let now = clock.now();
    store.ensure_partitions(now - Duration::days(1), now + Duration::days(DAYS_AHEAD)).await.context(
        "the daily partitions cannot be made; the tables have to belong to the database's user, and it has to have CREATE on their schema",
    )
}

/// Runs a command of `bifrost migrate` on the database of the settings and prints what it does.
///
/// # Errors
/// In one line, with what to do; among others when a `bifrost dev` works on the SQLite file that would be changed.
pub async fn command(command: &OnDatabase, settings: &DatabaseSettings) -> Result<Outcome> {
    let clock: SharedClock = Arc::new(SystemClock);
    let (place, target) = match &settings.database {
        Database::Sqlite { path } => (Place::Sqlite(path.clone()), Target::Sqlite { path: path.clone() }),
        Database::Postgres { url, .. } => (
            Place::from_url(url.expose_secret()).map_err(|reason| anyhow!("DATABASE_URL {reason}"))?,
            Target::Postgres { url: url.clone(), pool_min: 0, pool_max: 1 },
        ),
    };
    let is_file = matches!(place, Place::Sqlite(_));
    if !is_file && let Err(error) = examine(&target).await {
        // A pool only tells that it waited in vain; a single connection tells why, at once.
        bail!(error.explain(&settings.database.describe()));
    }
    let _folder = if is_file && command.changes() {
        Some(data_folder::take_in_turn(&settings.data_dir).await?)
    } else {
        None
    };
    let context = cli::Context { place, production: settings.environment == Environment::Production };
    let outcome = cli::run(command, &context).await?;
    if command.applies() && !is_file {
        let store = Store::new(Db::connect(&target).await.context("the database is away")?);
        let applied = store.applied_migrations().await.context("the applied migrations cannot be read")?;
        // `up N` may have stopped before the tables that have them.
        if bifrost_migration::names().iter().all(|name| applied.contains(name)) {
            let made = ensure_partitions(&store, &clock).await?;
            if made > 0 {
                let _ = writeln!(
                    std::io::stdout().lock(),
                    "{made} daily partitions made, for {DAYS_AHEAD} days ahead"
                );
            }
        }
        store.db().close().await;
    }
    Ok(outcome)
}

/// Writes the skeleton of a new migration.
///
/// # Errors
/// When its name is not one or is taken, or there is no checkout here.
pub fn generate(new: &Generate) -> Result<Outcome> {
    new.run(SystemClock.now().date_naive())?;
    Ok(Outcome::Good)
}
