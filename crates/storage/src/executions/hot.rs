//! The hot path of a run: submit, claim, log, finish. Each goes through a coalescer, so that under load many runs share a
//! statement and a commit.

use super::{postgres, sqlite};
use crate::{Db, Error, Store, coalescer::Coalescer, db::Pools};
use bifrost_domain::{
    clock::SharedClock,
    execution::{Claimed, Finish, LogBatch, NewExecution},
    ids::{ExecutionId, WorkerId},
};

/// Rows of one batch at most: large enough for a commit to be shared, small enough for its wait.
pub(super) const MAX_BATCH: usize = 256;
/// Batches of log lines that share a statement at most.
pub(super) const MAX_LOG_BATCH: usize = 64;

/// A claim: the worker asks for the execution.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// The execution.
    pub id: ExecutionId,
    /// The worker; its lease has to be valid.
    pub worker_id: WorkerId,
}

/// What became of a submitted execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepted {
    /// It is there.
    Yes,
    /// Its organization is not: nothing was inserted.
    NoOrganization,
}

impl Accepted {
    pub(super) const fn when(is_there: bool) -> Self {
        if is_there { Self::Yes } else { Self::NoOrganization }
    }
}

/// What became of a guarded write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarded {
    /// It is written.
    Written,
    /// The attempt is not the current one any more (or the run has ended): nothing was written.
    Stale,
}

/// The coalescers of one process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HotPath {
    submit: Coalescer<NewExecution, Accepted>,
    claim: Coalescer<Claim, Option<Claimed>>,
    logs: Coalescer<LogBatch, Guarded>,
    finish: Coalescer<Finish, Guarded>,
}

impl HotPath {
    /// Starts the writing tasks.
    #[must_use]
    pub fn start(store: &Store, clock: &SharedClock) -> Self {
        let db: &Db = store.db();
        let watched = || db.writes.clone();
        match &db.pools {
            Pools::Postgres(pool) => Self {
                submit: Coalescer::spawn(
                    "submit",
                    watched().watched(postgres::Submit::new(pool.clone())),
                    MAX_BATCH,
                ),
                claim: Coalescer::spawn(
                    "claim",
                    watched().watched(postgres::Claims::new(pool.clone(), clock.clone())),
                    MAX_BATCH,
                ),
                logs: Coalescer::spawn(
                    "logs",
                    watched().watched(postgres::Logs::new(pool.clone())),
                    MAX_LOG_BATCH,
                ),
                finish: Coalescer::spawn(
                    "finish",
                    watched().watched(postgres::Finishes::new(pool.clone())),
                    MAX_BATCH,
                ),
            },
            Pools::Sqlite { write, .. } => Self {
                submit: Coalescer::spawn(
                    "submit",
                    watched().watched(sqlite::Submit(write.clone())),
                    MAX_BATCH,
                ),
                claim: Coalescer::spawn(
                    "claim",
                    watched().watched(sqlite::Claims(write.clone(), clock.clone())),
                    MAX_BATCH,
                ),
                logs: Coalescer::spawn("logs", watched().watched(sqlite::Logs(write.clone())), MAX_LOG_BATCH),
                finish: Coalescer::spawn(
                    "finish",
                    watched().watched(sqlite::Finishes(write.clone())),
                    MAX_BATCH,
                ),
            },
        }
    }

    /// Inserts the execution: when this returns it is accepted and can be read. An id that is there already stays as it is.
    ///
    /// # Errors
    /// Away (nothing was accepted as far as is known; the id tells), no organization of its scope, or the statement's.
    pub async fn submit(&self, execution: NewExecution) -> Result<(), Error> {
        match self.submit.write(execution).await? {
            Accepted::Yes => Ok(()),
            Accepted::NoOrganization => Err(Error::NoOrganization),
        }
    }

    /// `Pending → Running`, attempt + 1; `None` when somebody has it, it was cancelled, or the worker's lease is over.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn claim(&self, claim: Claim) -> Result<Option<Claimed>, Error> {
        self.claim.write(claim).await
    }

    /// Stores numbered log lines of an attempt.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn write_logs(&self, batch: LogBatch) -> Result<Guarded, Error> {
        self.logs.write(batch).await
    }

    /// Ends an attempt, with its events and the daily numbers, in one commit.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn finish(&self, finish: Finish) -> Result<Guarded, Error> {
        self.finish.write(finish).await
    }
}
