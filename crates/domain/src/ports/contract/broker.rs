//! What every [`Broker`] does.
#![expect(clippy::expect_used, reason = "a case fails by panicking")]

use super::{eventually, soon};
use crate::ports::broker::{
    Broker, Connection, DeadLetter, Delivery, Error, MAX_BODY, MAX_REASON, Queue, Subscription,
};
use bytes::Bytes;
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::mpsc::error::TryRecvError;

/// Makes one test of each case. The argument is an async function that takes a case (`AsyncFnOnce(Arc<dyn Broker>)`),
/// makes a broker with empty queues, runs the case and cleans up.
#[macro_export]
macro_rules! broker_contract {
    ($with:path) => {
        $crate::contract_cases!(
            $with,
            broker,
            publish_is_confirmed_and_delivered,
            order_is_kept,
            prefetch_is_respected,
            ack_removes,
            requeue_returns_it_as_redelivered,
            reject_keeps_the_reason,
            a_long_reason_is_cut,
            dropping_the_subscription_returns_what_is_unsettled,
            settling_after_the_subscription_is_dropped_changes_nothing,
            mixed_verdicts_settle_only_their_own_delivery,
            two_consumers_share_without_double_delivery,
            depth_counts_what_waits,
            queues_are_apart,
            bodies_from_nothing_to_the_limit,
            a_body_over_the_limit_is_refused,
            many_publishes_at_once_are_all_confirmed_and_delivered,
            dead_letters_are_taken_up_to_the_limit,
            the_connection_is_up_and_answers,
            close_ends_subscriptions_and_publishing,
        );
    };
}

/// The queue of the cases.
pub const QUEUE: Queue = Queue("contract");
/// A second one.
pub const OTHER: Queue = Queue("contract-other");

async fn publish(broker: &Arc<dyn Broker>, body: impl Into<Bytes>) {
    soon("the confirm", broker.publish(&QUEUE, body.into())).await.expect("published");
}

async fn subscribe(broker: &Arc<dyn Broker>, prefetch: u16) -> Subscription {
    soon("the subscription", broker.subscribe(&QUEUE, prefetch)).await.expect("subscribed")
}

async fn next(subscription: &mut Subscription) -> Delivery {
    soon("a delivery", subscription.deliveries.recv()).await.expect("the subscription is open")
}

async fn depth_becomes(broker: &Arc<dyn Broker>, depth: u64) {
    eventually(&format!("a depth of {depth}"), || async { broker.depth(&QUEUE).await.ok() == Some(depth) })
        .await;
}

/// The only dead letter, once it is there.
async fn dead_letter(broker: &Arc<dyn Broker>) -> DeadLetter {
    soon("the dead letter", async {
        loop {
            let mut dead = broker.take_dead_letters(&QUEUE, 10).await.expect("dead letters");
            if let Some(letter) = dead.pop() {
                assert!(dead.is_empty());
                return letter;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await
}

fn number(delivery: &Delivery) -> u32 {
    std::str::from_utf8(&delivery.body).ok().and_then(|text| text.parse().ok()).expect("a number")
}

/// A publish returns after the confirm; the message arrives as it was, not marked as redelivered.
pub async fn publish_is_confirmed_and_delivered(broker: Arc<dyn Broker>) {
    publish(&broker, "first").await;
    let mut subscription = subscribe(&broker, 1).await;
    let delivery = next(&mut subscription).await;
    assert_eq!(delivery.body, "first");
    assert!(!delivery.redelivered);
    delivery.settle.ack();
    // and to a subscription that waits already
    publish(&broker, "second").await;
    assert_eq!(next(&mut subscription).await.body, "second");
}

/// One consumer sees the order of publishing.
pub async fn order_is_kept(broker: Arc<dyn Broker>) {
    let mut subscription = subscribe(&broker, 16).await;
    for n in 0..200 {
        publish(&broker, n.to_string()).await;
    }
    for n in 0..200 {
        let delivery = next(&mut subscription).await;
        assert_eq!(number(&delivery), n);
        delivery.settle.ack();
    }
}

/// No more than `prefetch` deliveries are unsettled; each settled one makes room for one.
pub async fn prefetch_is_respected(broker: Arc<dyn Broker>) {
    for n in 0..10 {
        publish(&broker, n.to_string()).await;
    }
    let mut subscription = subscribe(&broker, 3).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(next(&mut subscription).await);
    }
    // Seven are still with the broker, so none can be on its way.
    depth_becomes(&broker, 7).await;
    assert_eq!(subscription.deliveries.try_recv().err(), Some(TryRecvError::Empty));
    held.remove(0).settle.ack();
    assert_eq!(number(&next(&mut subscription).await), 3);
    depth_becomes(&broker, 6).await;
    assert_eq!(subscription.deliveries.try_recv().err(), Some(TryRecvError::Empty));
}

/// What was acked before the subscription ended does not come back.
pub async fn ack_removes(broker: Arc<dyn Broker>) {
    for n in 0..50 {
        publish(&broker, n.to_string()).await;
    }
    let mut subscription = subscribe(&broker, 20).await;
    for _ in 0..50 {
        next(&mut subscription).await.settle.ack();
    }
    drop(subscription);
    publish(&broker, "50").await;
    let mut subscription = subscribe(&broker, 20).await;
    assert_eq!(number(&next(&mut subscription).await), 50);
}

/// A requeued message comes back, marked.
pub async fn requeue_returns_it_as_redelivered(broker: Arc<dyn Broker>) {
    publish(&broker, "again").await;
    let mut subscription = subscribe(&broker, 1).await;
    next(&mut subscription).await.settle.requeue();
    let delivery = next(&mut subscription).await;
    assert_eq!(delivery.body, "again");
    assert!(delivery.redelivered);
    delivery.settle.ack();
    publish(&broker, "next").await;
    assert_eq!(next(&mut subscription).await.body, "next");
}

/// A rejected message leaves the queue and lies with its reason among the dead letters, once.
pub async fn reject_keeps_the_reason(broker: Arc<dyn Broker>) {
    publish(&broker, "bad").await;
    publish(&broker, "good").await;
    let mut subscription = subscribe(&broker, 1).await;
    let reason = "not JSON: line 1, “ä” \n second line";
    next(&mut subscription).await.settle.reject(reason);
    let good = next(&mut subscription).await;
    assert_eq!(good.body, "good");
    good.settle.ack();
    let dead = dead_letter(&broker).await;
    assert_eq!((dead.body.as_ref(), dead.reason.as_str()), (b"bad".as_slice(), reason));
    assert!(broker.take_dead_letters(&QUEUE, 10).await.expect("dead letters").is_empty());
    depth_becomes(&broker, 0).await;
}

/// Cut at the limit, between characters.
pub async fn a_long_reason_is_cut(broker: Arc<dyn Broker>) {
    publish(&broker, "bad").await;
    let mut subscription = subscribe(&broker, 1).await;
    let reason = format!("x{}", "ä".repeat(MAX_REASON));
    next(&mut subscription).await.settle.reject(reason.clone());
    let dead = dead_letter(&broker).await;
    assert_eq!(dead.reason.len(), MAX_REASON - 1);
    assert!(reason.starts_with(&dead.reason));
}

/// Unsettled deliveries, read or not, go to the next subscription, marked.
pub async fn dropping_the_subscription_returns_what_is_unsettled(broker: Arc<dyn Broker>) {
    for n in 0..5 {
        publish(&broker, n.to_string()).await;
    }
    let mut subscription = subscribe(&broker, 4).await;
    next(&mut subscription).await.settle.ack();
    drop(next(&mut subscription).await);
    drop(subscription);
    depth_becomes(&broker, 4).await;
    let mut subscription = subscribe(&broker, 4).await;
    let mut left = BTreeSet::new();
    for _ in 0..4 {
        let delivery = next(&mut subscription).await;
        let n = number(&delivery);
        assert!(n != 1 || delivery.redelivered);
        left.insert(n);
        delivery.settle.ack();
    }
    assert_eq!(left, (1..5).collect());
}

/// The message was returned already, so a late verdict is nobody's.
pub async fn settling_after_the_subscription_is_dropped_changes_nothing(broker: Arc<dyn Broker>) {
    publish(&broker, "late").await;
    let mut subscription = subscribe(&broker, 1).await;
    let delivery = next(&mut subscription).await;
    drop(subscription);
    depth_becomes(&broker, 1).await;
    delivery.settle.ack();
    let delivery = next(&mut subscribe(&broker, 1).await).await;
    assert_eq!(delivery.body, "late");
    assert!(delivery.redelivered);
}

/// However acks are grouped on their way, a delivery is settled by its own verdict only.
pub async fn mixed_verdicts_settle_only_their_own_delivery(broker: Arc<dyn Broker>) {
    for n in 0..30 {
        publish(&broker, n.to_string()).await;
    }
    let mut subscription = subscribe(&broker, 30).await;
    let mut deliveries = Vec::new();
    for _ in 0..30 {
        deliveries.push(next(&mut subscription).await);
    }
    // Acked out of order, rejected, and every third left unsettled.
    for delivery in deliveries.into_iter().rev() {
        match number(&delivery) % 3 {
            0 => drop(delivery),
            1 => delivery.settle.ack(),
            _ => delivery.settle.reject("every third"),
        }
    }
    drop(subscription);
    depth_becomes(&broker, 10).await;
    let mut subscription = subscribe(&broker, 30).await;
    let mut left = BTreeSet::new();
    for _ in 0..10 {
        let delivery = next(&mut subscription).await;
        left.insert(number(&delivery));
        delivery.settle.ack();
    }
    assert_eq!(left, (0..30).step_by(3).collect());
    assert_eq!(broker.take_dead_letters(&QUEUE, 100).await.expect("dead letters").len(), 10);
}

/// Two consumers of one queue: each message goes to one of them.
pub async fn two_consumers_share_without_double_delivery(broker: Arc<dyn Broker>) {
    const MESSAGES: u32 = 200;
    let (seen, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    for consumer in 0..2 {
        let mut subscription = subscribe(&broker, 5).await;
        let seen = seen.clone();
        tokio::spawn(async move {
            while let Some(delivery) = subscription.deliveries.recv().await {
                let _ = seen.send((consumer, number(&delivery)));
                delivery.settle.ack();
            }
        });
    }
    for n in 0..MESSAGES {
        publish(&broker, n.to_string()).await;
    }
    let mut numbers = BTreeSet::new();
    let mut consumers = BTreeSet::new();
    for _ in 0..MESSAGES {
        let (consumer, n) = soon("every message", arrived.recv()).await.expect("open");
        assert!(numbers.insert(n), "message {n} was delivered twice");
        consumers.insert(consumer);
    }
    depth_becomes(&broker, 0).await;
    assert!(arrived.is_empty());
    assert_eq!(consumers.len(), 2, "both consumers work");
}

/// Depth counts what waits, not what is delivered; an unused queue is empty.
pub async fn depth_counts_what_waits(broker: Arc<dyn Broker>) {
    assert_eq!(broker.depth(&QUEUE).await.expect("depth"), 0);
    for n in 0..7 {
        publish(&broker, n.to_string()).await;
    }
    depth_becomes(&broker, 7).await;
    let mut subscription = subscribe(&broker, 2).await;
    let (first, _second) = (next(&mut subscription).await, next(&mut subscription).await);
    depth_becomes(&broker, 5).await;
    first.settle.ack();
    depth_becomes(&broker, 4).await;
}

/// A message of one queue is not seen in another.
pub async fn queues_are_apart(broker: Arc<dyn Broker>) {
    let mut other = broker.subscribe(&OTHER, 1).await.expect("subscribed");
    publish(&broker, "mine").await;
    broker.publish(&OTHER, Bytes::from_static(b"theirs")).await.expect("published");
    let delivery = next(&mut other).await;
    assert_eq!(delivery.body, "theirs");
    delivery.settle.reject("elsewhere");
    assert_eq!(next(&mut subscribe(&broker, 1).await).await.body, "mine");
    assert!(broker.take_dead_letters(&QUEUE, 10).await.expect("dead letters").is_empty());
}

/// Bodies of 0 bytes, 1 MiB and exactly the limit, with every byte value.
pub async fn bodies_from_nothing_to_the_limit(broker: Arc<dyn Broker>) {
    let mut subscription = subscribe(&broker, 1).await;
    for size in [0, 1, 1024 * 1024, MAX_BODY] {
        let body: Bytes = (0..=255_u8).cycle().take(size).collect();
        publish(&broker, body.clone()).await;
        let delivery = next(&mut subscription).await;
        assert!(delivery.body == body, "a body of {size} bytes came back with {}", delivery.body.len());
        delivery.settle.ack();
    }
}

/// One byte more is refused, and nothing else suffers.
pub async fn a_body_over_the_limit_is_refused(broker: Arc<dyn Broker>) {
    let refused = broker.publish(&QUEUE, Bytes::from(vec![0; MAX_BODY + 1])).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    publish(&broker, "fits").await;
    assert_eq!(next(&mut subscribe(&broker, 1).await).await.body, "fits");
}

/// A thousand publishes in flight.
pub async fn many_publishes_at_once_are_all_confirmed_and_delivered(broker: Arc<dyn Broker>) {
    const MESSAGES: u32 = 1_000;
    let mut subscription = subscribe(&broker, 256).await;
    let mut publishing = Vec::new();
    for n in 0..MESSAGES {
        let broker = Arc::clone(&broker);
        publishing.push(tokio::spawn(async move { broker.publish(&QUEUE, n.to_string().into()).await }));
    }
    let mut seen = BTreeSet::new();
    for _ in 0..MESSAGES {
        let delivery = next(&mut subscription).await;
        assert!(seen.insert(number(&delivery)));
        delivery.settle.ack();
    }
    for task in publishing {
        soon("the confirm", task).await.expect("no panic").expect("confirmed");
    }
    assert_eq!(seen.len(), MESSAGES as usize);
}

/// `limit` bounds what is taken; the rest stays, in order.
pub async fn dead_letters_are_taken_up_to_the_limit(broker: Arc<dyn Broker>) {
    let mut subscription = subscribe(&broker, 1).await;
    for n in 0..5 {
        publish(&broker, n.to_string()).await;
        next(&mut subscription).await.settle.reject(format!("reason {n}"));
    }
    let mut dead = Vec::new();
    soon("five dead letters", async {
        while dead.len() < 5 {
            let taken = broker.take_dead_letters(&QUEUE, 2).await.expect("dead letters");
            assert!(taken.len() <= 2);
            dead.extend(taken);
        }
    })
    .await;
    for (n, letter) in dead.iter().enumerate() {
        assert_eq!(letter.reason, format!("reason {n}"));
        assert_eq!(letter.body, n.to_string());
    }
    assert!(broker.take_dead_letters(&QUEUE, 0).await.expect("none").is_empty());
}

/// The connection is up, and the server answers.
pub async fn the_connection_is_up_and_answers(broker: Arc<dyn Broker>) {
    assert!(matches!(*broker.connection().borrow(), Connection::Up(1)));
    soon("an answer", broker.probe()).await.expect("answers");
}

/// After close nothing more is delivered or taken.
pub async fn close_ends_subscriptions_and_publishing(broker: Arc<dyn Broker>) {
    publish(&broker, "held").await;
    let mut subscription = subscribe(&broker, 4).await;
    let held = next(&mut subscription).await;
    soon("the close", broker.close()).await;
    soon("the end of deliveries", async { while subscription.deliveries.recv().await.is_some() {} }).await;
    held.settle.ack();
    assert!(matches!(broker.publish(&QUEUE, Bytes::new()).await, Err(Error::Away(_))));
    assert!(matches!(broker.subscribe(&QUEUE, 1).await, Err(Error::Away(_))));
    assert!(matches!(broker.probe().await, Err(Error::Away(_))));
    assert_eq!(*broker.connection().borrow(), Connection::Down);
    // Closing again is harmless.
    soon("the second close", broker.close()).await;
}
