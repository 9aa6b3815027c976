//! The bus over Redis keeps the port's contract, and tells its subscribers when they missed something.

use crate::support::{PATIENCE, Proxy, server, soon, unique_prefix};
use bifrost_adapters::bus::{RedisBus, examine_redis};
use bifrost_domain::ports::bus::{Bus, Signal, Subscription};
use bytes::Bytes;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::timeout;

fn url() -> String {
    server("REDIS_URL", "redis://127.0.0.1:6379")
}

async fn bus(url: &str, prefix: &str) -> Arc<RedisBus> {
    let bus = RedisBus::start(url, prefix).expect("a URL");
    bus.ready(PATIENCE).await.expect("connected");
    bus
}

async fn with_bus(case: impl AsyncFnOnce(Arc<dyn Bus>, Arc<dyn Bus>)) {
    let prefix = unique_prefix();
    case(bus(&url(), &prefix).await, bus(&url(), &prefix).await).await;
}

bifrost_domain::bus_contract!(with_bus);

fn event(n: u32) -> Bytes {
    n.to_string().into()
}

async fn next(subscription: &mut Subscription) -> Signal {
    soon("a signal", subscription.signals.recv()).await.expect("the subscription is open")
}

/// Waits until the bus says that it is away.
async fn is_away(bus: &Arc<RedisBus>) -> String {
    soon("the outage to be noticed", async {
        loop {
            if let Err(error) = bus.probe().await {
                return error.to_string();
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Publishes the event until it arrives (an outage may not be noticed yet), and whether `Missed` came before it.
async fn missed_before(
    publisher: &Arc<RedisBus>,
    topic: &str,
    subscription: &mut Subscription,
    event: Bytes,
) -> bool {
    let mut missed = false;
    soon("the event", async {
        loop {
            publisher.publish(topic, event.clone());
            let arrived = timeout(Duration::from_millis(100), async {
                loop {
                    match subscription.signals.recv().await.expect("open") {
                        Signal::Missed => missed = true,
                        Signal::Event(got) if got == event => return,
                        Signal::Event(_) => {}
                    }
                }
            });
            if arrived.await.is_ok() {
                return;
            }
        }
    })
    .await;
    missed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_was_cut_off_gets_missed_and_then_fresh_events() {
    let prefix = unique_prefix();
    let (proxy, proxied) = Proxy::to(&url(), 6379).await;
    let (publisher, subscriber) = (bus(&url(), &prefix).await, bus(&proxied, &prefix).await);
    let mut one = subscriber.subscribe("one").await.expect("subscribed");
    let mut two = subscriber.subscribe("two").await.expect("subscribed");
    publisher.publish("one", event(1));
    assert_eq!(next(&mut one).await, Signal::Event(event(1)));
    for round in 0..3 {
        proxy.cut().await;
        is_away(&subscriber).await;
        publisher.publish("one", event(2));
        proxy.restore().await;
        subscriber.ready(PATIENCE).await.expect("back");
        let missed = missed_before(&publisher, "one", &mut one, event(10 + round)).await;
        assert!(missed, "`Missed` for a topic with a lost event");
        let missed = missed_before(&publisher, "two", &mut two, event(20 + round)).await;
        assert!(missed, "`Missed` for every topic");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cut_off_publisher_dropped_becomes_missed_at_every_subscriber() {
    let prefix = unique_prefix();
    let (proxy, proxied) = Proxy::to(&url(), 6379).await;
    let (publisher, subscriber) = (bus(&proxied, &prefix).await, bus(&url(), &prefix).await);
    let mut subscription = subscriber.subscribe("topic").await.expect("subscribed");
    publisher.publish("topic", event(1));
    assert_eq!(next(&mut subscription).await, Signal::Event(event(1)));
    proxy.cut().await;
    is_away(&publisher).await;
    publisher.publish("topic", event(2));
    proxy.restore().await;
    publisher.ready(PATIENCE).await.expect("back");
    assert!(missed_before(&publisher, "topic", &mut subscription, event(3)).await);
}

/// Numbered events without a break while both ends are cut again and again: each hole is announced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_flood_with_cuts_no_hole_is_silent() {
    let prefix = unique_prefix();
    let (near, near_url) = Proxy::to(&url(), 6379).await;
    let (far, far_url) = Proxy::to(&url(), 6379).await;
    let (publisher, subscriber) = (bus(&near_url, &prefix).await, bus(&far_url, &prefix).await);
    let mut subscription = subscriber.subscribe("flood").await.expect("subscribed");
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let flooding = Arc::clone(&publisher);
    let flood = tokio::spawn(async move {
        let mut n = 0;
        while stopped.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
            flooding.publish("flood", event(n));
            n += 1;
            tokio::task::yield_now().await;
        }
        n
    });
    let reader = tokio::spawn(async move {
        let (mut expected, mut covered, mut missed) = (0, false, 0);
        loop {
            match next(&mut subscription).await {
                Signal::Missed => (missed, covered) = (missed + 1, true),
                Signal::Event(event) if event == "end" => return (missed, covered, expected),
                Signal::Event(event) => {
                    let n: u32 = std::str::from_utf8(&event).expect("text").parse().expect("a number");
                    assert!(n >= expected, "event {n} came twice or out of order");
                    assert!(n == expected || covered, "a hole before {n} without `Missed`");
                    (expected, covered) = (n + 1, false);
                }
            }
        }
    });
    for proxy in [&near, &far, &near, &far] {
        proxy.cut().await;
        is_away(if std::ptr::eq(proxy, &near) { &publisher } else { &subscriber }).await;
        proxy.restore().await;
        publisher.ready(PATIENCE).await.expect("back");
        subscriber.ready(PATIENCE).await.expect("back");
    }
    stop.send(()).expect("the flood runs");
    let sent = soon("the flood", flood).await.expect("no panic");
    // The last events may be among those that were dropped: this one is sent until it arrives.
    let last = Arc::clone(&publisher);
    let end = tokio::spawn(async move {
        loop {
            last.publish("flood", Bytes::from_static(b"end"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let (missed, covered, expected) = soon("the reader", reader).await.expect("no panic");
    end.abort();
    assert!(missed >= 2, "`Missed` came {missed} times for four cuts");
    assert!(expected == sent || covered, "the end of the flood is missing without `Missed`");
}

#[tokio::test]
async fn away_at_the_start_is_only_degraded() {
    let (proxy, proxied) = Proxy::to(&url(), 6379).await;
    proxy.cut().await;
    let bus = RedisBus::start(&proxied, &unique_prefix()).expect("a URL");
    bus.publish("topic", event(1));
    let since = Instant::now();
    assert!(bus.subscribe("topic").await.is_err());
    assert!(since.elapsed() < Duration::from_secs(7), "{:?}", since.elapsed());
    let error = bus.probe().await.expect_err("away").to_string();
    assert!(error.contains("nothing listens at 127.0.0.1:") && error.contains("start Redis"), "{error}");
    proxy.restore().await;
    bus.ready(PATIENCE).await.expect("connected");
    let mut subscription = bus.subscribe("topic").await.expect("subscribed");
    // What was published while it was away may be announced now.
    missed_before(&bus, "topic", &mut subscription, event(2)).await;
}

#[tokio::test]
async fn a_subscription_asked_for_during_a_short_outage_is_made_on_return() {
    let (proxy, proxied) = Proxy::to(&url(), 6379).await;
    let bus = bus(&proxied, &unique_prefix()).await;
    proxy.cut().await;
    is_away(&bus).await;
    let subscriber = Arc::clone(&bus);
    let subscribing = tokio::spawn(async move { subscriber.subscribe("topic").await });
    proxy.restore().await;
    let mut subscription =
        soon("the subscription", subscribing).await.expect("no panic").expect("subscribed");
    bus.ready(PATIENCE).await.expect("back");
    missed_before(&bus, "topic", &mut subscription, event(1)).await;
}

#[tokio::test]
async fn a_refused_log_in_says_what_to_do_and_not_the_password() {
    let mut url = url::Url::parse(&url()).expect("a URL");
    url.set_username("nobody").expect("a user");
    url.set_password(Some("geheim")).expect("a password");
    let bus = RedisBus::start(url.as_str(), &unique_prefix()).expect("a URL");
    let text = soon("the refusal", async {
        loop {
            let text = bus.ready(Duration::from_millis(50)).await.expect_err("refused").to_string();
            if !text.contains("not connected to") {
                return text;
            }
        }
    })
    .await;
    assert!(text.contains("refuses the user name or password: correct REDIS_URL"), "{text}");
    assert!(!text.contains("geheim") && !text.contains('\n'), "{text}");
    assert!(!format!("{bus:?}").contains("geheim"));
    assert_eq!(bus.misconfigured(), Some("redis refuses the user name or password: correct REDIS_URL"));
    let told = examine_redis(url.as_str(), "test").await.expect_err("refused");
    assert!(told.contains("correct REDIS_URL") && !told.contains("geheim"), "{told}");
}

#[tokio::test]
async fn a_good_server_is_examined_and_one_that_is_away_is_not_misconfigured() {
    let version = examine_redis(&url(), &unique_prefix()).await.expect("a good server").expect("its version");
    assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{version}");
    let (proxy, proxied) = Proxy::to(&url(), 6379).await;
    let bus = bus(&proxied, &unique_prefix()).await;
    assert_eq!(bus.misconfigured(), None);
    proxy.cut().await;
    is_away(&bus).await;
    assert_eq!(bus.misconfigured(), None);
    let told = examine_redis(&proxied, "test").await.expect_err("away");
    assert!(told.contains("start Redis"), "{told}");
}

#[tokio::test]
async fn the_last_subscriber_of_a_topic_unsubscribes_at_the_server() {
    let prefix = unique_prefix();
    let bus = bus(&url(), &prefix).await;
    let client = redis::Client::open(url()).expect("a URL");
    let mut server = client.get_multiplexed_async_connection().await.expect("connected");
    let mut subscribers = async || -> u32 {
        let mut command = redis::cmd("PUBSUB");
        command.arg("NUMSUB").arg(format!("{prefix}:topic"));
        let (_, count): (String, u32) = command.query_async(&mut server).await.expect("a count");
        count
    };
    let first = bus.subscribe("topic").await.expect("subscribed");
    let second = bus.subscribe("topic").await.expect("subscribed");
    assert_eq!(subscribers().await, 1, "one subscription at the server for both");
    drop(first);
    let _third = bus.subscribe("other").await.expect("subscribed");
    assert_eq!(subscribers().await, 1, "the second is still there");
    drop(second);
    soon("the unsubscription", async { while subscribers().await != 0 {} }).await;
}

#[tokio::test]
async fn dropping_the_bus_ends_its_subscriptions() {
    let bus = bus(&url(), &unique_prefix()).await;
    let mut subscription = bus.subscribe("topic").await.expect("subscribed");
    drop(bus);
    assert_eq!(soon("the end", subscription.signals.recv()).await, None);
}
