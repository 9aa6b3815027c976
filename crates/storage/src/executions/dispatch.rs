//! What waits for dispatch: reservations, stamps that were in vain, and how much waits.

use super::transitions::id_list;
use crate::{
    Error, Store,
    dialect::{execute, get, parse, statement},
};
use bifrost_domain::{clock::floor_id, execution::Kind, ids::ExecutionId};
use chrono::{DateTime, Duration, Utc};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

/// An execution that waits for dispatch and was reserved for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserved {
    /// The execution.
    pub id: ExecutionId,
    /// Names its queue.
    pub kind: Kind,
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
}

/// Above every id that exists at `now`.
fn ahead(now: DateTime<Utc>) -> Uuid {
    floor_id(now + AHEAD)
}
