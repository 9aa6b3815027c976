//! How things are kept: PostgreSQL or SQLite behind one [`Store`].
//!
//! The module is the noun and the function the verb: `find_` returns an `Option`, `list_` pages, `insert_`, `update_` and
//! the transitions are guarded in SQL and tell how many rows they changed. Every tenant query takes a
//! [`Visibility`](bifrost_domain::policy::Visibility) or a [`Scope`](bifrost_domain::scope::Scope). Rows and entities never
//! leave this crate.
//!
//! Rules: times and ids come from Rust, never from column defaults; statements over many rows are sorted by key; whatever
//! is on the hot path of a run goes through a [`coalescer::Coalescer`]; nothing slow happens inside a transaction.
//!
//! Locks, on PostgreSQL: whoever takes several takes them in this order, so that no two wait for each other.
//! 1. registration ([`Tx::lock_registration`]): who is first, who is the last admin, whose is an address or an identity;
//! 2. the tree ([`Tx::lock_tree`]): organizations, memberships and what is inherited;
//! 3. the user ([`Tx::lock_user`], [`Tx::lock_person`]): before anything that hangs on the account is changed in the same transaction as
//!    the account, or in several rows: sessions, factors, challenges, trusted devices, device grants, identities. One user at a time;
//! 4. the session ([`Tx::lock_session`]), then its refresh tokens: a refresh needs no more than these two;
//! 5. all other rows.
//!
//! How to add an aggregate:
//! 1. a migration for its tables (the crate `bifrost-migration` says how);
//! 2. a file here, named after it: reads are methods of [`Reader`], writes of [`Store`]; a read of something that belongs to a tenant takes
//!    a [`Visibility`](bifrost_domain::policy::Visibility), a [`Scope`](bifrost_domain::scope::Scope) or a permit; a transition names the
//!    state that it leaves in its `WHERE` and returns whether it changed the row;
//! 3. SQL that both databases understand (`$1` works in both), through the functions of `dialect`, which also reads rows; what differs
//!    goes there, too. What is written row by row and has many columns may have an entity instead (`entities`);
//! 4. its cases in a file of `tests/suite/`: each runs against both databases, and a guarded write also with two callers at once.

pub mod accounts;
pub mod audit;
pub mod branding;
pub mod coalescer;
pub mod db;
pub mod device_grants;
pub(crate) mod dialect;
mod entities;
pub mod error;
pub mod examine;
pub mod executions;
pub mod external_identities;
pub mod external_refs;
pub mod forms;
pub mod idempotency;
pub mod identity_providers;
pub mod leases;
pub mod machines;
pub mod memberships;
pub mod metrics;
pub mod mfa;
pub mod organizations;
pub mod own_sessions;
pub mod roles;
pub mod sessions;
pub mod settings;
pub mod tickets;
pub mod trusted_devices;
pub mod users;
pub mod workers;
pub mod workflows;
pub(crate) mod writes;

pub use db::{Db, Target, Tx};
pub use error::Error;
pub use executions::hot::HotPath;

/// The reading half: what `api` holds. It has no writes.
#[derive(Debug, Clone)]
pub struct Reader {
    db: Db,
}

/// Everything: what `app` holds.
#[derive(Debug, Clone)]
pub struct Store {
    db: Db,
}

impl Store {
    /// A store over an open database.
    #[must_use]
    pub const fn new(db: Db) -> Self {
        Self { db }
    }

    /// The reading half.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader { db: self.db.clone() }
    }

    /// The database itself, for health checks and migrations.
    #[must_use]
    pub const fn db(&self) -> &Db {
        &self.db
    }
}

impl Store {
    /// The names of the migrations that the database has, oldest first.
    ///
    /// # Errors
    /// Away, or the table is missing.
    pub async fn applied_migrations(&self) -> Result<Vec<String>, Error> {
        let rows =
            dialect::all(&self.db, "SELECT version FROM schema_migrations ORDER BY version", []).await?;
        rows.iter().map(|row| dialect::get(row, "schema_migrations", "version")).collect()
    }

    /// The database server's own time; `None` for SQLite, which has no clock but ours.
    ///
    /// # Errors
    /// Away.
    pub async fn database_time(&self) -> Result<Option<chrono::DateTime<chrono::Utc>>, Error> {
        if !self.db.is_postgres() {
            return Ok(None);
        }
        let row = dialect::one(&self.db, "SELECT clock_timestamp() AS now", []).await?;
        row.map(|row| dialect::get(&row, "clock", "now")).transpose()
    }

    /// The first daily partition from `first` to `last` that is missing; none ever is on SQLite. Looks at the catalog alone.
    ///
    /// # Errors
    /// Away.
    pub async fn find_missing_partition(
        &self,
        first: chrono::DateTime<chrono::Utc>,
        last: chrono::DateTime<chrono::Utc>,
    ) -> Result<Option<String>, Error> {
        const MISSING: &str = "SELECT name FROM (SELECT day, parent || '_p' || to_char(day, 'YYYYMMDD') AS name \
             FROM generate_series(($1 AT TIME ZONE 'UTC')::date, ($2 AT TIME ZONE 'UTC')::date, interval '1 day') AS day, \
             unnest(ARRAY['executions', 'execution_events', 'execution_logs', 'execution_variables']) AS parent) AS wanted \
             WHERE NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass(name)) ORDER BY day, name LIMIT 1";
        if !self.db.is_postgres() {
            return Ok(None);
        }
        let row = dialect::one(&self.db, MISSING, [first.into(), last.into()]).await?;
        row.map(|row| dialect::get(&row, "pg_inherits", "name")).transpose()
    }
}

impl Reader {
    /// The database itself, for health checks.
    #[must_use]
    pub const fn db(&self) -> &Db {
        &self.db
    }
}
