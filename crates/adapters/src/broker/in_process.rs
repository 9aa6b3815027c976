//! Queues in memory, for the process that is API and worker at once.
//!
//! Nothing survives the process; nothing has to: the pending row is the outbox, and the relay publishes it again.
//! Each subscription has a task that is woken by publishes, verdicts and the end of its receiver; nothing polls.

use crate::{lock::lock, metrics};
use async_trait::async_trait;
use bifrost_domain::ports::broker::{
    Broker, Connection, DeadLetter, Delivery, Error, Queue, Settle, Subscription, Verdict,
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex},
};
use tokio::sync::{Notify, mpsc, watch};

/// Messages that a queue holds, waiting and unsettled together, before it refuses more.
const DEFAULT_CAPACITY: usize = 100_000;
/// Dead letters that a queue keeps; the oldest goes first. The runs themselves are rows in the store.
const DEAD_LETTERS: usize = 10_000;

/// The broker in one process.
#[derive(Debug)]
pub struct InProcess {
    queues: Mutex<HashMap<&'static str, Arc<Slot>>>,
    capacity: usize,
    connection: watch::Sender<Connection>,
    /// Each subscription's task holds a clone of the sender: when the receiver ends, all have returned what they held.
    tasks: Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>,
}

#[derive(Debug, Default)]
struct Slot {
    held: Mutex<Held>,
    /// Woken when a message waits.
    waiting: Notify,
}

#[derive(Debug, Default)]
struct Held {
    /// In the order of publishing, also after returns.
    ready: VecDeque<Message>,
    unsettled: usize,
    dead: VecDeque<DeadLetter>,
    published: u64,
}

#[derive(Debug)]
struct Message {
    number: u64,
    body: Bytes,
    redelivered: bool,
}

impl Default for InProcess {
    fn default() -> Self {
        Self::new()
    }
}

impl InProcess {
    /// An empty broker whose queues take 100,000 messages each.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(DEFAULT_CAPACITY)
    }

    /// An empty broker whose queues refuse more than `capacity` messages each.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        metrics::broker_connected(true);
        Self {
            queues: Mutex::default(),
            capacity,
            connection: watch::Sender::new(Connection::Up(1)),
            tasks: Mutex::new(Some(mpsc::channel(1))),
        }
    }

    fn put(&self, queue: &Queue, body: Bytes) -> Result<(), Error> {
        super::check_body(&body)?;
        let slot = self.slot(queue)?;
        {
            let mut held = lock(&slot.held);
            if held.ready.len() + held.unsettled >= self.capacity {
                return Err(Error::Refused(format!(
                    "queue `{}` is full ({} messages)",
                    queue.0, self.capacity
                )));
            }
            let number = held.published;
            held.published += 1;
            held.ready.push_back(Message { number, body, redelivered: false });
        }
        slot.waiting.notify_waiters();
        Ok(())
    }

    fn slot(&self, queue: &Queue) -> Result<Arc<Slot>, Error> {
        if *self.connection.borrow() == Connection::Down {
            return Err(closed());
        }
        Ok(Arc::clone(lock(&self.queues).entry(queue.0).or_default()))
    }
}

fn closed() -> Error {
    Error::Away("it is closed".to_owned())
}

#[async_trait]
impl Broker for InProcess {
    async fn publish(&self, queue: &Queue, body: Bytes) -> Result<(), Error> {
        let outcome = self.put(queue, body);
        metrics::published(&outcome);
        outcome
    }

    async fn subscribe(&self, queue: &Queue, prefetch: u16) -> Result<Subscription, Error> {
        let slot = self.slot(queue)?;
        let alive = lock(&self.tasks).as_ref().map(|(alive, _)| alive.clone()).ok_or_else(closed)?;
        let prefetch = usize::from(prefetch.max(1));
        let (deliveries, receiver) = mpsc::channel(prefetch);
        let consumer = Consumer { slot, prefetch, unsettled: BTreeMap::new() };
        let closing = self.connection.subscribe();
        tokio::spawn(async move {
            consumer.run(deliveries, closing).await;
            drop(alive);
        });
        Ok(Subscription { deliveries: receiver })
    }

    async fn depth(&self, queue: &Queue) -> Result<u64, Error> {
        Ok(lock(&self.slot(queue)?.held).ready.len() as u64)
    }

    async fn take_dead_letters(&self, queue: &Queue, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let slot = self.slot(queue)?;
        let mut held = lock(&slot.held);
        let count = held.dead.len().min(limit);
        Ok(held.dead.drain(..count).collect())
    }

    fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.subscribe()
    }

    async fn probe(&self) -> Result<(), Error> {
        if *self.connection.borrow() == Connection::Down { Err(closed()) } else { Ok(()) }
    }

    async fn close(&self) {
        metrics::broker_connected(false);
        self.connection.send_replace(Connection::Down);
        let tasks = lock(&self.tasks).take();
        if let Some((alive, mut ended)) = tasks {
            drop(alive);
            let _ = ended.recv().await;
        }
    }
}

/// One subscription's side.
struct Consumer {
    slot: Arc<Slot>,
    prefetch: usize,
    /// By publishing number, which is also the delivery tag: a message is delivered to one consumer at a time.
    unsettled: BTreeMap<u64, Bytes>,
}

impl Consumer {
    async fn run(mut self, deliveries: mpsc::Sender<Delivery>, mut closing: watch::Receiver<Connection>) {
        let (verdicts, mut settled) = mpsc::unbounded_channel();
        let slot = Arc::clone(&self.slot);
        let mut batch = Vec::new();
        loop {
            // Interest is registered before looking, so that no publish falls between the two.
            let waiting = slot.waiting.notified();
            tokio::pin!(waiting);
            waiting.as_mut().enable();
            self.deliver(&deliveries, &verdicts);
            let room = self.unsettled.len() < self.prefetch;
            tokio::select! {
                // Verdicts first: those given before the subscription was dropped count.
                biased;
                _ = settled.recv_many(&mut batch, self.prefetch) => self.settle(&mut batch),
                () = deliveries.closed() => break,
                _ = closing.wait_for(|connection| *connection == Connection::Down) => break,
                () = &mut waiting, if room => {}
            }
        }
        while let Ok(verdict) = settled.try_recv() {
            batch.push(verdict);
        }
        self.settle(&mut batch);
        let returned: Vec<_> = std::mem::take(&mut self.unsettled).into_iter().collect();
        self.give_back(returned);
    }

    fn deliver(
        &mut self,
        deliveries: &mpsc::Sender<Delivery>,
        verdicts: &mpsc::UnboundedSender<(u64, Verdict)>,
    ) {
        let mut held = lock(&self.slot.held);
        while self.unsettled.len() < self.prefetch && !deliveries.is_closed() {
            let Some(message) = held.ready.pop_front() else { return };
            held.unsettled += 1;
            let delivery = Delivery {
                body: message.body.clone(),
                redelivered: message.redelivered,
                settle: Settle::new(message.number, verdicts.clone()),
            };
            self.unsettled.insert(message.number, message.body);
            // The channel holds `prefetch`, so there is room; a receiver that is gone gets it returned below.
            let _ = deliveries.try_send(delivery);
        }
    }

    fn settle(&mut self, verdicts: &mut Vec<(u64, Verdict)>) {
        let mut requeued = Vec::new();
        {
            let mut held = lock(&self.slot.held);
            for (number, verdict) in verdicts.drain(..) {
                let Some(body) = self.unsettled.remove(&number) else { continue };
                match verdict {
                    Verdict::Ack => held.unsettled -= 1,
                    Verdict::Requeue => requeued.push((number, body)),
                    Verdict::Reject(reason) => {
                        held.unsettled -= 1;
                        if held.dead.len() >= DEAD_LETTERS {
                            held.dead.pop_front();
                        }
                        held.dead
                            .push_back(DeadLetter { body, reason: super::bound_reason(&reason).to_owned() });
                    }
                }
            }
        }
        self.give_back(requeued);
    }

    fn give_back(&self, messages: Vec<(u64, Bytes)>) {
        if messages.is_empty() {
            return;
        }
        {
            let mut held = lock(&self.slot.held);
            for (number, body) in messages {
                held.unsettled -= 1;
                let place = held.ready.partition_point(|message| message.number < number);
                held.ready.insert(place, Message { number, body, redelivered: true });
            }
        }
        self.slot.waiting.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: Queue = Queue("runs");

    #[tokio::test]
    async fn a_full_queue_refuses_and_takes_again_after_an_ack() {
        let broker = InProcess::with_capacity(2);
        broker.publish(&QUEUE, Bytes::new()).await.expect("room");
        let mut subscription = broker.subscribe(&QUEUE, 1).await.expect("subscribed");
        let first = subscription.deliveries.recv().await.expect("delivered");
        broker.publish(&QUEUE, Bytes::new()).await.expect("room");
        // One is unsettled, one waits: both are held.
        assert!(matches!(broker.publish(&QUEUE, Bytes::new()).await, Err(Error::Refused(_))));
        broker.publish(&Queue("other"), Bytes::new()).await.expect("each queue has its own bound");
        first.settle.ack();
        let _second = subscription.deliveries.recv().await.expect("delivered");
        broker.publish(&QUEUE, Bytes::new()).await.expect("room again");
    }

    #[tokio::test]
    async fn the_oldest_dead_letter_goes_first() {
        let broker = InProcess::new();
        let mut subscription = broker.subscribe(&QUEUE, 1).await.expect("subscribed");
        for n in 0..=DEAD_LETTERS {
            broker.publish(&QUEUE, n.to_string().into()).await.expect("room");
            subscription.deliveries.recv().await.expect("delivered").settle.reject("bad");
        }
        drop(subscription);
        broker.close().await;
        let dead = std::mem::take(&mut lock(&lock(&broker.queues)["runs"].held).dead);
        assert_eq!(dead.len(), DEAD_LETTERS);
        assert_eq!(dead[0].body, "1");
    }

    #[tokio::test]
    async fn a_full_consumer_leaves_messages_to_the_other() {
        let broker = InProcess::new();
        let mut full = broker.subscribe(&QUEUE, 1).await.expect("subscribed");
        broker.publish(&QUEUE, Bytes::from_static(b"1")).await.expect("room");
        let _held = full.deliveries.recv().await.expect("delivered");
        let mut free = broker.subscribe(&QUEUE, 1).await.expect("subscribed");
        broker.publish(&QUEUE, Bytes::from_static(b"2")).await.expect("room");
        assert_eq!(free.deliveries.recv().await.expect("delivered").body, "2");
    }
}
