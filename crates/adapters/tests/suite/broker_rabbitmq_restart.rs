//! A RabbitMQ that really ends and starts again, that has forgotten everything, and that takes no messages for a while.

use crate::support::soon;
use bifrost_adapters::broker::RabbitMq;
use bifrost_domain::ports::broker::{Broker, Connection, Delivery, Error, Queue, Subscription};
use bifrost_test_support::{PrivateServer, Service};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

const RUNS: Queue = Queue("runs");
const PREFIX: &str = "restart";

async fn becomes(broker: &Arc<RabbitMq>, state: impl Fn(Connection) -> bool) -> Connection {
    let mut connection = broker.connection();
    soon("the connection's state", async { *connection.wait_for(|now| state(*now)).await.expect("open") })
        .await
}

fn is_up(connection: Connection) -> bool {
    matches!(connection, Connection::Up(_))
}

async fn publish(broker: &Arc<RabbitMq>, n: u32) {
    soon("the confirm", broker.publish(&RUNS, Bytes::from(n.to_string()))).await.expect("published");
}

async fn next(subscription: &mut Subscription) -> Delivery {
    soon("a delivery", subscription.deliveries.recv()).await.expect("the subscription is open")
}

fn number(delivery: &Delivery) -> u32 {
    std::str::from_utf8(&delivery.body).expect("text").parse().expect("a number")
}

fn publishing(broker: &Arc<RabbitMq>, n: u32) -> JoinHandle<(Result<(), Error>, Duration)> {
    let broker = Arc::clone(broker);
    tokio::spawn(async move {
        let begun = Instant::now();
        let outcome = broker.publish(&RUNS, Bytes::from(n.to_string())).await;
        (outcome, begun.elapsed())
    })
}

/// Asked to end once and killed once: what was confirmed is there, what was in hand comes back marked, dead letters keep their
/// reason, and the same publisher and the same consumer go on. Then with a server that knows nothing any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_away_has_what_it_confirmed_and_everybody_goes_on() {
    let server = PrivateServer::start(Service::RabbitMq).await;
    let broker = RabbitMq::connect(server.url(), PREFIX).await.expect("connected");
    let mut subscription = broker.subscribe(&RUNS, 4).await.expect("subscribed");
    for round in 0..2 {
        let first = round * 100;
        publish(&broker, first).await;
        next(&mut subscription).await.settle.reject(format!("reason {round}"));
        for n in 1..=10 {
            publish(&broker, first + n).await;
        }
        // The last place of the prefetch is free when the rejected one is among the dead letters.
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(next(&mut subscription).await);
        }
        assert_eq!(held.iter().map(number).collect::<Vec<_>>(), (first + 1..=first + 4).collect::<Vec<_>>());
        if round == 0 {
            server.stop().await;
        } else {
            server.kill().await;
        }
        assert_eq!(becomes(&broker, |now| now == Connection::Down).await, Connection::Down);
        let (refused, took) = publishing(&broker, 999).await.expect("no panic");
        assert!(matches!(refused, Err(Error::Away(_))), "{refused:?}");
        assert!(took < Duration::from_secs(8), "{took:?}");
        assert!(matches!(broker.probe().await, Err(Error::Away(_))));

        server.start_again().await;
        assert_eq!(becomes(&broker, is_up).await, Connection::Up(u64::from(round) + 2));
        held.into_iter().for_each(|delivery| delivery.settle.ack());
        publish(&broker, first + 11).await;
        let mut seen = BTreeMap::new();
        while seen.len() < 11 {
            let delivery = next(&mut subscription).await;
            let twice = seen.insert(number(&delivery), delivery.redelivered);
            assert_eq!(twice, None, "{} came twice", number(&delivery));
            delivery.settle.ack();
        }
        // Those of the prefetch that the new consumer was handed may be marked as well: at least those that were in hand are.
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), (first + 1..=first + 11).collect::<Vec<_>>());
        assert!((first + 1..=first + 4).all(|n| seen[&n]), "{seen:?}");
        assert!(!seen[&(first + 11)], "{seen:?}");
    }
    let dead = soon("two dead letters", async {
        let mut dead = Vec::new();
        while dead.len() < 2 {
            dead.extend(broker.take_dead_letters(&RUNS, 10).await.expect("dead letters"));
        }
        dead
    })
    .await;
    let told: Vec<_> = dead.iter().map(|letter| (letter.body.as_ref(), letter.reason.as_str())).collect();
    assert_eq!(told, [(b"0".as_slice(), "reason 0"), (b"100".as_slice(), "reason 1")]);

    // Everything is declared again for a server that was set up anew.
    for command in ["stop_app", "reset", "start_app"] {
        server.rabbitmqctl(&[command]).await;
    }
    assert_eq!(becomes(&broker, is_up).await, Connection::Up(4));
    publish(&broker, 300).await;
    let delivery = next(&mut subscription).await;
    assert_eq!(number(&delivery), 300);
    delivery.settle.reject("to the new dead letters");
    soon("the dead letter", async {
        while broker.take_dead_letters(&RUNS, 1).await.expect("dead letters").is_empty() {}
    })
    .await;
    broker.close().await;
}

/// Memory that runs low stops publishers and nobody else; a full queue refuses. Both pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_messages_holds_up_publishers_for_a_bounded_time() {
    let server = PrivateServer::start(Service::RabbitMq).await;
    let broker = RabbitMq::connect(server.url(), PREFIX).await.expect("connected");
    let mut subscription = broker.subscribe(&RUNS, 2).await.expect("subscribed");
    for n in 0..6 {
        publish(&broker, n).await;
    }
    server.rabbitmqctl(&["set_vm_memory_high_watermark", "0.0000001"]).await;
    let waits = publishing(&broker, 10);
    for n in 0..6 {
        let delivery = next(&mut subscription).await;
        assert_eq!(number(&delivery), n, "consumers and their acks are not held up");
        delivery.settle.ack();
    }
    assert!(matches!(broker.probe().await, Err(Error::Away(_))), "publishing is what a broker is for");
    let begun = Instant::now();
    assert!(matches!(broker.depth(&RUNS).await, Err(Error::Away(_))));
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    let (refused, took) = soon("the result", waits).await.expect("no panic");
    assert!(matches!(refused, Err(Error::Away(_))), "{refused:?}");
    assert!(took > Duration::from_secs(10) && took < Duration::from_secs(18), "{took:?}");
    let waits = publishing(&broker, 11);
    server.rabbitmqctl(&["set_vm_memory_high_watermark", "0.9"]).await;
    let (published, _) = soon("the result", waits).await.expect("no panic");
    published.expect("the memory is free in time");
    assert_eq!(*broker.connection().borrow(), Connection::Up(1), "the connection was open all the time");
    // The one that was given up may have arrived.
    loop {
        let delivery = next(&mut subscription).await;
        let n = number(&delivery);
        delivery.settle.ack();
        if n == 11 {
            break;
        }
        assert_eq!(n, 10);
    }
    drop(subscription);

    let definition = r#"{"max-length":3}"#;
    server.rabbitmqctl(&["set_policy", "small", ".*", definition, "--apply-to", "queues"]).await;
    let refused = soon("a refusal", async {
        for n in 0.. {
            if let Err(error) = broker.publish(&RUNS, Bytes::from(n.to_string())).await {
                return error;
            }
        }
        unreachable!("it refuses at some time")
    })
    .await;
    assert!(matches!(&refused, Error::Refused(reason) if reason.contains("is full")), "{refused:?}");
    let mut subscription = broker.subscribe(&RUNS, 10).await.expect("subscribed");
    soon("room", async {
        while broker.publish(&RUNS, Bytes::from_static(b"after")).await.is_err() {
            next(&mut subscription).await.settle.ack();
        }
    })
    .await;
    broker.close().await;
}
