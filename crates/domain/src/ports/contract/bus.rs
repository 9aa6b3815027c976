//! What every [`Bus`] does. The cases get two ends: over a server they are two connections, as of two processes.
#![expect(clippy::expect_used, reason = "a case fails by panicking")]

use super::soon;
use crate::ports::bus::{Bus, MAX_EVENT, Signal, Subscription};
use bytes::Bytes;
use std::sync::Arc;

/// Makes one test of each case. The argument is an async function that takes a case
/// (`AsyncFnOnce(Arc<dyn Bus>, Arc<dyn Bus>)`: the publishing and the subscribing end), runs it and cleans up.
#[macro_export]
macro_rules! bus_contract {
    ($with:path) => {
        $crate::contract_cases!(
            $with,
            bus,
            events_arrive_in_order,
            topics_are_apart,
            every_subscriber_gets_every_event,
            a_slow_subscriber_gets_missed_and_then_fresh_events,
            a_slow_subscriber_does_not_hold_up_another,
            a_dropped_subscription_stops_and_can_be_taken_up_again,
            what_is_published_after_subscribe_is_never_lost,
            subscribers_come_and_go_without_harm_to_others,
            events_are_bytes,
            an_event_over_the_limit_becomes_missed,
            publishing_without_subscribers_is_harmless,
            it_answers,
        );
    };
}

async fn subscribe(bus: &Arc<dyn Bus>, topic: &str) -> Subscription {
    soon("the subscription", bus.subscribe(topic)).await.expect("subscribed")
}

async fn next(subscription: &mut Subscription) -> Signal {
    soon("a signal", subscription.signals.recv()).await.expect("the subscription is open")
}

fn event(n: u32) -> Bytes {
    n.to_string().into()
}

fn number(event: &Bytes) -> u32 {
    std::str::from_utf8(event).ok().and_then(|text| text.parse().ok()).expect("a number")
}

/// One publisher's events of one topic arrive in order, all of them while the subscriber reads.
pub async fn events_arrive_in_order(publisher: Arc<dyn Bus>, subscriber: Arc<dyn Bus>) {
    let mut subscription = subscribe(&subscriber, "order").await;
    for round in 0..20 {
        for n in 0..50 {
            publisher.publish("order", event(round * 50 + n));
        }
        for n in 0..50 {
            assert_eq!(next(&mut subscription).await, Signal::Event(event(round * 50 + n)));
        }
    }
}

/// An event is for its topic only.
pub async fn topics_are_apart(publisher: Arc<dyn Bus>, subscriber: Arc<dyn Bus>) {
    let mut one = subscribe(&subscriber, "execution:1").await;
    let mut two = subscribe(&subscriber, "execution:2").await;
    publisher.publish("execution:2", event(2));
    publisher.publish("execution:*", event(3));
    publisher.publish("execution:", event(4));
    publisher.publish("execution:1", event(1));
    assert_eq!(next(&mut one).await, Signal::Event(event(1)));
    assert_eq!(next(&mut two).await, Signal::Event(event(2)));
    assert!(one.signals.is_empty() && two.signals.is_empty());
}

/// All subscribers of a topic get each event, on either end.
pub async fn every_subscriber_gets_every_event(publisher: Arc<dyn Bus>, subscriber: Arc<dyn Bus>) {
    let mut subscriptions = Vec::new();
    for n in 0..6 {
        subscriptions.push(subscribe(if n % 2 == 0 { &subscriber } else { &publisher }, "all").await);
    }
    for n in 0..10 {
        publisher.publish("all", event(n));
    }
    for subscription in &mut subscriptions {
        for n in 0..10 {
            assert_eq!(next(subscription).await, Signal::Event(event(n)));
        }
    }
}

/// A subscriber that does not read loses events, learns it in their place, and goes on with fresh ones.
pub async fn a_slow_subscriber_gets_missed_and_then_fresh_events(
    publisher: Arc<dyn Bus>,
    subscriber: Arc<dyn Bus>,
) {
    const EVENTS: u32 = 20_000;
    let mut slow = subscribe(&subscriber, "slow").await;
    let mut marker = subscribe(&subscriber, "marker").await;
    for n in 0..EVENTS {
        publisher.publish("slow", event(n));
    }
    // What follows on another topic arrives after what was kept of the flood.
    publisher.publish("marker", event(0));
    let _ = next(&mut marker).await;
    let mut expected = 0;
    let mut missed = 0;
    let mut covered = false;
    while let Ok(signal) = slow.signals.try_recv() {
        match signal {
            Signal::Missed => (missed, covered) = (missed + 1, true),
            Signal::Event(event) => {
                let n = number(&event);
                assert!(n >= expected && (n == expected || covered), "a hole before {n} without `Missed`");
                (expected, covered) = (n + 1, false);
            }
        }
    }
    assert!(missed >= 1, "no `Missed` after {EVENTS} events");
    assert!(expected == EVENTS || covered, "the end of the flood is missing without `Missed`");
    publisher.publish("slow", event(EVENTS));
    assert_eq!(next(&mut slow).await, Signal::Event(event(EVENTS)));
}

/// One full buffer is nobody else's concern.
pub async fn a_slow_subscriber_does_not_hold_up_another(publisher: Arc<dyn Bus>, subscriber: Arc<dyn Bus>) {
    let _slow = subscribe(&subscriber, "shared").await;
    let mut quick = subscribe(&subscriber, "shared").await;
    for n in 0..3_000 {
        publisher.publish("shared", event(n));
        assert_eq!(next(&mut quick).await, Signal::Event(event(n)));
    }
}

/// After the drop nothing of it is left; a new subscription gets what follows and nothing from before.
pub async fn a_dropped_subscription_stops_and_can_be_taken_up_again(
    publisher: Arc<dyn Bus>,
    subscriber: Arc<dyn Bus>,
) {
    for n in 0..20 {
        let mut subscription = subscribe(&subscriber, "again").await;
        publisher.publish("again", event(n));
        assert_eq!(next(&mut subscription).await, Signal::Event(event(n)));
    }
    let Subscription { mut signals, guard } = subscribe(&subscriber, "again").await;
    drop(guard);
    soon("the end", async { while signals.recv().await.is_some() {} }).await;
}

/// `subscribe` returns when it counts.
pub async fn what_is_published_after_subscribe_is_never_lost(
    publisher: Arc<dyn Bus>,
    subscriber: Arc<dyn Bus>,
) {
    for n in 0..200 {
        let topic = format!("fresh:{n}");
        let mut subscription = subscribe(&subscriber, &topic).await;
        publisher.publish(&topic, event(n));
        assert_eq!(next(&mut subscription).await, Signal::Event(event(n)));
    }
}

/// Others subscribing to and leaving the same topic disturb nobody.
pub async fn subscribers_come_and_go_without_harm_to_others(
    publisher: Arc<dyn Bus>,
    subscriber: Arc<dyn Bus>,
) {
    let mut steady = subscribe(&subscriber, "steady").await;
    let mut guests = Vec::new();
    for task in 0..8 {
        let subscriber = Arc::clone(&subscriber);
        guests.push(tokio::spawn(async move {
            for n in 0..25 {
                let _steady = subscribe(&subscriber, "steady").await;
                let _lonely = subscribe(&subscriber, &format!("lonely:{}", (task + n) % 3)).await;
            }
        }));
    }
    for n in 0..200 {
        publisher.publish("steady", event(n));
        assert_eq!(next(&mut steady).await, Signal::Event(event(n)));
    }
    for guest in guests {
        guest.await.expect("no panic");
    }
    // The last guests have left: their topics can be taken up again at once.
    for n in 0..3 {
        let topic = format!("lonely:{n}");
        let mut subscription = subscribe(&subscriber, &topic).await;
        publisher.publish(&topic, event(n));
        assert_eq!(next(&mut subscription).await, Signal::Event(event(n)));
    }
}

/// Nothing, every byte value, and the limit.
pub async fn events_are_bytes(publisher: Arc<dyn Bus>, subscriber: Arc<dyn Bus>) {
    let mut subscription = subscribe(&subscriber, "bytes").await;
    for size in [0, 1, 256, MAX_EVENT] {
        let body: Bytes = (0..=255_u8).cycle().take(size).collect();
        publisher.publish("bytes", body.clone());
        assert!(next(&mut subscription).await == Signal::Event(body), "an event of {size} bytes");
    }
}

/// One byte more is not sent, but it is not silently lost either.
pub async fn an_event_over_the_limit_becomes_missed(publisher: Arc<dyn Bus>, subscriber: Arc<dyn Bus>) {
    let mut subscription = subscribe(&subscriber, "large").await;
    let mut other = subscribe(&subscriber, "small").await;
    publisher.publish("large", Bytes::from(vec![0; MAX_EVENT + 1]));
    publisher.publish("large", event(1));
    publisher.publish("small", event(2));
    assert_eq!(next(&mut subscription).await, Signal::Missed);
    assert_eq!(next(&mut subscription).await, Signal::Event(event(1)));
    assert_eq!(next(&mut other).await, Signal::Event(event(2)));
}

/// Nobody listens, nothing breaks.
pub async fn publishing_without_subscribers_is_harmless(publisher: Arc<dyn Bus>, subscriber: Arc<dyn Bus>) {
    for n in 0..1_000 {
        publisher.publish("nobody", event(n));
    }
    let mut subscription = subscribe(&subscriber, "somebody").await;
    publisher.publish("somebody", event(1));
    assert_eq!(next(&mut subscription).await, Signal::Event(event(1)));
}

/// Both ends answer.
pub async fn it_answers(publisher: Arc<dyn Bus>, subscriber: Arc<dyn Bus>) {
    soon("an answer", publisher.probe()).await.expect("answers");
    soon("an answer", subscriber.probe()).await.expect("answers");
}
