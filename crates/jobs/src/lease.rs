//! The worker's lease, and what is looked up with its period.

use crate::{Worker, chrono_duration, metrics};
use bifrost_app::worker::Standing;
use bifrost_domain::{
    error::Error,
    ids::{ExecutionId, WorkerId},
    messages::{CancelAsked, topics},
    ports::{bus::Signal, python::Stop},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior};

/// Children die so long before the lease ends, by the zygote's own clock.
const MARGIN: Duration = Duration::from_secs(2);

/// How long children may live without another renewal.
pub(crate) fn for_children(lease: Duration) -> Duration {
    lease.saturating_sub(MARGIN)
}

/// Renews until the worker closes, and does nothing else: whatever waits here costs runs. A lease that ended means that others took the
/// runs: they are ended here, and the worker registers anew.
pub(crate) async fn run(worker: Arc<Worker>, slots: usize, next_id: impl Fn() -> WorkerId) {
    let lease = worker.settings.lease;
    let mut ticks = tokio::time::interval(lease / 5);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    let mut is_told = false;
    let mut was_away = false;
    loop {
        tokio::select! {
            () = worker.closed.cancelled() => return,
            _ = ticks.tick() => {}
        }
        // The lease counts from before the statement was sent: the children's clock never runs later than the row's.
        let asked = Instant::now();
        let renewing = worker.app.renew_worker(worker.id(), chrono_duration(lease));
        // A connection that hangs must not hold up the next try.
        let renewed = tokio::time::timeout(lease / 4, renewing).await;
        let renewed =
            renewed.unwrap_or_else(|_| Err(Error::unavailable("the database did not answer in time")));
        if std::mem::replace(&mut was_away, renewed.is_err()) && renewed.is_ok() {
            tracing::info!("the database is back");
        }
        // By the clock of the children, who do not ask the database.
        let is_over = asked.duration_since(last) >= for_children(lease);
        if is_over && !std::mem::replace(&mut is_told, true) {
            metrics::lease_lost();
            tracing::error!(
                worker.id = %worker.id(),
                seconds = asked.duration_since(last).as_secs(),
                "the lease was not renewed in time; the runs of this worker are ended"
            );
        }
        match renewed {
            Ok(true) => {
                worker.runtime.renew_lease(for_children(lease).saturating_sub(asked.elapsed()));
                last = asked;
                is_told = false;
            }
            Ok(false) => {
                if !is_told {
                    metrics::lease_lost();
                }
                tracing::error!(worker.id = %worker.id(), "the lease ended; its runs are ended and the worker registers anew");
                for run in &worker.running {
                    let _ = run.value().send(Stop::Shutdown);
                }
                *worker.id.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = next_id();
                if let Err(error) = worker.register(slots).await {
                    tracing::warn!(error = %error, "the worker is not registered yet");
                }
                last = Instant::now();
                is_told = false;
            }
            Err(error) => tracing::warn!(error = %error, "the lease was not renewed; trying again"),
        }
    }
}

/// With the lease's period: cancels that a lost message would have left running, and runs that are this worker's by their rows alone.
pub(crate) async fn look_after_runs(worker: Arc<Worker>) {
    let mut ticks = tokio::time::interval(worker.settings.lease / 5);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unknown = Vec::new();
    loop {
        tokio::select! {
            () = worker.closed.cancelled() => return,
            _ = ticks.tick() => {}
        }
        end_cancelled(&worker).await;
        let standing_of = |id| worker.standing_of(id);
        match worker.app.reap_orphans(worker.id(), standing_of, &unknown).await {
            Ok(runs) => unknown = runs,
            Err(error) => tracing::debug!(error = %error, "orphaned runs were not looked up"),
        }
    }
}

async fn end_cancelled(worker: &Worker) {
    if worker.running.is_empty() {
        return;
    }
    match worker.app.list_cancelling(worker.id()).await {
        Ok(ids) => {
            for id in ids {
                worker.cancel(id);
            }
        }
        Err(error) => tracing::debug!(error = %error, "cancels were not looked up"),
    }
}

impl Worker {
    fn standing_of(&self, id: ExecutionId) -> Standing {
        if self.claiming.contains_key(&id) || self.running.contains_key(&id) {
            Standing::Running
        } else if self.unfinished.contains(&id) {
            Standing::Begun
        } else {
            Standing::Never
        }
    }

    fn cancel(&self, id: ExecutionId) {
        if let Some(run) = self.running.get(&id) {
            run.send_if_modified(|stop| {
                let first = *stop == Stop::No;
                if first {
                    *stop = Stop::Cancel;
                }
                first
            });
        }
    }
}

/// Hears cancels at once; the lease's period finds what was missed.
pub(crate) async fn watch_cancels(worker: Arc<Worker>) {
    loop {
        let Ok(mut subscription) = worker.app.bus().subscribe(topics::CANCEL).await else {
            tokio::select! {
                () = worker.closed.cancelled() => return,
                () = tokio::time::sleep(Duration::from_secs(1)) => continue,
            }
        };
        loop {
            tokio::select! {
                () = worker.closed.cancelled() => return,
                signal = subscription.signals.recv() => match signal {
                    Some(Signal::Event(body)) => {
                        if let Ok(asked) = serde_json::from_slice::<CancelAsked>(&body) {
                            worker.cancel(asked.execution_id);
                        }
                    }
                    Some(Signal::Missed) => end_cancelled(&worker).await,
                    None => break,
                },
            }
        }
    }
}
