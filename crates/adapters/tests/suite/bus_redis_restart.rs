//! A Redis that really ends and starts again.

use crate::support::{PATIENCE, soon};
use bifrost_adapters::bus::RedisBus;
use bifrost_domain::ports::bus::{Bus, Signal};
use bifrost_test_support::{PrivateServer, Service};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::timeout;

/// Asked to end once and killed once: both ends come back by themselves, and every topic's subscriber hears that it may have
/// missed something before it hears anything new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_away_is_missed_and_then_heard_again() {
    let server = PrivateServer::start(Service::Redis).await;
    let publisher = RedisBus::start(server.url(), "restart").expect("a URL");
    let subscriber = RedisBus::start(server.url(), "restart").expect("a URL");
    for bus in [&publisher, &subscriber] {
        bus.ready(PATIENCE).await.expect("connected");
    }
    let mut topics = Vec::new();
    for topic in ["one", "two"] {
        topics.push((topic, subscriber.subscribe(topic).await.expect("subscribed")));
    }
    for round in 0..2 {
        for (topic, subscription) in &mut topics {
            let event = Bytes::from(format!("before {round}"));
            publisher.publish(topic, event.clone());
            soon("the event", async {
                while subscription.signals.recv().await.expect("open") != Signal::Event(event.clone()) {}
            })
            .await;
        }
        if round == 0 {
            server.stop().await;
        } else {
            server.kill().await;
        }
        for bus in [&publisher, &subscriber] {
            soon("the outage", async { while bus.probe().await.is_ok() {} }).await;
        }
        publisher.publish("one", Bytes::from_static(b"lost"));
        server.start_again().await;
        for bus in [&publisher, &subscriber] {
            bus.ready(PATIENCE).await.expect("back");
        }
        for (topic, subscription) in &mut topics {
            let event = Bytes::from(format!("after {round}"));
            let mut missed = false;
            soon("the event", async {
                // The publishing side may not have its connection yet.
                loop {
                    publisher.publish(topic, event.clone());
                    let heard = timeout(Duration::from_millis(100), async {
                        while let Some(signal) = subscription.signals.recv().await {
                            match signal {
                                Signal::Missed => missed = true,
                                Signal::Event(heard) if heard == event => return,
                                Signal::Event(other) => assert_ne!(other, "lost", "it was never sent"),
                            }
                        }
                    });
                    if heard.await.is_ok() {
                        return;
                    }
                }
            })
            .await;
            assert!(missed, "`{topic}` in round {round}");
        }
    }
}
