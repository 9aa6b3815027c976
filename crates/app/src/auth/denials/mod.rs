//! Refusals, for the audit log: written behind the answer and together, and bounded, so that nobody can slow the database down, or bury
//! what others did, by being refused. What the same caller is refused again within a minute is counted (`repeats.rs`).

mod repeats;

use super::{Auth, Client};
use bifrost_domain::{
    clock::SharedIds,
    ids::{ApplicationId, AuditId, OrganizationId, UserId},
    policy::Caller,
    user::User,
};
use bifrost_storage::{
    Store,
    audit::{Entry, Outcome},
};
use repeats::{Repeats, WINDOW};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};

/// Refusals that wait for the writer; more are counted and said in the log.
const QUEUE: usize = 1_024;
/// Taken together at most.
const BATCH: usize = 128;
/// Pause before a write that failed is tried again, once.
const RETRY: Duration = Duration::from_secs(1);
/// So often it is looked for counts whose minute is over.
const SWEEP: Duration = Duration::from_secs(5);

/// Somebody who is known, though he was refused.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The user.
    pub user_id: Option<UserId>,
    /// The address.
    pub email: Option<String>,
    /// The display name.
    pub name: Option<String>,
    /// Where he is at home, or acts: whose administrators see the line.
    pub organization_id: Option<OrganizationId>,
    /// The API client that called.
    pub application_id: Option<ApplicationId>,
    /// The person that it acted for.
    pub on_behalf_of: Option<UserId>,
}

impl From<&Caller> for Known {
    fn from(caller: &Caller) -> Self {
        Self {
            user_id: Some(caller.user_id),
            email: Some(caller.email.clone()),
            name: Some(caller.name.clone()),
            organization_id: caller.scope.organization(),
            application_id: caller.application_id,
            on_behalf_of: caller.on_behalf_of,
        }
    }
}

impl From<&User> for Known {
    fn from(user: &User) -> Self {
        Self {
            user_id: Some(user.id),
            email: Some(user.email.clone()),
            name: Some(user.display_name().to_owned()),
            organization_id: user.organization_id,
            application_id: None,
            on_behalf_of: None,
        }
    }
}

/// A refusal.
#[derive(Debug, Clone)]
pub struct Denial {
    /// Who was refused.
    pub by: Known,
    /// What was refused, and why; never a secret.
    pub detail: Value,
    /// What makes two refusals of the same caller the same: without ids, of which there are as many as somebody likes.
    pub like: String,
}

/// A line, with what makes it the same as another one.
type Noted = (repeats::Key, Entry);

/// The way to the writer.
#[derive(Debug, Clone)]
pub(super) struct Denials {
    queue: mpsc::Sender<Noted>,
    lost: Arc<AtomicU64>,
}

impl Denials {
    /// Starts the writer; it ends with the last sender.
    pub(super) fn start(store: Store, ids: SharedIds) -> Self {
        let (queue, receiver) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        tokio::spawn(Writer { store, ids, lost: Arc::clone(&lost) }.run(receiver));
        Self { queue, lost }
    }

    fn note(&self, like: String, entry: Entry) {
        if self.queue.try_send((repeats::Key::of(&entry, like), entry)).is_err() {
            // Said by the writer, once for many: the log is no place to be flooded either.
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Writer {
    store: Store,
    ids: SharedIds,
    lost: Arc<AtomicU64>,
}

impl Writer {
    async fn run(self, mut receiver: mpsc::Receiver<Noted>) {
        let (mut batch, mut repeats) = (Vec::with_capacity(BATCH), Repeats::default());
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                taken = receiver.recv_many(&mut batch, BATCH) => if taken == 0 { break },
                _ = sweep.tick() => {}
            }
            let now = Instant::now();
            let mut lines = self.renumbered(repeats.due(now));
            lines.extend(batch.drain(..).filter_map(|(key, entry)| repeats.admit(key, entry, now)));
            self.write(lines, repeats.take_lost()).await;
        }
        let last = self.renumbered(repeats.due(Instant::now() + WINDOW));
        self.write(last, 0).await;
    }

    /// Lines that were held back come after those that were written meanwhile: who reads page by page misses none.
    fn renumbered(&self, mut lines: Vec<Entry>) -> Vec<Entry> {
        for line in &mut lines {
            line.id = AuditId::from_uuid(self.ids.next());
        }
        lines
    }

    async fn write(&self, lines: Vec<Entry>, beyond: u64) {
        let mut lost = beyond + self.lost.swap(0, Ordering::Relaxed);
        if !lines.is_empty() && write(&self.store, &lines).await.is_err() {
            tokio::time::sleep(RETRY).await;
            if write(&self.store, &lines).await.is_err() {
                lost += self.write_each(&lines).await;
            }
        }
        if lost > 0 {
            tracing::warn!(count = lost, "refusals are missing from the audit log");
        }
    }

    /// Writes lines by themselves, so that one which the store does not take costs no other; tells how many are lost.
    async fn write_each(&self, lines: &[Entry]) -> u64 {
        let mut lost = 0;
        for (n, line) in lines.iter().enumerate() {
            let Err(error) = write(&self.store, std::slice::from_ref(line)).await else { continue };
            tracing::error!(error = %error, "a refusal cannot be written to the audit log");
            if error.is_away() {
                return lost + (lines.len() - n) as u64;
            }
            lost += 1;
        }
        lost
    }
}

async fn write(store: &Store, lines: &[Entry]) -> Result<(), bifrost_storage::Error> {
    let tx = store.db().begin().await?;
    for line in lines {
        tx.insert_audit(line.clone()).await?;
    }
    tx.commit().await
}

impl Auth {
    /// Notes a refusal.
    pub fn note_denial(&self, denial: Denial, client: &Client) {
        let Denial { by, detail, like } = denial;
        let entry = Entry {
            actor_id: by.user_id,
            actor_email: by.email,
            actor_name: by.name,
            organization_id: by.organization_id,
            application_id: by.application_id,
            on_behalf_of: by.on_behalf_of,
            outcome: Outcome::Denied,
            detail: Some(detail),
            ..self.scribe.nobodys("access.denied", client)
        };
        self.denials.note(like, entry);
    }

    /// Notes that somebody tried something too often: `limit` says what, `who` by which account or address it is counted, `known` who it
    /// is, or says to be.
    pub fn note_limited(&self, limit: &'static str, who: &str, known: Known, client: &Client) {
        let entry = Entry {
            actor_id: known.user_id,
            actor_email: known.email,
            actor_name: known.name,
            organization_id: known.organization_id,
            outcome: Outcome::Denied,
            detail: Some(json!({ "limit": limit })),
            ..self.scribe.nobodys("access.limited", client)
        };
        self.denials.note(format!("{limit} {who}"), entry);
    }
}
