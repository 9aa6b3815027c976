//! Applies migrations and takes them back: each in a transaction of its own together with its line in the record, so that a
//! failure leaves the database at the migration before.

use crate::{
    Migrator,
    error::{Error, Way},
    lock::Lock,
    state::{RECORD, Standing, State},
};
use sea_orm_migration::{
    MigrationTrait, MigratorTrait, SchemaManager,
    sea_orm::{
        ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, Statement, TransactionTrait,
    },
};
use std::time::{Duration, Instant};

/// What the runner tells while it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// Another process changes the schema; it is waited for.
    Waiting,
    /// A migration was applied.
    Applied {
        /// Its name.
        name: &'a str,
        /// A later one had been applied before.
        late: bool,
        /// How long it took.
        took: Duration,
    },
    /// A migration was taken back.
    TakenBack {
        /// Its name.
        name: &'a str,
        /// How long it took.
        took: Duration,
    },
    /// A migration was recorded as applied, and not run.
    Recorded(&'a str),
    /// The record of a migration was removed, and nothing was taken back.
    Forgotten(&'a str),
    /// So many objects of a kind were dropped.
    Dropped {
        /// `table`, `partition`, …
        kind: &'a str,
        /// How many.
        count: usize,
    },
}

/// Hears what happens, as it happens.
pub type Told<'a> = &'a mut (dyn FnMut(Step<'_>) + Send);

/// Runs migrations over an open connection. On SQLite the connection is a pool of one.
pub struct Runner<'c> {
    pub(crate) connection: &'c DatabaseConnection,
    migrations: Vec<Box<dyn MigrationTrait>>,
}

impl std::fmt::Debug for Runner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("migrations", &self.names()).finish_non_exhaustive()
    }
}

impl<'c> Runner<'c> {
    /// A runner of this program's migrations.
    #[must_use]
    pub fn new(connection: &'c DatabaseConnection) -> Self {
        Self::of(connection, Migrator::migrations())
    }

    /// A runner of other ones, oldest first: what a newer or an older program would have.
    #[must_use]
    pub fn of(connection: &'c DatabaseConnection, migrations: Vec<Box<dyn MigrationTrait>>) -> Self {
        Self { connection, migrations }
    }

    /// The names of its migrations, oldest first.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.migrations.iter().map(|migration| migration.name().to_owned()).collect()
    }

    /// Which migrations the database has. Writes nothing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn state(&self) -> Result<State, Error> {
        let state = State::read(self.connection, &self.names()).await;
        self.explained(state).await
    }

    /// Applies the oldest `steps` of what is pending, or all of it, and returns how many that were. Of several processes that begin
    /// together one does it; the others wait and find nothing to do.
    ///
    /// # Errors
    /// When the database is newer than this program or away, or a migration fails; those before it stay.
    pub async fn up(&self, steps: Option<usize>, told: Told<'_>) -> Result<usize, Error> {
        let lock = Lock::take(self.connection, told).await?;
        let applied = self.apply(steps, told).await;
        lock.give_back().await;
        self.explained(applied).await
    }

    /// Takes back the last `steps` of what is applied, the last first, and returns how many that were. The data of their tables is
    /// lost.
    ///
    /// # Errors
    /// As [`Runner::up`].
    pub async fn down(&self, steps: usize, told: Told<'_>) -> Result<usize, Error> {
        let lock = Lock::take(self.connection, told).await?;
        let taken_back = self.take_back(steps, told).await;
        lock.give_back().await;
        self.explained(taken_back).await
    }

    /// Makes the record say that `name` and everything before it is applied and nothing after it, and runs nothing.
    ///
    /// # Errors
    /// When there is no such migration, and as [`Runner::up`].
    pub async fn stamp(&self, name: &str, told: Told<'_>) -> Result<(), Error> {
        let lock = Lock::take(self.connection, told).await?;
        let stamped = self.record(name, told).await;
        lock.give_back().await;
        self.explained(stamped).await
    }

    pub(crate) async fn apply(&self, steps: Option<usize>, told: Told<'_>) -> Result<usize, Error> {
        let state = State::read(self.connection, &self.names()).await?;
        state.refuse_newer()?;
        let pending: Vec<_> = state.with(Standing::Pending).take(steps.unwrap_or(usize::MAX)).collect();
        if !pending.is_empty() {
            Migrator::install(self.connection).await?;
        }
        for entry in &pending {
            let took = self.run(&entry.name, Way::Up).await?;
            told(Step::Applied { name: &entry.name, late: entry.late, took });
        }
        Ok(pending.len())
    }

    async fn take_back(&self, steps: usize, told: Told<'_>) -> Result<usize, Error> {
        let state = State::read(self.connection, &self.names()).await?;
        state.refuse_newer()?;
        let applied: Vec<_> = state.with(Standing::Applied).rev().take(steps).collect();
        for entry in &applied {
            let took = self.run(&entry.name, Way::Down).await?;
            told(Step::TakenBack { name: &entry.name, took });
        }
        Ok(applied.len())
    }

    async fn record(&self, name: &str, told: Told<'_>) -> Result<(), Error> {
        let known = self.names();
        if !known.iter().any(|other| other == name) {
            return Err(Error::Refused(format!("there is no migration {name}; `status` lists them")));
        }
        let state = State::read(self.connection, &known).await?;
        state.refuse_newer()?;
        Migrator::install(self.connection).await?;
        let transaction = self.connection.begin().await?;
        let mut steps = Vec::new();
        for entry in &state.entries {
            let wanted = entry.name.as_str() <= name;
            if wanted && entry.standing == Standing::Pending {
                write_record(&transaction, &entry.name, Way::Up).await?;
                steps.push(Step::Recorded(&entry.name));
            } else if !wanted && entry.standing == Standing::Applied {
                write_record(&transaction, &entry.name, Way::Down).await?;
                steps.push(Step::Forgotten(&entry.name));
            }
        }
        transaction.commit().await?;
        steps.into_iter().for_each(told);
        Ok(())
    }

    /// One migration in one transaction, with its record.
    async fn run(&self, name: &str, way: Way) -> Result<Duration, Error> {
        let begun = Instant::now();
        let Some(migration) = self.migrations.iter().find(|migration| migration.name() == name) else {
            return Err(Error::Refused(format!("there is no migration {name}")));
        };
        let done = unchecked(self.connection, async {
            let transaction = begin(self.connection).await?;
            let manager = SchemaManager::new(&transaction);
            match way {
                Way::Up => migration.up(&manager).await?,
                Way::Down => migration.down(&manager).await?,
            }
            write_record(&transaction, name, way).await?;
            commit(transaction).await
        });
        match self.explained(done.await).await {
            Ok(()) => Ok(begun.elapsed()),
            Err(cause) => Err(Error::Failed { name: name.to_owned(), way, cause: Box::new(cause) }),
        }
    }

    /// Adds to an error about a missing right who lacks it where.
    pub(crate) async fn explained<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        const WHO: &str =
            "SELECT quote_ident(current_user) AS who, coalesce(quote_ident(current_schema()), '') AS place";
        let Err(Error::MayNot { who: None, reason }) = outcome else { return outcome };
        let row = self.connection.query_one(Statement::from_string(DbBackend::Postgres, WHO)).await;
        let who = row
            .ok()
            .flatten()
            .and_then(|row| Some((row.try_get("", "who").ok()?, row.try_get("", "place").ok()?)));
        Err(Error::MayNot { who, reason })
    }
}

/// Begins a transaction that may change tables: it waits only a moment for a table that is in use, because everybody else would wait
/// behind it, and as long as it takes for what it does itself.
pub(crate) async fn begin(connection: &DatabaseConnection) -> Result<DatabaseTransaction, Error> {
    let transaction = connection.begin().await?;
    if connection.get_database_backend() == DbBackend::Postgres {
        transaction
            .execute_unprepared("SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = 0")
            .await?;
    }
    Ok(transaction)
}

/// Commits, unless a row of SQLite now refers to nothing (see [`unchecked`]).
pub(crate) async fn commit(transaction: DatabaseTransaction) -> Result<(), Error> {
    if transaction.get_database_backend() == DbBackend::Sqlite {
        let check = Statement::from_string(DbBackend::Sqlite, "PRAGMA foreign_key_check");
        if let Some(row) = transaction.query_one(check).await? {
            let (table, parent): (String, String) = (row.try_get("", "table")?, row.try_get("", "parent")?);
            transaction.rollback().await?;
            return Err(Error::Refused(format!(
                "rows of {table} would refer to rows of {parent} that are not there"
            )));
        }
    }
    Ok(transaction.commit().await?)
}

/// Runs `work` with the foreign keys of SQLite unenforced, as its manual wants it for changes of the schema: a table that is dropped to
/// be made anew would else take the rows that refer to it along. They can only be switched outside a transaction.
pub(crate) async fn unchecked<T>(
    connection: &DatabaseConnection,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    if connection.get_database_backend() != DbBackend::Sqlite {
        return work.await;
    }
    connection.execute_unprepared("PRAGMA foreign_keys = OFF").await?;
    let outcome = work.await;
    connection.execute_unprepared("PRAGMA foreign_keys = ON").await?;
    outcome
}

async fn write_record(transaction: &DatabaseTransaction, name: &str, way: Way) -> Result<(), Error> {
    let backend = transaction.get_database_backend();
    // The database's own clock: several machines write here, and nothing is decided by it.
    let now = if backend == DbBackend::Postgres {
        "extract(epoch FROM clock_timestamp())::bigint"
    } else {
        "unixepoch()"
    };
    let sql = match way {
        Way::Up => format!("INSERT INTO {RECORD} (version, applied_at) VALUES ($1, {now})"),
        Way::Down => format!("DELETE FROM {RECORD} WHERE version = $1"),
    };
    transaction.execute(Statement::from_sql_and_values(backend, sql, [name.into()])).await?;
    Ok(())
}
