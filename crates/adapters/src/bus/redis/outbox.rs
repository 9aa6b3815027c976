//! What waits to be sent: bounded, and honest about what it had to drop.
//!
//! A dropped event leaves a marker in its place in the queue, which tells the topic's subscribers (of all processes) that
//! they missed something. While the server is away everything is dropped and one marker for all topics is left.

use crate::{lock::lock, metrics};
use bifrost_domain::ports::bus::MAX_EVENT;
use bytes::Bytes;
use std::{
    collections::{HashSet, VecDeque},
    sync::Mutex,
};
use tokio::sync::Notify;

/// Events that may wait.
const EVENTS: usize = 8_192;
/// Bytes of events that may wait.
const BYTES: usize = 32 * 1024 * 1024;
/// Topics with a marker of their own; beyond, one marker for all.
const TOPICS: usize = 1_024;
/// Items of one batch.
const BATCH: usize = 512;
/// Bytes at which a batch is full.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Event(String, Bytes),
    Missed(String),
    AllMissed,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    open: bool,
    items: VecDeque<Item>,
    bytes: usize,
    /// Topics with a marker among `items` and no event behind it: the marker covers what is dropped now.
    marked: HashSet<String>,
    /// The same for the marker for all.
    all_marked: bool,
    /// Something was dropped while closed.
    lost: bool,
}

impl Waiting {
    fn mark(&mut self, topic: &str) {
        if self.all_marked || self.marked.contains(topic) {
            return;
        }
        if self.marked.len() < TOPICS {
            self.marked.insert(topic.to_owned());
            self.items.push_back(Item::Missed(topic.to_owned()));
        } else {
            self.all_marked = true;
            self.items.push_back(Item::AllMissed);
        }
    }
}

impl Outbox {
    pub(super) fn push(&self, topic: &str, event: Bytes) {
        {
            let mut waiting = lock(&self.waiting);
            if !waiting.open {
                waiting.lost = true;
                metrics::bus_dropped(1);
                return;
            }
            let full = waiting.items.len() >= EVENTS || waiting.bytes + event.len() > BYTES;
            if full || event.len() > MAX_EVENT {
                waiting.mark(topic);
                metrics::bus_dropped(1);
            } else {
                waiting.bytes += event.len();
                waiting.marked.remove(topic);
                waiting.all_marked = false;
                waiting.items.push_back(Item::Event(topic.to_owned(), event));
            }
        }
        self.filled.notify_one();
    }

    /// Takes what waits, at most a batch; waits while there is nothing.
    pub(super) async fn take(&self, batch: &mut Vec<Item>) {
        batch.clear();
        loop {
            {
                let mut waiting = lock(&self.waiting);
                let mut bytes = 0;
                while batch.len() < BATCH && bytes < BATCH_BYTES {
                    let Some(item) = waiting.items.pop_front() else { break };
                    match &item {
                        Item::Event(_, event) => bytes += event.len(),
                        Item::Missed(topic) => drop(waiting.marked.remove(topic)),
                        Item::AllMissed => waiting.all_marked = false,
                    }
                    batch.push(item);
                }
                waiting.bytes -= bytes;
            }
            if !batch.is_empty() {
                return;
            }
            self.filled.notified().await;
        }
    }

    /// The server is there: from now on events are kept. If some were dropped meanwhile, everybody is told first.
    pub(super) fn open(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.open = true;
        if std::mem::take(&mut waiting.lost) {
            waiting.all_marked = true;
            waiting.items.push_back(Item::AllMissed);
            self.filled.notify_one();
        }
    }

    /// The server is away: what waits is dropped, as is what comes. `lost`: a batch that was taken may not have arrived.
    pub(super) fn shut(&self, lost: bool) {
        let mut waiting = lock(&self.waiting);
        let lost = lost || waiting.lost || !waiting.items.is_empty();
        metrics::bus_dropped(waiting.items.len() as u64);
        *waiting = Waiting { lost, ..Waiting::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn drain(outbox: &Outbox) -> Vec<Item> {
        let (mut all, mut batch) = (Vec::new(), Vec::new());
        while !lock(&outbox.waiting).items.is_empty() {
            outbox.take(&mut batch).await;
            assert!(batch.len() <= BATCH);
            all.append(&mut batch);
        }
        assert_eq!(lock(&outbox.waiting).bytes, 0);
        all
    }

    #[tokio::test]
    async fn overflow_leaves_one_marker_for_each_topic_in_its_place() {
        let outbox = Outbox::default();
        outbox.open();
        for n in 0..EVENTS + 10 {
            outbox.push("a", Bytes::from(n.to_string()));
        }
        outbox.push("b", Bytes::new());
        let items = drain(&outbox).await;
        assert_eq!(items.len(), EVENTS + 2);
        assert_eq!(items[EVENTS], Item::Missed("a".into()));
        assert_eq!(items[EVENTS + 1], Item::Missed("b".into()));
        outbox.push("a", Bytes::new());
        assert_eq!(drain(&outbox).await, [Item::Event("a".into(), Bytes::new())]);
    }

    #[tokio::test]
    async fn a_second_hole_behind_later_events_has_its_own_marker() {
        let outbox = Outbox::default();
        outbox.push("a", Bytes::new());
        outbox.open();
        // [all missed, a, a, …]: full again behind the marker for all
        for _ in 0..EVENTS {
            outbox.push("a", Bytes::new());
        }
        assert_eq!(lock(&outbox.waiting).items.back(), Some(&Item::Missed("a".into())));
        let mut batch = Vec::new();
        outbox.take(&mut batch).await;
        // [a, …, missed a, a, …]: full again behind the marker for the topic
        for _ in 0..EVENTS {
            outbox.push("a", Bytes::new());
        }
        let items = drain(&outbox).await;
        assert_eq!(items.last(), Some(&Item::Missed("a".into())));
        assert_eq!(items.iter().filter(|item| matches!(item, Item::Missed(_))).count(), 2);
    }

    #[tokio::test]
    async fn bytes_are_bounded_too() {
        let outbox = Outbox::default();
        outbox.open();
        let event = Bytes::from(vec![0; MAX_EVENT]);
        for _ in 0..BYTES / MAX_EVENT + 5 {
            outbox.push("a", event.clone());
        }
        let items = drain(&outbox).await;
        assert_eq!(items.len(), BYTES / MAX_EVENT + 1);
        assert_eq!(items.last(), Some(&Item::Missed("a".into())));
    }

    #[tokio::test]
    async fn too_many_topics_with_losses_become_one_marker_for_all() {
        let outbox = Outbox::default();
        outbox.open();
        for _ in 0..EVENTS {
            outbox.push("a", Bytes::new());
        }
        for n in 0..TOPICS * 2 {
            outbox.push(&n.to_string(), Bytes::new());
        }
        let items = drain(&outbox).await;
        assert_eq!(items.len(), EVENTS + TOPICS + 1);
        assert_eq!(items.last(), Some(&Item::AllMissed));
    }

    #[tokio::test]
    async fn what_is_published_while_away_is_one_marker_on_return() {
        let outbox = Outbox::default();
        outbox.push("a", Bytes::new());
        outbox.open();
        assert_eq!(drain(&outbox).await, [Item::AllMissed]);
        outbox.shut(false);
        outbox.open();
        assert!(drain(&outbox).await.is_empty(), "nothing was lost");
        outbox.push("a", Bytes::new());
        outbox.shut(false);
        outbox.open();
        assert_eq!(drain(&outbox).await, [Item::AllMissed]);
        outbox.shut(true);
        outbox.open();
        assert_eq!(drain(&outbox).await, [Item::AllMissed]);
    }
}
