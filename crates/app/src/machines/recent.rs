//! What was read, for a second: a burst of requests reads it once, and what changed is seen by every replica within that second.

use chrono::{DateTime, Duration, Utc};
use dashmap::DashMap;
use std::{hash::Hash, sync::Arc};

const KEPT: Duration = Duration::seconds(1);
const CAPACITY: usize = 10_000;

#[derive(Debug)]
pub(super) struct Recent<K: Eq + Hash, V> {
    known: DashMap<K, (DateTime<Utc>, Arc<V>)>,
}

impl<K: Eq + Hash, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { known: DashMap::new() }
    }
}

impl<K: Eq + Hash, V> Recent<K, V> {
    pub(super) fn get(&self, key: &K, now: DateTime<Utc>) -> Option<Arc<V>> {
        let entry = self.known.get(key)?;
        is_fresh(entry.0, now).then(|| Arc::clone(&entry.1))
    }

    /// `asked_at` is the time before the store was asked.
    pub(super) fn put(&self, key: K, asked_at: DateTime<Utc>, value: Arc<V>) {
        if self.known.len() >= CAPACITY {
            self.known.retain(|_, entry| is_fresh(entry.0, asked_at));
            if self.known.len() >= CAPACITY {
                self.known.clear();
            }
        }
        self.known.insert(key, (asked_at, value));
    }

    pub(super) fn clear(&self) {
        self.known.clear();
    }
}

/// A clock that went backwards makes nothing fresh for longer.
fn is_fresh(asked_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    (Duration::zero()..KEPT).contains(&(now - asked_at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifrost_domain::clock::{Clock, SystemClock};

    #[test]
    fn it_is_known_for_a_second_and_bounded() {
        let (recent, now) = (Recent::default(), SystemClock.now());
        recent.put(1, now, Arc::new("a"));
        assert_eq!(recent.get(&1, now + Duration::milliseconds(999)).as_deref(), Some(&"a"));
        assert_eq!(recent.get(&1, now + Duration::seconds(1)), None);
        assert_eq!(recent.get(&1, now - Duration::milliseconds(1)), None);
        for key in 0..CAPACITY + 5 {
            recent.put(key, now, Arc::new("b"));
        }
        assert!(recent.known.len() <= CAPACITY);
        recent.clear();
        assert_eq!(recent.get(&(CAPACITY + 4), now), None);
    }
}
