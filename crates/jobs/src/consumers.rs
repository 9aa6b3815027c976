//! One subscription per queue. A delivery is claimed, acked, and run; it is never held while a run goes on.

use crate::{Worker, run};
use bifrost_domain::{
    error::{Error, Kind as ErrorKind, Result},
    execution::{Claimed, Isolation, Kind},
    ids::ExecutionId,
    messages::RunMessage,
    ports::broker::{Delivery, Queue, Settle},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::OwnedSemaphorePermit;

/// Deliveries wait for a slot at most so long; then the subscription is given up, which returns what it holds, until a
/// slot is free (RabbitMQ closes channels that hold a delivery for 30 minutes).
const SLOT_PATIENCE: Duration = Duration::from_secs(5);
/// A claim is tried again while the database is away or the worker has no lease, at most so long; then the message goes back.
const CLAIM_PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

/// Starts the consumers of all queues.
pub(crate) fn start(worker: &Arc<Worker>, slots: usize) {
    let prefetch = match worker.settings.isolation {
        Isolation::Fork => slots + 2,
        Isolation::Reuse => slots,
    };
    let prefetch = u16::try_from(prefetch).unwrap_or(u16::MAX);
    for kind in Kind::ALL {
        worker.duties.spawn(consume(worker.clone(), Queue(kind.queue()), prefetch));
    }
}

async fn consume(worker: Arc<Worker>, queue: Queue, prefetch: u16) {
    while !worker.closing.is_cancelled() {
        let subscription = tokio::select! {
            () = worker.closing.cancelled() => return,
            subscription = worker.app.broker().subscribe(&queue, prefetch) => subscription,
        };
        let mut subscription = match subscription {
            Ok(subscription) => subscription,
            Err(error) => {
                tracing::debug!(queue = queue.0, error = %error, "not subscribed yet");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        loop {
            let delivery = tokio::select! {
                () = worker.closing.cancelled() => return,
                delivery = subscription.deliveries.recv() => delivery,
            };
            let Some(delivery) = delivery else { break };
            let slot = worker.admission.clone().acquire_owned();
            match tokio::time::timeout(SLOT_PATIENCE, slot).await {
                Ok(Ok(permit)) => {
                    let worker = worker.clone();
                    worker.runs.clone().spawn(async move { handle(&worker, delivery, permit).await });
                }
                Ok(Err(_closed)) => return,
                Err(_no_slot) => {
                    delivery.settle.requeue();
                    break;
                }
            }
        }
        drop(subscription);
        // Subscribe again when there is something to run it with.
        tokio::select! {
            () = worker.closing.cancelled() => return,
            permit = worker.admission.acquire() => drop(permit),
        }
    }
}

async fn handle(worker: &Arc<Worker>, delivery: Delivery, permit: OwnedSemaphorePermit) {
    let id = match serde_json::from_slice::<RunMessage>(&delivery.body) {
        Ok(message) if message.v == RunMessage::VERSION => message.execution_id,
        Ok(message) => {
            delivery.settle.reject(format!("unknown message version {}", message.v));
            return;
        }
        Err(error) => {
            delivery.settle.reject(format!("not a run message: {error}"));
            return;
        }
    };
    claim_and_run(worker, id, delivery.settle).await;
    drop(permit);
}

/// Counts a delivery among those that are being claimed: until its answer is here, nobody may think that the worker does not know the run.
struct Claiming<'a> {
    worker: &'a Worker,
    id: ExecutionId,
}

impl<'a> Claiming<'a> {
    fn enter(worker: &'a Worker, id: ExecutionId) -> Self {
        *worker.claiming.entry(id).or_default() += 1;
        Self { worker, id }
    }
}

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        self.worker.claiming.remove_if_mut(&self.id, |_, count| {
            *count -= 1;
            *count == 0
        });
    }
}

async fn claim_and_run(worker: &Arc<Worker>, id: ExecutionId, settle: Settle) {
    let _claiming = Claiming::enter(worker, id);
    let started = tokio::time::Instant::now();
    let claimed = loop {
        match claim(worker, id).await {
            Ok(claimed) => break claimed,
            Err(error) if error.kind == ErrorKind::Unavailable => {
                if started.elapsed() > CLAIM_PATIENCE || worker.closing.is_cancelled() {
                    settle.requeue();
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                tracing::error!(execution.id = %id, error = ?error, "an execution could not be claimed");
                // The row stays unclaimed and the relay's sweep dispatches it again, later each time.
                settle.reject(error.to_string());
                return;
            }
        }
    };
    settle.ack();
    if let Some(claimed) = claimed {
        run::run(worker, claimed).await;
    }
}

/// The run, unless somebody else has it. A refusal because of the worker's own lease is no such answer: it will register anew.
async fn claim(worker: &Worker, id: ExecutionId) -> Result<Option<Claimed>> {
    let own = worker.id();
    let claimed = worker.app.claim(id, own).await?;
    if claimed.is_none() && !worker.app.holds_lease(own).await? {
        return Err(Error::unavailable("the worker has no lease"));
    }
    Ok(claimed)
}
