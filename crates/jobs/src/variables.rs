//! A run's variables on their way to the store.

use crate::Worker;
use bifrost_domain::{error::Kind as ErrorKind, execution::Claimed, ids::ExecutionId};
use serde_json::{Map, Value};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

/// How long variables are tried to be stored while the database is away, and the pause between two tries.
const PATIENCE: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_millis(500);

/// The newest variables are stored one write at a time; what came meanwhile is skipped but for the newest.
pub(crate) struct Variables {
    worker: Arc<Worker>,
    id: ExecutionId,
    attempt: i32,
    newest: Option<watch::Sender<Option<Map<String, Value>>>>,
    writer: Option<JoinHandle<()>>,
}

impl Variables {
    pub(crate) fn new(worker: &Arc<Worker>, claimed: &Claimed) -> Self {
        Self { worker: worker.clone(), id: claimed.id, attempt: claimed.attempt, newest: None, writer: None }
    }

    pub(crate) fn set(&mut self, values: Map<String, Value>) {
        if values.is_empty() && self.newest.is_none() {
            return;
        }
        let newest = self.newest.get_or_insert_with(|| {
            let (sender, receiver) = watch::channel(None);
            self.writer =
                Some(tokio::spawn(write_variables(self.worker.clone(), self.id, self.attempt, receiver)));
            sender
        });
        newest.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&values);
            if changed {
                *current = Some(values);
            }
            changed
        });
    }

    pub(crate) async fn finish(mut self) {
        self.newest = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.await;
        }
    }
}

async fn write_variables(
    worker: Arc<Worker>,
    id: ExecutionId,
    attempt: i32,
    mut newest: watch::Receiver<Option<Map<String, Value>>>,
) {
    // A closed channel still has its last value to be written.
    while newest.changed().await.is_ok() || newest.has_changed().is_ok_and(|changed| changed) {
        let begun = Instant::now();
        loop {
            let Some(values) = newest.borrow_and_update().clone().map(Value::Object) else { break };
            match worker.app.write_variables(id, attempt, &values).await {
                Ok(()) => break,
                // What a run had at its end is worth waiting for, as its log is; newer ones take the place of these meanwhile.
                Err(error) if error.kind == ErrorKind::Unavailable && begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    tracing::warn!(execution.id = %id, error = %error, "variables were not stored");
                    break;
                }
            }
        }
    }
}
