//! The connection that a batch writer on PostgreSQL keeps to itself, and what is bound to its statements.

use crate::Error;
use sqlx::{
    Arguments as _, Executor as _, PgConnection, PgPool, Postgres,
    error::BoxDynError,
    postgres::{PgArguments, PgRow},
};
use std::time::Duration;

/// What a writer's connection plans by. A batch is always the same walk: the rows by primary key, one after the other, in the
/// partitions that its bounds leave. With the other ways ruled out one plan fits every batch, however empty the tables were when it was
/// made, and planning, which costs more than executing (docs/performance.md), is done once per connection.
const PLANNING: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; \
    SET enable_mergejoin = off";

/// A connection that is kept between batches and replaced after an error. It is taken out of the pool for good: a pool counts
/// what it lent, so that a small one would have nothing left for others, and closing it would wait for ever.
pub(super) struct Kept {
    pool: PgPool,
    connection: Option<PgConnection>,
}

impl Kept {
    pub(super) const fn new(pool: PgPool) -> Self {
        Self { pool, connection: None }
    }

    /// Runs one batch; after an error that is not about the data, once more on a fresh connection: statements here are
    /// guarded, so that a repetition whose first try did commit changes nothing.
    pub(super) async fn run(
        &mut self,
        sql: &str,
        arguments: impl Fn() -> Arguments + Send,
    ) -> Result<Vec<PgRow>, Error> {
        let mut second = false;
        let mut deadlocks = 0;
        loop {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => {
                    second = true;
                    let mut fresh = self.pool.acquire().await?.detach();
                    fresh.execute(PLANNING).await?;
                    fresh
                }
            };
            let query = sqlx::query_with(sql, arguments().done()?);
            let answered = tokio::time::timeout(BATCH_PATIENCE, query.fetch_all(&mut connection)).await;
            match answered.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                Ok(rows) => {
                    self.connection = Some(connection);
                    return Ok(rows);
                }
                Err(error) if deadlocks < DEADLOCKS && is_deadlock(&error) => {
                    // All of it was rolled back, and the other side has gone on.
                    deadlocks += 1;
                    self.connection = Some(connection);
                }
                Err(error) => {
                    let error = Error::from(error);
                    if !error.is_away() {
                        self.connection = Some(connection);
                        return Err(error);
                    }
                    // The server closed it; a pool that is full of such connections is emptied one by one here.
                    drop(connection);
                    if second {
                        return Err(error);
                    }
                }
            }
        }
    }
}

/// A batch that is not answered within this time counts as lost with its connection: a network that drops packets silently would keep it,
/// and everything behind it, for a quarter of an hour.
const BATCH_PATIENCE: Duration = Duration::from_secs(10);
/// How often a batch that lost a deadlock is repeated.
const DEADLOCKS: u32 = 3;

/// 40P01, PostgreSQL, appendix A.
fn is_deadlock(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == "40P01")
}

/// Bound values, each a column of the batch; the first error is kept until the end.
pub(super) struct Arguments(Result<PgArguments, BoxDynError>);

impl Arguments {
    pub(super) fn new() -> Self {
        Self(Ok(PgArguments::default()))
    }

    pub(super) fn bind<'q, T: sqlx::Encode<'q, Postgres> + sqlx::Type<Postgres> + 'q>(
        self,
        value: T,
    ) -> Self {
        Self(self.0.and_then(|mut arguments| arguments.add(value).map(|()| arguments)))
    }

    fn done(self) -> Result<PgArguments, Error> {
        self.0.map_err(|error| Error::Statement(sqlx::Error::Encode(error)))
    }
}
