//! What a worker may do to the store: register, hold its lease, claim, log, finish and retry. What others lost is reaped in `lost.rs`.
//!
//! Every write carries the attempt. What was stored is announced on the bus afterwards, never before.

mod lost;

pub use lost::Standing;

use crate::{
    App,
    metrics::{self, Cause},
};
use bifrost_domain::{
    error::{Error, Result},
    execution::{Claimed, Finish, LogBatch, ResultType, Status},
    ids::{ExecutionId, OrganizationId, UserId, WorkerId},
    messages::{ExecutionEvent, Finished, HistoryEvent, topics},
    organization::Organization,
    ports::objects::Error as ObjectsError,
    scope::Scope,
};
use bifrost_storage::{
    executions::hot::{Claim, Guarded},
    workers::NewWorker,
};
use bytes::Bytes;
use chrono::Duration;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

pub use bifrost_storage::{executions::hot::Guarded as Outcome, workers::NewWorker as Registration};

/// The code of an error that says that a large result has no room.
pub const OBJECTS_FULL: &str = "objects_full";

/// How an attempt ended, before it is stored.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Terminal status.
    pub status: Status,
    /// Result as JSON text. Shared: it may have megabytes, and is kept while its store is away.
    pub result: Option<Arc<str>>,
    /// How the result is shown.
    pub result_type: ResultType,
    /// Class of the error.
    pub error_type: Option<String>,
    /// Text for administrators.
    pub error_message: Option<String>,
    /// Text for everybody.
    pub user_message: Option<String>,
    /// Highest log sequence.
    pub last_sequence: i64,
    /// Highest memory of the child, bytes.
    pub peak_memory_bytes: Option<i64>,
    /// CPU time of the child, seconds.
    pub cpu_seconds: Option<f64>,
}

impl Ending {
    /// An end without result by the platform's own word.
    #[must_use]
    pub fn by_platform(status: Status, error_type: &str, message: &str, last_sequence: i64) -> Self {
        Self {
            status,
            result: None,
            result_type: ResultType::Json,
            error_type: Some(error_type.to_owned()),
            error_message: Some(message.to_owned()),
            user_message: Some(message.to_owned()),
            last_sequence,
            peak_memory_bytes: None,
            cpu_seconds: None,
        }
    }
}

impl App {
    /// Registers a worker with its first lease.
    ///
    /// # Errors
    /// The database is away.
    pub async fn register_worker(&self, worker: &NewWorker) -> Result<()> {
        Ok(self.doors.store.insert_worker(worker).await?)
    }

    /// Renews a worker's lease; false when it had ended: whatever the worker runs is no longer its own.
    ///
    /// # Errors
    /// The database is away.
    pub async fn renew_worker(&self, id: WorkerId, valid: Duration) -> Result<bool> {
        let now = self.doors.clock.now();
        Ok(self.doors.store.renew_worker(id, now + valid, now).await?)
    }

    /// Gives everything back: leases, and the worker's own.
    ///
    /// # Errors
    /// The database is away; the lease then runs out by itself.
    pub async fn stop_worker(&self, id: WorkerId) -> Result<()> {
        self.doors.store.release_leases(id).await?;
        Ok(self.doors.store.stop_worker(id, self.doors.clock.now()).await?)
    }

    /// Takes or renews the duty `name` for `valid`; true when this worker has it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn hold_duty(&self, name: &str, worker: WorkerId, valid: Duration) -> Result<bool> {
        let now = self.doors.clock.now();
        Ok(self.doors.store.hold_lease(name, worker, now + valid, now).await?)
    }

    /// Claims an execution; `None` when somebody has it or it has ended.
    ///
    /// # Errors
    /// The database is away.
    pub async fn claim(&self, id: ExecutionId, worker_id: WorkerId) -> Result<Option<Claimed>> {
        let asked = self.hot.claim(Claim { id, worker_id }).await;
        metrics::claimed(match &asked {
            Ok(Some(_)) => metrics::Claim::Won,
            Ok(None) => metrics::Claim::Lost,
            Err(_) => metrics::Claim::Failed,
        });
        let claimed = asked?;
        if let Some(run) = &claimed {
            metrics::waited(run.kind, run.started_at - run.due_at);
            self.publish(&topics::execution(id), &ExecutionEvent::Status { status: Status::Running });
            self.announce_history(run.scope, id, Status::Running, &run.workflow_name, run.executed_by);
        }
        Ok(claimed)
    }

    /// Whether the worker's lease is valid.
    ///
    /// # Errors
    /// The database is away.
    pub async fn holds_lease(&self, worker: WorkerId) -> Result<bool> {
        let living = self.reader.list_live_workers(self.doors.clock.now()).await?;
        Ok(living.iter().any(|one| one.id == worker))
    }

    /// Stores log lines, then announces them.
    ///
    /// # Errors
    /// The database is away: the caller keeps the lines and tries again.
    pub async fn write_logs(&self, batch: LogBatch) -> Result<Guarded> {
        let id = batch.id;
        let sequence = batch.lines.last().map_or(0, |line| line.sequence);
        let outcome = self.hot.write_logs(batch).await?;
        if outcome == Guarded::Written {
            self.publish(&topics::execution(id), &ExecutionEvent::Log { sequence });
        }
        Ok(outcome)
    }

    /// Stores the newest variables, then announces them.
    ///
    /// # Errors
    /// The database is away: the caller tries again, or has newer ones by then.
    pub async fn write_variables(&self, id: ExecutionId, attempt: i32, variables: &Value) -> Result<()> {
        let now = self.doors.clock.now();
        if let Some(version) = self.doors.store.put_variables(id, attempt, variables, now).await? {
            self.publish(&topics::execution(id), &ExecutionEvent::Variables { version });
        }
        Ok(())
    }

    /// Announces how far a run is; nothing is stored.
    pub fn announce_progress(&self, id: ExecutionId, fraction: f64, message: Option<String>) {
        self.publish(&topics::execution(id), &ExecutionEvent::Progress { fraction, message });
    }

    /// Ends an attempt: a large result goes to the object store first, then one guarded write, then the announcement.
    ///
    /// # Errors
    /// The database or the object store is away: the caller tries again.
    pub async fn finish(&self, claimed: &Claimed, ending: Ending) -> Result<Guarded> {
        let completed_at = self.doors.clock.now();
        let duration_ms = (completed_at - claimed.started_at).num_milliseconds().max(0);
        let result_bytes =
            ending.result.as_ref().map_or(0, |text| i64::try_from(text.len()).unwrap_or(i64::MAX));
        let (result, result_object) = match ending.result {
            Some(text) if text.len() > self.limits.inline_result_bytes => {
                let key = format!("results/{}/{}.json", claimed.id, claimed.attempt);
                let bytes = Bytes::from_owner(<Arc<[u8]>>::from(text));
                self.doors.objects.put(&key, bytes).await.map_err(|error| {
                    let refused = match error {
                        ObjectsError::Full(_) => Error::unavailable(format!(
                            "the disk of the object store is full; the result has {result_bytes} bytes"
                        ))
                        .with_code(OBJECTS_FULL),
                        _ => Error::unavailable("the object store is away"),
                    };
                    refused.with_source(error)
                })?;
                (None, Some(key))
            }
            small => (small, None),
        };
        let finish = Finish {
            id: claimed.id,
            attempt: claimed.attempt,
            status: ending.status,
            result,
            result_object,
            result_bytes,
            result_type: ending.result_type,
            error_type: ending.error_type.map(|name| name.chars().take(200).collect()),
            error_message: ending.error_message,
            user_message: ending.user_message,
            variables: None,
            last_sequence: ending.last_sequence,
            completed_at,
            duration_ms,
            peak_memory_bytes: ending.peak_memory_bytes,
            cpu_seconds: ending.cpu_seconds,
            scope: claimed.scope,
            workflow_name: claimed.workflow_name.clone(),
        };
        let outcome = self.hot.finish(finish).await?;
        if outcome == Guarded::Written {
            metrics::finished(claimed.kind, ending.status);
            metrics::ran(claimed.kind, duration_ms);
            self.announce_end(claimed.id, ending.status);
            let name = &claimed.workflow_name;
            self.announce_history(claimed.scope, claimed.id, ending.status, name, claimed.executed_by);
        }
        Ok(outcome)
    }

    /// Hands an attempt back for another one after `delay`; false when it is not the current one or was asked to end.
    ///
    /// # Errors
    /// The database is away.
    pub async fn retry(
        &self,
        id: ExecutionId,
        attempt: i32,
        delay: Duration,
        reason: &str,
        last_sequence: i64,
    ) -> Result<bool> {
        let now = self.doors.clock.now();
        let retried =
            self.doors.store.retry_execution(id, attempt, now + delay, reason, last_sequence, now).await?;
        if retried {
            metrics::retried(Cause::of(reason));
            self.publish(&topics::execution(id), &ExecutionEvent::Status { status: Status::Pending });
            self.wake_relay();
        }
        Ok(retried)
    }

    /// The organization that a run belongs to, for its `context`; `None` when it is gone or cannot be read now (the run
    /// goes on with its scope alone).
    pub async fn organization_for_run(&self, id: OrganizationId) -> Option<Organization> {
        self.reader.find_organization(id).await.unwrap_or_else(|error| {
            tracing::warn!(organization.id = %id, error = %error, "the run's organization was not read");
            None
        })
    }

    /// Where an execution stands, whoever's it is: for the worker that runs it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn status_of(&self, id: ExecutionId) -> Result<Option<Status>> {
        Ok(self.reader.find_status(id).await?)
    }

    /// The runs of a worker that were asked to end.
    ///
    /// # Errors
    /// The database is away.
    pub async fn list_cancelling(&self, worker: WorkerId) -> Result<Vec<ExecutionId>> {
        Ok(self.doors.store.list_cancelling(worker).await?)
    }

    /// Forgets workers that have been gone for a day, makes partitions for the days ahead, and removes people whose grace period has ended.
    ///
    /// # Errors
    /// The database is away.
    pub async fn upkeep(&self) -> Result<()> {
        let now = self.doors.clock.now();
        self.doors.store.ensure_partitions(now - Duration::days(1), now + Duration::days(14)).await?;
        self.doors.store.forget_workers(now - Duration::days(1)).await?;
        self.doors.store.forget_requests(now).await?;
        self.purge_people().await
    }

    pub(crate) fn announce_history(
        &self,
        scope: Scope,
        execution_id: ExecutionId,
        status: Status,
        workflow_name: &str,
        executed_by: UserId,
    ) {
        let event =
            HistoryEvent { execution_id, status, workflow_name: workflow_name.to_owned(), executed_by };
        self.publish(&topics::history(scope), &event);
    }

    pub(crate) fn announce_end(&self, id: ExecutionId, status: Status) {
        self.waiters.wake(id, status);
        self.publish(topics::FINISHED, &Finished { execution_id: id, status });
        self.publish(&topics::execution(id), &ExecutionEvent::Status { status });
    }

    pub(crate) fn publish<T: Serialize>(&self, topic: &str, event: &T) {
        match serde_json::to_vec(event) {
            Ok(body) => self.doors.bus.publish(topic, body.into()),
            Err(error) => tracing::error!(error = %error, "an event could not be written"),
        }
    }
}
