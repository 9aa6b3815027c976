//! What the queue and the bus can do on this machine: confirmed publishes a second, and from publish to receive.
//!
//! `cargo run -p bifrost-adapters --example throughput` with `RABBITMQ_URL` and `REDIS_URL`, else the local servers.
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a command-line tool for engineers")]

use bifrost_adapters::{broker, bus};
use bifrost_domain::{
    clock::{Ids, SystemIds},
    ports::{
        broker::{Broker, Queue},
        bus::{Bus, Signal},
    },
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const QUEUE: Queue = Queue("throughput");

#[expect(clippy::disallowed_methods, reason = "an example has no settings")]
fn server(variable: &str, default: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| default.to_owned())
}

#[tokio::main]
async fn main() {
    let prefix = format!("throughput-{}", SystemIds.next().simple());
    let url = server("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672");
    let rabbitmq = broker::RabbitMq::connect(&url, &prefix).await.expect("RabbitMQ");
    for (name, broker) in [
        ("rabbitmq", rabbitmq.clone() as Arc<dyn Broker>),
        ("in process", Arc::new(broker::InProcess::new())),
    ] {
        for (in_flight, messages) in [(1, 2_000), (16, 10_000), (256, 30_000)] {
            let publishes = publishes(&broker, in_flight, messages).await;
            println!("{name}: {in_flight} in flight: {publishes:.0} confirmed publishes/s");
        }
        println!(
            "{name}: {:.0} deliveries with ack/s at a prefetch of 256",
            deliveries(&broker, 42_000).await
        );
    }
    rabbitmq.delete_topology(&[QUEUE]).await.expect("deleted");
    rabbitmq.close().await;

    let url = server("REDIS_URL", "redis://127.0.0.1:6379");
    let redis = bus::RedisBus::start(&url, &prefix).expect("a URL");
    redis.ready(Duration::from_secs(5)).await.expect("Redis");
    for (name, bus) in [("redis", redis as Arc<dyn Bus>), ("in process", Arc::new(bus::InProcess::new()))] {
        let (median, p99) = latency(&bus, 20_000).await;
        println!("{name}: publish to receive: median {median:?}, p99 {p99:?}");
        println!("{name}: {:.0} events/s, 256 unread at a time", events(&bus, 100_000).await);
    }
}

fn rate(count: usize, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}

async fn publishes(broker: &Arc<dyn Broker>, in_flight: usize, messages: usize) -> f64 {
    let body = Bytes::from_static(br#"{"v":1,"execution_id":"01890a5d-ac96-774b-bcce-b302099a8057"}"#);
    broker.publish(&QUEUE, body.clone()).await.expect("published");
    let since = Instant::now();
    stream::iter(0..messages)
        .for_each_concurrent(in_flight, |_| async {
            broker.publish(&QUEUE, body.clone()).await.expect("published");
        })
        .await;
    rate(messages, since)
}

async fn deliveries(broker: &Arc<dyn Broker>, messages: usize) -> f64 {
    let since = Instant::now();
    let mut subscription = broker.subscribe(&QUEUE, 256).await.expect("subscribed");
    for _ in 0..messages {
        subscription.deliveries.recv().await.expect("delivered").settle.ack();
    }
    rate(messages, since)
}

async fn latency(bus: &Arc<dyn Bus>, events: usize) -> (Duration, Duration) {
    let mut subscription = bus.subscribe("latency").await.expect("subscribed");
    let mut took = Vec::with_capacity(events);
    for _ in 0..events {
        let since = Instant::now();
        bus.publish("latency", Bytes::from_static(b"{}"));
        assert!(matches!(subscription.signals.recv().await, Some(Signal::Event(_))));
        took.push(since.elapsed());
    }
    took.sort_unstable();
    (took[events / 2], took[events * 99 / 100])
}

async fn events(bus: &Arc<dyn Bus>, events: usize) -> f64 {
    let mut subscription = bus.subscribe("rate").await.expect("subscribed");
    let since = Instant::now();
    let mut received = 0;
    for sent in 1..=events {
        bus.publish("rate", Bytes::from_static(b"{}"));
        while sent - received >= 256 {
            assert!(matches!(subscription.signals.recv().await, Some(Signal::Event(_))));
            received += 1;
        }
    }
    rate(events, since)
}
