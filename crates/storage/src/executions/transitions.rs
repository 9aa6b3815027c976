//! Guarded transitions off the hot path: cancel, retry, dispatch stamps, and what the reaper needs.

use super::metrics;
use crate::{
    Error, Store,
    dialect::{execute, execute_in, get, parse, statement},
};
use bifrost_domain::{
    clock::floor_id,
    definition::RetryPolicy,
    execution::{EventKind, Kind, LogLevel, Status},
    ids::{ExecutionId, OrganizationId, UserId, WorkerId},
    scope::Scope,
};
use chrono::{DateTime, Duration, Utc};
use sea_orm::{ConnectionTrait, QueryResult};
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

/// An execution that waits for dispatch and was reserved for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserved {
    /// The execution.
    pub id: ExecutionId,
    /// Names its queue.
    pub kind: Kind,
}

/// A run whose worker is gone.
#[derive(Debug, Clone)]
pub struct Lost {
    /// The execution.
    pub id: ExecutionId,
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

/// What one reservation looks at: the oldest waiting rows, so that a long backlog is not walked for each handful of it, and the
/// newest, so that an organization that comes after somebody else's backlog has its turn at once.
pub const RESERVE_OLDEST: u32 = 2_000;
/// See [`RESERVE_OLDEST`].
pub const RESERVE_NEWEST: u32 = 500;
/// No id is so far ahead of the clock: partitions made for later days hold nothing that waits and need not be planned for.
const AHEAD: Duration = Duration::days(1);

/// First wait before a dispatched and unclaimed row is dispatched again; doubles with each dispatch.
const REDISPATCH_FIRST: Duration = Duration::seconds(30);
/// Longest such wait.
const REDISPATCH_LONGEST: Duration = Duration::minutes(15);

impl Store {
    /// Asks for the end of an execution. A waiting one ends at once and is counted; a running one goes to `Cancelling`.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn cancel_execution(
        &self,
        id: ExecutionId,
        by: UserId,
        now: DateTime<Utc>,
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

    /// Stores the newest variables of an attempt; false when the attempt is not the current one.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn put_variables(
        &self,
        id: ExecutionId,
        attempt: i32,
        version: i32,
        variables: &Value,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let changed = execute(
            &self.db,
            "INSERT INTO execution_variables (execution_id, attempt, version, variables, updated_at) \
             SELECT id, attempt, $3, $4, $5 FROM executions WHERE id = $1 AND attempt = $2 AND status IN ('Running', 'Cancelling') \
             ON CONFLICT (execution_id) DO UPDATE SET attempt = excluded.attempt, version = excluded.version, \
             variables = excluded.variables, updated_at = excluded.updated_at \
             WHERE execution_variables.attempt < excluded.attempt OR execution_variables.version < excluded.version",
            [
                id.as_uuid().into(),
                attempt.into(),
                version.into(),
                variables.clone().into(),
                now.into(),
            ],
        )
        .await?;
        Ok(changed > 0)
    }

    /// Takes back the dispatch stamps of rows that are still unclaimed (their publish was not confirmed).
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn clear_stamps(&self, ids: &[ExecutionId]) -> Result<u64, Error> {
        let mut cleared = 0;
        for chunk in ids.chunks(500) {
            let (list, values) = id_list(chunk.iter().map(|id| id.as_uuid()));
            let sql = format!(
                "UPDATE executions SET dispatched_at = NULL WHERE status = 'Pending' AND dispatched_at IS NOT NULL AND id IN ({list})"
            );
            cleared += execute(&self.db, &sql, values).await?;
        }
        Ok(cleared)
    }

    /// Takes back the stamps of at most `limit` unclaimed rows that were dispatched before `before`: after a broker came back
    /// its messages may be gone.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn clear_stamps_before(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, Error> {
        execute(
            &self.db,
            "UPDATE executions SET dispatched_at = NULL WHERE id IN (SELECT id FROM executions WHERE status = 'Pending' \
             AND dispatched_at < $1 ORDER BY id LIMIT $2) AND status = 'Pending'",
            [before.into(), i64::from(limit).into()],
        )
        .await
    }

    /// Finds rows that were dispatched and stayed unclaimed for 30 s, doubling with each dispatch to 15 min, and takes back
    /// their stamps.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn clear_overdue_stamps(&self, now: DateTime<Utc>) -> Result<u64, Error> {
        let rows = crate::dialect::all(
            &self.db,
            "SELECT id, dispatched_at, dispatch_count FROM executions WHERE status = 'Pending' AND dispatched_at < $1 \
             ORDER BY dispatched_at LIMIT 500",
            [(now - REDISPATCH_FIRST).into()],
        )
        .await?;
        let mut overdue = Vec::new();
        for row in &rows {
            let at: DateTime<Utc> = get(row, "executions", "dispatched_at")?;
            let count: i32 = get(row, "executions", "dispatch_count")?;
            let doublings = count.saturating_sub(1).clamp(0, 10);
            let wait = (REDISPATCH_FIRST * 2_i32.pow(doublings.unsigned_abs())).min(REDISPATCH_LONGEST);
            if at + wait <= now {
                overdue.push(ExecutionId::from_uuid(get(row, "executions", "id")?));
            }
        }
        self.clear_stamps(&overdue).await
    }

    /// Reserves at most `limit` due rows for dispatch: stamps them and returns them. Organizations take turns.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn reserve_due(&self, limit: u32, now: DateTime<Utc>) -> Result<Vec<Reserved>, Error> {
        let lock = if self.db.is_postgres() { "FOR UPDATE SKIP LOCKED" } else { "" };
        let waiting = "SELECT id, organization_id FROM executions WHERE status IN ('Scheduled', 'Pending') AND dispatched_at IS NULL \
             AND (not_before IS NULL OR not_before <= $1) AND id < $3";
        let sql = format!(
            "UPDATE executions SET status = 'Pending', dispatched_at = $1, dispatch_count = dispatch_count + 1 \
             WHERE id IN (SELECT id FROM executions WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER \
             (PARTITION BY organization_id ORDER BY id) AS turn FROM (\
             SELECT * FROM ({waiting} ORDER BY id LIMIT {RESERVE_OLDEST}) AS oldest \
             UNION SELECT * FROM ({waiting} ORDER BY id DESC LIMIT {RESERVE_NEWEST}) AS newest) AS looked_at) AS waiting \
             ORDER BY turn, id LIMIT $2) {lock}) \
             AND dispatched_at IS NULL AND status IN ('Scheduled', 'Pending') RETURNING id, kind"
        );
        let rows = self
            .db
            .writer()
            .query_all(statement(&self.db, &sql, [now.into(), i64::from(limit).into(), ahead(now).into()]))
            .await?;
        let mut reserved = rows
            .iter()
            .map(|row| {
                Ok(Reserved {
                    id: ExecutionId::from_uuid(get(row, "executions", "id")?),
                    kind: parse(row, "executions", "kind")?,
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        reserved.sort_by_key(|reserved| reserved.id);
        Ok(reserved)
    }

    /// Counts what is dispatched and unclaimed, and what waits for dispatch, each up to `limit`: how full the broker is.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn count_waiting(&self, limit: u32, now: DateTime<Utc>) -> Result<(u32, u32), Error> {
        let row = crate::dialect::one(
            &self.db,
            "SELECT (SELECT count(*) FROM (SELECT 1 FROM executions WHERE status = 'Pending' AND dispatched_at IS NOT NULL \
             AND id < $3 LIMIT $1) AS d) AS dispatched, (SELECT count(*) FROM (SELECT 1 FROM executions WHERE \
             status IN ('Scheduled', 'Pending') AND dispatched_at IS NULL AND (not_before IS NULL OR not_before <= $2) \
             AND id < $3 LIMIT $1) AS w) AS waiting",
            [i64::from(limit).into(), now.into(), ahead(now).into()],
        )
        .await?;
        let Some(row) = row else { return Ok((0, 0)) };
        let dispatched: i64 = get(&row, "executions", "dispatched")?;
        let waiting: i64 = get(&row, "executions", "waiting")?;
        Ok((u32::try_from(dispatched).unwrap_or(u32::MAX), u32::try_from(waiting).unwrap_or(u32::MAX)))
    }

    /// When the next delayed row is due, if any.
    ///
    /// # Errors
    /// Away, or the statement's.
    pub async fn next_due(&self) -> Result<Option<DateTime<Utc>>, Error> {
        let row = crate::dialect::one(
            &self.db,
            "SELECT not_before FROM executions WHERE status IN ('Scheduled', 'Pending') AND dispatched_at IS NULL \
             AND not_before IS NOT NULL ORDER BY not_before LIMIT 1",
            [],
        )
        .await?;
        row.map(|row| get(&row, "executions", "not_before")).transpose()
    }

    /// Runs of workers whose lease ended before `before`, or that stopped: at most 200.
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn list_lost(&self, before: DateTime<Utc>) -> Result<Vec<Lost>, Error> {
        let rows = crate::dialect::all(
            &self.db,
            "SELECT e.id, e.attempt, e.worker_id, e.retry_policy, e.organization_id, e.workflow_name, e.executed_by, e.started_at, \
             e.last_sequence FROM executions e LEFT JOIN workers w ON w.id = e.worker_id WHERE e.status IN ('Running', 'Cancelling') \
             AND (w.id IS NULL OR w.lease_until < $1 OR w.stopped_at < $1) ORDER BY e.id LIMIT 200",
            [before.into()],
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
            "SELECT e.id, e.attempt, e.worker_id, e.retry_policy, e.organization_id, e.workflow_name, e.executed_by, \
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

/// Above every id that exists at `now`.
fn ahead(now: DateTime<Utc>) -> Uuid {
    floor_id(now + AHEAD)
}

fn lost_of(row: &QueryResult) -> Result<Lost, Error> {
    let retry: Option<Value> = get(row, "executions", "retry_policy")?;
    let organization: Option<Uuid> = get(row, "executions", "organization_id")?;
    let worker: Option<Uuid> = get(row, "executions", "worker_id")?;
    Ok(Lost {
        id: ExecutionId::from_uuid(get(row, "executions", "id")?),
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

async fn event<C: ConnectionTrait>(
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

async fn count_end<C: ConnectionTrait>(db: &crate::Db, connection: &C, id: ExecutionId) -> Result<(), Error> {
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
fn id_list(ids: impl Iterator<Item = Uuid>) -> (String, Vec<sea_orm::Value>) {
    let values: Vec<sea_orm::Value> = ids.map(Into::into).collect();
    let list = (1..=values.len()).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
    (list, values)
}
