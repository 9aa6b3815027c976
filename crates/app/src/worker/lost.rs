//! Runs whose worker is gone, or knows nothing of them.

use crate::{
    App,
    metrics::{self, Cause},
};
use bifrost_domain::{
    error::Result,
    execution::Status,
    ids::{ExecutionId, WorkerId},
    messages::{ExecutionEvent, topics},
};
use bifrost_storage::executions::lost::{LOST_PAGE, Lost, Reaped, Reaping};
use chrono::Duration;

/// How a run that the store says a worker has stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is under way.
    Running,
    /// It was begun here, and its end could not be stored.
    Begun,
    /// It was never begun here.
    Never,
}

impl App {
    /// Takes the runs of workers whose lease ended more than `grace` ago: cancelled ones end, others are tried again if their policy
    /// allows, else end as failed with `WorkerLost`. Those that are `in_hand` are left alone: whoever has them stores their end.
    ///
    /// # Errors
    /// The database is away; the next round goes on.
    pub async fn reap(&self, grace: Duration, in_hand: impl Fn(ExecutionId) -> bool + Send) -> Result<()> {
        let before = self.doors.clock.now() - grace;
        let mut after = None;
        loop {
            let lost = self.doors.store.list_lost(before, after).await?;
            for run in lost.iter().filter(|run| !in_hand(run.id)) {
                self.reap_one(run).await?;
            }
            // Those in hand stay in the list: the next page is behind them.
            after = lost.last().map(|run| run.id);
            if lost.len() < LOST_PAGE {
                return Ok(());
            }
        }
    }

    /// Takes runs that the store says `worker` has and that the worker knows nothing of, and did not in the round before either. One that
    /// it never began (the answer to its claim was lost with the connection) is handed back whatever its policy says; one that it began and
    /// could not store the end of is lost. Returns the unknown ones, for the next round.
    ///
    /// # Errors
    /// The database is away; the next round goes on.
    pub async fn reap_orphans(
        &self,
        worker: WorkerId,
        standing_of: impl Fn(ExecutionId) -> Standing + Send,
        unknown_before: &[(ExecutionId, i32)],
    ) -> Result<Vec<(ExecutionId, i32)>> {
        let runs = self.doors.store.list_runs_of(worker).await?;
        let mut unknown = Vec::new();
        for run in runs {
            let standing = standing_of(run.id);
            if standing == Standing::Running {
                continue;
            }
            if unknown_before.contains(&(run.id, run.attempt)) {
                if standing == Standing::Never
                    && self
                        .retry(run.id, run.attempt, Duration::zero(), "NotBegun", run.last_sequence)
                        .await?
                {
                    continue;
                }
                self.reap_one(&run).await?;
            } else {
                unknown.push((run.id, run.attempt));
            }
        }
        Ok(unknown)
    }

    async fn reap_one(&self, lost: &Lost) -> Result<()> {
        const MESSAGE: &str = "the worker that ran it went away";
        let now = self.doors.clock.now();
        let delay = lost
            .retry_policy
            .as_ref()
            .and_then(|policy| policy.delay_after(lost.attempt, Some("WorkerLost")));
        let reaping = Reaping {
            not_before: delay.map(|delay| now + Duration::from_std(delay).unwrap_or(Duration::zero())),
            error_type: "WorkerLost",
            error_message: MESSAGE,
            user_message: MESSAGE,
            line: |status| match status {
                Status::Pending => "the worker that ran it went away; it is tried again",
                Status::Cancelled => "the worker went away while the run was being cancelled",
                _ => MESSAGE,
            },
        };
        let Some(Reaped { status, sequence }) = self.doors.store.reap_execution(lost, &reaping, now).await?
        else {
            return Ok(());
        };
        tracing::warn!(execution.id = %lost.id, attempt = lost.attempt, worker.id = %lost.worker_id, "its worker is gone");
        self.publish(&topics::execution(lost.id), &ExecutionEvent::Log { sequence });
        metrics::reaped(status == Status::Pending);
        if status == Status::Pending {
            metrics::retried(Cause::WorkerLost);
            self.publish(&topics::execution(lost.id), &ExecutionEvent::Status { status });
            self.wake_relay();
        } else {
            metrics::finished(lost.kind, status);
            self.announce_end(lost.id, status);
        }
        self.announce_history(lost.scope, lost.id, status, &lost.workflow_name, lost.executed_by);
        Ok(())
    }
}
