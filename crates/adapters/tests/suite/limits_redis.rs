//! The buckets in Redis keep the port's contract, and a Redis that is away stops nobody.

use crate::support::{PATIENCE, Proxy, server, soon, unique_prefix};
use bifrost_adapters::{bus::RedisBus, limits::RedisLimiter};
use bifrost_domain::ports::limits::{Allowance, Limiter, Verdict, WITHIN};
use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

fn url() -> String {
    server("REDIS_URL", "redis://127.0.0.1:6379")
}

async fn limiter(url: &str, prefix: &str, within: Duration) -> Arc<dyn Limiter> {
    let bus = RedisBus::start(url, prefix).expect("a URL");
    bus.ready(PATIENCE).await.expect("connected");
    Arc::new(RedisLimiter::new(bus, prefix, within))
}

async fn with_limits(case: impl AsyncFnOnce(Arc<dyn Limiter>, Arc<dyn Limiter>)) {
    let prefix = unique_prefix();
    // A busy machine must not make one of the ends count for itself.
    case(limiter(&url(), &prefix, PATIENCE).await, limiter(&url(), &prefix, PATIENCE).await).await;
}

bifrost_domain::limits_contract!(with_limits);

fn two() -> Allowance {
    Allowance { most: NonZeroU32::new(2).expect("not zero"), within: Duration::from_secs(3600) }
}

async fn keys(prefix: &str) -> Vec<(String, i64)> {
    let client = redis::Client::open(url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("connected");
    let pattern = format!("{prefix}:*");
    let names: Vec<String> =
        redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.expect("keys");
    let mut found = Vec::new();
    for name in names {
        let left = redis::cmd("PTTL").arg(&name).query_async(&mut connection).await.expect("a time");
        found.push((name, left));
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_tells_nothing_and_expires_when_its_bucket_is_full() {
    let prefix = unique_prefix();
    let limits = limiter(&url(), &prefix, PATIENCE).await;
    assert_eq!(limits.take("login:ann@acme.example", two()).await, Verdict::Allowed);
    let found = keys(&prefix).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let (name, left) = &found[0];
    assert_eq!(name.len(), format!("{prefix}:limit:").len() + 64, "{name}");
    assert!(!name.contains("ann"), "{name}");
    assert!(*left > 1_700_000 && *left <= 1_800_000, "half an hour, as one of two is missing: {left} ms");
    limits.give_back("login:ann@acme.example", two()).await;
    assert_eq!(keys(&prefix).await, [], "a full bucket is no key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_each_process_counts_for_itself() {
    let prefix = unique_prefix();
    let (proxy, through) = Proxy::to(&url(), 6379).await;
    let limits = limiter(&through, &prefix, PATIENCE).await;
    for _ in 0..2 {
        assert_eq!(limits.take("k", two()).await, Verdict::Allowed);
    }
    assert_ne!(limits.take("k", two()).await, Verdict::Allowed);
    proxy.cut().await;
    for _ in 0..2 {
        assert_eq!(limits.take("k", two()).await, Verdict::Allowed, "its own bucket is full");
    }
    assert_ne!(limits.take("k", two()).await, Verdict::Allowed, "and empty now");
    proxy.restore().await;
    soon("redis counts again", async {
        // Here the own bucket would still have one in it for every new key; there it has been emptied before.
        while limits.take("k", two()).await == Verdict::Allowed || keys(&prefix).await.len() < 2 {
            let _ = limits.take("fresh", two()).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_holds_nobody_up() {
    let prefix = unique_prefix();
    let (proxy, through) = Proxy::to(&url(), 6379).await;
    let limits = limiter(&through, &prefix, WITHIN).await;
    proxy.freeze();
    let started = Instant::now();
    for n in 0..20 {
        assert_eq!(limits.take(&n.to_string(), two()).await, Verdict::Allowed);
    }
    // One call waits; the others know. Generous, as the machine may be busy; each waiting by itself would take two seconds.
    assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
}
