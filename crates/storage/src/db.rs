//! The open database: pools, transactions, and the one write connection of SQLite.

use crate::{Error, writes::Writes};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, SqlxPostgresConnector,
    SqlxSqliteConnector, TransactionTrait,
};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    ConnectOptions, Connection, PgPool, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{path::PathBuf, str::FromStr, time::Duration};

/// Where the database is.
#[derive(Debug, Clone)]
pub enum Target {
    /// A SQLite file; made when missing.
    Sqlite {
        /// The file.
        path: PathBuf,
    },
    /// A PostgreSQL server, version 15 or newer.
    Postgres {
        /// `postgres://user:password@host:port/name?sslmode=…`
        url: SecretString,
        /// Connections kept open.
        pool_min: u32,
        /// Connections at most.
        pool_max: u32,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum Pools {
    Postgres(PgPool),
    Sqlite { write: SqlitePool, read: SqlitePool },
}

/// The connections of one pool at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// `main`, or for SQLite `write` and `read`.
    pub pool: &'static str,
    /// Connections that are lent.
    pub used: u32,
    /// Connections that wait for somebody.
    pub idle: u32,
    /// Connections at most.
    pub most: u32,
}

impl PoolUse {
    fn of<D: sqlx::Database>(name: &'static str, pool: &sqlx::Pool<D>) -> Self {
        let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
        let most = pool.options().get_max_connections();
        Self { pool: name, used: pool.size().saturating_sub(idle), idle, most }
    }
}

/// An open database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    pub(crate) pools: Pools,
    writer: DatabaseConnection,
    reader: DatabaseConnection,
    urgent: DatabaseConnection,
    pub(crate) writes: Writes,
}

/// Connections of their own for what must not wait behind everything else. Opened when they are first used; the second one is for when an
/// answer never comes to the first.
const URGENT_CONNECTIONS: u32 = 2;
/// How long a caller waits for a connection before the database counts as away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was idle for longer is pinged before it is lent: a server is away for longer when it restarts.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// How long closing waits for connections that are in use.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// SQLite readers: WAL lets them run beside the one writer.
const SQLITE_READERS: u32 = 4;

impl Db {
    /// Opens the database; nothing is created but a missing SQLite file and its folder.
    ///
    /// # Errors
    /// Away when the server cannot be reached or the file cannot be opened or written.
    pub async fn connect(target: &Target) -> Result<Self, Error> {
        match target {
            Target::Postgres { url, pool_min, pool_max } => {
                Self::connect_postgres(url, *pool_min, *pool_max).await
            }
            Target::Sqlite { path } => Self::connect_sqlite(path).await,
        }
    }

    async fn connect_postgres(url: &SecretString, pool_min: u32, pool_max: u32) -> Result<Self, Error> {
        // A prepared batch statement planned on an empty table would keep its bad plan for ever, and partitions are
        // pruned only with the values in hand.
        let options = PgConnectOptions::from_str(url.expose_secret())?
            .application_name("bifrost")
            .options([("plan_cache_mode", "force_custom_plan"), ("jit", "off")])
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .min_connections(pool_min)
            .max_connections(pool_max)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // A ping per statement would double the round trips; a broken connection is noticed on release. One that nobody
            // used for a while may have lost its server meanwhile, and is asked first.
            .test_before_acquire(false)
            .before_acquire(|connection, lent| {
                Box::pin(async move {
                    if lent.idle_for > TRUSTED_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_with(options.clone())
            .await?;
        let urgent = PgPoolOptions::new()
            .max_connections(URGENT_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options);
        let connection = SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone());
        Ok(Self {
            pools: Pools::Postgres(pool),
            writer: connection.clone(),
            reader: connection,
            urgent: SqlxPostgresConnector::from_sqlx_postgres_pool(urgent),
            writes: Writes::default(),
        })
    }

    async fn connect_sqlite(path: &std::path::Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An accepted run survives a power cut: the log is synced with each commit.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5))
            .statement_cache_capacity(256)
            .disable_statement_logging();
        let write = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            // SQLite rolls a transaction back by itself when the disk is full. The connection does not learn of it, finds nothing to roll
            // back, and would refuse every further transaction for ever.
            .after_release(|connection, _| {
                Box::pin(async move {
                    connection.ping().await?;
                    Ok(!connection.is_in_transaction())
                })
            })
            .connect_with(options.clone())
            .await?;
        let read = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(SQLITE_READERS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.read_only(false))
            .await?;
        // Fails here, with a clear text, and not at the first run when the file cannot be written.
        sqlx::query("PRAGMA user_version = 1").execute(&write).await?;
        Ok(Self {
            writer: SqlxSqliteConnector::from_sqlx_sqlite_pool(write.clone()),
            urgent: SqlxSqliteConnector::from_sqlx_sqlite_pool(write.clone()),
            reader: SqlxSqliteConnector::from_sqlx_sqlite_pool(read.clone()),
            pools: Pools::Sqlite { write, read },
            writes: Writes::default(),
        })
    }

    /// Which database it is.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        matches!(self.pools, Pools::Postgres(_))
    }

    /// How many connections are in use. On PostgreSQL those of the batch writers, and of leases, are not of the pool.
    #[must_use]
    pub fn pool_use(&self) -> Vec<PoolUse> {
        match &self.pools {
            Pools::Postgres(pool) => vec![PoolUse::of("main", pool)],
            Pools::Sqlite { write, read } => vec![PoolUse::of("write", write), PoolUse::of("read", read)],
        }
    }

    pub(crate) fn backend(&self) -> DbBackend {
        if self.is_postgres() { DbBackend::Postgres } else { DbBackend::Sqlite }
    }

    /// The connection that reads.
    pub(crate) const fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// The connection that writes single statements (each its own commit).
    pub(crate) const fn writer(&self) -> &DatabaseConnection {
        &self.writer
    }

    /// The connection for single statements that do not wait behind others: a worker's lease.
    pub(crate) const fn urgent(&self) -> &DatabaseConnection {
        &self.urgent
    }

    /// The connection for migrations.
    #[must_use]
    pub const fn migration_connection(&self) -> &DatabaseConnection {
        &self.writer
    }

    /// Begins a write transaction. It is rolled back unless [`Tx::commit`] is called.
    ///
    /// # Errors
    /// Away when no connection is to be had.
    pub async fn begin(&self) -> Result<Tx, Error> {
        let inner = self.writer.begin().await?;
        if !self.is_postgres() {
            // sea-orm begins deferred; a write that touches nothing takes the write lock now and not at the first
            // write, where a busy database could no longer be waited for.
            inner.execute_unprepared("UPDATE leases SET until = until WHERE 0").await?;
        }
        Ok(Tx { inner, writes: self.writes.clone() })
    }

    /// A real round trip over a connection that is open already. After a write that found the disk full: a write, so that whoever asks
    /// learns when there is room again.
    ///
    /// # Errors
    /// Away, or the disk is full.
    pub async fn probe(&self) -> Result<(), Error> {
        self.reader.execute_unprepared("SELECT 1").await?;
        if self.writes.is_full() {
            // A table that has rows in every database of ours.
            let written =
                self.writer.execute_unprepared("UPDATE schema_migrations SET version = version").await;
            self.writes.note(written.map(drop).map_err(Error::from))?;
            self.writes.written();
            if self.writes.is_full() {
                return Err(Error::Full(sqlx::Error::Io(std::io::ErrorKind::StorageFull.into())));
            }
        }
        Ok(())
    }

    /// Closes the pools after running statements ended, within two seconds: the hot path's writers keep connections of their
    /// own for as long as they live, and nobody waits for those.
    pub async fn close(&self) {
        let closing = async {
            let _ = self.urgent.clone().close().await;
            let _ = self.writer.clone().close().await;
            let _ = self.reader.clone().close().await;
        };
        if tokio::time::timeout(CLOSE_WITHIN, closing).await.is_err() {
            tracing::debug!("connections that are still in use are left to the end of the process");
        }
    }
}

/// An open write transaction: committed explicitly, else rolled back.
#[derive(Debug)]
pub struct Tx {
    pub(crate) inner: DatabaseTransaction,
    writes: Writes,
}

impl Tx {
    /// Makes it durable.
    ///
    /// # Errors
    /// Away; the outcome is then unknown and the caller reads back.
    pub async fn commit(self) -> Result<(), Error> {
        self.writes.note(self.inner.commit().await.map_err(Error::from))
    }
}
