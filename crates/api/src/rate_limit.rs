//! How often an address may try to sign in: a bucket per address, in memory, for this process.

use crate::metrics::{self, Limit};
use bifrost_domain::error::{Error, Kind, Result};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Addresses remembered at most; those beyond share one bucket, so that a crowd cannot empty the table.
const CAPACITY: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);

/// A limit per address and minute.
#[derive(Debug)]
pub(crate) struct RateLimit {
    limit: Limit,
    per_minute: Option<NonZeroU32>,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl RateLimit {
    pub(crate) fn new(limit: Limit, per_minute: Option<NonZeroU32>) -> Self {
        Self { limit, per_minute, buckets: Mutex::default() }
    }

    /// Counts a try.
    pub(crate) fn check(&self, ip: Option<IpAddr>) -> Result<()> {
        self.check_at(ip, Instant::now())
    }

    fn check_at(&self, ip: Option<IpAddr>, now: Instant) -> Result<()> {
        let Some(limit) = self.per_minute.map(|limit| f64::from(limit.get())) else { return Ok(()) };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = ip.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), network);
        if buckets.len() >= CAPACITY && !buckets.contains_key(&key) {
            // An untouched bucket is full again after a minute.
            buckets.retain(|_, bucket| now.saturating_duration_since(bucket.at) < MINUTE);
            if buckets.len() >= CAPACITY {
                key = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket { left: limit, at: now });
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + passed * limit / MINUTE.as_secs_f64()).min(limit);
        bucket.at = now;
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Ok(());
        }
        metrics::limited(self.limit);
        let wait = Duration::from_secs_f64((1.0 - bucket.left) * MINUTE.as_secs_f64() / limit);
        let retry_after_seconds = wait.as_secs() + 1;
        Err(Error::new(
            Kind::TooMany { retry_after_seconds },
            format!("too many attempts; try again in {retry_after_seconds} s"),
        ))
    }
}

/// One customer has a whole /64 of IPv6.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn the_limit_is_per_address_and_fills_up_again() {
        let (limit, now) = (RateLimit::new(Limit::Login, NonZeroU32::new(3)), Instant::now());
        for _ in 0..3 {
            limit.check_at(ip("192.0.2.1"), now).expect("within the limit");
        }
        let error = limit.check_at(ip("192.0.2.1"), now).expect_err("the fourth");
        assert_eq!(error.kind, Kind::TooMany { retry_after_seconds: 21 });
        limit.check_at(ip("192.0.2.2"), now).expect("another address");
        limit.check_at(ip("192.0.2.1"), now + Duration::from_secs(21)).expect("one is back");
        limit.check_at(ip("192.0.2.1"), now + Duration::from_secs(21)).expect_err("and only one");
    }

    #[test]
    fn one_network_is_one_address() {
        let (limit, now) = (RateLimit::new(Limit::Login, NonZeroU32::new(1)), Instant::now());
        limit.check_at(ip("2001:db8::1"), now).expect("the first");
        limit.check_at(ip("2001:db8::2"), now).expect_err("the same network");
        limit.check_at(ip("2001:db8:0:1::1"), now).expect("the next network");
    }

    #[test]
    fn the_table_is_bounded() {
        let (limit, now) = (RateLimit::new(Limit::Login, NonZeroU32::new(1)), Instant::now());
        for n in 0..20_000_u32 {
            let _ = limit.check_at(Some(IpAddr::V4(n.into())), now);
        }
        assert!(limit.buckets.lock().expect("lock").len() <= CAPACITY + 1);
    }
}
