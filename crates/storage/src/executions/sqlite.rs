//! The hot path on SQLite: one immediate transaction per batch on the one write connection, statement by statement (prepared
//! once). In WAL mode the commit is the cost, and a batch has one.

use super::{
    hot::{Accepted, Claim, Guarded},
    metrics,
};
use crate::{Error, coalescer::BatchWriter};
use async_trait::async_trait;
use bifrost_domain::{
    clock::SharedClock,
    execution::{Claimed, Finish, LogBatch, NewExecution},
    ids::{ExecutionId, FormId, OrganizationId, UserId, WorkflowId},
    scope::Scope,
};
use serde_json::Value;
use sqlx::{Row, Sqlite, SqlitePool, Transaction, sqlite::SqliteRow};
use std::sync::LazyLock;
use uuid::Uuid;

async fn begin(pool: &SqlitePool) -> Result<Transaction<'static, Sqlite>, Error> {
    Ok(pool.begin_with("BEGIN IMMEDIATE").await?)
}

pub(super) struct Submit(pub(super) SqlitePool);

#[async_trait]
impl BatchWriter for Submit {
    type Item = NewExecution;
    type Output = Accepted;

    async fn write(&mut self, items: &[&NewExecution]) -> Result<Vec<Accepted>, Error> {
        let mut tx = begin(&self.0).await?;
        let mut outputs = Vec::with_capacity(items.len());
        for n in items {
            if let Some(home) = n.scope.organization()
                && sqlx::query("SELECT 1 FROM organizations WHERE id = $1")
                    .bind(home.as_uuid())
                    .fetch_optional(&mut *tx)
                    .await?
                    .is_none()
            {
                outputs.push(Accepted::NoOrganization);
                continue;
            }
            let retry = n.retry_policy.as_ref().and_then(|policy| serde_json::to_string(policy).ok());
            let inserted = sqlx::query(
                "INSERT INTO executions (id, kind, organization_id, workflow_id, workflow_name, form_id, executed_by, \
                 executed_by_name, executed_by_email, is_platform_admin, status, attempt, input, code, timeout_seconds, \
                 retry_policy, created_at, not_before, dispatched_at, dispatch_count, last_sequence, result_type) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12, $13, $14, $15, $16, $17, $18, $19, 0, 'json') \
                 ON CONFLICT (id) DO NOTHING",
            )
            .bind(n.id.as_uuid())
            .bind(n.kind.as_str())
            .bind(n.scope.organization().map(OrganizationId::as_uuid))
            .bind(n.workflow_id.map(WorkflowId::as_uuid))
            .bind(&n.workflow_name)
            .bind(n.form_id.map(FormId::as_uuid))
            .bind(n.executed_by.as_uuid())
            .bind(&n.executed_by_name)
            .bind(&n.executed_by_email)
            .bind(n.is_platform_admin)
            .bind(n.status.as_str())
            .bind(n.input.to_string())
            .bind(n.code.as_deref())
            .bind(n.timeout_seconds)
            .bind(retry)
            .bind(n.created_at)
            .bind(n.not_before)
            .bind(n.dispatched_at)
            .bind(i32::from(n.dispatched_at.is_some()))
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if inserted > 0 {
                event(&mut tx, n.id, n.created_at, 0, "accepted", None).await?;
            }
            outputs.push(Accepted::Yes);
        }
        tx.commit().await?;
        Ok(outputs)
    }
}

async fn event(
    tx: &mut Transaction<'_, Sqlite>,
    id: ExecutionId,
    at: chrono::DateTime<chrono::Utc>,
    attempt: i32,
    event: &str,
    detail: Option<Value>,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO execution_events (execution_id, at, attempt, event, detail) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT DO NOTHING",
    )
    .bind(id.as_uuid())
    .bind(at)
    .bind(attempt)
    .bind(event)
    .bind(detail.map(|detail| detail.to_string()))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) struct Claims(pub(super) SqlitePool, pub(super) SharedClock);

#[async_trait]
impl BatchWriter for Claims {
    type Item = Claim;
    type Output = Option<Claimed>;

    async fn write(&mut self, items: &[&Claim]) -> Result<Vec<Option<Claimed>>, Error> {
        let now = self.1.now();
        let mut tx = begin(&self.0).await?;
        let mut outputs = Vec::with_capacity(items.len());
        for claim in items {
            let row = sqlx::query(
                "UPDATE executions SET status = 'Running', attempt = attempt + 1, worker_id = $2, started_at = $3 \
                 WHERE id = $1 AND status = 'Pending' AND (not_before IS NULL OR not_before <= $3 OR dispatched_at IS NOT NULL) \
                 AND EXISTS (SELECT 1 FROM workers w WHERE w.id = $2 AND w.lease_until > $3 AND w.stopped_at IS NULL) \
                 RETURNING *, CASE WHEN attempt = 1 THEN 0 ELSE max(last_sequence, coalesce((SELECT max(sequence) \
                 FROM execution_logs l WHERE l.execution_id = executions.id), 0)) END AS highest_sequence",
            )
            .bind(claim.id.as_uuid())
            .bind(claim.worker_id.as_uuid())
            .bind(now)
            .fetch_optional(&mut *tx)
            .await?;
            let Some(row) = row else {
                outputs.push(None);
                continue;
            };
            let claimed = claimed_of(&row)?;
            if let Some(at) = row.try_get("dispatched_at")? {
                event(&mut tx, claimed.id, at, claimed.attempt, "dispatched", None).await?;
            }
            let detail = serde_json::json!({ "worker_id": claim.worker_id });
            event(&mut tx, claimed.id, now, claimed.attempt, "claimed", Some(detail)).await?;
            outputs.push(Some(claimed));
        }
        tx.commit().await?;
        Ok(outputs)
    }
}

fn claimed_of(row: &SqliteRow) -> Result<Claimed, Error> {
    fn column<'r, T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>>(
        row: &'r SqliteRow,
        column: &'static str,
    ) -> Result<T, Error> {
        row.try_get(column).map_err(|error| bad(column, &error))
    }
    fn bad(column: &'static str, error: &dyn std::fmt::Display) -> Error {
        Error::Inconsistent { table: "executions", column, reason: error.to_string() }
    }
    let json = |name: &'static str| -> Result<Option<Value>, Error> {
        column::<Option<String>>(row, name)?
            .map(|text| serde_json::from_str(&text).map_err(|error| bad(name, &error)))
            .transpose()
    };
    Ok(Claimed {
        id: ExecutionId::from_uuid(column(row, "id")?),
        attempt: column(row, "attempt")?,
        kind: column::<String>(row, "kind")?.parse().map_err(|error| bad("kind", &error))?,
        scope: Scope::from(column::<Option<Uuid>>(row, "organization_id")?.map(OrganizationId::from_uuid)),
        workflow_id: column::<Option<Uuid>>(row, "workflow_id")?.map(WorkflowId::from_uuid),
        workflow_name: column(row, "workflow_name")?,
        executed_by: UserId::from_uuid(column(row, "executed_by")?),
        executed_by_name: column(row, "executed_by_name")?,
        executed_by_email: column(row, "executed_by_email")?,
        is_platform_admin: column(row, "is_platform_admin")?,
        input: json("input")?.unwrap_or(Value::Null),
        code: column(row, "code")?,
        timeout_seconds: column(row, "timeout_seconds")?,
        retry_policy: json("retry_policy")?
            .map(serde_json::from_value)
            .transpose()
            .map_err(|error| bad("retry_policy", &error))?,
        due_at: match column::<Option<_>>(row, "not_before")? {
            Some(due) => due,
            None => column(row, "created_at")?,
        },
        started_at: column(row, "started_at")?,
        last_sequence: column(row, "highest_sequence")?,
    })
}

pub(super) struct Logs(pub(super) SqlitePool);

#[async_trait]
impl BatchWriter for Logs {
    type Item = LogBatch;
    type Output = Guarded;

    async fn write(&mut self, items: &[&LogBatch]) -> Result<Vec<Guarded>, Error> {
        let mut tx = begin(&self.0).await?;
        let mut outputs = Vec::with_capacity(items.len());
        for batch in items {
            let current = sqlx::query(
                "SELECT 1 FROM executions WHERE id = $1 AND attempt = $2 AND status IN ('Running', 'Cancelling')",
            )
            .bind(batch.id.as_uuid())
            .bind(batch.attempt)
            .fetch_optional(&mut *tx)
            .await?;
            if current.is_none() {
                outputs.push(Guarded::Stale);
                continue;
            }
            for line in &batch.lines {
                sqlx::query(
                    "INSERT INTO execution_logs (execution_id, sequence, attempt, level, message, metadata, logged_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
                )
                .bind(batch.id.as_uuid())
                .bind(line.sequence)
                .bind(batch.attempt)
                .bind(line.level.as_str())
                .bind(&line.message)
                .bind(line.metadata.as_ref().map(Value::to_string))
                .bind(line.timestamp)
                .execute(&mut *tx)
                .await?;
            }
            outputs.push(Guarded::Written);
        }
        tx.commit().await?;
        Ok(outputs)
    }
}

pub(super) struct Finishes(pub(super) SqlitePool);

static NUMBERS: LazyLock<String> = LazyLock::new(|| {
    metrics::upsert(
        "(SELECT completed_at, $2 AS scope, workflow_name, status, duration_ms, cpu_seconds, peak_memory_bytes \
          FROM executions WHERE id = $1)",
        "substr(completed_at, 1, 10)",
    )
});

#[async_trait]
impl BatchWriter for Finishes {
    type Item = Finish;
    type Output = Guarded;

    async fn write(&mut self, items: &[&Finish]) -> Result<Vec<Guarded>, Error> {
        let mut tx = begin(&self.0).await?;
        let mut outputs = Vec::with_capacity(items.len());
        for f in items {
            let changed = sqlx::query(
                "UPDATE executions SET status = $3, result = $4, result_object = $5, result_bytes = $6, result_type = $7, \
                 error_type = $8, error_message = $9, user_message = $10, last_sequence = $11, completed_at = $12, \
                 duration_ms = $13, peak_memory_bytes = $14, cpu_seconds = $15 \
                 WHERE id = $1 AND attempt = $2 AND status IN ('Running', 'Cancelling')",
            )
            .bind(f.id.as_uuid())
            .bind(f.attempt)
            .bind(f.status.as_str())
            .bind(f.result.as_deref())
            .bind(f.result_object.as_deref())
            .bind(f.result_bytes)
            .bind(f.result_type.as_str())
            .bind(f.error_type.as_deref())
            .bind(f.error_message.as_deref())
            .bind(f.user_message.as_deref())
            .bind(f.last_sequence)
            .bind(f.completed_at)
            .bind(f.duration_ms)
            .bind(f.peak_memory_bytes)
            .bind(f.cpu_seconds)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if changed == 0 {
                outputs.push(Guarded::Stale);
                continue;
            }
            let detail = serde_json::json!({ "status": f.status });
            event(&mut tx, f.id, f.completed_at, f.attempt, "finished", Some(detail)).await?;
            sqlx::query(&NUMBERS).bind(f.id.as_uuid()).bind(f.scope.to_string()).execute(&mut *tx).await?;
            outputs.push(Guarded::Written);
        }
        tx.commit().await?;
        Ok(outputs)
    }
}
