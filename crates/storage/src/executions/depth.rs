//! How much waits, for people and alerts: not for the path of a run.

use crate::{
    Error, Reader,
    dialect::{all, get, parse},
};
use bifrost_domain::execution::Kind;
use chrono::{DateTime, Utc};

/// Rows that are looked at; a backlog is not counted further.
pub const DEPTH_LIMIT: u32 = 100_000;

/// Where an execution is on its way to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not due yet.
    Later,
    /// Due, and not given to the broker.
    Waiting,
    /// Given to the broker, and not claimed.
    Dispatched,
}

/// How many executions of a kind are at a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// The kind, which has a queue of its own.
    pub kind: Kind,
    /// The stage.
    pub stage: Stage,
    /// How many, up to [`DEPTH_LIMIT`] in all.
    pub count: i64,
    /// Since when the oldest of them has been due.
    pub oldest: DateTime<Utc>,
}

impl Reader {
    /// What waits, of the oldest [`DEPTH_LIMIT`] executions that do.
    ///
    /// # Errors
    /// Away, or an unreadable row.
    pub async fn queue_depths(&self, now: DateTime<Utc>) -> Result<Vec<Depth>, Error> {
        let rows = all(
            self.db(),
            "SELECT kind, stage, count(*) AS count, min(due) AS oldest FROM (SELECT kind, CASE WHEN dispatched_at IS NOT NULL \
             THEN 'dispatched' WHEN not_before > $1 THEN 'later' ELSE 'waiting' END AS stage, coalesce(not_before, created_at) AS due \
             FROM executions WHERE status IN ('Scheduled', 'Pending') ORDER BY id LIMIT $2) AS waiting GROUP BY kind, stage",
            [now.into(), i64::from(DEPTH_LIMIT).into()],
        )
        .await?;
        rows.iter()
            .map(|row| {
                let stage: String = get(row, "executions", "stage")?;
                Ok(Depth {
                    kind: parse(row, "executions", "kind")?,
                    stage: match stage.as_str() {
                        "later" => Stage::Later,
                        "dispatched" => Stage::Dispatched,
                        _ => Stage::Waiting,
                    },
                    count: get(row, "executions", "count")?,
                    oldest: get(row, "executions", "oldest")?,
                })
            })
            .collect()
    }
}
