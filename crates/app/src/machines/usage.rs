//! When keys were last used: written behind the answer, once a minute a key at most.

use bifrost_domain::ids::KeyId;
use bifrost_storage::{Store, machines::Keys};
use chrono::{DateTime, Duration, Utc};
use dashmap::DashMap;

const EVERY: Duration = Duration::seconds(60);
const CAPACITY: usize = 10_000;

#[derive(Debug)]
pub(super) struct Usage {
    store: Store,
    noted: DashMap<KeyId, DateTime<Utc>>,
}

impl Usage {
    pub(super) fn new(store: Store) -> Self {
        Self { store, noted: DashMap::new() }
    }

    pub(super) fn note(&self, keys: Keys, id: KeyId, now: DateTime<Utc>) {
        if self.noted.len() >= CAPACITY {
            self.noted.retain(|_, at| is_recent(*at, now));
            if self.noted.len() >= CAPACITY {
                // The statement itself writes no more than once a minute.
                self.noted.clear();
            }
        }
        let before = self.noted.get(&id).map(|at| *at);
        if before.is_some_and(|at| is_recent(at, now)) {
            return;
        }
        self.noted.insert(id, now);
        let store = self.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.touch_key(keys, id, now).await {
                tracing::warn!(key.id = %id, error = %error, "the use of a key could not be noted");
            }
        });
    }
}

fn is_recent(at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    (Duration::zero()..EVERY).contains(&(now - at))
}
