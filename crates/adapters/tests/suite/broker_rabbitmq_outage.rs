//! RabbitMQ goes away and comes back: everything continues, and no confirmed message is lost.

use crate::support::{Proxy, server, soon, unique_prefix};
use bifrost_adapters::broker::RabbitMq;
use bifrost_domain::ports::broker::{Broker, Connection, Error, Queue};
use bytes::Bytes;
use futures::FutureExt;
use std::{
    collections::BTreeSet,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

const RUNS: Queue = Queue("runs");

/// Runs a case with the URL through a proxy and deletes its queues, also when it fails.
async fn with_proxy(case: impl AsyncFnOnce(&Proxy, &str, &str)) {
    let url = server("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672");
    let (proxy, proxied) = Proxy::to(&url, 5672).await;
    let prefix = unique_prefix();
    let outcome = AssertUnwindSafe(case(&proxy, &proxied, &prefix)).catch_unwind().await;
    let broker = RabbitMq::connect(&url, &prefix).await.expect("connected");
    broker.delete_topology(&[RUNS]).await.expect("deleted");
    broker.close().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

async fn becomes(broker: &Arc<RabbitMq>, state: impl Fn(Connection) -> bool) -> Connection {
    let mut connection = broker.connection();
    soon("the connection's state", async { *connection.wait_for(|now| state(*now)).await.expect("open") })
        .await
}

fn is_up(connection: Connection) -> bool {
    matches!(connection, Connection::Up(_))
}

fn number(body: &Bytes) -> u32 {
    std::str::from_utf8(body).expect("text").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_while_publishing_and_consuming_nothing_confirmed_is_lost() {
    with_proxy(async |proxy, url, prefix| {
        const PUBLISHERS: u32 = 16;
        const EACH: u32 = 200;
        let broker = RabbitMq::connect(url, prefix).await.expect("connected");
        let mut subscription = broker.subscribe(&RUNS, 32).await.expect("subscribed");
        let confirmed = Arc::new(AtomicU32::new(0));
        let failed = Arc::new(AtomicU32::new(0));
        let mut publishers = Vec::new();
        for publisher in 0..PUBLISHERS {
            let (broker, confirmed, failed) =
                (Arc::clone(&broker), Arc::clone(&confirmed), Arc::clone(&failed));
            publishers.push(tokio::spawn(async move {
                for n in 0..EACH {
                    let body = Bytes::from((publisher * EACH + n).to_string());
                    // What a caller does: an error means that it is not known, so publish again.
                    while let Err(error) = broker.publish(&RUNS, body.clone()).await {
                        assert!(matches!(error, Error::Away(_)), "{error}");
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                    confirmed.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        // Each cut falls into the middle of the work.
        for cut in 1..=3 {
            let so_far = PUBLISHERS * EACH * cut / 5;
            soon("progress", async {
                while confirmed.load(Ordering::Relaxed) < so_far {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            proxy.cut().await;
            assert_eq!(becomes(&broker, |now| now == Connection::Down).await, Connection::Down);
            proxy.restore().await;
            assert_eq!(becomes(&broker, is_up).await, Connection::Up(u64::from(cut) + 1));
            // Meanwhile the consumer works too.
            for _ in 0..50 {
                soon("a delivery", subscription.deliveries.recv()).await.expect("open").settle.requeue();
            }
        }
        let mut received = BTreeSet::new();
        while received.len() < (PUBLISHERS * EACH) as usize {
            let delivery =
                soon("every confirmed message", subscription.deliveries.recv()).await.expect("open");
            received.insert(number(&delivery.body));
            delivery.settle.ack();
        }
        for publisher in publishers {
            soon("the publisher", publisher).await.expect("no panic");
        }
        assert!(failed.load(Ordering::Relaxed) > 0, "no cut hit a publish");
        assert_eq!(received.len(), (PUBLISHERS * EACH) as usize);
    })
    .await;
}

#[tokio::test]
async fn what_was_held_at_the_cut_comes_back_and_a_stale_verdict_is_nobodys() {
    with_proxy(async |proxy, url, prefix| {
        let broker = RabbitMq::connect(url, prefix).await.expect("connected");
        for n in 0..3 {
            broker.publish(&RUNS, Bytes::from(n.to_string())).await.expect("published");
        }
        let mut subscription = broker.subscribe(&RUNS, 3).await.expect("subscribed");
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(soon("a delivery", subscription.deliveries.recv()).await.expect("open"));
        }
        proxy.cut().await;
        becomes(&broker, |now| now == Connection::Down).await;
        proxy.restore().await;
        becomes(&broker, is_up).await;
        let mut again = BTreeSet::new();
        let mut redelivered = Vec::new();
        for _ in 0..3 {
            let delivery = soon("a redelivery", subscription.deliveries.recv()).await.expect("open");
            assert!(delivery.redelivered);
            again.insert(number(&delivery.body));
            redelivered.push(delivery);
        }
        assert_eq!(again, (0..3).collect());
        // Verdicts of the old connection carry the same tags as the new deliveries: they must not settle them.
        held.into_iter().for_each(|delivery| delivery.settle.ack());
        broker.publish(&RUNS, Bytes::from_static(b"3")).await.expect("published");
        redelivered.remove(0).settle.ack();
        assert_eq!(number(&soon("a delivery", subscription.deliveries.recv()).await.expect("open").body), 3);
        drop(subscription);
        soon("three returned", async { while broker.depth(&RUNS).await.expect("depth") != 3 {} }).await;
    })
    .await;
}

#[tokio::test]
async fn a_publish_that_is_under_way_at_the_cut_fails_at_once() {
    with_proxy(async |proxy, url, prefix| {
        let broker = RabbitMq::connect(url, prefix).await.expect("connected");
        broker.publish(&RUNS, Bytes::new()).await.expect("published");
        // Nothing comes back any more, so the confirm cannot arrive before the cut.
        proxy.freeze();
        let publisher = Arc::clone(&broker);
        let publish = tokio::spawn(async move { publisher.publish(&RUNS, Bytes::new()).await });
        tokio::task::yield_now().await;
        let since = Instant::now();
        proxy.cut().await;
        let result = soon("the result", publish).await.expect("no panic");
        assert!(matches!(result, Err(Error::Away(_))), "{result:?}");
        assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
    })
    .await;
}

#[tokio::test]
async fn a_server_that_stops_answering_is_noticed_by_its_heartbeat() {
    with_proxy(async |proxy, url, prefix| {
        let broker = RabbitMq::connect(&format!("{url}?heartbeat=1"), prefix).await.expect("connected");
        broker.publish(&RUNS, Bytes::new()).await.expect("published");
        proxy.freeze();
        becomes(&broker, |now| now == Connection::Down).await;
        proxy.cut().await;
        proxy.restore().await;
        assert_eq!(becomes(&broker, is_up).await, Connection::Up(2));
        broker.publish(&RUNS, Bytes::new()).await.expect("published");
    })
    .await;
}

#[tokio::test]
async fn away_at_the_start_is_only_degraded() {
    with_proxy(async |proxy, url, prefix| {
        proxy.cut().await;
        let error = RabbitMq::connect(url, prefix).await.expect_err("away").to_string();
        assert!(error.contains("nothing listens"), "{error}");

        let broker = RabbitMq::connect_lazily(url, prefix).expect("a URL");
        assert_eq!(*broker.connection().borrow(), Connection::Down);
        assert!(matches!(broker.probe().await, Err(Error::Away(_))));
        let since = Instant::now();
        let (publish, subscribe) =
            tokio::join!(broker.publish(&RUNS, Bytes::new()), broker.subscribe(&RUNS, 1));
        assert!(matches!(publish, Err(Error::Away(_))), "{publish:?}");
        assert!(matches!(subscribe, Err(Error::Away(_))), "{subscribe:?}");
        assert!(since.elapsed() < Duration::from_secs(7), "{:?}", since.elapsed());

        proxy.restore().await;
        assert_eq!(becomes(&broker, is_up).await, Connection::Up(1));
        broker.publish(&RUNS, Bytes::from_static(b"1")).await.expect("published");
        let mut subscription = broker.subscribe(&RUNS, 1).await.expect("subscribed");
        assert_eq!(soon("a delivery", subscription.deliveries.recv()).await.expect("open").body, "1");
    })
    .await;
}

#[tokio::test]
async fn a_publish_during_a_short_outage_waits_and_succeeds() {
    with_proxy(async |proxy, url, prefix| {
        let broker = RabbitMq::connect(url, prefix).await.expect("connected");
        broker.publish(&RUNS, Bytes::new()).await.expect("published");
        proxy.cut().await;
        becomes(&broker, |now| now == Connection::Down).await;
        let publisher = Arc::clone(&broker);
        let publish = tokio::spawn(async move { publisher.publish(&RUNS, Bytes::new()).await });
        proxy.restore().await;
        soon("the publish", publish).await.expect("no panic").expect("published");
    })
    .await;
}

#[tokio::test]
async fn closing_and_dropping_during_an_outage_end_at_once() {
    with_proxy(async |proxy, url, prefix| {
        let broker = RabbitMq::connect(url, prefix).await.expect("connected");
        let mut subscription = broker.subscribe(&RUNS, 1).await.expect("subscribed");
        let dropped = broker.subscribe(&RUNS, 1).await.expect("subscribed");
        proxy.cut().await;
        becomes(&broker, |now| now == Connection::Down).await;
        drop(dropped);
        let since = Instant::now();
        soon("the close", broker.close()).await;
        assert!(soon("the end", subscription.deliveries.recv()).await.is_none());
        assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    })
    .await;
}
