//! Synchronous callers wait here for the end of their execution. Signal and sweep: the bus wakes them, and once a second those
//! that still wait are looked up in the store.

use crate::{App, metrics::WaitingCaller};
use bifrost_domain::{
    execution::Status,
    ids::ExecutionId,
    messages::{Finished, topics},
    ports::bus::Signal,
};
use dashmap::DashMap;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// How often callers that still wait are looked up.
const SWEEP: Duration = Duration::from_secs(1);

/// Who waits for which execution.
#[derive(Debug, Default)]
pub struct Waiters {
    waiting: DashMap<ExecutionId, (Instant, oneshot::Sender<Status>)>,
}

/// Interest in one execution's end; dropping it withdraws it.
#[derive(Debug)]
pub struct Waiter {
    id: ExecutionId,
    waiters: Arc<Waiters>,
    ended: oneshot::Receiver<Status>,
    _counted: WaitingCaller,
}

impl Waiters {
    /// Registers interest. Done before the execution is committed, so that no end is missed.
    #[must_use]
    pub fn register(self: &Arc<Self>, id: ExecutionId) -> Waiter {
        let (sender, ended) = oneshot::channel();
        self.waiting.insert(id, (Instant::now(), sender));
        Waiter { id, waiters: self.clone(), ended, _counted: WaitingCaller::enter() }
    }

    /// Wakes whoever waits for `id`.
    pub fn wake(&self, id: ExecutionId, status: Status) {
        if let Some((_, (_, sender))) = self.waiting.remove(&id) {
            let _ = sender.send(status);
        }
    }

    /// Those that have waited for at least `age`.
    fn ids(&self, age: Duration) -> Vec<ExecutionId> {
        self.waiting.iter().filter(|entry| entry.0.elapsed() >= age).map(|entry| *entry.key()).collect()
    }
}

impl Waiter {
    /// Waits for the end, at most `limit`. `None` when it did not come in time.
    pub async fn wait(mut self, limit: Duration) -> Option<Status> {
        tokio::time::timeout(limit, &mut self.ended).await.ok()?.ok()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.waiters.waiting.remove(&self.id);
    }
}

impl App {
    /// Wakes synchronous callers of this process; runs until the process ends.
    pub async fn run_waiters(self: Arc<Self>) {
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut subscription = match self.doors.bus.subscribe(topics::FINISHED).await {
                Ok(subscription) => Some(subscription),
                Err(error) => {
                    tracing::debug!(error = %error, "no bus for finished executions; the sweep finds them");
                    None
                }
            };
            loop {
                tokio::select! {
                    signal = next(&mut subscription) => match signal {
                        Some(Signal::Event(body)) => {
                            if let Ok(finished) = serde_json::from_slice::<Finished>(&body) {
                                self.waiters.wake(finished.execution_id, finished.status);
                            }
                        }
                        Some(Signal::Missed) => self.look_up_waiting(Duration::ZERO).await,
                        None => break,
                    },
                    _ = sweep.tick() => {
                        self.look_up_waiting(SWEEP).await;
                        if subscription.is_none() {
                            break;
                        }
                    }
                }
            }
        }
    }

    async fn look_up_waiting(&self, age: Duration) {
        for id in self.waiters.ids(age) {
            match self.reader.find_status(id).await {
                Ok(Some(status)) if status.is_terminal() => self.waiters.wake(id, status),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(error = %error, "waiting executions were not looked up");
                    return;
                }
            }
        }
    }
}

async fn next(subscription: &mut Option<bifrost_domain::ports::bus::Subscription>) -> Option<Signal> {
    match subscription {
        Some(subscription) => subscription.signals.recv().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifrost_domain::clock::{Ids, SystemIds};

    #[tokio::test]
    async fn interest_is_woken_once_and_withdrawn_on_drop() {
        let waiters: Arc<Waiters> = Arc::default();
        let id = ExecutionId::from_uuid(SystemIds.next());
        let waiter = waiters.register(id);
        waiters.wake(id, Status::Success);
        assert_eq!(waiter.wait(Duration::from_secs(5)).await, Some(Status::Success));
        let waiter = waiters.register(id);
        assert_eq!(waiters.ids(Duration::ZERO), vec![id]);
        assert!(waiters.ids(Duration::from_secs(60)).is_empty());
        drop(waiter);
        assert!(waiters.ids(Duration::ZERO).is_empty());
    }
}
