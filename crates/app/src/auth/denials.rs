//! Refusals of signed-in callers, for the audit log: written behind the answer and together, and bounded, so that nobody can slow
//! the database down by being refused.

use super::{Auth, Client};
use bifrost_domain::policy::Caller;
use bifrost_storage::{
    Store,
    audit::{Entry, Outcome},
};
use serde_json::json;
use std::time::Duration;
use tokio::sync::mpsc;

/// Refusals that wait to be written; more are counted and said in the log.
const QUEUE: usize = 1_024;
/// Written together at most.
const BATCH: usize = 128;
/// Pause before a write that failed is tried again, once.
const RETRY: Duration = Duration::from_secs(1);

/// The way to the writer.
#[derive(Debug, Clone)]
pub(super) struct Denials(mpsc::Sender<Entry>);

impl Denials {
    /// Starts the writer; it ends with the last sender.
    pub(super) fn start(store: Store) -> Self {
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(BATCH);
            while receiver.recv_many(&mut batch, BATCH).await > 0 {
                if write(&store, &batch).await.is_err() {
                    tokio::time::sleep(RETRY).await;
                    if let Err(error) = write(&store, &batch).await {
                        tracing::error!(error = %error, count = batch.len(), "refusals are missing from the audit log");
                    }
                }
                batch.clear();
            }
        });
        Self(sender)
    }

    fn note(&self, entry: Entry) {
        if let Err(error) = self.0.try_send(entry) {
            tracing::warn!(error = %error, "a refusal is missing from the audit log");
        }
    }
}

async fn write(store: &Store, batch: &[Entry]) -> Result<(), bifrost_storage::Error> {
    let tx = store.db().begin().await?;
    for entry in batch {
        tx.insert_audit(entry.clone()).await?;
    }
    tx.commit().await
}

impl Auth {
    /// Notes that `caller` was refused what needs `permission`; `asked` says what it was.
    pub fn note_denial(&self, caller: &Caller, permission: &'static str, asked: &str, client: &Client) {
        let mut entry = self.scribe.line("access.denied", caller, client);
        entry.outcome = Outcome::Denied;
        entry.detail = Some(json!({"permission": permission, "request": asked}));
        self.denials.note(entry);
    }
}
