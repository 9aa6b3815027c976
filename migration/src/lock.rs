//! One process at a time changes the schema.
//!
//! On PostgreSQL that is an advisory lock of the database, held by a connection of its own: the server gives it back however the
//! process ends. A SQLite file belongs to one process, which holds the lock of its data folder (`boot::data_folder`).

use crate::{
    error::Error,
    runner::{Step, Told},
};
use sea_orm_migration::sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend,
    sqlx::{self, ConnectOptions, Connection, Executor, PgConnection},
};
use std::time::Duration;

/// The number of the lock. (4216001 is the one of `bifrost_ensure_partitions`.)
const SCHEMA_LOCK: i64 = 4_216_000;
/// How long the connection for it may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Held until it is dropped.
pub(crate) struct Lock(Option<PgConnection>);

impl Lock {
    /// Waits for whoever has it, and says so.
    pub(crate) async fn take(connection: &DatabaseConnection, told: Told<'_>) -> Result<Self, Error> {
        if connection.get_database_backend() != DbBackend::Postgres {
            return Ok(Self(None));
        }
        // Not one of the pool's: what is done under the lock may need all that a small pool has.
        let options = connection.get_postgres_connection_pool().connect_options();
        let opened = tokio::time::timeout(PATIENCE, options.connect()).await;
        let mut held = opened.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
        held.execute("SET statement_timeout = 0; SET lock_timeout = 0").await?;
        let free: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(SCHEMA_LOCK)
            .fetch_one(&mut held)
            .await?;
        if !free {
            told(Step::Waiting);
            sqlx::query("SELECT pg_advisory_lock($1)").bind(SCHEMA_LOCK).execute(&mut held).await?;
        }
        Ok(Self(Some(held)))
    }

    /// Gives it back now. The server does as soon as it sees the connection closed; the next process need not wait for that.
    pub(crate) async fn give_back(self) {
        if let Some(held) = self.0 {
            let _ = held.close().await;
        }
    }
}
