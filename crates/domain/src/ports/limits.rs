//! How often something may be done: buckets that are emptied one by one and fill up again with time.
//!
//! A bucket is found by its key. Over a server all processes share it; a server that is away stops nobody: the adapter counts for
//! this process alone until it is back. No call takes longer than [`WITHIN`] and a little.

use async_trait::async_trait;
use std::{num::NonZeroU32, time::Duration};

/// How long a call waits for a server before it decides without it.
pub const WITHIN: Duration = Duration::from_millis(100);

/// How much a bucket holds, and how fast it fills up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// What a full bucket holds.
    pub most: NonZeroU32,
    /// An empty bucket is full again after this time; not zero, and at most a day.
    pub within: Duration,
}

impl Allowance {
    /// The time after which one is back.
    #[must_use]
    pub fn step(&self) -> Duration {
        self.within.min(Duration::from_secs(24 * 60 * 60)) / self.most.get()
    }
}

/// Whether it may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Yes; one was taken out of the bucket.
    Allowed,
    /// Not before this time has passed; nothing was taken.
    RetryAfter(Duration),
}

/// The buckets.
#[async_trait]
pub trait Limiter: Send + Sync + 'static {
    /// Takes one out of the bucket of `key`, if one is in it. Of many callers at once exactly as many are allowed as were in it.
    async fn take(&self, key: &str, allowance: Allowance) -> Verdict;

    /// Puts one back that was taken; a full bucket stays full.
    async fn give_back(&self, key: &str, allowance: Allowance);
}
