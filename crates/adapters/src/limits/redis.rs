//! Buckets that all processes share, in Redis: a key per bucket, `{prefix}:limit:{SHA-256 of the key}`, that holds the time at which it is
//! full again and expires then. One round trip a call, over the connection that the bus publishes on; the server's clock is the only one.

use super::InProcess;
use crate::bus::RedisBus;
use async_trait::async_trait;
use bifrost_domain::ports::limits::{Allowance, Limiter, Verdict};
use sha2::{Digest, Sha256};
use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// After a call that was not answered in time the server is left alone for so long.
const PAUSE: Duration = Duration::from_secs(1);

/// Takes one: 0, or the microseconds until one is back.
const TAKE: &str = r"
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local step, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + step
local ahead = full_at - now
if ahead > step * most then
    return ahead - step * most
end
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil(ahead / 1000))
return 0
";
/// Puts one back.
const GIVE_BACK: &str = r"
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local full_at = tonumber(redis.call('GET', KEYS[1]) or 0) - tonumber(ARGV[1])
if full_at > now then
    redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
else
    redis.call('DEL', KEYS[1])
end
return 0
";

/// The buckets of all processes over one Redis. While it is away, those of this process.
pub struct RedisLimiter {
    bus: Arc<RedisBus>,
    prefix: String,
    within: Duration,
    own: InProcess,
    alone: AtomicBool,
    begun: Instant,
    /// Milliseconds since `begun` before which the server is not asked again.
    not_before: AtomicU64,
}

impl std::fmt::Debug for RedisLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisLimiter").field("bus", &self.bus).finish_non_exhaustive()
    }
}

impl RedisLimiter {
    /// Over the connection of a bus, under `prefix`; an answer is waited for at most `within`
    /// ([`WITHIN`](bifrost_domain::ports::limits::WITHIN), unless it is a test).
    #[must_use]
    pub fn new(bus: Arc<RedisBus>, prefix: &str, within: Duration) -> Self {
        Self {
            bus,
            prefix: prefix.to_owned(),
            within,
            own: InProcess::new(),
            alone: AtomicBool::new(false),
            begun: Instant::now(),
            not_before: AtomicU64::new(0),
        }
    }

    /// What people typed does not stand in Redis, and every key has the same length.
    fn name(&self, key: &str) -> String {
        let mut name = format!("{}:limit:", self.prefix);
        for byte in Sha256::digest(key.as_bytes()) {
            let _ = write!(name, "{byte:02x}");
        }
        name
    }

    /// The script's answer; `None` when the server does not give one.
    async fn ask(&self, script: &str, key: &str, allowance: Allowance) -> Option<u64> {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        if now < self.not_before.load(Ordering::Relaxed) {
            return None;
        }
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(1).arg(self.name(key));
        command.arg(micros(allowance.step())).arg(allowance.most.get());
        let refusal = match tokio::time::timeout(self.within, self.bus.ask::<u64>(&command)).await {
            Ok(Ok(answer)) => {
                if self.alone.swap(false, Ordering::Relaxed) {
                    tracing::info!("rate limits are counted in redis again");
                }
                return Some(answer);
            }
            Ok(Err(reason)) => reason,
            Err(_) => {
                let pause = u64::try_from(PAUSE.as_millis()).unwrap_or(u64::MAX);
                self.not_before.store(now.saturating_add(pause), Ordering::Relaxed);
                self.bus.suspect();
                format!("no answer within {:?}", self.within)
            }
        };
        if !self.alone.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                reason = refusal,
                "rate limits are counted by each process alone until redis answers"
            );
        }
        None
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1)
}

#[async_trait]
impl Limiter for RedisLimiter {
    async fn take(&self, key: &str, allowance: Allowance) -> Verdict {
        match self.ask(TAKE, key, allowance).await {
            Some(0) => Verdict::Allowed,
            Some(wait) => Verdict::RetryAfter(Duration::from_micros(wait)),
            None => self.own.take(key, allowance).await,
        }
    }

    async fn give_back(&self, key: &str, allowance: Allowance) {
        if self.ask(GIVE_BACK, key, allowance).await.is_none() {
            self.own.give_back(key, allowance).await;
        }
    }
}
