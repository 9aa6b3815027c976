//! Runs whose worker is gone, and how they are taken from it.

use super::transitions::{count_end, event};
use crate::{
    Error, Store,
    dialect::{execute_in, get, parse, statement},
};
use bifrost_domain::{
    definition::RetryPolicy,
    execution::{EventKind, Kind, LogLevel, Status},
    ids::{ExecutionId, OrganizationId, UserId, WorkerId},
    scope::Scope,
};
use chrono::{DateTime, Duration, Utc};
use sea_orm::{ConnectionTrait, QueryResult};
use serde_json::{Value, json};
use uuid::Uuid;

/// Most runs that one look for lost ones returns.
pub const LOST_PAGE: usize = 200;

/// A run whose worker is gone.
#[derive(Debug, Clone)]
pub struct Lost {
    /// The execution.
    pub id: ExecutionId,
    /// What it does.
    pub kind: Kind,
    /// The attempt that was lost.
    pub attempt: i32,
    /// Its worker.
    pub worker_id: WorkerId,
    /// Whether it is tried again.
    pub retry_policy: Option<RetryPolicy>,
    /// Whose it is.
    pub scope: Scope,
    /// Name of the workflow.
    pub workflow_name: String,
    /// Who started it.
    pub executed_by: UserId,
    /// When the lost attempt began.
    pub started_at: DateTime<Utc>,
    /// Highest log sequence that the row knows of: that of the attempt before.
    pub last_sequence: i64,
}

/// What is written into a run that is taken from a worker that is gone.
#[derive(Debug, Clone, Copy)]
pub struct Reaping {
    /// Another attempt at this time, unless somebody has asked for the end of the run.
    pub not_before: Option<DateTime<Utc>>,
    /// Class of the error of a run that ends.
    pub error_type: &'static str,
    /// Its text for administrators.
    pub error_message: &'static str,
    /// Its text for everybody.
    pub user_message: &'static str,
    /// The line of the log, by where the run goes.
    pub line: fn(Status) -> &'static str,
}

/// A run that was taken from a worker that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reaped {
    /// `Pending` for another attempt, else how it ended.
    pub status: Status,
    /// Number of the line that says so.
    pub sequence: i64,
}

impl Store {
    /// Runs of workers whose lease ended before `before`, or that stopped: at most [`LOST_PAGE`] by id, after `after`.
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn list_lost(
        &self,
        before: DateTime<Utc>,
        after: Option<ExecutionId>,
    ) -> Result<Vec<Lost>, Error> {
        let rows = crate::dialect::all(
            &self.db,
            "SELECT e.id, e.kind, e.attempt, e.worker_id, e.retry_policy, e.organization_id, e.workflow_name, e.executed_by, e.started_at, \
             e.last_sequence FROM executions e LEFT JOIN workers w ON w.id = e.worker_id WHERE e.status IN ('Running', 'Cancelling') \
             AND (w.id IS NULL OR w.lease_until < $1 OR w.stopped_at < $1) AND e.id > $2 ORDER BY e.id LIMIT 200",
            [before.into(), after.map_or(Uuid::nil(), ExecutionId::as_uuid).into()],
        )
        .await?;
        rows.iter().map(lost_of).collect()
    }

    /// The runs that the store says `worker_id` has: at most 2,000.
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn list_runs_of(&self, worker_id: WorkerId) -> Result<Vec<Lost>, Error> {
        let rows = crate::dialect::all(
            &self.db,
            "SELECT e.id, e.kind, e.attempt, e.worker_id, e.retry_policy, e.organization_id, e.workflow_name, e.executed_by, \
             e.started_at, e.last_sequence FROM executions e WHERE e.status IN ('Running', 'Cancelling') AND e.worker_id = $1 \
             ORDER BY e.id LIMIT 2000",
            [worker_id.as_uuid().into()],
        )
        .await?;
        rows.iter().map(lost_of).collect()
    }

    /// Takes a run from a worker that is gone, in one commit: another attempt, or the end (`Cancelled` when somebody has asked for it,
    /// else `Failed`), and the line that says so. `None` when the attempt has ended or is not the current one any more.
    ///
    /// From here on nothing of the old attempt is stored, so that the line's number is nobody else's.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn reap_execution(
        &self,
        lost: &Lost,
        reaping: &Reaping,
        now: DateTime<Utc>,
    ) -> Result<Option<Reaped>, Error> {
        let id = lost.id.as_uuid();
        let tx = self.db.begin().await?;
        let lock = if self.db.is_postgres() { "FOR UPDATE" } else { "" };
        let sql = format!(
            "SELECT status, last_sequence FROM executions WHERE id = $1 AND attempt = $2 AND status IN ('Running', 'Cancelling') {lock}"
        );
        let row = tx.inner.query_one(statement(&self.db, &sql, [id.into(), lost.attempt.into()])).await?;
        let Some(row) = row else { return Ok(None) };
        // Asked behind the lock: a batch of lines that was on its way is stored by now.
        let logged = tx
            .inner
            .query_one(statement(
                &self.db,
                "SELECT coalesce(max(sequence), 0) AS sequence FROM execution_logs WHERE execution_id = $1",
                [id.into()],
            ))
            .await?;
        let logged: i64 = logged.map_or(Ok(0), |row| get(&row, "execution_logs", "sequence"))?;
        let sequence = logged.max(get(&row, "executions", "last_sequence")?) + 1;
        let (status, not_before) = match (parse(&row, "executions", "status")?, reaping.not_before) {
            (Status::Cancelling, _) => (Status::Cancelled, None),
            (_, Some(at)) => (Status::Pending, Some(at)),
            (_, None) => (Status::Failed, None),
        };
        let detail = json!({ "worker_id": lost.worker_id });
        event(&tx.inner, lost.id, now, lost.attempt, EventKind::WorkerLost, Some(&detail)).await?;
        // What follows from it comes behind it in the timeline.
        let then = now + Duration::microseconds(1);
        if let Some(at) = not_before {
            execute_in(
                &tx.inner,
                "UPDATE executions SET status = 'Pending', worker_id = NULL, dispatched_at = NULL, dispatch_count = 0, \
                 not_before = $2, last_sequence = $3 WHERE id = $1",
                [id.into(), at.into(), sequence.into()],
            )
            .await?;
            let detail = json!({ "reason": reaping.error_type, "not_before": at });
            event(&tx.inner, lost.id, then, lost.attempt, EventKind::Retrying, Some(&detail)).await?;
        } else {
            execute_in(
                &tx.inner,
                "UPDATE executions SET status = $2, error_type = $3, error_message = $4, user_message = $5, result_bytes = 0, \
                 last_sequence = $6, completed_at = $7, duration_ms = $8 WHERE id = $1",
                [
                    id.into(),
                    status.as_str().into(),
                    reaping.error_type.into(),
                    reaping.error_message.into(),
                    reaping.user_message.into(),
                    sequence.into(),
                    then.into(),
                    (then - lost.started_at).num_milliseconds().max(0).into(),
                ],
            )
            .await?;
            let detail = json!({ "status": status.as_str() });
            event(&tx.inner, lost.id, then, lost.attempt, EventKind::Finished, Some(&detail)).await?;
            count_end(&self.db, &tx.inner, lost.id).await?;
        }
        execute_in(
            &tx.inner,
            "INSERT INTO execution_logs (execution_id, sequence, attempt, level, message, logged_at) VALUES ($1, $2, $3, $4, $5, $6)",
            [
                id.into(),
                sequence.into(),
                lost.attempt.into(),
                LogLevel::Error.as_str().into(),
                (reaping.line)(status).into(),
                now.into(),
            ],
        )
        .await?;
        tx.commit().await?;
        Ok(Some(Reaped { status, sequence }))
    }
}

fn lost_of(row: &QueryResult) -> Result<Lost, Error> {
    let retry: Option<Value> = get(row, "executions", "retry_policy")?;
    let organization: Option<Uuid> = get(row, "executions", "organization_id")?;
    let worker: Option<Uuid> = get(row, "executions", "worker_id")?;
    Ok(Lost {
        id: ExecutionId::from_uuid(get(row, "executions", "id")?),
        kind: parse(row, "executions", "kind")?,
        attempt: get(row, "executions", "attempt")?,
        worker_id: WorkerId::from_uuid(worker.unwrap_or(Uuid::nil())),
        retry_policy: retry.and_then(|policy| serde_json::from_value(policy).ok()),
        scope: Scope::from(organization.map(OrganizationId::from_uuid)),
        workflow_name: get(row, "executions", "workflow_name")?,
        executed_by: UserId::from_uuid(get(row, "executions", "executed_by")?),
        started_at: get(row, "executions", "started_at")?,
        last_sequence: get(row, "executions", "last_sequence")?,
    })
}
