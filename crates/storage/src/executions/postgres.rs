//! The hot path on PostgreSQL: `UNNEST` batches with their event rows and metrics in one data-modifying statement.
//!
//! Each writer keeps one connection of its own: no pool hand-over, no ping and no planning between two batches. Rows are sorted by id; the
//! bounds `BETWEEN $min AND $max` prune partitions when a statement starts.

use super::{
    hot::{Accepted, Claim, Guarded},
    kept::{Arguments, Kept},
    metrics,
};
use crate::{Error, coalescer::BatchWriter};
use async_trait::async_trait;
use bifrost_domain::{
    clock::SharedClock,
    execution::{Claimed, Finish, LogBatch, NewExecution},
    ids::{ExecutionId, OrganizationId, UserId, WorkflowId},
    scope::Scope,
};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgPool, Postgres, Row, postgres::PgRow};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    },
};
use uuid::Uuid;

fn bounds(ids: &[Uuid]) -> (Uuid, Uuid) {
    let low = ids.iter().min().copied().unwrap_or(Uuid::nil());
    let high = ids.iter().max().copied().unwrap_or(Uuid::max());
    (low, high)
}

/// Positions of `items` in the order of their ids: all batches lock rows in one order.
fn sorted<T>(items: &[&T], id: impl Fn(&T) -> Uuid) -> Vec<usize> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|&at| id(items[at]));
    order
}

pub(super) struct Submit(Kept);

impl Submit {
    pub(super) const fn new(pool: PgPool) -> Self {
        Self(Kept::new(pool))
    }
}

// Executions do not refer to their organization (a partition is dropped whole): what a foreign key would do is done here. The lock waits
// for whoever deletes the organization, and he for it: the run is refused, or the organization is not empty.
const SUBMIT: &str = "
WITH given AS (
    SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::text[], $6::uuid[], $7::uuid[], $8::text[], $9::text[],
        $10::bool[], $11::text[], $12::text[], $13::text[], $14::int[], $15::text[], $16::timestamptz[],
        $17::timestamptz[], $18::timestamptz[])
        AS n (id, kind, organization_id, workflow_id, workflow_name, form_id, executed_by, executed_by_name,
            executed_by_email, is_platform_admin, status, input, code, timeout_seconds, retry_policy, created_at, not_before,
            dispatched_at)
), homes AS (
    SELECT id FROM organizations WHERE id = ANY($3) FOR KEY SHARE
), accepted AS (
    INSERT INTO executions (id, kind, organization_id, workflow_id, workflow_name, form_id, executed_by, executed_by_name,
        executed_by_email, is_platform_admin, status, attempt, input, code, timeout_seconds, retry_policy, created_at,
        not_before, dispatched_at, dispatch_count, last_sequence, result_type)
    SELECT n.id, n.kind, n.organization_id, n.workflow_id, n.workflow_name, n.form_id, n.executed_by, n.executed_by_name,
        n.executed_by_email, n.is_platform_admin, n.status, 0, n.input::jsonb, n.code, n.timeout_seconds,
        n.retry_policy::jsonb, n.created_at, n.not_before, n.dispatched_at, (n.dispatched_at IS NOT NULL)::int, 0, 'json'
    FROM given AS n
    WHERE n.organization_id IS NULL OR n.organization_id IN (SELECT id FROM homes)
    ON CONFLICT (id) DO NOTHING
    RETURNING id, created_at
), events AS (
    INSERT INTO execution_events (execution_id, at, attempt, event)
    SELECT id, created_at, 0, 'accepted' FROM accepted
    ON CONFLICT DO NOTHING
)
SELECT id FROM homes";

#[async_trait]
impl BatchWriter for Submit {
    type Item = NewExecution;
    type Output = Accepted;

    async fn write(&mut self, items: &[&NewExecution]) -> Result<Vec<Accepted>, Error> {
        let order = sorted(items, |item| item.id.as_uuid());
        macro_rules! column {
            (|$item:ident| $value:expr) => {
                order
                    .iter()
                    .map(|&at| {
                        let $item = items[at];
                        $value
                    })
                    .collect::<Vec<_>>()
            };
        }
        let retry: Vec<Option<String>> =
            column!(|n| n.retry_policy.as_ref().and_then(|policy| serde_json::to_string(policy).ok()));
        let rows = self
            .0
            .run(SUBMIT, || {
                Arguments::new()
                    .bind(column!(|n| n.id.as_uuid()))
                    .bind(column!(|n| n.kind.as_str()))
                    .bind(column!(|n| n.scope.organization().map(OrganizationId::as_uuid)))
                    .bind(column!(|n| n.workflow_id.map(WorkflowId::as_uuid)))
                    .bind(column!(|n| n.workflow_name.as_str()))
                    .bind(column!(|n| n.form_id.map(bifrost_domain::ids::FormId::as_uuid)))
                    .bind(column!(|n| n.executed_by.as_uuid()))
                    .bind(column!(|n| n.executed_by_name.as_str()))
                    .bind(column!(|n| n.executed_by_email.as_str()))
                    .bind(column!(|n| n.is_platform_admin))
                    .bind(column!(|n| n.status.as_str()))
                    .bind(column!(|n| n.input.to_string()))
                    .bind(column!(|n| n.code.as_deref()))
                    .bind(column!(|n| n.timeout_seconds))
                    .bind(retry.as_slice())
                    .bind(column!(|n| n.created_at))
                    .bind(column!(|n| n.not_before))
                    .bind(column!(|n| n.dispatched_at))
            })
            .await?;
        let mut homes = HashSet::with_capacity(rows.len());
        for row in &rows {
            homes.insert(row.try_get::<Uuid, _>("id")?);
        }
        let is_there = |item: &&NewExecution| {
            item.scope.organization().is_none_or(|home| homes.contains(&home.as_uuid()))
        };
        Ok(items.iter().map(is_there).map(Accepted::when).collect())
    }
}

pub(super) struct Claims {
    kept: Kept,
    clock: SharedClock,
}

impl Claims {
    pub(super) const fn new(pool: PgPool, clock: SharedClock) -> Self {
        Self { kept: Kept::new(pool), clock }
    }
}

// $6 says that this is a repetition whose first try may have committed: its rows are named again, as they are. A row that was dispatched is
// due by the relay's clock, whatever the claimer's says.
const CLAIM: &str = "
WITH claimed AS (
    UPDATE executions e
    SET status = 'Running', attempt = e.attempt + (e.status = 'Pending')::int, worker_id = a.worker_id, started_at = $3
    FROM UNNEST($1::uuid[], $2::uuid[]) AS a (id, worker_id)
    JOIN workers w ON w.id = a.worker_id AND w.lease_until > $3 AND w.stopped_at IS NULL
    WHERE e.id = a.id AND e.id BETWEEN $4 AND $5 AND (
        e.status = 'Pending' AND (e.not_before IS NULL OR e.not_before <= $3 OR e.dispatched_at IS NOT NULL)
        OR $6 AND e.status = 'Running' AND e.worker_id = a.worker_id AND e.started_at = $3)
    RETURNING e.*
), events AS (
    INSERT INTO execution_events (execution_id, at, attempt, event, detail)
    SELECT id, dispatched_at, attempt, 'dispatched', NULL FROM claimed WHERE dispatched_at IS NOT NULL
    UNION ALL
    SELECT id, started_at, attempt, 'claimed', jsonb_build_object('worker_id', worker_id) FROM claimed
    ON CONFLICT DO NOTHING
)
SELECT id, attempt, kind, organization_id, workflow_id, workflow_name, executed_by, executed_by_name, executed_by_email,
    is_platform_admin, input, code, timeout_seconds, retry_policy, coalesce(not_before, created_at) AS due_at, started_at,
    last_sequence
FROM claimed";

// Asked for later attempts alone: an attempt whose worker was lost has lines that its row does not know of. Inside the claim this would
// be planned for every partition, for every run.
const LAST_SEQUENCES: &str = "
SELECT execution_id, max(sequence) AS last_sequence FROM execution_logs
WHERE execution_id = ANY($1) AND execution_id BETWEEN $2 AND $3 GROUP BY execution_id";

#[async_trait]
impl BatchWriter for Claims {
    type Item = Claim;
    type Output = Option<Claimed>;

    async fn write(&mut self, items: &[&Claim]) -> Result<Vec<Option<Claimed>>, Error> {
        let mut ids: Vec<Uuid> = items.iter().map(|claim| claim.id.as_uuid()).collect();
        ids.sort_unstable();
        // Two deliveries of one message in one batch: the first takes it.
        ids.dedup();
        let workers: HashMap<Uuid, Uuid> =
            items.iter().rev().map(|claim| (claim.id.as_uuid(), claim.worker_id.as_uuid())).collect();
        let workers: Vec<Uuid> = ids.iter().map(|id| workers[id]).collect();
        let (low, high) = bounds(&ids);
        let now = self.clock.now();
        let is_repeated = AtomicBool::new(false);
        let rows = self
            .kept
            .run(CLAIM, || {
                let again = is_repeated.swap(true, Ordering::Relaxed);
                let arguments = Arguments::new().bind(ids.as_slice()).bind(workers.as_slice()).bind(now);
                arguments.bind(low).bind(high).bind(again)
            })
            .await?;
        let mut claimed = HashMap::with_capacity(rows.len());
        for row in &rows {
            let one = claimed_of(row)?;
            claimed.insert(one.id, one);
        }
        let later: Vec<Uuid> =
            claimed.values().filter(|one| one.attempt > 1).map(|one| one.id.as_uuid()).collect();
        if !later.is_empty() {
            let (low, high) = bounds(&later);
            let arguments = || Arguments::new().bind(later.as_slice()).bind(low).bind(high);
            for row in &self.kept.run(LAST_SEQUENCES, arguments).await? {
                let id = ExecutionId::from_uuid(row.try_get("execution_id")?);
                if let Some(one) = claimed.get_mut(&id) {
                    one.last_sequence = one.last_sequence.max(row.try_get("last_sequence")?);
                }
            }
        }
        Ok(items.iter().map(|claim| claimed.remove(&claim.id)).collect())
    }
}

fn claimed_of(row: &PgRow) -> Result<Claimed, Error> {
    fn column<'r, T: sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>>(
        row: &'r PgRow,
        column: &'static str,
    ) -> Result<T, Error> {
        row.try_get(column).map_err(|error| bad(column, &error))
    }
    fn bad(column: &'static str, error: &dyn std::fmt::Display) -> Error {
        Error::Inconsistent { table: "executions", column, reason: error.to_string() }
    }
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
        input: column(row, "input")?,
        code: column(row, "code")?,
        timeout_seconds: column(row, "timeout_seconds")?,
        retry_policy: column::<Option<Value>>(row, "retry_policy")?
            .map(serde_json::from_value)
            .transpose()
            .map_err(|error| bad("retry_policy", &error))?,
        due_at: column(row, "due_at")?,
        started_at: column(row, "started_at")?,
        last_sequence: column(row, "last_sequence")?,
    })
}

pub(super) struct Logs(Kept);

impl Logs {
    pub(super) const fn new(pool: PgPool) -> Self {
        Self(Kept::new(pool))
    }
}

// A worker waits for a run's last batch before it ends the run, so no line is stored after the end of its own attempt. The rows are locked
// against a reaper that takes the run meanwhile: it waits, and its line comes behind these; or these wait, and are refused.
const LOGS: &str = "
WITH current AS (
    SELECT e.id, e.attempt FROM executions e
    JOIN UNNEST($1::uuid[], $2::int[]) AS a (id, attempt) ON a.id = e.id AND a.attempt = e.attempt
    WHERE e.id BETWEEN $3 AND $4 AND e.status IN ('Running', 'Cancelling')
    FOR SHARE OF e
), written AS (
    INSERT INTO execution_logs (execution_id, sequence, attempt, level, message, metadata, logged_at)
    SELECT l.id, l.sequence, c.attempt, l.level, l.message, l.metadata::jsonb, l.logged_at
    FROM UNNEST($5::uuid[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::timestamptz[], $11::int[])
        AS l (id, sequence, level, message, metadata, logged_at, attempt)
    JOIN current c ON c.id = l.id AND c.attempt = l.attempt
    ON CONFLICT DO NOTHING
)
SELECT id, attempt FROM current";

#[async_trait]
impl BatchWriter for Logs {
    type Item = LogBatch;
    type Output = Guarded;

    async fn write(&mut self, items: &[&LogBatch]) -> Result<Vec<Guarded>, Error> {
        let order = sorted(items, |item| item.id.as_uuid());
        let mut of: Vec<(Uuid, i32)> = items.iter().map(|item| (item.id.as_uuid(), item.attempt)).collect();
        of.sort_unstable();
        of.dedup();
        let (ids, attempts): (Vec<Uuid>, Vec<i32>) = of.into_iter().unzip();
        let (low, high) = bounds(&ids);
        let count = items.iter().map(|item| item.lines.len()).sum();
        let mut line_ids = Vec::with_capacity(count);
        // An older attempt's lines may share the batch with those of the current one.
        let mut line_attempts = Vec::with_capacity(count);
        let mut sequences = Vec::with_capacity(count);
        let mut levels: Vec<&str> = Vec::with_capacity(count);
        let mut messages: Vec<&str> = Vec::with_capacity(count);
        let mut metadata: Vec<Option<String>> = Vec::with_capacity(count);
        let mut times: Vec<DateTime<Utc>> = Vec::with_capacity(count);
        for &at in &order {
            for line in &items[at].lines {
                line_ids.push(items[at].id.as_uuid());
                line_attempts.push(items[at].attempt);
                sequences.push(line.sequence);
                levels.push(line.level.as_str());
                messages.push(&line.message);
                metadata.push(line.metadata.as_ref().map(Value::to_string));
                times.push(line.timestamp);
            }
        }
        let rows = self
            .0
            .run(LOGS, || {
                Arguments::new()
                    .bind(ids.as_slice())
                    .bind(attempts.as_slice())
                    .bind(low)
                    .bind(high)
                    .bind(line_ids.as_slice())
                    .bind(sequences.as_slice())
                    .bind(levels.as_slice())
                    .bind(messages.as_slice())
                    .bind(metadata.as_slice())
                    .bind(times.as_slice())
                    .bind(line_attempts.as_slice())
            })
            .await?;
        let current = attempts_of(&rows)?;
        let outcome = |item: &&LogBatch| guarded(current.contains(&(item.id.as_uuid(), item.attempt)));
        Ok(items.iter().map(outcome).collect())
    }
}

pub(super) struct Finishes(Kept);

impl Finishes {
    pub(super) const fn new(pool: PgPool) -> Self {
        Self(Kept::new(pool))
    }
}

static FINISH: LazyLock<String> = LazyLock::new(|| {
    let metrics = metrics::upsert("done", "(completed_at AT TIME ZONE 'UTC')::date");
    format!(
        "
WITH done AS (
    UPDATE executions e
    SET status = n.status, result = n.result, result_object = n.result_object, result_bytes = n.result_bytes,
        result_type = n.result_type, error_type = n.error_type, error_message = n.error_message,
        user_message = n.user_message, last_sequence = n.last_sequence, completed_at = n.completed_at,
        duration_ms = n.duration_ms, peak_memory_bytes = n.peak_memory_bytes, cpu_seconds = n.cpu_seconds
    FROM UNNEST($1::uuid[], $2::int[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::text[],
        $10::text[], $11::bigint[], $12::timestamptz[], $13::bigint[], $14::bigint[], $15::float8[], $16::text[])
        AS n (id, attempt, status, result, result_object, result_bytes, result_type, error_type, error_message,
            user_message, last_sequence, completed_at, duration_ms, peak_memory_bytes, cpu_seconds, scope)
    WHERE e.id = n.id AND e.attempt = n.attempt AND e.id BETWEEN $17 AND $18 AND e.status IN ('Running', 'Cancelling')
    RETURNING e.id, e.attempt, e.status, e.workflow_name, e.completed_at, e.duration_ms, e.cpu_seconds,
        e.peak_memory_bytes, n.scope
), events AS (
    INSERT INTO execution_events (execution_id, at, attempt, event, detail)
    SELECT id, completed_at, attempt, 'finished', jsonb_build_object('status', status) FROM done
    ON CONFLICT DO NOTHING
), numbers AS (
    {metrics}
)
SELECT id, attempt FROM done"
    )
});

#[async_trait]
impl BatchWriter for Finishes {
    type Item = Finish;
    type Output = Guarded;

    async fn write(&mut self, items: &[&Finish]) -> Result<Vec<Guarded>, Error> {
        let mut order = sorted(items, |item| item.id.as_uuid());
        // Of two ends of one attempt in one batch the first is the end: the statement would write either and name both.
        let mut first = HashSet::with_capacity(items.len());
        order.retain(|&at| first.insert((items[at].id.as_uuid(), items[at].attempt)));
        macro_rules! column {
            (|$item:ident| $value:expr) => {
                order
                    .iter()
                    .map(|&at| {
                        let $item = items[at];
                        $value
                    })
                    .collect::<Vec<_>>()
            };
        }
        let ids = column!(|f| f.id.as_uuid());
        let (low, high) = bounds(&ids);
        let rows = self
            .0
            .run(&FINISH, || {
                Arguments::new()
                    .bind(ids.as_slice())
                    .bind(column!(|f| f.attempt))
                    .bind(column!(|f| f.status.as_str()))
                    .bind(column!(|f| f.result.as_deref()))
                    .bind(column!(|f| f.result_object.as_deref()))
                    .bind(column!(|f| f.result_bytes))
                    .bind(column!(|f| f.result_type.as_str()))
                    .bind(column!(|f| f.error_type.as_deref()))
                    .bind(column!(|f| f.error_message.as_deref()))
                    .bind(column!(|f| f.user_message.as_deref()))
                    .bind(column!(|f| f.last_sequence))
                    .bind(column!(|f| f.completed_at))
                    .bind(column!(|f| f.duration_ms))
                    .bind(column!(|f| f.peak_memory_bytes))
                    .bind(column!(|f| f.cpu_seconds))
                    .bind(column!(|f| f.scope.to_string()))
                    .bind(low)
                    .bind(high)
            })
            .await?;
        let mut done = attempts_of(&rows)?;
        let outcome = |item: &&Finish| guarded(done.remove(&(item.id.as_uuid(), item.attempt)));
        Ok(items.iter().map(outcome).collect())
    }
}

/// The attempts that a guarded statement names.
fn attempts_of(rows: &[PgRow]) -> Result<HashSet<(Uuid, i32)>, Error> {
    rows.iter().map(|row| Ok((row.try_get("id")?, row.try_get("attempt")?))).collect()
}

const fn guarded(written: bool) -> Guarded {
    if written { Guarded::Written } else { Guarded::Stale }
}
