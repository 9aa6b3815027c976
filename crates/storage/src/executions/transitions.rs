//! Guarded transitions off the hot path: cancel, retry, and the newest variables.

use super::metrics;
use crate::{
    Error, Store,
    audit::Entry,
    dialect::{execute_in, execute_returning, get, parse, statement},
};
use bifrost_domain::{
    execution::{EventKind, Status},
    ids::{ExecutionId, UserId, WorkerId},
};
use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use uuid::Uuid;

/// What a request to cancel did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It had not begun and has ended.
    Cancelled,
    /// Its worker has been asked.
    Cancelling,
    /// It was asked before, or has ended as cancelled.
    Already(Status),
    /// It has ended otherwise.
    Finished(Status),
}

impl Store {
    /// Asks for the end of an execution. A waiting one ends at once and is counted; a running one goes to `Cancelling`. The line of the
    /// audit log is written with the change, if there is one.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn cancel_execution(
        &self,
        id: ExecutionId,
        by: UserId,
        now: DateTime<Utc>,
        line: Option<Entry>,
    ) -> Result<Option<CancelOutcome>, Error> {
        let detail = json!({ "by": by });
        let tx = self.db.begin().await?;
        // Locked before it is looked at: a claim, a retry or an end in between would leave an answer that was never true.
        let lock = if self.db.is_postgres() { "FOR UPDATE" } else { "" };
        let row = tx
            .inner
            .query_one(statement(
                &self.db,
                &format!("SELECT status FROM executions WHERE id = $1 {lock}"),
                [id.as_uuid().into()],
            ))
            .await?;
        let Some(row) = row else { return Ok(None) };
        let outcome = match parse(&row, "executions", "status")? {
            Status::Scheduled | Status::Pending => {
                execute_in(
                    &tx.inner,
                    "UPDATE executions SET status = 'Cancelled', cancel_requested_at = $2, completed_at = $2, duration_ms = 0, \
                     user_message = 'cancelled before it started' WHERE id = $1",
                    [id.as_uuid().into(), now.into()],
                )
                .await?;
                event(&tx.inner, id, now, 0, EventKind::CancelRequested, Some(&detail)).await?;
                event(&tx.inner, id, now, 0, EventKind::Finished, Some(&json!({ "status": "Cancelled" })))
                    .await?;
                count_end(&self.db, &tx.inner, id).await?;
                CancelOutcome::Cancelled
            }
            Status::Running => {
                execute_in(
                    &tx.inner,
                    "UPDATE executions SET status = 'Cancelling', cancel_requested_at = $2 WHERE id = $1",
                    [id.as_uuid().into(), now.into()],
                )
                .await?;
                event(&tx.inner, id, now, 0, EventKind::CancelRequested, Some(&detail)).await?;
                CancelOutcome::Cancelling
            }
            status @ (Status::Cancelling | Status::Cancelled) => CancelOutcome::Already(status),
            other => CancelOutcome::Finished(other),
        };
        if let (CancelOutcome::Cancelled | CancelOutcome::Cancelling, Some(line)) = (outcome, line) {
            tx.insert_audit(line).await?;
        }
        tx.commit().await?;
        Ok(Some(outcome))
    }

    /// `Running → Pending` for another attempt at `not_before`; false when the attempt is not the current one, or was asked to end.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn retry_execution(
        &self,
        id: ExecutionId,
        attempt: i32,
        not_before: DateTime<Utc>,
        reason: &str,
        last_sequence: i64,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let tx = self.db.begin().await?;
        let changed = execute_in(
            &tx.inner,
            "UPDATE executions SET status = 'Pending', worker_id = NULL, dispatched_at = NULL, dispatch_count = 0, \
             not_before = $3, last_sequence = $4 WHERE id = $1 AND attempt = $2 AND status = 'Running'",
            [id.as_uuid().into(), attempt.into(), not_before.into(), last_sequence.into()],
        )
        .await?;
        if changed == 0 {
            return Ok(false);
        }
        let detail = json!({ "reason": reason, "not_before": not_before });
        event(&tx.inner, id, now, attempt, EventKind::Retrying, Some(&detail)).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Stores the newest variables of an attempt and returns their version, which counts up from 1 over all attempts; `None` when the
    /// attempt is not the current one. One attempt's are written one after the other.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn put_variables(
        &self,
        id: ExecutionId,
        attempt: i32,
        variables: &Value,
        now: DateTime<Utc>,
    ) -> Result<Option<i32>, Error> {
        // As with lines: who takes the run meanwhile waits for this, or this sees that it is taken.
        let lock = if self.db.is_postgres() { "FOR SHARE" } else { "" };
        let row = execute_returning(
            &self.db,
            &format!(
                "INSERT INTO execution_variables (execution_id, attempt, version, variables, updated_at) \
                 SELECT id, attempt, 1, $3, $4 FROM executions WHERE id = $1 AND attempt = $2 \
                 AND status IN ('Running', 'Cancelling') {lock} \
                 ON CONFLICT (execution_id) DO UPDATE SET attempt = excluded.attempt, version = execution_variables.version + 1, \
                 variables = excluded.variables, updated_at = excluded.updated_at \
                 WHERE execution_variables.attempt <= excluded.attempt RETURNING version"
            ),
            [id.as_uuid().into(), attempt.into(), variables.clone().into(), now.into()],
        )
        .await?;
        row.map(|row| get(&row, "execution_variables", "version")).transpose()
    }

    /// The runs of a worker that were asked to end, so that a lost message does not keep one alive.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn list_cancelling(&self, worker_id: WorkerId) -> Result<Vec<ExecutionId>, Error> {
        let rows = crate::dialect::all(
            &self.db,
            "SELECT id FROM executions WHERE status = 'Cancelling' AND worker_id = $1",
            [worker_id.as_uuid().into()],
        )
        .await?;
        rows.iter().map(|row| Ok(ExecutionId::from_uuid(get(row, "executions", "id")?))).collect()
    }

    /// Makes the daily partitions from `first` to `last` where they are missing; nothing on SQLite. Returns how many were made.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn ensure_partitions(&self, first: DateTime<Utc>, last: DateTime<Utc>) -> Result<i32, Error> {
        if !self.db.is_postgres() {
            return Ok(0);
        }
        let row = self
            .db
            .writer()
            .query_one(statement(
                &self.db,
                "SELECT bifrost_ensure_partitions($1, $2) AS made",
                [first.into(), last.into()],
            ))
            .await?;
        row.map_or(Ok(0), |row| get(&row, "executions", "made"))
    }
}

pub(super) async fn event<C: ConnectionTrait>(
    connection: &C,
    id: ExecutionId,
    at: DateTime<Utc>,
    attempt: i32,
    event: EventKind,
    detail: Option<&Value>,
) -> Result<(), Error> {
    execute_in(
        connection,
        "INSERT INTO execution_events (execution_id, at, attempt, event, detail) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT DO NOTHING",
        [id.as_uuid().into(), at.into(), attempt.into(), event.as_str().into(), detail.cloned().into()],
    )
    .await?;
    Ok(())
}

pub(super) async fn count_end<C: ConnectionTrait>(
    db: &crate::Db,
    connection: &C,
    id: ExecutionId,
) -> Result<(), Error> {
    let (scope, date) = if db.is_postgres() {
        ("coalesce(organization_id::text, 'GLOBAL')", "(completed_at AT TIME ZONE 'UTC')::date")
    } else {
        // An organization's id as text, from its sixteen bytes (`hex` of NULL is an empty text).
        (
            "CASE WHEN organization_id IS NULL THEN 'GLOBAL' ELSE \
             lower(substr(hex(organization_id), 1, 8) || '-' || substr(hex(organization_id), 9, 4) || '-' || \
             substr(hex(organization_id), 13, 4) || '-' || substr(hex(organization_id), 17, 4) || '-' || \
             substr(hex(organization_id), 21)) END",
            "substr(completed_at, 1, 10)",
        )
    };
    let done = format!(
        "(SELECT completed_at, {scope} AS scope, workflow_name, status, duration_ms, cpu_seconds, peak_memory_bytes \
         FROM executions WHERE id = $1) AS done"
    );
    execute_in(connection, &metrics::upsert(&done, date), [id.as_uuid().into()]).await?;
    Ok(())
}

/// `$1, $2, …` for a list of ids.
pub(super) fn id_list(ids: impl Iterator<Item = Uuid>) -> (String, Vec<sea_orm::Value>) {
    let values: Vec<sea_orm::Value> = ids.map(Into::into).collect();
    let list = (1..=values.len()).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
    (list, values)
}
