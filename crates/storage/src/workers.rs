//! Worker processes and their leases.

use crate::{
    Error, Reader, Store,
    dialect::{all, execute, execute_urgently, get},
};
use bifrost_domain::ids::WorkerId;
use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

/// A worker as it registers itself.
#[derive(Debug, Clone)]
pub struct NewWorker {
    /// Made at start.
    pub id: WorkerId,
    /// Host and process, for people.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Runs at a time.
    pub slots: i32,
    /// Walls, Python version, …
    pub info: Value,
    /// Start.
    pub started_at: DateTime<Utc>,
    /// First lease.
    pub lease_until: DateTime<Utc>,
}

/// A living worker.
#[derive(Debug, Clone)]
pub struct LiveWorker {
    /// The worker.
    pub id: WorkerId,
    /// Host and process.
    pub name: String,
    /// Runs at a time.
    pub slots: i32,
    /// Until when it counts as alive without a word.
    pub lease_until: DateTime<Utc>,
}

impl Store {
    /// Registers a worker.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn insert_worker(&self, worker: &NewWorker) -> Result<(), Error> {
        execute(
            &self.db,
            "INSERT INTO workers (id, name, version, slots, info, started_at, lease_until) VALUES ($1, $2, $3, $4, $5, $6, $7)",
            [
                worker.id.as_uuid().into(),
                worker.name.as_str().into(),
                worker.version.as_str().into(),
                worker.slots.into(),
                worker.info.clone().into(),
                worker.started_at.into(),
                worker.lease_until.into(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Renews a lease that is still valid; false when it ended: the worker then has nothing any more. On a connection of its own: whatever
    /// the others do, runs must not end for want of one.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn renew_worker(
        &self,
        id: WorkerId,
        lease_until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let changed = execute_urgently(
            &self.db,
            "UPDATE workers SET lease_until = $2 WHERE id = $1 AND lease_until > $3 AND stopped_at IS NULL",
            [id.as_uuid().into(), lease_until.into(), now.into()],
        )
        .await?;
        Ok(changed > 0)
    }

    /// Records that a worker stopped by itself: what it still has is taken at once.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn stop_worker(&self, id: WorkerId, now: DateTime<Utc>) -> Result<(), Error> {
        execute(
            &self.db,
            "UPDATE workers SET stopped_at = $2 WHERE id = $1 AND stopped_at IS NULL",
            [id.as_uuid().into(), now.into()],
        )
        .await?;
        Ok(())
    }

    /// Forgets workers that have been gone since `before` and have no run.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn forget_workers(&self, before: DateTime<Utc>) -> Result<u64, Error> {
        execute(
            &self.db,
            "DELETE FROM workers WHERE lease_until < $1 AND NOT EXISTS (SELECT 1 FROM executions e \
             WHERE e.worker_id = workers.id AND e.status IN ('Running', 'Cancelling'))",
            [before.into()],
        )
        .await
    }
}

impl Reader {
    /// Workers with a valid lease.
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn list_live_workers(&self, now: DateTime<Utc>) -> Result<Vec<LiveWorker>, Error> {
        let rows = all(
            &self.db,
            "SELECT id, name, slots, lease_until FROM workers WHERE lease_until > $1 AND stopped_at IS NULL ORDER BY id",
            [now.into()],
        )
        .await?;
        rows.iter()
            .map(|row| {
                Ok(LiveWorker {
                    id: WorkerId::from_uuid(get::<Uuid>(row, "workers", "id")?),
                    name: get(row, "workers", "name")?,
                    slots: get(row, "workers", "slots")?,
                    lease_until: get(row, "workers", "lease_until")?,
                })
            })
            .collect()
    }
}
