//! The buckets of one process.

use crate::lock::lock;
use async_trait::async_trait;
use bifrost_domain::ports::limits::{Allowance, Limiter, Verdict};
use std::{collections::HashMap, sync::Mutex, time::Instant};

/// Buckets remembered at most.
const CAPACITY: usize = 10_000;

/// The buckets of one process. A bucket is the time at which it will be full again: nothing else has to be known of it.
#[derive(Debug, Default)]
pub struct InProcess {
    full_at: Mutex<HashMap<Box<str>, Instant>>,
}

impl InProcess {
    /// Full buckets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn take_at(&self, key: &str, allowance: Allowance, now: Instant) -> Verdict {
        let mut buckets = lock(&self.full_at);
        let full_at = buckets.get(key).copied().unwrap_or(now).max(now) + allowance.step();
        // An empty bucket is full after as many steps as it holds.
        let most = allowance.step() * allowance.most.get();
        let ahead = full_at.saturating_duration_since(now);
        if ahead > most {
            return Verdict::RetryAfter(ahead - most);
        }
        if !buckets.contains_key(key) && buckets.len() >= CAPACITY {
            make_room(&mut buckets, now);
        }
        buckets.insert(key.into(), full_at);
        Verdict::Allowed
    }

    fn give_back_at(&self, key: &str, allowance: Allowance, now: Instant) {
        let mut buckets = lock(&self.full_at);
        if let Some(full_at) = buckets.get_mut(key) {
            match full_at.checked_sub(allowance.step()) {
                Some(earlier) if earlier > now => *full_at = earlier,
                _ => {
                    buckets.remove(key);
                }
            }
        }
    }
}

/// Forgets the full buckets, and when that is not enough the half that is full again soonest: a crowd cannot make anybody share a bucket
/// with it, and who tried most is remembered longest.
fn make_room(buckets: &mut HashMap<Box<str>, Instant>, now: Instant) {
    buckets.retain(|_, full_at| *full_at > now);
    if buckets.len() >= CAPACITY {
        let mut times: Vec<Instant> = buckets.values().copied().collect();
        let (_, median, _) = times.select_nth_unstable(CAPACITY / 2);
        let median = *median;
        buckets.retain(|_, full_at| *full_at > median);
    }
}

#[async_trait]
impl Limiter for InProcess {
    async fn take(&self, key: &str, allowance: Allowance) -> Verdict {
        self.take_at(key, allowance, Instant::now())
    }

    async fn give_back(&self, key: &str, allowance: Allowance) {
        self.give_back_at(key, allowance, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{num::NonZeroU32, time::Duration};

    fn allowance(most: u32) -> Allowance {
        Allowance { most: NonZeroU32::new(most).expect("not zero"), within: Duration::from_secs(60) }
    }

    #[test]
    fn it_fills_up_one_by_one() {
        let (limits, now) = (InProcess::new(), Instant::now());
        let take = |seconds| limits.take_at("k", allowance(3), now + Duration::from_secs(seconds));
        for _ in 0..3 {
            assert_eq!(take(0), Verdict::Allowed);
        }
        assert_eq!(take(0), Verdict::RetryAfter(Duration::from_secs(20)));
        assert_eq!(take(19), Verdict::RetryAfter(Duration::from_secs(1)));
        assert_eq!(take(20), Verdict::Allowed);
        assert_eq!(take(20), Verdict::RetryAfter(Duration::from_secs(20)), "and only one");
        assert_eq!(take(100), Verdict::Allowed);
        assert_eq!(take(100), Verdict::Allowed);
    }

    #[test]
    fn a_changed_allowance_counts_at_once() {
        let (limits, now) = (InProcess::new(), Instant::now());
        for _ in 0..3 {
            assert_eq!(limits.take_at("k", allowance(3), now), Verdict::Allowed);
        }
        let more = |seconds| limits.take_at("k", allowance(60), now + Duration::from_secs(seconds));
        assert_eq!(more(0), Verdict::RetryAfter(Duration::from_secs(1)), "it fills up faster");
        assert_eq!(more(1), Verdict::Allowed);
    }

    #[test]
    fn the_table_is_bounded_and_remembers_who_tried_most() {
        let (limits, now) = (InProcess::new(), Instant::now());
        for _ in 0..3 {
            assert_eq!(limits.take_at("attacker", allowance(3), now), Verdict::Allowed);
        }
        for n in 0..50_000 {
            assert_eq!(limits.take_at(&format!("crowd:{n}"), allowance(3), now), Verdict::Allowed);
        }
        assert!(lock(&limits.full_at).len() <= CAPACITY);
        assert_ne!(limits.take_at("attacker", allowance(3), now), Verdict::Allowed);
    }
}
