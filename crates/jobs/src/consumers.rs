//! One subscription per queue. A delivery is claimed, acked, and run; it is never held while a run goes on.

use crate::{Worker, run};
use bifrost_domain::{
    error::Kind as ErrorKind,
    execution::{Isolation, Kind},
    ids::ExecutionId,
    messages::RunMessage,
    ports::broker::{Delivery, Queue, Settle},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::OwnedSemaphorePermit;

/// Deliveries wait for a slot at most so long; then the subscription is given up, which returns what it holds, until a
/// slot is free (RabbitMQ closes channels that hold a delivery for 30 minutes).
const SLOT_PATIENCE: Duration = Duration::from_secs(5);
/// A claim is tried again while the database is away, at most so long.
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

async fn claim_and_run(worker: &Arc<Worker>, id: ExecutionId, settle: Settle) {
    let started = tokio::time::Instant::now();
    let claimed = loop {
        match worker.app.claim(id, worker.id()).await {
            Ok(claimed) => break claimed,
            Err(error) if error.kind == ErrorKind::Unavailable && started.elapsed() < CLAIM_PATIENCE => {
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
