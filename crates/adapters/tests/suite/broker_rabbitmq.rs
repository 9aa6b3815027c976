//! The broker over RabbitMQ keeps the port's contract and says what is wrong.

use crate::support::{server, soon, unique_prefix};
use bifrost_adapters::broker::{RabbitMq, examine_rabbitmq};
use bifrost_domain::ports::broker::{Broker, Error, Queue};
use bytes::Bytes;
use futures::FutureExt;
use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::io::{AsyncBufReadExt, BufReader};

const RUNS: Queue = Queue("runs");

fn url() -> String {
    server("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672")
}

/// Runs a case under a prefix of its own and deletes its queues, also when it fails.
async fn with_prefix(case: impl AsyncFnOnce(&str)) {
    use bifrost_domain::ports::contract::broker::{OTHER, QUEUE};
    let prefix = unique_prefix();
    let outcome = AssertUnwindSafe(case(&prefix)).catch_unwind().await;
    let broker = RabbitMq::connect(&url(), &prefix).await.expect("connected");
    broker.delete_topology(&[QUEUE, OTHER, RUNS]).await.expect("deleted");
    broker.close().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

async fn with_broker(case: impl AsyncFnOnce(Arc<dyn Broker>)) {
    with_prefix(async |prefix| {
        let broker = RabbitMq::connect(&url(), prefix).await.expect("connected");
        case(broker).await;
    })
    .await;
}

bifrost_domain::broker_contract!(with_broker);

#[tokio::test]
async fn a_refused_log_in_says_what_to_do_and_not_the_password() {
    let mut url = url::Url::parse(&url()).expect("a URL");
    url.set_username("nobody").expect("a user");
    url.set_password(Some("geheim")).expect("a password");
    let error = RabbitMq::connect(url.as_str(), "test").await.expect_err("refused");
    let text = error.to_string();
    assert!(matches!(error, Error::Away(_)));
    assert!(text.contains("user `nobody`") && text.contains("RABBITMQ_URL"), "{text}");
    assert!(!text.contains("geheim") && !text.contains('\n'), "{text}");
}

#[tokio::test]
async fn a_missing_vhost_says_what_to_do() {
    let mut url = url::Url::parse(&url()).expect("a URL");
    url.set_path("/not-there");
    let text = RabbitMq::connect(url.as_str(), "test").await.expect_err("refused").to_string();
    assert!(text.contains("vhost `not-there`") && text.contains("add_vhost not-there"), "{text}");
    assert!(!text.contains("guest:guest") && !text.contains('\n'), "{text}");
}

/// What everybody may read in health names nobody and no place; a server that is merely away is no misconfiguration.
#[tokio::test]
async fn a_misconfiguration_is_told_without_names() {
    let mut no_vhost = url::Url::parse(&url()).expect("a URL");
    no_vhost.set_path("/not-there");
    let mut no_user = url::Url::parse(&url()).expect("a URL");
    no_user.set_username("nobody").expect("a user");
    for (url, words) in [(no_vhost, "no such vhost"), (no_user, "refuses the user name or password")] {
        let broker = RabbitMq::connect_lazily(url.as_str(), "test").expect("a URL");
        let told = soon("the refusal", async {
            loop {
                if let Some(told) = broker.misconfigured() {
                    return told;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        assert!(told.contains(words) && told.contains("RABBITMQ_URL"), "{told}");
        assert!(broker.probe().await.is_err());
        broker.close().await;
    }
    let away = RabbitMq::connect_lazily("amqp://127.0.0.1:1", "test").expect("a URL");
    while !away.probe().await.expect_err("away").to_string().contains("nothing listens") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(away.misconfigured(), None);
    let good = RabbitMq::connect(&url(), &unique_prefix()).await.expect("connected");
    assert_eq!(good.misconfigured(), None);
    good.delete_topology(&[]).await.expect("deleted");
}

/// The look of an operator uses every right that the queues need, and leaves no queue behind.
#[tokio::test]
async fn an_examination_tells_the_version_and_leaves_nothing() {
    with_prefix(async |prefix| {
        let version = examine_rabbitmq(&url(), prefix).await.expect("a good server").expect("its version");
        assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{version}");
        let connection = lapin::Connection::connect(&url(), lapin::ConnectionProperties::default()).await;
        let channel = connection.expect("connected").create_channel().await.expect("a channel");
        let passive = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
        let name = format!("{prefix}.doctor.{}", std::process::id());
        channel
            .queue_declare(name.into(), passive, lapin::types::FieldTable::default())
            .await
            .expect_err("gone");
    })
    .await;
    let mut no_vhost = url::Url::parse(&url()).expect("a URL");
    no_vhost.set_path("/not-there");
    let told = examine_rabbitmq(no_vhost.as_str(), "test").await.expect_err("refused");
    assert!(told.contains("add_vhost not-there") && !told.contains('\n'), "{told}");
    assert!(
        examine_rabbitmq("amqp://127.0.0.1:1", "test")
            .await
            .is_err_and(|told| told.contains("start RabbitMQ"))
    );
}

#[tokio::test]
async fn nobody_listening_says_what_to_do() {
    let text = RabbitMq::connect("amqp://127.0.0.1:1", "test").await.expect_err("refused").to_string();
    assert!(text.contains("nothing listens at 127.0.0.1:1: start RabbitMQ"), "{text}");
}

#[tokio::test]
async fn a_bad_prefix_or_queue_name_is_refused() {
    assert!(matches!(RabbitMq::connect(&url(), "a b").await, Err(Error::Refused(_))));
    with_prefix(async |prefix| {
        let broker = RabbitMq::connect(&url(), prefix).await.expect("connected");
        let refused = broker.publish(&Queue("a b"), Bytes::new()).await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn queues_that_somebody_deleted_are_made_again() {
    with_prefix(async |prefix| {
        let broker = RabbitMq::connect(&url(), prefix).await.expect("connected");
        let mut subscription = broker.subscribe(&RUNS, 1).await.expect("subscribed");
        broker.publish(&RUNS, Bytes::from_static(b"before")).await.expect("published");
        soon("a delivery", subscription.deliveries.recv()).await.expect("open").settle.ack();

        let operator = RabbitMq::connect(&url(), prefix).await.expect("connected");
        operator.delete_topology(&[RUNS]).await.expect("deleted");

        broker.publish(&RUNS, Bytes::from_static(b"after")).await.expect("published");
        let delivery = soon("a delivery", subscription.deliveries.recv()).await.expect("open");
        assert_eq!(delivery.body, "after");
        delivery.settle.reject("to the new dead letters");
        soon("the dead letter", async {
            while operator.take_dead_letters(&RUNS, 1).await.expect("dead letters").is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    })
    .await;
}

/// Another process deletes the queue and makes it again: the server may not tell this one's consumer, which finds out by itself.
#[tokio::test]
async fn a_consumer_of_a_queue_that_others_made_again_goes_on() {
    with_prefix(async |prefix| {
        let broker = RabbitMq::connect(&url(), prefix).await.expect("connected");
        let mut subscription = broker.subscribe(&RUNS, 1).await.expect("subscribed");
        let other = RabbitMq::connect(&url(), prefix).await.expect("connected");
        other.publish(&RUNS, Bytes::from_static(b"before")).await.expect("published");
        soon("a delivery", subscription.deliveries.recv()).await.expect("open").settle.ack();
        other.delete_topology(&[RUNS]).await.expect("deleted");
        other.publish(&RUNS, Bytes::from_static(b"after")).await.expect("published");
        assert_eq!(soon("a delivery", subscription.deliveries.recv()).await.expect("open").body, "after");
    })
    .await;
}

#[tokio::test]
async fn a_queue_that_was_declared_differently_is_refused_with_what_to_do() {
    with_prefix(async |prefix| {
        let connection = lapin::Connection::connect(&url(), lapin::ConnectionProperties::default()).await;
        let connection = connection.expect("connected");
        let channel = connection.create_channel().await.expect("a channel");
        let options = lapin::options::QueueDeclareOptions::durable();
        channel
            .queue_declare(format!("{prefix}.runs").into(), options, lapin::types::FieldTable::default())
            .await
            .expect("declared");
        let broker = RabbitMq::connect(&url(), prefix).await.expect("connected");
        for _ in 0..2 {
            let refused = broker.publish(&RUNS, Bytes::new()).await.expect_err("refused");
            assert!(matches!(refused, Error::Refused(_)), "{refused:?}");
            assert!(refused.to_string().contains("rabbitmqctl delete_queue"), "{refused}");
        }
        broker.publish(&Queue("contract"), Bytes::new()).await.expect("other queues work");
    })
    .await;
}

#[tokio::test]
async fn messages_outlive_the_publisher() {
    with_prefix(async |prefix| {
        let broker = RabbitMq::connect(&url(), prefix).await.expect("connected");
        broker.publish(&RUNS, Bytes::from_static(b"kept")).await.expect("published");
        broker.close().await;
        let next = RabbitMq::connect(&url(), prefix).await.expect("connected");
        let mut subscription = next.subscribe(&RUNS, 1).await.expect("subscribed");
        assert_eq!(soon("a delivery", subscription.deliveries.recv()).await.expect("open").body, "kept");
    })
    .await;
}

/// A worker that is asked to go while it subscribes: what its half-made consumer was handed must not stay there.
#[tokio::test]
async fn a_subscriber_that_gives_up_in_the_middle_keeps_no_message() {
    with_prefix(async |prefix| {
        let broker = RabbitMq::connect(&url(), prefix).await.expect("connected");
        for step in 0..40 {
            // Somewhere between the first frame and the last answer.
            let within = Duration::from_micros(step * 100);
            drop(tokio::time::timeout(within, broker.subscribe(&RUNS, 1)).await);
            let body = Bytes::from(format!("message {step}"));
            broker.publish(&RUNS, body.clone()).await.expect("published");
            let mut subscription = broker.subscribe(&RUNS, 1).await.expect("subscribed");
            let delivery = soon("a delivery", subscription.deliveries.recv()).await.expect("open");
            assert_eq!(delivery.body, body);
            delivery.settle.ack();
        }
    })
    .await;
}

/// Names the prefix under which a process of its own is to hold deliveries.
const HOLD: &str = "BIFROST_TEST_HOLD";

/// A consumer that is killed says no goodbye: what it had in hand comes back, marked; what it had settled does not.
#[tokio::test]
async fn what_a_killed_consumer_had_in_hand_comes_back_marked() {
    if let Some(prefix) = asked_to_hold() {
        let broker = RabbitMq::connect(&url(), &prefix).await.expect("connected");
        let mut subscription = broker.subscribe(&RUNS, 3).await.expect("subscribed");
        let mut next = async || subscription.deliveries.recv().await.expect("open");
        next().await.settle.ack();
        let _held = [next().await, next().await, next().await];
        println!("in hand");
        return std::future::pending().await;
    }
    with_prefix(async |prefix| {
        let broker = RabbitMq::connect(&url(), prefix).await.expect("connected");
        for n in 0..6 {
            broker.publish(&RUNS, Bytes::from(n.to_string())).await.expect("published");
        }
        let mut consumer = tokio::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "broker_rabbitmq::what_a_killed_consumer_had_in_hand_comes_back_marked"])
            .args(["--nocapture"])
            .env(HOLD, prefix)
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the consumer starts");
        let mut said = BufReader::new(consumer.stdout.take().expect("piped")).lines();
        soon("three in hand", async {
            while !said.next_line().await.expect("a line").expect("it goes on").contains("in hand") {}
        })
        .await;
        soon("the consumer's end", consumer.kill()).await.expect("killed");
        let mut subscription = broker.subscribe(&RUNS, 5).await.expect("subscribed");
        let mut seen = BTreeMap::new();
        for _ in 0..5 {
            let delivery = soon("a delivery", subscription.deliveries.recv()).await.expect("open");
            let n: u32 = std::str::from_utf8(&delivery.body).expect("text").parse().expect("a number");
            seen.insert(n, delivery.redelivered);
            delivery.settle.ack();
        }
        assert_eq!(
            seen.into_iter().collect::<Vec<_>>(),
            [(1, true), (2, true), (3, true), (4, false), (5, false)]
        );
    })
    .await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is how the test tells the process that it starts what to do"
)]
fn asked_to_hold() -> Option<String> {
    std::env::var(HOLD).ok()
}

#[tokio::test]
async fn debug_shows_no_password() {
    let broker = RabbitMq::connect_lazily("amqp://user:geheim@127.0.0.1:1", "test").expect("a URL");
    assert!(!format!("{broker:?}").contains("geheim"));
}
