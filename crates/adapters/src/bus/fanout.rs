//! The subscribers of this process: who listens to which topic, each with a bounded buffer.

use crate::{lock::lock, metrics};
use bifrost_domain::ports::bus::Signal;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};
use tokio::sync::mpsc;

/// Signals that a subscriber may have unread.
const BUFFER: usize = 1_024;

/// Topics and their subscribers.
#[derive(Debug, Default)]
pub(super) struct Fanout {
    topics: Mutex<Topics>,
}

#[derive(Debug, Default)]
struct Topics {
    by_name: HashMap<String, Vec<Subscriber>>,
    next_id: u64,
}

/// A subscriber's buffer. Its last place is kept for [`Signal::Missed`].
#[derive(Debug)]
struct Subscriber {
    id: u64,
    signals: mpsc::Sender<Signal>,
    /// The last place was used: a `Missed` stands behind everything that was kept.
    overflowed: bool,
}

impl Subscriber {
    fn offer(&mut self, signal: &Signal) {
        let free = self.signals.capacity();
        if self.overflowed && free < 2 {
            // The `Missed` at the end is still unread: it covers this one too.
            return;
        }
        self.overflowed = free < 2;
        let signal = if self.overflowed { Signal::Missed } else { signal.clone() };
        if signal == Signal::Missed {
            metrics::bus_missed();
        }
        let _ = self.signals.try_send(signal);
    }
}

/// Called with the topic that its last subscriber left.
pub(super) type Left = Box<dyn Fn(&str) + Send + Sync>;

/// Ends its subscription when dropped and tells whether it was the topic's last.
pub(super) struct Guard {
    fanout: Arc<Fanout>,
    topic: String,
    id: u64,
    last: Option<Left>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.fanout.remove(&self.topic, self.id)
            && let Some(last) = &self.last
        {
            last(&self.topic);
        }
    }
}

impl Fanout {
    /// Adds a subscriber. `last` is called after the drop of the guard that leaves the topic without subscribers.
    pub(super) fn add(self: &Arc<Self>, topic: &str, last: Option<Left>) -> (mpsc::Receiver<Signal>, Guard) {
        let (signals, receiver) = mpsc::channel(BUFFER + 1);
        let mut topics = lock(&self.topics);
        let id = topics.next_id;
        topics.next_id += 1;
        topics.by_name.entry(topic.to_owned()).or_default().push(Subscriber {
            id,
            signals,
            overflowed: false,
        });
        (receiver, Guard { fanout: Arc::clone(self), topic: topic.to_owned(), id, last })
    }

    /// Gives `signal` to the topic's subscribers.
    pub(super) fn send(&self, topic: &str, signal: &Signal) {
        if let Some(subscribers) = lock(&self.topics).by_name.get_mut(topic) {
            for subscriber in subscribers {
                subscriber.offer(signal);
            }
        }
    }

    /// Tells every subscriber of every topic that it may have missed something.
    pub(super) fn missed_by_all(&self) {
        for subscriber in lock(&self.topics).by_name.values_mut().flatten() {
            subscriber.offer(&Signal::Missed);
        }
    }

    /// Whether somebody listens to the topic.
    pub(super) fn has(&self, topic: &str) -> bool {
        lock(&self.topics).by_name.contains_key(topic)
    }

    /// The topics that somebody listens to.
    pub(super) fn topics(&self) -> Vec<String> {
        lock(&self.topics).by_name.keys().cloned().collect()
    }

    /// Ends every subscription: their receivers end after what they hold.
    pub(super) fn clear(&self) {
        lock(&self.topics).by_name.clear();
    }

    /// Removes a subscriber; whether the topic has none any more.
    fn remove(&self, topic: &str, id: u64) -> bool {
        let mut topics = lock(&self.topics);
        let Some(subscribers) = topics.by_name.get_mut(topic) else { return false };
        subscribers.retain(|subscriber| subscriber.id != id);
        let empty = subscribers.is_empty();
        if empty {
            topics.by_name.remove(topic);
        }
        empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn event(n: usize) -> Signal {
        Signal::Event(Bytes::from(n.to_string()))
    }

    #[test]
    fn overflow_is_one_missed_in_place_of_what_was_lost() {
        let fanout = Arc::new(Fanout::default());
        let (mut signals, _guard) = fanout.add("t", None);
        for n in 0..BUFFER * 3 {
            fanout.send("t", &event(n));
        }
        for n in 0..BUFFER {
            assert_eq!(signals.try_recv(), Ok(event(n)));
        }
        assert_eq!(signals.try_recv(), Ok(Signal::Missed));
        assert!(signals.try_recv().is_err());
        fanout.send("t", &event(7));
        assert_eq!(signals.try_recv(), Ok(event(7)));
    }

    #[test]
    fn a_subscriber_that_reads_a_little_gets_a_missed_for_each_hole() {
        let fanout = Arc::new(Fanout::default());
        let (mut signals, _guard) = fanout.add("t", None);
        let (mut sent, mut expected, mut covered) = (0, 0, false);
        for round in 0..500 {
            for _ in 0..round % 50 {
                fanout.send("t", &event(sent));
                sent += 1;
            }
            for _ in 0..round % 7 {
                match signals.try_recv() {
                    Ok(Signal::Missed) => covered = true,
                    Ok(Signal::Event(body)) => {
                        let n: usize = std::str::from_utf8(&body).expect("text").parse().expect("a number");
                        assert!(n == expected || covered, "a hole before {n}");
                        (expected, covered) = (n + 1, false);
                    }
                    Err(_) => break,
                }
            }
        }
        assert!(sent > expected && expected > BUFFER);
    }

    #[test]
    fn the_last_guard_removes_the_topic_and_says_so() {
        let fanout = Arc::new(Fanout::default());
        let gone = Arc::new(Mutex::new(Vec::new()));
        let last = || {
            let gone = Arc::clone(&gone);
            Some(Box::new(move |topic: &str| lock(&gone).push(topic.to_owned())) as Box<_>)
        };
        let (_one, first) = fanout.add("t", last());
        let (_two, second) = fanout.add("t", last());
        drop(first);
        assert!(fanout.has("t") && lock(&gone).is_empty());
        drop(second);
        assert!(!fanout.has("t") && fanout.topics().is_empty());
        assert_eq!(*lock(&gone), ["t"]);
    }
}
