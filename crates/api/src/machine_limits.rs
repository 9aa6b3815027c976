//! How often an API client may call, and how often codes may be asked for and guessed: a bucket each, in memory, for this process.

use crate::{
    metrics::{self, Limit},
    rate_limit::network,
};
use bifrost_domain::{
    error::{Error, Kind, Result},
    ids::{ApplicationId, UserId},
};
use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Buckets at most; those beyond share one, so that a crowd cannot empty the table.
const CAPACITY: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);
/// Programs that one address may begin to sign in, a minute.
const DEVICE_CODES: u32 = 30;
/// Questions how it stands that one address may ask, a minute: many programs behind one address ask every five seconds.
const DEVICE_POLLS: u32 = 600;
/// Codes that one person may try, a minute: 20^8 are many more than can be tried in ten minutes.
const CODE_GUESSES: u32 = 10;

/// The limits of this file.
#[derive(Debug)]
pub(crate) struct MachineLimits {
    pub(crate) applications: Buckets<ApplicationId>,
    device_codes: Buckets<IpAddr>,
    device_polls: Buckets<IpAddr>,
    guesses: Buckets<UserId>,
}

impl Default for MachineLimits {
    fn default() -> Self {
        Self {
            applications: Buckets::new(Limit::Application),
            device_codes: Buckets::new(Limit::Device),
            device_polls: Buckets::new(Limit::Device),
            guesses: Buckets::new(Limit::Device),
        }
    }
}

impl MachineLimits {
    /// A program asks to be signed in.
    pub(crate) fn device_code(&self, ip: Option<IpAddr>) -> Result<()> {
        self.device_codes.take(ip.map(network), DEVICE_CODES, Instant::now())
    }

    /// A program asks how it stands.
    pub(crate) fn device_poll(&self, ip: Option<IpAddr>) -> Result<()> {
        self.device_polls.take(ip.map(network), DEVICE_POLLS, Instant::now())
    }

    /// A person typed a code.
    pub(crate) fn guess(&self, user: UserId) -> Result<()> {
        self.guesses.take(Some(user), CODE_GUESSES, Instant::now())
    }
}

/// A bucket for each key; how much fits in is said at each use.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    limit: Limit,
    buckets: Mutex<HashMap<Option<K>, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl<K: Hash + Eq + Copy> Buckets<K> {
    fn new(limit: Limit) -> Self {
        Self { limit, buckets: Mutex::default() }
    }

    /// Counts a use.
    pub(crate) fn check(&self, key: K, per_minute: NonZeroU32) -> Result<()> {
        self.take(Some(key), per_minute.get(), Instant::now())
    }

    fn take(&self, mut key: Option<K>, per_minute: u32, now: Instant) -> Result<()> {
        let most = f64::from(per_minute);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= CAPACITY && !buckets.contains_key(&key) {
            // An untouched bucket is full again after a minute.
            buckets.retain(|_, bucket| now.saturating_duration_since(bucket.at) < MINUTE);
            if buckets.len() >= CAPACITY {
                key = None;
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket { left: most, at: now });
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + passed * most / MINUTE.as_secs_f64()).min(most);
        bucket.at = now;
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Ok(());
        }
        metrics::limited(self.limit);
        let wait = Duration::from_secs_f64((1.0 - bucket.left) * MINUTE.as_secs_f64() / most);
        let retry_after_seconds = wait.as_secs() + 1;
        Err(Error::new(
            Kind::TooMany { retry_after_seconds },
            format!("too many requests; try again in {retry_after_seconds} s"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_limit_and_a_changed_one_counts_at_once() {
        let (limits, now) = (Buckets::new(Limit::Application), Instant::now());
        for _ in 0..3 {
            limits.take(Some(1), 3, now).expect("within the limit");
        }
        let error = limits.take(Some(1), 3, now).expect_err("the fourth");
        assert_eq!(error.kind, Kind::TooMany { retry_after_seconds: 21 });
        limits.take(Some(2), 1, now).expect("another one");
        limits.take(Some(2), 1, now).expect_err("has less");
        limits.take(Some(1), 60, now + Duration::from_secs(1)).expect("a higher limit fills faster");
    }

    #[test]
    fn the_table_is_bounded() {
        let (limits, now) = (Buckets::new(Limit::Device), Instant::now());
        for n in 0..20_000 {
            let _ = limits.take(Some(n), 1, now);
        }
        assert!(limits.buckets.lock().expect("lock").len() <= CAPACITY + 1);
    }
}
