//! Kept children (isolation `reuse`): each serves many runs of one organization and one workspace version.
//!
//! Invariants: a child never changes its key; one call at a time per child; no more children than slots. Who waits for a
//! key is served in order.

use crate::{child::Child, pool::Pool, snapshots::Snapshot};
use bifrost_domain::scope::Scope;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::oneshot;

/// How long a run waits for a busy child of its key before it gets another one: short runs share a child, long ones do
/// not block each other.
const PATIENCE: Duration = Duration::from_millis(5);

/// Whose runs share a child.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub scope: Scope,
    pub version: String,
}

/// A child with its history.
#[derive(Debug)]
pub(crate) struct Kept {
    pub child: Child,
    runs: u32,
    first_bytes: Option<u64>,
    /// Kept alive as long as the child may read it.
    _snapshot: Arc<Snapshot>,
    seat: Seat,
}

/// One of the places; free again when dropped.
#[derive(Debug)]
struct Seat {
    key: Key,
    taken: Arc<Mutex<HashMap<Key, usize>>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// Least recently used first.
    idle: VecDeque<Kept>,
    waiting: HashMap<Key, VecDeque<oneshot::Sender<Kept>>>,
}

/// The kept children.
#[derive(Debug)]
pub(crate) struct Reuse {
    state: Mutex<State>,
    taken: Arc<Mutex<HashMap<Key, usize>>>,
    places: usize,
    max_runs: u32,
    max_growth_bytes: u64,
}

impl Reuse {
    pub(crate) fn new(places: usize, max_runs: u32, max_growth_bytes: u64) -> Self {
        Self { state: Mutex::default(), taken: Arc::default(), places, max_runs, max_growth_bytes }
    }

    /// A child of `key`: an idle one, the next that becomes idle, or a new one.
    pub(crate) async fn take(
        &self,
        key: &Key,
        snapshot: &Arc<Snapshot>,
        pool: &Pool,
    ) -> Result<Kept, String> {
        let generation = pool.zygote().await?.link.generation;
        let waiting = {
            let mut state = self.lock();
            // New runs use the newest version only: what is kept of older ones serves nobody.
            state.idle.retain(|kept| {
                kept.seat.key.version == key.version && pool.is_usable(&kept.child, generation)
            });
            let newest = state.idle.iter().rposition(|kept| kept.seat.key == *key);
            if let Some(kept) = newest.and_then(|at| state.idle.remove(at)) {
                return Ok(kept);
            }
            self.has_seats(key).then(|| {
                let (sender, receiver) = oneshot::channel();
                state.waiting.entry(key.clone()).or_default().push_back(sender);
                receiver
            })
        };
        if let Some(waiting) = waiting
            && let Ok(Ok(kept)) = tokio::time::timeout(PATIENCE, waiting).await
            && pool.is_usable(&kept.child, generation)
        {
            return Ok(kept);
        }
        let seat = self.sit_down(key);
        let child = pool.take().await?;
        Ok(Kept { child, runs: 0, first_bytes: None, _snapshot: Arc::clone(snapshot), seat })
    }

    /// Takes a child back after a run that ended well; replaces it when it has served or grown enough.
    pub(crate) fn give_back(&self, mut kept: Kept) {
        kept.runs += 1;
        if kept.runs >= self.max_runs || self.has_grown(&mut kept) {
            return;
        }
        let mut state = self.lock();
        if let Some(queue) = state.waiting.get_mut(&kept.seat.key) {
            while let Some(next) = queue.pop_front() {
                match next.send(kept) {
                    Ok(()) => return,
                    Err(back) => kept = back,
                }
            }
            state.waiting.remove(&kept.seat.key);
        }
        state.idle.push_back(kept);
    }

    /// Lets all idle children go.
    pub(crate) fn clear(&self) {
        self.lock().idle.clear();
    }

    fn has_grown(&self, kept: &mut Kept) -> bool {
        // Every 16th run is enough: growth is watched for, not measured.
        if kept.first_bytes.is_some() && !kept.runs.is_multiple_of(16) {
            return false;
        }
        let Some(bytes) = resident_bytes(kept.child.pid) else { return false };
        let first = *kept.first_bytes.get_or_insert(bytes);
        bytes > first.saturating_add(self.max_growth_bytes)
    }

    fn has_seats(&self, key: &Key) -> bool {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    /// Takes a place, and lets the least recently used idle child go when there are too many.
    fn sit_down(&self, key: &Key) -> Seat {
        let mut state = self.lock();
        let mut evicted = Vec::new();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count: usize = taken.values().sum();
        while count >= self.places
            && let Some(idle) = state.idle.pop_front()
        {
            evicted.push(idle);
            count -= 1;
        }
        *taken.entry(key.clone()).or_default() += 1;
        drop(taken);
        // Their seats are given up by their drop, which takes the lock on its own.
        drop(evicted);
        Seat { key: key.clone(), taken: Arc::clone(&self.taken) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn resident_bytes(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
